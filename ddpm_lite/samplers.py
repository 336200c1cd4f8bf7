"""From noise to an image: each sampler is one short generator named after its algorithm."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ddpm_lite.diffusion import GaussianDiffusion, Model

__all__ = ["SampleStep", "ddpm"]


class SampleStep(NamedTuple):
    """x_t on its way to t = 0, and the estimate of x_0 that led there."""

    t: int
    xt: Float[Tensor, "B *D"]
    x0_hat: Float[Tensor, "B *D"]


def ddpm(
    diffusion: GaussianDiffusion,
    model: Model,
    shape: tuple[int, ...],
    clip: bool = True,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Iterator[SampleStep]:
    """Ancestral sampling, Ho et al. (2020), Algorithm 2; yields T steps, t = T - 1 down to 0.

    The sample is the last step's xt. Nothing is kept: hold on to the steps you want.

    Args:
        diffusion: holds T and the coefficients.
        model: `(xt, t) -> eps_hat`, on the device where sampling is to happen.
        shape: [B, ...] of the samples.
        clip: hold x0_hat in [-1, 1] at every step.
        generator: where the noise comes from, for samples that can be drawn again.
        device: by default that of the model's parameters, or of the generator.
    """
    if device is None:
        device = _device_of(model, generator)

    def noise() -> Tensor:
        return torch.randn(shape, generator=generator, device=device)

    xt = noise()
    for t in range(diffusion.T, 0, -1):
        with torch.inference_mode():  # never around the yield: the caller's mode is the caller's
            ts = torch.full(shape[:1], t, device=device)
            out = diffusion.p_mean_variance(model, xt, ts, clip)
            xt = diffusion.p_draw(out, ts, noise())
        yield SampleStep(t - 1, xt, out.x0_hat)


def _device_of(model: Model, generator: torch.Generator | None) -> torch.device:
    if isinstance(model, torch.nn.Module):
        for parameter in model.parameters():
            return parameter.device
    return torch.device("cpu") if generator is None else generator.device
