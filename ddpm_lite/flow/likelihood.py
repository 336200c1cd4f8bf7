"""log p of a picture by the flow that carries it to noise: exact, where the bound is a bound."""

import math
import warnings
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from einops import reduce
from torch import Tensor
from torch.autograd import grad

from ddpm_lite._doors import door
from ddpm_lite._shapes import Images, PerImage
from ddpm_lite.diffusion import GaussianDiffusion, Model
from ddpm_lite.gaussian import gaussian_nll

__all__ = ["FlowLikelihood", "flow_likelihood"]


@dataclass(frozen=True)
class FlowLikelihood:
    """log p(x_t) of each image, and how sure it is."""

    log_prob: PerImage
    """log p(x_t) in nats, a density's."""
    standard_error: PerImage
    """Of `log_prob`, over the probes of the trace, in nats; zero where the trace is exact."""
    dims: int
    """Numbers in one image."""

    @property
    def bits_per_dim(self) -> PerImage:
        """-log p(x_t) in bits per dimension: nats / (log(2) dims). Eq. {eq}`eq-bits-per-dim`."""
        return -self.log_prob / (math.log(2) * self.dims)


@door
def flow_likelihood(
    diffusion: GaussianDiffusion,
    model: Model,
    xt: Images,
    *,
    t: int = 1,
    steps: int | None = None,
    trace: Literal["exact", "hutchinson"] = "exact",
    probes: int = 8,
    generator: torch.Generator | None = None,
) -> FlowLikelihood:
    """log p(x_t) by the change of variables along the flow from x_t to x_T.

    Eq. {eq}`eq-flow-likelihood`: log p(x_t) = log N(x_T; 0, I) + integral of div v_hat over the
    angle phi, from phi_t to phi_T, where cos(phi) = sqrt(alpha_bar) and dx / d phi = v_hat(x).
    Song et al. (2021), Section 4.3 and Appendix D.2. The density is that of noise sent back by the
    flow; it is q(x_t) for the best network and an x_T that is standard normal.

    By default t is 1, the first time that a model knows: x_t is an image with noise of variance
    beta_1, so that images on grey levels have a density. Heun's method solves both equations; its
    error falls with the square of the number of steps. The model is called twice a step.

    v_hat of an eps-network is (eps_hat - sqrt(1 - alpha_bar) x) / sqrt(alpha_bar). Where
    alpha_bar_T is nearly zero, as with the cosine schedule, an error of eps_hat grows by that
    division, and there is a warning: take a network that predicts v, or more steps.

    Args:
        model: `(xt, t) -> output`, which can be differentiated by xt, each image apart from the
            others; in eval mode.
        xt: [B, ...], images at time t.
        t: in 1..T - 1.
        steps: how many, evenly spaced from t to T; by default every t.
        trace: "exact", by a derivative for each dimension, or "hutchinson", by z . d(v . z)/dx,
            unbiased, with `probes` random signs z that stay the same along the path.
        probes: of the estimated trace; from 2, for its error to be known.
        generator: where the probes come from.

    Raises:
        ValueError: t or steps out of range, fewer than two probes of an estimated trace, a chain of
            one step or one that ends before T, a diffusion with self-conditioning, a model whose
            output does not depend on xt by operations with derivatives, or inference mode.
    """
    diffusion._check(t, xt=xt)
    whole = (diffusion.trained_on or diffusion.schedule).T
    if diffusion.times[-1] < whole:
        raise ValueError(
            f"the chain must end at T = {whole}, where x_T is nearly standard normal, got times "
            f"that end at {diffusion.times[-1]}"
        )
    if diffusion.T == 1:
        raise ValueError("flow_likelihood needs a chain of two steps or more, got T = 1")
    if t == diffusion.T:
        raise ValueError(f"t must lie in 1..{diffusion.T - 1}, got {t}")
    steps = diffusion.T - t if steps is None else steps
    if not 1 <= steps <= diffusion.T - t:
        raise ValueError(f"steps must lie in 1..{diffusion.T - t} from t = {t}, got {steps}")
    if trace == "hutchinson" and probes < 2:
        raise ValueError(f"probes must be at least 2, got {probes}")
    if diffusion.self_condition:
        raise ValueError(
            "flow_likelihood needs a diffusion without self_condition, got one with it"
        )
    if torch.is_inference_mode_enabled():
        raise ValueError(
            "flow_likelihood needs derivatives: call it outside torch.inference_mode()"
        )
    dims = math.prod(xt.shape[1:])
    if trace == "exact":
        z = torch.eye(dims, dtype=xt.dtype, device=xt.device)[:, None].expand(-1, len(xt), -1)
    else:
        size = probes, len(xt), dims
        signs = torch.randint(0, 2, size, generator=generator, device=xt.device)
        z = 2 * signs.to(xt.dtype) - 1
    z = z.reshape(len(z), *xt.shape)
    phi = diffusion.schedule.alpha_bar.sqrt().acos().tolist()
    times = [t + round(i * (diffusion.T - t) / steps) for i in range(steps + 1)]
    if diffusion.objective == "eps":
        _warn_of_growth(diffusion, phi, times)
    x, log = xt, torch.zeros(len(z), len(xt), dtype=xt.dtype, device=xt.device)
    for now, then in pairwise(times):
        h = phi[then] - phi[now]
        v, divergence = _field(diffusion, model, x, now, z)
        v_then, divergence_then = _field(diffusion, model, x + h * v, then, z)
        x = x + h / 2 * (v + v_then)
        log = log + h / 2 * (divergence + divergence_then)
    end = -gaussian_nll(x, torch.zeros_like(x), torch.ones_like(x))
    if trace == "exact":
        return FlowLikelihood(end + log.sum(0), torch.zeros_like(end), dims)
    return FlowLikelihood(end + log.mean(0), log.std(0) / math.sqrt(probes), dims)


def _field(
    diffusion: GaussianDiffusion, model: Model, x: Tensor, t: int, z: Tensor
) -> tuple[Tensor, Tensor]:
    """v_hat [B, ...] and z . d(v_hat . z)/dx [K, B] for each of K directions z [K, B, ...]."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        output = diffusion._ask(model, x, t, None)
        # Parameters alone let the output require a gradient: ask for that of x.
        if not output.requires_grad or _slope(output, x) is None:
            raise ValueError("model must be differentiable by xt, got an answer without a gradient")
        out = diffusion._p_from_output(output, x, t, clip=False)
        v = diffusion._target("v", out.x0_hat, x, out.eps_hat, t)
        slopes = [grad((v * one).sum(), x, retain_graph=True)[0] for one in z]
    along = [reduce(slope * one, "b ... -> b", "sum") for slope, one in zip(slopes, z, strict=True)]
    return v.detach(), torch.stack(along)


def _slope(output: Tensor, x: Tensor) -> Tensor | None:
    return grad(output.sum(), x, retain_graph=True, allow_unused=True)[0]


def _warn_of_growth(diffusion: GaussianDiffusion, phi: list[float], times: list[int]) -> None:
    """Say so where the last step of Heun's makes an error of eps_hat many times larger."""
    growth = (phi[times[-1]] - phi[times[-2]]) / (2 * diffusion.sqrt_alpha_bar.numbers[times[-1]])
    if growth > 10:
        warnings.warn(
            f"the likelihood cannot be trusted: from t = {diffusion.times[times[-2]]} to "
            f"{diffusion.times[times[-1]]} an error of eps_hat grows {growth:.0f} times. Take more "
            "steps, or a network that predicts v",
            stacklevel=4,  # past flow_likelihood and its door
        )
