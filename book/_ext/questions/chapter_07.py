"""Chapter 7: bytes, the mass of a grey level, and what the first variance costs."""

import math

import torch
from ddpm_lite import (
    GaussianDiffusion,
    decoder_nll,
    gaussian_nll,
    linear_schedule,
    to_model_range,
)

from questions.kinds import Choice, Numeric

LN2 = math.log(2)
LEVEL = to_model_range(torch.tensor([[100]]), dtype=torch.float64)
WIDTH = 2 / 255


def can_be_negative() -> str:
    """Which of the two costs falls below zero for a mean that is right and a small sigma."""
    variance = torch.tensor(1e-4**2, dtype=torch.float64)
    mass = float(decoder_nll(LEVEL, LEVEL, variance))
    density = float(gaussian_nll(LEVEL, LEVEL, variance))
    return {(False, True): "density", (True, True): "both"}[mass < 0, density < 0]


def floor(sigma: float) -> float:
    """Bits of an inner level whose mean is right."""
    variance = torch.tensor(sigma**2, dtype=torch.float64)
    return float(decoder_nll(LEVEL, LEVEL, variance)) / LN2


def best_sigma(error: float) -> float:
    """In grey levels, for errors of the mean of this size, by trying."""
    z = torch.linspace(-8, 8, 801, dtype=torch.float64)[:, None]
    share = (-(z[:, 0] ** 2) / 2).softmax(0)
    x0 = LEVEL.expand(801, 1)

    def cost(sigma: float) -> float:
        variance = torch.tensor((sigma * WIDTH) ** 2, dtype=torch.float64)
        return float(share @ decoder_nll(x0, x0 + error * WIDTH * z, variance))

    tried = torch.linspace(1.7, 2.1, 201, dtype=torch.float64).tolist()
    return min(tried, key=cost)


def noise_at_the_end() -> str:
    """Whether the picture with noise in the last step is farther from the right one."""
    diffusion = GaussianDiffusion(linear_schedule())
    x0 = LEVEL.expand(1000, 1)
    eps, z = torch.randn(2, 1000, 1, generator=torch.Generator().manual_seed(0)).double()
    x1 = diffusion.q_sample(x0, 1, eps)
    out = diffusion.p_from_output(eps, x1, 1)
    without, noisy = (
        float((x - x0).abs().max()) for x in (diffusion.p_draw(out, 1, z), out.mean + 0.01 * z)
    )
    zero = float(out.variance.max()) == 0
    return "stays" if without < 1e-9 < noisy and not zero else "zero"


ASKED = [
    Numeric(
        "To which number is the byte 128 mapped?",
        lambda: float(to_model_range(torch.tensor(128), dtype=torch.float64)),
        "$2 \\cdot 128 / 255 - 1 = 1/255$. The middle lies between the bytes 127 and 128.",
        {
            "The middle of 0 and 255 is 127.5, half a grey level away from 128.": lambda: 0.0,
            "That is in $[0, 1]$. The chain works on $[-1, 1]$.": lambda: 128 / 255,
            "A whole level is $2/255$; the byte is half a level from the middle.": lambda: 2 / 255,
        },
    ),
    Choice(
        "Someone reports $-1.2$ bits per dimension for pictures of 256 grey levels. What has "
        "happened?",
        can_be_negative,
        {
            "good": (
                "the model is very good",
                "A model that is certain of every level costs zero bits. Nothing costs less.",
            ),
            "density": (
                "a density has been taken for a probability",
                "A density has no upper end, so its bits have no lower one. The mass of a grey level "
                "is at most one.",
            ),
            "both": (
                "nothing: a narrow Gaussian brings either below zero",
                "It does so with the density alone. However narrow, the mass of a bin is at most "
                "one, and costs zero bits or more.",
            ),
        },
    ),
    Numeric(
        "A mean lies exactly on an inner grey level, and $\\sigma_1 = 1/255$. About 68% of a "
        "Gaussian lie within one standard deviation. How many bits does the level cost?",
        lambda: floor(1 / 255),
        "The edges are one standard deviation away, so $-\\log_2 0.683$. A perfect mean is not "
        "free: the rest of the mass lies on other levels.",
        {
            "The Gaussian is wider than the bin, so some mass goes to the neighbours.": lambda: 0.0,
            "That is in nats.": lambda: floor(1 / 255) * LN2,
            "That takes off one tail alone. There is an edge on either side.": lambda: (
                -math.log2(0.8413447)
            ),
            "That is a bin of one standard deviation. It reaches $1/255$ to either side.": lambda: (
                -math.log2(math.erf(0.5 / 2**0.5))
            ),
        },
        within=0.02,
    ),
    Numeric(
        "A network's mean is off by two grey levels, in the root mean square. Which $\\sigma_1$, "
        "in grey levels, would be the best? The bin's own variance may be left out.",
        lambda: best_sigma(2.0),
        "Be as unsure as you are wrong: 2. With the bin's own variance it is "
        "$\\sqrt{4 - 1/12} = 1.98$.",
        {
            "A narrower Gaussian is right for a better mean; here it would be surprised.": lambda: (
                1.0
            ),
            "That is the variance; $\\sigma_1$ is its root.": lambda: 4.0,
            "Zero would be best for a perfect mean alone. A wrong one would then cost without "
            "end.": lambda: 0.0,
        },
        within=0.02,
    ),
    Choice(
        "Why does the last step of sampling add no noise?",
        noise_at_the_end,
        {
            "zero": (
                "because $\\sigma_1 = 0$ there",
                "$\\tilde\\beta_1$ is zero, but the model's $\\sigma_1$ is not: the likelihood of "
                "this chapter needs it.",
            ),
            "bound": (
                "because the bound asks for the mean there",
                "The bound asks for the mass of the true level under the Gaussian, $\\sigma_1$ and "
                "all. To show the mean is a choice of the sampler.",
            ),
            "stays": (
                "because it would stay in the picture",
                "After this step nobody takes noise out any more. The mean is the best guess at the "
                "picture, and noise leads away from it.",
            ),
        },
    ),
]
