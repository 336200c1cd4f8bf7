"""The chain from noise to data as a diagram, and pictures of the densities along it."""

from dataclasses import dataclass

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Circle

from ddpm_lite.plots.style import COLORS, INK, PALE, PAPER

__all__ = ["PARTS", "chain"]

# What stands where on the line, from noise to data; dots stand for the states left out.
STATES = ("$x_T$", "···", "$x_t$", "$x_{t-1}$", "···", "$x_1$", "$x_0$")
END, T, BEFORE, FIRST, DATA = 0, 2, 3, 5, 6
RADIUS = 0.36


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
