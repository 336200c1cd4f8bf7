"""The bound: against exact likelihoods, the paper's other form, torch.distributions, and a loop."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.testing import assert_close

from ddpm_lite import (
    GaussianDiffusion,
    NoiseSchedule,
    Oracle,
    cosine_schedule,
    elbo,
    elbo_along_path,
    elbo_estimate,
    linear_schedule,
    oracle_bound,
    prior_kl,
    reverse_marginals,
    to_model_range,
)

GRID = torch.linspace(-1, 1, 17, dtype=torch.float64)


def pictures(n: int, pixels: int = 4) -> Tensor:
    """Random images on 17 grey levels."""
    return GRID[torch.randint(17, (n, pixels))]


def wavy(x: Tensor, t: Tensor) -> Tensor:
    """A network that is wrong in a smooth way."""
    return 0.7 * x + 0.2 * (x + t.view(-1, *[1] * (x.ndim - 1)) / 10).sin()


@pytest.mark.proves("elbo", "kl", "decoder", "prior_kl", "total", "ELBO.bits_per_dim")
@pytest.mark.parametrize("objective", ["eps", "x0", "v", "mu", "u"])
@pytest.mark.parametrize("variance", ["beta", "beta_tilde"])
def test_every_term_by_torch_distributions(objective: Any, variance: Any) -> None:
    """The noise is drawn again from the same seed; each term is then worked out on its own."""
    schedule = cosine_schedule(9)
    diffusion = GaussianDiffusion(schedule, objective, variance, levels=17)
    x0 = pictures(4)
    got = elbo(diffusion, wavy, x0, generator=torch.Generator().manual_seed(3), chunk=4)
    generator = torch.Generator().manual_seed(3)
    a = schedule.alpha_bar
    for t in range(1, 10):
        eps = torch.randn(4, 4, generator=generator, dtype=torch.float64)
        xt = a[t].sqrt() * x0 + (1 - a[t]).sqrt() * eps
        x0_hat = diffusion.convert(wavy(xt, torch.full((4,), t)), xt, t, objective, "x0")
        x0_hat = x0_hat.clamp(-1, 1)
        mean = diffusion.q_posterior(x0_hat, xt, t)[0]
        sigma2 = schedule.beta[t] if variance == "beta" else schedule.beta_tilde[max(t, 2)]
        p = Normal(mean, sigma2.sqrt())
        assert_close(got.mse[:, t - 1], ((x0 - x0_hat) ** 2).mean(1))
        if t > 1:
            mu, beta_tilde = diffusion.q_posterior(x0, xt, t)
            kl = kl_divergence(Normal(mu, beta_tilde.sqrt().expand_as(mu)), p).sum(1)
            assert_close(got.kl[:, t - 2], kl)
        else:
            top = torch.where(x0 > 1 - 1e-9, 1.0, p.cdf(x0 + 1 / 16))
            bottom = torch.where(x0 < -1 + 1e-9, 0.0, p.cdf(x0 - 1 / 16))
            assert_close(got.decoder, -(top - bottom).log().sum(1), rtol=1e-4, atol=1e-4)
    q = Normal(a[9].sqrt() * x0, (1 - a[9]).sqrt())
    assert_close(got.prior, kl_divergence(q, Normal(torch.zeros_like(x0), 1.0)).sum(1))
    assert_close(got.total, got.prior + got.kl.sum(1) + got.decoder)
    assert_close(got.bits_per_dim, got.total / 4 / math.log(2))


def test_the_answer_does_not_depend_on_the_chunk() -> None:
    diffusion = GaussianDiffusion(linear_schedule(12, 0.01, 0.4), levels=17)
    x0 = pictures(3, pixels=16)
    results = [
        elbo(diffusion, wavy, x0, chunk=chunk, generator=torch.Generator().manual_seed(1))
        for chunk in (1, 5, 1000)
    ]
    for result in results[1:]:
        assert_close(result.total, results[0].total)
        assert_close(result.kl, results[0].kl)
        assert_close(result.mse, results[0].mse)


def test_the_model_never_sees_more_than_a_chunk() -> None:
    seen = []

    def model(x: Tensor, t: Tensor) -> Tensor:
        seen.append((len(x), set(t.tolist())))
        return torch.zeros_like(x)

    elbo(GaussianDiffusion(linear_schedule(6, 0.01, 0.4), levels=17), model, pictures(3), chunk=4)
    assert max(n for n, _ in seen) == 4
    assert sum(n for n, _ in seen) == 3 * 6
    assert set.union(*(t for _, t in seen)) == set(range(1, 7))


def joint(schedule: NoiseSchedule, mean: float, std: float) -> tuple[Tensor, Tensor]:
    """Mean and covariance of q(x_0..x_T) for one pixel of N(mean, std^2) data."""
    a = schedule.alpha_bar
    n = len(a)
    covariance = torch.empty(n, n, dtype=torch.float64)
    for s in range(n):
        for t in range(n):
            i, j = min(s, t), max(s, t)
            covariance[s, t] = (a[j] / a[i]).sqrt() * (a[i] * std**2 + 1 - a[i])
    return a.sqrt() * mean, covariance


@pytest.mark.proves("elbo", "oracle_bound", "reverse_marginals")
@pytest.mark.parametrize("variance", ["beta", "beta_tilde"])
@pytest.mark.parametrize("std", [0.3, 1.0])
def test_the_gap_to_the_exact_likelihood(variance: Any, std: float) -> None:
    """Gaussian data and the oracle: p_theta(x_0) is known, and so is what the bound adds to it.

    The gap is E_q KL(q(x_1..x_T | x_0) || p(x_1..x_T | x_0)), which is the divergence between
    the joint Gaussians less that between their marginals of x_0; by linear algebra here.
    """
    mean, schedule = 0.4, linear_schedule(8, 0.02, 0.5)
    diffusion = GaussianDiffusion(schedule, variance=variance, levels=None)
    oracle = Oracle(schedule, torch.tensor([[mean]], dtype=torch.float64), std)
    sigma2 = schedule.beta.clone() if variance == "beta" else schedule.beta_tilde.clone()
    sigma2[1] = schedule.beta_tilde[2] if variance == "beta_tilde" else sigma2[1]
    p_mean, p_var = reverse_marginals(schedule, sigma2, mean, std)
    # E_q of -log p_theta(x_0)
    exact = ((2 * math.pi * p_var[0]).log() + (std**2 + (mean - p_mean[0]) ** 2) / p_var[0]) / 2

    q_mean, q_cov = joint(schedule, mean, std)
    n = len(q_mean)
    precision, shift = torch.zeros(n, n).double(), torch.zeros(n).double()
    precision[-1, -1] = 1
    log_det = torch.zeros(()).double()  # of p's covariance
    for t in range(1, n):
        total = schedule.alpha_bar[t] * std**2 + 1 - schedule.alpha_bar[t]
        root = (1 - schedule.beta[t]).sqrt()
        slope = (1 - schedule.beta[t] / total) / root
        offset = schedule.beta[t] * schedule.alpha_bar[t].sqrt() * mean / total / root
        row = torch.zeros(n).double()
        row[t - 1], row[t] = 1, -slope
        precision += torch.outer(row, row) / sigma2[t]
        shift += row * offset / sigma2[t]
        log_det += sigma2[t].log()
    off = torch.linalg.solve(precision, shift) - q_mean
    joint_kl = (
        (precision @ q_cov).trace() - n + off @ precision @ off + log_det - q_cov.logdet()
    ) / 2
    ratio = std**2 / p_var[0]
    end_kl = (ratio - 1 - ratio.log() + (mean - p_mean[0]) ** 2 / p_var[0]) / 2
    gap = joint_kl - end_kl
    assert gap > 0
    prior, kl, decoder = oracle_bound(schedule, sigma2, mean, std)
    assert_close(prior + kl.sum() + decoder, exact + gap)

    x0 = oracle.sample(40_000, torch.Generator().manual_seed(7))
    total = elbo(diffusion, oracle, x0, clip=False, chunk=10**6).total
    tolerance = 4 * total.std().item() / math.sqrt(len(total))
    assert total.mean().item() == pytest.approx((exact + gap).item(), abs=tolerance)
    if (variance, std) != ("beta", 1.0):  # where beta is the right variance and the gap tiny
        assert tolerance < gap / 3  # the sample can tell the bound from the likelihood itself


@pytest.mark.proves("elbo", "elbo_along_path")
def test_both_forms_of_the_bound_agree_in_expectation() -> None:
    """Ho et al. (2020): Eq. 3 along sampled paths and Eq. 5 with closed-form divergences."""
    n = 100_000
    for variance in ("beta", "beta_tilde"):
        diffusion = GaussianDiffusion(cosine_schedule(5), variance=variance, levels=17)
        x0 = pictures(1, pixels=2).expand(n, 2)
        along = elbo_along_path(diffusion, wavy, x0)
        closed = elbo(diffusion, wavy, x0, chunk=10**6).total
        error = math.sqrt((along.var() + closed.var()).item() / n)
        assert abs(along.mean() - closed.mean()) < 4 * error
        assert error < 0.02 * closed.mean()


@pytest.mark.proves("elbo_estimate", "Estimate.bits_per_dim")
@pytest.mark.parametrize("proposal", [None, 1 / torch.arange(2.0, 13.0)], ids=["even", "1 / t"])
def test_the_estimate_is_unbiased_and_knows_its_error(proposal: Tensor | None) -> None:
    diffusion = GaussianDiffusion(linear_schedule(12, 0.01, 0.4), levels=17)
    x0 = pictures(1).expand(4000, 4)
    exact = elbo(diffusion, wavy, x0, chunk=10**5).total
    got = elbo_estimate(diffusion, wavy, x0, samples=8, proposal=proposal, chunk=10**5)
    error = math.sqrt((exact.var() + got.total.var()).item() / 4000)
    assert abs(got.total.mean() - exact.mean()) < 4 * error
    # Over many repetitions the stated variance is the true one.
    assert got.standard_error.square().mean().item() == pytest.approx(
        got.total.var().item(), rel=0.15
    )
    assert_close(got.bits_per_dim, got.total / 4 / math.log(2))


@pytest.mark.proves("ELBO.rate", "distortion")
def test_rate_and_distortion() -> None:
    """Table 4's ends: at t = T only L_T has been paid, at t = 1 all but L_0."""
    diffusion = GaussianDiffusion(linear_schedule(10, 0.01, 0.5), levels=17)
    x0 = pictures(3)
    terms = elbo(diffusion, wavy, x0)
    bits = 4 * math.log(2)
    assert_close(terms.rate[:, -1], terms.prior / bits)
    assert_close(terms.rate[:, 0], (terms.total - terms.decoder) / bits)
    for t in range(1, 10):
        assert_close(terms.rate[:, t - 1] - terms.rate[:, t], terms.kl[:, t - 1] / bits)
    constant = elbo(
        GaussianDiffusion(linear_schedule(10, 0.01, 0.5), "x0", levels=17),
        lambda x, t: torch.zeros_like(x),
        torch.full((2, 3), 0.25),
    )
    assert_close(constant.distortion, torch.full((2, 10), 0.25 * 16 / 2))


@pytest.mark.proves("prior_kl")
def test_the_paper_s_prior_is_a_hundred_thousandth_of_a_bit() -> None:
    """Where E[x_0^2] = 1/3: 9.7e-6 bits a dimension, worked out independently."""
    x0 = torch.full((1, 10), math.sqrt(1 / 3), dtype=torch.float64)
    bits = prior_kl(GaussianDiffusion(linear_schedule()), x0).item() / 10 / math.log(2)
    assert bits == pytest.approx(9.7e-6, abs=1e-7)


def test_a_learned_variance_and_one_step() -> None:
    diffusion = GaussianDiffusion(linear_schedule(6, 0.01, 0.4), variance="learned", levels=17)

    def model(x: Tensor, t: Tensor) -> Tensor:
        return torch.cat([wavy(x, t), torch.ones_like(x)], dim=1)

    x0 = pictures(3)
    fixed = GaussianDiffusion(linear_schedule(6, 0.01, 0.4), variance="beta", levels=17)
    one = elbo(diffusion, model, x0, generator=torch.Generator().manual_seed(0))
    two = elbo(fixed, wavy, x0, generator=torch.Generator().manual_seed(0))
    assert_close(one.total, two.total)
    single = elbo(GaussianDiffusion(linear_schedule(1, 0.5), levels=17), wavy, x0)
    assert single.kl.shape == (3, 0)
    assert_close(single.total, single.prior + single.decoder)


def test_each_image_is_estimated_by_its_own_draws() -> None:
    """One step and little noise: all is L_0, and one image of the two is far dearer to decode."""
    diffusion = GaussianDiffusion(linear_schedule(1, 1e-3), levels=17)
    x0 = torch.stack([torch.zeros(4), torch.tensor([-1.0, 1.0, -1.0, 1.0])]).double()

    def flat(x: Tensor, t: Tensor) -> Tensor:  # guesses the noise of a grey image
        return x / 1e-3**0.5

    exact = elbo(diffusion, flat, x0).total  # the guess is the same whatever the noise
    assert exact[1] > 10 * exact[0]
    assert_close(elbo_estimate(diffusion, flat, x0).total, exact)


def test_float32_agrees_with_float64() -> None:
    diffusion, x0 = GaussianDiffusion(linear_schedule(), levels=17), pictures(2)
    eps = torch.randn_like(x0)
    for t in (1, 2, 3, 100, 999, 1000):
        terms = []
        for x, e in ((x0.float(), eps.float()), (x0, eps)):
            xt = diffusion.q_sample(x, t, e)
            out = diffusion.p_mean_variance(lambda _, t, e=e: 0.9 * e, xt, t)
            terms.append(diffusion.bound_term(out, x, xt, t).double())
        assert_close(terms[0], terms[1], rtol=2e-3, atol=1e-5)


@pytest.mark.usefixtures("as_a_reader")
def test_bad_input() -> None:
    diffusion = GaussianDiffusion(linear_schedule(5, 0.1, 0.4), levels=17)
    x0 = pictures(2)
    for call in (elbo, elbo_estimate):
        with pytest.raises(ValueError, match="chunk must be at least 1, got 0"):
            call(diffusion, wavy, x0, chunk=0)
        with pytest.raises(ValueError, match="x0 must hold at least one image, got none"):
            call(diffusion, wavy, x0[:0])
        with pytest.raises(ValueError, match="x0 must be finite"):
            call(diffusion, wavy, x0 * math.nan)
    with pytest.raises(ValueError, match=r"samples must be at least 2, .* got 1"):
        elbo_estimate(diffusion, wavy, x0, samples=1)
    with pytest.raises(ValueError, match=r"4 positive numbers, for t = 2\.\.5, got \[0\.0"):
        elbo_estimate(diffusion, wavy, x0, proposal=torch.zeros(4))


@pytest.mark.parametrize("function", [elbo, elbo_estimate, elbo_along_path])
def test_bits_are_of_the_diffusion_s_grey_levels(function: Any) -> None:
    """Bytes under 17 levels would take 5.9 bits of a noise that has 8."""
    bytes_, digits_ = (to_model_range(torch.arange(n).view(1, 1, 1, n), n) for n in (256, 17))
    schedule = linear_schedule(3, 0.1, 0.2)
    for levels, right, wrong in ((256, bytes_, digits_), (17, digits_, bytes_)):
        diffusion = GaussianDiffusion(schedule, levels=levels)
        function(diffusion, lambda x, t: x, right)
        function(diffusion, lambda x, t: x, right.double())
        with pytest.raises(ValueError, match=f"on the {levels} grey levels of the diffusion, got"):
            function(diffusion, lambda x, t: x, wrong)
        function(GaussianDiffusion(schedule, levels=None), lambda x, t: x, wrong)


def test_one_step_has_a_rate() -> None:
    diffusion = GaussianDiffusion(linear_schedule(1, 0.5, 0.5), levels=17)
    terms = elbo(diffusion, wavy, pictures(3))
    assert terms.rate.shape == terms.distortion.shape == (3, 1)
    assert_close(terms.rate[:, 0], terms.prior / (math.log(2) * terms.dims))


def test_what_lies_outside_the_levels_has_no_bits() -> None:
    with pytest.raises(ValueError, match=r"on the 256 grey levels .* got 201\.0000"):
        elbo(GaussianDiffusion(linear_schedule(3)), wavy, torch.full((1, 2), 201.0))


def test_each_image_has_its_own_estimate() -> None:
    """Draws belong to their image: two that cost very different numbers of nats stay apart."""
    diffusion = GaussianDiffusion(linear_schedule(12, 0.01, 0.4), levels=17)
    x0 = torch.stack([torch.zeros(4), torch.tensor([1.0, -1.0, 1.0, -1.0])]).double()
    exact = elbo(diffusion, wavy, x0.repeat_interleave(2000, 0), chunk=10**5).total.view(2, -1)
    got = elbo_estimate(diffusion, wavy, x0, samples=4000, chunk=10**5)
    apart = (exact[0].mean() - exact[1].mean()).abs()
    assert apart > 20 * got.standard_error.max()
    error = (got.standard_error**2 + exact.var(1) / 2000).sqrt()
    assert ((got.total - exact.mean(1)).abs() < 4 * error).all()
