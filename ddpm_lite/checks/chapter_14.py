"""Checkers for the exercises of chapter 14."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ddpm_lite.checks.wrong import Wrong, expect_close, expect_given

__all__ = ["CHECKERS"]


def quiz(answer: str) -> None:
    """14.1: what the run of the table has."""
    expect_given(answer() if callable(answer) else answer)
    hints = {
        "a": "Then the clock would be late by a whole step, and the calibration near 1.",
        "b": "The average would do worse than the last weights: its row would be far above 1.",
        "d": "Dropout changes the answer from call to call, and two answers were the same.",
    }
    letter = str(answer).strip().lower()
    if letter in hints:
        raise Wrong(hints[letter])
    if letter != "c":
        raise Wrong(f"The answer is one letter, a, b, c or d, got {answer!r}.")


def slope(answer: Callable[[Tensor, Tensor], Tensor]) -> None:
    """14.2: the factor by which eps_hat should be multiplied."""
    expect_given(answer)
    for shape in ((50, 3), (8, 1, 4, 4)):
        eps = torch.randn(shape, dtype=torch.float64)
        eps_hat = 0.6 * eps + 0.5 * torch.randn(shape, dtype=torch.float64)
        both, own, other = (eps * eps_hat).sum(), (eps_hat**2).sum(), (eps**2).sum()
        expect_close(
            answer(eps, eps_hat),
            both / own,
            {
                "That is the slope of eps_hat on eps. The network's answer is what is scaled.": both
                / other,
                "The other way up: eps is to be explained by eps_hat.": own / both,
                "That is their correlation, which no factor changes.": both / (own * other).sqrt(),
                "That compares their sizes alone. The inner product says what they share.": (
                    other / own
                ).sqrt(),
            },
        )


def late(answer: Callable[[float, float, float], float]) -> None:
    """14.3: where the parabola through three errors is least, in steps after t."""
    expect_given(answer)
    for bottom, bend, least in ((0.3, 2.0, 1.0), (-1.2, 0.5, 3.0), (0.0, 1.0, 0.2)):
        before, now, after = (least + bend * (d - bottom) ** 2 for d in (-1, 0, 1))
        expect_close(
            answer(before, now, after),
            bottom,
            {
                "The sign is turned: a smaller error before t means that t is too late.": -bottom,
                "Twice that: the slope at t is half the difference of the two sides.": 2 * bottom,
                "Half of that: look at the second difference once more.": bottom / 2,
            }
            if bottom
            else {},
        )


def left(answer: Callable[[float, Tensor], Tensor]) -> None:
    """14.4: the power of the images in x_T along their strongest direction."""
    expect_given(answer)
    for alpha_bar in (0.36, 0.01):
        x = torch.randn(40, 5, dtype=torch.float64) + torch.arange(5, dtype=torch.float64)
        values = torch.linalg.eigvalsh(x.T @ x / len(x))
        centred = torch.linalg.eigvalsh(torch.cov(x.T, correction=0))
        expect_close(
            answer(alpha_bar, x),
            alpha_bar * values[-1],
            {
                "The mean image is not gone at T either: do not take it off.": alpha_bar
                * centred[-1],
                "The image is multiplied by the root of alpha_bar, so its power by alpha_bar.": (
                    alpha_bar**0.5 * values[-1]
                ),
                "That is the power in all directions together.": alpha_bar * values.sum(),
                "Take the mean over the images, not their sum.": alpha_bar * values[-1] * len(x),
            },
        )


CHECKERS: dict[str, Callable[[Any], None]] = {
    "14.1": quiz,
    "14.2": slope,
    "14.3": late,
    "14.4": left,
}
