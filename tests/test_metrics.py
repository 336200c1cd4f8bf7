"""Distances between sets, against closed forms, brute force, scipy and torchmetrics."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from ddpm_lite import (
    frechet_distance,
    inception_score,
    moments,
    nearest_distance,
    nearest_ratio,
)


def covariance(size: int, seed: int) -> Tensor:
    a = torch.randn(size, 2 * size, generator=torch.Generator().manual_seed(seed)).double()
    return a @ a.T / size


def frechet_of(a: Tensor, b: Tensor) -> float:
    return frechet_distance(*moments(a), *moments(b))


@pytest.mark.parametrize("shape", [(2, 5), (40, 7), (9, 1)])
def test_moments_are_numpy_s(shape: tuple[int, int]) -> None:
    features = torch.randn(shape) * 3 + 100  # far from zero, where a naive sum of squares loses
    mean, cov = moments(features)
    double = features.double().numpy()
    assert_close(mean, torch.from_numpy(double.mean(0)))
    expected = np.cov(double, rowvar=False).reshape(shape[1], shape[1])
    assert_close(cov, torch.from_numpy(expected), rtol=1e-10, atol=1e-10)


@pytest.mark.proves("frechet_distance")
def test_frechet_distance_where_covariances_commute() -> None:
    """Then it is sum (m_a - m_b)^2 + (s_a - s_b)^2 along the eigenvectors that both share."""
    mean_a, mean_b = torch.randn(2, 6).double()
    var_a, var_b = torch.rand(2, 6).double() * 4
    expected = ((mean_a - mean_b) ** 2 + (var_a.sqrt() - var_b.sqrt()) ** 2).sum().item()
    diagonal = frechet_distance(mean_a, var_a.diag(), mean_b, var_b.diag())
    assert diagonal == pytest.approx(expected, rel=1e-12)
    q = torch.linalg.qr(torch.randn(6, 6).double()).Q
    turned = [q @ var.diag() @ q.T for var in (var_a, var_b)]
    assert frechet_distance(mean_a, turned[0], mean_b, turned[1]) == pytest.approx(expected)
    # Negative control: the variances' own difference is not it.
    assert abs(expected - ((mean_a - mean_b) ** 2 + (var_a - var_b) ** 2).sum()) > 0.1


@pytest.mark.proves("frechet_distance")
@pytest.mark.parametrize("size", [1, 2, 20])
def test_frechet_distance_against_scipy(size: int) -> None:
    from scipy.linalg import sqrtm

    mean_a, mean_b = torch.randn(2, size).double()
    cov_a, cov_b = covariance(size, 1), covariance(size, 2)
    root = np.trace(np.real(sqrtm((cov_a @ cov_b).numpy())))
    expected = ((mean_a - mean_b) ** 2).sum() + cov_a.trace() + cov_b.trace() - 2 * root
    assert frechet_distance(mean_a, cov_a, mean_b, cov_b) == pytest.approx(expected.item())


@pytest.mark.proves("frechet_distance")
def test_frechet_distance_against_torchmetrics() -> None:
    from torchmetrics.image.fid import FrechetInceptionDistance

    network = nn.Flatten()
    network.num_features = 12  # type: ignore[assignment]
    a, b = torch.randn(50, 12).double(), torch.randn(80, 12).double() * 1.5 + 0.3
    metric = FrechetInceptionDistance(feature=network).set_dtype(torch.float64)
    metric.update(a, real=True)
    metric.update(b, real=False)
    assert frechet_of(a, b) == pytest.approx(metric.compute().item(), rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_frechet_distance_with_fewer_images_than_features(dtype: torch.dtype) -> None:
    """The trace of the root is then the nuclear norm of the small matrix of inner products."""
    a, b = torch.randn(10, 60).to(dtype), torch.randn(15, 60).to(dtype) + 0.2
    centred = [x.double() - x.double().mean(0) for x in (a, b)]
    cross = torch.linalg.matrix_norm(centred[0] @ centred[1].T, "nuc") / math.sqrt(9 * 14)
    spread = centred[0].square().sum() / 9 + centred[1].square().sum() / 14
    expected = (a.double().mean(0) - b.double().mean(0)).square().sum() + spread - 2 * cross
    assert frechet_of(a, b) == pytest.approx(expected.item(), rel=1e-10)


def test_frechet_distance_is_a_squared_distance() -> None:
    a, b = torch.randn(30, 5), torch.randn(40, 5) * 2 + 1
    q = torch.linalg.qr(torch.randn(5, 5)).Q
    distance = frechet_of(a, b)
    for _ in range(20):  # round-off goes below zero about every other time
        same = torch.randn(30, 5)
        assert 0 <= frechet_of(same, same) < 1e-12
    assert frechet_of(b, a) == pytest.approx(distance)
    assert frechet_of(3 * a @ q + 7, 3 * b @ q + 7) == pytest.approx(9 * distance, rel=1e-4)
    constant = torch.full((8, 5), 2.0)  # no spread at all
    assert frechet_of(constant, constant + 1) == pytest.approx(5)


def test_covariances_in_single_precision_pass() -> None:
    """Round-off as large as their dtype's is neither skew nor a negative eigenvalue."""
    mean, cov = moments(torch.randn(10, 60))
    assert frechet_distance(mean.float(), cov.float(), mean, cov) < 1e-3
    skew = cov.float()
    skew[0, 1] *= 1 + 1e-6
    assert frechet_distance(mean, skew, mean, cov) < 1e-3


def score_by_hand(logits: list[list[float]]) -> float:
    p = [[math.exp(x) / sum(map(math.exp, row)) for x in row] for row in logits]
    marginal = [sum(column) / len(p) for column in zip(*p, strict=True)]
    kl = [sum(x * math.log(x / m) for x, m in zip(row, marginal, strict=True)) for row in p]
    return math.exp(sum(kl) / len(kl))


@pytest.mark.proves("inception_score")
def test_inception_score_by_hand() -> None:
    logits = torch.randn(21, 4) * 3
    score, deviation = inception_score(logits, groups=1)
    assert score == pytest.approx(score_by_hand(logits.tolist()), rel=1e-6)
    assert math.isnan(deviation)
    rows = torch.randperm(21, generator=torch.Generator().manual_seed(0)).tolist()
    # As evenly as it goes, none left out.
    dealt = [rows[:5], rows[5:9], rows[9:13], rows[13:17], rows[17:]]
    scores = [score_by_hand(logits[group].tolist()) for group in dealt]
    expected = pytest.approx((np.mean(scores), np.std(scores, ddof=1)), rel=1e-6)
    assert inception_score(logits, groups=5) == expected


@pytest.mark.proves("inception_score")
@pytest.mark.parametrize("groups", [2, 10])
def test_inception_score_against_torchmetrics(groups: int) -> None:
    from torchmetrics.image.inception import InceptionScore

    logits = torch.randn(60, 10).double() * 4
    with pytest.warns(UserWarning, match="will save all extracted features"):
        metric = InceptionScore(feature=nn.Identity(), splits=groups)
    metric.update(logits)
    torch.manual_seed(0)  # it deals by torch's own generator
    expected = [value.item() for value in metric.compute()]
    assert inception_score(logits, groups) == pytest.approx(expected, rel=1e-9)


def test_inception_score_at_its_ends() -> None:
    sure = 1e4 * torch.eye(7).repeat(3, 1)
    assert inception_score(sure, groups=1)[0] == pytest.approx(7)
    assert inception_score(sure[:1].repeat(20, 1), groups=2) == pytest.approx((1, 0))
    assert inception_score(torch.zeros(20, 7)) == pytest.approx((1, 0))


def test_inception_score_repeats_and_leaves_torch_s_generator_alone() -> None:
    logits = torch.randn(50, 5)
    before = torch.get_rng_state()
    assert inception_score(logits) == inception_score(logits)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("batch", [1, 4, 512])
def test_nearest_distance_by_brute_force(batch: int) -> None:
    images, train = torch.randn(7, 2, 3, 3), torch.randn(11, 2, 3, 3)
    expected = [min((x - y).square().sum().sqrt().item() for y in train) for x in images]
    assert nearest_distance(images, train, batch).tolist() == pytest.approx(expected, rel=1e-6)


def test_a_copy_is_at_distance_zero_exactly() -> None:
    train = torch.randn(600, 64) + 100  # where a difference of squares would lose it
    assert (nearest_distance(train[::7], train) == 0).all()
    assert (nearest_distance(train[::7], train[1::7]) > 0).all()


def test_nearest_distance_takes_the_images_dtype() -> None:
    distance = nearest_distance(torch.zeros(2, 3), torch.ones(4, 3).double())
    assert_close(distance, torch.full((2,), math.sqrt(3)))


def test_nearest_ratio_by_hand() -> None:
    train, held_out = torch.tensor([[0.0], [10.0]]), torch.tensor([[1.0], [6.0], [12.0]])
    samples = torch.tensor([[0.0], [0.5], [11.0], [3.0], [10.5]])  # 0, 0.5, 1, 3, 0.5 away
    assert nearest_ratio(samples, train, held_out) == pytest.approx(0.5 / 2)


def test_nearest_ratio_tells_new_from_remembered() -> None:
    train, new, held_out = torch.randn(3, 300, 4)
    assert nearest_ratio(new, train, held_out) == pytest.approx(1, abs=0.15)
    assert nearest_ratio(train[:200] + 0.01 * torch.randn(200, 4), train, held_out) < 0.1
    # A minority of copies does not show in the median.
    assert nearest_ratio(torch.cat([new, train[:50]]), train, held_out) > 0.8


BAD = torch.tensor([[1.0, torch.nan], [torch.inf, 0.0]])
EYE = torch.eye(2)
ZERO = torch.zeros(2)


@pytest.mark.usefixtures("as_a_reader")
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: moments(torch.zeros(3)), ValueError, r"must be \[N, F\], got \(3,\)"),
        (lambda: moments(torch.zeros(1, 3)), ValueError, r"N >= 2, got \(1, 3\)"),
        (lambda: moments(BAD), ValueError, "features must be finite, got 2 NaN or infinite"),
        (lambda: moments(EYE.long()), TypeError, r"features must be floating point, got torch.int"),
        (lambda: frechet_distance(ZERO, EYE, torch.zeros(3), EYE), ValueError,
         r"mean_b must have shape \(2,\), got \(3,\)"),
        (lambda: frechet_distance(ZERO, EYE, ZERO, torch.eye(3)), ValueError,
         r"cov_b must have shape \(2, 2\), got \(3, 3\)"),
        (lambda: frechet_distance(ZERO, BAD, ZERO, EYE), ValueError, "cov_a must be finite, got 2"),
        (lambda: frechet_distance(ZERO, EYE, ZERO, EYE + torch.tensor([[0, 0.1], [0, 0]])),
         ValueError, "cov_b must be symmetric, got entries that differ by 0.1"),
        (lambda: frechet_distance(ZERO, EYE - 1.5, ZERO, EYE), ValueError,
         "cov_a must have no negative eigenvalue, got -2"),
        (lambda: inception_score(torch.zeros(3)), ValueError, r"must be \[N, K\], got \(3,\)"),
        (lambda: inception_score(EYE, 3), ValueError, r"groups must lie in 1\.\.2, got 3"),
        (lambda: inception_score(EYE, 0), ValueError, r"groups must lie in 1\.\.2, got 0"),
        (lambda: inception_score(BAD, 1), ValueError, "logits must be finite, got 2"),
        (lambda: nearest_distance(EYE, EYE, 0), ValueError, "batch must be at least 1, got 0"),
        (lambda: nearest_distance(EYE[:0], EYE), ValueError, "images must hold at least one"),
        (lambda: nearest_distance(EYE, EYE[:0]), ValueError, "train must hold at least one"),
        (lambda: nearest_distance(EYE, BAD), ValueError, "train must be finite, got 2"),
        (lambda: nearest_distance(EYE, torch.eye(3)), ValueError,
         r"of one shape, got \(2,\) and \(3,\)"),
        (lambda: nearest_ratio(EYE, EYE, EYE), ValueError, "held_out must not be part of train"),
    ],
)  # fmt: skip
def test_bad_input(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
