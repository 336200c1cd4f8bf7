"""The schedule, against its definitions written out and against published figures."""

import itertools
import math
from fractions import Fraction
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from ddpm_lite import (
    NoiseSchedule,
    cosine_schedule,
    line_schedule,
    linear_schedule,
    sigmoid_schedule,
    spaced_times,
    zero_terminal_snr,
)

betas = st.lists(st.floats(1e-6, 0.999), min_size=1, max_size=60)


def test_entry_zero_is_the_data() -> None:
    s = linear_schedule()
    assert s.T == 1000
    assert len(s.beta) == len(s.alpha_bar) == len(s.beta_tilde) == len(s.snr) == 1001
    assert s.beta[0] == 0
    assert s.alpha_bar[0] == 1
    assert s.snr[0] == math.inf
    assert s.beta_tilde[0] == 0
    assert s.beta_tilde[1] == 0


@pytest.mark.proves("alpha_bar")
@given(betas)
def test_alpha_bar_is_the_exact_product(values: list[float]) -> None:
    s = NoiseSchedule(values)
    product = Fraction(1)
    for t, beta in enumerate(values, 1):
        product *= 1 - Fraction(beta)
        assert s.alpha_bar[t].item() == pytest.approx(float(product), rel=1e-12)
        assert s.alpha_bar_prev[t] == s.alpha_bar[t - 1]


@given(betas)
def test_everything_stays_in_its_bounds(values: list[float]) -> None:
    s = NoiseSchedule(values)
    assert (s.alpha_bar.diff() < 0).all()
    assert (s.snr.diff() < 0).all()
    assert (s.beta_tilde <= s.beta).all()
    assert (s.beta_tilde[2:] > 0).all()


@pytest.mark.proves("beta_tilde")
@given(betas)
def test_beta_tilde_by_adding_precisions(values: list[float]) -> None:
    """The posterior's precision is that of the step plus that of what came before."""
    s = NoiseSchedule(values)
    for t in range(2, s.T + 1):
        precision = s.alpha[t] / s.beta[t] + 1 / (1 - s.alpha_bar[t - 1])
        assert s.beta_tilde[t].item() == pytest.approx(1 / precision.item(), rel=1e-9)


@pytest.mark.proves("linear_schedule", "snr", "beta_tilde")
def test_the_paper_s_schedule() -> None:
    """Figures worked out independently: Ho et al. (2020), Section 4, and its appendix."""
    s = linear_schedule()
    assert s.beta[1].item() == 1e-4
    assert s.beta[-1].item() == pytest.approx(0.02, abs=1e-15)
    assert_close(
        s.beta[1:].diff(), torch.full((999,), (0.02 - 1e-4) / 999).double(), atol=1e-9, rtol=0
    )
    assert s.alpha_bar[-1].item() == pytest.approx(4.0358e-5, rel=1e-4)
    assert int((s.snr < 1).nonzero()[0]) == 260
    assert s.snr[1].item() == pytest.approx(0.9999 / 0.0001)
    assert (s.beta_tilde[2] / s.beta[2]).item() == pytest.approx(0.455, abs=5e-4)
    assert (s.beta_tilde[100] / s.beta[100]).item() == pytest.approx(0.982, abs=5e-4)
    assert linear_schedule(200).alpha_bar[-1].item() == pytest.approx(0.132, abs=5e-4)


@pytest.mark.proves("cosine_schedule")
@pytest.mark.parametrize("T", [1, 2, 50, 1000])
def test_cosine_follows_its_curve(T: int) -> None:
    s = cosine_schedule(T)
    assert T == s.T
    for t in range(1, T):
        f = [math.cos((u / T + 0.008) / 1.008 * math.pi / 2) ** 2 for u in (0, t)]
        assert s.alpha_bar[t].item() == pytest.approx(f[1] / f[0], rel=1e-9)
    assert s.beta[-1] == 0.999


def test_one_step() -> None:
    s = linear_schedule(1)
    assert s.T == 1
    assert s.beta[1] == 1e-4
    assert s.beta_tilde[1] == 0


@pytest.mark.usefixtures("as_a_reader")
@pytest.mark.parametrize(
    ("beta", "error", "says"),
    [
        ([0.1, 0.0], ValueError, "beta_2 = 0"),
        ([1.0, 0.5], ValueError, "beta_1 = 1"),
        ([0.5, 1.1], ValueError, "beta_2 = 1.1"),
        ([0.1, -0.2], ValueError, "beta_2 = -0.2"),
        ([0.1, math.nan], ValueError, "beta_2 = nan"),
        ([], ValueError, r"got shape \(0,\)"),
        ([[0.1]], ValueError, r"got shape \(1, 1\)"),
        (torch.tensor([1, 2]), TypeError, "torch.int64"),
    ],
)
def test_bad_betas(beta: list[float], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        NoiseSchedule(beta)


@pytest.mark.usefixtures("as_a_reader")
@pytest.mark.parametrize(
    "make", [linear_schedule, cosine_schedule, sigmoid_schedule, line_schedule]
)
def test_bad_lengths(make: type[NoiseSchedule]) -> None:
    with pytest.raises(ValueError, match="T must be at least 1, got 0"):
        make(0)
    with pytest.raises(TypeError, match=r"T must be an integer, got 10.0 of type float"):
        make(10.0)


@pytest.mark.usefixtures("as_a_reader")
def test_bad_shapes_of_curve() -> None:
    with pytest.raises(ValueError, match=r"beta_667 = 1.00003"):
        linear_schedule(beta_end=1.5)
    with pytest.raises(ValueError, match="s must not be negative, got -1"):
        cosine_schedule(s=-1)
    with pytest.raises(ValueError, match="beta_max must lie in"):
        cosine_schedule(beta_max=1.0)


@settings(max_examples=20)
@given(st.integers(1, 40))
def test_repr_names_the_length(T: int) -> None:
    assert f"T={T}," in repr(linear_schedule(T))


def test_schedule_leaves_its_input_alone() -> None:
    beta = torch.tensor([0.1, 0.2])
    s = NoiseSchedule(beta)
    s.beta[1] = 0.5
    assert beta[0] == torch.tensor(0.1)


@pytest.mark.proves("sigmoid_schedule")
@pytest.mark.parametrize(
    ("T", "start", "end", "tau"), [(1000, -3.0, 3.0, 1.0), (7, -1.0, 4.0, 0.5)]
)
def test_sigmoid_follows_its_curve(T: int, start: float, end: float, tau: float) -> None:
    s = sigmoid_schedule(T, start, end, tau)

    def f(u: float) -> float:
        return 1 / (1 + math.exp(-(start + (end - start) * u) / tau))

    for t in {1, T // 2, T - 1}:
        expected = (f(1) - f(t / T)) / (f(1) - f(0))
        assert s.alpha_bar[t].item() == pytest.approx(expected, rel=1e-9)
    assert s.beta[-1] == 0.999


@pytest.mark.proves("subsequence")
def test_a_subsequence_keeps_alpha_bar() -> None:
    long = linear_schedule()
    times = [1, 2, 500, 1000]
    short = long.subsequence(times)
    assert short.T == 4
    assert_close(short.alpha_bar[1:], long.alpha_bar[times])
    assert_close(long.subsequence(list(range(1, 1001))).beta, long.beta, rtol=1e-9, atol=0)
    skipped = 1 - long.alpha[3:501].prod()
    assert short.beta[3].item() == pytest.approx(skipped.item(), rel=1e-12)


@pytest.mark.proves("rescaled")
@pytest.mark.parametrize("schedule", [linear_schedule(), cosine_schedule(60)], ids=repr)
def test_a_rescaled_schedule_loses_as_much(schedule: NoiseSchedule) -> None:
    for T in (1, 7, schedule.T // 2, schedule.T, 3 * schedule.T, 100):
        other = schedule.rescaled(T)
        assert T == other.T
        assert other.alpha_bar[-1].item() == pytest.approx(schedule.alpha_bar[-1].item(), rel=1e-9)
    every_other = schedule.subsequence(list(range(2, schedule.T + 1, 2)))
    assert_close(schedule.rescaled(schedule.T // 2).beta, every_other.beta, rtol=1e-9, atol=0)
    back = schedule.rescaled(3 * schedule.T).subsequence(list(range(3, 3 * schedule.T + 1, 3)))
    assert_close(back.beta, schedule.beta, rtol=1e-9, atol=0)


@given(st.integers(1, 300), st.data())
def test_spaced_times(T: int, data: st.DataObject) -> None:
    steps = data.draw(st.integers(1, T))
    times = spaced_times(T, steps)
    assert len(times) == steps
    assert times[0] >= 1
    assert times[-1] == T
    gaps = [b - a for a, b in itertools.pairwise([0, *times])]
    assert max(gaps) - min(gaps) <= 1
    assert min(gaps) >= 1


@pytest.mark.proves("spaced_times")
def test_the_three_spacings_in_print() -> None:
    """Ten of a thousand times, as Lin et al. (2024) list them in Table 2."""
    assert spaced_times(1000, 10, "leading") == list(range(1, 1000, 100))
    printed = [1, 112, 223, 334, 445, 556, 667, 778, 889, 1000]
    assert spaced_times(1000, 10, "linspace") == printed
    assert spaced_times(1000, 10, "trailing") == list(range(100, 1001, 100))
    assert spaced_times(1000, 10) == spaced_times(1000, 10, "trailing")


@given(st.integers(1, 300), st.data())
def test_every_spacing_takes_so_many_times_and_each_once(T: int, data: st.DataObject) -> None:
    steps = data.draw(st.integers(1, T))
    for spacing in ("leading", "linspace"):
        times = spaced_times(T, steps, spacing)
        assert len(times) == len(set(times)) == steps
        assert times == sorted(times)
        assert times[0] == 1
        assert times[-1] <= T
    assert steps == 1 or times[-1] == T
    assert spaced_times(T, T, "leading") == list(range(1, T + 1))


@pytest.mark.proves("spaced_times")
@pytest.mark.parametrize("spacing", ["trailing", "leading", "linspace"])
@pytest.mark.parametrize("steps", [4, 8, 30])
def test_the_spacings_are_those_of_diffusers(spacing: Any, steps: int) -> None:
    theirs = DDIMScheduler(num_train_timesteps=60, timestep_spacing=spacing)
    theirs.set_timesteps(steps)
    times = [int(t) + 1 for t in theirs.timesteps.flip(0)]
    assert spaced_times(60, steps, spacing) == times


@pytest.mark.proves("line_schedule", "line")
@pytest.mark.parametrize("T", [1, 2, 7, 1000])
def test_the_line_s_schedule_has_the_line_s_noise(T: int) -> None:
    """(1 - s) x_0 + s eps, s = t / T, holds signal and noise as (1 - s)^2 to s^2."""
    schedule = line_schedule(T)
    assert schedule.T == T
    assert schedule.alpha_bar[-1] == 0
    for t in {1, T // 2, T - 1} - {0}:
        s = Fraction(t, T)
        snr = ((1 - s) / s) ** 2
        assert schedule.snr[t].item() == pytest.approx(float(snr), rel=1e-10)
    assert_close(schedule.line, torch.arange(T + 1).double() / T, atol=1e-12, rtol=0)
    assert linear_schedule().line[260] > 0.5 > linear_schedule().line[259]  # as the SNR passes 1


@pytest.mark.proves("zero_terminal_snr")
@pytest.mark.parametrize("schedule", [linear_schedule(), cosine_schedule(50)], ids=repr)
def test_a_schedule_stretched_to_zero_is_that_of_diffusers(schedule: NoiseSchedule) -> None:
    zero = zero_terminal_snr(schedule)
    assert zero.alpha_bar[-1] == 0
    assert zero.alpha_bar[1] == pytest.approx(schedule.alpha_bar[1].item(), rel=1e-12)
    theirs = rescale_zero_terminal_snr(schedule.beta[1:])
    assert_close(zero.beta[1:], theirs, atol=1e-12, rtol=0)
    root, before = zero.alpha_bar.sqrt(), schedule.alpha_bar.sqrt()
    slope = root.diff()[1:] / before.diff()[1:]  # a straight line of the roots before
    assert_close(slope, slope[:1].expand_as(slope), rtol=1e-6, atol=0)


@pytest.mark.usefixtures("as_a_reader")
def test_bad_cuts() -> None:
    s = linear_schedule(10, 0.1, 0.2)
    for times in ([], [3, 3], [5, 4], [0, 4], [4, 11]):
        with pytest.raises(ValueError, match=r"increasing integers in 1\.\.10, got \["):
            s.subsequence(times)
    with pytest.raises(ValueError, match="T must be at least 1, got 0"):
        s.rescaled(0)
    with pytest.raises(ValueError, match=r"steps must lie in 1\.\.10, got 11"):
        spaced_times(10, 11)
    with pytest.raises(ValueError, match="start must be less than end, got start = 3"):
        sigmoid_schedule(start=3, end=3)
    with pytest.raises(ValueError, match="tau must be positive, got 0"):
        sigmoid_schedule(tau=0)
    with pytest.raises(ValueError, match="spacing must be one of trailing, leading, linspace"):
        spaced_times(10, 5, "karras")
    with pytest.raises(ValueError, match="can be rescaled where alpha_bar_T > 0"):
        line_schedule(10).rescaled(5)
    with pytest.raises(ValueError, match=r"must have T >= 2 steps, got T = 1"):
        zero_terminal_snr(linear_schedule(1))
    with pytest.raises(ValueError, match="alpha_bar must fall after the first step, got"):
        zero_terminal_snr(NoiseSchedule([0.1, 1e-18]))
    with pytest.raises(ValueError, match="beta_max must lie in"):
        sigmoid_schedule(beta_max=2)
