"""A function of tensors whose launches are recorded once and played again.

On a GPU a small network spends its time in Python and in launching its kernels, not in them. CUDA
graphs record the launches; playing them is one call. What is played reads and writes the same
memory each time: inputs are copied in, and results are copied out.
"""

import os
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ddpm_lite.system.device import Device, records

__all__ = ["CudaGraphs", "DeviceLost", "Recorder", "Replay", "played"]

Values = tuple[Tensor | None, ...]
Function = Callable[..., Values]
WARM_UPS = 3  # calls before a recording, in which libraries choose their algorithms
KEPT = 4  # recordings of one function; each holds memory of its own
# Between what is played and what is called: kernels may add in another order, in halves as well. Of
# all results together, and of each by itself, unless it is next to nothing and hence only rounding.
APART, EACH_APART, NOTHING = 0.05, 0.5, 1e-3


# Held while anything is recorded or played: torch records for a whole device, and what is played
# reads and writes the same memory each time.
_one_at_a_time = threading.RLock()


class DeviceLost(Exception):
    """A recording failed and torch cannot use the device any more: a new process has to."""


@runtime_checkable
class Recorder(Protocol):
    """What records. `CudaGraphs` does; tests have one that needs no GPU."""

    def record(self, function: Function, inputs: Values) -> tuple[Values, Callable[[], None]]:
        """Where the results of the function will lie, and what fills them.

        The second computes them from what the inputs hold when it is called, in the same memory.
        """
        ...


class CudaGraphs:
    """Records on a CUDA device; torch's own random numbers are left as they were.

    While it records, no other thread may draw random numbers there.

    Args:
        device: where all tensors of the function are.

    Raises:
        DeviceLost: the recording failed and left torch unable to draw random numbers.
    """

    def __init__(self, device: torch.device):
        self.device = device

    def record(self, function: Function, inputs: Values) -> tuple[Values, Callable[[], None]]:
        """See `Recorder`."""
        with torch.cuda.device(self.device), torch.random.fork_rng([self.device]):
            here, aside = torch.cuda.current_stream(), torch.cuda.Stream()
            aside.wait_stream(here)
            with torch.cuda.stream(aside):
                for _ in range(WARM_UPS):
                    function(*inputs)
            here.wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            try:
                # What other threads launch meanwhile is none of the recording's.
                with torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local"):
                    results = function(*inputs)
            except BaseException as error:
                self._put_back(here, error)
                raise
        return results, graph.replay

    def _put_back(self, stream: Any, error: BaseException) -> None:
        """A failed recording may leave its stream in use, and its generator waiting for an end."""
        torch.cuda.set_stream(stream)
        try:
            torch.randn(1, device=self.device)
        except RuntimeError:
            raise DeviceLost(
                "a recording of launches failed and left the GPU unusable: start again without "
                f"replay and without DDPM_LITE_REPLAY; {error}"
            ) from error


@dataclass
class _Recording:
    """Where a recording reads its inputs and writes its results."""

    inputs: Values
    results: Values
    play: Callable[[], None]
    proven: bool = False


class Replay:
    """Calls a function by playing its recording; there is one for each form of its inputs.

    A form is recorded when it comes for the second time: what comes once, such as the rest of a
    set, is only called. The last few recordings are kept. The function must launch the same for
    all values of its inputs, and read nothing else but `weights`. Each recording is played once
    beside a plain call before its results are used, and again where they have overflowed and say
    nothing; where it cannot be made, or says something else, the function is called from then on,
    with a warning. Threads take turns.

    Args:
        function: tensors, or None -> a tuple of them.
        recorder: who records.
        weights: what else the function reads; where one has moved, recordings are made anew.
        copied: so many results, the first, are copies; the others lie in memory that the next call
            overwrites. All are copies by default.
    """

    def __init__(
        self,
        function: Function,
        recorder: Recorder,
        weights: tuple[Tensor, ...] = (),
        copied: int | None = None,
    ):
        self.function, self.recorder = function, recorder
        self.weights, self.copied = weights, copied
        self.places: list[int] = []
        # By form, the one used last at the end; None for a form that has come once.
        self.recordings: dict[Any, _Recording | None] = {}
        self.works = True

    def __call__(self, *inputs: Tensor | None) -> Values:
        """What the function returns for these inputs."""
        with _one_at_a_time:
            recording = self._recording(inputs)
            if recording is None:
                return self.function(*inputs)
            for held, given in zip(recording.inputs, inputs, strict=True):
                if held is not None and given is not None:
                    held.copy_(given)
            if not recording.proven and not self._prove(recording):
                return self.function(*inputs)
            recording.play()
            n = len(recording.results) if self.copied is None else self.copied
            return *map(_copy, recording.results[:n]), *recording.results[n:]

    def _recording(self, inputs: Values) -> _Recording | None:
        """That of these inputs' form, made when it is due."""
        if not self.works:
            return None
        places = [w.data_ptr() for w in self.weights]
        if places != self.places:
            self.places, self.recordings = places, {}
        form = tuple(x if x is None else (x.shape, x.stride(), x.dtype, x.device) for x in inputs)
        new = form not in self.recordings
        recording = self.recordings.pop(form, None)
        while len(self.recordings) >= KEPT:  # lets go of one before another is made
            del self.recordings[next(iter(self.recordings))]
        if not new and recording is None:
            recording = self._record(inputs)
        if self.works:
            self.recordings[form] = recording
        return recording

    def _record(self, inputs: Values) -> _Recording | None:
        gradients = torch.is_grad_enabled()
        # What is made in inference mode could not be written to outside of it.
        with torch.inference_mode(False), torch.set_grad_enabled(gradients):
            held = tuple(map(_copy, inputs))
            try:
                return _Recording(held, *self.recorder.record(self.function, held))
            except RuntimeError as error:
                self._give_up(error, stacklevel=6)
                return None

    def _prove(self, recording: _Recording) -> bool:
        """Whether a recording says what the function says; it is not asked again then."""
        try:
            self._compare(recording)
        except RuntimeError as error:
            self._give_up(error, stacklevel=5)
        return self.works

    def _give_up(self, error: RuntimeError, stacklevel: int) -> None:
        self.works, self.recordings = False, {}
        reason = str(error).partition("\n")[0]
        warnings.warn(f"goes on without a recording of launches: {reason}", stacklevel=stacklevel)

    def _compare(self, recording: _Recording) -> None:
        """Play the recording, and call the function, from the same random numbers.

        Raises:
            RuntimeError: the results differ.
        """
        inputs = recording.inputs
        devices = {x.device for x in inputs if x is not None and x.device.type == "cuda"}
        with torch.random.fork_rng(list(devices)):
            # Copies: a function that adds to what it has left would write where it was recorded.
            called = [*map(_copy, self.function(*inputs))]
        with torch.random.fork_rng(list(devices)):
            recording.play()
        same = True
        apart: list[float] = []
        size: list[float] = []
        for one, other in zip(called, recording.results, strict=True):
            if one is None or other is None:
                same &= one is other
            elif (one.shape, one.dtype) != (other.shape, other.dtype):
                same = False
            else:
                # A scaled loss overflows at first, on either way.
                one, other = (x.detach().double().nan_to_num(0, 0, 0) for x in (one, other))
                apart.append((one - other).square().sum().item())
                size.append(one.square().sum().item())
        least = NOTHING**2 * sum(size)
        each = (a <= max(EACH_APART**2 * b, least) for a, b in zip(apart, size, strict=True))
        if not (same and sum(apart) <= APART**2 * sum(size) and all(each)):
            raise RuntimeError("what was recorded differs from what is called")
        recording.proven = sum(size) > 0  # else all has overflowed, and nothing was compared


class _Played:
    """A network that is asked by a recording, where it would be asked without gradients."""

    def __init__(self, network: nn.Module, replay: Replay):
        self.network, self.replay = network, replay
        self.device, self.dtype = replay.weights[0].device, replay.weights[0].dtype

    def __call__(
        self,
        xt: Tensor,
        t: Tensor,
        x0_hat: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> Any:
        xt = xt.to(self.dtype)
        other = self.network.training or torch.is_grad_enabled() or xt.device != self.device
        # Autocast keeps copies of weights for later, which a recording would read when they are
        # gone; and what is being recorded already is only called.
        if other or torch.is_autocast_enabled(self.device.type) or _is_recording(self.device):
            return self.network(xt, t, x0_hat, labels)
        return self.replay(xt, t, x0_hat, labels)[0]


def _is_recording(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


def _copy(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.clone()


# Of each network, while there is one: chains of samples come and go.
_recordings: WeakKeyDictionary[nn.Module, Replay] = WeakKeyDictionary()


def played(network: Any) -> Any:
    """The network, or, where that pays, one with the same answers that plays its launches.

    It may pay on a CUDA device, and is done where the environment has DDPM_LITE_REPLAY=1: no GPU
    has measured it yet. Only a network that says so, by `recordable = True`, launches the same
    whatever its inputs hold; and hooks in it would be silent.
    """
    if isinstance(network, AveragedModel):
        network = network.module
    if not isinstance(network, nn.Module) or not getattr(network, "recordable", False):
        return network
    device = next(network.parameters()).device
    if not records(Device.of(device), os.environ.get("DDPM_LITE_REPLAY") == "1"):
        return network
    for part in network.modules():
        if part._forward_hooks or part._forward_pre_hooks:
            return network
    weights = (*network.parameters(), *network.buffers())
    known = _recordings.get(network)
    # A recording goes on reading the weights that it was made with; `assign=True` puts in others.
    if known is None or list(map(id, known.weights)) != list(map(id, weights)):
        found: Any = ref(network)  # a strong one would keep the network for ever
        _recordings[network] = Replay(
            lambda *inputs: (found()(*inputs),), CudaGraphs(device), weights
        )
    return _Played(network, _recordings[network])
