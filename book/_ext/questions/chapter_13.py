"""Chapter 13: what later work changed."""

from collections.abc import Sequence
from typing import Any

import torch
from ddpm_lite import GaussianDiffusion, NoiseSchedule, cosine_schedule
from ddpm_lite.guidance import guided

from questions.kinds import Choice, Numeric, Order, run, same

COSINE = cosine_schedule()


def of(value: float) -> torch.Tensor:
    return torch.full((1, 1), value, dtype=torch.float64)


def mixed_variance() -> float:
    """At r = 0, between beta_t = 0.04 and beta_tilde_t = 0.01."""
    schedule = NoiseSchedule([0.01 / 0.76, 0.04])
    diffusion = GaussianDiffusion(schedule, variance="learned")
    output = torch.zeros(1, 2, dtype=torch.float64)  # eps, and r
    return float(diffusion.p_from_output(output, of(0.3), 2).variance)


def moved_by_the_bound() -> str:
    """Which of two outputs feels the bound in the hybrid loss."""
    diffusion = GaussianDiffusion(COSINE.rescaled(50), variance="learned")
    numbers = torch.tensor([0.3, 0.2]).double().requires_grad_()
    x0 = torch.linspace(-1, 1, 16, dtype=torch.float64).view(1, 1, 4, 4)
    eps = x0.flip(3)

    def network(xt: Any, t: Any) -> torch.Tensor:
        return torch.cat([numbers[0] * xt, numbers[1].expand_as(xt)], dim=1)

    loss = diffusion.p_losses(network, x0, 20, eps).sum()
    xt = diffusion.q_sample(x0, 20, eps)
    simple = ((numbers[0] * xt - eps) ** 2).mean()
    hybrid, plain = (torch.autograd.grad(x, numbers, allow_unused=True)[0] for x in (loss, simple))
    mean, variance = (hybrid - plain).abs() > 1e-12
    names = {(False, True): "variance", (True, True): "both"}
    return names[bool(mean), bool(variance)]


def min_snr() -> float:
    """On the error of eps, at SNR 20 and gamma 5."""
    diffusion = GaussianDiffusion(NoiseSchedule([1 / 21]))
    return float(diffusion.loss_weight("min_snr", gamma=5.0)[1])


def jumps(order: Sequence[str]) -> bool:
    """Whether the lines are the package's jump of DDIM from 600 to 400, and leave t there."""
    a, b = COSINE.alpha_bar[600], COSINE.alpha_bar[400]
    x = of(0.7)

    def network(x: torch.Tensor, t: int) -> torch.Tensor:
        return x**2 + t / 1000

    names = run(order, x=x, t=600, s=400, alpha_bar=COSINE.alpha_bar, network=network)
    eps_hat = network(x, 600)
    right = b.sqrt() * (x - (1 - a).sqrt() * eps_hat) / a.sqrt()
    right = right + (1 - b).sqrt() * eps_hat
    return names.get("t") == 400 and same(names["x"], right)


def old_noise() -> float:
    """Its factor in a step with sigma^2 = 0.2 to a stop with 1 - alpha_bar_s = 0.5."""
    diffusion = GaussianDiffusion(NoiseSchedule([0.5, 0.25]))
    xt = of(0.625**0.5)  # of a noise of one, and x_0 = 0
    return float(diffusion.q_posterior(of(0.0), xt, 2)[0])


def guided_noise(scale: float) -> float:
    """Where a network says 0.2 without the label, and 0.5 with it."""

    class Labelled(torch.nn.Module):
        classes = 2  # one, and none

        def forward(self, xt: Any, t: Any, labels: Any) -> torch.Tensor:
            known = torch.where(labels == 0, 0.5, 0.2).to(xt)
            return known.view(-1, 1).expand_as(xt)

    model = guided(Labelled(), torch.tensor([0]), scale)
    return float(model(of(0.0), torch.tensor([1])))


ASKED = [
    Numeric(
        "Let $\\beta_t = 0.04$ and $\\tilde\\beta_t = 0.01$. Which variance does a network that says "
        "$r = 0$ mean?",
        mixed_variance,
        "$u = \\tfrac12$, and the logarithms are mixed: $\\sqrt{0.04 \\cdot 0.01}$.",
        {
            "That mixes the variances. The logarithms are mixed.": lambda: 0.025,
            "That is $u = 0$. $r$ runs from $-1$ to 1, and $r = 0$ is the middle.": lambda: 0.01,
            "That is $u = 1$, which $r = 1$ says.": lambda: 0.04,
        },
    ),
    Choice(
        "In the hybrid loss the factor 0.001 is replaced by 1. Which outputs of the network have "
        "another gradient now?",
        moved_by_the_bound,
        {
            "both": (
                "the mean and the variance: $L$ contains both",
                "$L$ does, but in it the mean's gradient is stopped. $L_{\\mathrm{simple}}$ alone "
                "trains the mean.",
            ),
            "mean": (
                "the mean alone: it is what the squared error is about",
                "The squared error is in $L_{\\mathrm{simple}}$, which has kept its factor. In $L$ "
                "the mean is held.",
            ),
            "variance": (
                "the variance alone",
                "Only the second output feels $L$. (The two share their layers, so what they learn "
                "there does change.)",
            ),
        },
    ),
    Numeric(
        "At $\\mathrm{SNR}(t) = 20$, what is the min-SNR weight, with $\\gamma = 5$, on the squared "
        "error of a network that says $\\varepsilon$?",
        min_snr,
        "5 on the error of $x_0$, divided by the SNR, since the squared error of $\\varepsilon$ is "
        "20 times that of $x_0$.",
        {
            "That is the weight on the error of $x_0$.": lambda: 5.0,
            "That is for $v$: there it is divided by $\\mathrm{SNR} + 1$.": lambda: 5 / 21,
            "That is the plain loss. The steps with little noise get less than that.": lambda: 1.0,
            "That is upside down.": lambda: 4.0,
        },
        within=0.004,
    ),
    Order(
        "Put a jump of DDIM without noise in order, from $t$ to $s$, so that the next one can "
        "follow.",
        (
            "a, b = alpha_bar[t], alpha_bar[s]",
            "eps_hat = network(x, t)",
            "x0_hat = (x - (1 - a).sqrt() * eps_hat) / a.sqrt()",
            "x = b.sqrt() * x0_hat + (1 - b).sqrt() * eps_hat",
            "t = s",
        ),
        {
            (0, 2): "The guess needs $\\bar\\alpha_t$.",
            (1, 2): "The guess needs what the network says of $x_t$.",
            (2, 3): "The jump keeps the guess and the old noise; both must be there.",
            (0, 4): "`a` belongs to where $x$ comes from. Move $t$ later.",
            (1, 4): "The network must be told where $x$ comes from. Move $t$ later.",
        },
        jumps,
        "One answer of the network serves both parts: the guess, and the noise that is kept.",
    ),
    Numeric(
        "A jump ends at $1-\\bar\\alpha_s = 0.5$ and draws fresh noise of variance "
        "$\\sigma^2 = 0.2$. What is $\\hat\\varepsilon$ multiplied by?",
        old_noise,
        "The variances must add to 0.5, so $\\sqrt{0.5 - 0.2}$.",
        {
            "Then the noise would have the variance 0.7, too much for this stop.": lambda: 0.5**0.5,
            "That is the variance of the old part; its root is the factor.": lambda: 0.3,
            "That is the fresh part's factor, $\\sigma$.": lambda: 0.2**0.5,
            "Variances are subtracted, not standard deviations.": lambda: 0.5**0.5 - 0.2**0.5,
        },
    ),
    Numeric(
        "A network says 0.2 without the label and 0.5 with it. What is $\\tilde\\varepsilon$ at scale "
        "$g = 3$?",
        lambda: guided_noise(3.0),
        "$0.2 + 3 \\cdot 0.3$: beyond the answer with the label, away from the one without.",
        {
            "That takes the scale for $g - 1$.": lambda: 0.2 + 4 * 0.3,
            "That goes from the answer with the label towards the one without.": lambda: (
                0.5 + 3 * (0.2 - 0.5)
            ),
            "That is the answer with the label, scale 1.": lambda: 0.5,
            "The difference is multiplied, not the answer.": lambda: 3 * 0.5,
        },
    ),
]
