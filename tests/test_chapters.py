"""What every chapter has, read from its source: labels, figures, exercises, a Colab cell."""

import ast
import difflib
import importlib.util
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

from ddpm_lite.checks import CHECKERS
from tests.asked import BLOCK
from tests.systems import of_the_source

pytestmark = of_the_source

ROOT = Path(__file__).parents[1]
CHAPTERS = sorted((ROOT / "book").glob("[0-9][0-9]-*.ipynb"))
PAGES = [*CHAPTERS, *sorted((ROOT / "book").glob("*.md"))]
FIGURE = '{"mystnb": {"figure": {"name": "fig-...", "caption": "..."}}}'
ALT = '{"mystnb": {"image": {"alt": "..."}}}'
chapters = pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)


def cells(path: Path, kind: str | None = None) -> list[Any]:
    return [c for c in nbformat.read(path, 4).cells if kind in (None, c.cell_type)]


def prose(path: Path) -> str:
    if path.suffix == ".md":
        return path.read_text()
    return without_questions("\n\n".join(c.source for c in cells(path, "markdown")))


def without_questions(text: str) -> str:
    """Questions are answered, not read; tests/test_questions.py has them."""
    return BLOCK.sub("", text)


def test_questions_are_no_prose() -> None:
    text = "before\n\n:::{question} 2.1\nWhat is\n\n$$\nx ?\n$$\n:::\n\nafter\n\n"
    exercise = ":::{exercise} A title\n:label: ex-2-1\n\nStays.\n:::"
    assert without_questions(text + exercise) == f"before\n\n\n\nafter\n\n{exercise}"


def docstrings() -> dict[str, str]:
    found = {}
    for path in (ROOT / "ddpm_lite").rglob("*.py"):
        nodes = ast.walk(ast.parse(path.read_text()))
        # Properties of a class may also be documented by a string below an assignment.
        strings = [n.value for n in nodes if isinstance(n, ast.Constant)]
        found[str(path)] = "\n".join(s for s in strings if isinstance(s, str))
    return found


def labels() -> list[str]:
    return [x for path in CHAPTERS for x in re.findall(r"^\$\$ \((eq-[\w-]+)\)", prose(path), re.M)]


def test_every_numbered_equation_has_its_function() -> None:
    cited = set(re.findall(r"\{eq\}`([\w-]+)`", "\n".join(docstrings().values())))
    assert len(labels()) == len(set(labels())), "an equation label is used twice"
    assert cited - set(labels()) == set(), "docstrings cite equations that no chapter has"
    assert set(labels()) - cited == set(), "equations that no docstring names"


@cache
def targets() -> set[str]:
    """What pages may refer to: equations, figures, theorems and the like, and headings."""
    text = "\n".join(map(prose, PAGES))
    figures = {
        cell.metadata.get("mystnb", {}).get("figure", {}).get("name")
        for path in CHAPTERS
        for cell in cells(path, "code")
    }
    return {*labels(), *re.findall(r"^:(?:label|name): (\S+)", text, re.M), *figures} - {None}


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_every_reference_has_its_target(path: Path) -> None:
    known = targets()
    where = {"eq": "behind the closing $$, as in $$ (eq-name)", "numref": "in its cell's metadata"}
    for role, label in re.findall(r"\{(eq|numref|prf:ref)\}`([^`<]+)`", prose(path)):
        near = difflib.get_close_matches(label, known, 1)
        assert label in known, (
            f"{path.name} refers to {role} {label!r}, which no page has"
            + (f"; did you mean {near[0]!r}?" if near else ".")
            + f" A label stands {where.get(role, 'in its block, as :label: name')}."
        )


def test_the_ledger_is_complete() -> None:
    """Every equation has a function, every function of an equation a test that proves it."""
    place = ROOT / "book/_ext/ledger.py"
    spec = importlib.util.spec_from_file_location("ledger", place)
    assert spec is not None
    assert spec.loader is not None
    ledger = importlib.util.module_from_spec(spec)
    sys.modules["ledger"] = ledger
    spec.loader.exec_module(ledger)
    rows = ledger.rows()
    for key, pairs in rows.items():
        for function, tests in pairs:
            assert tests, f"{key}: no test proves {function.module}.{function.name}"
    known = {name for f in ledger.functions() for name in (f.short, f.name)}
    assert set(ledger.proofs()) <= known, "tests prove functions that do not exist"
    paper = range(1, 17)
    assert {f"Eq. {n}" for n in paper} | {"Algorithm 1", "Algorithm 2"} <= rows.keys()
    assert set(labels()) <= rows.keys()


def test_every_citation_has_its_entry() -> None:
    cited = set()
    for path in PAGES:
        for keys in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", prose(path)):
            cited |= {key.strip() for key in keys.split(",")}
    entries = set(re.findall(r"@\w+\{(\w+),", (ROOT / "book/references.bib").read_text()))
    assert cited <= entries


@chapters
def test_the_first_cell_installs_on_colab(path: Path) -> None:
    first = cells(path)[0]
    assert "find_spec" in first.source
    assert "%pip install" in first.source
    assert first.source.endswith("print(device_note())")
    assert {"remove-cell", "nbval-skip"} <= set(first.metadata.tags)
    assert cells(path)[1].source.startswith("# ")


@chapters
def test_outputs_are_text_and_were_run(path: Path) -> None:
    code = cells(path, "code")
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1)), (
        f"{path.name} was not run from top to bottom: run `make notebooks`, and commit it"
    )
    for cell in code:
        for output in cell.outputs:
            assert output.output_type != "error"
            assert set(output.get("data", {"text/plain": ""})) == {"text/plain"}
            assert output.get("name") != "stderr"


@chapters
def test_every_figure_has_number_caption_and_alternative_text(path: Path) -> None:
    names = []
    for cell in cells(path, "code"):
        if not any("<Figure" in str(output.get("data")) for output in cell.outputs):
            continue
        meta = cell.metadata.get("mystnb", {})
        where = f"{path.name}, cell {cell.id}, draws a figure"
        assert {"name", "caption"} <= set(meta.get("figure", {})), (
            f"{where}: put its name and caption into the cell's metadata, {FIGURE}"
        )
        assert len(meta.get("image", {}).get("alt", "")) > 40, (
            f"{where}: say what it shows in the cell's metadata, {ALT}"
        )
        names.append(meta["figure"]["name"])
    assert names
    assert len(names) == len(set(names))


@chapters
def test_every_widget_has_alternative_text_for_its_still(path: Path) -> None:
    for cell in cells(path, "code"):
        if any("An interactive figure" in str(output.get("data")) for output in cell.outputs):
            alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            assert len(alt) > 40, (
                f"{path.name}, cell {cell.id}, has a widget: say what its still shows in the "
                f"cell's metadata, {ALT}"
            )


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_what_folds_has_a_title_to_unfold_it_by(path: Path) -> None:
    # The theme's script puts its button into the title, and without one stops with an error.
    folded = re.findall(r"\{(prf:\w+)\}[^\n]*\n(?::.*\n)*?:class: dropdown", prose(path))
    assert not folded, f"{folded[0]} has no title that folds: use ':::{{admonition}} Proof'"


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_each_column_of_a_table_has_a_header(path: Path) -> None:
    for header in re.findall(r"^(\|.*\|)\n\|[-:| ]+\|$", prose(path), re.M):
        assert all(map(str.strip, header[1:-1].split("|"))), f"an empty header in {header}"


@chapters
def test_rhythm(path: Path) -> None:
    kinds = "".join(c.cell_type[0] for c in cells(path)[1:])
    assert len(kinds) < 40, "a chapter has at most forty cells"
    assert "cccc" not in kinds, "four code cells in a row: say something in between"
    for cell in cells(path, "code"):
        assert cell.source.count("\n") < 20, f"cell {cell.id} is longer than 20 lines"
    assert 1200 <= len(prose(path).split()) <= 2600


@chapters
def test_checks_and_controls(path: Path) -> None:
    code = "\n".join(c.source for c in cells(path, "code"))
    assert code.count("disagree(") >= 2, "a check without a negative control"
    assert code.count("agree(") - code.count("disagree(") >= 3


@chapters
def test_exercises_have_checkers_and_solutions(path: Path) -> None:
    number = int(path.stem[:2])
    text = prose(path)
    exercises = re.findall(r":::\{exercise\}.*\n:label: (ex-\d+-\d+)", text)
    assert len(exercises) >= 3, f"{path.name} has {len(exercises)} exercises, three are the least"
    assert exercises == [f"ex-{number}-{i}" for i in range(1, len(exercises) + 1)]
    solved = set(re.findall(r":::\{solution\} (ex-\d+-\d+)\n:class: dropdown", text))
    tried = set()
    for cell in cells(path, "code"):
        for which in re.findall(r'^check\("([\d.]+)"', cell.source, re.M):
            (output,) = cell.outputs
            if "# @title Solution" in cell.source:
                assert output.text.startswith(f"Exercise {which}: right.\n")
                assert "hide-cell" in cell.metadata.tags
                solved.add(f"ex-{which.replace('.', '-')}")
            else:
                assert "replace the dots" in output.text
                tried.add(which)
    for label in exercises:
        which = label.removeprefix("ex-").replace("-", ".")
        assert label in solved, (
            f"{path.name}, exercise {which}, has no solution: add a dropdown {{solution}} for one "
            f"of algebra; for one of code, a cell `# @title Solution {which}` that ends in "
            f'check("{which}", ...), its checker in ddpm_lite/checks/chapter_{number:02}.py'
        )
    assert solved == set(exercises), f"{path.name}: solutions of exercises that are not there"
    checkers = {key for key in CHECKERS if key.startswith(f"{number}.")}
    assert tried == checkers, f"{path.name}: a reader tries {tried}, checkers exist for {checkers}"


def test_one_address() -> None:
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    address = config["repository"]["url"]
    pattern = re.compile(r"https://github\.com/[\w.-]+/ddpm-lite")
    for path in [*PAGES, ROOT / "README.md", ROOT / "CITATION.cff", ROOT / "pyproject.toml"]:
        found = set(pattern.findall(path.read_text()))
        assert found <= {address}, f"{path.name}: run make address"


def test_table_of_contents_names_every_page() -> None:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    named = {toc["root"]} | {c["file"] for part in toc["parts"] for c in part["chapters"]}
    assert named == {f"book/{path.stem}" for path in PAGES}
