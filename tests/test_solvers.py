"""The solvers against the flow's exact solution, diffusers, and Heun's rule written out."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
)
from torch import Tensor
from torch.testing import assert_close

from ddpm_lite import (
    GaussianDiffusion,
    NoiseSchedule,
    Oracle,
    cosine_schedule,
    ddim,
    dpm_solver,
    heun,
    line_schedule,
    linear_schedule,
    sample,
    sigmoid_schedule,
    zero_terminal_snr,
)

MEAN, STD = 0.4, 0.3
LONG = 4096
LINEAR = linear_schedule().rescaled(LONG)
KINDS = {
    "line": line_schedule(LONG),
    "cosine": cosine_schedule(LONG),
    "zero": zero_terminal_snr(LINEAR),
}


def says(objective: Any, oracle: Oracle) -> Callable[[Tensor, Tensor], Tensor]:
    """The best network, in another coordinate."""
    d = GaussianDiffusion(oracle.schedule, objective)
    return lambda x, t: d.convert(oracle.x0_hat(x, t), x, t, "x0", objective)


def gaussian(schedule: NoiseSchedule, start: Tensor, t: int) -> Tensor:
    """Where the flow from x_T takes N(MEAN, STD^2) data at t: x keeps its place in the spread."""
    centre = schedule.alpha_bar.sqrt() * MEAN
    spread = (schedule.alpha_bar * STD**2 + 1 - schedule.alpha_bar).sqrt()
    return centre[t] + spread[t] * (start - centre[-1]) / spread[-1]


def slopes(sampler: Any, schedule: NoiseSchedule, ns: list[int], **options: Any) -> list[float]:
    """How fast the error at an eighth of the way falls as the steps double, in powers of two.

    Not at t = 0: the last step of each is plain, and near t = 0 time is no smooth coordinate.
    """
    oracle = Oracle(schedule, torch.tensor([[MEAN]], dtype=torch.float64), STD)
    diffusion = GaussianDiffusion(schedule, "v")
    start, end = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None], LONG // 8
    errors = []
    for n in ns:
        times = [end + round(i * (LONG - end) / n) for i in range(n + 1)]
        steps = sampler(
            diffusion, says("v", oracle), (9, 1), steps=times, clip=False, start=start, **options
        )
        (at_end,) = (step.xt for step in steps if step.t == end)
        errors.append((at_end - gaussian(schedule, start, end)).abs().max().item())
    return [math.log2(a / b) for a, b in pairwise(errors)]


@pytest.mark.proves("ddim", "heun", "dpm_solver")
@pytest.mark.parametrize(
    ("sampler", "kind", "order"),
    [
        *((s, kind, order) for kind in KINDS for s, order in ((ddim, 1), (heun, 2))),
        # Not on the cosine schedule, whose last beta is cut: it draws on across the cut.
        *((dpm_solver, kind, 2) for kind in ("line", "zero")),
    ],
)
def test_the_error_falls_with_the_order(sampler: Any, kind: str, order: int) -> None:
    for slope in slopes(sampler, KINDS[kind], [64, 128, 256]):
        assert abs(slope - order) < 0.15


@pytest.mark.proves("dpm_solver")
def test_a_cut_last_beta_takes_the_second_order_from_dpm_solver() -> None:
    for sampler, low, high in ((dpm_solver, 0.9, 1.3), (heun, 1.8, 2.2)):
        for slope in slopes(sampler, sigmoid_schedule(LONG), [128, 256, 512]):
            assert low < slope < high


@pytest.mark.proves("heun")
def test_the_mean_of_eps_is_of_second_order_too_where_the_noise_is_not_endless() -> None:
    for slope in slopes(heun, LINEAR, [64, 128, 256], average="eps"):
        assert abs(slope - 2) < 0.1


@pytest.mark.proves("heun", "dpm_solver")
@pytest.mark.parametrize("sampler", [heun, dpm_solver])
def test_the_flow_of_a_mixture_keeps_each_point_s_rank(sampler: Any) -> None:
    """On a line paths do not cross, so that the flow keeps the share of q(x_t) below x_t."""
    schedule = KINDS["line"]
    means, std = torch.tensor([[-0.7], [0.1], [0.8]], dtype=torch.float64), 0.15
    oracle, end = Oracle(schedule, means, std), LONG // 8
    times = [end + round(i * (LONG - end) / 256) for i in range(257)]
    start = torch.linspace(-2, 2, 11, dtype=torch.float64)[:, None]
    steps = sampler(
        GaussianDiffusion(schedule, "u"), says("u", oracle), (11, 1), steps=times, clip=False,
        start=start,
    )  # fmt: skip
    (got,) = (step.xt for step in steps if step.t == end)

    def rank(x: Tensor, t: int) -> Tensor:
        a = schedule.alpha_bar[t]
        spread = (a * std**2 + 1 - a).sqrt()
        return torch.special.ndtr((x - a.sqrt() * means.T) / spread).mean(1)

    assert_close(rank(got, end), rank(start, LONG), atol=3e-5, rtol=0)
    assert (rank(got + 2e-3, end) - rank(start, LONG)).abs().max() > 3e-4  # it can fail


def wavy(x: Tensor, t: Tensor) -> Tensor:
    """A network that is wrong in a smooth way."""
    return 0.8 * x + (t.view(-1, *[1] * (x.ndim - 1)) / 50).sin()


SETTINGS: dict[str, Any] = {
    "num_train_timesteps": 60,
    "beta_start": 1e-3,
    "beta_end": 0.2,
    "timestep_spacing": "trailing",
}
SIXTY = linear_schedule(60, 1e-3, 0.2)
CHOICES = [("eps", "epsilon"), ("x0", "sample"), ("v", "v_prediction")]


by_numpy = pytest.mark.filterwarnings("ignore:__array__ implementation")  # within diffusers


@pytest.mark.proves("dpm_solver")
@by_numpy
@pytest.mark.parametrize(("objective", "prediction"), CHOICES)
def test_dpm_solver_is_that_of_diffusers(objective: Any, prediction: str) -> None:
    theirs = DPMSolverMultistepScheduler(
        **SETTINGS, prediction_type=prediction, algorithm_type="dpmsolver++", solver_order=2,
        solver_type="midpoint", final_sigmas_type="zero",
    )  # fmt: skip
    theirs.set_timesteps(20)
    diffusion = GaussianDiffusion(SIXTY, objective)
    start = x = torch.randn(3, 2, 4, 4, dtype=torch.float64)
    steps = dpm_solver(diffusion, wavy, x.shape, steps=20, clip=False, start=start)
    for t, step in zip(theirs.timesteps, steps, strict=True):
        x = theirs.step(wavy(x, torch.full((3,), int(t) + 1)), t, x).prev_sample
        assert step.t == int(t) + 1 - 3
        assert_close(step.xt, x, atol=2e-5, rtol=2e-5)  # theirs has a float32 schedule


@pytest.mark.proves("heun")
@by_numpy
@pytest.mark.parametrize(("objective", "prediction"), [CHOICES[0], CHOICES[2]])
def test_heun_in_eps_is_that_of_diffusers(objective: Any, prediction: str) -> None:
    """Theirs steps x_t / sqrt(alpha_bar_t), and asks about it divided by sqrt(1 + 1 / SNR)."""
    theirs = HeunDiscreteScheduler(**SETTINGS, prediction_type=prediction)
    theirs.set_timesteps(20)
    diffusion, a = GaussianDiffusion(SIXTY, objective), SIXTY.alpha_bar.sqrt()
    start = torch.randn(3, 2, 4, 4, dtype=torch.float64)
    steps = heun(diffusion, wavy, start.shape, steps=20, average="eps", clip=False, start=start)
    y = start / a[-1]
    for i, t in enumerate(theirs.timesteps):
        output = wavy(theirs.scale_model_input(y, t), torch.full((3,), int(t) + 1))
        y = theirs.step(output, t, y).prev_sample
        if i % 2 == 1 or i == 38:  # the second half of a step, or the last one, which has none
            step = next(steps)
            assert_close(step.xt / a[step.t], y, atol=1e-4, rtol=1e-4)
    assert step.t == 0


@pytest.mark.proves("heun")
@pytest.mark.parametrize("average", ["x0", "eps"])
def test_heun_is_the_trapezoid_in_its_coordinate(average: Any) -> None:
    """y = x / sqrt(alpha_bar) by eps along sqrt(1 / SNR), or x / sqrt(1 - alpha_bar) by x_0."""
    schedule, times = cosine_schedule(60), [10, 25, 40, 55]
    a, b = schedule.alpha_bar.sqrt(), (1 - schedule.alpha_bar).sqrt()
    oracle = Oracle(schedule, torch.tensor([[0.5, -0.5], [-0.2, 0.1]], dtype=torch.float64), 0.1)
    scale, place = (a, b / a) if average == "eps" else (b, a / b)
    slope = oracle if average == "eps" else oracle.x0_hat
    x = start = torch.randn(5, 2, dtype=torch.float64)
    steps = heun(
        GaussianDiffusion(schedule), oracle, (5, 2), steps=times, average=average, clip=False,
        start=start,
    )  # fmt: skip
    for t, s in ((55, 40), (40, 25), (25, 10)):
        h, y = place[s] - place[t], x / scale[t]
        k = slope(x, t)
        x = scale[s] * (y + h / 2 * (k + slope(scale[s] * (y + h * k), s)))
        assert_close(next(steps).xt, x, atol=1e-9, rtol=1e-9)
    assert_close(next(steps).xt, oracle.x0_hat(x, 10), atol=1e-9, rtol=1e-9)  # the plain last step


@pytest.mark.proves("heun")
def test_on_the_cosine_schedule_the_mean_of_eps_overshoots_and_that_of_x0_does_not() -> None:
    schedule = cosine_schedule()
    oracle = Oracle(schedule, torch.tensor([[MEAN]], dtype=torch.float64), STD)
    start = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    errors = {}
    for average in ("x0", "eps"):
        step = next(
            heun(
                GaussianDiffusion(schedule), oracle, (9, 1), steps=5, average=average,
                clip=False, start=start,
            )
        )  # fmt: skip
        errors[average] = (step.xt - gaussian(schedule, start, 800)).abs().max().item()
    assert errors["eps"] > 10
    assert errors["x0"] < 1e-3


@pytest.mark.proves("ddim", "to_line")
def test_euler_on_the_line_is_ddim_on_its_schedule() -> None:
    """diffusers' step of flow matching, with the same velocity: z + (s' - s) u."""
    theirs = FlowMatchEulerDiscreteScheduler(num_train_timesteps=40)
    theirs.set_timesteps(sigmas=[1 - i / 8 for i in range(8)])
    diffusion = GaussianDiffusion(line_schedule(40), "u")
    start = z = torch.randn(6, 3, dtype=torch.float64)
    steps = ddim(diffusion, wavy, (6, 3), steps=8, clip=False, start=start)
    for now, step in zip(theirs.timesteps, steps, strict=True):
        t = round(float(now))
        velocity = wavy(diffusion.from_line(z, t), torch.full((6,), t))
        z = theirs.step(velocity, now, z).prev_sample
        mine = diffusion.to_line(step.xt, step.t) if step.t else step.xt
        assert step.t == t - 5
        assert_close(mine, z, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ("sampler", "calls"), [(heun, [2, 4, 6, 8, 10, 12, 13]), (dpm_solver, list(range(1, 8)))]
)
def test_the_model_is_asked_as_often_as_is_said(sampler: Any, calls: list[int]) -> None:
    asked = []

    def model(x: Tensor, t: Tensor) -> Tensor:
        asked.append(int(t[0]))
        return 0.1 * x

    steps = sampler(GaussianDiffusion(linear_schedule(30)), model, (1, 2), steps=7)
    assert [len(asked) for _ in steps] == calls
    assert 0 not in asked


@pytest.mark.parametrize("sampler", [heun, dpm_solver])
@pytest.mark.parametrize("clip", [True, False])
def test_a_step_hands_over_what_the_model_said(sampler: Any, clip: bool) -> None:
    diffusion = GaussianDiffusion(cosine_schedule(12), "v")
    a, xt, largest = diffusion.schedule.alpha_bar, torch.randn(6, 2), 0.0
    steps = sampler(diffusion, lambda x, t: 3 * x, (6, 2), steps=12, start=xt, clip=clip)
    for t, step in zip(range(12, 0, -1), steps, strict=True):
        made = a[t].sqrt().float() * step.x0_hat + (1 - a[t]).sqrt().float() * step.eps_hat
        assert_close(made, xt, rtol=1e-3, atol=1e-4)
        xt, largest = step.xt, max(largest, step.x0_hat.abs().max().item())
    assert (largest <= 1) == clip


def test_clip_holds_the_image_that_a_mean_of_eps_stands_for() -> None:
    """x_s lies between x_0 in [-1, 1] and the noise in x_t. Unheld it is 60, after one step."""
    schedule = cosine_schedule()
    oracle = Oracle(schedule, torch.tensor([[MEAN]], dtype=torch.float64), STD)
    start = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    how: dict[str, Any] = {"steps": 5, "average": "eps", "start": start}
    held, loose = (
        next(heun(GaussianDiffusion(schedule), oracle, (9, 1), clip=clip, **how)).xt.abs().max()
        for clip in (True, False)
    )
    assert held < 3 < 30 < loose


@pytest.mark.parametrize("sampler", [heun, dpm_solver])
def test_self_conditioning_passes_the_estimate_along(sampler: Any) -> None:
    diffusion = GaussianDiffusion(linear_schedule(6, 0.01, 0.3), self_condition=True)
    seen: list[Any] = []

    def model(xt: Tensor, t: Tensor, x0_hat: Tensor | None) -> Tensor:
        seen.append(x0_hat)
        return 0.1 * xt

    steps = list(sampler(diffusion, model, (2, 2), steps=6))
    assert seen[0] is None
    # Heun's second call of a step has the answer of the first, and so has the step after.
    for calls in (seen[1::2], seen[2::2]) if sampler is heun else (seen[1:],):
        for given, step in zip(calls, steps[:-1], strict=True):
            assert given is step.x0_hat


@pytest.mark.parametrize("sampler", [heun, dpm_solver])
def test_from_pure_noise_and_from_the_middle(sampler: Any) -> None:
    """Where nothing is left of x_0 no step may divide by zero."""
    schedule = zero_terminal_snr(linear_schedule())
    oracle = Oracle(schedule, torch.tensor([[0.9, 0.9]], dtype=torch.float64), 0.05)
    diffusion = GaussianDiffusion(schedule, "v")
    start = torch.randn(200, 2, dtype=torch.float64)
    end = sample(diffusion, says("v", oracle), (200, 2), sampler, steps=50, start=start)
    assert end.isfinite().all()
    assert (end - 0.9).abs().max() < 0.3
    times = [s.t for s in sampler(diffusion, wavy, (1, 2), steps=4, start=start[:1], t_start=500)]
    assert times == [250, 0]


@pytest.mark.usefixtures("as_a_reader")
@pytest.mark.parametrize("sampler", [heun, dpm_solver])
def test_bad_input(sampler: Any) -> None:
    diffusion = GaussianDiffusion(linear_schedule(10))

    def never(x: Tensor, t: Tensor) -> Tensor:
        raise AssertionError("the network must not run on bad input")

    for words, options in (
        (r"steps must lie in 1\.\.10, got 50", {"steps": 50}),
        (r"start must have the shape \(2, 3\), got \(2, 2\)", {"start": torch.zeros(2, 2)}),
        ("t_start = 4 needs a start", {"t_start": 4, "steps": 5}),
        ("times that end at 9 need a start", {"steps": [3, 9]}),
    ):
        with pytest.raises(ValueError, match=words):
            next(sampler(diffusion, never, (2, 3), **{"steps": 5} | options))
    if sampler is heun:
        zero = GaussianDiffusion(line_schedule(10), "v")
        with pytest.raises(ValueError, match="average must be 'x0' where alpha_bar_T = 0"):
            next(heun(zero, never, (2, 3), steps=5, average="eps"))
        with pytest.raises(ValueError, match="average must be one of x0, eps, got 'v'"):
            next(heun(zero, never, (2, 3), steps=5, average="v"))
