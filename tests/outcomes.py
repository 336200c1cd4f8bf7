"""What may come of a fault, and who spoke: the one judgement of all kinds of `faults.py`.

- right: the same as without the fault, or as the setting asked for.
- refused: an error in words of the package that names what is at fault, or a warning that does.
- raw: an error of torch's, numpy's or Python's own, or no answer in time.
- silent: another answer, and not a word; or an answer where none is possible.
- lost: a good file is gone, or a run can no longer go on.
"""

import ast
import hashlib
import linecache
import signal
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import torch
from torch import Tensor

import ddpm_lite

CLASSES = ("right", "refused", "raw", "silent", "lost")
PACKAGE = str(Path(ddpm_lite.__file__).parent)


class Fate(NamedTuple):
    """One fault: its kind, what was done (enough to repeat it), what came of it, and its words."""

    kind: str
    what: str
    fate: str
    words: str = ""


class TooLong(BaseException):
    """No answer in time. No Exception: nothing but the one who set the time may catch it."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Seconds of this process, on a machine that may be busy; ten times that by the clock."""

    def late(number: int, frame: FrameType | None) -> None:
        raise TooLong(f"no answer in {seconds:g} s")

    timers = [
        (signal.SIGPROF, signal.ITIMER_PROF, seconds),
        (signal.SIGALRM, signal.ITIMER_REAL, 10 * seconds),
    ]
    before = [signal.signal(number, late) for number, _, _ in timers]
    for _, timer, length in timers:
        signal.setitimer(timer, length)
    try:
        yield
    finally:
        for (number, timer, _), handler in zip(timers, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)


def in_words(error: BaseException, *names: str) -> bool:
    """Whether a `raise` of the package raised it, with words, and with one of these names if any.

    An error of torch's own ends in a frame of the package too, at the line that called torch: so
    that line must be part of a `raise`.
    """
    if not isinstance(error, (TypeError, ValueError, OSError, ImportError, RuntimeError,
                              FloatingPointError, MemoryError)):  # fmt: skip
        return False
    frame = traceback.extract_tb(error.__traceback__)[-1]
    words = " ".join(str(error).split())
    named = not names or any(name in words for name in names)
    return (
        frame.filename.startswith(PACKAGE)
        and frame.lineno in _raises(frame.filename)
        and len(words) > 10
        and named
    )


def told(caught: list[warnings.WarningMessage], *names: str) -> bool:
    """Whether a warning names what is at fault."""
    return any(name in str(warning.message) for warning in caught for name in names)


@cache
def _raises(filename: str) -> frozenset[int]:
    tree = ast.parse("".join(linecache.getlines(filename)))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Raise)]
    return frozenset(n for node in found for n in range(node.lineno, (node.end_lineno or 0) + 1))


def digest(x: Tensor) -> str:
    """Of a tensor's type, shape and bytes."""
    raw = x.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
    return f"{x.dtype} {list(x.shape)} {hashlib.blake2b(raw, digest_size=8).hexdigest()}"


def contents(folder: Path) -> dict[str, str]:
    """The files of a folder and of all in it, each with a digest."""
    return {
        str(path.relative_to(folder)): hashlib.blake2b(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
