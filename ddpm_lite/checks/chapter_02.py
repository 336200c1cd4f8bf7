"""Checkers for the exercises of chapter 2."""

from collections.abc import Callable
from typing import Any

import torch

from ddpm_lite.checks.wrong import Wrong, expect_close, expect_given
from ddpm_lite.schedule import NoiseSchedule, cosine_schedule, linear_schedule

__all__ = ["CHECKERS"]


def jump(answer: Callable[[NoiseSchedule, int, int], tuple[float, float]]) -> None:
    """2.2: the scale and the variance of q(x_t | x_s) for s < t."""
    expect_given(answer)
    for schedule in (linear_schedule(), cosine_schedule(200)):
        low, high = sorted(torch.randperm(schedule.T)[:2].add(1).tolist())
        for s, t in ((0, low), (low, high)):
            ratio = schedule.alpha_bar[t] / schedule.alpha_bar[s]
            mistakes = {
                "What steps s + 1..t keep is a ratio of two alpha_bars: divide, do not subtract.": (
                    (schedule.alpha_bar[t] - schedule.alpha_bar[s]).abs().sqrt(),
                    1 - (schedule.alpha_bar[t] - schedule.alpha_bar[s]).abs(),
                ),
                "That is q(x_t | x_0). What the first s steps did is already in x_s.": (
                    schedule.alpha_bar[t].sqrt(),
                    1 - schedule.alpha_bar[t],
                ),
                "The scale is a square root; the variance is not.": (ratio, 1 - ratio),
                "The second number must be the variance, not the standard deviation.": (
                    ratio.sqrt(),
                    (1 - ratio).sqrt(),
                ),
            }
            got = answer(schedule, s, t)
            expect_given(got)
            if not isinstance(got, tuple | list) or len(got) != 2:
                raise Wrong("Return two numbers: the scale and the variance.")
            expect_close(
                torch.stack([torch.as_tensor(v, dtype=torch.float64) for v in got]),
                torch.stack([ratio.sqrt(), 1 - ratio]),
                {hint: torch.stack(value) for hint, value in mistakes.items()},
            )


def half_gone(answer: Callable[[NoiseSchedule], int]) -> None:
    """2.3: the first step at which the SNR is below one."""
    expect_given(answer)
    for schedule in (linear_schedule(), cosine_schedule(100), linear_schedule(300, 1e-3, 0.05)):
        got = answer(schedule)
        expect_given(got)
        t = int(got)
        if not 1 <= t <= schedule.T:
            raise Wrong(f"Got {t}; a step lies in 1..{schedule.T}.")
        right = int((schedule.snr < 1).nonzero()[0])
        if t == right - 1:
            raise Wrong(f"Got {t}, one step early. Entry 0 of `snr` is the data: do not drop it.")
        if t == right + 1:
            raise Wrong(f"Got {t}, one step late. Entry 0 of `snr` is t = 0: add nothing.")
        if t != right:
            raise Wrong(f"Got {t} for {schedule}, where the SNR is {schedule.snr[t]:.3g}.")


def shortened(answer: Callable[[int], NoiseSchedule]) -> None:
    """2.4: a linear schedule of T steps that loses as much as the paper's 1000."""
    expect_given(answer)
    target = linear_schedule().alpha_bar[-1].log()
    for T in (100, 250, 500):
        schedule = answer(T)
        expect_given(schedule)
        if not isinstance(schedule, NoiseSchedule):
            raise Wrong(f"Return a NoiseSchedule, not {type(schedule).__name__}.")
        if T != schedule.T:
            raise Wrong(f"Asked for {T} steps, got {schedule.T}.")
        last = schedule.alpha_bar[-1]
        if not 0.999 < last.log() / target < 1.1:
            raise Wrong(
                f"With T = {T}, alpha_bar_T = {last:.2g}; the paper's is {target.exp():.2g}. "
                "Fewer steps must each be larger by 1000 / T."
            )
        if (schedule.beta[1:].diff().diff().abs() > 1e-9).any():
            raise Wrong("The betas are not evenly spaced: scale both ends by the same factor.")


CHECKERS: dict[str, Callable[[Any], None]] = {
    "2.2": jump,
    "2.3": half_gone,
    "2.4": shortened,
}
