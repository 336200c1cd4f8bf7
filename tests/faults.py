"""The faults that a package meets, each kind counted: files, kills, arguments, commands.

    python tests/faults.py [--seed 0] [--all] [KIND ...]

- files (`damaged.py`): each file that is loaded, cut short, with a bit flipped, or another thing
  in its place.
- kills (`killed.py`): a run that is killed before every change to a file, and goes on.
- arguments (`fuzz.py`): each argument of each public function.
- commands (`typed.py`): each setting of each command.

`outcomes.py` says what right, refused, raw, silent and lost mean. Prints a table and the first of
those that are not well, each with what repeats it. Ends with 1 if anything was silent or lost, or
raw in one of a hundred or more. Without --all it takes a small sample, which the seed chooses.
"""

import argparse
import logging
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # `tests`, where this file is run as a script

from tests import damaged, fuzz, killed, typed
from tests.outcomes import CLASSES, Fate

KINDS = {
    "files": damaged.tries, "kills": killed.tries,
    "arguments": fuzz.tries, "commands": typed.tries,
}  # fmt: skip
SHOWN = 8  # of a kind and a class


def table(found: Iterable[Fate]) -> str:
    """A row for each kind, a column for each class."""
    counts = Counter((each.kind, each.fate) for each in found)
    lines = [" " * 10 + "".join(f"{name:>9}" for name in (*CLASSES, "all"))]
    for kind in dict.fromkeys(kind for kind, _ in counts):
        row = [counts[kind, name] for name in CLASSES]
        lines.append(f"{kind:10}" + "".join(f"{n:9}" for n in (*row, sum(row))))
    return "\n".join(lines)


def offenders(found: list[Fate]) -> str:
    lines = []
    for kind in KINDS:
        for name in ("lost", "silent", "raw"):
            bad = [each for each in found if (each.kind, each.fate) == (kind, name)]
            lines += [f"{name} {kind}: {each.what}  |  {each.words[:200]}" for each in bad[:SHOWN]]
            lines += [f"{name} {kind}: {len(bad) - SHOWN} more"] * (len(bad) > SHOWN)
    return "\n".join(lines)


def well(found: list[Fate]) -> bool:
    counts = Counter(each.fate for each in found)
    return not counts["silent"] and not counts["lost"] and counts["raw"] < len(found) / 100


def main() -> int:
    parser = argparse.ArgumentParser(description="Meet faults, and count what comes of them.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--all", action="store_true", help="every fault, not a few of each kind")
    parser.add_argument("kind", nargs="*", choices=[[], *KINDS], metavar="KIND",
                        help=f"of {', '.join(KINDS)}; all when not given")  # fmt: skip
    options = parser.parse_args()
    torch.set_num_threads(1)  # a process that forks, and small work
    logging.disable(logging.ERROR)  # of pyarrow, about what is damaged
    found: list[Fate] = []
    for kind in options.kind or KINDS:
        found += KINDS[kind](options.seed, options.all)
    print(table(found))
    print(offenders(found))
    return int(not well(found))


if __name__ == "__main__":
    sys.exit(main())
