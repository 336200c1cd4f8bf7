"""Measurements with their spread: one mark for each seed, and the floor of real images."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from numpy.typing import ArrayLike
from torch import Tensor

from ddpm_lite.plots.figures import axes, lines
from ddpm_lite.plots.style import COLORS, INK

__all__ = ["Live", "by_count", "dots", "floor", "hollow_and_filled", "rate_distortion", "seeds"]

MARKS = "osvD"


def seeds(
    ax: Axes,
    x: Sequence[int] | Sequence[float],
    runs: Mapping[str, Sequence[ArrayLike]],
    xlabel: str,
    ylabel: str,
    **settings: object,
) -> None:
    """Draw, for each name, a line through the means at every x, and a mark for each seed.

    Args:
        ax: where to draw.
        x: where each was measured; ticks stand there and nowhere else.
        runs: name -> for each x the numbers of all seeds; none where nothing was measured.
        xlabel, ylabel: of the axes.
        settings: go to the axes (xscale="log", ylim=...).
    """
    for (name, each), color, mark in zip(runs.items(), COLORS, MARKS, strict=False):
        found = [(at, v) for at, v in zip(x, map(np.asarray, each), strict=True) if v.size]
        if found:
            places, means = zip(*((at, values.mean()) for at, values in found), strict=True)
            ax.plot(places, means, color=color, label=name)
        for at, values in found:
            ax.plot(np.full(len(values), at), values, mark, color=color, ms=4)
    ax.set(xlabel=xlabel, ylabel=ylabel, **settings)
    ax.set_xticks(x, [f"{at:g}" for at in x])
    ax.minorticks_off()
    if len(runs) > 1:
        ax.legend()


def floor(ax: Axes, mean: float, std: float, label: str = "real digits") -> None:
    """Draw a grey band: what real images get, a mean and one standard deviation of a draw."""
    ax.axhspan(mean - std, mean + std, color=INK, alpha=0.15, lw=0)
    ax.axhline(mean, color=INK, lw=1, ls=(0, (1, 1)), label=label)
    ax.legend()


def dots(rows: Mapping[str, ArrayLike], xlabel: str, height: float = 3.2) -> None:
    """Draw a row for each name, from above, with one dot for each seed, and a line at zero."""
    ax = axes(height=height)[0]
    for y, values in enumerate(rows.values()):
        found = np.asarray(values)
        ax.plot(found, np.full(len(found), -y), "o", color=COLORS[0])
    ax.axvline(0, color=INK, lw=1)
    ax.set_yticks(range(0, -len(rows), -1), list(rows))
    ax.set(xlabel=xlabel)


def hollow_and_filled(
    pairs: Mapping[str, tuple[tuple[ArrayLike, ArrayLike], tuple[ArrayLike, ArrayLike]]],
    kinds: tuple[str, str],
    xlabel: str,
    ylabel: str,
    ticks: Sequence[int] | Sequence[float],
) -> None:
    """Draw for each name two sets of points (x, y), the first hollow and the second filled.

    Args:
        pairs: name -> the two sets; up to four names.
        kinds: what hollow and filled stand for, in the legend.
        xlabel, ylabel: of the axes.
        ticks: of the logarithmic x axis.
    """
    ax = axes(height=3.8)[0]
    for (name, sets), color, mark in zip(pairs.items(), COLORS, MARKS, strict=False):
        for (x, y), kind, face in zip(sets, kinds, ("none", color), strict=True):
            ax.plot(x, y, mark, color=color, mfc=face, label=f"{name}, {kind}")
    ax.set(xlabel=xlabel, ylabel=ylabel, xscale="log", ylim=0)
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.legend()


def rate_distortion(
    done: ArrayLike,
    rates: Mapping[str, ArrayLike],
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
) -> None:
    """Draw what a receiver has paid by steps done and, below, what the error is for that rate.

    Args:
        done: how many steps back.
        rates: name -> bits per dimension paid by then.
        curves: name -> rate, and distortion in percent; marks stand on the second and later ones.
    """
    upper, lower = axes(2, height=2.6)
    for name, rate in rates.items():
        upper.plot(done, rate, label=name)
    upper.set(xlabel="steps done, $T - t + 1$", ylabel="rate, bits/dim")
    for i, (name, (rate, error)) in enumerate(curves.items()):
        lower.plot(rate, error, marker="s" if i else "", ms=5, label=name)
    lower.set(xlabel="rate, bits/dim", ylabel="distortion, %", ylim=(0, 30))
    for ax in (upper, lower):
        ax.legend()


def by_count(
    counts: Sequence[int] | Sequence[float],
    expected: ArrayLike,
    measured: Mapping[str, Mapping[str, ArrayLike]],
) -> None:
    """Draw the Fréchet distance over how many images there are.

    Args:
        counts: how many, for the curve.
        expected: the curve, of a perfect model.
        measured: name -> "samples", "mean" and "std", drawn as points with bars.
    """
    ax = axes(height=3.2)[0]
    ax.plot(counts, expected, color=INK, lw=1.2, label="a perfect model, as expected")
    for (name, found), color, mark in zip(measured.items(), COLORS, MARKS, strict=False):
        count, mean, std = (np.asarray(found[key]) for key in ("samples", "mean", "std"))
        ax.errorbar(count, mean, std, fmt=mark, ms=5, color=color, label=name)
    ax.set(xlabel="number of samples", ylabel="Fréchet distance", xscale="log", ylim=(0, 28))
    ticks = counts[::2]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.legend()


class Live:
    """A figure of a run, which a notebook redraws in place: a curve, and a picture beside it."""

    def __init__(self, xlabel: str, ylabel: str):
        from IPython.display import display  # a notebook has it

        self.labels = xlabel, ylabel
        self.figure, (self.left, self.right) = plt.subplots(1, 2, figsize=(5.6, 2.7))
        plt.close(self.figure)  # the handle alone shows it
        self._handle = display(self.figure, display_id=True)

    def update(
        self, x: ArrayLike, y: ArrayLike, picture: UInt8[Tensor, "H W C"], title: str
    ) -> None:
        """Draw the curve again, and the picture under its title, bytes as from `grid`."""
        self.left.clear()
        self.right.clear()
        lines(self.left, x, {"": y}, *self.labels)
        self.right.imshow(picture.numpy(), cmap="gray", vmin=0, vmax=255)
        self.right.set_title(title)
        self.right.axis("off")
        if self._handle is not None:  # there is none outside a notebook
            self._handle.update(self.figure)
