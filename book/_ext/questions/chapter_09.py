"""Chapter 9: Algorithm 2, why noise is put back, and what a guess is worth."""

from collections.abc import Sequence

import torch
from ddpm_lite import GaussianDiffusion, NoiseSchedule, Oracle, linear_schedule

from questions.kinds import Choice, Numeric, Order, run, same

CHAIN = GaussianDiffusion(linear_schedule().rescaled(100))


def of(value: float) -> torch.Tensor:
    return torch.full((1, 1), value, dtype=torch.float64)


def steps_back(order: Sequence[str]) -> bool:
    """Whether the lines are the package's step, for a network that sees what it is given."""
    start, z, t = of(0.7), of(-1.3), 60
    names = run(
        order,
        x=start,
        z=z,
        t=t,
        beta=CHAIN.schedule.beta[t],
        alpha_bar=CHAIN.schedule.alpha_bar[t],
        network=lambda x, t: x**3,
    )
    right = CHAIN.p_sample(lambda x, t: x**3, start, t, clip=False, noise=z)
    return "x" in names and same(names["x"], right)


def end_without_noise() -> str:
    """Where the walk of the means ends from 0.5, for a picture at -0.6, and one of half its weight."""
    pictures = torch.tensor([[-0.6], [-0.6], [0.6]]).double()
    oracle, x = Oracle(CHAIN.schedule, pictures), of(0.5)
    for t in range(CHAIN.T, 0, -1):
        x = CHAIN.p_sample(oracle, x, t, clip=False, noise=of(0.0))
    ends = {"left": -0.6, "mean": -0.2, "near": 0.6}
    return min(ends, key=lambda name: abs(float(x) - ends[name]))


def grown_error(beta: float) -> float:
    """What an error of 0.02 becomes in one step from pure noise."""
    chain = GaussianDiffusion(NoiseSchedule([1 - 1e-9, beta]))
    means = [chain.p_from_output(of(e), of(0.3), 2, clip=False).mean for e in (0.0, 0.02)]
    return float((means[0] - means[1]).abs())


def sample_over_guess() -> float:
    """The squared error of a sample over that of the guess, for two pictures at one x_t."""
    oracle = Oracle(CHAIN.schedule, torch.tensor([[-0.6], [0.6]]).double())
    guess = float(oracle.x0_hat(of(0.4), 60))
    light = (guess + 0.6) / 1.2  # the probability of 0.6
    of_guess = light * (0.6 - guess) ** 2 + (1 - light) * (0.6 + guess) ** 2
    of_sample = 2 * light * (1 - light) * 1.2**2
    return of_sample / of_guess


def score() -> float:
    """Where the noise is 0.6 and 1 - alpha_bar is 0.36: a single picture, by differentiation."""
    oracle = Oracle(NoiseSchedule([0.36]), of(0.0))
    x = of(0.36).requires_grad_()  # 0.6 * 0.6
    (slope,) = torch.autograd.grad(oracle.log_density(x, 1).sum(), x)
    return float(slope)


ASKED = [
    Order(
        "Put one step of Algorithm 2 in order, with $\\sigma_t^2 = \\beta_t$.",
        (
            "eps_hat = network(x, t)",
            "x = x - beta / (1 - alpha_bar).sqrt() * eps_hat",
            "x = x / (1 - beta).sqrt()",
            "x = x + beta.sqrt() * z",
        ),
        {
            (0, 1): "The network is asked about $x_t$, before anything has happened to it.",
            (1, 2): "The bracket comes first: the noise is taken out of $x_t$, and the difference "
            "divided by $\\sqrt{\\alpha_t}$.",
            (2, 3): "Fresh noise comes last: its size is $\\sigma_t$ in $x_{t-1}$, with nothing "
            "taken from it and nothing divided.",
        },
        steps_back,
        "Read the equation from the inside. Of the last three lines any order runs, and only this one "
        "is right.",
    ),
    Choice(
        "Of two pictures $-0.6$ is twice as likely as $0.6$. A walk starts at $x_T = 0.5$ and "
        "takes every step with $z = 0$. Where does it end?",
        end_without_noise,
        {
            "near": (
                "at 0.6, the picture on the side of $x_T$",
                "So it is with equal weights. At $T$ next to nothing is left of a picture, so $x_T$ "
                "says little, and the guess begins close to the mean of the data, $-0.2$.",
            ),
            "left": (
                "at $-0.6$",
                "The first guess is about $-0.2$, and $-0.6$ is nearer to it. Every step raises the "
                "share of that picture, and the guess moves along.",
            ),
            "mean": (
                "at $-0.2$, the mean of the data",
                "That is about the first guess. But each step moves towards the picture nearest to "
                "the guess, and the guess moves along.",
            ),
            "chance": (
                "at $-0.6$ in two of three walks, and at 0.6 in the third",
                "So it is with noise in every step. There is no chance left without it: the same "
                "$x_T$ ends in the same picture each time.",
            ),
        },
    ),
    Numeric(
        "At $t = T$, where $1-\\bar\\alpha_T$ is nearly one, a network is off by 0.02 in "
        "$\\varepsilon$. The shortened chain has $\\beta_T = 0.96$. How large is the error in $x$ "
        "after the step, without clipping?",
        lambda: grown_error(0.96),
        "$0.02 \\cdot 0.96 / \\sqrt{0.04}$. With the linear schedule's $\\beta_T = 0.02$ it would "
        "be 0.0004.",
        {
            "The step multiplies it by $\\beta_t / (\\sqrt{\\alpha_t}\\sqrt{1-\\bar\\alpha_t})$.": lambda: (
                0.02
            ),
            "Divide by $\\sqrt{\\alpha_T}$ too, which is $\\sqrt{0.04}$.": lambda: 0.02 * 0.96,
            "Divide by the root of $\\alpha_T$.": lambda: 0.02 * 0.96 / 0.04,
        },
    ),
    Numeric(
        "From some $x_t$ the best one-shot guess has a mean squared error of 0.2. What is that "
        "of a sample, drawn from $q(x_0 \\mid x_t)$?",
        lambda: 0.2 * sample_over_guess(),
        "The image and the sample lie around the mean alike and independently, so the variances "
        "add. A sharp picture is a worse guess.",
        {
            "The sample adds its own spread around the mean.": lambda: 0.2,
            "A sample looks real and is farther from the image that was there.": lambda: 0.0,
            "$\\sqrt2$ is the factor of the root. The mean square itself doubles.": lambda: (
                0.2 * 2**0.5
            ),
            "That adds the standard deviations and squares. Independent spreads add as "
            "variances.": lambda: 4 * 0.2,
        },
    ),
    Numeric(
        "The best guess at the noise is $\\hat\\varepsilon = 0.6$, and $1-\\bar\\alpha_t = 0.36$. "
        "What is the score?",
        score,
        "$-0.6 / \\sqrt{0.36}$. It points to where pictures are more likely, against the noise.",
        {
            "The sign: the score points against the noise.": lambda: 1.0,
            "The root is missing.": lambda: -0.6 / 0.36,
            "Divide by $\\sqrt{1-\\bar\\alpha_t}$.": lambda: -0.6,
            "Divide by the root, and not multiply.": lambda: -0.36,
        },
    ),
]
