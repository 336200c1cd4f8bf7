"""Answers to the exercises of chapter 15."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ddpm_lite import ForwardProcess, NoiseSchedule

Velocity = Callable[[Tensor, float], Tensor]


def velocity(z: Tensor, s: float, eps_hat: Tensor) -> Tensor:
    """In one fraction."""
    return (eps_hat - z) / (1 - s)


def image(z: Tensor, s: float, eps_hat: Tensor, power: float = 1.0) -> Tensor:
    return (z - s**power * eps_hat) / (1 - s) ** power


def heun(u: Velocity, z: Tensor, s: float, to: float) -> Tensor:
    """As the mean of Euler's step and one with the velocity of its end."""
    euler = z + (to - s) * u(z, s)
    return (euler + z + (to - s) * u(euler, to)) / 2


def euler(u: Velocity, z: Tensor, s: float, to: float) -> Tensor:
    return z + (to - s) * u(z, s)


def from_the_line(model: Any, schedule: NoiseSchedule, z: Tensor, t: int) -> Tensor:
    """By the package's own conversions."""
    process = ForwardProcess(schedule)
    xt = process.from_line(z, t)
    return process.convert(model(xt, t), xt, t, "eps", "x0")


def asked(schedule: NoiseSchedule, xt: Tensor, eps: Tensor, t: int) -> Tensor:
    return ForwardProcess(schedule).convert(eps, xt, t, "eps", "x0")


def up(schedule: NoiseSchedule, z: Tensor, t: int) -> Tensor:
    return ForwardProcess(schedule).from_line(z, t)


def root(schedule: NoiseSchedule, t: int, power: float = 0.5) -> tuple[Tensor, Tensor]:
    return schedule.alpha_bar[t] ** power, (1 - schedule.alpha_bar[t]) ** power


RIGHT: dict[str, Callable[..., Any]] = {
    "15.2": velocity,
    "15.3": heun,
    "15.4": from_the_line,
}
WRONG: list[tuple[str, Any, str]] = [
    ("15.2", image, "That is the estimate of x_0"),
    ("15.2", lambda z, s, e: -velocity(z, s, e), "not x_0 - eps"),
    ("15.2", lambda z, s, e: e - (z - s * e), "divide by it"),
    ("15.2", lambda z, s, e: e - image(z, 1 - s, e), "not the other way round"),
    (
        "15.2",
        lambda z, s, e: (1 - s) ** 0.5 * e - s**0.5 * image(z, s, e, power=0.5),
        "That is v of a chain",
    ),
    ("15.2", lambda z, s, e: velocity(z, s, e) + 1, "numbers are off"),
    ("15.3", euler, "Euler's step"),
    ("15.3", lambda u, z, s, to: z - (euler(u, z, s, to) - z), "numbers are off"),
    (
        "15.3",
        lambda u, z, s, to: z + (s - to) / 2 * (u(z, s) + u(z + (s - to) * u(z, s), to)),
        "negative on the way",
    ),
    ("15.3", lambda u, z, s, to: z + (to - s) / 2 * (u(z, s) + u(z, to)), "not at z"),
    (
        "15.3",
        lambda u, z, s, to: z + (to - s) / 2 * (u(z, s) + u(euler(u, z, s, to), s)),
        "asked at s_next",
    ),
    (
        "15.3",
        lambda u, z, s, to: heun(u, z, s, to) - z + euler(u, z, s, to),
        "Go from z again",
    ),
    ("15.3", lambda u, z, s, to: 2 * heun(u, z, s, to) - z, "not their sum"),
    (
        "15.3",
        lambda u, z, s, to: z + (to - s) * u(euler(u, z, s, to), to),
        "not the second alone",
    ),
    (
        "15.3",
        lambda u, z, s, to: z + (to - s) * u(euler(u, z, s, (s + to) / 2), (s + to) / 2),
        "midpoint rule",
    ),
    ("15.4", lambda m, c, z, t: asked(c, z, m(z, t), t), "sum of both roots"),
    (
        "15.4",
        lambda m, c, z, t: from_the_line(m, c, z / sum(root(c, t)) ** 2, t),
        "do not divide",
    ),
    ("15.4", lambda m, c, z, t: asked(c, up(c, z, t), m(z, t), t), "asked about z: ask"),
    ("15.4", lambda m, c, z, t: m(up(c, z, t), t), "That is the noise"),
    ("15.4", lambda m, c, z, t: asked(c, z, m(up(c, z, t), t), t), "mixed after that"),
    (
        "15.4",
        lambda m, c, z, t: (up(c, z, t) - root(c, t, 1)[1] * m(up(c, z, t), t)) / root(c, t, 1)[0],
        "alpha_bar is a variance",
    ),
    (
        "15.4",
        lambda m, c, z, t: (z - c.line[t] * m(z, t)) / (1 - c.line[t]),
        "asked about z: ask",
    ),
    ("15.4", lambda m, c, z, t: torch.zeros(2), "Expected shape"),
]
