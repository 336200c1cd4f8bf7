"""The chain from noise to data as a diagram, and what goes on in it: densities, walks, a bound."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Circle
from numpy.typing import ArrayLike
from torch import Tensor

from ddpm_lite.plots.style import COLORS, INK, PALE, PAPER

__all__ = ["PARTS", "arrows", "chain", "density_map", "jensen", "walks"]

# What stands where on the line, from noise to data; dots stand for the states left out.
STATES = ("$x_T$", "···", "$x_t$", "$x_{t-1}$", "···", "$x_1$", "$x_0$")
END, T, BEFORE, FIRST, DATA = 0, 2, 3, 5, 6
RADIUS = 0.36
BETWEEN = "#2e93cc"  # the blue of a heat map, seen on white and on dark: pixels stay as they are


@dataclass(frozen=True)
class Arrow:
    """From state to state, of q (dashed) or of p (solid); bend is up on the page if positive."""

    start: int
    end: int
    of: str
    bend: float
    name: str = ""


# Every step both ways, named in the middle of the chain only.
STEPS = {
    **{("p", i): Arrow(i, i + 1, "p", 0.34) for i in range(6)},
    **{("q", i): Arrow(i + 1, i, "q", -0.34) for i in range(6)},
}
P_STEP = Arrow(T, BEFORE, "p", 0.34, r"$p_\theta(x_{t-1}\,|\,x_t)$")
Q_STEP = Arrow(BEFORE, T, "q", -0.34, r"$q(x_t\,|\,x_{t-1})$")
Q_JUMP = Arrow(DATA, T, "q", -1.05, r"$q(x_t\,|\,x_0)$")
Q_REVERSE = Arrow(T, BEFORE, "q", 0.34, r"$q(x_{t-1}\,|\,x_t)$")
Q_PRIOR = Arrow(DATA, END, "q", -1.3, r"$q(x_T\,|\,x_0)$")
POSTERIOR = (
    Arrow(T, BEFORE, "q", -0.34),
    Arrow(DATA, BEFORE, "q", -0.95, r"$q(x_{t-1}\,|\,x_t, x_0)$"),
)
DECODER = Arrow(FIRST, DATA, "p", 0.34, r"$p_\theta(x_0\,|\,x_1)$")

# part -> the states and the arrows that are lit, and a name for a state that has none.
PARTS: dict[str, tuple[tuple[int, ...], tuple[Arrow, ...], str]] = {
    "q step": ((T, BEFORE), (Q_STEP,), ""),
    "q chain": (
        (END, T, BEFORE, FIRST, DATA),
        (*(STEPS["q", i] for i in range(6) if i != T), Q_STEP),
        "",
    ),
    "q jump": ((T, DATA), (Q_JUMP,), ""),
    "q reverse": ((T, BEFORE), (Q_REVERSE,), ""),
    "posterior": ((T, BEFORE, DATA), POSTERIOR, ""),
    "p step": ((T, BEFORE), (P_STEP,), ""),
    "p chain": (
        (END, T, BEFORE, FIRST, DATA),
        (*(STEPS["p", i] for i in range(6) if i != T), P_STEP),
        "$p(x_T)$",
    ),
    "prior": ((END, DATA), (Q_PRIOR,), "$p(x_T)$"),
    "kl": ((T, BEFORE, DATA), (P_STEP, *POSTERIOR), ""),
    "decoder": ((FIRST, DATA), (DECODER,), ""),
}


def chain(part: str | None = None) -> None:
    """Draw x_T -> ... -> x_t -> x_{t-1} -> ... -> x_1 -> x_0: p_theta solid, q dashed.

    Args:
        part: what to light up, the rest pale: "q step", "q chain", "q jump" (to x_t at once),
            "q reverse" (the true step back), "posterior", "p step", "p chain", "prior", "kl"
            (posterior against p step) or "decoder". By default all of it is lit, and larger.

    Raises:
        ValueError: no such part.
    """
    if part is not None and part not in PARTS:
        raise ValueError(f"part must be None or one of {', '.join(PARTS)}, got {part!r}")
    every = tuple(range(len(STATES)))
    whole = (every, (*PARTS["q chain"][1], *PARTS["p chain"][1]), "$p(x_T)$")
    lit, arrows, prior = whole if part is None else PARTS[part]
    low = min(-1.0, *(_depth(arrow) - 0.42 for arrow in arrows))
    high = 1.05 if prior or any(arrow.bend > 0 for arrow in arrows) else 0.75
    _, ax = plt.subplots(figsize=(5.6, 0.8 * (high - low)))
    ax.set(xlim=(-0.5, 6.5), ylim=(low, high), aspect="equal")
    ax.set_axis_off()
    covered = {_place(arrow) for arrow in arrows}
    for step in STEPS.values():
        if _place(step) not in covered:
            _arrow(ax, step, PALE)
    for arrow in arrows:
        _arrow(ax, arrow, COLORS[0] if arrow.of == "q" else COLORS[1])
    for place, name in enumerate(STATES):
        if name != "···":
            bright = place in lit
            edge, width = (INK, 1.8) if bright else (PALE, 1.2)
            ax.add_patch(Circle((place, 0), RADIUS, fc=PAPER, ec=edge, lw=width))
        ax.text(place, 0, name, ha="center", va="center", fontsize=12, color=INK)
    if prior:
        ax.text(END, 0.55, prior, ha="center", va="bottom", fontsize=12, color=COLORS[1])


def _place(arrow: Arrow) -> tuple[int, int, bool]:
    """Between which two states, and on which side: no two arrows have room there."""
    return min(arrow.start, arrow.end), max(arrow.start, arrow.end), arrow.bend > 0


def _depth(arrow: Arrow) -> float:
    """How far below the line an arrow reaches; a curve of its kind goes half-way to its handle."""
    length = abs(arrow.end - arrow.start)
    return arrow.bend if length == 1 else min(-RADIUS, arrow.bend)


def _arrow(ax: Axes, arrow: Arrow, color: str) -> None:
    """A curve from the rim of one circle to that of another, with its name beyond its bend."""
    up = 1 if arrow.bend > 0 else -1
    forwards = 1 if arrow.end > arrow.start else -1
    near = abs(arrow.end - arrow.start) == 1
    # Next to each other: from the shoulder of a circle; else from its foot.
    aside, off = (0.27 * forwards, 0.25) if near else (0.1 * forwards, RADIUS)
    start = arrow.start + aside, up * off
    end = arrow.end - aside, up * off
    width = abs(end[0] - start[0])
    sag = abs(arrow.bend) - off  # the curve's middle beyond its ends
    turn = -up * forwards * 2 * sag / width  # arc3 takes the handle's distance, in widths
    ax.annotate(
        "", end, start,
        arrowprops={
            "arrowstyle": "-|>,head_width=0.22,head_length=0.45", "color": color,
            "linestyle": "-" if arrow.of == "p" else (0, (4, 2.5)),
            "linewidth": 1.2 if color == PALE else 1.8, "shrinkA": 0, "shrinkB": 0,
            "connectionstyle": f"arc3,rad={turn}",
        },
    )  # fmt: skip
    if arrow.name:
        middle = (arrow.start + arrow.end) / 2
        place = up * (abs(arrow.bend) + 0.1)
        align = "bottom" if up > 0 else "top"
        ax.text(middle, place, arrow.name, ha="center", va=align, fontsize=12, color=color)


def jensen(low: float, high: float) -> None:
    """Draw Jensen's inequality: two even values of w, the mean of their log, the log of their mean.

    Raises:
        ValueError: unless 0 < low < high.
    """
    if not 0 < low < high:
        raise ValueError(f"low and high must be 0 < low < high, got {low} and {high}")
    _, ax = plt.subplots(figsize=(5.6, 3.0))
    w = np.linspace(low / 2, high * 1.12, 300)
    ends, middle = np.array([low, high]), (low + high) / 2
    chord, curve = np.log(ends).mean(), np.log(middle)
    ax.plot(w, np.log(w), color=INK, linestyle="-", label="log w")
    ax.plot(ends, np.log(ends), color=COLORS[1], linestyle="--", marker="o")
    ax.plot([middle] * 2, [chord, curve], color=COLORS[2], linestyle="-")
    for height, name, color in ((curve, "log E[w]", COLORS[0]), (chord, "E[log w]", COLORS[1])):
        ax.plot(middle, height, "o", color=color)
        above = height == curve
        across, up = ("right", "bottom") if above else ("left", "top")
        ax.annotate(name, (middle, height), (-6 if above else 6, 3 if above else -3),
                    textcoords="offset points", color=color, ha=across, va=up)  # fmt: skip
    ax.annotate("gap", (middle, 0.3 * chord + 0.7 * curve), (5, 0), textcoords="offset points",
                color=COLORS[2], va="center")  # fmt: skip
    ax.set(xlabel="w", ylabel="log w", xticks=[*ends, middle],
           xticklabels=["one value", "the other", "E[w]"])  # fmt: skip


def density_map(
    ax: Axes, x: ArrayLike, density: Float[Tensor, "times N"], last: int, limit: float
) -> None:
    """Draw densities over time as a heat map: the stronger the blue, the more, as a square root.

    Args:
        ax: where to draw.
        x: N even places, from below.
        density: a row for each time, at even distances from 0 to `last`.
        last: the last time.
        limit: the density that is strongest; what is above is drawn so too.
    """
    places = np.asarray(x)
    share = np.clip(np.asarray(density).T[::-1] / limit, 0, 1) ** 0.5  # tails show
    pixels = np.empty((*share.shape, 4))
    pixels[..., :3], pixels[..., 3] = to_rgb(BETWEEN), share
    extent = (0, last, places[0], places[-1])
    ax.imshow(pixels, extent=extent, aspect="auto", interpolation="bilinear", zorder=0)
    ax.set(xlabel="step t", ylabel="pixel value")
    ax.grid(False)


def arrows(
    places: Float[Tensor, "N 2"],
    vectors: Float[Tensor, "N 2"],
    walks: Mapping[str, Iterable[Float[Tensor, "steps 2"]]],
) -> None:
    """Draw a field of arrows, and walks upon it, in a panel for each name.

    A walk begins at a ring and ends at a dot.

    Args:
        places: a square grid.
        vectors: an arrow at each place; it is drawn as long as the square root of its length.
        walks: name -> walks.
    """
    root = vectors / vectors.norm(dim=1, keepdim=True).sqrt().clamp(min=1e-12)
    spacing = (places.amax() - places.amin()) / (len(places) ** 0.5 - 1)
    scale = float(root.norm(dim=1).max() / (1.6 * spacing))
    low, high = float(places.amin() - spacing), float(places.amax() + spacing)
    _, grid = plt.subplots(1, len(walks), figsize=(5.6, 3.1), squeeze=False, sharey=True)
    for ax, (name, paths) in zip(grid.flat, walks.items(), strict=True):
        ax.quiver(*places.T, *root.T, angles="xy", scale_units="xy", scale=scale, color=INK,
                  alpha=0.55, width=0.005, headwidth=4.5)  # fmt: skip
        for path, color in zip(paths, cycle(COLORS), strict=False):
            ax.plot(*path.T, "-", color=color, linewidth=1.2)
            ax.plot(*path[0], "o", color=color, markerfacecolor=PAPER, markersize=5)
            ax.plot(*path[-1], "o", color=color, markersize=5)
        ax.set(xlim=(low, high), ylim=(low, high), aspect="equal")
        ax.set_title(name, fontsize=10)
        ax.grid(False)


def walks(
    ax: Axes,
    times: Sequence[int],
    first: Float[Tensor, "N times"],
    second: Float[Tensor, "M times"],
) -> None:
    """Draw walks over time, those of the first group solid, those of the second dashed."""
    for group, color, dash in ((first, COLORS[1], "-"), (second, INK, "--")):
        for walk in group:
            ax.plot(times, walk, color=color, linestyle=dash, linewidth=0.8)
    ax.set(xlabel="step t", ylabel="pixel value")
