"""What a command will need later, looked at before its work: places, settings, images, networks.

A run takes hours. What would stop it at its last step is told before its first.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from ddpm_lite.batches import LAST_SEED
from ddpm_lite.diffusion import GaussianDiffusion
from ddpm_lite.images.sets import ImageSet
from ddpm_lite.runs.recipes import Recipe
from ddpm_lite.samplers import SampleStep, ddim, ddpm
from ddpm_lite.schedule import spaced_times
from ddpm_lite.system.machine import memory
from ddpm_lite.unet import UNet

__all__ = [
    "GROUPS", "Sampling", "check_classes", "check_counts", "check_file", "check_folder",
    "check_images", "check_pictures", "check_room", "check_scale",
    "check_training", "labels_of", "pick_labels", "pick_sampler", "pictures",
]  # fmt: skip

GROUPS = 10  # of Inception Score: fewer samples cannot be measured


@dataclass(frozen=True)
class Sampling:
    """How to draw: the chain, the sampler, how many steps it takes, and its own options."""

    diffusion: GaussianDiffusion
    sampler: Callable[..., Iterator[SampleStep]]
    steps: int
    options: dict[str, Any]


def check_training(recipe: Recipe, out: Path, sampler_steps: int | None) -> int:
    """All of a run that can be known without its images; returns the steps of its grids.

    Raises:
        ValueError: a setting that does not fit the others or does nothing.
        OSError: a folder that cannot be written to.
        MemoryError: as `check_room`.
    """
    check_room(recipe)
    T = recipe.diffusion.make(256).T
    steps = min(50, T) if sampler_steps is None else sampler_steps
    if not 1 <= steps <= T:
        raise ValueError(f"sampler_steps must lie in 1..{T}, got {steps}")
    if recipe.size is not None:
        recipe.network.levels(recipe.size)
    check_folder(out)
    return steps


def check_room(recipe: Recipe) -> None:
    """Refuse what cannot fit into this machine, by a count that is too low.

    Of the network, one convolution a block and the first layers of the attention are counted, each
    weight five times: itself, its gradient, Adam's two and the average.

    Raises:
        MemoryError: the least that it needs is more than the machine has.
    """
    c, batch, T = recipe.network, recipe.training.batch, recipe.diffusion.T
    widest = c.width * max(c.mults, default=0)
    heads = 3 * widest * c.heads * (c.head_width or 0)
    weights = sum(c.blocks * 9 * (c.width * m) ** 2 for m in c.mults) + heads
    shape = f"width={c.width}, mults={c.mults}, blocks={c.blocks}, heads={c.heads} and "
    shape += f"head_width={c.head_width}"
    for what, need in (
        (f"a network of {shape}", 20 * weights),
        (f"a chain of T={T}", 8 * 4 * T),
        (f"a batch={batch}", 8 * batch // recipe.training.accumulate),
    ):
        if need > memory():
            raise MemoryError(
                f"{what} needs {need / 1e9:,.0f} GB of memory or more, and there are "
                f"{memory() / 1e9:.0f} GB"
            )


def pick_sampler(
    diffusion: GaussianDiffusion, name: str, steps: int | None, eta: float | None
) -> Sampling:
    """How to draw, by what was asked for; all steps by default, 50 for ddim.

    Raises:
        ValueError: steps outside 1..T, eta outside [0, 1] or without ddim.
    """
    if eta is not None and name != "ddim":
        raise ValueError(f"eta is of ddim: it does nothing to {name}, got {eta}")
    if eta is not None and not 0 <= eta <= 1:
        raise ValueError(f"eta must lie in [0, 1], got {eta}")
    if name == "ddim":
        steps = min(50, diffusion.T) if steps is None else steps
        spaced_times(diffusion.T, steps)
        return Sampling(diffusion, ddim, steps, {"steps": steps, "eta": eta or 0.0})
    if steps is not None:
        diffusion = diffusion.subsequence(spaced_times(diffusion.T, steps))
    return Sampling(diffusion, ddpm, diffusion.T, {})


def check_counts(least: int, **counts: int | None) -> None:
    """Refuse a number below the least, or one that no machine counts to; None is neither."""
    for name, count in counts.items():
        if count is not None and count < least:
            raise ValueError(f"{name} must be at least {least}, got {count}")
        if count is not None and count > LAST_SEED:
            raise ValueError(f"{name} must be at most {LAST_SEED}, got {count}")


def check_scale(scale: float | None) -> None:
    """Refuse a scale of guidance that is no number from 0 up."""
    if scale is not None and not 0 <= scale < math.inf:
        raise ValueError(f"scale must be a number from 0 up, got {scale}")


def check_classes(network: UNet, **asked: str | float | None) -> None:
    """Refuse what means something for weights with classes alone, and these have none."""
    for what, value in asked.items():
        if network.classes is None and value is not None:
            raise ValueError(f"{what} needs weights with classes, these have none, got {value}")


def pick_labels(
    network: UNet, names: Sequence[str] | None, n: int, label: str | None = None
) -> Int[Tensor, " n"] | None:
    """The label of each of n samples: the one asked for, or else each class in turn.

    Args:
        names: what the classes are called, where that is known.
        label: a name, or a number.

    Raises:
        ValueError: a label that is none of the classes.
    """
    if network.classes is None:
        return None
    last, names = network.classes - 1, list(names or ())  # the last class stands for no label
    if label is None:
        return torch.arange(n, device="cpu") % last
    number = int(label) if re.fullmatch(r"\d{1,9}", label) else last
    if label in names:
        number = names.index(label)
    if number >= last:
        called = f", or one of {', '.join(names)}" * bool(names)
        raise ValueError(f"label must lie in 0..{last - 1}{called}, got {label}")
    return torch.full((n,), number, device="cpu")


def labels_of(network: UNet, names: Sequence[str] | None, data: ImageSet) -> Tensor | None:
    """The labels that weights with classes are told with these images; one is missing: none.

    Raises:
        ValueError: images without labels, or of other classes than the weights'.
    """
    if network.classes is None:
        return None
    last, what = network.classes - 1, f"{data.name} {data.split}"
    if data.labels is None:
        raise ValueError(f"these weights ask for labels, and the images of {what} have none")
    if names and data.classes and tuple(names) != data.classes:
        raise ValueError(
            f"the weights are for the classes {', '.join(names)}, and {what} has "
            f"{', '.join(data.classes)}"
        )
    if int(data.labels.max()) >= last:
        raise ValueError(
            f"the weights are for labels in 0..{last - 1}, and {what} has {int(data.labels.max())}"
        )
    return data.labels.where(data.labels >= 0, last)


def check_images(network: UNet, diffusion: GaussianDiffusion, data: ImageSet) -> None:
    """Refuse images that the weights were not made for, and fewer than a mean and an error need."""
    what = f"{data.name} {data.split}"
    expected, got = (network.channels, network.size, network.size), tuple(data.images.shape[1:])
    if got != expected:
        raise ValueError(
            f"the weights are for images of shape {expected}, and those of {what} have {got}"
        )
    if diffusion.levels is not None and data.levels != diffusion.levels:
        raise ValueError(
            f"the weights are for images of {diffusion.levels} grey levels, and those of {what} "
            f"have {data.levels}"
        )
    if len(data.images) < 2:
        raise ValueError(f"{what} must have at least two images, got {len(data.images)}")


def check_folder(out: Path) -> None:
    """Refuse a folder that cannot be made or written to; nothing is left behind.

    Raises:
        OSError: there is a file in its place or above it, or the system says no.
    """
    there = out.absolute()
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        raise NotADirectoryError(f"{out} must be a folder, or become one, and {there} is a file")
    try:
        with TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise OSError(f"{out} cannot be written: {there} says {error.strerror}") from error


def check_file(out: Path) -> None:
    """Refuse a file that cannot be made; nothing is left behind.

    Raises:
        OSError: there is a folder in its place, or as `check_folder`.
    """
    if out.is_dir():
        raise IsADirectoryError(f"{out} must be a file, and is a folder")
    check_folder(out.parent)


def check_pictures(out: Path, replace: bool) -> bool:
    """Whether samples go into one picture, by its ending; refuse a place that would mix them.

    Raises:
        ValueError: a picture of another kind than PNG, or a folder with something in it.
        OSError: as `check_file` and `check_folder`.
    """
    from PIL import Image  # slow to import, and not every command writes pictures

    if out.suffix.lower() == ".png":
        if replace:
            raise ValueError(f"replace is for a folder of pictures: it does nothing to {out}")
        check_file(out)
        return True
    if out.suffix.lower() in Image.registered_extensions():
        raise ValueError(f"out must end in .png, or be a folder, got {out}")
    check_folder(out)
    old = pictures(out)
    names = [path for path in out.iterdir() if path.name[0] != "."] if out.exists() else []
    others = sorted(set(names) - set(old))
    if others:
        raise ValueError(
            f"out must hold nothing but samples, and {out} has {others[0].name}: use another folder"
        )
    if old and not replace:
        raise ValueError(
            f"{out} holds {len(old)} samples already: --replace takes them away first, or use "
            "another folder"
        )
    return False


def pictures(folder: Path) -> list[Path]:
    """The samples that lie in a folder, or in what is yet to become one."""
    found = folder.iterdir() if folder.exists() else ()
    return sorted(p for p in found if re.fullmatch(r"\d{6,}\.png(\.part)?", p.name))
