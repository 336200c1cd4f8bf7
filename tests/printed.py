"""The commands that pages and docstrings tell a reader to type, collected for test_printed.py."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[1]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "book").glob("*.md")),
    *sorted((ROOT / "book").glob("*.ipynb")),
    ROOT / "benchmarks/README.md",
    *sorted((ROOT / ".github").rglob("*.md")),
    *sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")),
]
SCRIPTS = [  # their docstrings say how to run them
    p
    for folder in ("benchmarks", "book", "tests", "ddpm_lite")
    for p in sorted((ROOT / folder).rglob("*.py"))
    if not p.name.startswith("test_") and p.name != "conftest.py"
]
TOOL = r"(?:\.venv/bin/)?(?:ddpm-lite|python3?|torchrun|make|pip|pytest|jupyter-book|pre-commit)"
COMMAND = re.compile(rf"{TOOL} (?!-m$)\S")
FENCE = re.compile(r"^( *)(```+)([^\n`]*)\n(.*?)^\1\2 *$", re.M | re.S)
SHELL = {"sh", "bash", "shell", "console"}


def text(path: Path) -> str:
    if path.suffix != ".ipynb":
        return path.read_text()
    return "\n\n".join(c.source for c in nbformat.read(path, 4).cells if c.cell_type == "markdown")


def split(line: str) -> list[str]:
    """The commands of a line: without its comment, and one by one."""
    line = re.sub(r"(^|\s+)#.*", "", line).strip()
    return [part for part in line.split(" && ") if part]


def blocks(page: str) -> Iterator[list[str]]:
    """The commands of each fenced block; where it has no language, those that look like one."""
    for _, _, language, body in FENCE.findall(page):
        lines = [c for line in body.replace("\\\n", "").splitlines() for c in split(line)]
        if language.startswith("{"):  # a directive, with a page inside
            yield from blocks(body)
        elif language.strip() in SHELL:
            yield lines
        elif language.strip() in ("", "text"):
            yield [line for line in lines if COMMAND.match(line)]


def inline(page: str) -> list[str]:
    """Commands in a sentence: at least two words, for one is a name. A line break is a space."""
    prose = FENCE.sub(lambda m: m[4] if m[3].startswith("{") else "", page)
    found = re.findall(r"(?<!`)`((?:[^`\n]|\n(?!\s*\n))+)`(?!`)", prose)
    return [c for c in (" ".join(code.split()) for code in found) if COMMAND.match(c)]


def usages(path: Path) -> Iterator[str]:
    """What the docstring of a script says to type; behind two spaces, it says why."""
    doc = ast.get_docstring(ast.parse(path.read_text())) or ""
    for line in doc.splitlines():
        if COMMAND.match(line.strip()):
            yield from split(re.split(r"\s{2,}", line.strip())[0])
    yield from inline(doc)


def printed() -> dict[str, list[str]]:
    """Each command, and where it is printed; blocks that are run have a test of their own."""
    found: dict[str, list[str]] = {}

    def add(command: str, path: Path) -> None:
        found.setdefault(command, []).append(str(path.relative_to(ROOT)))

    for path in PAGES:
        page = text(path)
        for command in [*inline(page), *(c for block in blocks(page) for c in block)]:
            add(command, path)
        for command in re.findall(r"The output of: ([^\"\n]+)", page):
            add(command, path)
    for path in SCRIPTS:
        for command in usages(path):
            add(command, path)
    for path in [*(ROOT / "ddpm_lite").rglob("*.json")]:  # tables and cards: how they were made
        command = json.loads(path.read_text()).get("command")
        assert command, f"{path} does not say its command"
        add(command, path)
    return found


PRINTED = printed()
