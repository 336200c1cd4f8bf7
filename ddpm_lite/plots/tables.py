"""A small table: HTML on a page, text where there is none, as under nbval."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

__all__ = ["Table", "table"]

Cell = str | int | float | tuple[float, float] | None


class Table:
    """Rows of words under their heads. A notebook shows it as a table of HTML."""

    def __init__(self, heads: list[str], rows: list[list[str]], words: list[bool]):
        self.heads, self.rows, self.words = heads, rows, words

    def __repr__(self) -> str:
        lines = [self.heads, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if words else cell.rjust(width)
                for cell, width, words in zip(line, widths, self.words, strict=True)
            ).rstrip()
            for line in lines
        )

    def _repr_html_(self) -> str:
        def row(cells: list[str], tag: str) -> str:
            sides = ("left" if words else "right" for words in self.words)
            return "".join(
                f'<{tag} style="text-align: {side}">{escape(cell)}</{tag}>'
                for cell, side in zip(cells, sides, strict=True)
            )

        body = "".join(f"<tr>{row(cells, 'td')}</tr>" for cells in self.rows)
        head = f"<thead><tr>{row(self.heads, 'th')}</tr></thead>"
        return f'<table class="table">{head}<tbody>{body}</tbody></table>'


def table(columns: Mapping[str, Iterable[Any]], digits: int = 2) -> Table:
    """A table of columns by their heads, as a cell's last line.

    Args:
        columns: head -> its entries, as many in each: words; numbers, or a tensor of them; pairs
            of a mean and its spread, shown as "1.23 ± 0.04"; None for nothing.
        digits: decimals of numbers that are not whole.

    Raises:
        ValueError: no columns, or columns of several lengths.
    """
    entries = {head: [_plain(value) for value in column] for head, column in columns.items()}
    lengths = {head: len(column) for head, column in entries.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"columns must be of one length, at least one of them, got {lengths}")
    words = [any(isinstance(v, str) for v in column) for column in entries.values()]
    shown = [[_shown(v, digits) for v in column] for column in entries.values()]
    return Table(list(entries), [list(row) for row in zip(*shown, strict=True)], words)


def _plain(value: Any) -> Cell:
    """A number of torch's or numpy's as one of Python's."""
    return value.item() if hasattr(value, "item") else value


def _shown(value: Cell, digits: int) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, tuple):
        mean, spread = (_plain(v) for v in value)
        return f"{_shown(float(mean), digits)} ± {_shown(float(spread), digits)}"  # type: ignore[arg-type]
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{digits}f}"
