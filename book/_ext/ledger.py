"""The ledger: every equation, the function that computes it, the tests that hold it to that.

Made from the source: a docstring names its equations, by the book's labels and by the paper's
numbers, and a test names the functions it proves, by `@pytest.mark.proves`.
"""

import ast
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parents[2]
LABEL = re.compile(r"\{eq\}`(eq-[\w-]+)`")
PAPER = re.compile(
    r"Ho et al\. \(2020\), (?:Section [\d.]+(?:, )?)?"
    r"(Eqs?\. \d+(?: and (?:Eq\. )?\d+)?|Algorithm \d)"
)
DEFINED = re.compile(r"\$\$ \((eq-[\w-]+)\)")
NUMBER = re.compile(r"\d+")
APART = ("widgets", "checks", "plots")  # show and test what others compute


@dataclass
class Function:
    """Something documented: a function, a method, a property or a class."""

    module: str
    name: str  # as in the module: Class.method
    doc: str

    @property
    def short(self) -> str:
        return self.name.rpartition(".")[2]

    @property
    def link(self) -> str:
        return f"{{py:obj}}`{self.short} <ddpm_lite.{self.module}.{self.name}>`"


@dataclass
class Test:
    """A test and where it stands."""

    file: str
    line: int
    name: str


def functions(package: Path = ROOT / "ddpm_lite") -> list[Function]:
    """Everything public in the package's modules that has a docstring."""
    found: list[Function] = []

    def walk(body: list[ast.stmt], module: str, prefix: str = "") -> None:
        for node in body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef):
                continue
            if node.name.startswith("_"):
                continue
            doc = ast.get_docstring(node)
            if doc:
                found.append(Function(module, prefix + node.name, doc))
            if isinstance(node, ast.ClassDef):
                walk(node.body, module, f"{prefix}{node.name}.")

    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        if parts[0] not in APART:
            walk(ast.parse(path.read_text()).body, ".".join(parts))
    return found


def sentence(name: str) -> str:
    """What a test's name says: test_the_paper_s_prior is "the paper's prior"."""
    return re.sub(r" s\b", "'s", name.removeprefix("test_").replace("_", " "))


def proofs(tests: Path = ROOT / "tests") -> dict[str, list[Test]]:
    """For each function named by `proves`, the tests that do."""
    found: dict[str, list[Test]] = {}
    for path in sorted(tests.glob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, ast.FunctionDef):
                continue
            for mark in node.decorator_list:
                if ast.unparse(mark).startswith("pytest.mark.proves("):
                    assert isinstance(mark, ast.Call)
                    for name in mark.args:
                        assert isinstance(name, ast.Constant)
                        assert isinstance(name.value, str)
                        test = Test(path.name, node.lineno, node.name)
                        found.setdefault(name.value, []).append(test)
    return found


def cited(doc: str) -> list[str]:
    """The equations that a docstring names: labels of the book, "Eq. 4" of the paper."""
    keys = LABEL.findall(doc)
    for match in PAPER.findall(" ".join(doc.split())):
        kind = "Algorithm" if match.startswith("Algorithm") else "Eq."
        keys += [f"{kind} {n}" for n in NUMBER.findall(match)]
    return list(dict.fromkeys(keys))


def rows() -> dict[str, list[tuple[Function, list[Test]]]]:
    """For each equation, its functions and their tests, in the order of the equations."""
    tests = proofs()
    every = functions()
    known = Counter(function.short for function in every)
    found: dict[str, list[tuple[Function, list[Test]]]] = {}
    for function in every:
        # Of two classes' methods of one name, a mark says which: "ELBO.bits_per_dim".
        name = function.short if known[function.short] == 1 else function.name
        for key in cited(function.doc):
            found.setdefault(key, []).append((function, tests.get(name, [])))

    labels = [
        label
        for chapter in sorted((ROOT / "book").glob("[0-9]*.ipynb"))
        for label in DEFINED.findall(chapter.read_text())
    ]

    def order(key: str) -> tuple[int, int]:
        if key in labels:
            return 0, labels.index(key)
        kind, number = key.split()
        return 1 if kind == "Eq." else 2, int(number)

    return {key: found[key] for key in sorted(found, key=order)}


class Ledger(SphinxDirective):
    """`{ledger} book` or `{ledger} paper`: one of the two tables."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        paper = self.arguments[0] == "paper"
        source = f"{self.config.html_theme_options['repository_url']}/blob/main"
        lines = ["| equation | computed by | held to it by |", "|---|---|---|"]
        counts = json.loads((Path(__file__).parent / "caught.json").read_text())
        if not paper:
            more = (" broken, and noticed by the chapter |", "---|")
            lines = [
                line + last for line, last in zip(lines, more, strict=True)
            ]
        for key, pairs in rows().items():
            if key.startswith("eq-") == paper:
                continue
            names = " ".join(function.link for function, _ in pairs)
            tests = {
                (t.file, t.name): t.line for _, found in pairs for t in found
            }
            links = " · ".join(
                f"[{sentence(name)}]({source}/tests/{file}#L{line})"
                for (file, name), line in tests.items()
            )
            equation = key if paper else f"{{eq}}`{key}`"
            row = f"| {equation} | {names} | {links} |"
            if not paper:
                row += f" {counts[key]['caught']} of {counts[key]['mutants']} |"
            lines.append(row)
        container: Any = nodes.container(classes=["ledger"])
        self.state.nested_parse(StringList(lines, "ledger"), 0, container)
        return [container]
