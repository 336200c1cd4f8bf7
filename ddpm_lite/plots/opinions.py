"""Figures of the bound: opinions that multiply, a bound that bends, a bell cut into shares.

Each function draws on the axes that it is given, in the manner of `figures`.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from ddpm_lite.plots.style import COLORS, DASHES, INK, PALE

__all__ = ["bends", "contours", "marks", "opinions", "outlines", "shares"]


def opinions(ax: Axes, x: ArrayLike, prior: ArrayLike, likelihood: ArrayLike) -> None:
    """Draw two opinions on x, their product as an area, and the posterior that Bayes makes of it.

    Nothing is scaled but the posterior: it is the product over its own area.

    Args:
        ax: where to draw.
        x: candidates, evenly spaced.
        prior: a density over them.
        likelihood: how likely each makes what was seen.
    """
    at, before, seen = (np.asarray(values) for values in (x, prior, likelihood))
    product = before * seen
    posterior = product / np.trapezoid(product, at)
    curves = {"prior": before, "likelihood": seen, "posterior": posterior}
    for (label, y), color, dash in zip(curves.items(), COLORS, ("--", "-.", "-"), strict=False):
        ax.plot(at, y, label=label, color=color, linestyle=dash)
    look: dict[str, Any] = {"facecolor": PALE, "edgecolor": INK, "hatch": "////", "linewidth": 0.6}
    ax.fill_between(at, product, label="their product", **look)
    ax.set(xlabel="candidate $x_{t-1}$", ylabel="height")
    ax.legend(loc="upper right", fontsize=9)


def bends(ax: Axes, ratios: ArrayLike, shown: int = 60) -> None:
    """Draw Jensen's inequality for -log: the value at the average, below the average of the values.

    Args:
        ax: where to draw.
        ratios: positive numbers.
        shown: how many of them are drawn as dots on the curve.
    """
    r = np.ravel(np.asarray(ratios))
    mean, above = r.mean(), -np.log(r).mean()
    low, high = np.quantile(r, (0.002, 0.96)).tolist()
    x = np.linspace(low, high, 200)
    ax.plot(x, -np.log(x), label="-log r", color=COLORS[0], linestyle="-")
    some = r[r < x[-1]][:shown]
    ax.plot(some, -np.log(some), "o", color=INK, markersize=3, alpha=0.5)
    ax.plot(mean, above, "s", color=COLORS[1], label="average of -log r")
    ax.plot(mean, -np.log(mean), "^", color=COLORS[2], label="-log of the average r")
    ax.plot([mean, mean], [-np.log(mean), above], ":", color=INK)
    ax.annotate("gap", (mean, (above - np.log(mean)) / 2), (8, -4), textcoords="offset points")
    ax.set(xlabel="ratio r of a path", ylabel="nats", xlim=(x[0], x[-1]))
    ax.legend()


def contours(
    ax: Axes,
    x: ArrayLike,
    y: ArrayLike,
    densities: Mapping[str, ArrayLike],
    levels: Sequence[float],
    **settings: object,
) -> None:
    """Draw densities over a plane by their contour lines, each with its own colour and dash.

    Args:
        ax: where to draw.
        x, y: [N] and [M].
        densities: name -> [N, M], the first axis that of x.
        levels: the same for all.
        settings: of the axes (xlim=...).
    """
    looks = zip(COLORS, DASHES, strict=True)
    for (label, density), (color, dash) in zip(densities.items(), looks, strict=False):
        z = np.asarray(density).T
        ax.contour(np.ravel(x), np.ravel(y), z, levels, colors=color, linestyles=dash)
        ax.plot([], [], color=color, linestyle=dash, label=label)
    ax.set(**settings)
    ax.legend(loc="upper left")


def outlines(ax: Axes, samples: Mapping[str, ArrayLike], edges: ArrayLike, xlabel: str) -> None:
    """Draw normalised histograms as outlines, each with its own colour and dash."""
    looks = zip(COLORS, DASHES, strict=True)
    for (label, values), (color, dash) in zip(samples.items(), looks, strict=False):
        height, bins = np.histogram(np.ravel(np.asarray(values)), np.asarray(edges), density=True)
        look: dict[str, Any] = {"label": label, "color": color, "linestyle": dash, "linewidth": 1.6}
        ax.stairs(height, bins, **look)
    ax.set(xlabel=xlabel, ylabel="density")
    ax.legend()


def marks(
    ax: Axes,
    x: ArrayLike,
    points: Mapping[str, ArrayLike],
    lines: Mapping[str, tuple[ArrayLike, ArrayLike]],
    **settings: object,
) -> None:
    """Draw measured points over x, and thin lines to compare them with.

    Args:
        ax: where to draw.
        x: where the points are.
        points: name -> y.
        lines: name -> x and y of a line of its own.
        settings: of the axes (xlabel=..., xscale="log").
    """
    for (label, y), color, shape in zip(points.items(), COLORS, "os^D", strict=False):
        ax.plot(np.asarray(x), np.asarray(y), shape, color=color, label=label)
    for (label, (at, y)), dash in zip(lines.items(), DASHES, strict=False):
        thin: dict[str, Any] = {"color": INK, "linestyle": dash, "linewidth": 1}
        ax.plot(np.asarray(at), np.asarray(y), label=label, **thin)
    ax.set(**settings)
    ax.legend()


def shares(
    ax: Axes, x: ArrayLike, density: ArrayLike, cuts: Sequence[float], words: Sequence[str]
) -> None:
    """Draw a density cut into areas, with a word above each.

    Args:
        ax: where to draw.
        x: where the density is known.
        density: at x.
        cuts: where the areas meet, one fewer than there are areas.
        words: one for each area.
    """
    at, height = np.asarray(x), np.asarray(density)
    top = height.max()
    ax.plot(at, height, color=INK, linestyle="-")
    ends = [at[0], *cuts, at[-1]]
    for i, (low, high) in enumerate(pairwise(ends)):
        inside = (at >= low) & (at <= high)
        look: dict[str, Any] = {"color": COLORS[i % 2], "alpha": 0.35, "linewidth": 0}
        ax.fill_between(at, height, where=inside, **look)
        ax.text((low + high) / 2, 1.08 * top, words[i], ha="center")
    ax.vlines(cuts, 0, 1.05 * top, color=INK, linewidth=0.8)
    ax.set(ylabel="density", ylim=(0, 1.2 * top))
