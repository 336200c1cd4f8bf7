"""Checkers for the exercises of chapter 10."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ddpm_lite.checks.wrong import Wrong, expect_close, expect_given

__all__ = ["CHECKERS"]

Layers = list[tuple[int, int]]  # kernel size, stride


def eyesight(answer: Callable[[Layers], Any]) -> None:
    """10.2: the receptive field of convolutions in a row."""
    expect_given(answer)
    for length in (1, 4, 6):
        kernels = (2 * torch.randint(1, 4, (length,)) + 1).tolist()
        strides = torch.randint(1, 4, (length,)).tolist()
        if length > 1:
            strides[0], strides[-1] = 2, 3  # both ends matter
        layers = list(zip(kernels, strides, strict=True))
        right, own, late, flat, steps = 1, 1, 1, 1, 1
        for kernel, stride in layers:
            right += (kernel - 1) * steps
            flat += kernel - 1
            steps *= stride
            own += (kernel - 1) * steps
        later = 1
        for kernel, stride in reversed(layers):
            late += (kernel - 1) * later
            later *= stride
        got = answer(layers)
        expect_given(got)
        if torch.as_tensor(got).numel() != 1:
            raise Wrong(f"Return one number, not {tuple(torch.as_tensor(got).shape)} of them.")
        expect_close(
            got,
            right,
            {
                "The strides are missing: after a stride of 2, one pixel is 2 of the input.": flat,
                "A layer's own stride widens what later layers see, not what it sees itself.": own,
                "The strides of the layers before it count, not of those behind it.": late,
                "That is what is beside the pixel; it sees itself too.": right - 1,
            },
        )


def masked_attention(answer: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> None:
    """10.3: attention over the pixels that may be looked at."""
    expect_given(answer)
    for N, d in ((5, 3), (9, 4)):
        q, k, v = torch.randn(3, N, d, dtype=torch.float64)
        far = (torch.arange(N)[:, None] - torch.arange(N)).abs()
        may = (far == 0) | (torch.rand(N, N) < 0.5)
        may[0, 1:] = False  # one sees itself alone,
        may[-1] = True  # one sees all
        fits = q @ k.mT / d**0.5

        def over(mask: Tensor, axis: int = -1, fits: Tensor = fits, v: Tensor = v) -> Tensor:
            return fits.masked_fill(~mask, float("-inf")).softmax(axis) @ v

        plain = (fits * d**0.5).masked_fill(~may, float("-inf")).softmax(-1) @ v
        expect_close(
            answer(q, k, v, may),
            over(may),
            {
                "The mask is missing.": over(torch.ones_like(may)),
                "After the softmax is too late: the weights that are left no longer sum to one.": (
                    fits.softmax(-1) * may @ v
                ),
                "exp(0) is not 0: what a pixel may not see needs a fit of minus infinity.": (
                    (fits * may).softmax(-1) @ v
                ),
                "Divide the fits by the root of d.": plain,
                "The softmax runs over the pixels looked at, the last axis.": over(may, -2),
                "Row n of the mask says what pixel n may look at.": over(may.T),
            },
        )


CHECKERS: dict[str, Callable[[Any], None]] = {"10.2": eyesight, "10.3": masked_attention}
