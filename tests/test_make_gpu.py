"""The command that measures everything on a GPU: its parts, what they leave, how it goes on."""

import importlib.util
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.systems import of_the_source

pytestmark = of_the_source

ROOT = Path(__file__).parents[1]
COUNT = """
import json, os, pathlib
place = pathlib.Path(os.environ["COUNTED"])
place.write_text(str(int(place.read_text()) + 1 if place.exists() else 1))
pathlib.Path(os.environ["BENCHMARK_JSON"]).write_text(json.dumps({"smallest": os.environ.get(
    "BENCHMARK_SMALLEST")}))
"""


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The script, with quick parts in the place of its own."""
    spec = importlib.util.spec_from_file_location("make_gpu", ROOT / "benchmarks/gpu.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "make_gpu", module)
    spec.loader.exec_module(module)
    module.real = module.PARTS
    parts = {
        "good": module.Part("counts", ("-c", COUNT)),
        "bad": module.Part("fails", ("-c", COUNT + "\nprint('why'); raise SystemExit(3)")),
    }
    monkeypatch.setattr(module, "PARTS", parts)
    monkeypatch.setenv("COUNTED", str(tmp_path / "counted"))
    return module


def test_a_part_leaves_what_it_found_and_how(gpu: Any, tmp_path: Path) -> None:
    assert gpu.run(["good"], tmp_path, smallest=True) == 0
    found = json.loads((tmp_path / "good.json").read_text())
    assert found["status"] == "done"
    assert found["found"] == {"smallest": "1"}
    assert found["settings"]["seed"] == 0
    assert found["settings"]["device"]
    assert set(found["settings"]["versions"]) == {"python", "torch", "cuda", "ddpm_lite"}
    assert found["settings"]["command"][:2] == ["python", "-c"]
    assert found["date"]
    with zipfile.ZipFile(tmp_path / "gpu.zip") as archive:
        assert archive.namelist() == ["good.json"]


def test_what_is_there_is_not_run_again(gpu: Any, tmp_path: Path) -> None:
    counted = tmp_path / "counted"
    for smallest, runs in ((True, 1), (True, 1), (False, 2), (False, 2), (True, 3)):
        gpu.run(["good"], tmp_path, smallest)
        assert int(counted.read_text()) == runs
    found = json.loads((tmp_path / "good.json").read_text())
    found["settings"]["versions"]["torch"] = "1.0"
    (tmp_path / "good.json").write_text(json.dumps(found))
    gpu.run(["good"], tmp_path, True)
    assert int(counted.read_text()) == 4


def test_a_part_that_failed_is_told_kept_and_run_again(
    gpu: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for runs in (1, 2):
        assert gpu.run(["bad"], tmp_path, True) == 1
        assert int((tmp_path / "counted").read_text()) == runs
    found = json.loads((tmp_path / "bad.json").read_text())
    assert (found["status"], found["said"]) == ("failed", "why\n")
    assert found["found"] == {"smallest": "1"}
    assert "Failed: bad" in capsys.readouterr().out


def test_a_part_that_takes_too_long_is_stopped(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "LIMIT", 2)
    slow = gpu.Part("sleeps", ("-c", "import time; time.sleep(60)"))
    monkeypatch.setitem(gpu.PARTS, "slow", slow)
    assert gpu.run(["slow"], tmp_path, True) == 1
    found = json.loads((tmp_path / "slow.json").read_text())
    assert found["status"] == "stopped at the limit"


def test_a_part_that_leaves_too_much_fails(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "LARGEST", 10)
    (tmp_path / "good-weights.safetensors").write_bytes(b"x" * 11)
    assert gpu.run(["good"], tmp_path, True) == 1
    assert "11 bytes" in json.loads((tmp_path / "good.json").read_text())["status"]


def test_the_parts_are_there(gpu: Any) -> None:
    assert gpu.LIMIT <= 9 * 60
    assert gpu.LARGEST <= 16 * 2**20
    for part in gpu.real.values():
        assert (ROOT / part.command[0]).exists()
        if "--inside" in part.command:
            assert part.command[-1] in gpu.INSIDE
