"""Answers to the exercises of chapter 7."""

import math
from collections.abc import Callable
from typing import Any

import torch


def edges(v: int, levels: int) -> tuple[float, float]:
    """The middle of neighbouring levels, beyond which there is none."""
    grid = [-math.inf, *torch.linspace(-1, 1, levels, dtype=torch.float64).tolist(), math.inf]
    return (grid[v] + grid[v + 1]) / 2, (grid[v + 1] + grid[v + 2]) / 2


def rule(rmse: float) -> float:
    return math.sqrt(rmse**2 - 1 / 12) * 2 / 255


RIGHT: dict[str, Callable[..., Any]] = {"7.2": edges, "7.3": rule}
WRONG: list[tuple[str, Any, str]] = [
    ("7.2", lambda v, n: ((2 * v - 1) / (n - 1) - 1, (2 * v + 1) / (n - 1) - 1), "at infinity"),
    (
        "7.2",
        lambda v, n: (
            -math.inf if v == 0 else 2 * v / (n - 1) - 1 - 1 / n,
            math.inf if v == n - 1 else 2 * v / (n - 1) - 1 + 1 / n,
        ),
        "not 2 / levels",
    ),
    (
        "7.2",
        lambda v, n: (
            -math.inf if v == 0 else 2 * (v - 1) / (n - 1) - 1,
            math.inf if v == n - 1 else 2 * (v + 1) / (n - 1) - 1,
        ),
        "An edge lies half-way",
    ),
    ("7.2", lambda v, n: (v - 0.5, v + 0.5), "compare with the formula"),
    ("7.2", lambda v, n: 0.0, "Return two numbers"),
    ("7.2", lambda v, n: (..., ...), "replace the dots"),
    ("7.3", lambda rmse: rmse * 2 / 255, "w^2 / 12"),
    ("7.3", lambda rmse: 127.5 * rule(rmse), "in grey levels"),
    ("7.3", lambda rmse: rule(rmse) / 2, "not 1 / 255"),
    ("7.3", lambda rmse: rule(rmse) ** 2, "not its square"),
    ("7.3", lambda rmse: 0.02, "compare with the formula"),
]
