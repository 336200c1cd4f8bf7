"""Several processes at one task, as torchrun starts them, or the only one there is."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist

__all__ = ["Leaving", "Stopwatch", "device_note", "gather", "joined", "rank", "wait", "world"]


def world() -> int:
    """How many processes work together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is; 0 is the one that writes."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def device_note() -> str:
    """A sentence for the top of a chapter: what it runs on, and how to get a GPU."""
    if torch.cuda.is_available():
        return f"This chapter runs on a GPU, {torch.cuda.get_device_name()}."
    return (
        "This chapter runs on the CPU, which is enough. For a GPU on Colab: Runtime, Change "
        "runtime type, T4 GPU; then run all cells again."
    )


@contextmanager
def joined(device: str | None = None) -> Iterator[torch.device]:
    """Join the processes that torchrun started, if it did; the device that is this one's.

    Args:
        device: by default the GPU of this process's number, or else the CPU.

    Raises:
        ValueError: a device that torch does not know, or that is not there.
    """
    local = int(os.environ.get("LOCAL_RANK", 0))
    if device is None:
        device = f"cuda:{local}" if torch.cuda.is_available() else "cpu"
    try:
        own = torch.device(device)
        torch.empty(0, device=own)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"device must be one that torch finds here, such as cpu or cuda, got {device}"
        ) from error
    if own.type == "cuda":
        torch.cuda.set_device(own)
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield own
        return
    dist.init_process_group("nccl" if own.type == "cuda" else "gloo")
    try:
        yield own
    finally:
        dist.destroy_process_group()


def wait() -> None:
    """Until every process is here."""
    if world() > 1:
        dist.barrier()


def gather(value: Any) -> list[Any]:
    """The value of every process, by their number, in each of them; tensors on the CPU, please."""
    values: list[Any] = [value]
    if world() > 1:
        values = [None] * world()
        dist.all_gather_object(values, value)
    return values


class Stopwatch:
    """Seconds of the work within it, all together: `with watch: ...`.

    A GPU is still at work when the block has ended; there it is asked what it took, in the end.

    Args:
        device: which does the work.
    """

    def __init__(self, device: torch.device):
        self.device, self.gpu = device, device.type == "cuda"
        self.clear()

    def clear(self) -> None:
        self.spans: list[tuple[Any, Any]] = []

    def __enter__(self) -> None:
        self.start = self._now()

    def __exit__(self, *_: object) -> None:
        self.spans.append((self.start, self._now()))

    def _now(self) -> Any:
        if not self.gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    @property
    def seconds(self) -> float:
        if not self.gpu:
            return float(sum(end - start for start, end in self.spans))
        if self.spans:
            self.spans[-1][1].synchronize()
        return float(sum(start.elapsed_time(end) for start, end in self.spans)) / 1000


class Leaving:
    """Within it, Ctrl-C and SIGTERM first keep what was done, and then are a KeyboardInterrupt.

    A second one interrupts at once. Handlers other than Python's own are left alone, and in
    another thread than the main one nothing is changed.

    Args:
        keep: writes what there is; called between pieces of work alone.
    """

    def __init__(self, keep: Callable[[], None]):
        self.keep, self.busy, self.asked = keep, False, 0.0
        self.before: dict[int, Any] = {}

    def __enter__(self) -> "Leaving":
        own = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
        if threading.current_thread() is threading.main_thread():
            for number, handler in own.items():
                if signal.getsignal(number) == handler:
                    self.before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number, handler in self.before.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, handler)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """A piece of work that is done to its end: a signal in it waits."""
        self.busy = True
        try:
            yield
        finally:
            self.busy = False
        if self.asked:
            self._leave()

    def _handle(self, number: int, frame: object) -> None:
        now = time.monotonic()
        if not self.asked:
            self.asked = now
            if not self.busy:
                self._leave()
        # Of several processes each hears from torchrun what the terminal has told it already.
        elif world() == 1 or now - self.asked > 1:
            raise KeyboardInterrupt

    def _leave(self) -> None:
        try:
            self.keep()
        finally:
            self.asked = 0.0
        raise KeyboardInterrupt
