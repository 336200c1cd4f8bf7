"""A GPU that is not there: tensors remember that they were put on it, and what a GPU refuses fails.

Within `Gpu()`, torch says that there is one. Everything is computed on the CPU, but a tensor that
was moved to "cuda", or made there or from such ones, says so when it is asked, may not meet one
that was not, and may not become an array. So code that forgets to move something, or to bring it
back, fails here as it does there. Speed, memory, rounding and waits are those of the CPU;
autocast does nothing, generators give the CPU's numbers, and nothing is captured.
"""

from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ddpm_lite import training
from ddpm_lite.system import device as devices
from ddpm_lite.system import replay
from tests.tape import Tape

NAME = "a GPU that is not there"
GPU, CPU = torch.device("cuda", 0), torch.device("cpu")
MOVES = {Tensor.to, Tensor.cpu, Tensor.cuda}
# Functions that may meet tensors of both: they copy, or only look at one of them.
MEET = {
    Tensor.copy_,
    Tensor.data.__set__,  # type: ignore[attr-defined]
    Tensor.grad.__set__,  # type: ignore[attr-defined]
    torch._has_compatible_shallow_copy_type,
}
# Functions that refuse single numbers of another device too.
STRICT = {torch.stack, torch.cat, torch.concat, torch.concatenate}
# What reads the name of a device, and makes no tensor.
NAMES = {torch.device, torch._C._nn._parse_to}
# What brings numbers to Python by way of the CPU's memory.
ARRAYS = {Tensor.numpy, Tensor.__array__}


class Elsewhere(RuntimeError):
    """Two tensors on two devices, in the words of torch."""

    def __init__(self, name: str):
        super().__init__(f"{name}: expected all tensors to be on the same device, got cuda and cpu")


class WrongGenerator(RuntimeError):
    """A generator of one device, asked for numbers on another, in the words of torch."""

    def __init__(self, wanted: torch.device, found: torch.device):
        super().__init__(
            f"Expected a '{wanted.type}' device type for generator but found '{found.type}'"
        )


# The memory of every tensor on the GPU, by its address. It is held until the GPU is gone, so that
# no address comes to mean another.
_memory: dict[int, Any] = {}


def is_there(x: Any) -> bool:
    """Whether a tensor was put on the GPU."""
    with torch._C.DisableTorchFunction():
        return isinstance(x, Tensor) and x.untyped_storage()._cdata in _memory


def put_there(x: Any) -> Any:
    """Remember that this tensor is on the GPU; so are all that share its memory."""
    if isinstance(x, Tensor):
        with torch._C.DisableTorchFunction():
            storage = x.untyped_storage()
            _memory[storage._cdata] = storage
    return x


def is_gpu(x: Any) -> bool:
    """Whether this names the GPU, as a device or in words."""
    named = isinstance(x, str) and x.partition(":")[0] == "cuda"
    return named or (isinstance(x, torch.device) and x.type == "cuda")


def leaves_of(x: Any) -> list[Any]:
    """What lies in tuples, lists and dicts; torch's own way of finding it takes far longer."""
    if isinstance(x, tuple | list):
        return [leaf for part in x for leaf in leaves_of(part)]
    if isinstance(x, dict):
        return [leaf for part in x.values() for leaf in leaves_of(part)]
    return [x]


def mapped(function: Callable[[Any], Any], x: Any) -> Any:
    """The same tuples, lists and dicts with another leaf for each."""
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return type(x)(*[mapped(function, part) for part in x])
    if type(x) in (tuple, list):
        return type(x)([mapped(function, part) for part in x])
    if type(x) is dict:
        return {key: mapped(function, part) for key, part in x.items()}
    if isinstance(x, tuple):  # what torch returns, named but no namedtuple
        return type(x)([mapped(function, part) for part in x])
    return function(x)


class Placed(TorchFunctionMode):
    """Keeps account of where every tensor is."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func == Tensor.device.__get__:  # type: ignore[attr-defined]
            return GPU if is_there(args[0]) else func(*args)
        if func == Tensor.is_cuda.__get__:  # type: ignore[attr-defined]
            return is_there(args[0])
        if func in NAMES:
            return func(*args, **kwargs)
        if func in MOVES:
            return _move(func, args, kwargs)
        leaves = leaves_of((args, kwargs))
        there = [is_there(x) for x in leaves if isinstance(x, Tensor)]
        if func in ARRAYS and any(there):
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        _check_meeting(func, args, leaves)
        asked = any(map(is_gpu, leaves))
        _check_generators(leaves, asked or any(there))
        args, kwargs = mapped(lambda x: CPU if is_gpu(x) else x, (args, kwargs))
        found = func(*args, **kwargs)
        if func in MEET:
            return found
        return mapped(put_there, found) if asked or any(there) else found


def _check_meeting(func: Any, args: Any, leaves: list[Any]) -> None:
    name = getattr(func, "__name__", str(func))
    if func in (Tensor.__getitem__, Tensor.__setitem__):
        chosen = [x for x in leaves_of(args[1]) if isinstance(x, Tensor)]
        if not is_there(args[0]) and any(map(is_there, chosen)):
            raise Elsewhere(name)
        # Without a tensor among the indices it is a copy, which may come from anywhere.
        given = args[2] if func is Tensor.__setitem__ and chosen else None
        if isinstance(given, Tensor) and given.ndim and is_there(given) != is_there(args[0]):
            raise Elsewhere(name)
        return
    if func in MEET:
        return
    sized = [is_there(x) for x in leaves if isinstance(x, Tensor) and (x.ndim or func in STRICT)]
    every = [is_there(x) for x in leaves if isinstance(x, Tensor)]
    if len(set(sized)) > 1 or (any(every) and sized and not any(sized)):
        raise Elsewhere(name)


def _check_generators(leaves: list[Any], there: bool) -> None:
    for x in leaves:
        if isinstance(x, torch.Generator) and (x.device.type == "cuda") != there:
            raise WrongGenerator(GPU if there else CPU, x.device)


def _move(func: Any, args: Any, kwargs: Any) -> Any:
    """A copy on the other device, or what was there before."""
    x, *rest = args
    there, wanted = is_there(x), is_there(x)
    for given in (*rest, *kwargs.values()):
        if isinstance(given, str | torch.device):
            wanted = is_gpu(given)
        elif isinstance(given, Tensor):
            wanted = is_there(given)
    if func is not Tensor.to:
        wanted = func is Tensor.cuda
        found = x
    else:
        rest, kwargs = mapped(lambda v: CPU if is_gpu(v) else v, (rest, kwargs))
        found = func(x, *rest, **kwargs)
    if wanted != there and found.untyped_storage()._cdata == x.untyped_storage()._cdata:
        found = found.clone()
    return put_there(found) if wanted else found


class _Generator(torch.Generator):
    """One of the CPU's that says where it was asked for."""

    def __new__(cls, device: Any = "cpu") -> "_Generator":
        made = super().__new__(cls, "cpu")
        made.where = GPU if is_gpu(device) else CPU
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self.where


class _Event:
    def __init__(self, enable_timing: bool = False):
        pass

    def record(self, stream: Any = None) -> None:
        pass

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, other: Any) -> float:
        return 1.0


def _of(device: torch.device) -> devices.Device:
    if device.type != "cuda":
        return devices.Device(device.type)
    return devices.Device("cuda", NAME, (9, 0), 8e10, 8e10, bfloat16=True)


class Gpu:
    """Within it there is a GPU, as far as code can tell that never asks how fast it was."""

    def __enter__(self) -> "Gpu":
        fork = torch.random.fork_rng
        answers = {
            "is_available": lambda: True,
            "device_count": lambda: 1,
            "current_device": lambda: 0,
            "get_device_name": lambda device=None: NAME,
            "max_memory_allocated": lambda device=None: 1_000_000_000,
            "synchronize": lambda device=None: None,
            "current_stream": lambda device=None: None,
            "is_current_stream_capturing": lambda: False,
            "empty_cache": lambda: None,
            "Event": _Event,
        }
        self.patches = [mock.patch.object(torch.cuda, k, v) for k, v in answers.items()]
        others: list[tuple[Any, str, Any]] = [
            (torch, "Generator", _Generator),
            (torch.random, "fork_rng", lambda devices=(), **_: fork([])),
            (torch, "autocast", lambda kind, *how: _Nothing()),
            (torch, "compile", _compile),
            (torch, "is_autocast_enabled", lambda kind=None: False),
            (devices.Device, "of", staticmethod(_of)),
            (replay, "CudaGraphs", Tape),
            (training, "CudaGraphs", Tape),
        ]
        self.patches += [mock.patch.object(*other) for other in others]
        for patch in self.patches:
            patch.start()
        self.mode = Placed()
        self.mode.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.mode.__exit__(*error)
        for patch in reversed(self.patches):
            patch.stop()
        replay._recordings.clear()
        _memory.clear()


class _Nothing:
    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def _compile(network: Any, **how: Any) -> Any:
    """Compiling takes a minute: here the network stays as it is."""
    return network
