"""One step of p: against Ho et al.'s Eq. 11, and step by step against diffusers' schedulers."""

import math
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler
from torch import Tensor
from torch.testing import assert_close

from ddpm_lite import GaussianDiffusion, NoiseSchedule, linear_schedule
from tests.processes import schedules

X = torch.zeros(3, 1, 2, 2)


@pytest.mark.proves("p_mean_variance", "convert")
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


@pytest.mark.proves("p_mean_variance", "convert")
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


@pytest.mark.proves("p_sample", "p_draw")
@pytest.mark.parametrize("variance", ["beta", "beta_tilde"])
def test_p_sample_adds_sigma_times_noise_but_not_at_one(variance: str) -> None:
    schedule = linear_schedule(10, 0.1, 0.5)
    diffusion = GaussianDiffusion(schedule, variance=variance)
    xt, noise = torch.randn(2, 7, 2, dtype=torch.float64)
    for t in range(1, 11):
        out = diffusion.p_mean_variance(lambda x, t: x * 0.1, xt, t)
        if t > 1:
            assert_close(out.variance[0], getattr(schedule, variance)[t].view(1))
        drawn = diffusion.p_sample(lambda x, t: x * 0.1, xt, t, noise=noise)
        sigma = 0.0 if t == 1 else math.sqrt(getattr(schedule, variance)[t])
        assert_close(drawn, out.mean + sigma * noise)


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
        (torch.tensor(1), ValueError, r"t must be \[B\], got \(\)"),
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
def test_bad_choices_and_models() -> None:
    with pytest.raises(ValueError, match="objective must be one of eps, x0, v, mu, u, got 'noise'"):
        GaussianDiffusion(linear_schedule(), objective="noise")
    with pytest.raises(
        ValueError, match="variance must be one of beta, beta_tilde, learned, got 'fixed'"
    ):
        GaussianDiffusion(linear_schedule(), variance="fixed")
    diffusion = GaussianDiffusion(linear_schedule())
    for call in (diffusion.p_losses, diffusion.p_mean_variance):
        with pytest.raises(ValueError, match=r"output must have the shape \(3, 1, 2, 2\)"):
            call(lambda x, t: x[:, :, :1], X, 5)


@pytest.mark.proves("p_mean_variance")
@pytest.mark.parametrize("objective", ["x0", "v", "mu", "u"])
@schedules
def test_every_objective_is_the_same_step(schedule: NoiseSchedule, objective: Any) -> None:
    """A network that says the same thing in other coordinates takes the same step."""
    by_eps, other = GaussianDiffusion(schedule), GaussianDiffusion(schedule, objective)
    xt, eps = torch.randn(2, 5, 3, dtype=torch.float64)
    for t in {1, 2, schedule.T}:
        said = by_eps.convert(eps, xt, t, "eps", objective)
        for clip in (True, False):
            one = by_eps.p_mean_variance(lambda x, t: eps, xt, t, clip)
            two = other.p_mean_variance(lambda x, t, said=said: said, xt, t, clip)
            for a, b in zip(one, two, strict=True):
                assert_close(a, b, rtol=1e-6, atol=1e-6)


def test_eps_hat_follows_a_clipped_x0_hat() -> None:
    diffusion = GaussianDiffusion(linear_schedule())
    xt = torch.randn(8, 3, dtype=torch.float64) * 3
    out = diffusion.p_mean_variance(lambda x, t: 0.1 * x, xt, 400)
    assert (out.x0_hat.abs() == 1).any()
    assert_close(diffusion.q_sample(out.x0_hat, 400, out.eps_hat), xt)


@pytest.mark.proves("p_from_output")
@schedules
def test_learned_variance_lies_between_the_two_bounds(schedule: NoiseSchedule) -> None:
    """-1 is beta_tilde, 1 is beta, 0 their geometric mean; at t = 1 all are finite."""
    diffusion = GaussianDiffusion(schedule, variance="learned")
    xt = torch.randn(3, 2, 4, 4, dtype=torch.float64)
    for t in {1, 2, schedule.T}:
        low = schedule.beta_tilde[max(t, 2)].item()
        high = schedule.beta[t].item()
        for v, expected in ((-1.0, low), (1.0, high), (0.0, math.sqrt(low * high))):

            def model(x: Tensor, t: Tensor, v: float = v) -> Tensor:
                return torch.cat([0.1 * x, torch.full_like(x, v)], dim=1)

            out = diffusion.p_mean_variance(model, xt, t)
            assert_close(out.variance, torch.full_like(xt, expected))
            noise = torch.randn_like(xt)
            sigma = math.sqrt(expected) if t > 1 else 0.0
            assert_close(diffusion.p_draw(out, t, noise), out.mean + sigma * noise)
            ts = torch.full((3,), t)
            assert_close(diffusion.p_draw(out, ts, noise), out.mean + sigma * noise)


def test_the_first_variance() -> None:
    schedule, zero = linear_schedule(), X.double()

    def first(**options: Any) -> float:
        diffusion = GaussianDiffusion(schedule, **options)
        return diffusion.p_mean_variance(lambda x, t: x, zero, 1).variance[0].item()

    assert first(variance="beta") == schedule.beta[1]
    assert first(variance="beta_tilde") == schedule.beta_tilde[2]
    assert first(variance="beta", first_variance=0.3) == 0.3
    assert GaussianDiffusion(linear_schedule(1), variance="beta_tilde").p_mean_variance(
        lambda x, t: x, zero, 1
    ).variance[0].item() == pytest.approx(1e-4)


def test_self_conditioning_hands_the_estimate_over() -> None:
    diffusion = GaussianDiffusion(linear_schedule(), self_condition=True)
    seen = []

    def model(xt: Tensor, t: Tensor, x0_hat: Tensor | None) -> Tensor:
        seen.append(x0_hat)
        return torch.zeros_like(xt)

    estimate = torch.full_like(X, 0.5)
    diffusion.p_mean_variance(model, X, 7)
    diffusion.p_mean_variance(model, X, 7, x0_prev=estimate)
    assert seen[0] is None
    assert seen[1] is estimate


@pytest.mark.proves("subsequence")
@pytest.mark.parametrize("objective", ["eps", "x0", "v", "mu", "u"])
def test_a_shortened_chain_asks_the_same_network(objective: Any) -> None:
    """The right answer of the long chain is still right: q(x_s | x_t, x_0) between its stops."""
    long = GaussianDiffusion(linear_schedule(), objective)
    short = long.subsequence([5, 300, 301, 1000])
    assert short.T == 4
    x0, eps = torch.rand(2, 3, 2, dtype=torch.float64)
    seen = []
    for i, t, before in ((1, 5, 0), (2, 300, 5), (3, 301, 300), (4, 1000, 301)):
        xt = long.q_sample(x0, t, eps)

        def model(x: Tensor, t: Tensor) -> Tensor:
            seen.append(t.tolist())
            return long.target(objective, x0, x, eps, t)

        a, b = long.schedule.alpha_bar[t], long.schedule.alpha_bar[before]
        beta = 1 - a / b
        mean = b.sqrt() * beta / (1 - a) * x0 + (1 - beta).sqrt() * (1 - b) / (1 - a) * xt
        for step in (i, torch.full((3,), i)):
            out = short.p_mean_variance(model, xt, step, clip=False)
            assert_close(out.x0_hat, x0, atol=1e-6, rtol=0)
            assert_close(out.mean, mean, atol=1e-6, rtol=0)
            assert_close(out.variance[0].squeeze(), beta)
            assert seen.pop() == [t] * 3
    again = short.subsequence([2, 4])
    assert again.times == [0, 300, 1000]
    assert_close(again.schedule.alpha_bar, long.schedule.alpha_bar[[0, 300, 1000]])


FIXED = [
    ("beta", "fixed_large"),
    ("beta_tilde", "fixed_small"),
    ("beta_tilde", "fixed_small_log"),
    ("learned", "learned_range"),
]


@pytest.mark.proves("p_sample", "p_from_output")
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize(("variance", "theirs"), FIXED)
@pytest.mark.parametrize(
    ("objective", "prediction"), [("eps", "epsilon"), ("x0", "sample"), ("v", "v_prediction")]
)
def test_each_step_is_that_of_diffusers(
    objective: Any, prediction: str, variance: Any, theirs: str, clip: bool
) -> None:
    """Their steps count from 0; the network here says something that depends on x and t."""
    schedule = linear_schedule(30, 1e-3, 0.3)
    scheduler = DDPMScheduler(
        num_train_timesteps=30,
        beta_start=1e-3,
        beta_end=0.3,
        prediction_type=prediction,
        variance_type=theirs,
        clip_sample=clip,
    )
    diffusion = GaussianDiffusion(schedule, objective, variance)
    x = torch.randn(4, 3, 4, 4)

    def model(xt: Tensor, t: Tensor) -> Tensor:
        out = 0.8 * xt + t.view(-1, 1, 1, 1) / 50
        return torch.cat([out, out.sin()], dim=1) if variance == "learned" else out

    for t in range(30, 0, -1):
        output = model(x, torch.full((4,), t))
        generator = torch.Generator().manual_seed(t)
        step = scheduler.step(output, t - 1, x, generator=generator)
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(t))
        out = diffusion.p_from_output(output, x, t, clip)
        assert_close(out.x0_hat, step.pred_original_sample, atol=2e-5, rtol=2e-5)
        ours = diffusion.p_draw(out, t, noise)
        assert_close(ours, step.prev_sample, atol=2e-5, rtol=2e-5)
        x = ours
