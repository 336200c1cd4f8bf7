"""Tables that were measured once and come with the package, each with how it was made."""

import json
from pathlib import Path
from typing import Any

__all__ = ["load_results"]

STORED = Path(__file__).parent / "stored"


def load_results(name: str) -> dict[str, Any]:
    """A stored table: its rows, and the command, seeds, device, torch and date they came from.

    Raises:
        ValueError: no table of that name, or one that is damaged.
    """
    path = STORED / f"{name}.json"
    if not path.exists():
        there = sorted(p.stem for p in STORED.glob("*.json"))
        raise ValueError(f"name must be one of {', '.join(there)}, got {name!r}")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); install the package again") from error
