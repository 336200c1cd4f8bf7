"""The list of mutants keeps up with the code; `python tests/mutants.py` runs them."""

import json
from pathlib import Path

from tests import chapter_mutants
from tests.mutants import EQUIVALENT, MUTANTS, lost
from tests.systems import of_the_source

pytestmark = of_the_source

ROOT = Path(__file__).parents[1]


def test_every_mutant_has_its_line() -> None:
    assert lost() == []
    assert set(EQUIVALENT) <= {
        (room, old, new) for room, all_ in MUTANTS.items() for old, new in all_
    }


def test_every_equation_has_two_mutants_for_its_chapter() -> None:
    from tests.test_chapters import labels

    assert chapter_mutants.lost() == []
    counts = {name: len(mutants) for name, mutants in chapter_mutants.MUTANTS.items()}
    assert counts.keys() == set(labels())
    assert min(counts.values()) >= 2
    stored = json.loads((ROOT / "book/_ext/caught.json").read_text())
    assert {name: row["mutants"] for name, row in stored.items()} == counts, (
        "the ledger's counts are stale: python tests/chapter_mutants.py --out book/_ext/caught.json"
    )
