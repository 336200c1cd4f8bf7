"""The samplers against Algorithm 2 and diffusers, and against data whose best network is known."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor
from torch.testing import assert_close

from ddpm_lite import (
    GaussianDiffusion,
    NoiseSchedule,
    Oracle,
    SampleStep,
    UNet,
    cosine_schedule,
    ddim,
    ddpm,
    encode,
    inpaint,
    interpolate,
    line_schedule,
    linear_schedule,
    sample,
    spaced_times,
)


@pytest.mark.proves("ddpm")
def test_it_is_algorithm_2() -> None:
    schedule = linear_schedule(7, 0.05, 0.4)
    diffusion = GaussianDiffusion(schedule)
    seen = []

    def model(x: Tensor, t: Tensor) -> Tensor:
        seen.append(int(t[0]))
        return 0.3 * x + t.view(-1, 1) / 100

    steps = list(
        ddpm(diffusion, model, (4, 2), clip=False, generator=torch.Generator().manual_seed(5))
    )
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(4, 2, generator=generator)
    for t, step in zip(range(7, 0, -1), steps, strict=True):
        beta, alpha_bar = schedule.beta[t].item(), schedule.alpha_bar[t].item()
        eps = 0.3 * x + t / 100
        z = torch.randn(4, 2, generator=generator)
        x = (x - beta / math.sqrt(1 - alpha_bar) * eps) / math.sqrt(1 - beta)
        x = x + (math.sqrt(beta) * z if t > 1 else 0)
        assert step.t == t - 1
        assert_close(step.xt, x)
    assert seen == [7, 6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize("floats", [torch.float64, torch.bfloat16])
def test_noise_is_of_the_network_s_own_floats(floats: torch.dtype) -> None:
    network = UNet(8, 1, 8, (1,)).to(floats)
    assert sample(GaussianDiffusion(linear_schedule(3)), network, (1, 1, 8, 8)).dtype == floats


@pytest.mark.proves("ddpm")
def test_the_best_network_for_gaussian_data_leads_to_that_data() -> None:
    """For data N(m, s^2) the best eps_hat is linear in x_t, so every x_t of the chain is Gaussian.

    Its spread follows exactly, step by step, and the paper's two variances bracket s.
    """
    m, s, n = 0.6, 0.25, 20_000
    schedule = linear_schedule(100, 1e-3, 0.2)

    def best(x: Tensor, t: Tensor) -> Tensor:
        a = schedule.alpha_bar[t].float()[:, None]
        return (1 - a).sqrt() * (x - a.sqrt() * m) / (a * s**2 + 1 - a)

    ends = {}
    for variance in ("beta", "beta_tilde"):
        exact = 1.0
        for t in range(100, 0, -1):
            beta, a = schedule.beta[t].item(), schedule.alpha_bar[t].item()
            slope = (1 - beta / (a * s**2 + 1 - a)) / math.sqrt(1 - beta)
            sigma2 = getattr(schedule, variance)[t].item() if t > 1 else 0.0
            exact = slope**2 * exact + sigma2
        diffusion = GaussianDiffusion(schedule, variance=variance)
        *_, last = ddpm(diffusion, best, (n, 1), clip=False)
        assert last.t == 0
        assert last.xt.mean().item() == pytest.approx(m, abs=5 * s / math.sqrt(n))
        assert last.xt.std().item() == pytest.approx(math.sqrt(exact), rel=4 / math.sqrt(2 * n))
        ends[variance] = math.sqrt(exact)
    assert ends["beta_tilde"] < s < ends["beta"]
    assert ends["beta"] / ends["beta_tilde"] < 1.2


def test_the_same_generator_gives_the_same_sample() -> None:
    diffusion = GaussianDiffusion(linear_schedule(5))
    network = UNet(4, 1, 4, (1,))

    def draw(seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        *_, last = ddpm(diffusion, network, (2, 1, 4, 4), generator=generator)
        return last.xt

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_no_graph_is_built_and_training_mode_is_kept() -> None:
    network = UNet(4, 1, 4, (1,))
    for step in ddpm(GaussianDiffusion(linear_schedule(2)), network, (1, 1, 4, 4)):
        assert not step.xt.requires_grad
        assert torch.is_grad_enabled()  # between steps the caller's mode is in force
    assert network.training


def test_x0_hat_is_held_in_range_unless_told_otherwise() -> None:
    diffusion = GaussianDiffusion(linear_schedule(3))
    for clip, within in ((True, True), (False, False)):
        for step in ddpm(diffusion, lambda x, t: x * 90, (8, 2), clip=clip):
            assert (step.x0_hat.abs().max() <= 1) == within


def wavy(x: Tensor, t: Tensor) -> Tensor:
    """A network that is wrong in a smooth way."""
    return 0.8 * x + (t.view(-1, *[1] * (x.ndim - 1)) / 50).sin()


@pytest.mark.proves("ddim")
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize(
    ("objective", "prediction"), [("eps", "epsilon"), ("x0", "sample"), ("v", "v_prediction")]
)
def test_ddim_is_that_of_diffusers(objective: Any, prediction: str, clip: bool, eta: float) -> None:
    schedule = linear_schedule(60, 1e-3, 0.2)
    scheduler = DDIMScheduler(
        num_train_timesteps=60,
        beta_start=1e-3,
        beta_end=0.2,
        prediction_type=prediction,
        clip_sample=clip,
        timestep_spacing="trailing",
    )
    scheduler.set_timesteps(12)
    generator, theirs = torch.Generator().manual_seed(4), torch.Generator().manual_seed(4)
    diffusion = GaussianDiffusion(schedule, objective)
    x = torch.randn(3, 2, 4, 4, generator=theirs)
    steps = ddim(diffusion, wavy, (3, 2, 4, 4), steps=12, eta=eta, clip=clip, generator=generator)
    for t, step in zip(scheduler.timesteps, steps, strict=True):
        output = wavy(x, torch.full((3,), int(t) + 1))
        # Theirs draws noise at the last step too, and multiplies it by zero.
        out = scheduler.step(
            output, int(t), x, eta=eta, use_clipped_model_output=clip, generator=theirs
        )
        x = out.prev_sample
        assert_close(step.x0_hat, out.pred_original_sample, atol=2e-5, rtol=2e-5)
        assert_close(step.xt, x, atol=2e-5, rtol=2e-5)
        assert step.t == int(t) + 1 - 5


@pytest.mark.proves("ddim", "ddpm")
@pytest.mark.parametrize("objective", ["eps", "mu"])
def test_ddim_with_all_its_noise_is_ddpm(objective: Any) -> None:
    """Step by step, to rounding: eta = 1, every t, and the variance beta_tilde."""
    schedule = cosine_schedule(25)
    one = ddim(
        GaussianDiffusion(schedule, objective),
        wavy,
        (5, 3),
        steps=25,
        eta=1.0,
        generator=torch.Generator().manual_seed(2),
    )
    two = ddpm(
        GaussianDiffusion(schedule, objective, "beta_tilde"),
        wavy,
        (5, 3),
        generator=torch.Generator().manual_seed(2),
    )
    for a, b in zip(one, two, strict=True):
        assert a.t == b.t
        assert_close(a.xt, b.xt, atol=1e-4, rtol=1e-4)


@pytest.mark.proves("ddim")
def test_ddim_without_noise_solves_the_flow() -> None:
    """For N(m, s^2) data the noiseless path is known: it keeps x_t's place in units of spread."""
    m, s, schedule = 0.4, 0.3, cosine_schedule(1000)
    oracle = Oracle(schedule, torch.tensor([[m]], dtype=torch.float64), s)
    a = schedule.alpha_bar
    start = torch.tensor([[-1.5], [0.0], [2.0]], dtype=torch.float64)
    place = (start - a[-1].sqrt() * m) / (a[-1] * s**2 + 1 - a[-1]).sqrt()
    errors = []
    for steps in (20, 1000):
        chain = ddim(
            GaussianDiffusion(schedule), oracle, (3, 1), steps=steps, clip=False, start=start
        )
        *_, last = chain
        errors.append((last.xt - (m + s * place)).abs().max().item())
    assert errors[1] < 2e-3
    assert errors[1] < errors[0] / 10  # a method of first order


@pytest.mark.proves("encode")
@pytest.mark.filterwarnings("ignore:ddim will not come back")  # the oracle makes no error
def test_encode_is_ddim_backwards() -> None:
    schedule = cosine_schedule(200)
    diffusion = GaussianDiffusion(schedule)
    oracle = Oracle(schedule, torch.tensor([[0.5, -0.5], [-0.5, 0.2]]).double(), 0.2)
    x0 = oracle.sample(20)

    def there_and_back(steps: int, refine: int) -> float:
        latent = encode(diffusion, oracle, x0, steps=steps, refine=refine)
        back = sample(diffusion, oracle, (20, 2), ddim, steps=steps, start=latent, clip=False)
        return (back - x0).abs().max().item()

    assert there_and_back(200, 0) < there_and_back(50, 0) / 2
    assert there_and_back(200, 0) < 0.05
    assert there_and_back(200, 3) < there_and_back(200, 0) / 10


@pytest.mark.proves("encode")
@pytest.mark.parametrize("objective", ["v", "u", "x0", "mu"])
@pytest.mark.parametrize("schedule", [line_schedule(200), cosine_schedule(200)], ids=repr)
def test_refining_comes_to_the_point_where_nothing_is_left_of_the_image(
    objective: Any, schedule: NoiseSchedule
) -> None:
    """At T such a network's eps_hat is x_T, whatever it says: by it, x would stand still."""
    diffusion = GaussianDiffusion(schedule, objective)
    oracle = Oracle(schedule, torch.tensor([[0.5, -0.5], [-0.5, 0.2]]).double(), 0.2)

    def model(x: Tensor, t: Tensor) -> Tensor:
        return diffusion.convert(oracle.x0_hat(x, t), x, t, "x0", objective)

    x0 = oracle.sample(20)
    latent = encode(diffusion, model, x0, steps=50, refine=20)
    back = sample(diffusion, model, (20, 2), ddim, steps=50, start=latent, clip=False)
    assert_close(back, x0, atol=1e-9, rtol=0)


@pytest.mark.proves("encode")
def test_encode_gives_each_image_its_place_in_the_noise() -> None:
    m, s, schedule = 0.4, 0.3, linear_schedule()
    oracle = Oracle(schedule, torch.tensor([[m]], dtype=torch.float64), s)
    x0 = torch.tensor([[0.1], [0.4], [1.0]], dtype=torch.float64)
    a = schedule.alpha_bar[-1]
    expected = a.sqrt() * m + (a * s**2 + 1 - a).sqrt() * (x0 - m) / s
    got = encode(GaussianDiffusion(schedule), oracle, x0, steps=1000)
    assert_close(got, expected, atol=0.02, rtol=0)


@pytest.mark.proves("interpolate")
def test_interpolation_is_the_chain_from_the_mixed_latent() -> None:
    diffusion = GaussianDiffusion(linear_schedule(20, 0.01, 0.3))
    x0, other = torch.rand(2, 3, 2)
    share = torch.tensor([0.0, 0.25, 1.0])
    got = interpolate(
        diffusion, wavy, x0, other, share, 7, generator=torch.Generator().manual_seed(1)
    )
    assert got.shape == (3, 3, 2)
    generator = torch.Generator().manual_seed(1)
    one = diffusion.q_sample(x0, 7, torch.randn(3, 2, generator=generator))
    two = diffusion.q_sample(other, 7, torch.randn(3, 2, generator=generator))
    x = torch.cat([(1 - w) * one + w * two for w in (0.0, 0.25, 1.0)])
    for t in range(7, 0, -1):
        x = diffusion.p_sample(wavy, x, t, noise=torch.randn(9, 2, generator=generator))
    assert_close(got.view(9, 2), x)


def test_a_chain_may_start_anywhere() -> None:
    diffusion = GaussianDiffusion(linear_schedule(10, 0.01, 0.3))
    steps = list(ddpm(diffusion, wavy, (4, 2), generator=torch.Generator().manual_seed(0)))
    middle = steps[5]
    assert middle.t == 4
    generator = torch.Generator().manual_seed(9)
    rest = list(ddpm(diffusion, wavy, (4, 2), start=middle.xt, t_start=4, generator=generator))
    assert [step.t for step in rest] == [3, 2, 1, 0]
    generator = torch.Generator().manual_seed(9)
    x = diffusion.p_sample(wavy, middle.xt, 4, noise=torch.randn(4, 2, generator=generator))
    assert_close(rest[0].xt, x)


def test_a_shortened_chain_reports_the_network_s_times() -> None:
    diffusion = GaussianDiffusion(linear_schedule())
    times = spaced_times(1000, 4)
    assert [s.t for s in ddim(diffusion, wavy, (1, 2), steps=times)] == [750, 500, 250, 0]
    short = diffusion.subsequence(times)
    assert [s.t for s in ddpm(short, wavy, (1, 2))] == [750, 500, 250, 0]
    start = torch.zeros(1, 2)
    chain = ddpm(short, wavy, (1, 2), start=start, t_start=500)
    assert [s.t for s in chain] == [250, 0]


@pytest.mark.parametrize("sampler", [ddpm, ddim])
def test_self_conditioning_passes_the_estimate_along(sampler: Any) -> None:
    diffusion = GaussianDiffusion(linear_schedule(6, 0.01, 0.3), self_condition=True)
    seen = []

    def model(xt: Tensor, t: Tensor, x0_hat: Tensor | None) -> Tensor:
        seen.append(x0_hat)
        return 0.1 * xt

    options = {"steps": 6} if sampler is ddim else {}
    steps = list(sampler(diffusion, model, (2, 2), **options))
    assert seen[0] is None
    for given, step in zip(seen[1:], steps[:-1], strict=True):
        assert given is step.x0_hat


@pytest.mark.parametrize("sampler", [ddpm, ddim])
def test_sample_is_the_end_and_may_be_used_in_any_way(sampler: Any) -> None:
    diffusion = GaussianDiffusion(linear_schedule(60, 1e-3, 0.2))
    *_, last = sampler(diffusion, wavy, (2, 3), generator=torch.Generator().manual_seed(3))
    end = sample(diffusion, wavy, (2, 3), sampler, generator=torch.Generator().manual_seed(3))
    assert torch.equal(end, last.xt)
    assert not end.is_inference()
    (end * torch.ones(3, requires_grad=True)).sum().backward()


def test_a_bar_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    diffusion = GaussianDiffusion(linear_schedule(5))
    sample(diffusion, wavy, (1, 2))
    assert capsys.readouterr().err == ""
    sample(diffusion, wavy, (1, 2), progress=True)
    assert "5/5" in capsys.readouterr().err


def test_the_model_is_asked_once_a_step_and_nothing_is_recomputed() -> None:
    calls = 0

    def model(x: Tensor, t: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return 0.1 * x

    diffusion = GaussianDiffusion(linear_schedule(30))
    for chain, expected in (
        (ddpm(diffusion, model, (1, 2)), 30),
        (ddim(diffusion, model, (1, 2), steps=7), 7),
    ):
        calls = 0
        for n, _ in enumerate(chain, 1):
            assert calls == n
        assert calls == expected


@pytest.mark.usefixtures("as_a_reader")
def test_bad_input() -> None:
    diffusion = GaussianDiffusion(linear_schedule(10))

    def never(x: Tensor, t: Tensor) -> Tensor:
        raise AssertionError("the network must not run on bad input")

    def first(chain: Iterator[SampleStep]) -> SampleStep:
        return next(chain)

    for says, options in (
        (r"start must have the shape \(2, 3\), got \(2, 2\)", {"start": torch.zeros(2, 2)}),
        ("t_start = 4 needs a start", {"t_start": 4}),
        (
            "one of the chain's 10 times up to 10, got 11",
            {"start": torch.zeros(2, 3), "t_start": 11},
        ),
        ("up to 10, got 0", {"start": torch.zeros(2, 3), "t_start": 0}),
    ):
        with pytest.raises(ValueError, match=says):
            first(ddpm(diffusion, never, (2, 3), **options))
    with pytest.raises(ValueError, match=r"eta must lie in \[0, 1\], got 1.5"):
        first(ddim(diffusion, never, (2, 3), steps=5, eta=1.5))
    with pytest.raises(ValueError, match=r"steps must lie in 1\.\.10, got 50"):
        first(ddim(diffusion, never, (2, 3)))
    with pytest.raises(ValueError, match="refine must not be negative, got -1"):
        encode(diffusion, never, torch.zeros(2, 3), steps=5, refine=-1)
    with pytest.raises(ValueError, match="encode needs two steps or more where alpha_bar_T = 0"):
        encode(GaussianDiffusion(line_schedule(9), "v"), never, torch.zeros(2, 3), steps=1)
    with pytest.raises(TypeError, match=r"times must hold integers, got \[5\.0, 10\.0\]"):
        first(ddim(diffusion, never, (2, 3), steps=[5.0, 10.0]))  # type: ignore[list-item]


# Chosen noise, and all that a step knows.


@pytest.mark.parametrize("variance", ["beta", "beta_tilde"])
@pytest.mark.parametrize("times", [list(range(1, 8)), [2, 3, 7]])
def test_chosen_noise_makes_each_x_t(variance: Any, times: list[int]) -> None:
    """noise(t) is what x_t is made with: x_T first, then each x_t on the way, by Algorithm 2."""
    whole = GaussianDiffusion(linear_schedule(7, 0.05, 0.4), variance=variance)
    chain, schedule = whole.subsequence(times), whole.schedule.subsequence(times)
    table = torch.randn(8, 4, 2, dtype=torch.float64)
    model = Oracle(whole.schedule, torch.tensor([[0.5, -0.5], [-0.2, 0.1]]).double(), 0.1)
    x = table[7]
    for step in ddpm(chain, model, (4, 2), clip=False, noise=lambda t: table[t]):
        i = times.index(step.t) + 2 if step.t else 1  # the step of the chain that led here
        told = torch.full((4,), times[i - 1])
        eps, a, b = model(x, told), schedule.alpha_bar[i], schedule.beta[i]
        z = table[step.t] if step.t else 0
        sigma = {"beta": b, "beta_tilde": schedule.beta_tilde[i]}[variance].sqrt()
        x = (x - b / (1 - a).sqrt() * eps) / (1 - b).sqrt() + sigma * z
        assert_close(step.xt, x)
        assert_close(step.eps_hat, eps)


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_chosen_noise_in_ddim(eta: float) -> None:
    """Against Eq. 12 of the DDIM paper, written out; the same numbers whoever brings the noise."""
    diffusion = GaussianDiffusion(cosine_schedule(30))
    times, a = [3, 11, 20, 30], diffusion.schedule.alpha_bar.tolist()
    table = torch.randn(31, 5, 2, dtype=torch.float64)
    model = Oracle(diffusion.schedule, torch.tensor([[0.5, -0.5], [-0.2, 0.1]]).double(), 0.1)
    steps = ddim(
        diffusion, model, (5, 2), steps=times, eta=eta, clip=False, noise=lambda t: table[t]
    )
    x = table[30]
    for t, s, step in zip(times[::-1], [20, 11, 3, 0], steps, strict=True):
        eps = model(x, t)
        x0 = (x - math.sqrt(1 - a[t]) * eps) / math.sqrt(a[t])
        sigma = eta * math.sqrt((1 - a[s]) / (1 - a[t]) * (1 - a[t] / a[s]))
        x = math.sqrt(a[s]) * x0 + math.sqrt(1 - a[s] - sigma**2) * eps + sigma * table[s]
        assert step.t == s
        assert_close(step.xt, x)


@pytest.mark.parametrize("sampler", [ddpm, ddim])
@pytest.mark.parametrize("clip", [True, False])
def test_a_step_hands_over_all_it_knows(sampler: Any, clip: bool) -> None:
    """x_t is made of the x0_hat and the eps_hat that it hands over, clipped or not."""
    diffusion = GaussianDiffusion(cosine_schedule(12), "v")
    torch.manual_seed(0)
    a, xt, largest = diffusion.schedule.alpha_bar, torch.randn(6, 2), 0.0
    for step, t in zip(
        sampler(diffusion, lambda x, t: 3 * x, (6, 2), start=xt, clip=clip, **FULL[sampler]),
        range(12, 0, -1),
        strict=True,
    ):
        made = a[t].sqrt().float() * step.x0_hat + (1 - a[t]).sqrt().float() * step.eps_hat
        assert_close(made, xt, rtol=1e-3, atol=1e-4)
        xt, largest = step.xt, max(largest, step.x0_hat.abs().max().item())
    assert (largest <= 1) == clip


FULL: dict[Any, dict[str, Any]] = {ddpm: {}, ddim: {"steps": 12}}


def test_noise_of_another_shape() -> None:
    diffusion = GaussianDiffusion(linear_schedule(5))
    with pytest.raises(ValueError, match=r"noise\(5\) must have the shape \(4, 2\), got \(3, 2\)"):
        next(ddpm(diffusion, lambda x, t: x, (4, 2), noise=lambda t: torch.zeros(3, 2)))


@pytest.mark.proves("inpaint")
def test_inpainting_draws_from_what_the_known_part_leaves_open() -> None:
    """Where x is known to be 0.6, y is 0.6 once and -0.6 three times; the rest has another x."""
    points = torch.tensor([[0.6, 0.6], *[[0.6, -0.6]] * 3, *[[-0.6, 0.1]] * 2])
    schedule = linear_schedule(50, 1e-3, 0.2)
    diffusion = GaussianDiffusion(schedule, variance="beta_tilde", levels=None)
    x0 = torch.tensor([0.6, 7.0]).expand(2000, 2)  # what is not known has no part in it
    generator = torch.Generator().manual_seed(1)
    *_, end = inpaint(
        diffusion, Oracle(schedule, points), x0, torch.tensor([True, False]), clip=False,
        generator=generator,
    )  # fmt: skip
    assert end.t == 0
    assert (end.xt[:, 0] == x0[:, 0]).all()
    high, low = ((end.xt[:, 1] - y).abs() < 0.15 for y in (0.6, -0.6))
    assert (high | low).all()
    assert abs(high.float().mean().item() - 1 / 4) < 3 * math.sqrt(3 / 16 / 2000)


def test_inpainting_needs_its_repeats() -> None:
    """On the diagonal the known half says all about the other: joined once they do not fit."""
    line = torch.linspace(-0.9, 0.9, 13)
    points, schedule = torch.stack([line, line], 1), linear_schedule(50, 1e-3, 0.2)
    diffusion = GaussianDiffusion(schedule, variance="beta_tilde", levels=None)
    x0, asked = torch.full((1000, 2), 0.6), []

    def right(repeats: int) -> float:
        oracle = Oracle(schedule, points)

        def model(x: Tensor, t: Tensor) -> Tensor:
            asked.append(int(t[0]))
            return oracle(x, t)

        known = torch.tensor([[True, False]])
        *_, end = inpaint(
            diffusion, model, x0, known, repeats=repeats, clip=False,
            generator=torch.Generator().manual_seed(1),
        )  # fmt: skip
        return ((end.xt[:, 1] - 0.6).abs() < 0.02).float().mean().item()

    once = right(1)
    assert asked == list(range(50, 0, -1))
    asked.clear()
    assert right(5) > 0.85 > 0.75 > once
    assert asked == [t for t in range(50, 1, -1) for _ in range(5)] + [1]


def test_inpainting_refuses_what_is_no_mask() -> None:
    diffusion, x0 = GaussianDiffusion(linear_schedule(5, 0.1, 0.2)), torch.zeros(2, 1, 4, 4)
    known = torch.ones(4, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"known must hold True and False, got torch\.float32"):
        inpaint(diffusion, lambda x, t: x, x0, known.float())
    with pytest.raises(ValueError, match=r"the shape of x0, \(2, 1, 4, 4\), got \(3, 4\)"):
        inpaint(diffusion, lambda x, t: x, x0, known[:3])
    with pytest.raises(ValueError, match="repeats must be at least 1, got 0"):
        inpaint(diffusion, lambda x, t: x, x0, known, repeats=0)
    for step in inpaint(diffusion, lambda x, t: x, x0 + 0.5, known, repeats=2):
        assert step.x0_hat.abs().max() <= 1
    assert torch.equal(step.xt, x0 + 0.5)


def test_only_the_last_time_begins_without_a_start() -> None:
    """At t = 100 of 1000, data of mean 0.5 are far from standard normal."""
    diffusion = GaussianDiffusion(linear_schedule())
    for chain in (
        lambda: ddim(diffusion, lambda x, t: x, (1, 2), steps=[50, 100]),
        lambda: ddpm(diffusion.subsequence([50, 100]), lambda x, t: x, (1, 2)),
    ):
        with pytest.raises(ValueError, match="times that end at 100 need a start"):
            next(chain())
    next(ddim(diffusion, lambda x, t: x, (1, 2), steps=[50, 100], start=torch.zeros(1, 2)))
    next(ddpm(diffusion.subsequence([50, 1000]), lambda x, t: x, (1, 2)))


def test_self_conditioning_has_no_inverse() -> None:
    diffusion = GaussianDiffusion(linear_schedule(10), self_condition=True)
    with pytest.raises(ValueError, match="encode needs a diffusion without self_condition"):
        encode(diffusion, lambda x, t, x0_hat: x, torch.zeros(1, 2))
