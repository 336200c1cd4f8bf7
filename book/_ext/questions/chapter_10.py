"""Chapter 10: what is inside the network."""

from collections.abc import Sequence

import torch
from ddpm_lite import time_embedding
from ddpm_lite.blocks import ResBlock
from torch import nn
from torch.nn.functional import avg_pool2d, interpolate, silu

from questions.kinds import Choice, Numeric, Order, run


def moved_by_a_pixel() -> str:
    """Which outputs of GroupNorm change with one pixel of the first channel of the first image."""
    x = torch.linspace(-1, 1, 128).view(2, 4, 4, 4) ** 3
    changed = x.clone()
    changed[0, 0, 0, 0] = 100
    norm = nn.GroupNorm(2, 4)
    moved = ((norm(x) - norm(changed)).abs() > 1e-3).flatten(2).all(2)
    names = {"instance": (1, 0), "group": (2, 0), "layer": (4, 0), "batch": (1, 1)}
    return {of: name for name, of in names.items()}[int(moved[0].sum()), int(moved[1].sum())]


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
        "GroupNorm has two groups for four channels. In the first channel of one image a single "
        "pixel is made very large. In which channels do the outputs change, at all their pixels?",
        moved_by_a_pixel,
        {
            "instance": (
                "in the first channel of this image",
                "So they would with a mean over each channel by itself, which is four groups of one "
                "channel each.",
            ),
            "group": (
                "in the first two channels of this image",
                "The pixel moves the mean and the deviation of its group, and all of the group is "
                "normalised by these. The other group and the other images take no part.",
            ),
            "layer": (
                "in all four channels of this image",
                "So they would with one group. The second group has a mean and a deviation of its "
                "own.",
            ),
            "batch": (
                "in the first channel of every image of the batch",
                "That is BatchNorm in training, which has one mean for a channel, over the batch. "
                "GroupNorm looks at one image at a time.",
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
        "An image gets three times the side. By which factor does the number of entries of $A$, "
        "the matrix of attention, grow?",
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
