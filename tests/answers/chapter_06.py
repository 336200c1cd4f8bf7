"""Answers to the exercises of chapter 6."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ddpm_lite import GaussianDiffusion, NoiseSchedule


def by_precision(s: NoiseSchedule, early: int, late: int) -> tuple[Tensor, ...]:
    """Two measurements of x_s, each with its precision."""
    keep = s.alpha[early + 1 : late + 1].prod()
    from_start, from_end = 1 / (1 - s.alpha_bar[early]), keep / (1 - keep)
    total = from_start + from_end
    of_x0 = from_start * s.alpha_bar[early].sqrt() / total
    return of_x0, from_end / keep.sqrt() / total, 1 / total


def by_total_variance(s: NoiseSchedule, t: int, std: float) -> Tensor:
    """beta_tilde, and the spread of mu_tilde over the images that x_t leaves open."""
    a = s.alpha_bar[t]
    open_still = std**2 * (1 - a) / (a * std**2 + 1 - a)
    one, zero = torch.ones(1, 1).double(), torch.zeros(1, 1).double()
    of_x0 = GaussianDiffusion(s).q_posterior(one, zero, t)[0].item()
    return s.beta_tilde[t] + of_x0**2 * open_still


def wrong_step(s: NoiseSchedule, early: int, late: int, beta: Tensor) -> tuple[Tensor, ...]:
    now, before = s.alpha_bar[late], s.alpha_bar[early]
    return (
        before.sqrt() * beta / (1 - now),
        (1 - beta).sqrt() * (1 - before) / (1 - now),
        (1 - before) / (1 - now) * beta,
    )


def seen(s: NoiseSchedule, t: int, before: Tensor) -> Tensor:
    return 1 / (1 / before + s.alpha[t] / s.beta[t])


RIGHT: dict[str, Callable[..., Any]] = {
    "6.2": by_precision,
    "6.3": by_total_variance,
}
WRONG: list[tuple[str, Any, str]] = [
    ("6.2", lambda s, a, b: wrong_step(s, a, b, s.beta[b]), "beta_t is one step's"),
    ("6.2", lambda s, a, b: wrong_step(s, b - 1, b, s.beta[b]), "the step to t - 1"),
    (
        "6.2",
        lambda s, a, b: wrong_step(s, a, b, s.alpha_bar[b] / s.alpha_bar[a]),
        "what the steps keep",
    ),
    (
        "6.2",
        lambda s, a, b: (*by_precision(s, a, b)[:2], by_precision(s, a, b)[2].sqrt()),
        "not the standard deviation",
    ),
    ("6.2", lambda s, a, b: by_precision(s, a, b)[:2], "Return three numbers"),
    ("6.3", lambda s, t, std: s.beta_tilde[t], "for one point only"),
    ("6.3", lambda s, t, std: s.beta[t], "for N(0, 1) only"),
    (
        "6.3",
        lambda s, t, std: seen(s, t, s.alpha_bar[t - 1] * std + 1 - s.alpha_bar[t - 1]),
        "square it",
    ),
    (
        "6.3",
        lambda s, t, std: seen(s, t, s.alpha_bar[t] * std**2 + 1 - s.alpha_bar[t]),
        "takes x_t for x_{t-1}",
    ),
    (
        "6.3",
        lambda s, t, std: std**2 * s.beta[t] + (1 - std**2) * s.beta_tilde[t],
        "no mixture of the two",
    ),
    (
        "6.3",
        lambda s, t, std: s.alpha_bar[t - 1] * (std**2 - 1) + 1,
        "before x_t was seen",
    ),
    ("6.3", lambda s, t, std: by_total_variance(s, t, std).sqrt(), "return its square"),
    (
        "6.3",
        lambda s, t, std: by_total_variance(s, t, max(std, 0.1)),
        "compare with the formula",
    ),
]
