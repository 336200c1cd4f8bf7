"""Candidates timed in turns, so that a machine that slows down slows all of them alike."""

import platform
import statistics
import time
from collections.abc import Callable

import torch


def compare(candidates: dict[str, Callable[[], object]], rounds: int = 7) -> None:
    """Print each candidate's median seconds, and its time over the first's, round by round.

    The first is the baseline. A warm-up comes before; ratios are within a round, and their
    quartiles are over rounds. On a CPU the clock is the process's own time, on one thread: what
    else the machine does then counts little.
    """
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for measured in [False] + [True] * rounds:
        for name, run in candidates.items():
            start = clock()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if measured:
                seconds[name].append(clock() - start)
    first = next(iter(candidates))
    for name, own in seconds.items():
        ratios = [a / b for a, b in zip(own, seconds[first], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(
            f"  {name:28} {statistics.median(own) * 1e3:9.2f} ms   "
            f"x {middle:.3f} ({low:.3f} to {high:.3f})"
        )


def machine() -> str:
    """What the figures were measured on."""
    if torch.cuda.is_available():
        what = torch.cuda.get_device_name()
    else:
        what = f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    return f"{what}, torch {torch.__version__}, Python {platform.python_version()}"
