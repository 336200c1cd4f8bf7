"""What executed chapters depend on, beside their cells: the package, and what it is built with."""

import hashlib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def fingerprint(*places: Path) -> str:
    """Of all that files hold, and files in folders; compiled Python is left out."""
    digest = hashlib.sha256()
    for place in places:
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file() and path.suffix != ".pyc":
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def cache_in(build: Path) -> Path:
    """Where a build keeps the chapters that it has executed.

    Jupyter's cache knows their cells alone; this ties it to what they import as well.
    """
    package = fingerprint(ROOT / "requirements.txt", ROOT / "ddpm_lite")
    return build / ".jupyter_cache" / package
