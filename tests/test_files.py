"""Files: whole or not at all, and one writer at a time."""

import ast
import errno
import os
import re
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ddpm_lite.system import files
from ddpm_lite.system.files import aside_of, locked, written_aside
from tests.systems import not_on_windows, of_the_source

if sys.platform != "win32":
    import fcntl


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


@not_on_windows("it replaces no file that somebody has open")
def test_the_new_file_comes_whole(tmp_path: Path) -> None:
    """Who has the old file open keeps the old one, and never sees half of the new."""
    path = tmp_path / "file"
    path.write_text("old")
    with path.open() as reader:
        with written_aside(path) as aside:
            aside.write_text("new")
        assert (reader.read(), path.read_text()) == ("old", "new")


@not_on_windows("it has no fcntl, and syncs no folder")
def test_the_file_and_its_name_reach_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows syncs a handle only where it may be written to; a new name is its folder's data."""
    synced = []

    def fsync(handle: int) -> None:
        folder = stat.S_ISDIR(os.fstat(handle).st_mode)
        written = fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
        synced.append((folder, written, (tmp_path / "file").exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    with written_aside(tmp_path / "file") as aside:
        aside.write_text("new")
    assert synced == [(False, True, False), (True, False, True)]


@not_on_windows("links need rights there")
def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """And what is written aside lies beside what it leads to: another disk takes no name of it."""
    there, link = tmp_path / "there", tmp_path / "here" / "file"
    for folder in (there, link.parent):
        folder.mkdir()
    (there / "real").write_text("old")
    link.symlink_to("../there/real")
    for text in ("new", "newer"):
        with written_aside(link) as aside:
            aside.write_text(text)
            assert aside == aside_of(link) == there / "real.part"
        assert link.is_symlink()
        assert (there / "real").read_text() == text
    assert [p.name for p in there.iterdir()] == ["real"]


@not_on_windows("nobody can read a locked file")
def test_a_lock_says_who_holds_it(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    says = re.escape(f"writing to {tmp_path}: {lock} is held by process {os.getpid()} on ")
    says += rf"{socket.gethostname()} since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d\. Stop it"
    for _ in range(2):  # and lets go of it
        with locked(lock), pytest.raises(RuntimeError, match=says), locked(lock):
            pass


NO_LOCKS = [errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EINVAL]


@not_on_windows("it has no fcntl")
@pytest.mark.parametrize("answer", NO_LOCKS, ids=errno.errorcode.get)
def test_where_there_are_no_locks_the_file_is_one(
    answer: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(handle: int, operation: int) -> None:
        raise OSError(answer, os.strerror(answer))

    monkeypatch.setattr(fcntl, "flock", flock)
    lock, host = tmp_path / ".lock", socket.gethostname()
    with locked(lock):
        says = f"{lock} is held by process {os.getpid()} on {host} .* has ended, remove {lock}"
        with pytest.raises(RuntimeError, match=says), locked(lock):
            pass
    assert not lock.exists()
    # Left by one that was killed: here, and elsewhere.
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    lock.write_text(f"{ended.pid}\n{host}\n")
    with locked(lock):
        pass
    lock.write_text("17\nanother\n")
    os.utime(lock, (0, 0))  # long running
    with pytest.raises(RuntimeError, match=r"process 17 on another since .* remove"), locked(lock):
        pass
    assert lock.exists()
    # Left where locks once worked, by whoever let go of it.
    lock.write_text("")
    with pytest.raises(RuntimeError, match="does not name"), locked(lock):
        pass
    os.utime(lock, (0, 0))
    with locked(lock):
        pass


def test_an_older_library_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Old(files.FileLock):
        def acquire(self) -> None:  # type: ignore[override]
            raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(files, "FileLock", Old)
    with (
        locked(tmp_path / ".lock"),
        pytest.raises(RuntimeError, match="is held by process"),
        locked(tmp_path / ".lock"),
    ):
        pass


@not_on_windows("it has no fcntl")
@pytest.mark.parametrize("answer", [errno.EROFS, errno.EIO], ids=errno.errorcode.get)
def test_a_folder_that_cannot_be_written_to(
    answer: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(handle: int, operation: int) -> None:
        raise OSError(answer, os.strerror(answer))

    monkeypatch.setattr(fcntl, "flock", flock)
    says = f"{tmp_path} must be a folder that can be written to: {os.strerror(answer)}"
    with pytest.raises(OSError, match=says) as caught, locked(tmp_path / ".lock"):
        pass
    assert caught.value.errno == answer


@of_the_source
def test_text_is_utf_8_on_every_system() -> None:
    """Windows takes an encoding of its own where none is named."""
    checked, silent = 0, []
    for path in Path(files.__file__).parents[1].rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and of_text(call):
                checked += 1
                if "encoding" not in {keyword.arg for keyword in call.keywords}:
                    silent.append(f"{path}:{call.lineno}")
    assert checked > 10
    assert silent == []


def of_text(call: ast.Call) -> bool:
    """`path.read_text()` and the like, or `path.open("a")`."""
    name = getattr(call.func, "attr", "")
    modes = [a.value for a in call.args if isinstance(a, ast.Constant)]
    return name in ("read_text", "write_text") or (
        name == "open" and any(isinstance(m, str) and "b" not in m for m in modes)
    )
