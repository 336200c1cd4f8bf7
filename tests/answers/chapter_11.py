"""Answers to the exercises of chapter 11."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ddpm_lite import TrainConfig
from ddpm_lite.training import TrainState


def share(
    decay: float, n: int, first: int = 1, last: int = 0, rule: Callable[..., float] = min
) -> float:
    """An average of one weight that is one in the copy and zero from then on, step by step."""
    average = 1.0
    for step in range(first + 1, n + last + 1):
        average += (1 - rule(decay, (1 + step) / (10 + step))) * (0.0 - average)
    return average


def share_by_train(decay: float, n: int) -> float:
    """The same by the average that `train` keeps."""
    model = nn.Linear(1, 1, bias=False).double()
    state = TrainState(model, TrainConfig(ema_decay=decay))
    for step in range(1, n + 1):
        nn.init.constant_(model.weight, float(step == 1))
        state.step = step
        state.average()
    return state.ema.module.weight.item()


def parts(batch: int, fits: int) -> int:
    """From the largest part that fits downwards."""
    return batch // max(size for size in range(1, min(batch, fits) + 1) if batch % size == 0)


def by_the_scaler(scale: float, finite: list[bool], growth: int = 2000) -> float:
    """Torch's own scaler, shown gradients that are finite or not."""
    scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=growth)
    weight = nn.Parameter(torch.ones(1))
    sgd = torch.optim.SGD([weight], lr=0.0)
    for fine in finite:
        sgd.zero_grad()
        scaler.scale(weight.sum() * (1.0 if fine else float("inf"))).backward()
        scaler.step(sgd)
        scaler.update()
    return scaler.get_scale()


def counted(scale: float, finite: list[bool], growth: int, **mistake: Any) -> float:
    """A scaler with one mistake."""
    count = 0
    for fine in finite:
        count = count + 1 if fine else mistake.get("after_bad", 0) and count
        if not fine:
            scale *= mistake.get("bad", 0.5)
        elif count >= growth:
            scale *= mistake.get("good", 2.0)
            count = count if mistake.get("never_again") else 0
    return scale


RIGHT: dict[str, Callable[..., Any]] = {
    "11.1": share_by_train,
    "11.2": lambda batch, fits, lr: (parts(batch, fits), lr),
    "11.3": by_the_scaler,
}
WRONG: list[tuple[str, Any, str]] = [
    ("11.1", lambda d, n: d ** (n - 1), "The ramp is missing"),
    ("11.1", lambda d, n: share(d, n, rule=lambda _, ramp: ramp), "the ramp alone"),
    ("11.1", lambda d, n: share(d, n, rule=max), "take the smaller"),
    ("11.1", lambda d, n: share(d, n, first=0), "the first share is that of step 2"),
    ("11.1", lambda d, n: share(d, n, last=1), "One step too many"),
    ("11.1", lambda d, n: 1 - share(d, n), "everything but the copy"),
    ("11.1", lambda d, n: min(d, (1 + n) / (10 + n)) if n > 1 else 1.0, "multiply over all"),
    ("11.1", lambda d, n: 0.5, "The numbers are off"),
    ("11.2", lambda batch, fits, lr: parts(batch, fits), "Return two numbers"),
    ("11.2", lambda batch, fits, lr: (batch // parts(batch, fits), lr), "the number of parts"),
    ("11.2", lambda batch, fits, lr: (-(-batch // fits), lr), "do not divide"),
    ("11.2", lambda batch, fits, lr: (1, lr), "larger than"),
    ("11.2", lambda batch, fits, lr: (batch, lr), "fewer than"),
    (
        "11.2",
        lambda batch, fits, lr: (parts(batch, fits), lr / parts(batch, fits)),
        "averaged already",
    ),
    ("11.2", lambda batch, fits, lr: (parts(batch, fits), lr * parts(batch, fits)), "same rate"),
    ("11.3", lambda *a: counted(*a, bad=2.0, good=0.5), "halve it then"),
    ("11.3", lambda *a: counted(*a, after_bad=True), "come in a row"),
    ("11.3", lambda *a: counted(*a, never_again=True), "the count begins again"),
    ("11.3", lambda scale, finite, growth: counted(scale, finite, 1), "takes `growth` of them"),
    ("11.3", lambda *a: counted(*a, good=1.0), "It also grows"),
    ("11.3", lambda *a: counted(*a, bad=1.0), "is halved"),
]
