"""Chapter 3: what a step back is, which Gaussian is the best, and what it costs."""

import torch
from ddpm_lite import GaussianDiffusion, NoiseSchedule, Oracle

from questions.kinds import Choice, Numeric

PIXEL = torch.tensor([[-0.8], [0.8]], dtype=torch.float64)
GRID = torch.linspace(-4, 4, 4001, dtype=torch.float64)


def peaks(beta: float) -> int:
    """How many peaks the step back from 0.1 has after a second step of this size."""
    oracle = Oracle(NoiseSchedule([0.1, beta]), PIXEL)
    seen = torch.tensor([[0.1]], dtype=torch.float64)
    weights, means, variances = (p.flatten() for p in oracle.q_reverse(seen, 2))
    parts = torch.distributions.Normal(means, variances.sqrt())
    q = (weights * parts.log_prob(GRID[:, None]).exp()).sum(1)
    return int(((q[1:-1] > q[:-2]) & (q[1:-1] > q[2:])).sum())


def gaussian_back() -> str:
    """Two peaks, or one, after a large step and after a small one."""
    found = {(1, 1): "always", (2, 1): "small", (2, 2): "never"}
    return found[peaks(0.5), peaks(0.005)]


def best_variance() -> float:
    """That of two even peaks at -1 and 1, each of standard deviation 0.5."""
    oracle = Oracle(NoiseSchedule([0.5]), PIXEL / 0.8, std=0.5)
    q = oracle.log_density(GRID[:, None], 0).softmax(0)
    mean = (q * GRID).sum()
    return float((q * (GRID - mean) ** 2).sum())


def step_back(xt: float, score: float, beta: float = 0.36) -> float:
    """The mean of a chain of one step, with the network's noise from the score."""
    diffusion = GaussianDiffusion(NoiseSchedule([beta]))
    x = torch.tensor([[xt]], dtype=torch.float64)
    eps_hat = -(beta**0.5) * score * torch.ones_like(x)
    return float(diffusion.p_from_output(eps_hat, x, 1, clip=False).mean)


def shape_cost(beta: float) -> float:
    """KL(step back from 0.1 || best Gaussian) in nats, in units z of the step's bump."""
    z = torch.linspace(-12, 12, 8001, dtype=torch.float64)
    oracle = Oracle(NoiseSchedule([0.1]), PIXEL)
    before = 0.1 / (1 - beta) ** 0.5 + (beta / (1 - beta)) ** 0.5 * z
    q = (oracle.log_density(before[:, None], 1) - z**2 / 2).softmax(0)
    mean = (q * z).sum()
    std = (q * (z - mean) ** 2).sum().sqrt()
    best = torch.distributions.Normal(mean, std).log_prob(z).softmax(0)
    inside = q > 0
    return float((q * (q.log() - best.log()))[inside].sum())


ASKED = [
    Choice(
        "Each step of $q$ is Gaussian. What about the step back, "
        "$q(x_{t-1} \\mid x_t)$, for the dark and light pixels?",
        gaussian_back,
        {
            "always": (
                "Gaussian as well: Bayes' rule turns a Gaussian round",
                "It would if the other factor, the density of $x_{t-1}$, were Gaussian too. Here it "
                "has two peaks, and after a large step so has the product.",
            ),
            "small": (
                "nearly Gaussian, where the step is small beside the width of the peaks",
                "Then the bump of the step is so narrow that the data's density hardly bends "
                "within it. A large step leaves two peaks.",
            ),
            "never": (
                "two peaks whatever the step, since the data have two",
                "A small step cannot have come from far away. Within its narrow bump the density "
                "hardly bends, so the product has one peak, wherever it lies.",
            ),
        },
    ),
    Numeric(
        "A step back has two even peaks, $\\mathcal{N}(-1, 0.25)$ and $\\mathcal{N}(1, 0.25)$. "
        "What is the variance of the best Gaussian?",
        best_variance,
        "It has the variance of the whole: 0.25 within each peak, and 1 between them.",
        {
            "That is one peak's. The best Gaussian must cover both.": lambda: 0.25,
            "That is the spread of the centres. Each peak has a width besides.": lambda: 1.0,
            "That is the standard deviation.": lambda: 1.25**0.5,
            "The widths are variances already: 0.25, not its root.": lambda: 1 + 0.25**0.5,
        },
    ),
    Numeric(
        "At $x_t = 0.5$ the score is $-1$, and $\\beta_t = 0.36$. What is the mean of $x_{t-1}$?",
        lambda: step_back(0.5, -1.0),
        "$(0.5 + 0.36 \\cdot (-1)) / 0.8$: a step along the score, then the shrinking undone.",
        {
            "That is downhill: the score is added, with its own sign.": lambda: (0.5 + 0.36) / 0.8,
            "The shrinking is not undone yet: divide by $\\sqrt{1-\\beta_t}$.": lambda: 0.5 - 0.36,
            "That undoes the shrinking alone, and forgets the data.": lambda: 0.5 / 0.8,
            "The score is multiplied by the variance $\\beta_t$, not by its root.": lambda: (
                (0.5 - 0.6) / 0.8
            ),
        },
    ),
    Numeric(
        "The data are smooth. A chain gets ten times as many steps, each a tenth as large. By "
        "which factor is the total cost of the Gaussian shape multiplied?",
        lambda: 10 * shape_cost(1e-5) / shape_cost(1e-4),
        "A step's cost goes as $\\beta^3$ and falls to a thousandth; there are ten times as many.",
        {
            "That is one step's cost, and there are ten times as many steps.": lambda: 0.1**3,
            "That holds for the fixed variance, whose cost goes as $\\beta^2$.": lambda: (
                10 * 0.1**2
            ),
            "That holds for a mean without the score: no number of steps mends it.": lambda: 1.0,
            "It falls by that factor. So it is multiplied by one over it.": lambda: 100.0,
        },
        within=0.02,
    ),
]
