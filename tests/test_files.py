"""Files: whole or not at all."""

from pathlib import Path

import pytest

from ddpm_lite.system.files import written_aside


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fails() -> None:
        with written_aside(path) as aside:
            aside.write_text("ne")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        fails()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_the_new_file_comes_whole(tmp_path: Path) -> None:
    """Who has the old file open keeps the old one, and never sees half of the new."""
    path = tmp_path / "file"
    path.write_text("old")
    with path.open() as reader:
        with written_aside(path) as aside:
            aside.write_text("new")
        assert (reader.read(), path.read_text()) == ("old", "new")
