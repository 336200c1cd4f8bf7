"""The command line, `ddpm-lite`: what its words mean. `commands.py` does what they say."""

import sys
from typing import Any

import tyro

from ddpm_lite.runs import commands
from ddpm_lite.runs.commands import evaluate, export, info, sample, train
from ddpm_lite.runs.recipes import RECIPES

__all__ = ["main"]

# What goes wrong for reasons that its message tells: no traceback then.
TOLD = (ValueError, TypeError, OSError, ImportError, RuntimeError, FloatingPointError)


def main(args: list[str] | None = None) -> None:
    """Run one command; ends with 1, and one line of text, where something is wrong."""
    recipes = tyro.extras.subcommand_type_from_defaults(
        {name: recipe for name, (_, recipe) in RECIPES.items()},
        {name: text for name, (text, _) in RECIPES.items()},
        prefix_names=False,
    )
    train.__annotations__["recipe"] = recipes
    commands_ = (train, sample, evaluate, export, info)
    verbs: dict[str, Any] = {command.__name__: command for command in commands_}
    commands.said = " ".join(["ddpm-lite", *(sys.argv[1:] if args is None else args)])
    try:
        tyro.extras.subcommand_cli_from_dict(
            verbs,
            prog="ddpm-lite",
            description="Denoising diffusion: train a network, sample from it, measure it.",
            args=args,
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.CascadeSubcommandArgs),
        )
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on from the last state")
    except TOLD as error:
        notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", []))
        sys.exit(f"ddpm-lite: {type(error).__name__}: {error}{notes}")
