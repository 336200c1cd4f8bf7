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
    ladder,
    lines,
    panels,
    strays,
    unet,
)
from ddpm_lite.plots.opinions import bends, contours, marks, opinions, outlines, shares
from ddpm_lite.plots.quality import (
    Live,
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
    "Live",
    "Table",
    "arrows",
    "axes",
    "bends",
    "by_count",
    "chain",
    "clouds",
    "contours",
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
    "ladder",
    "lines",
    "marks",
    "opinions",
    "outlines",
    "panels",
    "rate_distortion",
    "seeds",
    "setup",
    "shares",
    "strays",
    "svg",
    "table",
    "unet",
    "walks",
]
