"""Checkers for the exercises of chapter 12."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ddpm_lite.checks.wrong import expect_close, expect_given

__all__ = ["CHECKERS"]


def without_end(answer: Callable[[Tensor, Tensor], float]) -> None:
    """12.2: where the line through the distances, over 1/N, meets 1/N = 0."""
    expect_given(answer)
    for counts in ([100, 200, 400, 800], [1000, 50, 300, 2000, 5000]):
        N = torch.tensor(counts, dtype=torch.float64)
        truth, bias, bent = torch.rand(3, dtype=torch.float64) + 0.5
        # Not quite on a line, so that two of the points are not enough.
        d = 5 * truth + 400 * bias / N + bent * torch.randn(len(N), dtype=torch.float64)
        line, slope = _line(1 / N, d)
        expect_close(
            answer(N, d),
            line,
            {
                "The error falls as 1/N: fit the line over 1/N, not over N.": _line(N, d)[0],
                "The error falls as 1/N, not as its root.": _line(N**-0.5, d)[0],
                "That is the slope. Asked is where the line meets 1/N = 0.": slope,
                "That is the distance of the most samples. The line goes on beyond it.": d[
                    N.argmax()
                ],
                "That is the mean distance; it keeps the mean of the errors.": d.mean(),
            },
        )


def paid(answer: Callable[[float, Tensor, int, int], float]) -> None:
    """12.3: bits per dimension of a receiver who stops at x_t."""
    expect_given(answer)
    for T in (5, 30):
        kl = torch.rand(T - 1, dtype=torch.float64) + 0.1
        prior, dims = torch.rand((), dtype=torch.float64).item(), int(torch.randint(3, 50, ()))
        t = int(torch.randint(2, T, ()))
        scale = math.log(2) * dims
        nats = prior + kl[t - 1 :].sum()
        expect_close(
            answer(prior, kl, dims, t),
            nats / scale,
            {
                "That pays for L_(t-1) too, which leads from x_t on to x_(t-1).": (nats + kl[t - 2])
                / scale,
                "One term too few: x_t is what L_t, the term of step t + 1, buys.": (
                    nats - kl[t - 1]
                )
                / scale,
                "The receiver begins by paying L_T, for x_T.": (nats - prior) / scale,
                "Those are nats per dimension: divide by log(2).": nats / dims,
                "Those are bits per image: divide by its dimensions.": nats / math.log(2),
                "That is what is still to come. Asked is what has been paid.": kl[: t - 1].sum()
                / scale,
            },
        )


def _line(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Intercept and slope of the least-squares line."""
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    return y.mean() - slope * x.mean(), slope


CHECKERS: dict[str, Callable[[Any], None]] = {"12.2": without_end, "12.3": paid}
