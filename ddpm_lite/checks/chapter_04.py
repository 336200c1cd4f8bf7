"""Checkers for the exercises of chapter 4."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ddpm_lite.checks.wrong import Wrong, expect_close, expect_given

__all__ = ["CHECKERS"]


def grey_bits(answer: Callable[[float, int], float]) -> None:
    """4.2: bits per dimension of grey levels, from the nats of a density on [-1, 1]."""
    expect_given(answer)
    for _ in range(3):
        dims = int(torch.randint(2, 4000, ()))
        nats = dims * (2 * torch.rand(()).item() - 3.5)
        density, bin_ = nats / (dims * math.log(2)), math.log2(255 / 2)
        expect_close(
            answer(nats, dims),
            density + bin_,
            {
                "That is the density's. A level is 2/255 wide, and its width counts.": density,
                "The narrower a level, the less probable it is: that costs bits, it saves none.": (
                    density - bin_
                ),
                "Bits per dimension: divide by `dims`.": (density + bin_) * dims,
                "Each number has a level of its own: the width counts `dims` times.": (
                    density + bin_ / dims
                ),
                "Those are nats. One bit is log(2) nats.": (density + bin_) * math.log(2),
                "The nats of the density want dividing by log(2) too.": nats / dims + bin_,
                "Of 256 levels, 255 gaps lie between -1 and 1.": density + math.log2(256 / 2),
            },
        )


def tighter(answer: Callable[[Tensor], Tensor]) -> None:
    """4.3: -log of the mean of exp(-L) over K paths, for each image."""
    expect_given(answer)
    for level in (0.0, 5000.0):
        L = level + 3 * torch.randn(7, 4, dtype=torch.float64)
        got = answer(L)
        expect_given(got)
        got = torch.as_tensor(got, dtype=torch.float64)
        if level and not got.isfinite().all():
            raise Wrong("exp(-5000) is zero in floats. Let torch.logsumexp take the logarithm.")
        if got.shape == (7,):
            raise Wrong("That is one number per path. Average over the paths, the first axis.")
        total = -torch.logsumexp(-L, 0)
        expect_close(
            got,
            total + math.log(7),
            {
                "That is the mean of L, the bound we had. The mean goes inside the logarithm.": (
                    L.mean(0)
                ),
                "That is a sum over paths; a mean divides by K.": total,
                "The mean divides by K, which adds log K to its negative logarithm.": total
                - math.log(7),
                "The signs: L is -log(p / q), so the ratio is exp(-L).": torch.logsumexp(L, 0)
                - math.log(7),
            },
        )


CHECKERS: dict[str, Callable[[Any], None]] = {
    "4.2": grey_bits,
    "4.3": tighter,
}
