"""Files on disk: whole or not there at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["WEIGHTS", "written_aside"]

WEIGHTS = Path(__file__).parents[1] / "weights"  # trained networks that come with the package


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` once all is on the disk.

    Where writing fails, on a full disk say, `path` is left as it was and nothing else is.
    """
    aside = path.with_name(f"{path.name}.part")
    try:
        yield aside
        with aside.open("r+b") as file:  # Windows syncs only what may be written to
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
