"""q and its posterior, each against something computed another way; the five coordinates."""

import copy
import itertools
import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Normal
from torch.testing import assert_close

from ddpm_lite import (
    ForwardProcess,
    GaussianDiffusion,
    NoiseSchedule,
    line_schedule,
    linear_schedule,
    zero_terminal_snr,
)
from ddpm_lite.forward import Coefficient
from tests.processes import SCHEDULES, column, schedules

OBJECTIVES = ("eps", "x0", "v", "mu", "u")


@pytest.mark.proves("q_mean_variance", "q_step")
@schedules
def test_closed_form_is_the_chain_in_moments(schedule: NoiseSchedule) -> None:
    diffusion, m, v = GaussianDiffusion(schedule), 0.7, 0.0
    for t in range(1, schedule.T + 1):
        beta = schedule.beta[t].item()
        m, v = math.sqrt(1 - beta) * m, (1 - beta) * v + beta
        mean, variance = diffusion.q_mean_variance(column(0.7), t)
        assert mean.item() == pytest.approx(m, rel=1e-10)
        assert variance.item() == pytest.approx(v, rel=1e-10)


@pytest.mark.proves("q_step", "q_sample")
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


@pytest.mark.proves("q_step", "q_sample")
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


@pytest.mark.proves("q_posterior")
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


@pytest.mark.proves("q_posterior")
@schedules
def test_posterior_at_one_is_the_image(schedule: NoiseSchedule) -> None:
    x0 = torch.rand(4, 1, 2, 2, dtype=torch.float64)
    mean, variance = GaussianDiffusion(schedule).q_posterior(x0, torch.randn_like(x0), 1)
    assert_close(mean, x0)
    assert_close(variance, torch.zeros(4, 1, 1, 1, dtype=torch.float64))


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


@pytest.mark.usefixtures("as_a_reader")
@pytest.mark.filterwarnings("ignore")
def test_compiled_equals_eager() -> None:
    diffusion = GaussianDiffusion(linear_schedule())
    x0, eps = torch.rand(2, 3, 1, 4, 4)
    t = torch.tensor([1, 5, 1000])
    compiled = torch.compile(diffusion.q_sample, backend="eager", fullgraph=False)
    assert_close(compiled(x0, t, eps), diffusion.q_sample(x0, t, eps))
    torch.compiler.reset()  # else it counts against the limit of the next test that compiles


X = torch.zeros(3, 1, 2, 2)


@pytest.mark.usefixtures("as_a_reader")
def test_bad_images() -> None:
    diffusion = GaussianDiffusion(linear_schedule())
    with pytest.raises(TypeError, match=r"x0 must be floating point, got torch.uint8: to_"):
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
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        for value in (math.nan, math.inf, -math.inf):
            bad = X.to(dtype, copy=True)
            bad[2, 0, 1, 1] = value
            with pytest.raises(ValueError, match=r"finite, got 1 NaN .* index \(2, 0, 1, 1\)"):
                diffusion.q_sample(bad, 1)


def test_an_unchecked_t_of_zero_shows() -> None:
    """Where t cannot be looked at, entry 0 of every table is NaN rather than plausible."""
    diffusion = GaussianDiffusion(linear_schedule())
    found = [getattr(diffusion, name) for name in dir(diffusion)]
    found += [one for pair in diffusion.conversions.values() for one in pair]
    coefficients = [one for one in found if isinstance(one, Coefficient)]
    assert len(coefficients) == 9 + 5 + 2 * 25
    for coefficient in coefficients:
        assert coefficient.at(torch.tensor([0]), X[:1]).isnan().all()
        assert math.isnan(coefficient.at(0, X[:1]))


@pytest.mark.proves("target", "convert")
@schedules
def test_every_coordinate_leads_to_every_other(schedule: NoiseSchedule) -> None:
    """The targets are written out here; `convert` must take each to each."""
    process = ForwardProcess(schedule)
    x0, eps = torch.rand(2, 6, 2, dtype=torch.float64) * 2 - 1
    for t in {1, 2, schedule.T}:
        a, before, beta = schedule.alpha_bar[t], schedule.alpha_bar[t - 1], schedule.beta[t]
        xt = a.sqrt() * x0 + (1 - a).sqrt() * eps
        mu = x0  # at t = 1
        if t > 1:  # the posterior's mean weighs two measurements of x_{t-1} by their precisions
            by_image, by_step = 1 / (1 - before), (1 - beta) / beta
            mu = by_image * before.sqrt() * x0 + by_step * xt / (1 - beta).sqrt()
            mu = mu / (by_image + by_step)
        truth = {"eps": eps, "x0": x0, "v": a.sqrt() * eps - (1 - a).sqrt() * x0, "mu": mu}
        truth["u"] = eps - x0
        for name, wanted in itertools.product(OBJECTIVES, OBJECTIVES):
            tolerance = 1e-7 if name == "mu" and t == schedule.T else 1e-9  # mu hardly has x0 there
            assert_close(process.target(wanted, x0, xt, eps, t), truth[wanted])
            got = process.convert(truth[name], xt, t, name, wanted)
            assert_close(got, truth[wanted], atol=tolerance, rtol=0)


@pytest.mark.proves("target")
def test_v_is_the_rotation_s_speed() -> None:
    """On the circle x_t = cos(phi) x0 + sin(phi) eps, v is the derivative by phi."""
    process = ForwardProcess(linear_schedule())
    x0, eps = torch.randn(2, 4, 3, dtype=torch.float64)
    x0 = x0.requires_grad_()
    for t in (1, 300, 1000):
        phi = torch.tensor(
            math.acos(process.schedule.alpha_bar[t].sqrt()), dtype=torch.float64, requires_grad=True
        )
        xt = phi.cos() * x0.detach() + phi.sin() * eps
        speed = torch.stack(
            [torch.autograd.grad(x, phi, retain_graph=True)[0] for x in xt.view(-1)]
        )
        got = process.target("v", x0.detach(), xt.detach(), eps, t)
        assert_close(got.view(-1), speed, atol=1e-9, rtol=0)


@pytest.mark.proves("target", "to_line", "from_line")
@pytest.mark.parametrize(
    "schedule", [line_schedule(), linear_schedule(), zero_terminal_snr(linear_schedule())], ids=repr
)
def test_the_line_is_the_chain_divided(schedule: NoiseSchedule) -> None:
    """(1 - s) x_0 + s eps and its derivative by s, against x_t made by the chain."""
    process = ForwardProcess(schedule)
    x0, eps = torch.randn(2, 6, 2, dtype=torch.float64)
    for t in (1, 300, 999, 1000):
        s = schedule.line[t].clone().requires_grad_()
        z = (1 - s) * x0 + s * eps
        xt = process.q_sample(x0, t, eps)
        assert_close(process.to_line(xt, t), z.detach(), atol=1e-12, rtol=0)
        assert_close(process.from_line(z.detach(), t), xt, atol=1e-12, rtol=0)
        ts = torch.full((6,), t)
        assert_close(process.to_line(xt, ts), z.detach(), atol=1e-12, rtol=0)
        speed = torch.stack(
            [torch.autograd.grad(one, s, retain_graph=True)[0] for one in z.view(-1)]
        )
        assert_close(process.target("u", x0, xt, eps, t).view(-1), speed, atol=1e-12, rtol=0)


@pytest.mark.proves("convert")
@pytest.mark.parametrize("t", [1, 300, 700, 999])
def test_velocity_noise_image_and_v_are_one_another_to_twelve_digits(t: int) -> None:
    """By hand from the two unknowns x_0 and eps: x_t = a x_0 + b eps, u = eps - x_0."""
    schedule = line_schedule()
    process = ForwardProcess(schedule)
    u, xt = torch.randn(2, 6, 2, dtype=torch.float64)
    a, b = schedule.alpha_bar[t].sqrt(), (1 - schedule.alpha_bar[t]).sqrt()
    x0 = (xt - b * u) / (a + b)
    eps = (xt + a * u) / (a + b)
    for wanted, value in (("x0", x0), ("eps", eps), ("v", a * eps - b * x0)):
        assert_close(process.convert(u, xt, t, "u", wanted), value, atol=1e-12, rtol=0)
        # Back again: an error of x_0 counts 1 / s times, one of eps 1 / (1 - s) times.
        back = process.convert(value, xt, t, wanted, "u")
        size = {"x0": 1 / b, "eps": 1 / a, "v": 1}[wanted]
        assert_close(back, u, atol=1e-12 * max(1.0, float(size)), rtol=0)


def test_pure_noise_says_nothing_of_the_image() -> None:
    process = ForwardProcess(line_schedule(10))
    for t in (10, torch.tensor([1, 10])):
        with pytest.raises(ValueError, match=r"nothing of x0 where alpha_bar_t = 0, got t = 10"):
            process.convert(X[:2], X[:2], t, "eps", "x0")
    assert process.convert(X, X, 9, "eps", "v").isfinite().all()
    for known, wanted in itertools.product(set(OBJECTIVES) - {"eps"}, OBJECTIVES):
        assert process.convert(X, X, 10, known, wanted).isfinite().all()


def test_a_conversion_keeps_its_digits_in_float32() -> None:
    """v to eps directly, not by way of x0: x_t / sqrt(alpha_bar_T) would cost two digits."""
    process = ForwardProcess(linear_schedule())
    v, xt = torch.randn(2, 1000, 1)
    exact = process.convert(v.double(), xt.double(), 1000, "v", "eps")
    got = process.convert(v, xt, 1000, "v", "eps")
    assert_close(got.double(), exact, atol=3e-7, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_an_integer_t_and_a_tensor_of_it_agree(dtype: torch.dtype) -> None:
    process = ForwardProcess(linear_schedule())
    x0, eps = torch.rand(2, 3, 2, 2).to(dtype)
    for t in (1, 500, 1000):
        ts = torch.full((3,), t)
        assert torch.equal(process.q_sample(x0, t, eps), process.q_sample(x0, ts, eps))
        assert torch.equal(process.q_step(x0, t, eps), process.q_step(x0, ts, eps))
        for one, many in zip(
            process.q_posterior(x0, eps, t), process.q_posterior(x0, eps, ts), strict=True
        ):
            assert torch.equal(one, many)


@pytest.mark.usefixtures("as_a_reader")
def test_unknown_coordinates() -> None:
    process = ForwardProcess(linear_schedule())
    with pytest.raises(ValueError, match="wanted must be one of eps, x0, v, mu, u, got 'noise'"):
        process.convert(X, X, 1, "eps", "noise")
    with pytest.raises(ValueError, match="given must be one of eps, x0, v, mu, u, got 'score'"):
        process.convert(X, X, 1, "score", "eps")
    with pytest.raises(ValueError, match="objective must be one of eps, x0, v, mu, u, got 'score'"):
        process.target("score", X, X, X, 1)


@pytest.mark.proves("target")
def test_the_posteriors_mean_in_terms_of_the_noise() -> None:
    """Ho et al. (2020), Eq. 9: with x_0 solved for, mu_tilde is a step against the noise."""
    schedule = linear_schedule(30)
    q = ForwardProcess(schedule)
    x0, eps = torch.randn(2, 30, 5, dtype=torch.float64)
    t = torch.arange(1, 31)
    xt = q.q_sample(x0, t, eps)
    alpha, bar, beta = (x[t, None] for x in (schedule.alpha, schedule.alpha_bar, schedule.beta))
    expected = (xt - beta / (1 - bar).sqrt() * eps) / alpha.sqrt()
    assert_close(q.target("mu", x0, xt, eps, t), expected)


def test_no_images_are_no_fault() -> None:
    none, t = torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)
    process = ForwardProcess(linear_schedule(10))
    assert process.q_sample(none, t).shape == process.q_posterior(none, none, t)[0].shape == (0, 3)


def test_a_coefficient_keeps_the_digits_of_each_dtype() -> None:
    """Asked in float32 first, it answers in float64 all the same."""
    coefficient = ForwardProcess(linear_schedule()).sqrt_alpha_bar
    t = torch.tensor([700])
    for dtype in (torch.float32, torch.float64, torch.float32):
        entry = coefficient.at(t, torch.zeros(1, 1, dtype=dtype))
        assert isinstance(entry, Tensor)
        assert entry.dtype == dtype
        assert entry.item() == coefficient.float64.to(dtype)[700].item()


@pytest.mark.parametrize("t", [3, torch.tensor([3, 7])])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_coefficients_first_used_in_inference_mode_serve_gradients(
    t: int | Tensor, dtype: torch.dtype
) -> None:
    """What a sampler leaves behind, the next loss takes."""
    x0 = torch.rand(2, 5, dtype=dtype, requires_grad=True)
    with torch.inference_mode():
        process = ForwardProcess(linear_schedule(10))
        process.q_sample(x0.detach(), t, torch.zeros(2, 5, dtype=dtype))
    process.q_sample(x0, t, torch.zeros(2, 5, dtype=dtype)).sum().backward()
    signal = process.schedule.alpha_bar[torch.as_tensor(t)].sqrt().to(dtype)
    assert torch.equal(x0.grad, signal.view(-1, 1).expand(2, 5))


def test_a_variance_that_is_written_to_leaves_the_coefficients() -> None:
    process = ForwardProcess(linear_schedule(10))
    x0 = torch.rand(2, 5)
    for t in (3, torch.tensor([3, 3])):
        first = process.q_mean_variance(x0, t)[1].clone()
        process.q_mean_variance(x0, t)[1].zero_()
        assert torch.equal(process.q_mean_variance(x0, t)[1], first)


@pytest.mark.parametrize("low", [torch.float16, torch.bfloat16])
def test_an_output_in_halves_is_rounded_once(low: torch.dtype) -> None:
    """Near T its error in x_0 grows 158 times; rounded again on the way it would be seen."""
    process = ForwardProcess(linear_schedule())
    xt, eps = torch.randn(2, 3, 50)
    exact = process.convert(eps.to(low).double(), xt.double(), 1000, "eps", "x0")
    for t in (1000, torch.tensor([1000] * 3)):
        found = process.convert(eps.to(low), xt, t, "eps", "x0")
        assert found.dtype == torch.float32
        assert_close(found.double(), exact, atol=1e-3, rtol=0)


def test_a_process_is_copied_and_pickled_after_use() -> None:
    process, x = ForwardProcess(linear_schedule()), torch.rand(2, 3)
    new = len(pickle.dumps(process))
    for t in (5, torch.tensor([5, 6])):
        process.q_sample(x, t)
    kept = pickle.dumps(process)
    assert len(kept) < new + 5 * 8 * 1001  # the two coefficients, and two of the schedule
    for twin in (pickle.loads(kept), copy.deepcopy(process)):
        assert torch.equal(twin.q_sample(x, 5, x), process.q_sample(x, 5, x))


def test_images_of_other_dimensions_keep_their_shape() -> None:
    process = ForwardProcess(linear_schedule(10))
    for shape in ((2, 1, 4, 4), (2, 3), (2,), (2, 1, 4, 4)):
        assert process.q_sample(torch.zeros(shape), 5).shape == shape
