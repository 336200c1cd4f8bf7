"""One style and one palette, legible in print and without colour; and the same for a dark page."""

import io
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.figure import Figure

__all__ = ["COLORS", "DARK", "DASHES", "INK", "PALE", "PAPER", "for_dark", "setup", "svg"]

INK, PALE, PAPER = "#24292f", "#d0d7de", "#ffffff"
# Okabe and Ito (2008): told apart by readers of any colour vision. Each line also has its own dash.
COLORS = ["#0072b2", "#d55e00", "#009e73", "#a8518a"]
DASHES = ["-", "--", "-.", ":"]
# What each colour becomes on a dark page, at least as far from its ground as it was from white.
DARK = {
    INK: "#d1d5da",
    PALE: "#48566b",
    PAPER: "#121212",
    "#0072b2": "#56b4e9",
    "#d55e00": "#f0883e",
    "#009e73": "#3fc997",
    "#a8518a": "#e39fcb",
}


STYLE: dict[Any, Any] = {
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.prop_cycle": cycler(color=COLORS, linestyle=DASHES),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "font.size": 11,
    "grid.color": PALE,
    "grid.linewidth": 0.6,
    "image.cmap": "gray",
    "image.interpolation": "nearest",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "savefig.facecolor": PAPER,
    "svg.hashsalt": "ddpm-lite",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def setup() -> None:
    """Put the book's style in force for this notebook, and show figures as SVG."""
    mpl.rcParams.update(STYLE)
    try:
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:  # not in a notebook
        return
    set_matplotlib_formats("svg", metadata={"Date": None})


def svg(draw: Callable[[], Figure]) -> str:
    """The figure that `draw` returns, in the book's style whatever is in force, as SVG."""
    out = io.StringIO()
    with mpl.rc_context(STYLE):
        draw().savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def for_dark(svg: str) -> str:
    """Recolour an SVG of this module for a dark page. Pixels inside it stay as they are."""
    for light, dark in DARK.items():
        svg = svg.replace(light, dark)
    return svg
