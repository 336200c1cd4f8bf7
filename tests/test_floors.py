"""Imports go down only, there is no circle, the map is the tree, and importing stays light."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.systems import of_the_source

pytestmark = of_the_source

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ddpm_lite"
# A room is a file at the root or a folder; it imports from lower floors alone.
FLOORS = {
    "_shapes": 0, "_doors": 0, "_version": 0, "_moved": 0, "system": 0, "javascript": 0,
    "plots": 0,
    "blocks": 1, "schedule": 1, "gaussian": 1, "images": 1,
    "unet": 2, "forward": 2, "oracle": 2, "batches": 2, "quality": 2,
    "diffusion": 3,
    "bound": 4, "samplers": 4, "training": 4, "guidance": 4, "checks": 4,
    "runs": 5, "flow": 5,
    "experiments": 6, "widgets": 6,
    "__init__": 7, "__main__": 7,
}  # fmt: skip
HEAVY = {"matplotlib": {"plots", "widgets"}, "ipywidgets": {"widgets"}, "anywidget": {"widgets"}}
FILES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def module(path: Path) -> str:
    """Its name after the package's: runs.run, and runs for the folder itself."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module(path): path for path in FILES}


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are written out in full"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def own_imports(path: Path) -> set[str]:
    """The modules of the package that this one imports."""
    found = set()
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top != "ddpm_lite":
            continue
        while rest and rest not in MODULES:
            rest = rest.rpartition(".")[0]
        found.add(rest or "__init__")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    here = room(path)
    assert here in FLOORS, f"{path.name} has no floor yet: give it one in {Path(__file__).name}"
    for name in imports(path):
        top = name.partition(".")[0]
        assert top not in ("book", "tests")
        if top in HEAVY:
            assert here in HEAVY[top], f"{here} must not import {top}"
    for name in own_imports(path):
        there = name.partition(".")[0]
        assert there == here or FLOORS[there] < FLOORS[here], f"{here} must not import {name}"


def test_nothing_goes_round_in_a_circle() -> None:
    """Not within a folder either, whose first file may gather what the others define."""
    graph = {name: own_imports(path) - {name} for name, path in MODULES.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_every_module_has_a_test() -> None:
    tests = {p.stem.removeprefix("test_") for p in Path(__file__).parent.glob("test_*.py")}
    names = set()
    for name, path in MODULES.items():
        inner = name.rpartition(".")[2]
        if room(path) in ("widgets", "checks", "plots", "javascript"):  # tested room by room
            names.add(room(path))
        elif path.name != "__init__.py" and not inner.startswith("_"):
            names.add(inner)
    assert names - {"style", "figures"} <= tests


def test_the_map_is_the_tree() -> None:
    """CONTRIBUTING's map names every file of the package, each in its folder and on its floor."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    block = text.partition("```\nddpm_lite/\n")[2].partition("\n\nbook/")[0]
    drawn, floors, folder = set(), {}, ""
    for line in block.splitlines():
        if (entry := re.match(r"  (\w+)(/|\.py) +(\d)?", line)) is not None:
            folder = f"{entry[1]}/" if entry[2] == "/" else ""
            if entry[3]:
                floors[entry[1]] = int(entry[3])
        drawn |= {folder + name for name in re.findall(r"[\w.]+\.py\b", line)}
    tree = {str(path.relative_to(PACKAGE)) for path in FILES}
    assert drawn - {"checks/chapter_NN.py"} == {
        name for name in tree if "chapter_" not in name and "__init__" not in name
    }
    assert floors == {name: n for name, n in FLOORS.items() if name in floors}
    assert FLOORS.keys() - floors.keys() == {"_version", "__init__", "__main__"}


def test_the_dozen_of_the_paper_lie_at_the_root_and_come_first() -> None:
    dozen = {p.stem for p in PACKAGE.glob("*.py") if not p.stem.startswith("_")}
    assert len(dozen) == 12
    for page in ("README.md", "CONTRIBUTING.md", "book/api.md"):
        text = (ROOT / page).read_text()
        places = {}
        for path in FILES:
            name, inner = module(path), str(path.relative_to(PACKAGE))
            spelled = [f"ddpm_lite.{name}\n"] if page.endswith("api.md") else [inner]
            at = [text.find(s) for s in spelled if s in text]
            if at and path.name != "__init__.py":
                places[name] = min(at)
        assert dozen <= places.keys(), page
        others = [at for name, at in places.items() if name not in dozen and name[0] != "_"]
        assert max(places[name] for name in dozen) < min(others, default=len(text)), page


def test_import_is_light() -> None:
    code = "import sys, ddpm_lite; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    lazy = ("sklearn", "scipy", "IPython", "torchmetrics", "datasets", "pyarrow", "pandas", "PIL")
    for name in (*HEAVY, *lazy):
        assert name not in loaded


def test_everything_public_is_documented_and_exported() -> None:
    import ddpm_lite

    assert sorted(ddpm_lite.__all__) == sorted(set(ddpm_lite.__all__))
    for name in ddpm_lite.__all__:
        thing = getattr(ddpm_lite, name)
        assert name == "__version__" or thing.__doc__, name
