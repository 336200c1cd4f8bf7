"""Samples against as many real images of the same classes: what makes two Fréchet distances alike.

A distance falls with the number of images on either side, and with classes that come out even on
both. So samples are held against real images drawn as they were, and so are other real images: the
floor.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ddpm_lite.experiments.tables import Classes
from ddpm_lite.quality.metrics import frechet_distance, moments

__all__ = ["distance", "floor", "labels_for", "two_sets"]

REPEATS, NUMBER_OF_CLASSES = 20, 10


def two_sets(
    labels: Int[Tensor, " N"],
    size: int,
    classes: Classes,
    generator: torch.Generator,
    reference: int | None = None,
) -> tuple[Int[Tensor, " size"], Int[Tensor, " other"]]:
    """Rows of two disjoint random sets of images, of `size` and as many, given the images' labels.

    Args:
        classes: "free" draws both as they fall; "even" takes equally many of each class.
        reference: the size of the second set, drawn from what is left as it falls.

    Raises:
        ValueError: fewer images of a class, or of all, than both sets need.
    """
    groups = [torch.arange(len(labels))]
    if classes == "even":
        groups = [(labels == c).nonzero()[:, 0] for c in range(NUMBER_OF_CLASSES)]
    each = size // len(groups)
    needed = 2 * each if reference is None else each
    if (fewest := min(len(group) for group in groups)) < needed:
        raise ValueError(f"two sets need {needed} images of a kind, there are {fewest}")
    dealt = [group[torch.randperm(len(group), generator=generator)] for group in groups]
    first = torch.cat([d[:each] for d in dealt])
    if reference is None:
        return first, torch.cat([d[each : 2 * each] for d in dealt])
    left = torch.cat([d[each:] for d in dealt])
    if len(left) < reference:
        raise ValueError(f"{reference} others are wanted, {len(left)} are left")
    return first, left[torch.randperm(len(left), generator=generator)[:reference]]


def labels_for(
    labels: Int[Tensor, " N"], size: int, classes: Classes, seed: int
) -> Int[Tensor, " size"]:
    """Labels to ask a network for: equally many of each, or those of random real images."""
    if classes == "even":
        return torch.arange(size) % NUMBER_OF_CLASSES
    generator = torch.Generator().manual_seed(seed)
    return labels[torch.randint(len(labels), (size,), generator=generator)]


def distance(
    seen: Float[Tensor, "size F"],
    real: Float[Tensor, "N F"],
    labels: Int[Tensor, " N"],
    classes: Classes,
) -> float:
    """The mean Fréchet distance of samples' features to sets of as many real ones, of N in all."""
    generator, found = torch.Generator().manual_seed(0), 0.0
    for _ in range(REPEATS):
        rows, _ = two_sets(labels, len(seen), classes, generator)
        found += frechet_distance(*moments(seen), *moments(real[rows])) / REPEATS
    return found


def floor(
    real: Float[Tensor, "N F"],
    labels: Int[Tensor, " N"],
    size: int,
    classes: Classes,
    reference: int | None = None,
) -> dict[str, float]:
    """The distance between two disjoint sets of real images: mean and deviation of one.

    Args:
        real: features of real images.
        labels: of the same images.
        size, classes, reference: as for `two_sets`.

    Raises:
        ValueError: as `two_sets`.
    """
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(REPEATS):
        a, b = two_sets(labels, size, classes, generator, reference)
        found.append(float(frechet_distance(*moments(real[a]), *moments(real[b]))))
    each = torch.tensor(found, dtype=torch.float64)
    return {"mean": each.mean().item(), "std": each.std().item(), "repeats": REPEATS}
