"""Recipes as small as a test can afford, for commands that are typed as a page prints them.

Other processes get them too: `as_environment` writes a `sitecustomize`, which each Python imports
as it starts.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FINDER = f"""
import sys

class Small:
    def find_spec(self, name, *_):
        if name == "ddpm_lite.runs.commands":  # which reads the recipes next
            sys.meta_path.remove(self)
            from {__name__} import make_small
            make_small()

sys.meta_path.insert(0, Small())
"""


def make_small() -> None:
    """Two steps of a narrow network, and four of the chain, in every recipe."""
    from ddpm_lite.runs.recipes import RECIPES

    RECIPES.update({name: (text, small(recipe)) for name, (text, recipe) in RECIPES.items()})


def small(recipe: Any) -> Any:
    return replace(
        recipe,
        network=replace(recipe.network, width=8, mults=(1,), attention=()),
        diffusion=replace(recipe.diffusion, T=4),
        training=replace(recipe.training, steps=2, batch=8),
    )


def as_environment(folder: Path) -> dict[str, str]:
    """An environment in which our commands have small recipes, and are those of this clone."""
    (folder / "sitecustomize.py").write_text(FINDER)
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    both = os.pathsep.join((str(folder), str(ROOT)))
    return {**os.environ, "PATH": path, "PYTHONPATH": both, "OMP_NUM_THREADS": "1"}
