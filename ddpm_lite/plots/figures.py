"""Figures of the book, each in one call.

Every function draws one figure with pyplot and leaves it open, so that a notebook shows it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from torch import Tensor

from ddpm_lite.plots.style import COLORS, INK, PALE, PAPER

__all__ = [
    "axes",
    "clouds",
    "heat",
    "histograms",
    "image",
    "images",
    "ladder",
    "lines",
    "panels",
    "strays",
    "unet",
]


def axes(rows: int = 1, height: float = 2.8) -> list[Axes]:
    """A figure of axes one below the other, for phones too; height in inches per row."""
    _, grid = plt.subplots(rows, figsize=(5.6, height * rows), squeeze=False)
    return list(grid.flat)


def panels(count: int, height: float = 2.3) -> tuple[Figure, list[Axes]]:
    """A figure of small axes, two in a row, that pyplot does not know: for a widget's still."""
    figure = Figure(figsize=(5.6, height * ((count + 1) // 2)), layout="constrained")
    return figure, [figure.add_subplot((count + 1) // 2, 2, i + 1) for i in range(count)]


def image(ax: Axes, x: Float[Tensor, "C H W"], title: str = "") -> None:
    """Draw one image [C, H, W] in [-1, 1], grey or colour; what lies outside is clamped."""
    pixels = ((x.detach().float().cpu().clamp(-1, 1) + 1) / 2).permute(1, 2, 0).numpy()
    ax.imshow(pixels, vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[])
    ax.set_title(title, fontsize=10)
    ax.grid(False)
    for side in ax.spines.values():
        side.set(visible=True, color=PALE)


def images(
    rows: Sequence[Float[Tensor, "_ _ _ _"]] | Float[Tensor, "_ _ _ _"],
    column_titles: Sequence[str] = (),
    row_titles: Sequence[str] = (),
    scale: float = 0.8,
) -> None:
    """Draw images in [-1, 1] as a grid, a row for each batch; what lies outside is clamped.

    Args:
        rows: batches [N, C, H, W] with C = 1 (grey) or 3 (colour).
        column_titles: one above each column.
        row_titles: one beside each row.
        scale: inches per image.
    """
    batches = [rows] if isinstance(rows, Tensor) else list(rows)
    columns = max(len(batch) for batch in batches)
    size = (scale * columns + (0.9 if row_titles else 0), scale * len(batches) + 0.3)
    figure, grid = plt.subplots(len(batches), columns, figsize=size, squeeze=False)
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02)
    for r, batch in enumerate(batches):
        for c, ax in enumerate(grid[r]):
            if c < len(batch):
                image(ax, batch[c])
            else:
                ax.set_axis_off()
        if row_titles:
            grid[r, 0].set_ylabel(row_titles[r], rotation=0, ha="right", va="center")
    for c, title in enumerate(column_titles):
        grid[0, c].set_title(title, fontsize=10)


def lines(
    ax: Axes,
    x: ArrayLike,
    curves: Mapping[str, ArrayLike],
    xlabel: str,
    ylabel: str,
    **settings: object,
) -> None:
    """Draw labelled curves over x; `settings` go to the axes (xscale="log", ylim=...)."""
    for label, y in curves.items():
        ax.plot(np.asarray(x), np.asarray(y), label=label)
    ax.set(xlabel=xlabel, ylabel=ylabel, **settings)
    if len(curves) > 1:
        ax.legend()


def clouds(points: Mapping[str, ArrayLike], columns: int = 3, limit: float = 2.5) -> None:
    """Draw sets of points [N, 2] side by side on [-limit, limit]^2, each under its name."""
    rows = -(-len(points) // columns)
    size = 5.6, 5.6 / columns * rows
    _, grid = plt.subplots(rows, columns, figsize=size, squeeze=False, sharex=True, sharey=True)
    for ax in grid.flat[len(points) :]:
        ax.set_axis_off()
    for ax, (name, xy) in zip(grid.flat, points.items(), strict=False):
        ax.scatter(*np.asarray(xy).T, s=2, color=COLORS[0], linewidths=0, alpha=0.6)
        ax.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
        ax.set_title(name, fontsize=10)


def strays(
    samples: Mapping[str, tuple[Float[Tensor, "N 2"], Bool[Tensor, " N"]]], limit: float = 1.5
) -> None:
    """Draw samples side by side, those that are marked as crosses, the others as dots."""
    _, grid = plt.subplots(1, len(samples), figsize=(5.6, 2.2), squeeze=False, sharey=True)
    for ax, (name, (x, far)) in zip(grid[0], samples.items(), strict=True):
        ax.scatter(*x[~far].T.numpy(), s=3, color=COLORS[0])
        ax.scatter(*x[far].T.numpy(), s=12, marker="x", color=COLORS[1])
        ax.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
        ax.set_title(name, fontsize=10)


def histograms(
    ax: Axes,
    samples: Mapping[str, ArrayLike],
    xlabel: str,
    bins: int = 60,
    **settings: object,
) -> None:
    """Draw normalised histograms as outlines, and the standard normal density, thin and dashed."""
    every = np.concatenate([np.ravel(np.asarray(values)) for values in samples.values()])
    edges = np.linspace(every.min(), every.max(), bins + 1)
    for (name, values), color in zip(samples.items(), COLORS, strict=False):
        flat = np.ravel(np.asarray(values))
        ax.hist(flat, list(edges), density=True, histtype="step", label=name, color=color)
    x = np.linspace(edges[0], edges[-1], 300)
    bell = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    ax.plot(x, bell, label="N(0, 1)", color=INK, linestyle="--", linewidth=1.2)
    ax.set(xlabel=xlabel, ylabel="density", **settings)
    ax.legend()


def heat(
    ax: Axes,
    values: ArrayLike,
    xlabel: str,
    ylabel: str,
    extent: tuple[float, float, float, float],
) -> None:
    """Draw numbers [rows, columns] in -1..1 as grey: black is -1, white is 1.

    Args:
        ax: where to draw.
        values: the first row stands above.
        xlabel, ylabel: of the axes.
        extent: left, right, bottom and top of the picture on the axes.
    """
    ax.imshow(np.asarray(values), aspect="auto", vmin=-1, vmax=1, extent=extent)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.grid(False)


def unet(ax: Axes, layers: Sequence[tuple[str, int, int]], skips: Mapping[int, int]) -> None:
    """Draw a network as bars in the order of its layers, lower where the picture is smaller.

    Beside each height stands the side of the picture, and the number of channels usual there.

    Args:
        ax: where to draw.
        layers: kind, channels and side of what each hands on; up to four kinds are told apart.
        skips: layer -> the earlier layer whose features it receives too, as places in `layers`.
    """
    kinds = dict.fromkeys(kind for kind, _, _ in layers)
    styles = dict(zip(kinds, zip(COLORS, ("", "////", "xxxx", "...."), strict=True), strict=False))
    sides = sorted({side for _, _, side in layers}, reverse=True)
    floor = [-1.7 * sides.index(side) for _, _, side in layers]
    for kind, (color, hatch) in styles.items():
        own = [i for i, layer in enumerate(layers) if layer[0] == kind]
        bottom = [floor[i] for i in own]
        ax.bar(own, 0.7, 0.75, bottom, color=color, label=kind, edgecolor=PAPER, hatch=hatch)
    within = dict.fromkeys(floor, 0)  # skips drawn so far at this height, the shortest first
    for at, start in sorted(skips.items(), key=lambda skip: skip[0] - skip[1]):
        within[floor[at]] += 1
        top = floor[at] + 0.7 + 0.15 * within[floor[at]]
        ends = floor[start] + 0.7, floor[at] + 0.7
        ax.plot([start, start, at, at], [ends[0], top, top, ends[1]], "-", color=INK, lw=0.7)
    for side in sides:
        own = [i for i, layer in enumerate(layers) if layer[2] == side]
        usual = max(own, key=lambda i: sum(layers[i][1] == layers[j][1] for j in own))
        text = f"{side}x{side}\n{layers[usual][1]}"
        ax.text(own[0] - 0.8, floor[own[0]] + 0.35, text, ha="right", va="center")
    ax.set_axis_off()
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=2)


def ladder(rungs: Sequence[tuple[str, str]], end: str, height: float = 0.95) -> None:
    """Draw questions one below the other: "no" leads to the right, "yes" down to the next.

    Args:
        rungs: each a question, and where "no" leads.
        end: where the last "yes" leads.
        height: inches for each question.
    """
    _, ax = plt.subplots(figsize=(5.6, height * (len(rungs) + 0.8)))
    ax.set(xlim=(0, 1), ylim=(-len(rungs) - 0.4, 0.45))
    ax.set_axis_off()
    box: dict[str, Any] = {"boxstyle": "round,pad=0.4", "facecolor": PAPER, "linewidth": 1.2}
    text: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 9}
    arrow: dict[str, Any] = {"arrowstyle": "->", "color": INK, "shrinkA": 0, "shrinkB": 0}
    for i, (question, leaf) in enumerate(rungs):
        ax.annotate("", (0.25, -i - 0.68), (0.25, -i - 0.3), arrowprops=arrow)
        ax.annotate("", (0.56, -i), (0.46, -i), arrowprops=arrow)
        ax.text(0.25, -i, question, bbox=box | {"edgecolor": COLORS[0]}, **text)
        ax.text(0.78, -i, leaf, bbox=box | {"edgecolor": COLORS[1], "linestyle": "--"}, **text)
        ax.text(0.51, -i + 0.12, "no", **text)
        ax.text(0.29, -i - 0.48, "yes", **text)
    ax.text(0.25, -len(rungs), end, bbox=box | {"edgecolor": COLORS[2]}, **text)
