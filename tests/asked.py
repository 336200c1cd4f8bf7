"""The questions of the book, from its Sphinx extension, and where its chapters place them."""

import re
import sys
from pathlib import Path
from typing import Any

import nbformat

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "book/_ext"))

from questions import QUESTIONS  # noqa: E402
from questions.kinds import NEARLY, Choice, Numeric, Order, shown  # noqa: E402

__all__ = [
    "BLOCK",
    "CHAPTERS",
    "NAMES",
    "NEARLY",
    "QUESTIONS",
    "Choice",
    "Numeric",
    "Order",
    "placed",
    "shown",
]

CHAPTERS = sorted((ROOT / "book").glob("[0-9][0-9]-*.ipynb"))
NAMES = {int(path.stem[:2]): path.stem for path in CHAPTERS}
BLOCK = re.compile(r"^:::\{question\} ([\d.]+)\n(.*?)\n:::$", re.M | re.S)


def placed(path: Path) -> list[Any]:
    """A chapter's questions in their order: name and text."""
    cells = [c.source for c in nbformat.read(path, 4).cells if c.cell_type == "markdown"]
    return [found for cell in cells for found in BLOCK.findall(cell)]
