"""How nbval compares a chapter: `pytest --nbval book`.

What is committed of a chapter's outputs is text (see notebooks.py), so pictures and the
progress that goes to stderr have nothing to be compared with.
"""

from typing import Any

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        notebook: Any = item.parent
        if hasattr(notebook, "skip_compare"):
            notebook.skip_compare += ("image/svg+xml", "stderr")
