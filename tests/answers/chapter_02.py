"""Answers to the exercises of chapter 2."""

from collections.abc import Callable
from typing import Any

import torch

from ddpm_lite import NoiseSchedule, linear_schedule

RIGHT: dict[str, Callable[..., Any]] = {
    "2.2": lambda s, a, b: (
        s.alpha[a + 1 : b + 1].prod().sqrt(),
        1 - s.alpha[a + 1 : b + 1].prod(),
    ),
    "2.3": lambda s: sum(1 for value in s.snr if value >= 1),
    "2.4": lambda T: linear_schedule(T, 0.1 / T, 20 / T),
}
WRONG: list[tuple[str, Any, str]] = [
    ("2.2", lambda s, a, b: (s.alpha_bar[b].sqrt(), 1 - s.alpha_bar[b]), "is already in x_s"),
    (
        "2.2",
        lambda s, a, b: (
            (s.alpha_bar[b] - s.alpha_bar[a]).abs().sqrt(),
            1 - (s.alpha_bar[b] - s.alpha_bar[a]).abs(),
        ),
        "divide, do not subtract",
    ),
    (
        "2.2",
        lambda s, a, b: (s.alpha_bar[b] / s.alpha_bar[a], 1 - s.alpha_bar[b] / s.alpha_bar[a]),
        "The scale is a square root",
    ),
    (
        "2.2",
        lambda s, a, b: tuple(
            v.sqrt() for v in (s.alpha_bar[b] / s.alpha_bar[a], 1 - s.alpha_bar[b] / s.alpha_bar[a])
        ),
        "not the standard deviation",
    ),
    ("2.2", lambda s, a, b: 0.5, "Return two numbers"),
    ("2.2", lambda s, a, b: [0.5], "Return two numbers"),
    ("2.2", lambda s, a, b: [0.5, 0.5], "The numbers are off"),
    ("2.3", lambda s: int((s.snr[1:] < 1).nonzero()[0]), "one step early"),
    ("2.3", lambda s: int((s.snr < 1).nonzero()[0]) + 1, "one step late"),
    ("2.3", lambda s: 0, "a step lies in 1.."),
    ("2.3", lambda s: s.T, "where the SNR is"),
    ("2.4", linear_schedule, "must each be larger by 1000 / T"),
    ("2.4", lambda T: linear_schedule(T, 1e-4, 0.02 * 2000 / T), "larger by 1000 / T"),
    # An alpha_bar_T up to 17 times too large; about twice; and a fifth of what it should be.
    ("2.4", lambda T: linear_schedule(T, 0.072 / T, 14.4 / T), "larger by 1000 / T"),
    ("2.4", lambda T: linear_schedule(T, 0.05 / T, 18 / T), "larger by 1000 / T"),
    ("2.4", lambda T: linear_schedule(T, 0.1 / T, 23 / T), "larger by 1000 / T"),
    ("2.4", lambda T: linear_schedule(1000), "Asked for 100 steps, got 1000"),
    ("2.4", lambda T: 3, "Return a NoiseSchedule, not int"),
    (
        "2.4",
        lambda T: NoiseSchedule(torch.full((T,), 10 / T).mul(torch.rand(T) * 0.2 + 0.9)),
        "not evenly spaced",
    ),
]
