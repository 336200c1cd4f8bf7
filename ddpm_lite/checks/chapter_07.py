"""Checkers for the exercises of chapter 7."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ddpm_lite.checks.wrong import Wrong, expect_close, expect_given
from ddpm_lite.gaussian import decoder_nll

__all__ = ["CHECKERS"]


def edges(answer: Callable[[int, int], tuple[float, float]]) -> None:
    """7.2: the edges of a grey level's bin on the scale of [-1, 1]."""
    expect_given(answer)
    for levels in (2, 5, 17, 256):
        last = levels - 1
        for v in sorted({0, last, int(torch.randint(levels, ()))}):
            center = 2 * v / last - 1

            def cut(off: float, infinite: bool = True) -> Tensor:
                low = -math.inf if infinite and v == 0 else center - off  # noqa: B023
                high = math.inf if infinite and v == last else center + off  # noqa: B023
                return torch.tensor([low, high], dtype=torch.float64)

            got = answer(v, levels)
            expect_given(got)
            if not isinstance(got, tuple) or len(got) != 2:
                raise Wrong("Return two numbers: the lower and the upper edge.")
            for edge in got:
                expect_given(edge)
            expect_close(
                torch.tensor([float(edge) for edge in got], dtype=torch.float64),
                cut(1 / last),
                {
                    "What lies beyond the first and the last level is theirs too: their outer "
                    "edges are at infinity.": cut(1 / last, infinite=False),
                    "Neighbours are 2 / (levels - 1) apart, not 2 / levels.": cut(1 / levels),
                    "That reaches all the way to the neighbours. An edge lies half-way.": cut(
                        2 / last
                    ),
                },
            )


def best_sigma(answer: Callable[[float], float]) -> None:
    """7.3: the sigma of least average cost for means that are off by so many grey levels."""
    expect_given(answer)
    for rmse in torch.rand(2, dtype=torch.float64).mul(0.5).add(0.6).tolist():
        least = _least(rmse)
        expect_close(
            answer(rmse),
            least,
            {
                "That is the size of the error. The bin adds w^2 / 12 to the variance by itself, "
                "so take it off.": rmse * 2 / 255,
                "That is in grey levels; one of them is 2 / 255.": 127.5 * least,
                "[-1, 1] is two wide, so a grey level is 2 / 255, not 1 / 255.": least / 2,
                "Return sigma itself, not its square.": least**2,
            },
            rtol=0.02,
        )


def _least(rmse: float) -> float:
    """Found by trying two hundred sigmas, half a percent apart."""
    z = torch.linspace(-6, 6, 121, dtype=torch.float64)
    share = (-(z**2) / 2).softmax(0)
    x0 = torch.full((len(z), 1), 2 * 127 / 255 - 1, dtype=torch.float64)
    mean = x0 + rmse * 2 / 255 * z[:, None]
    sigmas = rmse * 2 / 255 * torch.exp(torch.linspace(-0.7, 0.3, 201, dtype=torch.float64))
    costs = [(share * decoder_nll(x0, mean, sigma**2)).sum() for sigma in sigmas]
    return sigmas[int(torch.stack(costs).argmin())].item()


CHECKERS: dict[str, Callable[[Any], None]] = {
    "7.2": edges,
    "7.3": best_sigma,
}
