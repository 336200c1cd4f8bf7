"""Answers to the exercises of chapter 3."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ddpm_lite import GaussianDiffusion, gaussian_nll


def bisect(m: float, s: float) -> float:
    """Where the curvature of the step back at zero, by autograd, changes its sign."""

    def log_q(x: Tensor, beta: float) -> Tensor:
        two = torch.stack([-((x - m) ** 2), -((x + m) ** 2)]) / (2 * s**2)
        return two.logsumexp(0) - (1 - beta) * x**2 / (2 * beta)

    low, high = 1e-6, 0.9
    for _ in range(60):
        middle = (low + high) / 2
        curvature = torch.func.grad(torch.func.grad(log_q))(torch.zeros(()).double(), middle)
        low, high = (middle, high) if curvature < 0 else (low, middle)
    return low


def walk(
    first: int = 1,
    short: int = 0,
    prior: bool = True,
    power: int = 1,
    backwards: bool = False,
) -> Callable[..., Tensor]:
    def answer(diffusion: GaussianDiffusion, model: Any, path: list[Tensor]) -> Tensor:
        end = path[-1]
        total = -(end**2 + torch.tensor(2 * torch.pi).double().log()).sum(1) / 2 * prior
        for t in range(first, len(path) - short):
            given, scored = (path[t - 1], path[t]) if backwards else (path[t], path[t - 1])
            out = diffusion.p_mean_variance(model, given, t, clip=False)
            total = total - gaussian_nll(scored, out.mean, out.variance**power)
        return total

    return answer


RIGHT: dict[str, Callable[..., Any]] = {
    "3.3": bisect,
    "3.4": walk(),
}
WRONG: list[tuple[str, Any, str]] = [
    ("3.3", lambda m, s: s**4 / (m**2 - s**2), "Which beta has"),
    ("3.3", lambda m, s: 1 / (1 + (m**2 - s) / s**2), "s is a standard deviation"),
    ("3.3", lambda m, s: 1 / (1 + m**2 / s**4), "its own -1 / s^2"),
    ("3.3", lambda m, s: 0.02, "The numbers are off"),
    ("3.4", walk(prior=False), "its logarithm is missing"),
    ("3.4", walk(power=2), "taken for a standard deviation"),
    ("3.4", walk(backwards=True), "condition on path[t], score path[t - 1]"),
    ("3.4", walk(first=2), "One step is missing"),
    ("3.4", walk(short=1), "The last step is missing"),
    ("3.4", lambda d, m, p: walk()(d, m, p).sum(), "shape (4,), not ()"),
    ("3.4", lambda d, m, p: 1.0, "not float"),
    ("3.4", lambda d, m, p: -walk()(d, m, p), "The numbers are off"),
]
