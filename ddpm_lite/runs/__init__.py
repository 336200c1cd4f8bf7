"""Training for real: a run in a folder, files of weights, recipes, the command line."""

from ddpm_lite.runs.run import Run

__all__ = ["Run"]
