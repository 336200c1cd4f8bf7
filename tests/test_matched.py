"""Samples and real images are compared like with like: as many, and of the same classes."""

import pytest
import torch

from ddpm_lite.experiments import matched
from ddpm_lite.images.data import digits
from ddpm_lite.quality.metrics import frechet_distance, moments

LABELS = digits("train")[1]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("classes", ["even", "free"])
@pytest.mark.parametrize("reference", [None, 900])
def test_two_sets_are_disjoint_and_of_the_asked_classes(
    classes: matched.Classes, reference: int | None
) -> None:
    a, b = matched.two_sets(LABELS, 500, classes, generator(), reference)
    assert len(a) == 500
    assert len(b) == (reference or 500)
    assert len(torch.cat([a, b]).unique()) == len(a) + len(b)
    counts = LABELS[a].bincount()
    assert (counts == 50).all() == (classes == "even")
    assert (LABELS[b].bincount() == 50).all() == (classes == "even" and reference is None)


def test_too_many_are_refused() -> None:
    with pytest.raises(ValueError, match="two sets need 200 images of a kind"):
        matched.two_sets(LABELS, 1000, "even", generator())
    with pytest.raises(ValueError, match="1300 others are wanted, 998 are left"):
        matched.two_sets(LABELS, 500, "free", generator(), 1300)


def test_labels_are_even_or_fall_as_those_of_digits() -> None:
    assert (matched.labels_for(LABELS, 500, "even", 0).bincount() == 50).all()
    free = matched.labels_for(LABELS, 500, "free", 0)
    assert free.bincount(minlength=10).double().std() > 2
    assert not torch.equal(free, matched.labels_for(LABELS, 500, "free", 1))


def test_the_distance_is_to_as_many_and_the_floor_to_others() -> None:
    real = torch.randn(len(LABELS), 3, generator=generator(1)).double()
    seen = torch.randn(200, 3, generator=generator(2)).double()
    far = matched.distance(seen, real, LABELS, "free")
    to_all = float(frechet_distance(*moments(seen), *moments(real)))
    assert to_all < far  # fewer images, a longer distance
    floor = matched.floor(real, LABELS, 200, "free")
    assert abs(far - floor["mean"]) < 4 * floor["std"]
    assert matched.floor(real, LABELS, 200, "free", 1000)["mean"] < floor["mean"]
