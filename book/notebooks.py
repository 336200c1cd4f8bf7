"""Run the chapters and clean what is committed of them: text outputs, and nothing that changes.

python book/notebooks.py              run and clean every chapter in place
python book/notebooks.py --check      fail, and name the cells, if that would change a file
python book/notebooks.py --built      the same, of what the last build of the book executed
python book/notebooks.py NAME.ipynb   only these
"""

import argparse
import difflib
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

BOOK = Path(__file__).parent
EXECUTED = BOOK.parent / "_build/jupyter_execute/book"
ADDRESS = re.compile(r"0x[0-9a-f]{6,}")


def run(path: Path) -> Any:
    """The notebook, executed from top to bottom and cleaned."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute(
        cwd=str(path.parent)
    )
    return clean(notebook)


def built(path: Path) -> Any:
    """The notebook as the last build of the book executed it, cleaned."""
    executed = nbformat.read(EXECUTED / path.name, as_version=4)
    source = nbformat.read(path, as_version=4)
    if [c.source for c in executed.cells] != [c.source for c in source.cells]:
        raise ValueError(f"{path.name} has changed since: run `make book`")
    return clean(executed)


def clean(notebook: Any) -> Any:
    """Keep sources, tags and text; drop pictures, widget state, times, addresses, versions."""
    notebook.metadata = {
        "kernelspec": {
            "display_name": "Python 3",
            "language": "python",
            "name": "python3",
        },
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        if "nbval-skip" in cell.metadata.get("tags", []):
            cell.outputs = []  # what it says depends on the machine
        cell.outputs = [
            o for o in map(_text_only, _joined(cell.outputs)) if o is not None
        ]
        for output in cell.outputs:
            text = output.get("text") or output.get("data", {}).get(
                "text/plain", ""
            )
            if ADDRESS.search(text):
                raise ValueError(
                    f"cell {cell.id} prints a memory address: {text.strip()!r}"
                )
    return notebook


def _joined(outputs: list[Any]) -> list[Any]:
    """Streams in one piece each: how a kernel splits them differs from run to run."""
    joined: list[Any] = []
    for output in outputs:
        if (
            output.output_type == "stream"
            and joined
            and joined[-1].get("name") == output.name
        ):
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def _text_only(output: Any) -> Any:
    if output.output_type == "stream":
        return output if output.name == "stdout" else None
    if output.output_type == "error":
        raise ValueError(f"a cell failed: {output.ename}: {output.evalue}")
    output.metadata = {}
    kept = {"text/plain": output.data.get("text/plain", "")}
    if "application/vnd.jupyter.widget-view+json" in output.data:
        kept = {
            "text/plain": "An interactive figure: run this cell, or read the published page."
        }
    output.data = kept
    return output


def write(path: Path, text: str) -> None:
    """Write aside, then rename: an interrupted run leaves the old notebook whole."""
    aside = path.with_suffix(".part")
    aside.write_text(text)
    os.replace(aside, path)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument(
        "notebooks", nargs="*", type=Path, help="default: every chapter"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="change nothing; fail if a file would",
    )
    parser.add_argument(
        "--built",
        action="store_true",
        help="as --check, without running: by what the last build executed",
    )
    options = parser.parse_args()
    make = built if options.built else run
    stale = []
    for path in options.notebooks or sorted(BOOK.glob("[0-9][0-9]-*.ipynb")):
        start = time.perf_counter()
        text = nbformat.writes(make(path)) + "\n"
        same = text == path.read_text()
        print(
            f"{path.name}: {time.perf_counter() - start:.0f} s{'' if same else ', changed'}"
        )
        if (options.check or options.built) and not same:
            stale.append(path.name)
            sys.stdout.writelines(
                difflib.unified_diff(
                    path.read_text().splitlines(True),
                    text.splitlines(True),
                    "committed",
                    "re-run",
                )
            )
        elif not same:
            write(path, text)
    if stale:
        print(
            f"Stale: {', '.join(stale)}. Run `make notebooks` and commit what it changes."
        )
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
