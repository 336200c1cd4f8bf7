"""Answers to the exercises of chapter 4."""

import math
from collections.abc import Callable
from typing import Any

import torch

RIGHT: dict[str, Callable[..., Any]] = {
    "4.2": lambda nats, dims: math.log2(127.5) + nats / dims / math.log(2),
    "4.3": lambda L: L[0] - (L[0] - L).exp().mean(0).log(),
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
    ("4.3", lambda L: L.mean(0), "the bound we had"),
    ("4.3", lambda L: -torch.logsumexp(-L, 0), "a mean divides by K"),
    ("4.3", lambda L: -torch.logsumexp(-L, 0) - math.log(len(L)), "which adds log K"),
    ("4.3", lambda L: math.log(L.shape[1]) - torch.logsumexp(-L, 1), "Average over the paths"),
    ("4.3", lambda L: torch.logsumexp(L, 0) - math.log(len(L)), "the ratio is exp(-L)"),
    ("4.3", lambda L: -(-L).exp().mean(0).log(), "zero in floats"),
    ("4.3", lambda L: L[0], "numbers are off"),
]
