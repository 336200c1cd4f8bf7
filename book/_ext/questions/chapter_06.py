"""Chapter 6: the posterior, the noise in a mean, and the two variances."""

import torch
from ddpm_lite import GaussianDiffusion, NoiseSchedule, Oracle, linear_schedule

from questions.kinds import Choice, Numeric


def of(value: float) -> torch.Tensor:
    return torch.full((1, 1), value, dtype=torch.float64)


def between_witnesses() -> float:
    """The posterior's mean where the prior says N(0.2, 0.1), and the step N(0.8, 0.3)."""
    beta = 0.3 / 1.3  # so that beta / (1 - beta) is 0.3
    diffusion = GaussianDiffusion(NoiseSchedule([0.1, beta]))
    x0, xt = of(0.2 / 0.9**0.5), of(0.8 * (1 - beta) ** 0.5)
    return float(diffusion.q_posterior(x0, xt, 2)[0])


def ratio() -> float:
    schedule = NoiseSchedule([0.1, 0.3])
    return float(schedule.beta_tilde[2] / schedule.beta[2])


def taken_out() -> float:
    """Of a noise of one, where beta_t = 0.02 and 1 - alpha_bar_t = 0.25."""
    diffusion = GaussianDiffusion(NoiseSchedule([1 - 0.75 / 0.98, 0.02]))
    mean = diffusion.p_from_output(of(1.0), of(0.0), 2, clip=False).mean
    return float(-mean * 0.98**0.5)


def error_in_x0() -> float:
    diffusion = GaussianDiffusion(NoiseSchedule([0.99]))
    exact, off = (diffusion.convert(of(e), of(0.0), 1, "eps", "x0") for e in (0.0, 0.1))
    return float((exact - off).abs())


def best_variance() -> str:
    """Where the variance of the step back lies, for pixels N(0, 0.5^2)."""
    schedule = linear_schedule()
    oracle = Oracle(schedule, of(0.0), std=0.5)
    inside = all(
        schedule.beta_tilde[t] < float(oracle.q_reverse(of(0.1), t).variances) < schedule.beta[t]
        for t in (2, 50, 500)
    )
    return "between" if inside else "outside"


ASKED = [
    Numeric(
        "One witness says 0.2, with variance 0.1; the other says 0.8, with variance 0.3. What is "
        "the mean of the posterior?",
        between_witnesses,
        "The precisions are 10 and 3.33, so the first has three quarters of the say: "
        "$0.75 \\cdot 0.2 + 0.25 \\cdot 0.8$.",
        {
            "That gives both the same say. The surer one has more.": lambda: 0.5,
            "That weighs by variances, so the one who knows less has more say.": lambda: (
                0.25 * 0.2 + 0.75 * 0.8
            ),
            "That weighs by one over the standard deviation. The precision is one over the "
            "variance.": lambda: (0.2 / 0.1**0.5 + 0.8 / 0.3**0.5) / (0.1**-0.5 + 0.3**-0.5),
        },
    ),
    Numeric(
        "With $\\beta_1 = 0.1$ and $\\beta_2 = 0.3$, what is $\\tilde\\beta_2 / \\beta_2$?",
        ratio,
        "$(1-\\bar\\alpha_1)/(1-\\bar\\alpha_2) = 0.1 / (1 - 0.9 \\cdot 0.7)$. Who knows $x_0$ is "
        "much surer of a step so early.",
        {
            "That is upside down. To know $x_0$ as well makes the variance smaller.": lambda: (
                0.37 / 0.1
            ),
            "The betas are not added: $\\bar\\alpha_2 = 0.9 \\cdot 0.7$.": lambda: 0.1 / 0.4,
            "That is $\\tilde\\beta_2$ itself.": lambda: 0.1 / 0.37 * 0.3,
            "That is what the steps keep. The formula has the variances of the noise.": lambda: (
                0.9 / 0.63
            ),
        },
        within=0.003,
    ),
    Numeric(
        "Let $\\beta_t = 0.02$, $1-\\bar\\alpha_t = 0.25$ and $\\varepsilon_\\theta = 1$. How much "
        "is subtracted from $x_t$ in the bracket of {eq}`eq-mu-eps`?",
        taken_out,
        "$\\beta_t / \\sqrt{1-\\bar\\alpha_t} = 0.02 / 0.5$. In $x_t$ the noise stands with the "
        "factor 0.5; a step takes out a small share of it.",
        {
            "That turns one step of $q$ round. But $\\varepsilon$ is the noise of all steps, and "
            "the last one is a small part of it.": lambda: 0.02**0.5,
            "That is all the noise in $x_t$, so what is left is $\\sqrt{\\bar\\alpha_t}$ times the "
            "guess at $x_0$.": lambda: 0.5,
            "The root of $1-\\bar\\alpha_t$ is missing.": lambda: 0.02 / 0.25,
            "Divide by $\\sqrt{1-\\bar\\alpha_t}$.": lambda: 0.02,
        },
    ),
    Numeric(
        "Late in a chain, at $\\bar\\alpha_t = 0.01$, a network names the noise with an error of "
        "0.1. How large is the error of its $x_0$?",
        error_in_x0,
        "$0.1 \\cdot \\sqrt{0.99} / \\sqrt{0.01}$, on a scale from $-1$ to $1$: it knows next to "
        "nothing of the image, with a good answer for the noise.",
        {
            "The same error has another size in each coordinate.": lambda: 0.1,
            "Divide by $\\sqrt{\\bar\\alpha_t}$; that multiplies.": lambda: 0.1 * 0.99**0.5 * 0.1,
            "The root of $\\bar\\alpha_t$ is missing.": lambda: 0.1 * 0.99**0.5 / 0.01,
        },
    ),
    Choice(
        "The pixels are $\\mathcal{N}(0, 0.25)$, and the network is the best there is. Where does "
        "the best fixed $\\sigma_t^2$ lie, for $t \\ge 2$?",
        best_variance,
        {
            "outside": (
                "above $\\beta_t$: the network's own errors come on top",
                "The best network has no error of its own. $\\beta_t$ is reached for pixels that are "
                "$\\mathcal{N}(0, 1)$, and narrower ones need less.",
            ),
            "tilde": (
                "at $\\tilde\\beta_t$: it is the variance of the posterior that $\\mu_\\theta$ is "
                "matched to",
                "That posterior knows $x_0$. The network does not, and what it cannot know widens "
                "its step.",
            ),
            "between": (
                "between $\\tilde\\beta_t$ and $\\beta_t$",
                "$\\tilde\\beta_t$ would do if $x_t$ told which image it came from, and $\\beta_t$ if "
                "the pixels were as wide as the noise at $T$. These are in between.",
            ),
        },
    ),
]
