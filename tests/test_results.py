"""What is stored says how it was made, and a wrong name is refused with the right ones."""

import pytest

from ddpm_lite.results import STORED, load_results

NAMES = sorted(path.stem for path in STORED.glob("*.json"))


@pytest.mark.parametrize("name", NAMES)
def test_every_table_says_how_it_was_made(name: str) -> None:
    table = load_results(name)
    for what in ("command", "device", "torch", "date"):
        assert table[what], f"{name}.json does not say its {what}"


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"name must be one of .*'table99'"):
        load_results("table99")
