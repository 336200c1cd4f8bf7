"""Checkers for the exercises of chapter 8."""

from collections.abc import Callable
from typing import Any

import torch

from ddpm_lite.checks.wrong import expect_close, expect_given
from ddpm_lite.schedule import NoiseSchedule, cosine_schedule, linear_schedule

__all__ = ["CHECKERS"]


def pixel_floor(answer: Callable[[NoiseSchedule, int, float], float]) -> None:
    """8.2: the smallest expected squared error of eps for a pixel of N(0, std^2)."""
    expect_given(answer)
    for schedule in (linear_schedule(), cosine_schedule(200)):
        t = int(torch.randint(2, schedule.T - 1, ()))
        std = torch.rand((), dtype=torch.float64).add(0.2).item()
        signal, noise = schedule.alpha_bar[t] * std**2, 1 - schedule.alpha_bar[t]
        before, root = schedule.alpha_bar[t - 1] * std**2, schedule.alpha_bar[t] * std
        expect_close(
            answer(schedule, t, std),
            signal / (signal + noise),
            {
                "That is what the best guess explains. The floor is what it does not.": noise
                / (signal + noise),
                "That is the floor of x_0's error. In units of eps it is another.": noise
                * std**2
                / (signal + noise),
                "`std` is a standard deviation: square it for a variance.": root / (root + noise),
                "That is the floor one step earlier: entry t of `alpha_bar` is step t.": before
                / (before + 1 - schedule.alpha_bar[t - 1]),
                "A squared error is asked for, not its root.": (signal / (signal + noise)).sqrt(),
            },
        )


CHECKERS: dict[str, Callable[[Any], None]] = {"8.2": pixel_floor}
