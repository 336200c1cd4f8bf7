"""Answers to the exercises of chapter 5."""

import math
from collections.abc import Callable
from typing import Any

import torch
from scipy.optimize import brentq

from ddpm_lite import GaussianDiffusion, linear_schedule, prior_kl


def bits(alpha_bar: float) -> float:
    return (alpha_bar / 3 - alpha_bar - math.log1p(-alpha_bar)) / (2 * math.log(2))


def shortest(wanted: float) -> int:
    low, high = 0, 1000  # halving: at `high` it is below, at `low` it is not
    while high - low > 1:
        middle = (low + high) // 2
        below = bits(linear_schedule(middle).alpha_bar[-1].item()) < wanted
        low, high = (low, middle) if below else (middle, high)
    return high


def last_beta(T: int) -> float:
    left = linear_schedule().alpha_bar[-1].log().item()
    return brentq(
        lambda b: linear_schedule(T, 1e-4, b).alpha_bar[-1].log().item() - left, 0.01, 0.9
    )


def nats(s: Any, x0: torch.Tensor) -> torch.Tensor:
    return prior_kl(GaussianDiffusion(s), x0)


def cut_off(wanted: float) -> int:
    """The first step of the long schedule that is good enough: not the same."""
    costs = [bits(a) for a in linear_schedule().alpha_bar[1:].tolist()]
    return next(i for i, cost in enumerate(costs, start=1) if cost < wanted)


RIGHT: dict[str, Callable[..., Any]] = {
    "5.2": lambda s, x0: nats(s, x0) / x0[0].numel() / math.log(2),
    "5.3": shortest,
    "5.4": last_beta,
}
WRONG: list[tuple[str, Any, str]] = [
    ("5.2", lambda s, x0: nats(s, x0) / x0[0].numel(), "divide by ln 2"),
    ("5.2", lambda s, x0: nats(s, x0) / math.log(2), "divide by the number of values in one"),
    ("5.2", nats, "in nats and per image"),
    ("5.2", lambda s, x0: nats(s, x0) / 16 / math.log(2), "its channels too"),
    ("5.2", lambda s, x0: nats(s, torch.ones_like(x0)) / 32 / math.log(2), "weighs x0**2 as well"),
    (
        "5.2",
        lambda s, x0: nats(type(s)(s.beta[1:-1]), x0) / 32 / math.log(2),
        "one step early",
    ),
    ("5.2", lambda s, x0: torch.zeros(len(x0)), "numbers are off"),
    ("5.2", lambda s, x0: nats(s, x0).mean(), "Expected shape (3,), got ()"),
    ("5.3", lambda wanted: 1000, "and so is 999"),
    ("5.3", lambda wanted: shortest(wanted) - 1, "not below"),
    ("5.3", lambda wanted: shortest(wanted) + 1, "and so is"),
    ("5.3", cut_off, "a long schedule cut off is not the same"),
    ("5.3", lambda wanted: 0, "at least one step"),
    ("5.4", lambda T: 20 / T, "a good first guess"),
    ("5.4", lambda T: 0.02, "times as large"),
    ("5.4", lambda T: 1.2, "between 0 and 1"),
]
