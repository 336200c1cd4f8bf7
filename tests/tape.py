"""A recorder that needs no GPU; unlike a CUDA graph, it calls the function again at each play."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Tape:
    """Plays by calling the function again, and lays what it returns into the memory of before.

    Recording computes nothing that may be used: the results are NaN until they are played. What
    the function returned at a play is spoilt after it was laid down, so that nothing can hold it.
    """

    def __init__(self, device: Any = None):
        self.recorded = self.played = 0
        self.random: list[Tensor] = []

    def record(self, function: Callable[..., Any], inputs: Any) -> tuple[Any, Callable[[], None]]:
        self.recorded += 1
        gradients = torch.is_grad_enabled()
        with torch.random.fork_rng([]):
            results = tuple(x if x is None else _spoilt(x.detach()) for x in function(*inputs))

        def play() -> None:
            self.played += 1
            with torch.set_grad_enabled(gradients):
                for held, now in zip(results, function(*inputs), strict=True):
                    if held is not None and now is not held:
                        held.copy_(now.detach())
                        _spoilt(now.detach())

        return results, play


def _spoilt(x: Tensor) -> Tensor:
    return x.fill_(torch.nan)
