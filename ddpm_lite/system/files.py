"""Files on disk: whole or not there at all, and one writer at a time."""

import errno
import hashlib
import json
import os
import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

__all__ = ["WEIGHTS", "aside_of", "check_card", "locked", "written_aside"]

WEIGHTS = Path(__file__).parents[1] / "weights"  # trained networks that come with the package

# What a file system answers that knows no locks.
NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}
SOON = 60.0  # seconds within which a holder has long written its name


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` once all is on the disk.

    Where writing fails, on a full disk say, `path` is left as it was and nothing else is. A link
    stays one: what it leads to is replaced, from a file beside that, on the same disk.
    """
    path, aside = Path(os.path.realpath(path)), aside_of(path)
    try:
        yield aside
        with aside.open("r+b") as file:  # Windows syncs only what may be written to
            os.fsync(file.fileno())
        os.replace(aside, path)
        _sync_folder(path.parent)
    finally:
        aside.unlink(missing_ok=True)


def aside_of(path: Path) -> Path:
    """Where `written_aside` writes first; a kill may leave it behind."""
    real = Path(os.path.realpath(path))
    return real.with_name(f"{real.name}.part")


def check_card(path: Path) -> None:
    """Hold weights to the sha256 on the card beside them, NAME.json, where there is one.

    Raises:
        ValueError: other bytes, or a card that cannot be read.
    """
    card = path.with_suffix(".json")
    if not card.exists():
        return
    try:
        expected = json.loads(card.read_bytes())["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{card} is damaged: it must name the sha256 of {path.name}") from error
    if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
        raise ValueError(f"{path} is damaged: it has not the sha256 of its card, {card.name}")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file `path` as a lock: no other process does until this one leaves, or ends.

    Where the file system knows no locks, what counts is that the file is there. A process of this
    machine that was killed leaves it behind, and the next one takes it over; whether one of
    another machine is still running, nobody here can tell.

    Raises:
        RuntimeError: another process holds it.
        OSError: the file cannot be written.
    """
    lock = _acquired(path)
    try:
        yield
    finally:
        lock.release()


def _acquired(path: Path) -> BaseFileLock:
    new = not path.exists()
    lock: BaseFileLock = FileLock(path, timeout=0, thread_local=False)
    try:
        try:
            _acquire(lock)
        except (NotImplementedError, OSError) as error:
            found_out = isinstance(error, NotImplementedError) or isinstance(lock, SoftFileLock)
            if not found_out and getattr(error, "errno", None) not in NO_LOCKS:
                raise
            if _is_nobodys(path, new):
                path.unlink(missing_ok=True)
            lock = SoftFileLock(path, timeout=0, thread_local=False)
            _acquire(lock)
    except Timeout:
        raise RuntimeError(_held(path, soft=isinstance(lock, SoftFileLock))) from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OSError(
            error.errno, f"{path.parent} must be a folder that can be written to: {reason}"
        ) from error
    if not isinstance(lock, SoftFileLock):  # which writes by itself who holds it
        with suppress(OSError):  # Windows lets nobody write to a locked file
            path.write_text(f"{os.getpid()}\n{socket.gethostname()}\n", encoding="utf-8")
    return lock


def _acquire(lock: BaseFileLock) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it falls back to a soft lock by itself in some cases
        lock.acquire()


def _is_nobodys(path: Path, new: bool) -> bool:
    """Whether the lock file is only what trying has left, and names no holder."""
    with suppress(OSError):
        there = path.stat()
        return there.st_size == 0 and (new or time.time() - there.st_mtime > SOON)
    return False


def _held(path: Path, soft: bool) -> str:
    """What to do about a lock that another process holds."""
    holder = "a process that it does not name"
    with suppress(OSError, ValueError):
        pid, host = path.read_text(encoding="utf-8").splitlines()[:2]
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(path.stat().st_mtime))
        holder = f"process {int(pid)} on {host} since {since}"
    gone = f"; if that process has ended, remove {path}" if soft else ""
    return (
        f"another run is writing to {path.parent}: {path} is held by {holder}. Stop it, or use "
        f"another folder{gone}"
    )


def _sync_folder(folder: Path) -> None:
    """See the new name onto the disk too, where a folder can be synced."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
