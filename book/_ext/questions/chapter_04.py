"""Chapter 4: what the bound says, its three kinds of terms, and its units."""

import math
from typing import Any

import torch
from ddpm_lite import (
    GaussianDiffusion,
    NoiseSchedule,
    elbo,
    gaussian_kl,
    linear_schedule,
    oracle_bound,
    reverse_marginals,
)

from questions.kinds import Choice, Numeric

LN2 = math.log(2)


def side_of_the_bound() -> str:
    """Where the exact -log p of Gaussian data lies, from the bound of their oracle."""
    schedule = linear_schedule().rescaled(20)
    bound = sum(float(part.sum()) for part in oracle_bound(schedule, schedule.beta, 0.2, 0.3))
    means, variances = reverse_marginals(schedule, schedule.beta, 0.2, 0.3)
    error = 0.3**2 + (0.2 - float(means[0])) ** 2
    v = float(variances[0])
    nll = (math.log(2 * math.pi * v) + error / v) / 2
    return "most" if nll < bound else "least"


def kl(v: float, w: float) -> float:
    zero = torch.zeros(1, 1, dtype=torch.float64)
    first, second = torch.tensor([v, w], dtype=torch.float64)
    return float(gaussian_kl(zero, first, zero, second))


def changed_terms() -> str:
    """Which terms differ for two models that differ in their answer at t = 1 alone."""
    diffusion = GaussianDiffusion(NoiseSchedule([0.1, 0.2, 0.3]), levels=None)
    x0 = torch.full((50, 1), 0.5, dtype=torch.float64)
    told = []
    for last in (0.0, 0.3):

        def model(xt: Any, t: Any, last: float = last) -> Any:
            return xt / 2 + last * (t == 1)[:, None]

        torch.manual_seed(0)
        told.append(elbo(diffusion, model, x0, clip=False))
    one, other = told
    names = {"L_0": not torch.equal(one.decoder, other.decoder)}
    names["others"] = not torch.equal(one.kl, other.kl)
    names["L_T"] = not torch.equal(one.prior, other.prior)
    return "+".join(name for name, changed in names.items() if changed)


def bits(nats: float, dims: int) -> float:
    """By the package, for an image whose bound is `nats`."""
    diffusion = GaussianDiffusion(NoiseSchedule([0.5]), levels=None)
    image = torch.zeros(1, dims, dtype=torch.float64)
    bound = elbo(diffusion, lambda xt, t: xt, image, clip=False)
    return float(bound.bits_per_dim / bound.total) * nats


ASKED = [
    Choice(
        "You have computed $L(x_0) = 0.68$ nats, and nothing else. What do you know of "
        "$-\\log p_\\theta(x_0)$?",
        side_of_the_bound,
        {
            "most": (
                "it is at most 0.68",
                "$L$ is an upper bound on the negative logarithm. The ELBO, $-L$, is the lower one, "
                "on $\\log p_\\theta(x_0)$.",
            ),
            "least": (
                "it is at least 0.68: the ELBO is a lower bound",
                "The ELBO is $-L$, and it bounds $\\log p_\\theta(x_0)$ from below. Turn both signs, "
                "and below becomes above.",
            ),
            "average": (
                "it is 0.68 on average over the paths",
                "The average over paths is $L$ itself. The gap between the two is a divergence, "
                "which no averaging removes.",
            ),
        },
    ),
    Numeric(
        "What is $\\mathrm{KL}(\\mathcal{N}(0, 1) \\,\\|\\, \\mathcal{N}(0, 4))$, in nats?",
        lambda: kl(1.0, 4.0),
        "$\\tfrac12(\\tfrac14 - 1 + \\ln 4)$. The wide Gaussian in second place is cheap: it gives "
        "some density to everything.",
        {
            "That is the other order. There the narrow one must explain what lies far out.": (
                lambda: kl(4.0, 1.0)
            ),
            "The half in front is missing.": lambda: 2 * kl(1.0, 4.0),
            "4 is the variance already; there is no root or square to take.": lambda: kl(1.0, 2.0),
            "That is in bits.": lambda: kl(1.0, 4.0) / LN2,
        },
    ),
    Choice(
        "A model of three steps is changed in its answer at $t = 1$ alone. Which terms of "
        "{eq}`eq-bound-terms` change?",
        changed_terms,
        {
            "L_0+others": (
                "$L_0$ and every $L_{t-1}$: the chain hangs together",
                "The $x_t$ at which a term is evaluated is drawn from $q$, not from the model. So "
                "each $L_{t-1}$ sees the model's step at its own $t$ alone.",
            ),
            "L_0": (
                "$L_0$ alone",
                "Each term asks for one step, at an $x_t$ that $q$ has drawn. That is why training "
                "may look at one random $t$ at a time.",
            ),
            "L_0+L_T": (
                "$L_0$ and $L_T$, the two ends",
                "$L_T$ compares the end of $q$ with $p(x_T)$. No answer of a model is in it.",
            ),
        },
    ),
    Numeric(
        "An image has 64 pixels, and $L(x_0) = 133$ nats. How many bits per dimension is that?",
        lambda: bits(133, 64),
        "$133 / (64 \\ln 2)$.",
        {
            "That is in nats per dimension. Divide by $\\ln 2$ as well.": lambda: 133 / 64,
            "That is for the whole image. Divide by the number of dimensions.": lambda: 133 / LN2,
            "Nats are larger than bits, so there are more bits: divide by $\\ln 2$.": lambda: (
                133 * LN2 / 64
            ),
        },
    ),
]
