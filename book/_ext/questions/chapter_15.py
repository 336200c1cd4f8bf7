"""Chapter 15: the flow behind the chain, its solvers and its density, and the straight lines."""

import math
from functools import cache

import torch
from ddpm_lite import (
    GaussianDiffusion,
    NoiseSchedule,
    Oracle,
    cosine_schedule,
    ddim,
    dpm_solver,
    heun,
    line_schedule,
    reverse_marginals,
    sample,
)

from questions.kinds import Choice, Numeric


def of(value: float) -> torch.Tensor:
    return torch.full((1, 1), value, dtype=torch.float64)


@cache
def without_the_noise() -> str:
    """How wide the reverse SDE ends without its noise, for pixels N(0.4, 0.3^2)."""
    schedule = cosine_schedule()
    end = reverse_marginals(schedule, 0 * schedule.beta, 0.4, 0.3)[1][1].sqrt()
    right = (schedule.alpha_bar[1] * 0.3**2 + 1 - schedule.alpha_bar[1]).sqrt()
    return "narrow" if end < 0.9 * right else "wide" if end > 1.1 * right else "same"


@cache
def exact_in_one_step() -> str:
    """For which data DDIM goes from T to T/10 in one step as in many."""
    schedule = cosine_schedule()
    diffusion, start = GaussianDiffusion(schedule), torch.tensor([[-1.0], [0.7]]).double()
    data = {
        "gauss": Oracle(schedule, of(0.4), 0.3),
        "one": Oracle(schedule, of(0.4)),
        "two": Oracle(schedule, torch.tensor([[-0.7], [0.7]]).double()),
    }

    def at_100(oracle: Oracle, steps: list[int]) -> torch.Tensor:
        walk = ddim(diffusion, oracle, (2, 1), steps=steps, clip=False, start=start)
        return next(step.xt for step in walk if step.t == 100)

    few, many = [100, 1000], list(range(100, 1001))
    exact = [n for n, o in data.items() if torch.allclose(at_100(o, few), at_100(o, many))]
    return exact[0] if len(exact) == 1 else "none"


@cache
def error_of_heun(steps: int) -> float:
    """From T to T/8, for one Gaussian pixel, whose flow is known."""
    line = line_schedule(4096)
    diffusion, oracle = GaussianDiffusion(line, "x0"), Oracle(line, of(0.4), 0.3)
    spread = (line.alpha_bar * 0.3**2 + 1 - line.alpha_bar).sqrt()
    exact = line.alpha_bar[512].sqrt() * 0.4 + spread[512] / spread[-1]
    times = [512 + i * 3584 // steps for i in range(steps + 1)]
    walk = heun(diffusion, oracle.x0_hat, (1, 1), steps=times, clip=False, start=of(1.0))
    return float((next(step.xt for step in walk if step.t == 512) - exact).abs())


def log_density_of_stretched() -> float:
    """Of a number that becomes a normal one, whose logarithm of the density is -1, by doubling."""
    normal = torch.distributions.Normal(of(0.0), of(1.0))
    halved = torch.distributions.AffineTransform(0.0, 0.5)
    number = (2 - math.log(2 * math.pi)) ** 0.5
    pixels = torch.distributions.TransformedDistribution(normal, [halved])
    return float(pixels.log_prob(of(number / 2)))


def image_of_the_line() -> float:
    """At s = 0.25, from the point 0.4 and the velocity -0.8."""
    line = line_schedule(4)
    diffusion = GaussianDiffusion(line, "u")
    xt = diffusion.from_line(of(0.4), torch.tensor([1]))
    return float(diffusion.convert(of(-0.8), xt, 1, "u", "x0"))


@cache
def brightness_left(snr: float = 0.003, dims: float = 4000, spread: float = 0.5) -> float:
    """The spread of the mean that the flow draws from pure noise, over that of the data."""
    end = math.acos((snr / (1 + snr)) ** 0.5)
    kept = torch.linspace(0, end, 1001, dtype=torch.float64).cos() ** 2
    schedule = NoiseSchedule(1 - kept[1:] / kept[:-1])
    oracle = Oracle(schedule, of(0.0), spread * dims**0.5)
    diffusion, steps = GaussianDiffusion(schedule, "x0"), list(range(1, 1001))
    drawn = sample(
        diffusion, oracle.x0_hat, (1, 1), dpm_solver, steps=steps, clip=False, start=of(1.0)
    )
    return float(drawn) / spread / dims**0.5


ASKED = [
    Choice(
        "Someone takes the reverse SDE, with $\\lambda = 1$, and leaves out its noise alone. What "
        "becomes of the samples?",
        without_the_noise,
        {
            "same": (
                "they have the right spread: noise has mean zero",
                "Its mean is zero and its variance is not. The spread that the noise would put back "
                "is missing. The flow also takes but half of the score.",
            ),
            "wide": (
                "their spread is too large: they do not settle",
                "The score draws them together, and nothing drives them apart any more.",
            ),
            "narrow": (
                "their spread is too small",
                "Half of the score is there to make up for the noise. Without the noise it only "
                "draws together. The flow, $\\lambda = 0$, leaves out both.",
            ),
        },
    ),
    Choice(
        "For which data does one large step of DDIM end where many small ones do?",
        exact_in_one_step,
        {
            "one": (
                "for a single picture",
                "Then $\\hat x_0$ is that picture at every point and every $t$. Euler's rule holds "
                "it fixed, and it is fixed.",
            ),
            "gauss": (
                "for Gaussian data, whose score is linear",
                "Linear in $x_t$ is not constant: $\\hat x_0$ moves along the path, and one step "
                "holds the first answer.",
            ),
            "two": (
                "for a few pictures that lie far apart",
                "In the end each path has its picture. But at $T$ the answer is their mean, and one "
                "step would go there.",
            ),
        },
    ),
    Numeric(
        "Heun's rule errs by 0.08 with 64 calls. By how much with 256 calls, if the steps are small "
        "enough for its order to hold?",
        lambda: 0.08 * error_of_heun(896) / error_of_heun(224),
        "A quarter of the step, and the error falls with its square: $0.08 / 16$. That each step takes "
        "two calls counts on both sides.",
        {
            "That is a rule of first order, as DDIM. Of second order means the square.": lambda: (
                0.02
            ),
            "The step is a quarter, not a half, and its square counts.": lambda: 0.04,
            "That is the third power. Of second order means the square.": lambda: 0.08 / 64,
        },
        within=0.02,
    ),
    Numeric(
        "A flow on a line takes data to noise and doubles all distances. Where a point ends, the log "
        "density of the noise is $-1$. What is the log density of the data at the point?",
        log_density_of_stretched,
        "On the way to the noise the density is halved, so before it was twice as large: "
        "$-1 + \\ln 2$. The integral of the divergence is that logarithm.",
        {
            "That is the other way round. Where a flow spreads points apart, the density falls on "
            "the way, so it was larger before.": lambda: -1 - math.log(2),
            "That moves the point and forgets the divergence.": lambda: -1.0,
            "The density doubles, so its logarithm grows by $\\ln 2$.": lambda: 1.0,
            "That adds a bit to nats. In nats a doubling is $\\ln 2$.": lambda: 0.0,
        },
    ),
    Numeric(
        "At $s = 0.25$ the point is $z_s = 0.4$, and the network says $\\hat u = -0.8$. What is "
        "$\\hat x_0$?",
        image_of_the_line,
        "$0.4 - 0.25 \\cdot (-0.8)$: go back along the line for the time that has passed.",
        {
            "That walks on towards the noise. The picture is at $s = 0$.": lambda: 0.4 - 0.2,
            "That is $\\hat\\varepsilon$, at the other end of the line.": lambda: 0.4 - 0.75 * 0.8,
            "That goes back by $1-s$. From the picture only $s$ has passed.": lambda: (
                0.4 + 0.75 * 0.8
            ),
            "That goes back the whole length of the line. The point has come a quarter of it.": (
                lambda: 0.4 + 0.8
            ),
        },
    ),
    Numeric(
        "Pictures of 4,000 numbers have a mean brightness with spread 0.5, and "
        "$\\mathrm{SNR}(T) = 0.003$. Which share of this spread is drawn from pure noise at $T$?",
        brightness_left,
        "$(1 + 4000 \\cdot 0.003 \\cdot 0.25)^{-1/2}$. In one pixel such a signal is nothing; the mean "
        "of 4,000 shows it clearly, and the network misses it.",
        {
            "That is for a single number. The mean of $D$ pixels has $D$ times less noise.": lambda: (
                (1 + 0.003 * 0.25) ** -0.5
            ),
            "The spread is squared: it is compared with a variance.": lambda: (1 + 6) ** -0.5,
            "The root is missing. A spread was asked for, not a variance.": lambda: 0.25,
            "That is upside down. Pure noise has hardly any brightness, so less is drawn.": lambda: (
                2.0
            ),
        },
    ),
]
