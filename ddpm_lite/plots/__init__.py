"""Figures and tables of the book: one style, one palette, legible in print and without colour.

Figures are SVG; `for_dark` recolours one for a dark page.
"""

from ddpm_lite.plots.chain import arrows, chain, density_map, jensen, walks
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
from ddpm_lite.plots.style import COLORS, DARK, INK, PALE, PAPER, for_dark, setup, svg
from ddpm_lite.plots.tables import Table, table

__all__ = [
    "COLORS",
    "DARK",
    "INK",
    "PALE",
    "PAPER",
    "Table",
    "arrows",
    "axes",
    "chain",
    "clouds",
    "density_map",
    "for_dark",
    "histograms",
    "image",
    "images",
    "jensen",
    "lines",
    "panels",
    "setup",
    "svg",
    "table",
    "unet",
    "walks",
]
