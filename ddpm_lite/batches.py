"""What each training step sees: drawn from the seed and the step's number alone.

So a run that stops and goes on again is the run that never stopped, and any number of processes
share one draw.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ddpm_lite.images.data import scaled, warn_of_range
from ddpm_lite.images.sets import ImageSet
from ddpm_lite.system.device import Device, fits
from ddpm_lite.system.processes import rank, world

__all__ = [
    "LAST_SEED", "Batch", "Draw", "check_data", "derive_seed", "mixed", "place", "seeded",
    "take_data", "to_device",
]  # fmt: skip


class Batch(NamedTuple):
    """What a step is computed from; `condition` as for `GaussianDiffusion.p_losses`."""

    x0: Tensor
    t: Tensor
    eps: Tensor
    condition: bool
    labels: Tensor | None


class Draw:
    """Images, times and noise of each step: this process's share of the whole batch.

    Every process draws the whole batch alike and keeps every so many of it, so that a step does
    not depend on how many they are.

    Args:
        data: [N, ...] in [-1, 1], or uint8 grey levels.
        T: times are drawn from 1..T.
        levels: grey levels of uint8 data.
        batch: images a step, over all processes together.
        flip: mirror half of the images, left for right.
        seed: of the run.
        layout: of the images, in memory.
        device: where the network is.
        labels: [N] of the images.
        drop_label: the share of labels to hide.
        hidden: the class that stands for a hidden label.
    """

    def __init__(
        self,
        data: Tensor,
        T: int,
        levels: int,
        batch: int,
        flip: bool = False,
        seed: int = 0,
        layout: torch.memory_format = torch.contiguous_format,
        device: torch.device = torch.device("cpu"),  # noqa: B008
        labels: Tensor | None = None,
        drop_label: float = 0.0,
        hidden: int = 0,
    ):
        self.data, self.T, self.levels = to_device(data, device), T, levels
        self.batch, self.flip, self.seed = batch, flip, seed
        self.layout, self.device = layout, device
        self.labels = None if labels is None else labels.to(self.data.device)
        self.drop_label, self.hidden = drop_label, hidden
        self.where, self.random = torch.Generator(self.data.device), torch.Generator(device)

    def __call__(self, step: int) -> Batch:
        n, device = self.batch, self.device
        seed = derive_seed(self.seed, step, 0)
        where, random = self.where.manual_seed(seed), self.random.manual_seed(seed + 1)
        mine = slice(rank(), None, world())
        index = torch.randint(len(self.data), (n,), device=self.data.device, generator=where)
        x0 = self.data[index[mine]]
        if x0.device != device:
            x0 = x0.pin_memory().to(device, non_blocking=True)
        if x0.dtype == torch.uint8:
            x0 = scaled(x0, self.levels)
        t = torch.randint(1, self.T + 1, (n,), device=device, generator=random)
        eps = torch.randn((n, *x0.shape[1:]), device=device, dtype=x0.dtype, generator=random)
        if self.flip:
            mirrored = torch.rand(n, device=device, generator=random)[mine] < 0.5
            mirrored = mirrored.view(-1, *[1] * (x0.ndim - 1))
            x0 = torch.where(mirrored, x0.flip(-1), x0)
        x0, eps = (x.contiguous(memory_format=self.layout) for x in (x0, eps[mine]))
        labels = None
        if self.labels is not None:
            hide = torch.rand(n, device=device, generator=random) < self.drop_label
            labels = torch.where(hide, self.hidden, self.labels[index].to(device))[mine]
        condition = bool(seed & 1)  # half of the steps, and known without asking the device
        return Batch(x0, t[mine], eps, condition, labels)


def to_device(data: Tensor, device: torch.device) -> Tensor:
    """On the device where they take at most half of what is free there; else they stay."""
    apart = device.type == "cuda" and data.device.type != "cuda"
    if apart and not fits(Device.of(device), data.nbytes):
        return data
    return data.to(device)


def take_data(data: Any, levels: int | None) -> Tensor:
    """Images as a tensor to train on; what cannot be trained on is refused by name.

    Args:
        data: [N, ...] in [-1, 1], or uint8 grey levels; a tensor, an array or an `ImageSet`.
        levels: grey levels of the diffusion.

    Raises:
        TypeError: data of another kind, or neither floating point nor uint8.
        ValueError: no images, NaN or infinite values, images outside [-1, 1], or other levels than
            the diffusion's.
    """
    if isinstance(data, ImageSet):
        if data.levels != levels:
            raise ValueError(
                f"the diffusion's levels must be those of {data.name}, {data.levels}, got {levels}"
            )
        data = data.images
    if isinstance(data, np.ndarray):
        data = torch.as_tensor(data, device="cpu")
    if not isinstance(data, Tensor):
        raise TypeError(
            "data must be a tensor or an array [N, ...] of all images, or an ImageSet, got "
            f"{type(data).__name__}: `train` draws its own batches from them"
        )
    check_data(data, levels)
    return data


def check_data(data: Tensor, levels: int | None) -> None:
    """Refuse data that cannot be trained on, by name; warn of a range that is hardly meant."""
    if data.dtype != torch.uint8 and not data.is_floating_point():
        raise TypeError(
            f"data must be floating point in [-1, 1], or uint8 grey levels, got {data.dtype}"
        )
    if len(data) == 0:
        raise ValueError("data must hold at least one image, got none")
    if data.dtype == torch.uint8:
        _check_levels(int(data.max()), levels)
        return
    if not data.isfinite().all():
        bad = int((~data.isfinite().flatten(1).all(1)).nonzero()[0])
        raise ValueError(f"data must be finite, got NaN or infinity in image {bad}")
    if data.ndim == 4:  # points in a plane may lie where they like
        low, high = data.min().item(), data.max().item()
        if max(-low, high) > 1 + 1e-3:
            raise ValueError(f"images must lie in [-1, 1], got {low:.4g}..{high:.4g}")
        warn_of_range("data", low, high)


def _check_levels(highest: int, levels: int | None) -> None:
    if levels is None or highest > levels - 1:
        raise ValueError(
            f"grey levels must lie below the diffusion's levels = {levels}, got {highest}"
        )
    if 0 < highest < levels // 2:
        warnings.warn(
            f"the highest grey level is {highest} of 0..{levels - 1}: are the diffusion's levels "
            "those of the data?",
            stacklevel=4,
        )


LAST_SEED = 2**63 - 1  # that torch takes


def derive_seed(seed: int, step: int, stream: int) -> int:
    """One well-mixed number for each seed, step and stream."""
    sequence = np.random.SeedSequence([seed, step, stream])
    return int(sequence.generate_state(1, np.uint64)[0]) >> 1


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's own generator, from which dropout draws, seeded within and put back after."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


mixed, place = derive_seed, to_device  # their names until 0.2
