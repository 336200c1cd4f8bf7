"""What a command will need later, looked at before its work: places, settings, images, networks.

A run takes hours. What would stop it at its last step is told before its first.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from ddpm_lite.diffusion import GaussianDiffusion
from ddpm_lite.images.sets import ImageSet
from ddpm_lite.runs.recipes import Recipe
from ddpm_lite.samplers import SampleStep, ddim, ddpm
from ddpm_lite.schedule import spaced_times
from ddpm_lite.system.machine import memory
from ddpm_lite.unet import UNet

__all__ = [
    "GROUPS", "Sampling", "check_counts", "check_file", "check_folder", "check_images",
    "check_network", "check_pictures", "check_room", "check_square", "check_training",
    "pick_sampler", "pictures",
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
    if recipe.training.drop_label:
        raise ValueError(
            "drop_label must be 0, for this command trains without labels, got "
            f"{recipe.training.drop_label}; in Python: train(..., labels=...)"
        )
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
    """Refuse a number below the least; None is none of these."""
    for name, count in counts.items():
        if count is not None and count < least:
            raise ValueError(f"{name} must be at least {least}, got {count}")


def check_network(network: UNet) -> None:
    """Refuse weights that ask for more than the command line can give."""
    if network.classes is not None:
        raise ValueError(
            f"these weights want a label from 0..{network.classes - 1} with each image, and the "
            "command line cannot name labels yet; in Python: ddpm_lite.guidance"
        )


def check_square(data: ImageSet) -> None:
    """Refuse images that no network here can be made for."""
    height, width = data.images.shape[2:]
    if height != width:
        raise ValueError(
            f"images must be square, but those of {data.name} are {width} x {height}; "
            f"--size {min(height, width)} crops and resizes all"
        )


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
            f"{out} must hold nothing but samples, and has {others[0].name}: use another folder"
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
