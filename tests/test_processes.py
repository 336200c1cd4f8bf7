"""One process, or several: who they are, what they gather, and how they part."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
import torch

from ddpm_lite.system import processes
from ddpm_lite.system.processes import (
    Leaving,
    Stopwatch,
    device_note,
    gather,
    joined,
    rank,
    wait,
    world,
)
from tests.systems import several_processes

ROOT = Path(__file__).parents[1]


def torchrun(code: str, tmp_path: Path, processes: int = 2) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "task.py"
    script.write_text(textwrap.dedent(code))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    own = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*command, f"--nproc-per-node={processes}", str(script)],
        env={**os.environ, **own}, cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_alone() -> None:
    with joined() as device:
        assert device.type == ("cuda" if torch.cuda.is_available() else "cpu")
        assert (rank(), world()) == (0, 1)
        assert gather(3) == [3]
        wait()


def test_only_what_is_within_is_timed() -> None:
    watch = Stopwatch(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    assert watch.seconds == 0
    begun = time.perf_counter()
    for _ in range(2):
        with watch:
            time.sleep(0.05)
        time.sleep(0.3)
    assert 0.1 <= watch.seconds < time.perf_counter() - begun - 0.5
    watch.clear()
    assert watch.seconds == 0


def test_a_gpu_is_asked_what_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    """With events of the stream, for work may end long after its block; here a GPU is played."""
    seen: list[str] = []

    class Event:
        def __init__(self, enable_timing: bool):
            self.at, self.timed = -1, enable_timing

        def record(self, stream: str) -> None:
            assert stream == "the stream of cuda:1"
            seen.append("record")
            self.at = len(seen)

        def synchronize(self) -> None:
            seen.append("wait")

        def elapsed_time(self, end: "Event") -> float:
            assert self.timed
            assert end.timed
            assert seen[-1] == "wait"
            return 1000.0 * (end.at - self.at)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"the stream of {device}")
    watch = Stopwatch(torch.device("cuda:1"))
    for _ in range(3):
        with watch:
            pass
    assert seen == ["record"] * 6  # nothing waits while it works
    assert watch.seconds == 3


def test_a_reader_is_told_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "Runtime, Change runtime type" in device_note()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    assert device_note() == "This chapter runs on a GPU, Tesla T4."


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"torch finds here, .* got cuda:0"), joined("cuda:0"):
        pass


@several_processes
def test_two_gather_what_each_has(tmp_path: Path) -> None:
    done = torchrun(
        """
        from pathlib import Path
        from ddpm_lite.system.processes import device_note, gather, joined, rank, wait, world
        with joined("cpu"):
            wait()
            Path(f"{rank()}").write_text(f"{world()} {gather(10 + rank())}")
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert [(tmp_path / name).read_text() for name in "01"] == ["2 [10, 11]"] * 2


@several_processes
def test_a_worker_that_dies_ends_the_run_and_the_next_goes_on(tmp_path: Path) -> None:
    """Rank 1 is killed in its fifth step: torchrun ends rank 0 too; then the same command."""
    code = """
        import os, signal
        from pathlib import Path
        import torch
        from ddpm_lite import GaussianDiffusion, TrainConfig, UNet, digits, linear_schedule
        from ddpm_lite.system.processes import joined, rank
        from ddpm_lite.runs.run import Run
        with joined("cpu"):
            torch.manual_seed(0)
            network, data = UNet(8, 1, 8), digits()[0][:64]
            config = TrainConfig(steps=8, batch=8)
            diffusion = GaussianDiffusion(linear_schedule())
            first = not Path("died").exists()
            seen = []
            for step in Run("run", every=2).train(network, diffusion, data, config):
                seen.append(step.step)
                if first and rank() == 1 and step.step == 5:
                    Path("died").touch()
                    os.kill(os.getpid(), signal.SIGKILL)
            Path(f"seen-{rank()}").write_text(str(seen))
    """
    start = time.monotonic()
    done = torchrun(code, tmp_path)
    assert done.returncode != 0
    assert "SIGKILL" in done.stderr
    assert time.monotonic() - start < 100
    done = torchrun(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert [(tmp_path / f"seen-{r}").read_text() for r in (0, 1)] == ["[5, 6, 7, 8]"] * 2


SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_keeps_what_was_done_once(number: signal.Signals) -> None:
    before, kept = [signal.getsignal(n) for n in SIGNALS], []
    with pytest.raises(KeyboardInterrupt), Leaving(lambda: kept.append("between")):
        signal.raise_signal(number)
    assert kept == ["between"]

    def work() -> None:
        signal.raise_signal(number)
        kept.append("work")

    leaving = Leaving(lambda: kept.append("after"))
    with pytest.raises(KeyboardInterrupt), leaving, leaving.whole():
        work()
    assert kept == ["between", "work", "after"]
    assert [signal.getsignal(n) for n in SIGNALS] == before


def test_a_second_signal_leaves_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow() -> None:
        kept.append("begun")
        signal.raise_signal(signal.SIGINT)
        kept.append("done")

    kept: list[str] = []
    with pytest.raises(KeyboardInterrupt), Leaving(slow):
        signal.raise_signal(signal.SIGINT)
    assert kept == ["begun"]
    # torchrun passes on what the terminal has sent already: of several, this is no second one.
    monkeypatch.setattr(processes, "world", lambda: 2)
    with pytest.raises(KeyboardInterrupt), Leaving(slow):
        signal.raise_signal(signal.SIGINT)
    assert kept == ["begun", "begun", "done"]
    moments = iter([1.0, 3.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(moments))
    with pytest.raises(KeyboardInterrupt), Leaving(slow):
        signal.raise_signal(signal.SIGINT)
    assert kept == ["begun", "begun", "done", "begun"]


def test_other_threads_and_other_handlers_are_left_alone() -> None:
    def other(number: int, frame: object) -> None:
        pass

    before = signal.signal(signal.SIGTERM, other)
    try:
        with Leaving(lambda: None):
            assert signal.getsignal(signal.SIGTERM) is other
        assert signal.getsignal(signal.SIGTERM) is other
    finally:
        signal.signal(signal.SIGTERM, before)
    done = []

    def elsewhere() -> None:
        with Leaving(lambda: None) as leaving, leaving.whole():
            done.append(signal.getsignal(signal.SIGINT) is signal.default_int_handler)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert done == [True]
