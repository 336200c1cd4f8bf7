"""Figures and tables of the book: one style, one palette, legible in print and without colour.

Figures are SVG; `for_dark` recolours one for a dark page.
"""

from ddpm_lite.plots.chain import arrows, chain, density_map, jensen, walks
from ddpm_lite.plots.figures import (
    axes,
    clouds,
    heat,
    histograms,
    image,
    images,
    lines,
    panels,
    unet,
)
from ddpm_lite.plots.quality import (
    by_count,
    dots,
    floor,
    hollow_and_filled,
    rate_distortion,
    seeds,
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
    "by_count",
    "chain",
    "clouds",
    "density_map",
    "dots",
    "floor",
    "for_dark",
    "heat",
    "histograms",
    "hollow_and_filled",
    "image",
    "images",
    "jensen",
    "lines",
    "panels",
    "rate_distortion",
    "seeds",
    "setup",
    "svg",
    "table",
    "unet",
    "walks",
]
