"""The command line, `ddpm-lite`: what its words mean. `commands.py` does what they say."""

import os
import re
import sys
from typing import Any

import tyro

from ddpm_lite.runs import commands
from ddpm_lite.runs.commands import doctor, evaluate, export, info, sample, train
from ddpm_lite.runs.recipes import RECIPES

__all__ = ["main"]

# What goes wrong for reasons that its message tells: no traceback then.
TOLD = (
    ValueError, TypeError, OSError, ImportError, RuntimeError, FloatingPointError, MemoryError,
)  # fmt: skip


def main(args: list[str] | None = None) -> None:
    """Run one command; ends with 1, and one line of text, where something is wrong."""
    recipes = tyro.extras.subcommand_type_from_defaults(
        {name: recipe for name, (_, recipe) in RECIPES.items()},
        {name: text for name, (text, _) in RECIPES.items()},
        prefix_names=False,
    )
    train.__annotations__["recipe"] = recipes
    commands_ = (train, sample, evaluate, doctor, export, info)
    verbs: dict[str, Any] = {command.__name__: command for command in commands_}
    words = sys.argv[1:] if args is None else args
    commands.said = " ".join(["ddpm-lite", *words])
    if empty := [i for i, word in enumerate(words) if word == "" or re.fullmatch("--.+=", word)]:
        # As a variable of the shell that was never set: as a path it would be this very folder.
        sys.exit(f"ddpm-lite: {' '.join(words[: empty[0] + 1])!r} ends in an empty word")
    if "\0" in "".join(words):  # no shell passes one on, and no path has one
        sys.exit(f"ddpm-lite: {' '.join(words)!r} must be words without a null character")
    try:
        tyro.extras.subcommand_cli_from_dict(
            verbs,
            prog="ddpm-lite",
            description="Denoising diffusion: train a network, sample from it, measure it.",
            args=args,
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.CascadeSubcommandArgs),
        )
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read has enough, as `| head` does: nothing to tell it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        again = "goes on from the last state" if words[0] == "train" else "begins again"
        sys.exit(f"stopped; the same command {again}")
    except TOLD as error:
        notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", []))
        sys.exit(f"ddpm-lite: {type(error).__name__}: {error}{notes}")
