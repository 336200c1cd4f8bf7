"""A browser is found, or fetched, or one line says what to type."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import browser
from tests.systems import of_the_source

ROOT = Path(__file__).parents[1]


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """A machine without a browser, where nothing can be fetched; what was tried."""
    tried: list[list[str]] = []
    own = tmp_path / "own"
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(own))
    monkeypatch.setattr(
        browser.shutil, "which", lambda name: "/usr/bin/apt-get" if name == "apt-get" else None
    )
    monkeypatch.setattr(browser.os, "geteuid", lambda: 0, raising=False)
    monkeypatch.setattr(browser.subprocess, "run", lambda way, **_: tried.append(way))
    return tried


def test_nothing_found_is_told_in_one_line(
    bare: list[list[str]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert browser.main() == 1
    assert [way[-1] for way in bare] == ["chromium", *browser.NAMES[:2]]
    assert [way[0] for way in bare] == [sys.executable, "apt-get", "apt-get"]
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert f"apt-get install {browser.NAMES[0]}" in text
    monkeypatch.setattr(browser.os, "geteuid", lambda: 1000, raising=False)
    bare.clear()
    assert browser.main() == 1
    assert [way[0] for way in bare] == [sys.executable]  # only root may install


@pytest.mark.parametrize("name", browser.NAMES)
def test_a_browser_of_the_system_is_enough(
    bare: list[list[str]], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(browser.shutil, "which", lambda n: f"/usr/bin/{n}" if n == name else None)
    assert browser.find() == f"/usr/bin/{name}"
    assert browser.main() == 0
    assert bare == []


@pytest.mark.usefixtures("bare")
def test_what_was_fetched_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetches(way: list[str], **_: Any) -> None:
        path = where()
        path.parent.mkdir(parents=True)
        path.write_text("a browser")

    def where() -> Path:
        with browser.sync_playwright() as playwright:
            return Path(playwright.chromium.executable_path)

    assert browser.find() is None
    monkeypatch.setattr(browser.subprocess, "run", fetches)
    assert browser.main() == 0
    assert browser.find() == str(where())


@of_the_source
def test_make_looks_before_its_first_test() -> None:
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", "test"],
        cwd=ROOT, capture_output=True, text=True, check=True, env={**os.environ, "MAKEFLAGS": ""},
    )  # fmt: skip
    lines = done.stdout.splitlines()
    look = next(i for i, line in enumerate(lines) if "tests/browser.py" in line)
    assert look < min(i for i, line in enumerate(lines) if "pytest" in line or "ruff" in line)
