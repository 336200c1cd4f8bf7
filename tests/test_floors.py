"""Imports go down only, and importing the package stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "ddpm_lite"
FLOORS = {
    "schedule": 0, "gaussian": 0, "blocks": 0, "data": 0, "processes": 0, "metrics": 0,
    "_version": 0, "results": 0, "javascript": 0,
    "forward": 1, "oracle": 1, "unet": 1, "batches": 1, "grids": 1,
    "evaluation": 2, "classifier": 1, "inception": 1, "sources": 0, "images": 1,
    "reverse": 2, "interop": 2, "ablations": 2, "guidance": 2,
    "diffusion": 3,
    "elbo": 4, "samplers": 4, "train": 4, "checkpoints": 4,
    "plots": 5, "checks": 5, "runs": 5, "export": 5,
    "widgets": 6, "shared": 6, "recipes": 6,
    "commands": 7, "studies": 7, "shipped": 7,
    "cli": 8, "__init__": 9, "__main__": 9,
}  # fmt: skip
HEAVY = {"matplotlib": {"plots", "widgets"}, "ipywidgets": {"widgets"}, "anywidget": {"widgets"}}


def room(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are written out in full"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    here = room(path)
    assert here in FLOORS, f"{path.name} has no floor yet: give it one in {Path(__file__).name}"
    for name in imports(path):
        top, *rest = name.split(".")
        assert top not in ("book", "tests")
        if top in HEAVY:
            assert here in HEAVY[top], f"{here} must not import {top}"
        if top == "ddpm_lite" and rest and rest[0] in FLOORS and rest[0] != here:
            assert FLOORS[rest[0]] < FLOORS[here], f"{here} must not import {rest[0]}"


def test_every_room_has_a_test() -> None:
    tests = {p.stem.removeprefix("test_") for p in Path(__file__).parent.glob("test_*.py")}
    assert FLOORS.keys() - {"__init__", "__main__", "_version"} <= tests


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
