"""A few hostile arguments of each public function; `python tests/fuzz.py --all` tries them all."""

from collections import Counter

import pytest

from tests.fuzz import CALLS, tries


@pytest.mark.usefixtures("as_a_reader")
def test_nothing_is_silent_and_hardly_anything_raw() -> None:
    found = list(tries(seed=0, every=False))
    counts = Counter(fate for *_, fate in found)
    assert {function for function, *_ in found} == CALLS.keys()
    assert [row for row in found if row[3] in ("silent", "wrongly refused")] == []
    assert counts["raw"] < len(found) / 100, [row for row in found if row[3] == "raw"]
