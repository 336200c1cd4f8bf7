"""What nbval has run is found again by the build, whole; and nothing of what has failed is."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from jupyter_cache import get_cache

from tests import executed

STATE = "application/vnd.jupyter.widget-state+json"
PRINTS = "print('one')"
WIDGET = "import ipywidgets\nslider = ipywidgets.IntSlider(3)\nslider"
ASIDE = "import sys\nprint('aside', file=sys.stderr)\n2"
SKIPPED = "# by nbval\n'skipped'"
MOVED = "slider.value = 7"  # what a widget becomes later is its state on the page


def notebook(path: Path, *cells: str) -> Any:
    """As it is committed: with what it prints, where that is checked."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nb = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
    nb.cells = [nbformat.v4.new_code_cell(source) for source in cells]
    nb.cells[0].outputs = [nbformat.v4.new_output("stream", text="one\n")]
    nb.cells[0].execution_count = 1
    for cell in nb.cells[1:]:
        skipped = cell.source.startswith("# by nbval")
        cell.metadata.tags = ["nbval-skip" if skipped else "nbval-ignore-output"]
    nbformat.write(nb, path)
    return nb


def by_nbval(folder: Path, *more: str) -> int:
    command = [sys.executable, "-m", "pytest", "-p", "tests.executed", "--nbval", str(folder)]
    command += ["--rootdir", str(folder)]  # a deselected cell is named from there
    command += ["--executed", str(folder / "build"), "-p", "no:cacheprovider", *more]
    root = Path(__file__).parents[1]
    run = subprocess.run(command, cwd=root, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)
    return run.returncode


def found(folder: Path, nb: Any) -> Any:
    cache = get_cache(executed.cache_in(folder / "build"))
    return cache.merge_match_into_notebook(nb)[1]


def test_text_and_widgets_are_kept_and_a_second_run_takes_their_place(tmp_path: Path) -> None:
    nb = notebook(tmp_path / "01.ipynb", PRINTS, ASIDE, WIDGET, MOVED, SKIPPED)
    for _ in range(2):
        assert by_nbval(tmp_path) == 0
    kept = found(tmp_path, nb)
    assert kept.cells[0].outputs == nb.cells[0].outputs
    aside, result = kept.cells[1].outputs
    assert (aside.name, aside.text) == ("stderr", "aside\n")
    assert (result.data, result.execution_count) == ({"text/plain": "2"}, 2)
    view = kept.cells[2].outputs[0].data["application/vnd.jupyter.widget-view+json"]
    assert kept.metadata.widgets[STATE]["state"][view["model_id"]]["state"]["value"] == 7
    assert [cell.execution_count for cell in kept.cells] == [*range(1, 6)]
    assert kept.cells[4].outputs[0].data == {"text/plain": "'skipped'"}
    assert kept.metadata.language_info.pygments_lexer == "ipython3"  # as the build has it


@pytest.mark.parametrize(
    ("cells", "more"),
    [
        ((PRINTS, "1 / 0"), ()),
        ((PRINTS.replace("one", "two"), "2"), ()),  # not what is committed
        ((PRINTS, f"{SKIPPED}\n1 / 0"), ()),
        ((PRINTS, "2"), ("--deselect", "01.ipynb::Cell 0")),  # not run whole
    ],
    ids=["an error", "another output", "an error where nbval skips", "a part"],
)
def test_what_failed_or_was_not_run_whole_is_not_kept(
    tmp_path: Path, cells: tuple[str, ...], more: tuple[str, ...]
) -> None:
    nb = notebook(tmp_path / "01.ipynb", *cells)
    assert (by_nbval(tmp_path, *more) == 0) == bool(more)
    with pytest.raises(KeyError):
        found(tmp_path, nb)


def test_what_an_older_package_said_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the package changes while a chapter runs."""
    nb = notebook(tmp_path / "01.ipynb", PRINTS)
    names = iter("ab")
    monkeypatch.setattr(executed, "cache_in", lambda build: build / next(names))
    file = SimpleNamespace(nb=nb, kernel=SimpleNamespace(kc=Kernel()))
    executed.Executed(file, tmp_path).keep(tmp_path / "01.ipynb")
    assert {path.name for path in tmp_path.iterdir()} == {"01.ipynb"}


class Kernel:
    def kernel_info(self, **_: Any) -> dict[str, Any]:
        return {"content": {"language_info": {"name": "python"}}}
