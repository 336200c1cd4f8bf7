"""Samples against real images: what the networks see, and what is reported with the numbers."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ddpm_lite import (
    SampleScores,
    digits,
    evaluate_samples,
    frechet_distance,
    inception_score,
    moments,
    real_floor,
)
from ddpm_lite.quality.classifier import load_classifier

NET = load_classifier()
TRAIN, TEST = digits("train")[0], digits("test")[0]


def flat(x: Tensor) -> Tensor:
    return x.flatten(1)


def noisy(images: Tensor, amount: float) -> Tensor:
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    return (images + amount * noise).clamp(-1, 1)


class Features(nn.Module):
    """The features alone, as torchmetrics wants them."""

    num_features = 64

    def forward(self, x: Tensor) -> Tensor:
        return NET.features(x)


def test_against_torchmetrics() -> None:
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.inception import InceptionScore

    samples = noisy(TRAIN[:200], 0.4)
    scores = evaluate_samples(samples, TEST, NET.features, NET.head, split="test", batch=64)
    distance = FrechetInceptionDistance(feature=Features())
    distance.update(TEST, real=True)
    distance.update(samples, real=False)
    with pytest.warns(UserWarning, match="will save all extracted features"):
        score = InceptionScore(feature=NET)
    score.update(samples)
    torch.manual_seed(0)
    with torch.inference_mode():
        expected = [value.item() for value in (distance.compute(), *score.compute())]
    got = [scores.frechet, scores.inception_score, scores.inception_score_std]
    assert got == pytest.approx(expected, rel=1e-4)


def test_all_that_the_numbers_hang_on_is_reported() -> None:
    scores = evaluate_samples(TRAIN[:50], TEST, NET.features, NET.head, split="test", groups=5)
    counts = (scores.samples, scores.reference, scores.split, scores.groups, scores.features)
    assert counts == (50, 299, "test", 5, "DigitsClassifier")
    for part in ("50 samples against 299 images of test", "in 5 groups", "of DigitsClassifier"):
        assert part in str(scores)
    assert f"Fréchet distance {scores.frechet:.4g}" in str(scores)
    assert f"Score {scores.inception_score:.2f} ± {scores.inception_score_std:.2f}" in str(scores)


def test_without_a_head_or_with_one_group() -> None:
    scores = evaluate_samples(TRAIN[:5], TEST, flat, split="test")
    assert (scores.inception_score, scores.inception_score_std) == (None, None)
    assert "Inception" not in str(scores)
    assert scores.features == "flat"
    assert scores.frechet == frechet_distance(*moments(flat(TRAIN[:5])), *moments(flat(TEST)))
    scores = evaluate_samples(TRAIN[:5], TEST, flat, flat, split="test", groups=1)
    assert math.isnan(scores.inception_score_std)
    assert f"{scores.inception_score:.2f} in 1 group, 5 samples" in str(scores)
    assert scores.inception_score == inception_score(flat(TRAIN[:5]), 1)[0]


def test_the_network_sees_every_image_once_and_a_batch_at_a_time() -> None:
    seen = []

    def network(x: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        seen.append(x)
        return flat(x)

    evaluate_samples(TRAIN[:50], TEST[:20], network, split="test", batch=16)
    assert [len(x) for x in seen] == [16, 16, 16, 2, 16, 4]
    assert torch.equal(torch.cat(seen), torch.cat([TRAIN[:50], TEST[:20]]))


def test_the_network_s_device_is_asked_for() -> None:
    places = []

    def network(x: Tensor) -> Tensor:
        places.append(x.device.type)
        return torch.rand(len(x), 3)

    evaluate_samples(TRAIN[:5], TEST[:5], network, split="test", device="meta")
    real_floor(TRAIN[:9], 3, network, split="train", device="meta")
    assert set(places) == {"meta"}
    evaluate_samples(TRAIN[:5], TEST[:5], network, split="test")
    assert places[-1] == "cpu"


def test_worse_samples_score_worse() -> None:
    def scores(samples: Tensor) -> SampleScores:
        return evaluate_samples(samples, TEST, NET.features, NET.head, split="test", groups=1)

    real, some, much = (scores(noisy(TRAIN[:299], amount)) for amount in (0, 0.3, 1.0))
    assert real.frechet < some.frechet < much.frechet
    assert real.inception_score > some.inception_score > much.inception_score
    zeros = scores(TRAIN[digits("train")[1] == 0])  # perfect, and only a tenth of what there is
    assert zeros.frechet > 5 * real.frechet
    assert zeros.inception_score < 1.2


def test_the_floor_is_of_disjoint_sets() -> None:
    """Of four images there are three ways to make two pairs; no draw is anything else."""
    real = TRAIN[:4]
    ways = {}
    for pair in itertools.combinations(range(4), 2):
        rest = [i for i in range(4) if i not in pair]
        apart = [moments(flat(real[list(rows)])) for rows in (pair, rest)]
        ways[min(pair, tuple(rest))] = frechet_distance(*apart[0], *apart[1])
    assert len(ways) == 3
    met = set()
    for seed in range(12):
        floor = real_floor(real, 2, flat, split="train", repeats=2, seed=seed)
        for sign in (-1, 1):  # mean and deviation of two numbers give the numbers
            one = floor.mean + sign * floor.std / math.sqrt(2)
            (way,) = [way for way, d in ways.items() if d == pytest.approx(one, rel=1e-6)]
            met.add(way)
    assert len(met) == 3


def test_the_floor_falls_as_one_over_the_number_of_images() -> None:
    real = torch.randn(2400, 1, 2, 2).clamp(-3, 3) / 3
    few, many = (real_floor(real, n, flat, split="made up", repeats=20) for n in (100, 400))
    assert few.mean / many.mean == pytest.approx(4, rel=0.3)
    assert few.mean > 5 * few.std / math.sqrt(20)  # and it is not zero


def test_the_floor_reports_what_it_was_made_from() -> None:
    floor = real_floor(TRAIN, 40, NET.features, split="train", reference=60, repeats=3)
    assert (floor.samples, floor.reference, floor.split, floor.repeats) == (40, 60, "train", 3)
    assert floor.features == "DigitsClassifier"
    for part in (f"{floor.mean:.4g} ± {floor.std:.2g}", "40 real images against 60 others of train",
                 "3 draws", "of DigitsClassifier"):  # fmt: skip
        assert part in str(floor)
    assert real_floor(TRAIN, 40, flat, split="train", repeats=2).reference == 40


def test_the_floor_repeats_by_its_seed() -> None:
    before = torch.get_rng_state()
    one, again, other = (real_floor(TRAIN, 40, flat, split="train", seed=s) for s in (0, 0, 1))
    assert one == again
    assert one.mean != other.mean
    assert torch.equal(torch.get_rng_state(), before)


def evaluate(samples: Any = TRAIN[:5], reference: Any = TEST[:5], **how: Any) -> SampleScores:
    how = {"features": flat, "split": "test", **how}
    return evaluate_samples(samples, reference, **how)


def floor(real: Any = TRAIN[:9], samples: int = 3, **how: Any) -> Any:
    return real_floor(real, samples, **{"features": flat, "split": "train", **how})


@pytest.mark.usefixtures("as_a_reader")
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: evaluate(TRAIN[:5].long()), TypeError, "samples must be floating point"),
        (lambda: evaluate(TRAIN[:1]), ValueError, r"samples must be \[N, C, H, W\] with N >= 2"),
        (lambda: evaluate(TRAIN[:5, 0]), ValueError, r"got \(5, 8, 8\)"),
        (lambda: evaluate(TRAIN[:5, :0]), ValueError, r"got \(5, 0, 8, 8\)"),
        (lambda: evaluate(TRAIN[:5] * 127.5 + 127.5), ValueError, r"\[-1, 1\], got 0\.\.255"),
        (lambda: evaluate(reference=TEST[:5] + torch.nan), ValueError, "reference must lie in"),
        (lambda: evaluate(TRAIN[:5, ..., :4]), ValueError,
         r"of one shape, got \(1, 8, 4\) and \(1, 8, 8\)"),
        (lambda: evaluate(split=""), ValueError, "split must say what the reference is"),
        (lambda: evaluate(batch=0), ValueError, "batch must be at least 1, got 0"),
        (lambda: evaluate(head=flat, groups=6), ValueError, r"groups must lie in 1\.\.5, got 6"),
        (lambda: evaluate(features=load_classifier().train().features), ValueError,
         "features must come from a network in eval mode"),
        (lambda: evaluate(head=nn.Flatten()), ValueError, "head must come from a network in eval"),
        (lambda: evaluate(features=lambda x: x), ValueError,
         r"must return \[B, F\], got \(5, 1, 8, 8\) for 5 rows"),
        (lambda: evaluate(features=lambda x: flat(x)[1:]), ValueError, r"got \(4, 64\) for 5"),
        (lambda: floor(TRAIN[:9, 0]), ValueError, r"real must be \[N, C, H, W\]"),
        (lambda: floor(split=""), ValueError, "split must say"),
        (lambda: floor(features=nn.Flatten()), ValueError, "eval mode"),
        (lambda: floor(batch=0), ValueError, "batch must be at least 1, got 0"),
        (lambda: floor(samples=1), ValueError, "samples must be at least 2, got 1"),
        (lambda: floor(reference=1), ValueError, "reference must be at least 2, got 1"),
        (lambda: floor(repeats=1), ValueError, "repeats must be at least 2, got 1"),
        (lambda: floor(samples=5), ValueError, r"at most the 9 real images, got 5 \+ 5"),
    ],
)  # fmt: skip
def test_bad_input(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_rounding_beyond_the_range_is_let_pass() -> None:
    assert evaluate(TRAIN[:5] * (1 + 1e-6)).frechet == pytest.approx(evaluate().frechet, rel=1e-4)
