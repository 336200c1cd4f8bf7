"""Chapter 12: what the numbers measure, and what they do not see."""

import math

import torch
from ddpm_lite import (
    ELBO,
    GaussianDiffusion,
    Oracle,
    elbo,
    frechet_distance,
    inception_score,
    linear_schedule,
    moments,
)

from questions.kinds import Choice, Numeric

LN2 = math.log(2)


def frechet(mean: float, variance: float) -> float:
    """Of N(0, 1) and another normal distribution on a line."""
    one = torch.ones(1, 1, dtype=torch.float64)
    here = torch.full((1,), mean, dtype=torch.float64)
    return float(frechet_distance(0 * one[0], one, here, variance * one))


def better_model() -> str:
    """What 9.0 by a thousand samples and 8.1 by ten thousand say of two models."""
    generator = torch.Generator().manual_seed(0)
    eye = torch.eye(64, dtype=torch.float64)

    def perfect(n: int) -> float:
        x = torch.randn(n, 64, generator=generator, dtype=torch.float64)
        return float(frechet_distance(*moments(x), 0 * eye[0], eye))

    # What the number of samples alone makes of it is more than the difference.
    return "open" if perfect(1000) - perfect(10_000) > 9.0 - 8.1 else "second"


def few_classes(count: int) -> float:
    """The score where each image is surely one of the first `count` classes, evenly."""
    logits = 100 * torch.eye(10, dtype=torch.float64)[:count]
    return inception_score(logits, groups=1)[0]


def gives_it_away() -> str:
    """Which number is worse for a model that knows four pictures by heart."""
    schedule = linear_schedule().rescaled(50)
    pictures = torch.tensor([[-0.9], [-0.2], [0.3], [0.8]]).double()
    diffusion = GaussianDiffusion(schedule, levels=None)
    torch.manual_seed(0)
    own, new = (
        float(elbo(diffusion, Oracle(schedule, pictures), x).total.mean())
        for x in (pictures, pictures + 0.25)
    )
    return "bits" if new > own + 1 else "frechet"


def rate(t: int) -> float:
    """R_t of a chain of three steps, by the package."""
    prior, kl_2, kl_1, decoder = 0.1, 0.4, 0.9, 1.6  # bits per dimension

    def nats(*bits: float) -> torch.Tensor:
        return torch.tensor([bits], dtype=torch.float64) * LN2

    bound = ELBO(
        prior=nats(prior)[0],
        kl=nats(kl_1, kl_2),
        decoder=nats(decoder)[0],
        mse=torch.zeros(1, 3, dtype=torch.float64),
        dims=1,
        levels=256,
    )
    return float(bound.rate[0, t - 1])


ASKED = [
    Numeric(
        "What is $d^2$ between $\\mathcal{N}(0, 1)$ and $\\mathcal{N}(3, 4)$? (The second number is "
        "the variance.)",
        lambda: frechet(3, 4),
        "$3^2 + (1-2)^2$: the shift, and the standard deviations' difference.",
        {
            "The standard deviations are compared, 1 and 2, not the variances.": lambda: (
                3**2 + (1 - 4) ** 2
            ),
            "That is the root. What is reported is $d^2$.": lambda: 10**0.5,
            "That is the shift alone.": lambda: 9,
            "Without the last term, $-2\\sigma_a\\sigma_b$, two equal ones would be apart.": lambda: (
                14
            ),
        },
    ),
    Choice(
        "With features of 64 numbers, one model has a Fréchet distance of 9.0 by 1,000 samples, a "
        "second one of 8.1 by 10,000. Which is better?",
        better_model,
        {
            "second": (
                "the second: its distance is smaller",
                "A perfect model, too, gets a smaller number with more samples, and the formula "
                "above says by how much: for features like $\\mathcal{N}(0, \\mathbf{I})$ by about one, "
                "as much as the two differ.",
            ),
            "open": (
                "these two numbers cannot tell",
                "If the features are like $\\mathcal{N}(0, \\mathbf{I})$, the smaller sample alone "
                "costs the first $1104/1000 - 1104/10000 = 1.0$ more, which is the whole difference. For "
                "another covariance it is another number. Measure both with equal counts.",
            ),
            "first": (
                "the first: it reaches as much with fewer samples",
                "Fewer samples make its own number too large. For features like "
                "$\\mathcal{N}(0, \\mathbf{I})$, take off what each count costs, and 7.9 stands "
                "beside 8.0: nothing is left to tell them apart.",
            ),
        },
    ),
    Numeric(
        "A model draws only four of the ten digits, each equally often, and the classifier is sure "
        "of every one. What is its Inception Score?",
        lambda: few_classes(4),
        "$p(c)$ is flat over four classes, with the entropy $\\ln 4$; each $p(c \\mid x)$ has none.",
        {
            "To be sure is one half of it. Ten needs all ten classes.": lambda: 10.0,
            "That is the score of a model that draws one class alone.": lambda: 1.0,
            "That is the entropy $\\ln 4$; the score is its exponential.": lambda: math.log(4),
            "That is the share of classes. The score runs from 1 to 10.": lambda: 0.4,
        },
    ),
    Choice(
        "A model returns training images, chosen at random. Which number gives it away?",
        gives_it_away,
        {
            "frechet": (
                "its Fréchet distance to the training set",
                "Those *are* training images: they look right and are as varied as the set itself.",
            ),
            "inception": (
                "its Inception Score",
                "The classifier is as sure of them as of any image of its set, and all classes are "
                "there.",
            ),
            "bits": (
                "the bits per dimension of new images, beside those of training images",
                "What it knows by heart costs little, and a new image costs it far more. A model "
                "that has learnt what images share pays nearly alike for both.",
            ),
        },
    ),
    Numeric(
        "A chain of three steps has $L_T = 0.1$, $L_2 = 0.4$, $L_1 = 0.9$ and $L_0 = 1.6$, all in bits "
        "per dimension. What is the rate $R_1$, for a receiver who stops at $x_1$?",
        lambda: rate(1),
        "$x_3$ for $L_T$, then $x_2$ for $L_2$ and $x_1$ for $L_1$. What $L_0$ pays for is left out.",
        {
            "That pays for the image as well. The receiver stops before $L_0$.": lambda: 3.0,
            "$L_1$ pays for the step from $x_2$ to $x_1$, which the receiver has.": lambda: 0.5,
            "$x_T$ must be transmitted too, for $L_T$.": lambda: 1.3,
        },
    ),
]
