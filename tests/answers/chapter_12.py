"""Answers to the exercises of chapter 12."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor


def by_weights(N: Tensor, d: Tensor) -> Tensor:
    """The intercept as a weighted sum of the distances: the pseudo-inverse's first row."""
    return torch.linalg.pinv(torch.stack([torch.ones_like(N), 1 / N], dim=1))[0] @ d


def step_by_step(prior: float, kl: Tensor, dims: int, t: int) -> float:
    """From x_T down: at every arrival, the term that led there is paid."""
    nats, T = prior, len(kl) + 1
    for s in range(T, t, -1):
        nats += kl[s - 2].item()
    return math.log2(math.exp(nats)) / dims


def line(x: Tensor, d: Tensor) -> Any:
    return np.polynomial.Polynomial.fit(x, d, 1).convert().coef


def bits(nats: Any, dims: int) -> Any:
    return nats / math.log(2) / dims


RIGHT: dict[str, Callable[..., Any]] = {"12.2": by_weights, "12.3": step_by_step}
WRONG: list[tuple[str, Any, str]] = [
    ("12.2", lambda N, d: line(N, d)[0], "over 1/N, not over N"),
    ("12.2", lambda N, d: line(N**-0.5, d)[0], "not as its root"),
    ("12.2", lambda N, d: line(1 / N, d)[1], "That is the slope"),
    ("12.2", lambda N, d: d[N.argmax()], "goes on beyond it"),
    ("12.2", lambda N, d: d.mean(), "keeps the mean of the errors"),
    ("12.2", lambda N, d: 2 * d.min() - d.max(), "numbers are off"),
    ("12.3", lambda p, kl, D, t: bits(p + kl[t - 2 :].sum(), D), "pays for L_(t-1) too"),
    ("12.3", lambda p, kl, D, t: bits(p + kl[t:].sum(), D), "One term too few"),
    ("12.3", lambda p, kl, D, t: bits(kl[t - 1 :].sum(), D), "begins by paying L_T"),
    ("12.3", lambda p, kl, D, t: (p + kl[t - 1 :].sum()) / D, "divide by log(2)"),
    ("12.3", lambda p, kl, D, t: bits(p + kl[t - 1 :].sum(), 1), "bits per image"),
    ("12.3", lambda p, kl, D, t: bits(kl[: t - 1].sum(), D), "still to come"),
]
