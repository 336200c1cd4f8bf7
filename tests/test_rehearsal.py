"""Each chapter's branch for a GPU runs, by the same cells, with a GPU that is not there."""

import re
from pathlib import Path

import nbformat
import pytest

from tests import rehearsal
from tests.rehearsal import BOOK, CHAPTERS, cells, perform
from tests.systems import of_the_source

pytestmark = [of_the_source, pytest.mark.filterwarnings("default")]
PATHS = sorted(BOOK.glob("[0-9][0-9]-*.ipynb"))


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_branches_run(name: str) -> None:
    seen = perform(name)
    there = {f"{cell.id}:{n}" for cell in cells(BOOK / f"{name}.ipynb") for n in cell.branches}
    assert set(seen) == there


def test_no_branch_is_without_a_rehearsal() -> None:
    with_branches = {p.stem for p in PATHS if any(cell.branches for cell in cells(p))}
    assert with_branches == set(CHAPTERS)


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_a_branch_hangs_on_the_switches_alone(path: Path) -> None:
    """`torch.cuda` is asked for its name, its memory and whether it is there, and for no more."""
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type == "code":
            asked = set(re.findall(r"torch\.cuda\.(\w+)", cell.source))
            assert asked <= {"is_available", "get_device_name", "max_memory_allocated"}, cell.id
            whether = re.findall(r".*cuda\.is_available.*", cell.source)
            usual = 'device = "cuda" if torch.cuda.is_available() else "cpu"'
            assert set(whether) <= {usual}, cell.id


@pytest.mark.parametrize("name", CHAPTERS)
def test_what_is_written_otherwise_stands_there(name: str) -> None:
    source = "\n".join(cell.source for cell in cells(BOOK / f"{name}.ipynb"))
    for old in CHAPTERS[name].otherwise:
        assert source.count(old) == 1, old


PLANTED = [
    # Bytes, where images in [-1, 1] belong: what chapter 12's branch once died of.
    ("12-sample-quality", "dl.to_model_range(data.images, data.levels)", "data.images"),
    # Images that nobody moves.
    ("08-simplified-loss", "(digits(split)[0].to(device) for", "(digits(split)[0] for"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "right", "wrong"), PLANTED)
def test_a_planted_fault_is_found(
    name: str, right: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chapter = CHAPTERS[name]
    assert "\n".join(cell.source for cell in cells(BOOK / f"{name}.ipynb")).count(right) == 1
    planted = rehearsal.Chapter({**chapter.otherwise, right: wrong}, chapter.network)
    monkeypatch.setitem(CHAPTERS, name, planted)
    with pytest.raises((AssertionError, TypeError, RuntimeError, NameError, ValueError)):
        perform(name)
