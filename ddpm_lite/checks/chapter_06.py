"""Checkers for the exercises of chapter 6."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ddpm_lite.checks.wrong import Wrong, expect_close, expect_given
from ddpm_lite.schedule import NoiseSchedule, cosine_schedule, linear_schedule

__all__ = ["CHECKERS"]


def long_step(answer: Callable[[NoiseSchedule, int, int], tuple[float, float, float]]) -> None:
    """6.2: the factors and the variance of q(x_s | x_t, x_0)."""
    expect_given(answer)
    for schedule in (linear_schedule(), cosine_schedule(200)):
        s, t = sorted((torch.randperm(schedule.T - 20)[:2] + 10).tolist())
        t += 2  # with s = t - 1 the mistakes would be right
        now, before, last = (schedule.alpha_bar[i] for i in (t, s, t - 1))
        beta = 1 - now / before
        right = _step_back(now, before, beta)
        mistakes = {
            "beta_t is one step's. From s to t at once, beta is 1 - alpha_bar_t / alpha_bar_s.": (
                _step_back(now, before, schedule.beta[t])
            ),
            "That is the step to t - 1: s must stand where t - 1 stood.": _step_back(
                now, last, schedule.beta[t]
            ),
            "That beta is what the steps keep. It must be what they add.": _step_back(
                now, before, 1 - beta
            ),
            "The third number must be the variance, not the standard deviation.": torch.cat(
                [right[:2], right[2:].sqrt()]
            ),
        }
        got = _stacked(answer(schedule, s, t), 3, "three numbers: two factors and the variance")
        expect_close(got, right, mistakes)


def best_sigma2(answer: Callable[[NoiseSchedule, int, float], float]) -> None:
    """6.3: the variance of q(x_{t-1} | x_t) for data N(0, std^2)."""
    expect_given(answer)
    for schedule in (linear_schedule(), linear_schedule(20, 0.02, 0.5)):
        t, std = int(torch.randint(3, 10, ())), float(torch.rand(()) * 0.5 + 0.2)
        now, before = schedule.alpha_bar[t], schedule.alpha_bar[t - 1]
        beta, beta_tilde = schedule.beta[t], schedule.beta_tilde[t]
        right = _seen(before * std**2 + 1 - before, beta)
        mistakes = {
            "That is right for one point only. What if x_0 is not known?": beta_tilde,
            "That is right for N(0, 1) only. A narrower image leaves less open.": beta,
            "`std` is a standard deviation: square it.": _seen(before * std + 1 - before, beta),
            "That takes x_t for x_{t-1}: before the step there is alpha_bar_{t-1}.": _seen(
                now * std**2 + 1 - now, beta
            ),
            "The answer is no mixture of the two bounds, though it lies between them.": (
                std**2 * beta + (1 - std**2) * beta_tilde
            ),
            "That is the variance of x_{t-1} before x_t was seen.": before * std**2 + 1 - before,
            "That is the standard deviation; return its square.": right.sqrt(),
        }
        # Fine enough to tell alpha_bar_t from alpha_bar_{t-1}.
        expect_close(answer(schedule, t, std), right, mistakes, rtol=1e-9)
        expect_close(answer(schedule, t, 0.0), beta_tilde, {})
        expect_close(answer(schedule, t, 1.0), beta, {})


def _stacked(got: Any, count: int, what: str) -> Tensor:
    """The reader's numbers as one tensor."""
    expect_given(got)
    if not isinstance(got, tuple) or len(got) != count:
        raise Wrong(f"Return {what}.")
    for value in got:
        expect_given(value)
    return torch.stack([torch.as_tensor(value, dtype=torch.float64) for value in got])


def _step_back(now: Tensor, before: Tensor, beta: Tensor) -> Tensor:
    """The factor of x_0, that of x_t, and the variance, [3], where beta leads to `now`."""
    factors = before.sqrt() * beta, (1 - beta).sqrt() * (1 - before), (1 - before) * beta
    return torch.stack(factors) / (1 - now)


def _seen(variance: Tensor, beta: Tensor) -> Tensor:
    """What a Gaussian's variance falls to when one step of it is seen."""
    return variance * beta / ((1 - beta) * variance + beta)


CHECKERS: dict[str, Callable[[Any], None]] = {
    "6.2": long_step,
    "6.3": best_sigma2,
}
