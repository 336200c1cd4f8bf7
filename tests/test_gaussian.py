"""The divergence against torch.distributions and quadrature; the decoder against its definition."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence
from torch.testing import assert_close

from ddpm_lite import decoder_nll, gaussian_kl, gaussian_nll

means, sigmas = st.floats(-3, 3), st.floats(1e-3, 5)


def one(value: float) -> torch.Tensor:
    return torch.tensor([[value]], dtype=torch.float64)


@pytest.mark.proves("gaussian_kl")
@given(means, sigmas, means, sigmas)
@settings(deadline=None)
def test_kl_is_that_of_torch_distributions(m: float, s: float, n: float, r: float) -> None:
    got = gaussian_kl(one(m), one(s**2), one(n), one(r**2))
    expected = kl_divergence(Normal(one(m), one(s)), Normal(one(n), one(r)))[0]
    assert_close(got, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.proves("gaussian_kl")
@pytest.mark.parametrize(("m", "s", "n", "r"), [(0.3, 0.5, -0.2, 0.9), (1.0, 0.2, 1.0, 0.25)])
def test_kl_by_quadrature(m: float, s: float, n: float, r: float) -> None:
    x = torch.linspace(m - 12 * s, m + 12 * s, 200_001, dtype=torch.float64)
    q, p = Normal(one(m), one(s)).log_prob(x)[0], Normal(one(n), one(r)).log_prob(x)[0]
    integral = torch.trapezoid(q.exp() * (q - p), x)
    got = gaussian_kl(one(m), one(s**2), one(n), one(r**2))[0]
    assert_close(got, integral, rtol=1e-8, atol=0)


def test_kl_sums_over_dimensions_and_broadcasts_its_variances() -> None:
    mean, other = torch.randn(2, 3, 2, 4, dtype=torch.float64)
    variance = torch.rand(3, 1, 1, dtype=torch.float64) + 0.1
    got = gaussian_kl(mean, variance, other, torch.full_like(mean, 0.5))
    q = Normal(mean, variance.sqrt().expand_as(mean))
    expected = kl_divergence(q, Normal(other, math.sqrt(0.5))).sum((1, 2))
    assert_close(got, expected)


def test_kl_of_nearly_equal_variances_keeps_its_digits_in_float32() -> None:
    r = torch.tensor([[1.0]]), torch.tensor([[1.0 + 2.0**-10]])
    zero = torch.zeros(1, 1)
    got = gaussian_kl(zero, r[0], zero, r[1])
    exact = gaussian_kl(zero.double(), r[0].double(), zero.double(), r[1].double())
    assert_close(got.double(), exact, rtol=1e-3, atol=0)


@given(means, means, sigmas)
@settings(deadline=None)
def test_nll_is_that_of_torch_distributions(x: float, m: float, s: float) -> None:
    expected = -Normal(one(m), one(s)).log_prob(one(x))[0]
    assert_close(gaussian_nll(one(x), one(m), one(s**2)), expected)


@pytest.mark.proves("decoder_nll")
@given(st.floats(-4, 4), st.floats(1e-4, 100), st.sampled_from([2, 17, 256]))
@settings(deadline=None)
def test_the_bins_sum_to_one_in_float32(mean: float, sigma: float, levels: int) -> None:
    x = (torch.arange(levels) / (levels - 1) * 2 - 1)[:, None]
    nll = decoder_nll(x, torch.full_like(x, mean), torch.full_like(x, sigma**2), levels)
    assert nll.dtype == torch.float32
    assert nll.isfinite().all()
    assert (-nll).exp().sum().item() == pytest.approx(1, abs=1e-6)


@pytest.mark.proves("decoder_nll")
@pytest.mark.parametrize("level", [0, 1, 100, 254, 255])
@pytest.mark.parametrize(("mean", "sigma"), [(-0.2, 0.05), (0.9, 0.3), (-1.0, 0.01)])
def test_a_bin_is_an_integral(level: int, mean: float, sigma: float) -> None:
    """The density integrated from edge to edge, the outer edges thirty sigmas away."""
    x = Fraction(2 * level, 255) - 1
    low = float(x - Fraction(1, 255)) if level > 0 else min(-1.0, mean) - 30 * sigma
    high = float(x + Fraction(1, 255)) if level < 255 else max(1.0, mean) + 30 * sigma
    grid = torch.linspace(low, high, 400_001, dtype=torch.float64)
    mass = torch.trapezoid(Normal(one(mean), one(sigma)).log_prob(grid)[0].exp(), grid)
    got = (-decoder_nll(one(float(x)), one(mean), one(sigma**2))).exp()[0]
    if mass > 1e-250:
        assert_close(got, mass, rtol=1e-6, atol=0)


@pytest.mark.proves("decoder_nll")
def test_far_bins_follow_the_tail() -> None:
    """300 sigmas out the mass underflows; its logarithm is that of density times Mills's ratio."""
    sigma, levels = 0.003, 256
    for sign in (1, -1):
        got = decoder_nll(one(sign * 1.0), one(sign * 0.1), one(sigma**2), levels).item()
        z = (1 - 1 / 255 - 0.1) / sigma
        expected = z**2 / 2 + math.log(z * math.sqrt(2 * math.pi)) + 1 / z**2
        assert got == pytest.approx(expected, rel=1e-9)


def test_narrow_bins_are_a_density_times_their_width() -> None:
    x, mean, variance = one(0.0), one(0.3), one(0.25)
    got = decoder_nll(x, mean, variance, levels=10**6 + 1)
    assert_close(got, gaussian_nll(x, mean, variance) - math.log(2e-6), rtol=1e-6, atol=0)


def test_the_decoder_has_finite_gradients_everywhere() -> None:
    x = torch.linspace(-1, 1, 256)[:, None]
    for center, scale in ((0.0, 1e-3), (5.0, 0.01), (-1.0, 10.0)):
        mean = torch.full_like(x, center, requires_grad=True)
        variance = torch.full_like(x, scale**2, requires_grad=True)
        decoder_nll(x, mean, variance).sum().backward()
        assert mean.grad is not None
        assert mean.grad.isfinite().all()
        assert variance.grad is not None
        assert variance.grad.isfinite().all()


def test_the_floor_of_the_decoder() -> None:
    """Bits for a perfect mean, in the middle of a bin: figures worked out independently."""
    for sigma, bits in ((0.01, 1.713), (0.00738, 1.305)):
        x = one(2 * 100 / 255 - 1)
        got = decoder_nll(x, x, one(sigma**2)).item() / math.log(2)
        assert got == pytest.approx(bits, abs=1.5e-3)
