"""Checkers for the exercises of chapter 9."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ddpm_lite.checks.wrong import Wrong, expect_close, expect_given
from ddpm_lite.oracle import reverse_marginals
from ddpm_lite.schedule import NoiseSchedule, cosine_schedule, linear_schedule

__all__ = ["CHECKERS"]


def clipped_step(answer: Callable[[NoiseSchedule, Tensor, Tensor, Tensor, int], Tensor]) -> None:
    """9.2: one step with a clipped guess and the variance beta_tilde."""
    expect_given(answer)
    for schedule in (linear_schedule(), cosine_schedule(200)):
        for t in (1, int(torch.randint(2, schedule.T, ()))):
            xt, eps_hat, z = torch.randn(3, 4, 1, 3, 3, dtype=torch.float64)
            kept, before = schedule.alpha_bar[t], schedule.alpha_bar[t - 1]
            noise, sigma2 = (1 - kept).sqrt(), schedule.beta_tilde[t]
            guess = (xt - noise * eps_hat) / kept.sqrt()
            held = guess.clamp(-1, 1)

            def mean(
                x0: Tensor,
                xt: Tensor = xt,
                before: Tensor = before,
                t: int = t,
                s: NoiseSchedule = schedule,
            ) -> Tensor:
                from_x0 = before.sqrt() * s.beta[t] * x0
                return (from_x0 + s.alpha[t].sqrt() * (1 - before) * xt) / (1 - s.alpha_bar[t])

            right = mean(held) + sigma2.sqrt() * z
            mistakes = {
                "The guess is not clipped.": mean(guess) + sigma2.sqrt() * z,
                "Clip the guess, not the result.": right_if_clipped(mean(guess), sigma2, z),
                "The noise has variance beta_tilde, not beta.": (
                    mean(held) + schedule.beta[t].sqrt() * z
                ),
                "beta_tilde is a variance: multiply z by its root.": mean(held) + sigma2 * z,
                "The noise z is missing.": mean(held),
                "Return x_{t-1}, not the guess at x_0.": held,
            }
            expect_close(answer(schedule, xt, eps_hat, z, t), right, mistakes)


def right_if_clipped(mean: Tensor, sigma2: Tensor, z: Tensor) -> Tensor:
    """The sample clipped in place of the guess."""
    return (mean + sigma2.sqrt() * z).clamp(-1, 1)


def end_std(answer: Callable[[NoiseSchedule, float], Any]) -> None:
    """9.3: the spread of what Algorithm 2 makes of Gaussian data."""
    expect_given(answer)
    for schedule in (linear_schedule(50, 1e-3, 0.3), cosine_schedule(30)):
        s = 0.1 + 0.8 * float(torch.rand(()))
        noise = schedule.beta.clone()
        _, noisy = reverse_marginals(schedule, noise, 0.0, s)
        noise[1] = 0
        _, variance = reverse_marginals(schedule, noise, 0.0, s)
        _, silent = reverse_marginals(schedule, noise * 0, 0.0, s)
        got = answer(schedule, s)
        expect_given(got)
        if torch.as_tensor(got).numel() != 1:
            raise Wrong(f"Return one number, not {tuple(torch.as_tensor(got).shape)} of them.")
        expect_close(
            got,
            variance[0].sqrt(),
            {
                "That is the variance; take its root at the end.": variance[0],
                "There is no noise in the last step.": noisy[0].sqrt(),
                "The noise is missing: each step adds beta_t to the variance.": silent[0].sqrt(),
                "That is the spread of the data; the samples' is close to it, not equal.": s,
            },
        )


CHECKERS: dict[str, Callable[[Any], None]] = {
    "9.2": clipped_step,
    "9.3": end_std,
}
