"""Answers to the exercises of chapter 13."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ddpm_lite import GaussianDiffusion, NoiseSchedule, ddim


def even_turn(T: int, angle: float, power: float = 2.0) -> Tensor:
    """From the sum of two angles: cos(x + h) / cos(x) = cos h - sin h tan x."""
    x = torch.arange(T, dtype=torch.float64) * angle / T
    h = torch.tensor(angle / T, dtype=torch.float64)
    return 1 - (h.cos() - h.sin() * x.tan()) ** power


def kept(T: int, angle: float) -> Tensor:
    """alpha_bar_1..alpha_bar_T."""
    return (1 - even_turn(T, angle)).cumprod(0)


def weight(schedule: NoiseSchedule, t: int, gamma: float) -> Tensor:
    """The package's own, which the book's solution does not use."""
    return GaussianDiffusion(schedule, "mu").loss_weight("min_snr", gamma)[t]


def pull(schedule: NoiseSchedule, t: int, by: str = "x0") -> Tensor:
    """How far the posterior's mean goes with x_0, or with x_t."""
    one = torch.ones(1, 1, dtype=torch.float64)
    pair = (one, 0 * one) if by == "x0" else (0 * one, one)
    return GaussianDiffusion(schedule).q_posterior(*pair, t)[0].squeeze()


def jump(
    s: NoiseSchedule, xt: Tensor, eps_hat: Tensor, z: Tensor, t: int, to: int, eta: float
) -> Tensor:
    """By the package's sampler in steps to and t: its first draw is z."""

    class Drawn(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None):  # type: ignore[no-untyped-def]
            return z if func is torch.randn else func(*args, **(kwargs or {}))

    process, how = GaussianDiffusion(s), {"steps": [to, t], "clip": False, "eta": eta}
    steps = ddim(process, lambda *_: eps_hat, tuple(xt.shape), start=xt, **how)
    with Drawn():
        return next(steps).xt


def off(
    s: NoiseSchedule,
    eps_hat: Tensor,
    xt: Tensor,
    z: Tensor,
    t: int,
    to: int,
    sigma2: Callable[..., Tensor],
    **changes: float,
) -> Tensor:
    """A jump by hand, with its slips."""
    a, b = s.alpha_bar[t], s.alpha_bar[to]
    tilde = (1 - b) / (1 - a) * (1 - a / b)
    variance = sigma2(tilde, a, b)
    kept = (1 - b - changes.get("less", 1) * variance).sqrt()
    drawn = changes.get("draw", 1) * variance ** changes.get("power", 0.5)
    x0_hat = (xt - (1 - a).sqrt() * eps_hat) / a.sqrt()
    return b.sqrt() * x0_hat + kept * eps_hat + drawn * z


def slip(sigma2: Callable[..., Tensor], **changes: float) -> Callable[..., Tensor]:
    """An answer whose sigma^2 is that function of eta, tilde, a and b."""
    return lambda s, x, e, z, t, to, eta: off(
        s, e, x, z, t, to, lambda *rest: sigma2(eta, *rest), **changes
    )


def usual(eta: float, tilde: Tensor, *_: Tensor) -> Tensor:
    """The right sigma^2."""
    return eta**2 * tilde


RIGHT: dict[str, Callable[..., Any]] = {"13.2": even_turn, "13.3": weight, "13.4": jump}
WRONG: list[tuple[str, Any, str]] = [
    ("13.2", lambda T, angle: 1 - even_turn(T, angle), "Those are the alphas"),
    ("13.2", kept, "not the betas"),
    ("13.2", lambda T, angle: 1 - kept(T, angle), "the noise of all steps"),
    ("13.2", lambda T, angle: even_turn(T, angle, power=1.0), "square it"),
    ("13.2", lambda T, angle: even_turn(T, angle)[1:], "Expected shape"),
    ("13.3", lambda s, t, g: s.snr[t].clamp(max=g), "an error of x_0"),
    ("13.3", lambda s, t, g: s.snr[t].clamp(max=g) * pull(s, t) ** 2, "Divide"),
    ("13.3", lambda s, t, g: s.snr[t].clamp(max=g) / pull(s, t), "squared, so the factor"),
    ("13.3", lambda s, t, g: s.snr[t].clamp(min=g) / pull(s, t) ** 2, "not the larger"),
    ("13.3", lambda s, t, g: s.snr[t] / pull(s, t) ** 2, "not held at gamma"),
    ("13.3", lambda s, t, g: g / pull(s, t) ** 2, "gamma is a limit"),
    ("13.3", lambda s, t, g: s.snr[t].clamp(max=g) / pull(s, t, "xt") ** 2, "that of x_t"),
    ("13.4", slip(usual, less=0), "as much of the old must go"),
    ("13.4", slip(usual, power=1.0), "multiply z by it"),
    ("13.4", slip(lambda eta, tilde, *_: eta * tilde), "eta^2 the variance"),
    ("13.4", slip(lambda eta, tilde, *_: tilde), "eta is missing"),
    ("13.4", slip(usual, draw=0), "The noise z is missing"),
    ("13.4", slip(lambda eta, tilde, *_: 0 * tilde), "eta = 0"),
    ("13.4", slip(lambda eta, tilde, a, b: eta**2 * (1 - a / b)), "not from the jump's beta"),
    ("13.4", lambda s, x, e, z, t, to, eta: jump(s, x, e, z, t, to, eta) + 1, "numbers are off"),
    (
        "13.4",
        lambda s, x, e, z, t, to, eta: off(s, e, x, z, t, to, lambda *_: eta**2 * s.beta_tilde[t]),
        "belongs to one step",
    ),
]
