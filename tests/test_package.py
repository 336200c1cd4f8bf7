"""What `pip install ddpm-lite` would bring: all of the package, and nothing else."""

import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests import as_released
from tests.as_released import tracked
from tests.systems import of_the_source

pytestmark = of_the_source

ROOT = Path(__file__).parents[1]
KINDS = {".py", ".js", ".css", ".json", ".safetensors", ".png", ".typed"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    sdist, wheel = as_released.build(Path(sys.executable), tmp_path_factory.mktemp("dist"))
    return {"sdist": sdist, "wheel": wheel}


def test_the_wheel_holds_the_package_and_nothing_else(made: dict[str, Path]) -> None:
    names = as_released.contents(made["wheel"])
    with zipfile.ZipFile(made["wheel"]) as wheel:
        about = [n for n in wheel.namelist() if n.endswith("METADATA")]
        metadata = wheel.read(about[0]).decode()
    assert names == tracked("ddpm_lite")
    assert {Path(n).suffix for n in names} <= KINDS
    assert "License-Expression: MIT" in metadata
    assert made["wheel"].stat().st_size < 8 * 2**20


def test_the_source_archive_can_be_built_and_is_small(made: dict[str, Path]) -> None:
    with tarfile.open(made["sdist"]) as archive:
        names = {n.partition("/")[2] for n in archive.getnames()}
    assert tracked("ddpm_lite") <= names
    assert {"LICENSE", "README.md", "pyproject.toml"} <= names
    assert made["sdist"].stat().st_size < 8 * 2**20


def test_the_readmes_example_runs_from_the_wheel(made: dict[str, Path], tmp_path: Path) -> None:
    """In an environment of its own, over the packages that are installed here already."""
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv/bin/python"
    where = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    own = subprocess.run([python, "-c", where], check=True, capture_output=True, text=True).stdout
    with zipfile.ZipFile(made["wheel"]) as wheel:
        wheel.extractall(own.strip())
    here = subprocess.run([sys.executable, "-c", where], check=True, capture_output=True, text=True)
    others = [p for p in Path(here.stdout.strip()).iterdir() if "ddpm_lite" not in p.name]
    for path in others:
        (Path(own.strip()) / path.name).exists() or (Path(own.strip()) / path.name).symlink_to(path)
    (example,) = re.findall(
        r"## The package in ten lines\n\n```python\n(.*?)```",
        (ROOT / "README.md").read_text(),
        re.S,
    )
    short = (
        example.replace("steps=1000", "steps=3").replace("T=1000", "T=5").replace("t=300", "t=3")
    )
    assert short.count("steps=3") == short.count("T=5") == 1
    end = "\nimport ddpm_lite; print(ddpm_lite.__file__, step.t, tuple(step.xt.shape))"
    done = subprocess.run(
        [python, "-c", short + end], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[-2].endswith("0 (16, 1, 8, 8)")
    assert str(tmp_path) in done.stdout.split("\n")[-2]


def test_one_version_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    release = as_released.version()
    assert as_released.disagreements(f"v{release}") == []
    assert as_released.section(release)[1].startswith("### ")
    monkeypatch.setattr(as_released, "version", lambda: "99.0.0")
    wrong = as_released.disagreements(f"v{release}")
    assert [line.split()[0] for line in wrong] == [
        "The",
        "CITATION.cff",
        "book/intro.md",
        "CHANGELOG.md",
    ]
    assert all("99.0.0" in line for line in wrong)
