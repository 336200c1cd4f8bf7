"""The losses: L_simple, the weights by name, the hybrid loss, each against its definition."""

import math
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from torch.testing import assert_close

from ddpm_lite import (
    GaussianDiffusion,
    NoiseSchedule,
    cosine_schedule,
    line_schedule,
    linear_schedule,
    sigmoid_schedule,
    spaced_times,
    zero_terminal_snr,
)
from tests.processes import schedules


@pytest.mark.proves("p_losses")
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


def test_each_image_has_noise_of_its_own() -> None:
    diffusion = GaussianDiffusion(linear_schedule())
    same = torch.zeros(2, 1, 4, 4)
    first, second = diffusion.p_losses(lambda x, t: 0 * x, same, 500)  # the mean of eps^2
    assert first != second


class Linear(nn.Linear):
    def forward(self, xt: Tensor, t: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(xt)


@pytest.mark.parametrize("floats", [torch.float64, torch.bfloat16])
def test_a_network_is_asked_in_its_own_floats(floats: torch.dtype) -> None:
    diffusion = GaussianDiffusion(linear_schedule())
    loss = diffusion.p_losses(Linear(3, 3).to(floats), torch.zeros(2, 3), 500)
    assert loss.dtype == torch.float32
    assert diffusion.p_mean_variance(Linear(3, 3).to(floats), torch.zeros(2, 3), 500)


def test_gradients_flow_to_the_model() -> None:
    weight = torch.tensor(0.5, requires_grad=True)
    diffusion = GaussianDiffusion(linear_schedule())
    diffusion.p_losses(lambda x, t: weight * x, torch.rand(2, 3), 500).sum().backward()
    assert weight.grad is not None
    assert weight.grad != 0


@pytest.mark.proves("p_losses", "target")
@pytest.mark.parametrize("objective", ["eps", "x0", "v", "mu", "u"])
def test_each_objective_is_held_to_its_target(objective: Any) -> None:
    diffusion = GaussianDiffusion(linear_schedule(), objective)
    x0, eps = torch.rand(2, 4, 2, 3, dtype=torch.float64)
    t = torch.tensor([1, 2, 500, 1000])
    xt = diffusion.q_sample(x0, t, eps)
    target = diffusion.target(objective, x0, xt, eps, t)
    loss = diffusion.p_losses(lambda x, t: target + 0.5, x0, t, eps)
    assert_close(loss, torch.full((4,), 0.25).double())


@pytest.mark.proves("p_losses", "target")
def test_flow_matching_is_one_more_objective() -> None:
    """Its loss, written out on the line, for a network that is asked about the line's point."""
    diffusion, s = (
        GaussianDiffusion(line_schedule(40), "u"),
        torch.tensor([0.25, 0.5, 1.0]).double(),
    )
    x0, eps = torch.randn(2, 3, 5, dtype=torch.float64)

    def network(z: Tensor, s: Tensor) -> Tensor:
        return z.sin() + s[:, None]

    def asked(xt: Tensor, t: Tensor) -> Tensor:
        return network(diffusion.to_line(xt, t), t / 40)

    z = (1 - s[:, None]) * x0 + s[:, None] * eps
    expected = ((network(z, s) - (eps - x0)) ** 2).mean(1)
    assert_close(diffusion.p_losses(asked, x0, torch.tensor([10, 20, 40]), eps), expected)


@pytest.mark.proves("loss_weight")
def test_u_is_weighed_as_the_error_of_x0_over_the_square_of_s() -> None:
    """An error of u makes x0 err by s in the line's units: sqrt(1 - alpha_bar) / (a + b)."""
    schedule = line_schedule(50)
    weight = GaussianDiffusion(schedule, "u").loss_weight("min_snr", math.inf)
    s = torch.arange(1, 51).double() / 50
    assert_close(weight[1:], (1 - s) ** 2, atol=1e-12, rtol=0)  # SNR s^2


def test_eps_is_refused_where_it_says_nothing_of_the_image() -> None:
    for schedule in (line_schedule(10), zero_terminal_snr(linear_schedule())):
        with pytest.raises(ValueError, match="must be v, x0, mu or u, got 'eps'"):
            GaussianDiffusion(schedule)
        for objective in ("x0", "v", "mu", "u"):
            diffusion = GaussianDiffusion(schedule, objective)  # type: ignore[arg-type]
            x = torch.randn(2, 3)
            out = diffusion.p_mean_variance(lambda x, t: 0.1 * x, x, schedule.T, clip=False)
            for part in out:
                assert part.isfinite().all()
            assert diffusion.subsequence([1, schedule.T]).T == 2
            assert diffusion.subsequence([schedule.T]).T == 1


@pytest.mark.proves("loss_weight")
@pytest.mark.parametrize("objective", ["eps", "x0", "v", "mu", "u"])
@schedules
def test_the_simple_weight_makes_any_objective_l_simple(
    schedule: NoiseSchedule, objective: Any
) -> None:
    by_eps, other = GaussianDiffusion(schedule), GaussianDiffusion(schedule, objective)
    weight = other.loss_weight("simple")
    x0, eps, wrong = torch.randn(3, 2, 5, dtype=torch.float64)
    for t in {1, 2, schedule.T}:
        xt = by_eps.q_sample(x0, t, eps)
        said = by_eps.convert(wrong, xt, t, "eps", objective)
        expected = by_eps.p_losses(lambda x, t: wrong, x0, t, eps)
        got = other.p_losses(lambda x, t, said=said: said, x0, t, eps, weight=weight)
        assert_close(got, expected, rtol=1e-6, atol=0)


@pytest.mark.proves("loss_weight", "kl", "bound_term")
@pytest.mark.parametrize("objective", ["eps", "x0", "v", "mu", "u"])
@pytest.mark.parametrize("variance", ["beta", "beta_tilde"])
def test_the_variational_weight_makes_it_the_bound(objective: Any, variance: Any) -> None:
    """L_{t-1} of a wrong answer less that of the right one is the weighted square, exactly."""
    schedule = cosine_schedule(50)
    diffusion = GaussianDiffusion(schedule, objective, variance, levels=None)
    weight = diffusion.loss_weight("variational")
    assert weight.shape == (51,)
    assert weight[0].isnan()
    x0, eps, wrong = torch.randn(3, 2, 5, dtype=torch.float64)
    for t in range(2, 51):
        xt = diffusion.q_sample(x0, t, eps)
        right = diffusion.target(objective, x0, xt, eps, t)
        terms = [
            diffusion.bound_term(diffusion.p_from_output(out, xt, t, clip=False), x0, xt, t)
            for out in (wrong, right)
        ]
        square = ((wrong - right) ** 2).sum(1)
        assert_close(terms[0] - terms[1], weight[t] * square, rtol=1e-5, atol=1e-8)


@pytest.mark.proves("loss_weight")
def test_the_weight_that_l_simple_drops() -> None:
    """Ho et al. (2020), Eq. 12, written out; its ends as worked out independently."""
    s = linear_schedule()
    weight = GaussianDiffusion(s).loss_weight("variational")
    for t in (1, 2, 37, 500, 1000):
        beta, a = s.beta[t].item(), s.alpha_bar[t].item()
        assert weight[t].item() == pytest.approx(beta**2 / (2 * beta * (1 - beta) * (1 - a)))
    assert weight[1].item() == pytest.approx(0.50, abs=5e-3)
    assert weight[2].item() == pytest.approx(0.27, abs=5e-3)
    assert weight[500].item() == pytest.approx(0.0055, abs=5e-5)


@pytest.mark.proves("loss_weight")
def test_min_snr_in_each_coordinate() -> None:
    """Hang et al. (2023): min(SNR, gamma) on x0, divided by SNR for eps, by SNR + 1 for v."""
    s = linear_schedule()
    snr = s.snr[1:]
    for objective, divisor in (("x0", torch.ones(1000)), ("eps", snr), ("v", snr + 1)):
        got = GaussianDiffusion(s, objective).loss_weight("min_snr", gamma=5.0)[1:]
        assert_close(got, snr.clamp(max=5.0) / divisor, rtol=1e-9, atol=0)


class TwoHeads(nn.Module):
    """A network with a mean and a variance of its own, each one number."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.tensor(0.3))
        self.v = nn.Parameter(torch.tensor(0.2))

    def forward(self, xt: Tensor, t: Tensor) -> Tensor:
        return torch.cat([self.mean * xt, self.v * torch.ones_like(xt)], dim=1)


@pytest.mark.proves("p_losses", "bound_term")
def test_the_hybrid_loss_trains_the_variance_by_the_bound_alone() -> None:
    schedule = linear_schedule(40, 1e-3, 0.2)
    diffusion = GaussianDiffusion(schedule, variance="learned")
    plain = GaussianDiffusion(schedule)
    model = TwoHeads()
    x0, eps = torch.rand(2, 3, 1, 4, 4) * 2 - 1
    for t in (2, 17, 40):
        loss = diffusion.p_losses(model, x0, t, eps)
        simple = plain.p_losses(lambda x, t: model.mean * x, x0, t, eps)
        # The bound's term by torch.distributions, dimension by dimension.
        xt = diffusion.q_sample(x0, t, eps)
        out = diffusion.p_mean_variance(model, xt, t)
        mean, variance = diffusion.q_posterior(x0, xt, t)
        q = Normal(mean, variance.sqrt().expand_as(mean))
        kl = kl_divergence(q, Normal(out.mean.detach(), out.variance.sqrt())).mean((1, 2, 3))
        assert_close(loss, simple + 0.001 * 40 * kl / math.log(2), rtol=1e-4, atol=1e-6)
        by_hybrid = torch.autograd.grad(loss.sum(), (model.mean, model.v))
        (by_simple,) = torch.autograd.grad(simple.sum(), model.mean)
        (by_kl,) = torch.autograd.grad(0.001 * 40 * kl.sum() / math.log(2), model.v)
        assert_close(by_hybrid[0], by_simple)
        assert_close(by_hybrid[1], by_kl, rtol=1e-4, atol=1e-7)


def test_the_hybrid_loss_is_finite_at_every_t() -> None:
    """At t = 1 the term is L_0; the terms not chosen must not leave NaN in the gradient."""
    for schedule in (linear_schedule(), cosine_schedule()):
        diffusion = GaussianDiffusion(schedule, variance="learned")
        model = TwoHeads()
        t = torch.tensor([1, 2, 3, 500, 999, 1000])
        x0, eps = torch.rand(2, 6, 1, 4, 4) * 2 - 1
        loss = diffusion.p_losses(model, x0, t, eps)
        loss.sum().backward()
        assert loss.isfinite().all()
        assert model.mean.grad is not None
        assert model.mean.grad.isfinite()
        assert model.v.grad is not None
        assert model.v.grad.isfinite()
        first = diffusion.p_losses(model, x0[:1], 1, eps[:1])
        assert_close(first, loss[:1])


def test_self_conditioning_in_training() -> None:
    """The estimate is made without gradient, and given to the same network half the time."""
    diffusion = GaussianDiffusion(linear_schedule(), self_condition=True)
    seen: list[Tensor | None] = []
    slope = torch.tensor(0.5, requires_grad=True)

    def model(xt: Tensor, t: Tensor, x0_hat: Tensor | None) -> Tensor:
        seen.append(x0_hat)
        return slope * xt

    x0 = torch.rand(2, 3)
    diffusion.p_losses(model, x0, 9, condition=False)
    assert seen == [None]
    seen.clear()
    diffusion.p_losses(model, x0, 9, condition=True)
    assert seen[0] is None
    assert seen[1] is not None
    assert not seen[1].requires_grad
    assert seen[1].abs().max() <= 1
    seen.clear()
    for _ in range(200):
        diffusion.p_losses(model, x0, 9)
    made = sum(x is not None for x in seen)
    assert 70 < made < 130


@pytest.mark.usefixtures("as_a_reader")
def test_bad_choices() -> None:
    s = linear_schedule()
    with pytest.raises(ValueError, match="kind must be one of simple, variational, min_snr, got"):
        GaussianDiffusion(s).loss_weight("snr")
    with pytest.raises(ValueError, match="the variational weight needs a fixed variance"):
        GaussianDiffusion(s, variance="learned").loss_weight("variational")
    with pytest.raises(ValueError, match="first_variance must be positive, got 0"):
        GaussianDiffusion(s, first_variance=0)
    with pytest.raises(ValueError, match="levels must be at least 2, or None, got 1"):
        GaussianDiffusion(s, levels=1)
    with pytest.raises(ValueError, match=r"output must have the shape \(3, 2\), got \(3, 1\)"):
        GaussianDiffusion(s, variance="learned").p_losses(lambda x, t: x, torch.zeros(3, 1), 5)


@pytest.mark.parametrize("objective", ["eps", "x0", "v", "mu", "u"])
def test_the_bound_as_a_loss_is_the_weighted_error_and_a_constant(objective: str) -> None:
    """For two models that differ, the difference of both losses is the same at every t > 1."""
    diffusion = GaussianDiffusion(linear_schedule(20), objective)  # type: ignore[arg-type]
    x0, eps = torch.rand(19, 1, 4, 4, dtype=torch.double) * 2 - 1, None
    eps = torch.randn_like(x0)
    t = torch.arange(2, 21)
    weight = diffusion.loss_weight("variational")
    models = [lambda xt, t: 0.3 * xt, lambda xt, t: xt.sin()]
    direct = [diffusion.bound_losses(model, x0, t, eps) for model in models]
    weighted = [diffusion.p_losses(model, x0, t, eps, weight) for model in models]
    assert_close(direct[0] - direct[1], weighted[0] - weighted[1], rtol=1e-6, atol=1e-9)
    assert (direct[0] - weighted[0]).abs().max() < 1  # sigma^2 = beta against beta_tilde: small


def test_the_bound_as_a_loss_trains_mean_and_variance() -> None:
    diffusion = GaussianDiffusion(linear_schedule(20), variance="learned")
    x0, out = torch.rand(6, 1, 4, 4) * 2 - 1, torch.zeros(6, 2, 4, 4, requires_grad=True)
    t = torch.tensor([1, 2, 5, 10, 15, 20])
    diffusion.bound_losses(lambda xt, t: out, x0, t).sum().backward()
    mean, variance = out.grad.chunk(2, dim=1)  # type: ignore[union-attr]
    assert (mean.abs().amax((1, 2, 3)) > 0).all()
    assert (variance.abs().amax((1, 2, 3)) > 0).all()


# The settings.


@pytest.mark.usefixtures("as_a_reader")
def test_a_diffusion_is_its_settings() -> None:
    """Equal settings, equal diffusions; `replace` changes some; none can be changed in place."""
    schedule = linear_schedule(20)
    one = GaussianDiffusion(schedule, "v", levels=17)
    assert one == GaussianDiffusion(linear_schedule(20), objective="v", levels=17)
    assert hash(one) == hash(GaussianDiffusion(linear_schedule(20), "v", levels=17))
    assert one != GaussianDiffusion(linear_schedule(21), "v", levels=17)
    assert one != replace(one, levels=None)
    assert replace(one, objective="eps", levels=256) == GaussianDiffusion(schedule)
    assert "objective='v'" in repr(one)
    assert GaussianDiffusion(schedule, **one.config) == one
    with pytest.raises(FrozenInstanceError):
        one.objective = "eps"  # type: ignore[misc]
    with pytest.raises(ValueError, match="variance must be one of beta, beta_tilde, learned"):
        replace(one, variance="large")  # type: ignore[arg-type]


def test_a_shortened_chain_stays_one_when_a_setting_changes() -> None:
    whole = GaussianDiffusion(linear_schedule(20), "mu")
    short, told = whole.subsequence([3, 9, 20]), []
    other = replace(short, variance="beta_tilde")
    assert (other.times, other.T) == ([0, 3, 9, 20], 3)
    assert other == replace(whole, variance="beta_tilde").subsequence([3, 9, 20])
    assert short == whole.subsequence([3, 9, 20]) != whole.subsequence([4, 9, 20])

    def model(x: Tensor, t: Tensor) -> Tensor:
        told.append(int(t[0]))
        return x

    x = torch.randn(2, 3)
    mean = whole.p_mean_variance(model, x, 9, clip=False).x0_hat
    assert_close(other.p_mean_variance(model, x, 2, clip=False).x0_hat, mean)
    assert told == [9, 9]


def test_a_coefficient_changed_by_nobody() -> None:
    """Two processes over one schedule share nothing that a setting moves."""
    schedule = linear_schedule(10)
    first = GaussianDiffusion(schedule, variance="beta_tilde", first_variance=0.5)
    assert first.sigma2.numbers[1] == 0.5
    assert first.positive_beta_tilde.numbers[1] == schedule.beta_tilde[2]
    assert schedule.beta_tilde[1] == 0
    assert GaussianDiffusion(schedule).sigma2.numbers[1:] == schedule.beta[1:].tolist()


def test_a_shortened_chain_is_held_to_the_whole_one() -> None:
    diffusion = GaussianDiffusion(linear_schedule(20, 0.01, 0.3))
    short = diffusion.subsequence([5, 10, 20])
    assert replace(short, variance="beta_tilde").stops == (0, 5, 10, 20)
    for wrong in (
        {"schedule": linear_schedule(3, 0.01, 0.3)},
        {"trained_on": linear_schedule(20)},
        {"stops": (0, 5, 11, 20)},
        {"stops": (0, 10, 20)},
        {"stops": (0, 5, 10, 21)},
        {"stops": (-1, 5, 10, 20)},
        {"trained_on": None},
    ):
        with pytest.raises(ValueError, match=r"stops must be 4 times|that of its stops"):
            replace(short, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="stops must be 3 times of the whole chain"):
        GaussianDiffusion(linear_schedule(2), stops=(0, 500, 1000))


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 20, 100, 999, 1000])
def test_every_length_is_a_shortened_chain(steps: int) -> None:
    for schedule in (cosine_schedule(), sigmoid_schedule(), linear_schedule()):
        chain = GaussianDiffusion(schedule).subsequence(spaced_times(1000, steps))
        assert steps == chain.T
        assert_close(chain.schedule.alpha_bar[-1], schedule.alpha_bar[-1], rtol=1e-6, atol=0)


def test_the_first_variance_is_of_the_first_step() -> None:
    diffusion = GaussianDiffusion(linear_schedule(20, 0.01, 0.3), first_variance=1e-4)
    assert diffusion.subsequence([1, 10, 20]).sigma2.numbers[1] == 1e-4
    short = diffusion.subsequence([5, 10, 20])
    assert short.sigma2.numbers[1] == pytest.approx(1 - diffusion.schedule.alpha_bar[5].item())
    with pytest.raises(ValueError, match="first_variance is of a fixed variance"):
        replace(diffusion, variance="learned")


def test_what_has_no_effect_is_refused() -> None:
    diffusion, x = GaussianDiffusion(linear_schedule(20, 0.01, 0.3)), torch.zeros(2, 3)
    with pytest.raises(ValueError, match="x0_prev needs a diffusion with self_condition"):
        diffusion.p_mean_variance(lambda x, t: x, x, 3, x0_prev=x)
    with pytest.raises(ValueError, match=r"each t = 0\.\.20, shape \(21,\), got \(20,"):
        diffusion.p_losses(lambda x, t: x, x, 3, weight=torch.ones(20))
