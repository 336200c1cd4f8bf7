"""Checkers for the exercises of chapter 5."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ddpm_lite.checks.wrong import Wrong, expect_close, expect_given
from ddpm_lite.schedule import NoiseSchedule, cosine_schedule, linear_schedule

__all__ = ["CHECKERS"]


def _bits(alpha_bar: Tensor, second_moment: Tensor | float) -> Tensor:
    return (alpha_bar * second_moment - alpha_bar - torch.log1p(-alpha_bar)) / (2 * math.log(2))


def prior_bits(answer: Callable[[NoiseSchedule, Tensor], Tensor]) -> None:
    """5.2: L_T of images in bits per dimension."""
    expect_given(answer)
    for schedule in (linear_schedule(200), cosine_schedule(50), linear_schedule()):
        x0 = torch.rand(3, 2, 4, 4, dtype=torch.float64) * 2 - 1
        last, second = schedule.alpha_bar[-1], (x0**2).mean(dim=(1, 2, 3))
        right = _bits(last, second)
        before = schedule.alpha_bar[-2]
        expect_close(
            answer(schedule, x0),
            right,
            {
                "That is in nats: divide by ln 2.": right * math.log(2),
                "That is per image: divide by the number of values in one image.": right * 32,
                "That is in nats and per image: divide by ln 2 and by the number of values.": right
                * 32
                * math.log(2),
                "Divide by all the values of an image, its channels too.": right * 2,
                "The image is missing: alpha_bar weighs x0**2 as well.": _bits(
                    last, torch.ones_like(second)
                ),
                "That is one step early: the last entry of `alpha_bar` is step T.": _bits(
                    before, second
                ),
            },
        )


def shortest(answer: Callable[[float], int]) -> None:
    """5.3: the smallest T of a linear schedule of the paper's betas with L_T below a bound."""
    expect_given(answer)
    for bits in (0.3, 0.03, 1e-3, 10 ** (-4 * torch.rand(()).item())):
        got = answer(bits)
        expect_given(got)
        T = int(got)
        if T < 1:
            raise Wrong(f"Got {T}; a chain has at least one step.")
        cost = _bits(linear_schedule(T).alpha_bar[-1], 1 / 3).item()
        if cost >= bits:
            raise Wrong(f"With T = {T}, L_T is {cost:.3g} bits, not below {bits:.3g}.")
        if T > 1:
            shorter = _bits(linear_schedule(T - 1).alpha_bar[-1], 1 / 3).item()
            if shorter < bits:
                raise Wrong(
                    f"T = {T} is enough for {bits:.3g} bits, and so is {T - 1}. The betas of "
                    "another T are spread anew: a long schedule cut off is not the same."
                )


def last_beta(answer: Callable[[int], float]) -> None:
    """5.4: the beta_T that gives a shorter linear schedule the L_T of the paper's."""
    expect_given(answer)
    target = _bits(linear_schedule().alpha_bar[-1], 1 / 3).item()
    for T in (50, 200, 500, int(torch.randint(60, 500, ()))):
        got = answer(T)
        expect_given(got)
        beta = float(got)
        if not 0 < beta < 1:
            raise Wrong(f"Got beta_T = {beta:g} for T = {T}; a beta lies between 0 and 1.")
        ratio = _bits(linear_schedule(T, 1e-4, beta).alpha_bar[-1], 1 / 3).item() / target
        if abs(beta - 0.02 * 1000 / T) < 1e-9:
            raise Wrong(
                f"0.02 * 1000 / T is a good first guess: with T = {T} its L_T is {ratio:.2g} "
                "times the paper's. The product of 1 - beta is not the exponential of the sum."
            )
        if not 0.99 < ratio < 1.01:
            raise Wrong(f"With T = {T} and beta_T = {beta:.4g}, L_T is {ratio:.3g} times as large.")


CHECKERS: dict[str, Callable[[Any], None]] = {
    "5.2": prior_bits,
    "5.3": shortest,
    "5.4": last_beta,
}
