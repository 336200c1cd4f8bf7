"""Checkers for the exercises of chapter 15."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ddpm_lite.checks.wrong import expect_close, expect_given
from ddpm_lite.schedule import NoiseSchedule, cosine_schedule, linear_schedule

__all__ = ["CHECKERS"]


def velocity(answer: Callable[[Tensor, float, Tensor], Tensor]) -> None:
    """15.2: the velocity of flow matching from an estimate of the noise."""
    expect_given(answer)
    z, eps_hat = torch.randn(2, 4, 3, dtype=torch.float64)
    s = 0.2 + 0.25 * float(torch.rand(()))  # not the middle, where s and 1 - s are alike
    x0_hat = (z - s * eps_hat) / (1 - s)
    expect_close(
        answer(z, s, eps_hat),
        eps_hat - x0_hat,
        {
            "That is the estimate of x_0; the velocity is eps - x_0.": x0_hat,
            "From the data to the noise: eps - x_0, not x_0 - eps.": x0_hat - eps_hat,
            "On the line x_0 has the factor 1 - s: divide by it.": eps_hat - (z - s * eps_hat),
            "s belongs to the noise and 1 - s to the image, not the other way round.": (
                eps_hat - (z - (1 - s) * eps_hat) / s
            ),
            "That is v of a chain with alpha_bar = 1 - s; on the line the factors are 1 - s and s "
            "themselves.": (
                (1 - s) ** 0.5 * eps_hat - s**0.5 * (z - s**0.5 * eps_hat) / (1 - s) ** 0.5
            ),
        },
    )


def heun_on_the_line(answer: Callable[..., Tensor]) -> None:
    """15.3: one step of Heun's rule with a velocity."""
    expect_given(answer)
    z, a = torch.randn(2, 4, 3, dtype=torch.float64)
    s = 0.6 + 0.3 * float(torch.rand(()))
    s_next = s - 0.1 - 0.3 * float(torch.rand(()))

    def u(z: Tensor, s: float) -> Tensor:
        return (a * z).sin() + s**2

    h, here = s_next - s, u(z, s)
    ahead = z + h * here
    middle = s + h / 2
    expect_close(
        answer(u, z, s, s_next),
        z + h / 2 * (here + u(ahead, s_next)),
        {
            "That is Euler's step: ask again where it ends.": ahead,
            "The step is s_next - s, which is negative on the way to the data.": (
                z - h / 2 * (here + u(z - h * here, s_next))
            ),
            "Ask the second time where the first step ends, not at z.": (
                z + h / 2 * (here + u(z, s_next))
            ),
            "The second time is asked at s_next.": z + h / 2 * (here + u(ahead, s)),
            "Go from z again, not from where the first step ended.": (
                ahead + h / 2 * (here + u(ahead, s_next))
            ),
            "Take the mean of both velocities, not their sum.": z + h * (here + u(ahead, s_next)),
            "The mean of both, not the second alone.": z + h * u(ahead, s_next),
            "That is the midpoint rule, of second order too; here both ends are wanted.": (
                z + h * u(z + h / 2 * here, middle)
            ),
        },
    )


def image_from_the_line(answer: Callable[..., Tensor]) -> None:
    """15.4: a network of the chain, asked about a point of the line."""
    expect_given(answer)
    for schedule in (linear_schedule(), cosine_schedule(200)):
        t = int(torch.randint(schedule.T // 5, schedule.T // 2, ()))
        z, c = torch.randn(2, 4, 3, dtype=torch.float64)

        def model(xt: Tensor, t: int, c: Tensor = c) -> Tensor:
            return (c * xt).cos()

        def x0_hat(
            xt: Tensor, asked: Tensor, t: int = t, schedule: NoiseSchedule = schedule
        ) -> Tensor:
            a = schedule.alpha_bar[t]
            return (xt - (1 - a).sqrt() * model(asked, t)) / a.sqrt()

        a = schedule.alpha_bar[t]
        size = a.sqrt() + (1 - a).sqrt()
        expect_close(
            answer(model, schedule, z, t),
            x0_hat(z * size, z * size),
            {
                "The network knows x_t, which is z times the sum of both roots.": x0_hat(z, z),
                "Multiply z by the sum of both roots, do not divide.": x0_hat(z / size, z / size),
                "The network was asked about z: ask it about x_t.": x0_hat(z * size, z),
                "That is the noise; x_0 is wanted.": model(z * size, t),
                "The network was asked rightly; but z and x_t are mixed after that.": (
                    (z - (1 - a).sqrt() * model(z * size, t)) / a.sqrt()
                ),
                "alpha_bar is a variance: x_t has its root.": (
                    (z * size - (1 - a) * model(z * size, t)) / a
                ),
            },
        )


CHECKERS: dict[str, Callable[[Any], None]] = {
    "15.2": velocity,
    "15.3": heun_on_the_line,
    "15.4": image_from_the_line,
}
