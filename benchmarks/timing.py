"""Candidates timed in turns, so that a machine that slows down slows all of them alike.

What is printed also goes, as JSON, into the file that the variable BENCHMARK_JSON names, table by
table: a run that is stopped leaves what it had. BENCHMARK_SMALLEST=1 makes everything small, to see
that it runs.
"""

import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ddpm_lite.experiments.results import write

SMALLEST = os.environ.get("BENCHMARK_SMALLEST") == "1"
ROUNDS = 2 if SMALLEST else 7
gpu = torch.cuda.is_available()
torch.manual_seed(0)
tables: list[dict[str, Any]] = []


def compare(
    candidates: dict[str, Callable[[], object]],
    title: str = "",
    rounds: int = ROUNDS,
    **numbers: float,
) -> dict[str, Any]:
    """Print each candidate's median seconds, and its time over the first's, round by round.

    The first is the baseline. A warm-up comes before; ratios are within a round, and their
    quartiles are over rounds. On a CPU the clock is the process's own time, on one thread: what
    else the machine does then counts little. On a GPU the most memory that torch took beside what
    it had is told too, in the first round, where libraries choose their algorithms and launches are
    recorded, and in a later one. A candidate that fails there, for want of memory say, is left out
    with its reason.

    Args:
        title: of the table; printed above it.
        numbers: that belong to it: images a round, or arithmetic.

    Returns:
        The table: for each row its seconds, and its ratio to the first's with quartiles.
    """
    clock = time.perf_counter if gpu else time.process_time
    seconds: dict[str, list[float]] = {}
    rows: dict[str, Any] = {}
    if title:
        print(title)
    for name, run in candidates.items():
        rows[name] = _warm_up(run)
        if "failed" in rows[name]:
            print(f"  {name:28} failed: {rows[name]['failed']}")
        else:
            seconds[name] = []
    for _ in range(rounds):
        for name in seconds:
            start = clock()
            candidates[name]()
            _wait()
            seconds[name].append(clock() - start)
    first = next(iter(seconds), "")
    for name, own in seconds.items():
        ratios = [a / b for a, b in zip(own, seconds[first], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        rows[name] |= {"seconds": statistics.median(own), "ratio": [low, middle, high]}
        held = "   {gib:.2f} GiB, {first_gib:.2f} at first".format(**rows[name]) if gpu else ""
        print(
            f"  {name:28} {statistics.median(own) * 1e3:9.2f} ms   "
            f"x {middle:.3f} ({low:.3f} to {high:.3f}){held}",
            flush=True,
        )
    table = {"title": title, **numbers, "baseline": first, "rounds": rounds, "rows": rows}
    tables.append(table)
    save()
    return table


def save() -> None:
    """Write all tables until now where BENCHMARK_JSON says."""
    if "BENCHMARK_JSON" in os.environ:
        write(Path(os.environ["BENCHMARK_JSON"]), {"machine": machine(), "tables": tables}, 1)


def _warm_up(run: Callable[[], object]) -> dict[str, Any]:
    if not gpu:
        run()
        return {}
    torch.cuda.empty_cache()
    before, peaks = torch.cuda.memory_reserved(), []
    try:
        for _ in ("first", "later"):
            torch.cuda.reset_peak_memory_stats()
            run()
            _wait()
            peaks.append((torch.cuda.max_memory_reserved() - before) / 2**30)
            torch.cuda.empty_cache()
    except Exception as error:  # out of memory, no compiler, a kernel that is not there
        torch.cuda.empty_cache()
        return {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
    return {"first_gib": peaks[0], "gib": peaks[1]}


def _wait() -> None:
    if gpu:
        torch.cuda.synchronize()


def machine() -> str:
    """What the figures were measured on."""
    if gpu:
        what = torch.cuda.get_device_name()
    else:
        what = f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    return f"{what}, torch {torch.__version__}, Python {platform.python_version()}"
