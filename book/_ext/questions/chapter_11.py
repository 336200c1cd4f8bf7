"""Chapter 11: what a step costs, averages, sixteen bits, and counting from one."""

import torch
from ddpm_lite import ZeroBased
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from questions.kinds import Choice, Numeric


def operations() -> float:
    """Millions for one convolution, 3 x 3 from 64 to 128 channels on 16 x 16, counted."""
    layer = nn.Conv2d(64, 128, 3, padding=1, device="meta")
    with FlopCounterMode(display=False) as counter:
        layer(torch.empty(1, 64, 16, 16, device="meta"))
    return counter.get_total_flops() / 1e6


def left_of_jitter(decay: float) -> float:
    """The variance of an average of independent numbers of variance one."""
    weights = (1 - decay) * decay ** torch.arange(10_000, dtype=torch.float64)
    return float(weights.square().sum())


def average_in_bfloat16() -> str:
    """Where an average at 1 ends that follows weights at 1.5, with d = 0.99."""
    average = torch.ones(1, dtype=torch.bfloat16)
    goal = torch.full_like(average, 1.5)
    for _ in range(20_000):
        average = average + (1 - 0.99) * (goal - average)
    end = float(average)
    return "stays" if end == 1 else "follows" if abs(end - 1.5) < 0.02 else "between"


def same_gradient() -> str:
    """Which way to take a batch of twelve in parts of eight and four has the whole one's gradient."""
    torch.manual_seed(0)
    layer, x = nn.Linear(3, 1).double(), torch.randn(12, 3).double()

    def gradient(part: torch.Tensor) -> torch.Tensor:
        layer.zero_grad()
        layer(part).square().mean().backward()
        assert layer.weight.grad is not None
        return layer.weight.grad.clone()

    whole, one, two = map(gradient, (x, x[:8], x[8:]))
    ways = {"mean": (one + two) / 2, "sum": one + two, "shares": (2 * one + two) / 3}
    (right,) = (n for n, g in ways.items() if torch.allclose(g, whole))
    return right


def told(t: int) -> float:
    """What a network that counts from zero is told at our t."""
    seen: list[float] = []

    class Listens(nn.Module):
        def forward(self, xt: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            seen.append(float(t[0]))
            return xt

    x = torch.zeros(1, 1, 2, 2)
    ZeroBased(Listens())(x, torch.tensor([t]))
    return seen[0]


ASKED = [
    Numeric(
        "A $3 \\times 3$ convolution from 64 to 128 channels makes $16 \\times 16$ pixels. How many "
        "million operations is that, forward?",
        operations,
        "$2 \\cdot 9 \\cdot 64 \\cdot 128 \\cdot 256$.",
        {
            "Each weight takes a multiplication and an addition.": lambda: 9 * 64 * 128 * 256 / 1e6,
            "That is forward and backward together.": lambda: 3 * operations(),
            "That is a $1 \\times 1$ convolution: the kernel has nine weights.": lambda: (
                operations() / 9
            ),
            "That is one pixel of the 256.": lambda: operations() / 256,
        },
    ),
    Numeric(
        "Weights jitter independently from step to step, and an average has $d = 0.98$. Which share "
        "of their variance is left in the average?",
        lambda: left_of_jitter(0.98),
        "$(1-d)/(1+d) = 0.02/1.98$: as much as a plain mean of 99 steps leaves.",
        {
            "That is $1-d$, the weight of the newest step. The squares of all weights add up.": (
                lambda: 0.02
            ),
            "That is a standard deviation; the variance is its square.": lambda: (
                (0.02 / 1.98) ** 0.5
            ),
            "That is what has gone.": lambda: 1 - 0.02 / 1.98,
        },
        within=0.02,
    ),
    Choice(
        "Someone keeps the averaged weights in bfloat16, with $d = 0.99$. A weight has moved from "
        "1 to 1.5 and stays there. Where does its average end?",
        average_in_bfloat16,
        {
            "follows": (
                "at 1.5, to two digits",
                "It sets out for it. But a step is a hundredth of the way that is left, and the "
                "nearer the average comes, the smaller the step.",
            ),
            "between": (
                "on the way, well below 1.5",
                "Above 1 the numbers of bfloat16 are $2^{-7}$ apart, and less than half of that "
                "rounds away. The first step, 0.005, is more. Once less than 0.4 is left to go, "
                "every step is lost.",
            ),
            "stays": (
                "at 1: every step rounds away",
                "So it is with $d = 0.9999$. Here the first step is $0.01 \\cdot 0.5 = 0.005$, more "
                "than half of the last digit, $2^{-8} = 0.004$.",
            ),
        },
    ),
    Choice(
        "A batch of twelve images is cut into parts of eight and four. Each part's loss is a mean "
        "over its own images. Which sum of the two gradients is that of the whole batch's mean? "
        "(There is no dropout.)",
        same_gradient,
        {
            "mean": (
                "half of each",
                "Then each of the four images has twice the say of each of the eight. The plain mean "
                "is right for equal parts.",
            ),
            "sum": (
                "the two added",
                "Each loss is a mean already. The sum is about twice as large, as if the learning "
                "rate were doubled.",
            ),
            "shares": (
                "two thirds of the first and a third of the second",
                "The mean over twelve is $\\tfrac{8}{12}$ of the one mean and $\\tfrac{4}{12}$ of "
                "the other, and a derivative is linear.",
            ),
        },
    ),
    Numeric(
        "In this book $t$ runs over $1, \\dots, 1000$. What must a network of diffusers be told at "
        "our $t = 1$?",
        lambda: told(1),
        "It counts from 0, so it knows the times 0 to 999. `ZeroBased` hands on $t - 1$.",
        {
            "Then it takes $x_t$ for that of the next step, and no error is raised.": lambda: 1,
            "One less, not one more: its first step is called 0.": lambda: 2,
        },
        within=0,
    ),
]
