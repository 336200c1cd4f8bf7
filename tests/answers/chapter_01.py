"""Answers to the exercises of chapter 1."""

import math
from collections.abc import Callable
from typing import Any

import torch

RIGHT: dict[str, Callable[..., Any]] = {
    "1.2": lambda m: torch.linalg.matrix_power(m, 2),
    "1.3": lambda mean, std: (mean * mean + std * std - 1) / 2 - math.log(std),
}
WRONG: list[tuple[str, Any, str]] = [
    ("1.2", lambda m: m * m, "squares each entry"),
    ("1.2", lambda m: m.T @ m, "first step against the arrow"),
    ("1.2", lambda m: m @ m.T, "second step against the arrow"),
    ("1.2", lambda m: m, "numbers are off"),
    ("1.2", lambda m: m[0], "Expected shape (3, 3), got (3,)"),
    ("1.3", lambda m, s: (1 / s**2 + (m / s) ** 2 - 1) / 2 + math.log(s), "the order of the two"),
    ("1.3", lambda m, s: (m**2 + s**2 - 1) / 2 + math.log(s), "sign is turned round"),
    ("1.3", lambda m, s: (m**2 + s - 1 - math.log(s)) / 2, "square it"),
    ("1.3", lambda m, s: 0.0, "numbers are off"),
]
