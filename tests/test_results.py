"""What is stored says how it was made, and comes out again: one row of Table 2, trained anew."""

import math
from dataclasses import replace
from statistics import mean, variance

import pytest

from ddpm_lite.experiments import studies
from ddpm_lite.experiments.results import STORED, load_results, relative
from ddpm_lite.experiments.studies import STUDIES, run
from ddpm_lite.runs.many import codelength

NAMES = sorted(path.stem for path in STORED.glob("*.json"))


@pytest.mark.parametrize("name", NAMES)
def test_every_table_says_how_it_was_made(name: str) -> None:
    table = load_results(name)
    for what in ("command", "device", "torch", "date"):
        assert table[what], f"{name}.json does not say its {what}"


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"name must be one of .*'table99'"):
        load_results("table99")


def test_relative_divides_seed_by_seed() -> None:
    rows = {
        "whole": {"title": "whole", "seeds": {"0": {"x": 2.0}, "1": {"x": 4.0}}},
        "half": {"title": "a half", "seeds": {"1": {"x": 2.0}, "0": {"x": 3.0}}},
    }
    found = relative(rows, lambda seed: seed["x"])
    assert found == {"whole": [1.0, 1.0], "a half": [1.5, 0.5]}
    with pytest.raises(KeyError):
        relative(rows, lambda seed: seed["x"], to="none")


def logs(row: str, way: str, what: str) -> list[float]:
    """The logarithm of a stored figure, for each seed."""
    stored = load_results("table2")["rows"][row]["seeds"].values()
    ways = [seed["ways"][way] for seed in stored]
    return [math.log(w["bits"]["total"] if what == "bits" else w[what]) for w in ways]


def spread(what: str) -> float:
    """The standard deviation of a logarithm over seeds, from all rows: three seeds say little."""
    rows = STUDIES["table2"].items()
    return math.sqrt(mean(variance(logs(row, way, what)) for row, s in rows for way in s.ways))


def test_a_row_of_table_2_comes_out_again_within_its_spread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On another machine the same seed is as good as another one."""
    # A third of the test images, for time: they move the bits by far less than is allowed.
    monkeypatch.setattr(
        studies, "codelength", lambda d, n, x0, **given: codelength(d, n, x0[::3], **given)
    )
    row = "eps-mse-beta"
    study = STUDIES["table2"][row]
    got = run(replace(study, ways={"beta": study.ways["beta"]}), seed=0)["ways"]["beta"]
    values = {"frechet": got["frechet"], "bits": got["bits"]["total"]}
    # The row that this one would become with another loss, or another parameterisation.
    others = {"frechet": "eps-L-beta", "bits": "mu-mse-beta"}
    for what, value in values.items():
        middle, width = mean(logs(row, "beta", what)), 4 * spread(what)
        assert abs(math.log(value) - middle) < width, f"{what} is {value}"
        assert abs(mean(logs(others[what], "beta", what)) - middle) > width, "it cannot fail"


@pytest.mark.parametrize("table", STUDIES)
def test_stored_tables_are_whole(table: str) -> None:
    rows = load_results(table)["rows"]
    assert rows.keys() == STUDIES[table].keys()
    for name, row in rows.items():
        assert row["seeds"].keys() == {"0", "1", "2"}, name
