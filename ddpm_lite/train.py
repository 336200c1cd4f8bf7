"""Training as a generator: a notebook iterates it, watches the loss and stops when it likes."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ddpm_lite.diffusion import GaussianDiffusion

__all__ = ["TrainConfig", "TrainStep", "train"]

Tensors = tuple[Tensor, ...] | list[Tensor]


@dataclass(frozen=True)
class TrainConfig:
    """How to train. The defaults suit small images and a minute or ten on a CPU.

    Args:
        steps: gradient steps.
        batch: images per step, drawn with replacement.
        lr: Adam's learning rate after the warm-up.
        warmup: steps over which the learning rate rises linearly.
        ema_decay: of the averaged weights; it starts lower, (1 + n) / (10 + n) after n steps,
            so that the average forgets the random beginning.
        clip_norm: the gradient's norm is held at this or below.
        seed: of the images, times and noise drawn.
    """

    steps: int = 1000
    batch: int = 64
    lr: float = 2e-3
    warmup: int = 100
    ema_decay: float = 0.999
    clip_norm: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "lr", "clip_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.warmup < 0:
            raise ValueError(f"warmup must not be negative, got {self.warmup}")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay must lie in [0, 1), got {self.ema_decay}")


class TrainStep(NamedTuple):
    """What one gradient step leaves behind. `loss` stays on its device until it is read."""

    step: int
    loss: Float[Tensor, ""]
    ema: nn.Module


def train(
    model: nn.Module,
    diffusion: GaussianDiffusion,
    data: Float[Tensor, "N *D"],
    config: TrainConfig | None = None,
) -> Iterator[TrainStep]:
    """Ho et al. (2020), Algorithm 1, with Adam and an average of the weights.

    Trains `model` in place, on the device it is on; the data move there once. Sample from
    `step.ema`, the averaged network.

    Args:
        model: `(xt, t) -> eps_hat`.
        diffusion: q and the loss.
        data: [N, ...] in [-1, 1].
        config: `TrainConfig()` when not given.

    Raises:
        TypeError: data are not floating point.
        ValueError: no images, NaN or infinite values in them.
        FloatingPointError: the loss is no longer finite; looked at every 100 steps, because
            a look waits for the device.
    """
    config = config or TrainConfig()
    _check_data(data)
    return _train(model, diffusion, data, config)  # the checks above must not wait for next()


def _train(
    model: nn.Module, diffusion: GaussianDiffusion, data: Tensor, config: TrainConfig
) -> Iterator[TrainStep]:
    device = next(model.parameters()).device
    data = data.to(device)
    random = torch.Generator(device).manual_seed(config.seed)
    adam = torch.optim.Adam(model.parameters(), config.lr, fused=True)
    warmup = torch.optim.lr_scheduler.LambdaLR(
        adam, lambda n: min(1.0, (n + 1) / (config.warmup + 1))
    )
    decay = 0.0

    def average(ema: Tensors, now: Tensors, _: Tensor | int) -> None:
        torch._foreach_lerp_(ema, now, 1 - decay)

    ema = AveragedModel(model, multi_avg_fn=average)
    ema.eval()
    for step in range(1, config.steps + 1):
        model.train()
        index = torch.randint(len(data), (config.batch,), device=device, generator=random)
        x0 = data[index]
        t = torch.randint(1, diffusion.T + 1, (config.batch,), device=device, generator=random)
        eps = torch.randn(x0.shape, device=device, dtype=x0.dtype, generator=random)
        loss = diffusion.p_losses(model, x0, t, eps).mean()
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        adam.step()
        warmup.step()
        decay = min(config.ema_decay, (1 + step) / (10 + step))
        ema.update_parameters(model)
        if step % 100 == 0 and not math.isfinite(loss.item()):
            raise FloatingPointError(
                f"the loss is {loss.item()} at step {step}; try a smaller lr than {config.lr}"
            )
        yield TrainStep(step, loss.detach(), ema)


def _check_data(data: Tensor) -> None:
    if not data.is_floating_point():
        raise TypeError(f"data must be floating point in [-1, 1], got {data.dtype}")
    if len(data) == 0:
        raise ValueError("data must hold at least one image, got none")
    if not data.isfinite().all():
        bad = int((~data.isfinite().flatten(1).all(1)).nonzero()[0])
        raise ValueError(f"data must be finite, got NaN or infinity in image {bad}")
