"""Tables that were measured once and come with the package, each with how it was made."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ["load_results", "per_seed"]

STORED = Path(__file__).parent / "stored"


def load_results(name: str) -> dict[str, Any]:
    """A stored table: its rows, and the command, seeds, device, torch and date they came from.

    Raises:
        ValueError: no table of that name.
    """
    path = STORED / f"{name}.json"
    if not path.exists():
        there = sorted(p.stem for p in STORED.glob("*.json"))
        raise ValueError(f"name must be one of {', '.join(there)}, got {name!r}")
    return json.loads(path.read_text(encoding="utf-8"))


def per_seed(table: dict[str, Any], row: str, way: str, *keys: str) -> Tensor:
    """One number for each seed of a row of `studies.py` that is used in one way, in float64.

    Args:
        table: as `load_results` gives it.
        row, way: which.
        keys: what lies there, such as "frechet", or "bits" and then "total".

    Raises:
        ValueError: no such row, way or key.
    """
    found = []
    for seed in _one("row", table["rows"], row)["seeds"].values():
        value = _one("way", seed["ways"], way)
        for key in keys:
            value = _one("key", value, key)
        found.append(value)
    return torch.tensor(found, dtype=torch.float64)


def _one(what: str, among: dict[str, Any], name: str) -> Any:
    if name not in among:
        raise ValueError(f"{what} must be one of {', '.join(among)}, got {name!r}")
    return among[name]
