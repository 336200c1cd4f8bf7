"""Checkers for the exercises of chapter 1."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ddpm_lite.checks.wrong import Wrong, expect_close, expect_given

__all__ = ["CHECKERS"]


def two_steps(answer: Callable[[Tensor], Tensor]) -> None:
    """1.2: the transition matrix of a Markov chain taken twice."""
    expect_given(answer)
    matrix = torch.rand(3, 3, dtype=torch.float64)
    matrix /= matrix.sum(1, keepdim=True)
    expect_close(
        answer(matrix),
        matrix @ matrix,
        {
            "`matrix * matrix` squares each entry. To go i -> j -> k, sum over every j.": matrix
            * matrix,
            "That takes the first step against the arrow: no transpose is needed.": matrix.T
            @ matrix,
            "That takes the second step against the arrow: no transpose is needed.": matrix
            @ matrix.T,
        },
    )


def gaussian_kl(answer: Callable[[float, float], float]) -> None:
    """1.3: KL(N(mean, std^2) || N(0, 1)) in nats."""
    expect_given(answer)
    for mean, std in torch.rand(5, 2, dtype=torch.float64).add(0.2).tolist():
        double = torch.zeros(1, dtype=torch.float64)
        p = torch.distributions.Normal(double + mean, double + std)
        q = torch.distributions.Normal(double, double + 1)
        right = torch.distributions.kl_divergence(p, q).item()
        reverse = torch.distributions.kl_divergence(q, p).item()
        log_std = math.log(std)
        expect_close(
            answer(mean, std),
            right,
            {
                "That is KL(N(0, 1) || N(mean, std^2)): the order of the two matters.": reverse,
                "The logarithm's sign is turned round.": right + 2 * log_std,
                "That holds if `std` is the variance. It is its root: square it.": (
                    mean**2 + std - 1 - log_std
                )
                / 2,
            },
        )
    if answer(0.0, 1.0) != 0:
        raise Wrong("Two equal distributions must be at distance 0.")


CHECKERS: dict[str, Callable[[Any], None]] = {"1.2": two_steps, "1.3": gaussian_kl}
