"""Tables that were measured once and come with the package, each with how it was made."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ddpm_lite.system.files import written_aside

__all__ = ["kept", "load_results", "per_seed", "relative", "spread", "write"]

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


def write(file: Path, found: Any, indent: int | None = None) -> None:
    """JSON that takes its place once it is whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(file) as aside:
        aside.write_text(json.dumps(found, indent=indent) + "\n", encoding="utf-8")


def kept(file: Path, make: Callable[[], Any], name: str) -> Any:
    """What a file holds; made, written and told by its name where it is not there yet."""
    if not file.exists():
        write(file, make())
        print(name, flush=True)
    return json.loads(file.read_text(encoding="utf-8"))


def relative(
    rows: Mapping[str, Any], number: Callable[[Any], float], to: str = "whole"
) -> dict[str, list[float]]:
    """A number of each row divided by that of one row, seed by seed, under the rows' titles.

    Args:
        rows: of a table.
        number: from what a seed has found to the number.
        to: the name of the row to divide by.

    Raises:
        KeyError: no row of that name, or a row lacks one of its seeds.
    """
    base = {seed: number(found) for seed, found in rows[to]["seeds"].items()}
    return {
        row["title"]: [number(row["seeds"][seed]) / base[seed] for seed in base]
        for row in rows.values()
    }


def per_seed(row: dict[str, Any], way: str, what: str = "frechet") -> Float[Tensor, " seeds"]:
    """One number of a study's row for each seed, float64.

    Args:
        row: of a table of `ddpm_lite.experiments.studies`.
        way: how the network was used, as the row names it.
        what: "frechet", "inception_score", "matched", "right_class", or "bits", per dimension.

    Raises:
        KeyError: the row has no such way, or did not measure that.
    """
    ways = [seed["ways"][way] for seed in row["seeds"].values()]
    each = [used["bits"]["total"] if what == "bits" else used[what] for used in ways]
    return torch.tensor(each, dtype=torch.float64)


def spread(values: Float[Tensor, " N"]) -> tuple[float, float]:
    """Mean and standard deviation, as `plots.table` shows them."""
    return values.mean().item(), values.std().item()
