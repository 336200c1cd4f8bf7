"""Chapter 2: one step, all steps, and how much of the image is left."""

import torch
from ddpm_lite import ForwardProcess, NoiseSchedule, linear_schedule

from questions.kinds import Choice, Numeric

ONE = ForwardProcess(NoiseSchedule([0.36]))
TWO = NoiseSchedule([0.19, 0.75])


def pixel(value: float) -> torch.Tensor:
    return torch.full((1, 1), value, dtype=torch.float64)


def step(value: float, eps: float) -> float:
    return float(ONE.q_step(pixel(value), 1, pixel(eps)))


def settled(shrink: float, beta: float = 1e-3) -> float:
    """The variance after many steps that multiply by `shrink` and add noise of variance beta."""
    variance = 1.0
    for _ in range(10_000):
        variance = shrink**2 * variance + beta
    return variance


def noise_wins(power: float) -> int:
    return int((linear_schedule().snr * power < 1).nonzero()[0])


def of_larger_pixels() -> str:
    later = noise_wins(4.0) - noise_wins(1.0)
    return "same" if later == 0 else "later" if later > 0 else "earlier"


def end_of(T: int) -> float:
    return float(linear_schedule(T).alpha_bar[-1])


ASKED = [
    Numeric(
        "A pixel is 0.5, and $\\beta_t = 0.36$. What is the mean of the pixel after this step?",
        lambda: step(0.5, 0.0),
        "The factor is $\\sqrt{1-\\beta_t} = \\sqrt{0.64} = 0.8$.",
        {
            "That is the factor $1-\\beta_t$. In the mean stands its root.": lambda: (
                (1 - 0.36) * 0.5
            ),
            "The step also shrinks what was there; only the noise has mean zero.": lambda: 0.5,
            "That is the other root of the step.": lambda: 0.36**0.5 * 0.5,
        },
    ),
    Numeric(
        "In the same step, what is the noise, a standard normal number $\\varepsilon$, "
        "multiplied by?",
        lambda: step(0.0, 1.0),
        "$\\beta_t$ is a variance; to draw, one multiplies by its root, $\\sqrt{0.36}$.",
        {
            "That is the variance. A number that is multiplied by $c$ has its variance "
            "multiplied by $c^2$.": lambda: 0.36,
            "That is the factor of the pixel, $\\sqrt{1-\\beta_t}$.": lambda: 0.64**0.5,
            "That is $1-\\beta_t$, the share of variance that the step keeps.": lambda: 1 - 0.36,
        },
    ),
    Numeric(
        "A chain multiplies by $1-\\beta$ where the root should stand, with the same very small "
        "$\\beta$ at each of very many steps. At which variance do its pixels settle?",
        lambda: settled(1 - 1e-3),
        "Where nothing changes any more, $v = (1-\\beta)^2 v + \\beta$, so "
        "$v = 1/(2-\\beta)$, which is nearly one half. Each step takes away twice what it should.",
        {
            "That is what the root is for: with it $v = (1-\\beta)\\,v + \\beta$ has the solution "
            "one. Write down the same equation with $(1-\\beta)^2$.": lambda: 1.0,
            "Noise of variance $\\beta$ comes in at every step, so nothing dies out.": lambda: 0.0,
            "That is the standard deviation; its square is the variance.": lambda: 0.5**0.5,
        },
    ),
    Numeric(
        "Two steps have $\\beta_1 = 0.19$ and $\\beta_2 = 0.75$. With which factor does $x_0$ "
        "enter $x_2$?",
        lambda: float(TWO.alpha_bar[2].sqrt()),
        "$\\sqrt{\\bar\\alpha_2} = \\sqrt{0.81 \\cdot 0.25} = 0.9 \\cdot 0.5$.",
        {
            "That is $\\bar\\alpha_2$, a share of variance. The factor is its root.": lambda: float(
                TWO.alpha_bar[2]
            ),
            "What the steps keep is multiplied; the betas are not added.": lambda: (
                (1 - 0.19 - 0.75) ** 0.5
            ),
            "That is the second step alone. The first has shrunk the pixel before.": lambda: float(
                TWO.alpha[2].sqrt()
            ),
            "That is the factor of the noise, $\\sqrt{1-\\bar\\alpha_2}$.": lambda: float(
                (1 - TWO.alpha_bar[2]).sqrt()
            ),
        },
    ),
    Choice(
        "By mistake, images are scaled to $[-2, 2]$, and all else stays. When does the noise "
        "overtake the image?",
        of_larger_pixels,
        {
            "same": (
                "at the same step: the SNR depends on the schedule alone",
                "$\\mathrm{SNR}(t)$ does, but the power of the image over that of the noise is "
                "$\\mathrm{SNR}(t)\\,\\mathbb{E}[x_0^2]$, and the mean square is four times as large.",
            ),
            "earlier": (
                "earlier: larger values are disturbed more",
                "The noise has the same variance as before, and the image has more power beside it.",
            ),
            "later": (
                "later: the image has four times the power",
                "Noise wins where $\\mathrm{SNR}(t)\\,\\mathbb{E}[x_0^2]$ falls below one, and the "
                "mean square is four times as large. So the range of the data is part of the "
                "schedule.",
            ),
        },
    ),
    Numeric(
        "In the chain of $T = 50$ above, with which factor does $x_0$ still enter $x_T$?",
        lambda: end_of(50) ** 0.5,
        "$\\bar\\alpha_T = 0.603$ is a share of variance; the factor is its root. More than three "
        "quarters of every pixel's value are still there.",
        {
            "That is $\\bar\\alpha_T$, the share of the variance. The factor is its root.": lambda: (
                end_of(50)
            ),
            "That is the variance of the noise, $1-\\bar\\alpha_T$.": lambda: 1 - end_of(50),
            "That is the paper's chain, of a thousand steps.": lambda: end_of(1000) ** 0.5,
        },
    ),
]
