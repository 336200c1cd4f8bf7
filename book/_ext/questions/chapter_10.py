"""Chapter 10: what is inside the network."""

from collections.abc import Sequence

import torch
from ddpm_lite import time_embedding
from ddpm_lite.blocks import ResBlock
from torch import nn
from torch.nn.functional import avg_pool2d, interpolate, silu

from questions.kinds import Choice, Numeric, Order, run


def noisier_neighbour() -> str:
    """Whose answers for one image change when another of the batch gets more noise."""
    first, other = torch.linspace(-1, 1, 128).view(2, 4, 4, 4)
    changed = {}
    for name, norm in (
        ("batch", nn.BatchNorm2d(4)),
        ("group", nn.GroupNorm(2, 4)),
    ):
        quiet, loud = (norm(torch.stack([first, factor * other]))[0] for factor in (1, 9))
        changed[name] = not torch.allclose(quiet, loud, atol=1e-4)
    return {(True, False): "batch", (True, True): "both"}[changed["batch"], changed["group"]]


def block_of(order: Sequence[str]) -> bool:
    """Whether the lines are the package's block, with numbers at random in every layer."""
    torch.manual_seed(0)
    block = ResBlock(4, 8, time_width=16, dropout=0.0).double()
    for weights in block.parameters():
        nn.init.normal_(weights, std=0.5)
    x = torch.randn(2, 4, 4, 4).double()
    temb = torch.randn(2, 16).double()
    names = run(
        order,
        x=x,
        temb=temb,
        silu=silu,
        norm1=block.norm1,
        conv1=block.conv1,
        norm2=block.norm2,
        conv2=block.conv2,
        shortcut=block.shortcut,
        time=lambda v: block.time(v)[:, :, None, None],
    )
    return "out" in names and torch.allclose(names["out"], block(x, temb))


def as_alike_as_10_and_13() -> str:
    pairs = {"steps": (500, 503), "ratio": (100, 130)}
    alike = {
        name: float(time_embedding(torch.tensor(pair), 128).prod(0).sum())
        for name, pair in (pairs | {"asked": (10, 13)}).items()
    }
    found = [name for name in pairs if abs(alike[name] - alike["asked"]) < 0.1]
    return found[0] if len(found) == 1 else "none"


def more_pairs(times: int) -> float:
    """How many times as many entries the matrix of attention has, at so many times the side."""
    small, large = (torch.empty(side**2, 8, device="meta") for side in (8, 8 * times))
    return (large @ large.T).numel() / (small @ small.T).numel()


def wider_by() -> int:
    """By how many pixels one more convolution at half the size widens the field."""

    def field(convolutions: int) -> int:
        x = torch.zeros(1, 1, 32, 32, requires_grad=True)
        y = avg_pool2d(x, 2)
        for _ in range(convolutions):
            y = nn.functional.conv2d(y, torch.ones(1, 1, 3, 3), padding=1)
        out = interpolate(y, scale_factor=2)[0, 0, 16, 16]
        (slope,) = torch.autograd.grad(out, x)
        return int((slope[0, 0].abs().sum(0) > 0).sum())

    return field(2) - field(1)


ASKED = [
    Choice(
        "In a batch one image is exchanged for a much noisier one, of a larger $t$. In training, "
        "for which network does the answer to *another* image of the batch change?",
        noisier_neighbour,
        {
            "batch": (
                "with BatchNorm alone",
                "It takes its mean and variance over the batch, so each image is seen beside its "
                "neighbours' noise. GroupNorm looks at one image at a time.",
            ),
            "both": (
                "with BatchNorm and with GroupNorm",
                "GroupNorm also takes a mean, but over the channels of a group and the pixels of the "
                "one image.",
            ),
            "none": (
                "with neither: each image has its own $t$",
                "Each has its own $t$, and that is the trouble: BatchNorm mixes images whose noise "
                "has nothing in common.",
            ),
        },
    ),
    Order(
        "Put the paper's residual block in order.",
        (
            "h = conv1(silu(norm1(x)))",
            "h = h + time(silu(temb))",
            "h = conv2(silu(norm2(h)))",
            "out = shortcut(x) + h",
        ),
        {
            (0, 1): "The time is added to what the first convolution makes.",
            (1, 2): "The time comes in between: the second norm and convolution see it.",
            (2, 3): "The correction is finished before it is added to the input.",
        },
        block_of,
        "Norm, activation, convolution; the time; once more; and the sum past it all.",
    ),
    Choice(
        "Which two times look as much alike to the embedding as 10 and 13?",
        as_alike_as_10_and_13,
        {
            "ratio": (
                "100 and 130",
                "The ratio is the same, but the clocks count steps: between these lie thirty of "
                "them.",
            ),
            "none": (
                "no others: early times look more alike than late ones",
                "Sines alone would depend on the place. With the cosines beside them only the "
                "difference counts.",
            ),
            "steps": (
                "500 and 503",
                "$e(t) \\cdot e(s)$ is a sum of $\\cos(\\omega_i(t-s))$, so only the difference "
                "counts.",
            ),
        },
    ),
    Numeric(
        "An image gets three times the side. How many times as many entries has the matrix $A$ of "
        "attention?",
        lambda: more_pairs(3),
        "Nine times the pixels, and a pair of them for each entry: $9^2$. Linear attention keeps "
        "nine times as much.",
        {
            "That is how many pixels there are. $A$ has an entry for each pair.": lambda: 9,
            "That is a cube. $A$ has $N^2$ entries, and $N$ is a square itself.": lambda: 27,
            "That is the side.": lambda: 3,
        },
    ),
    Numeric(
        "By how many pixels of the image does one more $3 \\times 3$ convolution widen the "
        "receptive field, both sides together, if it stands one level down, at half the size?",
        wider_by,
        "One pixel on either side there, and each of those is two pixels of the image.",
        {
            "So it would at full size. One level down a pixel is two pixels wide.": lambda: 2,
            "One pixel down there on either side is two of the image on either side.": lambda: 8,
            "A kernel of three reaches one pixel to either side of its middle.": lambda: 6,
        },
    ),
]
