"""Answers to the exercises of chapter 9."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ddpm_lite import GaussianDiffusion, NoiseSchedule, Oracle


def step(
    s: NoiseSchedule, xt: Tensor, eps_hat: Tensor, z: Tensor, t: int, **changes: Any
) -> Tensor:
    """One step by the package, which the book's solution does not use."""
    diffusion = GaussianDiffusion(s, variance=changes.get("variance", "beta_tilde"))
    out = diffusion.p_from_output(eps_hat, xt, t, clip=changes.get("clip", True))
    return diffusion.p_draw(out, t, z)


def end_std(s: NoiseSchedule, spread: float, last: float = 0.0, share: float = 1.0) -> Tensor:
    """The slopes by the oracle itself, and each step's noise carried to the end on its own."""
    oracle = Oracle(s, torch.zeros(1, 1, dtype=torch.float64), spread)
    diffusion, one = GaussianDiffusion(s), torch.ones(1, 1, dtype=torch.float64)
    slopes = [diffusion.p_mean_variance(oracle, one, t, clip=False).mean for t in range(1, s.T + 1)]
    through = torch.cat([one[0], torch.cat(slopes)[:, 0]]).cumprod(0)  # from x_t to x_0
    noise = torch.cat([s.beta[1:2] * last, share * s.beta[2:], torch.ones(1)])
    return (through**2 * noise).sum().sqrt()


RIGHT: dict[str, Callable[..., Any]] = {
    "9.2": step,
    "9.3": end_std,
}
WRONG: list[tuple[str, Any, str]] = [
    ("9.2", lambda *a: step(*a, clip=False), "The guess is not clipped"),
    ("9.2", lambda *a: step(*a, clip=False).clamp(-1, 1), "Clip the guess, not the result"),
    ("9.2", lambda *a: step(*a, variance="beta"), "variance beta_tilde, not beta"),
    (
        "9.2",
        lambda s, x, e, z, t: step(s, x, e, s.beta_tilde[t].sqrt() * z, t),
        "multiply z by its root",
    ),
    ("9.2", lambda s, x, e, z, t: step(s, x, e, 0 * z, t), "The noise z is missing"),
    (
        "9.2",
        lambda s, x, e, z, t: GaussianDiffusion(s).p_from_output(e, x, t).x0_hat,
        "not the guess",
    ),
    ("9.2", lambda s, x, e, z, t: z[0], "Expected shape"),
    ("9.3", lambda s, spread: end_std(s, spread) ** 2, "take its root"),
    ("9.3", lambda s, spread: end_std(s, spread, last=1.0), "no noise in the last step"),
    ("9.3", lambda s, spread: end_std(s, spread, share=0.0), "The noise is missing"),
    ("9.3", lambda s, spread: spread, "close to it, not equal"),
    ("9.3", lambda s, spread: s.beta, "Return one number"),
]
