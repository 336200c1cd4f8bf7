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
    """What becomes of an average at 1 that follows weights at 1.5, with d = 0.9999."""
    average = torch.ones(1, dtype=torch.bfloat16)
    goal = torch.full_like(average, 1.5)
    for _ in range(20_000):
        average = average + (1 - 0.9999) * (goal - average)
    if not average.isfinite():
        return "overflow"
    return "stays" if average == 1 else "follows"


def same_gradient() -> str:
    """Which way to take a batch in two parts has the gradient of the whole batch."""
    torch.manual_seed(0)
    layer, x = nn.Linear(3, 1).double(), torch.randn(8, 3).double()

    def gradient(*parts: torch.Tensor) -> torch.Tensor:
        found = []
        for part in parts:
            layer.zero_grad()
            layer(part).square().mean().backward()
            assert layer.weight.grad is not None
            found.append(layer.weight.grad.clone())
        return torch.stack(found)

    whole, (one, two) = gradient(x)[0], gradient(*x.chunk(2))
    ways = {"mean": (one + two) / 2, "sum": one + two, "half": one}
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
    ),
    Choice(
        "Someone keeps the averaged weights in bfloat16, with $d = 0.9999$. What becomes of the "
        "average of a weight that has moved from 1 to 1.5?",
        average_in_bfloat16,
        {
            "follows": (
                "it follows, with two digits",
                "It would if a step moved it at all. One step is a ten-thousandth of the "
                "difference, less than half of the last digit.",
            ),
            "stays": (
                "it stays at 1 for ever",
                "Each step would add $0.00005$, and the next larger number in bfloat16 is "
                "$1.0078$. So every step rounds away.",
            ),
            "overflow": (
                "it overflows",
                "bfloat16 has the range of float32; what it lacks is digits.",
            ),
        },
    ),
    Choice(
        "A batch does not fit and is cut into two equal parts. How does one get the gradient of the "
        "whole batch's loss, which is a mean? (There is no dropout.)",
        same_gradient,
        {
            "mean": (
                "take the mean of the two gradients, then the step",
                "The loss of the whole is the mean of the two losses, and a derivative is linear.",
            ),
            "sum": (
                "add the two gradients, then take the step",
                "Each loss is a mean over its own half already. The sum is twice as large, as if the "
                "learning rate were doubled.",
            ),
            "half": (
                "take a step after each part",
                "That is a batch of half the size: noisier gradients, and twice as many steps.",
            ),
        },
    ),
    Numeric(
        "In this book $t$ runs over $1, \\dots, 1000$. What must a network of diffusers be told at "
        "our $t = 1000$?",
        lambda: told(1000),
        "It counts from 0, so it knows the times 0 to 999. `ZeroBased` hands on $t - 1$.",
        {
            "It has never been trained with that number, and no error is raised.": lambda: 1000,
            "One less, not one more: its first step is called 0.": lambda: 1001,
        },
        within=0,
    ),
]
