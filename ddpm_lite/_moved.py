"""The names of 0.1: what has moved or is called otherwise is found under its old name too."""

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

MODULES = {
    "ablations": "experiments.ablations",
    "checkpoints": "runs.checkpoints",
    "classifier": "quality.classifier",
    "cli": "runs.cli",
    "commands": "runs.commands",
    "data": "images.data",
    "elbo": "bound",
    "evaluation": "quality.evaluation",
    "export": "runs.export",
    "grids": "images.grids",
    "inception": "quality.inception",
    "interop": "runs.interop",
    "metrics": "quality.metrics",
    "processes": "system.processes",
    "recipes": "runs.recipes",
    "results": "experiments.results",
    "reverse": "diffusion",
    "shared": "runs.many",
    "shipped": "experiments.measured",
    "sources": "images.sources",
    "studies": "experiments.studies",
    "train": "training",
}
NAMES = {"NetworkConfig": "UNetConfig", "ReverseProcess": "GaussianDiffusion"}


class OldName(ModuleType):
    """A module under the name that it had; loads the one that it is when something is asked of it.

    It stands in `sys.modules` from the start, so that importing `ddpm_lite.train`, the module,
    does not take the place of `ddpm_lite.train`, the function.
    """

    __path__: list[str] = []  # noqa: RUF012 - else `python -m` warns that it was imported before

    def __init__(self, old: str, new: str):
        super().__init__(f"ddpm_lite.{old}", f"`ddpm_lite.{new}`, under its name in 0.1.")
        self.__dict__["new"] = new

    @property
    def __spec__(self) -> ModuleSpec | None:
        """What `python -m` runs."""
        file = Path(__file__).parent / f"{self.new.replace('.', '/')}.py"
        return spec_from_file_location(self.__name__, file)

    @__spec__.setter
    def __spec__(self, _: ModuleSpec | None) -> None: ...

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(f"ddpm_lite.{self.new}"), NAMES.get(name, name))


def keep_old_names() -> None:
    """Let every module of 0.1 be imported, and run with `python -m`, under its old name."""
    package = sys.modules["ddpm_lite"]
    for old, new in MODULES.items():
        module = OldName(old, new)
        sys.modules[module.__name__] = module
        if not hasattr(package, old):  # `elbo` and `train` are functions there
            setattr(package, old, module)
