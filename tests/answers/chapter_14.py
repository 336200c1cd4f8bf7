"""Answers to the exercises of chapter 14."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor


def least_squares(eps: Tensor, eps_hat: Tensor) -> Tensor:
    return torch.linalg.lstsq(eps_hat.reshape(-1, 1), eps.reshape(-1, 1)).solution[0, 0]


def fitted(before: float, now: float, after: float) -> float:
    c, b, _ = np.polyfit([-1, 0, 1], [before, now, after], 2)
    return -b / (2 * c)


def strongest(alpha_bar: float, x: Tensor) -> Tensor:
    return alpha_bar * torch.linalg.matrix_norm(x, 2) ** 2 / len(x)


def bend(before: float, now: float, after: float) -> float:
    return before - 2 * now + after


def powers(x: Tensor) -> Tensor:
    return torch.linalg.eigvalsh(x.T @ x / len(x))


RIGHT: dict[str, Callable[..., Any] | str] = {
    "14.1": " C",
    "14.2": least_squares,
    "14.3": fitted,
    "14.4": strongest,
}
WRONG: list[tuple[str, Any, str]] = [
    ("14.1", "a", "late by a whole step"),
    ("14.1", "b", "far above 1"),
    ("14.1", "d", "two answers were the same"),
    ("14.1", "flu", "one letter"),
    ("14.2", lambda e, h: (e * h).sum() / (e * e).sum(), "slope of eps_hat on eps"),
    ("14.2", lambda e, h: (h * h).sum() / (e * h).sum(), "The other way up"),
    ("14.2", lambda e, h: (e * h).sum() / (e.norm() * h.norm()), "their correlation"),
    ("14.2", lambda e, h: e.norm() / h.norm(), "compares their sizes alone"),
    ("14.2", lambda e, h: (e / h).mean(), "numbers are off"),
    ("14.3", lambda b, n, a: (a - b) / (2 * bend(b, n, a)), "sign is turned"),
    ("14.3", lambda b, n, a: (b - a) / bend(b, n, a), "Twice that"),
    ("14.3", lambda b, n, a: (b - a) / (4 * bend(b, n, a)), "Half of that"),
    ("14.3", lambda b, n, a: b - a, "numbers are off"),
    ("14.4", lambda a, x: strongest(a, x - x.mean(0)), "do not take it off"),
    ("14.4", lambda a, x: strongest(a**0.5, x), "by the root of alpha_bar"),
    ("14.4", lambda a, x: a * powers(x).sum(), "all directions together"),
    ("14.4", lambda a, x: a * powers(x)[-1] * len(x), "not their sum"),
    ("14.4", lambda a, x: powers(x)[-1], "numbers are off"),
]
