"""A recorder that needs no GPU. As a CUDA graph does, it launches again what was launched once."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

CPU = torch.device("cpu")


class Tape:
    """Plays the operations of one call, and lays what they give into the memory of before.

    What Python decided while recording stays decided, and its numbers stay as they were: a function
    that asks its inputs what to do plays what it did then. Recording computes nothing that may be
    used: the results are NaN until they are played.

    Args:
        device: where the function's tensors are said to be. A function that reads a number back
            from another device than the CPU, for which a GPU would wait, is not recorded.
    """

    def __init__(self, device: Any = CPU):
        self.recorded = self.played = 0
        self.waits = device.type == "cpu"

    def record(self, function: Callable[..., Any], inputs: Any) -> tuple[Any, Callable[[], None]]:
        self.recorded += 1
        with torch.random.fork_rng([]):
            traced = make_fx(
                lambda *given: function(*given), _error_on_data_dependent_ops=not self.waits
            )
            operations = traced(*inputs)
            given = function(*inputs)
            # A result that is an input is copied, for an input is not to be spoilt.
            own = [x.detach().clone() if any(x is i for i in inputs) else x for x in given]
            results = tuple(x if x is None else _spoilt(x.detach()) for x in own)

        def play() -> None:
            self.played += 1
            # Where tensors are was looked at while recording.
            with torch.no_grad(), torch._C.DisableTorchFunction():
                for held, now in zip(results, operations(*inputs), strict=True):
                    if held is not None and now is not held:
                        held.copy_(now)

        return results, play


def _spoilt(x: Tensor) -> Tensor:
    return x.fill_(torch.nan)
