"""Checkers for the exercises of chapter 3."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ddpm_lite.checks.wrong import Wrong, expect_close, expect_given
from ddpm_lite.diffusion import GaussianDiffusion, Model
from ddpm_lite.gaussian import gaussian_nll
from ddpm_lite.schedule import linear_schedule

__all__ = ["CHECKERS"]


def one_peak(answer: Callable[[float, float], float]) -> None:
    """3.3: the largest beta at which the step back from x_t = 0 has one peak."""
    expect_given(answer)
    for _ in range(2):
        m = 0.6 + 0.3 * torch.rand(()).item()
        s = 0.15 + 0.1 * torch.rand(()).item()
        b = s**4 / (m**2 - s**2)
        mistaken = s**2 / (m**2 - s)
        expect_close(
            answer(m, s),
            b / (1 + b),
            {
                "That is b, the variance of the bump around x_t / sqrt(1 - beta). Which beta has "
                "b = beta / (1 - beta)?": b,
                "s is a standard deviation; the variance of a peak is its square.": (
                    mistaken / (1 + mistaken)
                ),
                "Each peak is curved too: its own -1 / s^2 belongs to the second derivative.": (
                    s**4 / m**2 / (1 + s**4 / m**2)
                ),
            },
        )


def log_joint(answer: Callable[[GaussianDiffusion, Model, list[Tensor]], Tensor]) -> None:
    """3.4: log p_theta(x_{0:T}) of each path."""
    expect_given(answer)
    for T in (3, 6):
        diffusion = GaussianDiffusion(linear_schedule(T, 0.05, 0.5))
        path = list(torch.randn(T + 1, 4, 2, dtype=torch.float64))
        slope = torch.rand(()).item()

        def model(xt: Tensor, t: Tensor, slope: float = slope) -> Tensor:
            return slope * xt + t.to(xt).view(-1, 1) / 10

        prior = -gaussian_nll(path[-1], torch.zeros_like(path[-1]), torch.ones(()).double())
        steps, backwards, by_variance = [], [], []
        for t in range(1, T + 1):
            out = diffusion.p_mean_variance(model, path[t], t, clip=False)
            steps.append(-gaussian_nll(path[t - 1], out.mean, out.variance))
            by_variance.append(-gaussian_nll(path[t - 1], out.mean, out.variance**2))
            out = diffusion.p_mean_variance(model, path[t - 1], t, clip=False)
            backwards.append(-gaussian_nll(path[t], out.mean, out.variance))
        got = answer(diffusion, model, path)
        expect_given(got)
        if not isinstance(got, Tensor) or got.shape != (4,):
            shape = tuple(got.shape) if isinstance(got, Tensor) else type(got).__name__
            raise Wrong(f"Return a tensor with a number for each path, shape (4,), not {shape}.")
        expect_close(
            got,
            prior + sum(steps),
            {
                "The chain begins with p(x_T): its logarithm is missing.": sum(steps),
                "The variance was taken for a standard deviation.": prior + sum(by_variance),
                "A step of p goes from x_t to x_{t-1}: condition on path[t], score path[t - 1].": (
                    prior + sum(backwards)
                ),
                "One step is missing: t runs from 1 to T, both included.": prior + sum(steps[1:]),
                "The last step is missing: t runs from 1 to T, both included.": (
                    prior + sum(steps[:-1])
                ),
            },
        )


CHECKERS: dict[str, Callable[[Any], None]] = {
    "3.3": one_peak,
    "3.4": log_joint,
}
