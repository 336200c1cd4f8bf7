"""Checkers for the exercises of chapter 11."""

import math
from collections.abc import Callable
from typing import Any

import torch

from ddpm_lite.checks.wrong import Wrong, expect_close, expect_given

__all__ = ["CHECKERS"]


def share_of_the_copy(answer: Callable[[float, int], Any]) -> None:
    """11.1: the weight of the first copy in the average after step n."""
    expect_given(answer)
    # Where the ramp has passed the decay; where it has not; and where nothing is forgotten yet.
    for decay, low, high in ((0.6, 15, 30), (0.99, 5, 60), (0.9, 1, 2)):
        n = int(torch.randint(low, high, ()))
        ramp = [(1 + k) / (10 + k) for k in range(1, n + 2)]  # ramp[k - 1] is step k's
        kept = [min(decay, r) for r in ramp]
        hints = {
            "The ramp is missing: early steps keep less than the decay.": decay ** (n - 1),
            "That is the ramp alone; from some step on the decay is smaller.": (
                math.prod(ramp[1:n])
            ),
            "Of the two, take the smaller.": math.prod(max(decay, r) for r in ramp[1:n]),
            "The copy is made after step 1; the first share is that of step 2.": (
                math.prod(kept[:n])
            ),
            "One step too many: the last share is that of step n.": (math.prod(kept[1 : n + 1])),
            "That is what the last step keeps; multiply over all steps from 2 to n.": (kept[n - 1]),
            "That is the weight of everything but the copy.": 1 - math.prod(kept[1:n]),
        }
        expect_close(answer(decay, n), math.prod(kept[1:n]), hints)


def settings(answer: Callable[[int, int, float], Any]) -> None:
    """11.2: accumulation and learning rate for a batch that does not fit."""
    expect_given(answer)
    lr = float(torch.rand(())) * 1e-3 + 1e-4
    for batch, fits in ((128, 32), (128, 50), (96, 40), (128, 500), (60, 7)):
        got = answer(batch, fits, lr)
        expect_given(got)
        if not isinstance(got, (tuple, list)) or len(got) != 2:
            raise Wrong(f"Return two numbers, accumulate and lr, not {got!r}.")
        parts, rate = got
        expect_given(parts)
        right = next(n for n in range(1, batch + 1) if batch % n == 0 and batch // n <= fits)
        if parts == batch // right != right:
            raise Wrong("accumulate is the number of parts, not the images in each.")
        if parts <= 0 or batch % parts:
            raise Wrong(
                f"{batch} images do not divide into {parts} equal parts, which train refuses."
            )
        if batch / parts > fits:
            raise Wrong(f"{parts} parts of {batch} images are larger than the {fits} that fit.")
        if parts != right:
            raise Wrong(f"It can be done in fewer than {parts} parts: {batch} images, {fits} fit.")
        expect_close(
            rate,
            lr,
            {
                "The parts are averaged already: do not divide the rate by their number.": (
                    lr / parts
                ),
                "The gradient is that of the whole batch: the same step, the same rate.": (
                    lr * parts
                ),
            },
        )


def scale_after(answer: Callable[..., Any]) -> None:
    """11.3: the loss scale after some steps, as torch.amp.GradScaler has it."""
    expect_given(answer)
    for growth in (3, 5):
        finite = [True] * (growth + 1) + [False] + (torch.rand(40) > 0.15).tolist()
        # Two that differ in the count alone: good steps, but not in a row; and after a doubling.
        broken = [True] * (growth - 1) + [False] + [True] * (growth - 1)
        for steps in ([False], [True] * growth, broken, [True] * (2 * growth - 1), finite):
            expect_close(
                answer(1024.0, steps, growth),
                _scale(steps, growth),
                {
                    "Too large a scale made the gradients infinite: halve it then.": (
                        _scale(steps, growth, bad=2.0, good=0.5)
                    ),
                    "The good steps must come in a row: a bad one sets the count to zero.": (
                        _scale(steps, growth, restart=False)
                    ),
                    "After doubling, the count begins again.": _scale(steps, growth, again=False),
                    "A good step alone changes nothing; it takes `growth` of them.": (
                        _scale(steps, 1)
                    ),
                    "It also grows: after `growth` good steps the scale is doubled.": (
                        _scale(steps, growth, good=1.0)
                    ),
                    "Where a gradient is not finite the scale is halved.": (
                        _scale(steps, growth, bad=1.0)
                    ),
                },
            )


def _scale(
    finite: list[bool],
    growth: int,
    bad: float = 0.5,
    good: float = 2.0,
    restart: bool = True,
    again: bool = True,
) -> float:
    scale, count = 1024.0, 0
    for fine in finite:
        if not fine:
            scale, count = scale * bad, 0 if restart else count
            continue
        count += 1
        if count >= growth:
            scale, count = scale * good, 0 if again else count
    return scale


CHECKERS: dict[str, Callable[[Any], None]] = {
    "11.1": share_of_the_copy,
    "11.2": settings,
    "11.3": scale_after,
}
