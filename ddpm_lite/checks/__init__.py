"""How the book checks itself, `agree` and `below` with their controls; and its reader, `check`."""

from collections.abc import Callable, Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import torch
from torch import Tensor

from ddpm_lite.checks.wrong import DOTS, Wrong

__all__ = ["Wrong", "agree", "below", "check", "disagree", "not_below"]

Numbers = Tensor | Sequence[float] | float

CHAPTERS = [
    import_module(f"{__name__}.{module.name}")
    for module in iter_modules(__path__)
    if module.name.startswith("chapter_")
]
CHECKERS: dict[str, Callable[[Any], None]] = {
    number: checker for chapter in CHAPTERS for number, checker in chapter.CHECKERS.items()
}


def agree(what: str, value: Numbers, expected: Numbers, atol: float) -> None:
    """Print that two results agree to `atol` everywhere, or raise AssertionError."""
    off = _largest_difference(value, expected)
    if not off <= atol:
        raise AssertionError(f"{what}: off by {off:.3g}, more than {atol:.3g}")
    print(f"agrees   {what} (to {atol:.0e})")


def disagree(what: str, value: Numbers, expected: Numbers, atol: float) -> None:
    """The negative control: print by how much a known mistake fails, or raise AssertionError."""
    off = _largest_difference(value, expected)
    if not off > atol:  # NaN is no fair way to fail
        raise AssertionError(f"{what}: expected to fail by more than {atol:.3g}, off by {off:.3g}")
    print(f"FAILS    {what} (off by {off:.2g}), as it should")


def below(what: str, value: float | Tensor, limit: float, show: bool = True) -> None:
    """Print that a number lies below a limit, or raise AssertionError: for what is an order.

    Args:
        what: the number's name.
        value: one number.
        limit: above which the check fails.
        show: print the number; not one that training moves, which differs between machines.
    """
    number = float(value)
    if not number < limit:  # NaN is below nothing
        raise AssertionError(f"{what}: {number:.3g} is not below {limit:.3g}")
    shown = f"{number:.2g}, " if show else ""
    print(f"below    {what} ({shown}limit {limit:.3g})")


def not_below(what: str, value: float | Tensor, limit: float, show: bool = True) -> None:
    """The control of `below`: a known mistake does not stay below the limit, or AssertionError."""
    number = float(value)
    if not number >= limit:
        raise AssertionError(f"{what}: expected {limit:.3g} or more, got {number:.3g}")
    shown = f"{number:.2g}, " if show else ""
    print(f"FAILS    {what} ({shown}limit {limit:.3g}), as it should")


def check(exercise: str, answer: Any) -> None:
    """Check an answer to an exercise of the book, "2.3" say, and print what to mend.

    An answer of None or ... counts as not given yet. Wrong answers raise nothing, so that
    the rest of a chapter still runs.

    Raises:
        KeyError: no exercise of that number has a checker.
    """
    if exercise not in CHECKERS:
        raise KeyError(f"exercise must be one of {', '.join(CHECKERS)}, got {exercise!r}")
    try:
        CHECKERS[exercise](answer)
    except Wrong as wrong:
        print(f"Exercise {exercise}: not yet. {wrong}")
    except Exception as error:  # whatever the reader's own code raised
        hint = f"Your code raised {type(error).__name__}: {error}"
        print(f"Exercise {exercise}: not yet. {DOTS if 'ellipsis' in str(error) else hint}")
    else:
        print(f"Exercise {exercise}: right.")


def _largest_difference(value: Numbers, expected: Numbers) -> float:
    a = torch.as_tensor(value, dtype=torch.float64, device="cpu")
    b = torch.as_tensor(expected, dtype=torch.float64, device="cpu")
    if b.ndim and a.shape != b.shape:
        raise AssertionError(f"expected shape {tuple(b.shape)}, got {tuple(a.shape)}")
    return (a - b).abs().max().item()
