"""The pins of the way out of Jupyter Book; `make sphinx9` builds the book with them."""

import re

from tests.sphinx9 import LEFT_OUT, ROOT, pins
from tests.systems import of_the_source

pytestmark = of_the_source


def pinned(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if line[:1].isalpha()]
    return {re.sub("[_.]", "-", n.lower()): v for n, v in (line.split("==") for line in lines)}


def test_only_what_differs_has_another_pin() -> None:
    own = pinned((ROOT / "requirements.txt").read_text())
    instead = pinned((ROOT / "tests/sphinx9.txt").read_text())
    assert [name for name in instead if own.get(name) == instead[name]] == []
    assert {name: v for name, v in own.items() if name != LEFT_OUT} | instead == pinned(pins())
