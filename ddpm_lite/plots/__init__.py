"""Figures and tables of the book: one style, one palette, legible in print and without colour.

Figures are SVG; `for_dark` recolours one for a dark page.
"""

from ddpm_lite.plots.figures import (
    axes,
    clouds,
    histograms,
    image,
    images,
    lines,
    panels,
    unet,
)
from ddpm_lite.plots.opinions import bends, contours, marks, opinions, outlines, shares
from ddpm_lite.plots.style import COLORS, DARK, INK, PALE, PAPER, for_dark, setup, svg
from ddpm_lite.plots.tables import Table, table

__all__ = [
    "COLORS",
    "DARK",
    "INK",
    "PALE",
    "PAPER",
    "Table",
    "axes",
    "bends",
    "clouds",
    "contours",
    "for_dark",
    "histograms",
    "image",
    "images",
    "lines",
    "marks",
    "opinions",
    "outlines",
    "panels",
    "setup",
    "shares",
    "svg",
    "table",
    "unet",
]
