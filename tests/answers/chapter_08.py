"""Answers to the exercises of chapter 8."""

from collections.abc import Callable
from typing import Any

import torch

from ddpm_lite import NoiseSchedule, Oracle


def floor_from_the_oracle(schedule: NoiseSchedule, t: int, std: float) -> float:
    """The oracle of one Gaussian is a line through zero: its slope and the variance of x_t."""
    one = torch.ones(1, 1, dtype=torch.float64)
    slope = Oracle(schedule, 0 * one, std)(one, t).item()
    variance = schedule.alpha_bar[t].item() * (std**2 - 1) + 1
    return 1 - slope**2 * variance


def share(schedule: NoiseSchedule, t: int, variance: float) -> torch.Tensor:
    signal = schedule.alpha_bar[t] * variance
    return signal / (signal + 1 - schedule.alpha_bar[t])


RIGHT: dict[str, Callable[..., Any]] = {
    "8.2": floor_from_the_oracle,
}
WRONG: list[tuple[str, Any, str]] = [
    ("8.2", lambda s, t, std: 1 - share(s, t, std**2), "what it does not"),
    (
        "8.2",
        lambda s, t, std: share(s, t, std**2) / s.snr[t],
        "floor of x_0's error",
    ),
    ("8.2", lambda s, t, std: share(s, t, std), "square it for a variance"),
    ("8.2", lambda s, t, std: share(s, t - 1, std**2), "one step earlier"),
    ("8.2", lambda s, t, std: share(s, t, std**2).sqrt(), "not its root"),
    ("8.2", lambda s, t, std: 0.0, "numbers are off"),
]
