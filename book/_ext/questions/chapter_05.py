"""Chapter 5: what the end of the chain costs."""

import math

import torch
from ddpm_lite import (
    GaussianDiffusion,
    NoiseSchedule,
    linear_schedule,
    prior_kl,
)

from questions.kinds import Choice, Numeric


def nats(schedule: NoiseSchedule, pixel: float) -> float:
    """L_T of one pixel."""
    x0 = torch.full((1, 1), pixel, dtype=torch.float64)
    return float(prior_kl(GaussianDiffusion(schedule, levels=None), x0))


def flattered() -> str:
    """Which of two chains has the larger L_T, the one cut to 50 steps or the whole one."""
    short, whole = linear_schedule(50), linear_schedule()
    return "early" if nats(short, 0.6) > nats(whole, 0.6) else "late"


def walked_twice() -> float:
    once = NoiseSchedule([1 - 0.01**0.1] * 10)  # ten equal steps to 0.01
    return float(NoiseSchedule(once.beta[1:].repeat(2)).alpha_bar[-1])


def stable_over_paper() -> str:
    """Which of the options is nearest to the ratio of the two costs."""
    roots = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64)
    pixel = (1 / 3) ** 0.5
    ratio = nats(NoiseSchedule(roots**2), pixel) / nats(linear_schedule(), pixel)
    options = {"root": 10, "square": 100, "fourth": 10_000}
    return min(options, key=lambda name: abs(math.log(ratio / options[name])))


ASKED = [
    Numeric(
        "A chain ends at $\\bar\\alpha_T = 0.02$. What is $L_T$ for a white pixel, $x_0 = 1$, in "
        "nats?",
        lambda: nats(NoiseSchedule([0.98]), 1.0),
        "$\\tfrac12(\\bar\\alpha_T - \\bar\\alpha_T - \\ln 0.98)$, nearly all of it the shift, "
        "$\\tfrac12\\bar\\alpha_T$.",
        {
            "The half in front is missing.": lambda: -math.log(0.98),
            "That is in bits.": lambda: -math.log(0.98) / 2 / math.log(2),
            "That is a grey pixel, $x_0 = 0$: it pays for the missing variance alone.": lambda: (
                nats(NoiseSchedule([0.98]), 0.0)
            ),
            "That is the logarithm of what is left, $\\bar\\alpha_T$. The variance of $x_T$ is "
            "$1-\\bar\\alpha_T$.": lambda: -math.log(0.02) / 2,
        },
        within=0.02,
    ),
    Choice(
        "Two schedules are compared by their reported bits per dimension, and $L_T$ is left out "
        "of both. What comes of it?",
        flattered,
        {
            "early": (
                "the chain that ends too early looks better than it is",
                "What is left of the image at $T$ must be paid for, and $L_T$ is where it is paid. A "
                "short chain owes more.",
            ),
            "none": (
                "nothing: $L_T$ is a constant",
                "It is constant in $\\theta$, so training may leave it out. It is another constant "
                "for another schedule.",
            ),
            "late": (
                "the chain that ends closest to noise looks better than it is",
                "That chain has the smallest $L_T$, so it gains least from leaving it out.",
            ),
        },
    ),
    Numeric(
        "A chain of $T$ steps leaves $\\bar\\alpha_T = 0.01$. The same betas are walked once more, "
        "$2T$ steps in all. What is left now?",
        walked_twice,
        "What the steps keep is multiplied: $0.01 \\cdot 0.01$.",
        {
            "Twice the steps do not halve it: each step keeps a share of what is there.": lambda: (
                0.005
            ),
            "That is half of the steps, not twice as many.": lambda: 0.1,
            "More steps leave less of the image.": lambda: 0.02,
        },
    ),
    Choice(
        "Stable Diffusion's chain ends at $\\sqrt{\\bar\\alpha_T} = 0.068$, the paper's at 0.0064. "
        "About how many times as large is its $L_T$?",
        stable_over_paper,
        {
            "root": (
                "ten times",
                "That is the ratio of the roots, and $L_T$ goes with $\\bar\\alpha_T$ itself: half "
                "of $\\bar\\alpha_T x_0^2$ is nearly all of it.",
            ),
            "square": (
                "a hundred times",
                "$L_T$ goes with $\\bar\\alpha_T$, the square of these, and $(0.068/0.0064)^2$ is "
                "113. A little of the image more at $T$ costs a great deal more.",
            ),
            "fourth": (
                "ten thousand times",
                "That is the fourth power. Only the missing variance costs so, and it is the "
                "smaller part of $L_T$ by far.",
            ),
        },
    ),
]
