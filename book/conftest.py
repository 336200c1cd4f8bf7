"""How nbval compares a chapter: `pytest --nbval book`.

What is committed of a chapter's outputs is text (see notebooks.py), so pictures, tables in HTML
and the progress that goes to stderr have nothing to be compared with.
"""

from typing import Any

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        notebook: Any = item.parent
        if hasattr(notebook, "skip_compare"):
            notebook.skip_compare += ("image/svg+xml", "text/html", "stderr")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    failed = terminalreporter.stats.get("failed", [])
    names = {report.nodeid.split("::")[0] for report in failed}
    names = {name for name in names if name.endswith(".ipynb")}
    if names:
        terminalreporter.write_line(
            f"{', '.join(sorted(names))}: a cell fails, or prints what is not committed. If what "
            "it prints now is right, run `make notebooks`, read the prose beside the cell, and "
            "commit both."
        )
