"""The names of 0.1 still lead somewhere."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

NAMES = json.loads((Path(__file__).parent / "names_0_1.json").read_text())


def test_every_public_name_of_0_1_imports() -> None:
    """Module after module in one new process, where each is imported for the first time."""
    lines = ["import ddpm_lite"]
    for module, names in NAMES.items():
        lines += [f"from {module} import {name}" for name in names]
        lines += [f"import {module}", f"assert {module}"]
    lines += ["assert callable(ddpm_lite.train) and callable(ddpm_lite.elbo)"]
    command = [sys.executable, "-W", "error", "-c", "\n".join(lines)]
    assert subprocess.run(command, capture_output=True, text=True).stderr == ""


def test_a_command_of_0_1_runs() -> None:
    """As the stored tables give it, without a word about its new place."""
    command = [sys.executable, "-W", "error", "-m", "ddpm_lite.studies", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--seeds" in done.stdout
    assert done.stderr == ""


def test_a_name_that_never_was_is_told_as_ever() -> None:
    with pytest.raises(ImportError, match=r"cannot import name 'nothing' from"):
        from ddpm_lite.elbo import nothing  # noqa: F401
