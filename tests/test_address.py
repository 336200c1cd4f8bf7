"""`make address` rewrites the repository's address everywhere, and back to the letter."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.systems import of_the_source

pytestmark = of_the_source

ROOT = Path(__file__).parents[1]
HERE = "https://github.com/OWNER/ddpm-lite"
THERE = "/".join(("https://github.com", "someone", "a-fork"))  # not to be rewritten here


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What git tracks, as a repository of its own."""
    folder = tmp_path / "clone"
    listed = ["git", "ls-files", "-z"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True).stdout.split(b"\0")
    for name in filter(None, map(bytes.decode, names)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    for command in (["init", "-q"], ["add", "--all", "--force"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def address(folder: Path, url: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--silent", "address", f"URL={url}"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def contents(folder: Path) -> dict[Path, bytes]:
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


def test_there_and_back(clone: Path) -> None:
    before = contents(clone)
    assert address(clone, THERE).returncode == 0
    moved = contents(clone)
    changed = {str(path) for path in before if before[path] != moved[path]}
    assert {"README.md", "CITATION.cff", "_config.yml", "pyproject.toml"} <= changed
    assert {path.name for path in (ROOT / "book").glob("[0-9]*.ipynb")} <= {
        Path(name).name for name in changed
    }
    # This very file speaks of both.
    left = [p for p, text in moved.items() if HERE.encode() in text and p.parts[0] != "tests"]
    assert left == [], "these still have the old address"
    assert address(clone, HERE).returncode == 0
    assert contents(clone) == before


@pytest.mark.parametrize("url", ["", "github.com/someone/a-fork", "https://example.org/a/b"])
def test_another_kind_of_address_is_refused(clone: Path, url: str) -> None:
    before = contents(clone)
    done = address(clone, url)
    assert done.returncode != 0
    assert "https://github.com/NAME/REPO" in done.stdout
    assert contents(clone) == before
