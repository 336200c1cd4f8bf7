"""Answers to the exercises of chapter 10."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv1d, scaled_dot_product_attention

Layers = list[tuple[int, int]]


def seen(layers: Layers) -> int:
    """By the gradient of one pixel, through real convolutions."""
    x = torch.ones(1, 1, 20_000, dtype=torch.float64, requires_grad=True)
    h = x
    for kernel, stride in layers:
        h = conv1d(h, torch.ones(1, 1, kernel, dtype=torch.float64), stride=stride)
    (slope,) = torch.autograd.grad(h[0, 0, h.shape[2] // 2], x)
    places = slope[0, 0].nonzero()
    return int(places.max() - places.min() + 1)


def field(layers: Layers, own: bool = False) -> int:
    pixels, step = 1, 1
    for kernel, stride in layers:
        step *= stride if own else 1
        pixels += (kernel - 1) * step
        step *= 1 if own else stride
    return pixels


def attend(q: Tensor, k: Tensor, v: Tensor, may: Tensor, axis: int = -1) -> Tensor:
    fits = q @ k.mT / q.shape[1] ** 0.5
    return fits.masked_fill(~may, float("-inf")).softmax(axis) @ v


RIGHT: dict[str, Callable[..., Any]] = {
    "10.2": seen,
    "10.3": lambda q, k, v, may: scaled_dot_product_attention(
        q[None], k[None], v[None], attn_mask=may[None]
    )[0],
}
WRONG: list[tuple[str, Any, str]] = [
    ("10.2", lambda layers: field([(k, 1) for k, _ in layers]), "strides are missing"),
    ("10.2", lambda layers: field(layers, own=True), "own stride widens"),
    ("10.2", lambda layers: field(layers) - 1, "it sees itself too"),
    ("10.2", lambda layers: field(layers) + 3, "The numbers are off"),
    ("10.2", lambda layers: torch.ones(2), "Return one number"),
    ("10.3", lambda q, k, v, may: attend(q, k, v, may | True), "The mask is missing"),
    (
        "10.3",
        lambda q, k, v, may: (q @ k.mT / q.shape[1] ** 0.5).softmax(-1) * may @ v,
        "After the softmax is too late",
    ),
    (
        "10.3",
        lambda q, k, v, may: (q @ k.mT / q.shape[1] ** 0.5 * may).softmax(-1) @ v,
        "a fit of minus infinity",
    ),
    ("10.3", lambda q, k, v, may: attend(q * q.shape[1] ** 0.5, k, v, may), "the root of d"),
    ("10.3", lambda q, k, v, may: attend(q, k, v, may, axis=-2), "over the pixels looked at"),
    ("10.3", lambda q, k, v, may: attend(q, k, v, may.T), "Row n of the mask"),
    ("10.3", lambda q, k, v, may: attend(q, k, v, may)[0], "Expected shape"),
]
