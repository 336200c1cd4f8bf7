"""Checkers for the exercises of chapter 13."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ddpm_lite.checks.wrong import expect_close, expect_given
from ddpm_lite.schedule import NoiseSchedule, cosine_schedule, linear_schedule

__all__ = ["CHECKERS"]


def even_turn(answer: Callable[[int, float], Tensor]) -> None:
    """13.2: the schedule whose angle grows evenly."""
    expect_given(answer)
    for T in (4, int(torch.randint(20, 100, ()))):
        angle = 1.2 + 0.3 * float(torch.rand(()))
        phi = angle * torch.arange(T + 1, dtype=torch.float64) / T
        kept = phi.cos() ** 2
        expect_close(
            answer(T, angle),
            1 - kept[1:] / kept[:-1],
            {
                "Those are the alphas; beta_t = 1 - alpha_t.": kept[1:] / kept[:-1],
                "That is alpha_bar_1 to alpha_bar_T, not the betas.": kept[1:],
                "1 - alpha_bar_t is the noise of all steps up to t; beta_t is that of one.": (
                    1 - kept[1:]
                ),
                "The cosine is the root of alpha_bar: square it.": (
                    1 - phi.cos()[1:] / phi.cos()[:-1]
                ),
            },
        )


def weight_for_mu(answer: Callable[[NoiseSchedule, int, float], Any]) -> None:
    """13.3: min-SNR on the squared error of the posterior's mean."""
    expect_given(answer)
    gamma = 5.0 + float(torch.rand(()))
    for schedule in (linear_schedule(), cosine_schedule(200)):
        turn = int((schedule.snr[1:] > gamma).sum())  # the last step that is held
        t = torch.stack([torch.randint(3, turn - 2, ()), torch.randint(turn + 3, schedule.T, ())])
        got = [answer(schedule, int(i), gamma) for i in t]
        for one in got:
            expect_given(one)
        kept, before, snr = schedule.alpha_bar[t], schedule.alpha_bar[t - 1], schedule.snr[t]
        pull, w = before.sqrt() * schedule.beta[t] / (1 - kept), snr.clamp(max=gamma)
        of_xt = schedule.alpha[t].sqrt() * (1 - before) / (1 - kept)
        expect_close(
            [float(one) for one in got],
            w / pull**2,
            {
                "That weighs an error of x_0; an error of mu is another number.": w,
                "Divide: an error of mu, over the factor of x_0 in mu, is one of x_0.": (
                    w * pull**2
                ),
                "The errors are squared, so the factor is too.": w / pull,
                "Take the smaller of SNR and gamma, not the larger.": (
                    snr.clamp(min=gamma) / pull**2
                ),
                "SNR is not held at gamma.": snr / pull**2,
                "gamma is a limit: where SNR is less, SNR counts.": gamma / pull**2,
                "The factor of x_0 in mu, not that of x_t.": w / of_xt**2,
            },
        )


def jump(answer: Callable[..., Tensor]) -> None:
    """13.4: DDIM from t to s with a share eta of the noise."""
    expect_given(answer)
    for schedule in (linear_schedule(), cosine_schedule(200)):
        t = int(torch.randint(60, schedule.T * 4 // 5, ()))
        for s in (t - 1, int(torch.randint(t // 2, t - 2, ()))):
            xt, eps_hat, z = torch.randn(3, 4, 1, 3, 3, dtype=torch.float64)
            eta = 0.3 + 0.6 * float(torch.rand(()))
            a, b = schedule.alpha_bar[t], schedule.alpha_bar[s]
            guess = (xt - (1 - a).sqrt() * eps_hat) / a.sqrt()
            tilde = (1 - b) / (1 - a) * (1 - a / b)

            def go(
                sigma2: Tensor,
                drawn: Tensor | None = None,
                kept: Tensor | None = None,
                b: Tensor = b,
                parts: tuple[Tensor, ...] = (guess, eps_hat, z),
            ) -> Tensor:
                x0_hat, old, fresh = parts
                drawn = sigma2.sqrt() if drawn is None else drawn
                kept = 1 - b - sigma2 if kept is None else kept
                return b.sqrt() * x0_hat + kept.sqrt() * old + drawn * fresh

            sigma2 = eta**2 * tilde
            mistakes = {
                "Fresh noise comes in, so as much of the old must go: 1 - alpha_bar_s - sigma^2.": (
                    go(sigma2, kept=1 - b)
                ),
                "sigma is a standard deviation: multiply z by it, not by its square.": (
                    go(sigma2, drawn=sigma2)
                ),
                "eta multiplies the standard deviation, so eta^2 the variance.": go(eta * tilde),
                "eta is missing: that is the jump with all its noise.": go(tilde),
                "The noise z is missing.": go(sigma2, drawn=0 * b),
                "That is the jump without noise, eta = 0.": go(0 * b),
                "sigma comes from the variance of q(x_s | x_t, x_0), not from the jump's beta.": (
                    go(eta**2 * (1 - a / b))
                ),
            }
            if s < t - 1:
                mistakes["The schedule's beta_t belongs to one step, not to the jump."] = go(
                    eta**2 * schedule.beta_tilde[t]
                )
            expect_close(answer(schedule, xt, eps_hat, z, t, s, eta), go(sigma2), mistakes)


CHECKERS: dict[str, Callable[[Any], None]] = {
    "13.2": even_turn,
    "13.3": weight_for_mu,
    "13.4": jump,
}
