"""What nbval has run, the build of the book need not run again.

    make nbval

Each chapter that passes goes, with all that its kernel said, where Jupyter Book looks for chapters
that it has executed before. What the kernel said is put together by nbclient, as when the build
runs them; nbval keeps text and pictures alone, and no state of widgets. Cells that nbval skips are
run here, for the build would run them.
"""

import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from nbclient import NotebookClient
from nbval.plugin import IPyNbCell, IPyNbFile

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "book/_ext"))

from fingerprint import cache_in  # noqa: E402


class Executed:
    """A notebook while nbval runs it, cell by cell."""

    def __init__(self, file: Any, build: Path):
        self.build, self.cache = build, cache_in(build)
        self.notebook = deepcopy(file.nb)
        told = file.kernel.kc.kernel_info(reply=True, timeout=60)["content"]
        self.notebook.metadata.language_info = told["language_info"]
        self.client = NotebookClient(self.notebook, record_timing=False)
        self.places = [i for i, c in enumerate(self.notebook.cells) if c.cell_type == "code"]
        self.turn = ""
        self.left = set(range(len(self.places)))
        for place in self.places:
            cell = self.notebook.cells[place]
            cell.outputs, cell.execution_count = [], None

    def begin(self, number: int) -> None:
        """The cell that runs next."""
        self.place, self.turn = self.places[number], ""
        self.client.clear_before_next_output = False

    def take(self, message: dict[str, Any]) -> None:
        """One message of the kernel, if it is about the cell that runs."""
        about = message["parent_header"].get("msg_id")
        if message["msg_type"] == "execute_input":
            self.turn = about
        if about == self.turn and message["msg_type"] != "status":
            self.client.process_message(message, self.notebook.cells[self.place], self.place)

    def run(self, file: Any) -> None:
        """A cell that nbval would skip."""
        source = self.notebook.cells[self.place].source
        turn = file.kernel.execute_cell_input(source, allow_stdin=False)
        file.kernel.await_reply(turn, timeout=file.config.option.nbval_cell_timeout)
        while True:
            message = file.get_kernel_message(timeout=60)
            if message["msg_type"] == "error":
                raise RuntimeError(message["content"]["evalue"])
            ours = message["parent_header"].get("msg_id") == turn
            if ours and message["content"].get("execution_state") == "idle":
                return

    def keep(self, path: Path) -> None:
        """But not what an older package has said, where it changed on the way."""
        if cache_in(self.build) != self.cache:
            return
        self.client.set_widgets_metadata()
        for number, place in enumerate(self.places, 1):  # nbval has the kernel count nothing
            cell = self.notebook.cells[place]
            cell.execution_count = number
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = number
        bundle = CacheBundleIn(self.notebook, str(path), data={})
        self.cache.mkdir(parents=True, exist_ok=True)
        with FileLock(self.cache / "lock"):  # chapters run side by side
            get_cache(self.cache).cache_notebook_bundle(
                bundle, check_validity=False, overwrite=True
            )


def pytest_configure(config: pytest.Config) -> None:
    hear = IPyNbFile.get_kernel_message

    def heard(file: Any, **how: Any) -> Any:
        message = hear(file, **how)
        file.executed.take(message)
        return message

    patch = pytest.MonkeyPatch()
    patch.setattr(IPyNbFile, "get_kernel_message", heard)
    config.add_cleanup(patch.undo)


@pytest.hookimpl(trylast=True)  # once the file has its kernel
def pytest_runtest_setup(item: pytest.Item) -> None:
    if isinstance(item, IPyNbCell):
        file: Any = item.parent
        if not hasattr(file, "executed"):
            file.executed = Executed(file, Path(item.config.getoption("--executed")))
        file.executed.begin(item.cell_num)
        if item.options["skip"]:
            file.executed.run(file)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    report = yield
    if isinstance(item, IPyNbCell) and call.when == "call":
        executed = item.parent.executed  # type: ignore[union-attr]
        if not report.failed:
            executed.left.discard(item.cell_num)
            if not executed.left:
                executed.keep(item.path)
    return report


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--executed", default=ROOT / "_build", help="where the book is built")
