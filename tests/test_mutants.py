"""The list of mutants keeps up with the code; `python tests/mutants.py` runs them."""

from tests.mutants import EQUIVALENT, MUTANTS, lost
from tests.systems import of_the_source

pytestmark = of_the_source


def test_every_mutant_has_its_line() -> None:
    assert lost() == []
    assert set(EQUIVALENT) <= {
        (room, old, new) for room, all_ in MUTANTS.items() for old, new in all_
    }
