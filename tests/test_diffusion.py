"""q, its posterior and p, each against something computed another way."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Normal
from torch.testing import assert_close

from ddpm_lite import GaussianDiffusion, NoiseSchedule, cosine_schedule, linear_schedule

SCHEDULES = [linear_schedule(), cosine_schedule(100), NoiseSchedule([0.3, 0.9, 0.05])]
schedules = pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)


def column(value: float) -> Tensor:
    return torch.full((1, 1), value, dtype=torch.float64)


@schedules
def test_closed_form_is_the_chain_in_moments(schedule: NoiseSchedule) -> None:
    diffusion, m, v = GaussianDiffusion(schedule), 0.7, 0.0
    for t in range(1, schedule.T + 1):
        beta = schedule.beta[t].item()
        m, v = math.sqrt(1 - beta) * m, (1 - beta) * v + beta
        mean, variance = diffusion.q_mean_variance(column(0.7), t)
        assert mean.item() == pytest.approx(m, rel=1e-10)
        assert variance.item() == pytest.approx(v, rel=1e-10)


@schedules
def test_q_step_and_q_sample_scale_by_standard_deviations(schedule: NoiseSchedule) -> None:
    """Zero noise leaves the mean; unit noise on a zero image leaves the standard deviation."""
    diffusion, zero, one = GaussianDiffusion(schedule), column(0.0), column(1.0)
    for t in (1, 2, schedule.T):
        mean, variance = diffusion.q_mean_variance(one, t)
        assert_close(diffusion.q_sample(one, t, zero), mean)
        assert_close(diffusion.q_sample(zero, t, one) ** 2, variance)
        assert_close(diffusion.q_step(zero, t, one) ** 2, schedule.beta[t].view(1, 1))
        assert_close(diffusion.q_step(one, t, zero) ** 2, 1 - schedule.beta[t].view(1, 1))


def test_chain_and_closed_form_agree_in_distribution() -> None:
    """Two-sample Kolmogorov-Smirnov: 100,000 walked pixels against as many that jumped."""
    n, schedule = 100_000, linear_schedule(20, 0.01, 0.3)
    diffusion = GaussianDiffusion(schedule)
    x0 = torch.where(torch.arange(n) % 2 == 0, 0.9, -0.4)[:, None]
    x = x0
    for t in range(1, 13):
        x = diffusion.q_step(x, t)

    def distance(other: Tensor) -> float:
        order = torch.cat([x, other]).flatten().argsort()
        return torch.where(order < n, 1.0, -1.0).cumsum(0).abs().max().item() / n

    limit = 1.63 * math.sqrt(2 / n)  # one per cent level
    assert distance(diffusion.q_sample(x0, 12)) < limit
    assert distance(diffusion.q_sample(x0, 11)) > limit  # the test can tell one step apart


@schedules
@pytest.mark.parametrize(("x0", "xt"), [(0.8, 0.3), (-1.0, 1.5)])
def test_posterior_is_bayes_on_a_grid(schedule: NoiseSchedule, x0: float, xt: float) -> None:
    diffusion = GaussianDiffusion(schedule)
    x = torch.linspace(-12, 12, 400_001, dtype=torch.float64)
    for t in {2, schedule.T // 2 + 2 if schedule.T > 3 else 3, schedule.T}:
        mean, variance = diffusion.q_mean_variance(column(x0), t - 1)
        prior = Normal(mean.item(), variance.sqrt().item(), validate_args=False)
        beta = schedule.beta[t].item()
        step = Normal(x * math.sqrt(1 - beta), math.sqrt(beta))
        weight = (prior.log_prob(x) + step.log_prob(torch.full_like(x, xt))).softmax(0)
        by_bayes = (weight * x).sum()
        mu, beta_tilde = diffusion.q_posterior(column(x0), column(xt), t)
        assert mu.item() == pytest.approx(by_bayes.item(), abs=1e-6)
        spread = (weight * (x - by_bayes) ** 2).sum().item()
        assert beta_tilde.item() == pytest.approx(spread, rel=1e-5)


@schedules
def test_posterior_at_one_is_the_image(schedule: NoiseSchedule) -> None:
    x0 = torch.rand(4, 1, 2, 2, dtype=torch.float64)
    mean, variance = GaussianDiffusion(schedule).q_posterior(x0, torch.randn_like(x0), 1)
    assert_close(mean, x0)
    assert_close(variance, torch.zeros(4, 1, 1, 1, dtype=torch.float64))


@schedules
def test_p_mean_is_equation_11_without_clipping(schedule: NoiseSchedule) -> None:
    diffusion = GaussianDiffusion(schedule)
    xt, eps = torch.randn(2, 5, 3, dtype=torch.float64)
    for t in (1, 2, schedule.T):
        out = diffusion.p_mean_variance(lambda x, t: eps, xt, t, clip=False)
        beta, alpha_bar = schedule.beta[t], schedule.alpha_bar[t]
        expected = (xt - beta / (1 - alpha_bar).sqrt() * eps) / (1 - beta).sqrt()
        assert_close(out.mean, expected, rtol=1e-7, atol=1e-7)
        assert_close(out.eps_hat, eps)


def test_the_right_noise_gives_back_the_image() -> None:
    diffusion = GaussianDiffusion(linear_schedule())
    x0 = torch.rand(6, 1, 4, 4, dtype=torch.float64) * 2 - 1
    eps, t = torch.randn_like(x0), torch.tensor([1, 2, 10, 300, 999, 1000])
    xt = diffusion.q_sample(x0, t, eps)
    out = diffusion.p_mean_variance(lambda x, s: eps, xt, t, clip=False)
    assert_close(out.x0_hat, x0, rtol=0, atol=1e-9)
    assert_close(out.mean, diffusion.q_posterior(x0, xt, t)[0], rtol=0, atol=1e-9)
    assert_close(diffusion.p_losses(lambda x, s: eps, x0, t, eps), torch.zeros(6).double())


def test_clipping_holds_x0_in_range() -> None:
    diffusion = GaussianDiffusion(linear_schedule())
    xt = torch.tensor([[4.0], [-4.0], [0.0]])
    out = diffusion.p_mean_variance(lambda x, t: torch.zeros_like(x), xt, 1000)
    assert_close(out.x0_hat, torch.tensor([[1.0], [-1.0], [0.0]]))
    assert_close(out.mean, diffusion.q_posterior(out.x0_hat, xt, 1000)[0])


@pytest.mark.parametrize("variance", ["beta", "beta_tilde"])
def test_p_sample_adds_sigma_times_noise_but_not_at_one(variance: str) -> None:
    schedule = linear_schedule(10, 0.1, 0.5)
    diffusion = GaussianDiffusion(schedule, variance=variance)
    xt, noise = torch.randn(2, 7, 2, dtype=torch.float64)
    for t in range(1, 11):
        out = diffusion.p_mean_variance(lambda x, t: x * 0.1, xt, t)
        assert_close(out.variance[0], getattr(schedule, variance)[t].view(1))
        drawn = diffusion.p_sample(lambda x, t: x * 0.1, xt, t, noise=noise)
        sigma = 0.0 if t == 1 else math.sqrt(getattr(schedule, variance)[t])
        assert_close(drawn, out.mean + sigma * noise)


def test_p_losses_is_the_mean_square_per_sample() -> None:
    diffusion = GaussianDiffusion(linear_schedule())
    x0, eps = torch.zeros(3, 2, 2), torch.ones(3, 2, 2)
    t = torch.tensor([1, 500, 1000])
    seen = []

    def model(xt: Tensor, t: Tensor) -> Tensor:
        seen.append((xt, t))
        return torch.tensor([1.0, 3.0, 0.0]).view(3, 1, 1).expand_as(xt)

    assert_close(diffusion.p_losses(model, x0, t, eps), torch.tensor([0.0, 4.0, 1.0]))
    assert_close(seen[0][0], diffusion.q_sample(x0, t, eps))
    assert torch.equal(seen[0][1], t)


@given(st.integers(1, 100), st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_a_batch_of_t_is_each_t_alone(t: int, seed: int) -> None:
    diffusion = GaussianDiffusion(SCHEDULES[1])
    generator = torch.Generator().manual_seed(seed)
    x0, eps = torch.rand(2, 3, 1, 2, 2, generator=generator).double()
    ts = torch.tensor([t, 1, 100])
    together = diffusion.q_sample(x0, ts, eps)
    for i in range(3):
        alone = diffusion.q_sample(x0[i : i + 1], int(ts[i]), eps[i : i + 1])
        assert_close(together[i : i + 1], alone)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_results_have_the_dtype_of_the_data(dtype: torch.dtype) -> None:
    diffusion = GaussianDiffusion(linear_schedule())
    x0, eps = torch.rand(2, 400, 2).to(dtype)
    exact = diffusion.q_sample(x0.double(), 37, eps.double())
    got = diffusion.q_sample(x0, 37, eps)
    assert got.dtype == dtype
    # Half precision is computed in float32 and rounded once; the others may round thrice.
    roundings = 0.51 if dtype.itemsize == 2 else 2
    assert_close(got.double(), exact, atol=0, rtol=roundings * torch.finfo(dtype).eps)
    assert diffusion.q_step(x0.to(dtype), 5).dtype == dtype
    assert diffusion.q_posterior(x0.to(dtype), eps.to(dtype), 5)[0].dtype == dtype


def test_small_t_keeps_its_digits_in_float32() -> None:
    """1 - alpha_bar_1 is 1e-4: formed in float32 it would be off in the fourth digit."""
    variance = GaussianDiffusion(linear_schedule()).q_mean_variance(torch.ones(1, 1), 1)[1]
    assert variance.item() == pytest.approx(1e-4, rel=1e-6)


def test_the_schedule_is_left_alone() -> None:
    schedule = linear_schedule(5)
    before = schedule.beta.clone(), schedule.beta_tilde.clone()
    for variance in ("beta", "beta_tilde"):
        GaussianDiffusion(schedule, variance=variance).q_sample(torch.zeros(1, 1), 1)
    assert torch.equal(schedule.beta, before[0])
    assert torch.equal(schedule.beta_tilde, before[1])


def test_gradients_flow_to_the_model() -> None:
    weight = torch.tensor(0.5, requires_grad=True)
    diffusion = GaussianDiffusion(linear_schedule())
    diffusion.p_losses(lambda x, t: weight * x, torch.rand(2, 3), 500).sum().backward()
    assert weight.grad is not None
    assert weight.grad != 0


@pytest.mark.usefixtures("as_a_reader")
@pytest.mark.filterwarnings("ignore")
def test_compiled_equals_eager() -> None:
    diffusion = GaussianDiffusion(linear_schedule())
    x0, eps = torch.rand(2, 3, 1, 4, 4)
    t = torch.tensor([1, 5, 1000])
    compiled = torch.compile(diffusion.q_sample, backend="eager", fullgraph=False)
    assert_close(compiled(x0, t, eps), diffusion.q_sample(x0, t, eps))


X = torch.zeros(3, 1, 2, 2)


@pytest.mark.usefixtures("as_a_reader")
@pytest.mark.parametrize(
    ("t", "error", "says"),
    [
        (0, ValueError, r"t must lie in 1\.\.1000, got 0"),
        (1001, ValueError, r"t must lie in 1\.\.1000, got 1001"),
        (-1, ValueError, "got -1"),
        (3.0, TypeError, "got 3.0 of type float"),
        (torch.tensor([1, 2, 1001]), ValueError, "got 1001"),
        (torch.tensor([1, 0, 5]), ValueError, "got 0"),
        (torch.tensor([1.0, 2.0, 3.0]), TypeError, "got torch.float32"),
        (torch.tensor([1, 2]), ValueError, r"shape \(3,\), got \(2,\)"),
        (torch.tensor(1), ValueError, r"shape \(3,\), got \(\)"),
    ],
)
def test_bad_t(t: object, error: type[Exception], says: str) -> None:
    diffusion = GaussianDiffusion(linear_schedule())

    def model(xt: Tensor, t: Tensor) -> Tensor:
        raise AssertionError("the network must not run on bad input")

    for call in (
        lambda: diffusion.q_step(X, t),
        lambda: diffusion.q_mean_variance(X, t),
        lambda: diffusion.q_sample(X, t),
        lambda: diffusion.q_posterior(X, X, t),
        lambda: diffusion.p_mean_variance(model, X, t),
        lambda: diffusion.p_sample(model, X, t),
        lambda: diffusion.p_losses(model, X, t),
    ):
        with pytest.raises(error, match=says):
            call()


@pytest.mark.usefixtures("as_a_reader")
def test_bad_images() -> None:
    diffusion = GaussianDiffusion(linear_schedule())
    with pytest.raises(TypeError, match=r"x0 must be floating point in \[-1, 1\], got torch.uint8"):
        diffusion.q_sample(X.byte(), 1)
    with pytest.raises(ValueError, match=r"eps must have the shape of x0, \(3, 1, 2, 2\), got"):
        diffusion.q_sample(X, 1, X[:2])
    with pytest.raises(ValueError, match=r"xt must have the shape of x0"):
        diffusion.q_posterior(X, X[..., 0], 1)
    bad = X.clone()
    bad[1, 0, 1, 0] = math.nan
    with pytest.raises(ValueError, match=r"x0 must be finite, got 1 NaN .* index \(1, 0, 1, 0\)"):
        diffusion.q_sample(bad, 1)
    bad[2] = math.inf
    with pytest.raises(ValueError, match="x_prev must be finite, got 5 NaN"):
        diffusion.q_step(bad, 1)


@pytest.mark.usefixtures("as_a_reader")
def test_bad_choices_and_models() -> None:
    with pytest.raises(ValueError, match="objective must be one of eps, got 'noise'"):
        GaussianDiffusion(linear_schedule(), objective="noise")
    with pytest.raises(ValueError, match="variance must be one of beta, beta_tilde, got 'fixed'"):
        GaussianDiffusion(linear_schedule(), variance="fixed")
    diffusion = GaussianDiffusion(linear_schedule())
    for call in (diffusion.p_losses, diffusion.p_mean_variance):
        with pytest.raises(ValueError, match=r"output must have the shape of xt, \(3, 1, 2, 2\)"):
            call(lambda x, t: x[:, :, :1], X, 5)


def test_an_unchecked_t_of_zero_shows() -> None:
    """Where t cannot be looked at, entry 0 of every table is NaN rather than plausible."""
    diffusion = GaussianDiffusion(linear_schedule())
    for name in diffusion._tables64:
        assert diffusion._at(name, torch.tensor([0]), X[:1]).isnan().all()
