"""What checkers of exercises are made of."""

from typing import Any

import torch

__all__ = ["DOTS", "Wrong", "expect_close", "expect_given"]


DOTS = "There is no answer here yet: replace the dots."


class Wrong(Exception):
    """An answer that is not right yet; the text is a hint for the reader."""


def expect_given(answer: Any) -> None:
    """Refuse an answer that the reader has not filled in."""
    if answer is None or answer is ...:
        raise Wrong(DOTS)


def expect_close(got: Any, expected: Any, hints: dict[str, Any], rtol: float = 1e-6) -> None:
    """Refuse what is not close to the expected value; name the mistake when it is a known one.

    Args:
        got: the reader's value.
        expected: the right one.
        hints: hint -> the value that the mistake of this hint leads to.
        rtol: relative tolerance.
    """
    expect_given(got)
    got, expected = (torch.as_tensor(v, dtype=torch.float64) for v in (got, expected))
    if got.shape != expected.shape:
        raise Wrong(f"Expected shape {tuple(expected.shape)}, got {tuple(got.shape)}.")
    if torch.allclose(got, expected, rtol=rtol, atol=1e-12):
        return
    for hint, mistaken in hints.items():
        mistaken = torch.as_tensor(mistaken, dtype=torch.float64)
        if got.shape == mistaken.shape and torch.allclose(got, mistaken, rtol=rtol, atol=1e-12):
            raise Wrong(hint)
    raise Wrong("The numbers are off; compare with the formula, factor by factor.")
