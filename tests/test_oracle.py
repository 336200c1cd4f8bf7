"""The best network against Bayes on a grid, autograd, and a network-free average."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.testing import assert_close

from ddpm_lite import (
    GaussianDiffusion,
    Oracle,
    cosine_schedule,
    ddpm,
    linear_schedule,
    oracle_bound,
    prior_kl,
    reverse_marginals,
)
from ddpm_lite.oracle import marginal_bound

SCHEDULE = cosine_schedule(50)
MEANS = torch.tensor([[0.5, -0.5], [-0.8, 0.1], [0.2, 0.9]], dtype=torch.float64)
WEIGHTS = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
STDS = {
    "a set": 0.0,
    "a number": 0.2,
    "one each": torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64),
    "one each and way": torch.rand(3, 2, dtype=torch.float64) + 0.05,
}
stds = pytest.mark.parametrize("std", STDS.values(), ids=STDS)


def noised(std: float | Tensor, t: int) -> MixtureSameFamily:
    """q(x_t) by torch.distributions."""
    a = SCHEDULE.alpha_bar[t]
    s = torch.as_tensor(std, dtype=torch.float64)
    s = s.view(-1, 1) if s.ndim == 1 else s
    spread = (a * s**2 + 1 - a).sqrt().expand(3, 2)
    return MixtureSameFamily(Categorical(WEIGHTS), Independent(Normal(a.sqrt() * MEANS, spread), 1))


@pytest.mark.proves("Oracle")
@stds
@pytest.mark.parametrize("t", [1, 7, 50])
def test_it_is_the_score_by_autograd(std: float | Tensor, t: int) -> None:
    oracle = Oracle(SCHEDULE, MEANS, std, WEIGHTS)
    xt = torch.randn(20, 2, dtype=torch.float64, requires_grad=True)
    log_q = noised(std, t).log_prob(xt)
    assert_close(oracle.log_density(xt.detach(), t), log_q.detach())
    (score,) = torch.autograd.grad(log_q.sum(), xt)
    expected = -(1 - SCHEDULE.alpha_bar[t]).sqrt() * score
    assert_close(oracle(xt.detach(), t), expected)
    assert_close(oracle(xt.detach(), torch.full((20,), t)), expected)


@pytest.mark.proves("Oracle")
@stds
def test_its_two_answers_agree(std: float | Tensor) -> None:
    """x_t = sqrt(alpha_bar) E[x_0 | x_t] + sqrt(1 - alpha_bar) E[eps | x_t]."""
    oracle, diffusion = Oracle(SCHEDULE, MEANS, std, WEIGHTS), GaussianDiffusion(SCHEDULE)
    t = torch.tensor([1, 2, 25, 49, 50])
    xt = torch.randn(5, 2, dtype=torch.float64)
    back = diffusion.q_sample(oracle.x0_hat(xt, t), t, oracle(xt, t))
    assert_close(back, xt)


@pytest.mark.proves("Oracle")
def test_it_is_bayes_on_a_grid() -> None:
    """One pixel: p(x_0) q(x_t | x_0), normalised over a fine grid of x_0, averages to x0_hat."""
    means, std = torch.tensor([[-0.6], [0.7]], dtype=torch.float64), 0.15
    oracle = Oracle(SCHEDULE, means, std)
    x0 = torch.linspace(-2, 2, 40_001, dtype=torch.float64)
    prior = sum(torch.exp(-((x0 - m) ** 2) / (2 * std**2)) for m in means.flatten())
    for t, xt in ((3, 0.4), (20, -0.3), (50, 1.0)):
        a = SCHEDULE.alpha_bar[t]
        weight = prior * torch.exp(-((xt - a.sqrt() * x0) ** 2) / (2 * (1 - a)))
        expected = (weight * x0).sum() / weight.sum()
        got = oracle.x0_hat(torch.tensor([[xt]], dtype=torch.float64), t)
        assert_close(got[0, 0], expected, rtol=1e-8, atol=1e-8)


@pytest.mark.proves("q_reverse")
@stds
@pytest.mark.parametrize("t", [2, 20, 50])
def test_the_true_reverse_step_is_bayes(std: float | Tensor, t: int) -> None:
    """q(x_{t-1} | x_t) q(x_t) = q(x_t | x_{t-1}) q(x_{t-1}), at pairs of points from the chain."""
    oracle, alpha = Oracle(SCHEDULE, MEANS, std, WEIGHTS), SCHEDULE.alpha[t]
    x_prev = noised(std, t - 1).sample((30,))
    xt = GaussianDiffusion(SCHEDULE).q_step(x_prev, t)
    back = oracle.q_reverse(xt, t)
    assert back.weights.shape == (30, 3)
    assert back.means.shape == back.variances.shape == (30, 3, 2)
    parts = Independent(Normal(back.means, back.variances.sqrt()), 1)
    forward = Independent(Normal(alpha.sqrt() * x_prev, SCHEDULE.beta[t].sqrt()), 1)
    assert_close(
        MixtureSameFamily(Categorical(back.weights), parts).log_prob(x_prev)
        + noised(std, t).log_prob(xt),
        forward.log_prob(xt) + noised(std, t - 1).log_prob(x_prev),
    )
    assert_close(oracle.q_reverse(xt, torch.full((30,), t)), back)


@pytest.mark.proves("q_reverse")
def test_the_true_reverse_step_has_the_oracle_s_mean() -> None:
    """Ho et al.'s Eq. 11 with eps*, also at t = 1, where a finite set leaves no variance."""
    for std in (0.0, 0.2):
        oracle, diffusion = Oracle(SCHEDULE, MEANS, std, WEIGHTS), GaussianDiffusion(SCHEDULE)
        t = torch.tensor([1, 2, 25, 50])
        xt = torch.randn(4, 2, dtype=torch.float64)
        back = oracle.q_reverse(xt, t)
        expected = diffusion.p_mean_variance(oracle, xt, t, clip=False).mean
        assert_close((back.weights[..., None] * back.means).sum(1), expected)
        assert bool((back.variances[0] == 0).all()) == (std == 0)
        assert back.variances[1:].min() > 0


def test_no_other_prediction_is_better() -> None:
    """Its squared error is least: adding any multiple of another function of x_t makes it worse."""
    oracle, diffusion = Oracle(SCHEDULE, MEANS, 0.2, WEIGHTS), GaussianDiffusion(SCHEDULE)
    x0 = oracle.sample(40_000)
    for t in (3, 20, 45):
        eps = torch.randn_like(x0)
        xt = diffusion.q_sample(x0, t, eps)
        off = eps - oracle(xt, t)
        for function in (xt, xt.sin(), xt.flip(1), torch.ones_like(xt)):
            inner = (off * function).sum(1)
            assert inner.mean().abs() < 4 * inner.std() / math.sqrt(len(inner))


def test_it_is_stable_where_densities_underflow() -> None:
    """64 by 64 pixels at t = 1: densities of e^-100000; float32 still picks the right member."""
    points = torch.rand(5, 1, 64, 64) * 2 - 1
    oracle = Oracle(linear_schedule(), points)
    eps = torch.randn_like(points)
    xt = GaussianDiffusion(linear_schedule()).q_sample(points, 1, eps)
    assert_close(oracle(xt, 1), eps, atol=1e-4, rtol=0)
    assert oracle(torch.full_like(xt, 50.0), 1).isfinite().all()


def test_data_drawn_from_it_have_its_density() -> None:
    x = Oracle(SCHEDULE, MEANS, 0.2, WEIGHTS).sample(100_000)
    assert x.shape == (100_000, 2)
    share = WEIGHTS / WEIGHTS.sum()
    mean = share @ MEANS
    assert_close(x.mean(0), mean, atol=0.01, rtol=0)
    assert_close(x.var(0), share @ (MEANS - mean) ** 2 + 0.04, atol=0.01, rtol=0)


def test_sampling_with_it_lands_on_the_data() -> None:
    schedule = cosine_schedule(200)
    points = torch.rand(7, 3) * 1.6 - 0.8
    oracle = Oracle(schedule, points)
    for variance in ("beta", "beta_tilde"):
        *_, last = ddpm(GaussianDiffusion(schedule, variance=variance), oracle, (500, 3))
        nearest = torch.cdist(last.xt, points).min(1)
        assert nearest.values.quantile(0.99) < 0.02
        assert nearest.values.max() < 0.2
        counts = nearest.indices.bincount(minlength=7) / 500
        assert counts.min() > 1 / 7 / 2  # every member is found


@pytest.mark.proves("reverse_marginals")
@pytest.mark.parametrize("variance", ["beta", "beta_tilde"])
def test_the_chain_s_marginals_by_its_joint_covariance(variance: str) -> None:
    """p_theta(x_0..x_T) as one big Gaussian: its precision, inverted, has them on the diagonal."""
    schedule, mean, std = linear_schedule(6, 0.05, 0.5), 0.4, 0.3
    diffusion = GaussianDiffusion(schedule, variance=variance)
    oracle = Oracle(schedule, torch.tensor([[mean]], dtype=torch.float64), std)
    n = schedule.T + 1
    precision, shift = torch.zeros(n, n).double(), torch.zeros(n).double()
    precision[-1, -1] = 1
    sigma2 = torch.zeros(n).double()
    for t in range(1, n):
        # x_{t-1} = slope x_t + offset + noise, read off the package's own step at two points.
        x = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
        out = diffusion.p_mean_variance(oracle, x, t, clip=False)
        offset, slope = out.mean[0, 0], out.mean[1, 0] - out.mean[0, 0]
        sigma2[t] = out.variance[0, 0]
        row = torch.zeros(n).double()
        row[t - 1], row[t] = 1, -slope
        precision += torch.outer(row, row) / sigma2[t]
        shift += row * offset / sigma2[t]
    covariance = precision.inverse()
    means, variances = reverse_marginals(schedule, sigma2, mean, std)
    assert_close(means, covariance @ shift)
    assert_close(variances, covariance.diagonal())


@pytest.mark.proves("oracle_bound")
@pytest.mark.parametrize("variance", ["beta", "beta_tilde"])
@pytest.mark.parametrize("T", [1, 7])
def test_the_expected_terms_by_quadrature(variance: str, T: int) -> None:
    """Each term is a quadratic in x_0 and eps, so three nodes of Gauss and Hermite each are exact.

    The terms at the nodes are the package's own, with its network-free step.
    """
    schedule, mean, std = linear_schedule(T, 0.05, 0.5), 0.4, 0.3
    diffusion = GaussianDiffusion(schedule, variance=variance, levels=None)
    oracle = Oracle(schedule, torch.tensor([[mean]], dtype=torch.float64), std)
    z = torch.tensor([-math.sqrt(3), 0, math.sqrt(3)], dtype=torch.float64)
    chance = torch.cartesian_prod(*[torch.tensor([1, 4, 1]).double() / 6] * 2).prod(1)
    x0, eps = torch.cartesian_prod(mean + std * z, z).T[..., None]
    sigma2, expected = torch.zeros(T + 1).double(), []
    for t in range(1, T + 1):
        xt = diffusion.q_sample(x0, t, eps)
        out = diffusion.p_mean_variance(oracle, xt, t, clip=False)
        sigma2[t] = out.variance[0, 0]
        expected.append((diffusion.bound_term(out, x0, xt, t) * chance).sum())
    prior, kl, decoder = oracle_bound(schedule, sigma2, mean, std)
    assert_close(prior, (prior_kl(diffusion, x0) * chance).sum())
    assert_close(decoder, expected[0])
    assert_close(kl, torch.stack([*expected[1:], decoder])[:-1])


@pytest.mark.usefixtures("as_a_reader")
def test_bad_input() -> None:
    for function in (oracle_bound, reverse_marginals):
        with pytest.raises(ValueError, match=r"51 numbers, .* got shape \(50,\)"):
            function(SCHEDULE, SCHEDULE.beta[:50], 0.0, 1.0)
    with pytest.raises(ValueError, match=r"positive from entry 1 on, .* least 0"):
        oracle_bound(SCHEDULE, SCHEDULE.beta_tilde, 0.0, 1.0)
    with pytest.raises(ValueError, match=r"none negative from entry 1 on, .* least -0"):
        reverse_marginals(SCHEDULE, -SCHEDULE.beta, 0.0, 1.0)
    with pytest.raises(ValueError, match=r"K >= 1 components, got shape \(0, 2\)"):
        Oracle(SCHEDULE, MEANS[:0])
    with pytest.raises(ValueError, match="weights must be 3 positive numbers, got"):
        Oracle(SCHEDULE, MEANS, weights=torch.tensor([1.0, -1.0, 1.0]))
    with pytest.raises(ValueError, match="weights must be 3 positive numbers, got"):
        Oracle(SCHEDULE, MEANS, weights=torch.ones(2))
    with pytest.raises(ValueError, match=r"std must be .* \(3, 2\) .* got shape \(4,\)"):
        Oracle(SCHEDULE, MEANS, torch.ones(4))
    with pytest.raises(ValueError, match=r"std must not be negative, got -0\.1"):
        Oracle(SCHEDULE, MEANS, -0.1)
    with pytest.raises(ValueError, match=r"shape of the data, \(2,\), .* got \(5, 3\)"):
        Oracle(SCHEDULE, MEANS)(torch.zeros(5, 3), 1)


@pytest.mark.proves("marginal_bound")
@pytest.mark.parametrize("variance", ["beta", "beta_tilde"])
@pytest.mark.parametrize("T", [1, 30])
def test_the_bound_is_one_number_in_both_forms(variance: str, T: int) -> None:
    """Ho et al. (2020), Eqs. 5 and 16: other parts, the same sum."""
    schedule, mean, std = linear_schedule(T, 0.01, 0.3), 0.4, 0.3
    sigma2 = getattr(schedule, variance).clone()
    sigma2[1] = 0.02
    prior, kl, decoder = oracle_bound(schedule, sigma2, mean, std)
    marginal, steps, entropy = marginal_bound(schedule, sigma2, mean, std)
    assert steps.min() >= 0
    assert_close(marginal + steps.sum() + entropy, prior + kl.sum() + decoder)
    assert_close(torch.tensor(entropy), Normal(mean, std).entropy())
    # The middle part is zero where the chain's variance is that of q(x_{t-1} | x_t), by Bayes.
    exact = [0.0]
    for t in range(1, T + 1):
        before = schedule.alpha_bar[t - 1] * std**2 + 1 - schedule.alpha_bar[t - 1]
        exact.append(1 / (1 / before + schedule.alpha[t] / schedule.beta[t]))
    assert_close(
        marginal_bound(schedule, torch.tensor(exact, dtype=torch.float64), mean, std)[1],
        torch.zeros(T, dtype=torch.float64),
        atol=1e-12,
        rtol=0,
    )


def test_the_data_themselves_have_a_density_alone() -> None:
    oracle = Oracle(linear_schedule(5), torch.tensor([[1.0], [-1.0]]), 0.5)
    x = torch.zeros(2, 1)
    density = torch.distributions.Normal(torch.tensor([1.0, -1.0]), 0.5).log_prob(x).exp().mean(1)
    schedule = linear_schedule(5, 0.1, 0.5)  # whose first step already shows
    assert_close(Oracle(schedule, oracle.means, 0.5).log_density(x, 0), density.log())
    for ask in (oracle, oracle.x0_hat, oracle.q_reverse):
        with pytest.raises(ValueError, match=r"t must lie in 1\.\.5, got 0"):
            ask(x, 0)


def test_whole_numbers_in_lists_are_numbers() -> None:
    lists = Oracle(linear_schedule(5), [[1], [-1]])  # type: ignore[arg-type]
    tensors = Oracle(linear_schedule(5), torch.tensor([[1.0], [-1.0]]))
    x = torch.tensor([[0.3]])
    assert_close(lists(x, 3), tensors(x, 3))
    assert_close(lists([[1]], 3), tensors(torch.ones(1, 1), 3))  # type: ignore[arg-type]
