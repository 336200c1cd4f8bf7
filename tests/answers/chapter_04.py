"""Answers to the exercises of chapter 4."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ddpm_lite import NoiseSchedule, oracle_bound, reverse_marginals


def gap(s: NoiseSchedule, std: float) -> Tensor:
    """The divergence between the joints of q and p, less that between their x_0.

    Both are Gaussians of mean 0; the covariance of q and the precision of p by linear algebra.
    """
    a, n = s.alpha_bar, s.T + 1
    row, column = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    low, high = torch.minimum(row, column), torch.maximum(row, column)
    q = (a[high] / a[low]).sqrt() * (a[low] * std**2 + 1 - a[low])
    slope = (1 - s.beta / (a * std**2 + 1 - a)) / s.alpha.sqrt()
    back = torch.eye(n).double() - torch.diag(slope[1:], 1)  # x_{t-1} - slope x_t
    precision = back.T @ torch.diag(1 / torch.cat([s.beta[1:], torch.ones(1)])) @ back

    def divergence(cov: Tensor, precision: Tensor) -> Tensor:
        product = cov @ precision
        return (product.trace() - len(cov) - product.logdet()) / 2

    ends = divergence(q[:1, :1], 1 / precision.inverse()[:1, :1])
    return divergence(q, precision) - ends


def bound(s: NoiseSchedule, std: float) -> Tensor:
    return torch.cat([part.view(-1) for part in oracle_bound(s, s.beta, 0.0, std)]).sum()


def end(s: NoiseSchedule, std: float) -> Tensor:
    return reverse_marginals(s, s.beta, 0.0, std)[1][0]


RIGHT: dict[str, Callable[..., Any]] = {
    "4.2": lambda nats, dims: math.log2(127.5) + nats / dims / math.log(2),
    "4.3": gap,
    "4.4": lambda L: L[0] - (L[0] - L).exp().mean(0).log(),
}
WRONG: list[tuple[str, Any, str]] = [
    ("4.2", lambda n, d: n / d / math.log(2), "its width counts"),
    ("4.2", lambda n, d: n / d / math.log(2) - math.log2(127.5), "it saves none"),
    ("4.2", lambda n, d: n / math.log(2) + d * math.log2(127.5), "divide by `dims`"),
    ("4.2", lambda n, d: (n / math.log(2) + math.log2(127.5)) / d, "a level of its own"),
    ("4.2", lambda n, d: n / d + math.log(127.5), "Those are nats"),
    ("4.2", lambda n, d: n / d + math.log2(127.5), "dividing by log(2) too"),
    ("4.2", lambda n, d: n / d / math.log(2) + 7, "255 gaps"),
    ("4.2", lambda n, d: n, "numbers are off"),
    ("4.3", lambda s, std: -gap(s, std), "sign is turned round"),
    ("4.3", bound, "the bound itself"),
    (
        "4.3",
        lambda s, std: bound(s, std) - math.log(2 * math.pi * math.e * std**2) / 2,
        "takes away the entropy of the data",
    ),
    (
        "4.3",
        lambda s, std: bound(s, std) - (2 * math.pi * math.e * end(s, std)).log() / 2,
        "the model's own entropy",
    ),
    ("4.3", lambda s, std: bound(s, std) - (2 * math.pi * end(s, std)).log() / 2, "x_0 = 0 alone"),
    ("4.3", lambda s, std: 0.0, "numbers are off"),
    ("4.4", lambda L: L.mean(0), "the bound we had"),
    ("4.4", lambda L: -torch.logsumexp(-L, 0), "a mean divides by K"),
    ("4.4", lambda L: -torch.logsumexp(-L, 0) - math.log(len(L)), "which adds log K"),
    ("4.4", lambda L: math.log(L.shape[1]) - torch.logsumexp(-L, 1), "Average over the paths"),
    ("4.4", lambda L: torch.logsumexp(L, 0) - math.log(len(L)), "the ratio is exp(-L)"),
    ("4.4", lambda L: -(-L).exp().mean(0).log(), "zero in floats"),
    ("4.4", lambda L: L[0], "numbers are off"),
]
