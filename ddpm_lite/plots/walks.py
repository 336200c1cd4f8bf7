"""Samples that stray from where the data are."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
from jaxtyping import Bool, Float
from torch import Tensor

from ddpm_lite.plots.style import COLORS

__all__ = ["strays"]


def strays(
    samples: Mapping[str, tuple[Float[Tensor, "N 2"], Bool[Tensor, " N"]]], limit: float = 1.5
) -> None:
    """Draw samples side by side, those that are marked as crosses, the others as dots."""
    _, grid = plt.subplots(1, len(samples), figsize=(5.6, 2.2), squeeze=False, sharey=True)
    for ax, (name, (x, far)) in zip(grid[0], samples.items(), strict=True):
        ax.scatter(*x[~far].T.numpy(), s=3, color=COLORS[0])
        ax.scatter(*x[far].T.numpy(), s=12, marker="x", color=COLORS[1])
        ax.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
        ax.set_title(name, fontsize=10)
