"""What the doctor measures of a network: its error at some times, beside what is known of the best.

Nothing here judges; `doctor.py` does.
"""

import copy
import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ddpm_lite._doors import door
from ddpm_lite.batches import derive_seed
from ddpm_lite.blocks import Attention
from ddpm_lite.diffusion import GaussianDiffusion, Model
from ddpm_lite.oracle import Oracle
from ddpm_lite.schedule import NoiseSchedule

__all__ = ["ByTime", "against_the_oracle", "attention_rows", "clock", "spread_times"]

KNOWN = 256  # images that the oracle knows
ROOM = 2**24  # numbers that it may hold at once
Values = Float[Tensor, " times"]


def spread_times(
    schedule: NoiseSchedule, count: int = 12, least: float = 0.0, most: float = math.inf
) -> list[int]:
    """Times at most `count`, evenly spaced in the logarithm of the SNR, from `most` to `least`.

    From 1 to T by default; empty where the chain has no such SNR.
    """
    snr = schedule.snr[1:]
    inside = ((snr >= least) & (snr <= most)).nonzero()[:, 0]
    if not len(inside):
        return []
    log = snr.log()
    ends = float(log[inside[0]]), float(log[inside[-1]])
    wanted = torch.linspace(*ends, count, dtype=log.dtype, device="cpu")
    return sorted({int((log - w).abs().argmin()) + 1 for w in wanted})


@dataclass(frozen=True)
class ByTime:
    """The error of x0_hat at some times, mean square per pixel [times], beside what is known.

    Args:
        times: t, increasing.
        snr: alpha_bar_t / (1 - alpha_bar_t).
        error: the network's, (x0_hat - x_0)^2, not clipped.
        uncertainty: its standard error.
        floor: the oracle's, on the same x_t: no network does better on these images.
        alone: of the best guess that looks at each pixel by itself and is linear in it.
        nothing: of the best constant, the mean image: the variance of the data.
        slope: of eps on eps_hat, their inner product by the square of eps_hat; 1 where eps_hat is
            a conditional mean.
        slope_uncertainty: its standard error.
        scale: what (x0_hat - x_0)^2 is multiplied by to be the training loss of the objective.
    """

    times: tuple[int, ...]
    snr: Values
    error: Values
    uncertainty: Values
    floor: Values
    alone: Values
    nothing: Values
    slope: Values
    slope_uncertainty: Values
    scale: Values

    @property
    def loss(self) -> Values:
        """The error in the coordinate that the network predicts: its training loss at t."""
        return self.scale * self.error


@door
def against_the_oracle(
    model: Model,
    diffusion: GaussianDiffusion,
    x0: Float[Tensor, "N *D"],
    *,
    times: list[int] | None = None,
    images: int = 256,
    labels: Int[Tensor, " labels"] | None = None,
    seed: int = 0,
) -> ByTime:
    """A network on exact targets: its error at each time beside the oracle's on the same x_t.

    The oracle knows the images, at most 256 drawn from x0, and their labels where the network is
    told them, and x_t is made from these alone. So its error is the least there is, and what a
    network has more is its own fault:
    E|x0_hat - x_0|^2 = E|x0* - x_0|^2 + E|x0_hat - x0*|^2, where x0* = E[x_0 | x_t].

    Args:
        model: `(xt, t) -> output`.
        diffusion: with which it is sampled.
        x0: [N, ...], the images of its training, or as many others.
        times: in 1..T; a dozen by `spread_times` when not given.
        images: how many x_t at each time.
        labels: [N], for a network with classes.
        seed: of images and noise; the same for every network.

    Raises:
        ValueError: fewer than two images, no times, labels that do not fit; as for `Oracle`.
    """
    check_set(x0, images, labels)
    times = spread_times(diffusion.schedule) if times is None else times
    if not times:
        raise ValueError("times must hold at least one t, got none")
    known, chosen = pick(len(x0), images, seed)
    means = x0[known].float().cpu()
    some, told = x0[chosen], None if labels is None else labels[chosen]
    variance = x0.double().flatten(1).var(0, correction=0).cpu()
    oracles = _Oracles(diffusion.schedule, means, None if labels is None else labels[known])
    columns: list[list[float]] = []
    for t in times:
        eps = noise(some, seed, t)
        xt = diffusion.q_sample(some, t, eps)
        x0_hat, eps_hat = answer(model, diffusion, xt, t, told)
        error = per_image((x0_hat - some).double() ** 2)
        best = oracles.x0_hat(xt.float().cpu(), t, told)
        floor = per_image((best - some.double().cpu()) ** 2).mean()
        both, own = per_image((eps * eps_hat).double()), per_image(eps_hat.double() ** 2)
        slope = both.mean() / own.mean()
        alpha_bar = diffusion.schedule.alpha_bar[t]
        alone = variance * (1 - alpha_bar) / (alpha_bar * variance + 1 - alpha_bar)
        factor = diffusion.conversions["x0", diffusion.objective][0].float64[t]
        row = [
            diffusion.schedule.snr[t], error.mean(), error.std() / len(error) ** 0.5, floor,
            alone.mean(), variance.mean(), slope,
            (both - slope * own).std() / own.mean() / len(own) ** 0.5, factor**2,
        ]  # fmt: skip
        columns.append([float(value) for value in row])
    values = torch.tensor(columns, dtype=torch.float64, device="cpu").T
    return ByTime(tuple(times), *values)


class _Oracles:
    """The oracle of a set; with labels one for each class, since a label is knowledge too."""

    def __init__(self, schedule: NoiseSchedule, means: Tensor, labels: Tensor | None):
        classes = [None] if labels is None else labels.unique().tolist()
        self.of = {c: Oracle(schedule, means if c is None else means[labels == c]) for c in classes}

    def x0_hat(self, xt: Tensor, t: int, labels: Tensor | None) -> Tensor:
        found, every = torch.empty_like(xt), torch.arange(len(xt), device="cpu")
        for label, oracle in self.of.items():
            rows = every if label is None else (labels == label).nonzero()[:, 0]
            for some in rows.split(max(1, ROOM // oracle.means.numel())):
                found[some] = oracle.x0_hat(xt[some], t)
        return found


def clock(
    model: Model,
    diffusion: GaussianDiffusion,
    x0: Tensor,
    t: int,
    told: list[int],
    images: int = 256,
    labels: Tensor | None = None,
    seed: int = 0,
) -> Tensor:
    """The error of the output at x_t [told, images] where the network is told other times than t.

    Of a network that knows its times the mean is least where it is told t itself.
    """
    _, chosen = pick(len(x0), images, seed)
    some, labels = x0[chosen], None if labels is None else labels[chosen]
    eps = noise(some, seed, t)
    xt = diffusion.q_sample(some, t, eps)
    rows = []
    for other in told:
        ask = partial(_at_another_time, model, other)
        x0_hat, _ = answer(ask, diffusion, xt, t, labels)
        rows.append(per_image((x0_hat - some).double() ** 2))
    return torch.stack(rows)


def _at_another_time(model: Any, told: int, xt: Tensor, t: Tensor, *more: Any, **named: Any) -> Any:
    return model(xt, torch.full_like(t, told), *more, **named)


def attention_rows(network: nn.Module, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
    """What each pixel's attention adds up to, of every full attention in the network, [M].

    With v = 1 everywhere a weighted mean of v is 1, whatever the weights are. In a copy of the
    network v is made so and the output is its mean over channels; what comes out is the sum over
    the pixels looked at. Entry m is the one farthest from 1 in the m-th attention.
    """
    twin, sums = copy.deepcopy(network), []
    for module in twin.modules():
        if isinstance(module, Attention):
            module.qkv = _Ones(module.qkv)  # type: ignore[assignment]
            module.out = _Mean(module.out)

            def note(_: nn.Module, given: tuple[Tensor], out: Tensor) -> None:
                added = (out - given[0]).flatten()
                sums.append(added[(added - 1).abs().argmax()].item())

            module.register_forward_hook(note)
    more: dict[str, Any] = {} if labels is None else {"labels": labels}
    with torch.no_grad():
        twin(x, t, **more)
    return torch.tensor(sums, dtype=torch.float64, device="cpu")


class _Ones(nn.Module):
    """q and k as a layer has them, and ones in the place of v."""

    def __init__(self, qkv: nn.Module):
        super().__init__()
        self.qkv = qkv

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=1)
        return torch.cat([q, k, torch.ones_like(v)], dim=1)


class _Mean(nn.Module):
    """The mean over what attention hands on, in each of the channels of a layer."""

    def __init__(self, out: Any):
        super().__init__()
        self.channels = out.out_channels

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1, keepdim=True).expand(-1, self.channels, -1, -1)


def answer(
    model: Model, diffusion: GaussianDiffusion, xt: Tensor, t: int, labels: Tensor | None
) -> tuple[Tensor, Tensor]:
    """x0_hat and eps_hat, not clipped."""
    ask: Any = model if labels is None else partial(model, labels=labels)  # type: ignore[call-arg]
    with torch.no_grad():
        out = diffusion.p_mean_variance(ask, xt, t, clip=False)
    return out.x0_hat, out.eps_hat


def pick(N: int, images: int, seed: int) -> tuple[Tensor, Tensor]:
    """Which images the oracle knows, and which of these are noised, some more than once."""
    generator = torch.Generator().manual_seed(derive_seed(seed, 0, 0))
    known = torch.randperm(N, generator=generator, device="cpu")[:KNOWN]
    rows = torch.arange(images, device="cpu") % len(known)
    return known, known[rows]


def noise(x: Tensor, seed: int, t: int) -> Tensor:
    """The noise at t, the same for every network and every set of this size."""
    generator = torch.Generator().manual_seed(derive_seed(seed, t, 1))
    return torch.randn(x.shape, generator=generator, dtype=x.dtype, device="cpu").to(x.device)


def per_image(x: Tensor) -> Tensor:
    """The mean over the pixels of each image [B], on the CPU."""
    return x.flatten(1).mean(1).cpu()


def check_set(x0: Tensor, images: int, labels: Tensor | None) -> None:
    """Refuse what no error can be measured on."""
    if len(x0) < 2:
        raise ValueError(f"x0 must hold at least two images, got {len(x0)}")
    if not 2 <= images <= KNOWN:
        raise ValueError(f"images must lie in 2..{KNOWN}, got {images}")
    if not x0.isfinite().all():
        raise ValueError(f"x0 must be finite, got {int((~x0.isfinite()).sum())} NaN or infinite")
    if labels is not None and labels.shape != (len(x0),):
        raise ValueError(f"labels must have shape ({len(x0)},), got {tuple(labels.shape)}")
