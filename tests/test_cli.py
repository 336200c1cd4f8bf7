"""`python -m ddpm_lite` and `ddpm-lite`: the words reach the commands."""

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from ddpm_lite.runs import commands
from ddpm_lite.runs.cli import main
from tests.systems import not_on_windows


def test_the_module_and_the_command_are_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ddpm_lite", "--help"], capture_output=True, text=True, check=True
    )
    for word in ("ddpm-lite", "train", "sample", "evaluate", "info"):
        assert word in done.stdout
    (script,) = entry_points(group="console_scripts", name="ddpm-lite")
    assert script.load() is main


@not_on_windows("a closed pipe is another error there")
def test_a_reader_who_has_enough_is_told_nothing() -> None:
    read, write = os.pipe()
    os.close(read)  # as `| true`, which ends at once
    done = subprocess.run(
        [sys.executable, "-m", "ddpm_lite", "info", "digits"], stdout=write, stderr=subprocess.PIPE
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


def test_what_was_typed_is_remembered(capsys: pytest.CaptureFixture[str]) -> None:
    main(["info"])
    assert commands.said == "ddpm-lite info"


def test_stopping_by_hand_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "load_images", interrupted)
    with pytest.raises(SystemExit) as end:
        main(["train", "digits", "--out", str(tmp_path)])
    assert "the same command goes on from the last state" in str(end.value)
