"""The decoder to drag: a grey level, a mean and a sigma, and what the level costs."""

import math

import numpy as np
import torch
import traitlets
from jaxtyping import Float64
from matplotlib.figure import Figure
from torch import Tensor

from ddpm_lite import plots
from ddpm_lite.gaussian import decoder_nll
from ddpm_lite.images.data import to_model_range
from ddpm_lite.schedule import linear_schedule
from ddpm_lite.widgets.base import Widget, esm

__all__ = ["Decoder"]

LEVELS = 256
NEAR = 8  # levels shown on each side of the chosen one


class Decoder(Widget):
    """Choose a grey level, drag the mean and sigma; see the mass of each level and its bits.

    The browser computes everything. In a notebook `level`, `mean` and `sigma` are traits to
    read, set and observe: `widget.sigma = 0.00738`.

    Args:
        settings: the first values of `level`, 0..255, of `mean`, -1.3..1.3 on the scale of
            [-1, 1], and of `sigma`, 1e-4..1.

    Raises:
        traitlets.TraitError: a setting out of its range.
    """

    _esm = esm("decoder.js")
    level = traitlets.Int(155, min=0, max=LEVELS - 1).tag(sync=True)
    mean = traitlets.Float(2 * 156 / (LEVELS - 1) - 1, min=-1.3, max=1.3).tag(sync=True)
    sigma = traitlets.Float(0.01, min=1e-4, max=1.0).tag(sync=True)

    @property
    def bits(self) -> Float64[Tensor, " levels"]:
        """What each of the 256 grey levels costs, in bits."""
        x = to_model_range(torch.arange(LEVELS), dtype=torch.float64)[:, None]
        return _bits(x, torch.full_like(x, self.mean), self.sigma)

    @property
    def floor(self) -> float:
        """What the chosen grey level would cost if the mean lay on it, in bits."""
        x = self._center[None, None]
        return _bits(x, x, self.sigma).item()

    @property
    def _center(self) -> Float64[Tensor, ""]:
        return to_model_range(torch.tensor(self.level), dtype=torch.float64)

    def still(self) -> Figure:
        """Masses of all levels and of those nearby, bits by level and by sigma, as set now."""
        figure, (every, near, cost, floor) = plots.panels(4)
        bits, level = self.bits.numpy(), np.arange(LEVELS)
        mass = 2.0**-bits
        wide = np.linspace(-38, LEVELS + 37, 1201)
        edges = np.arange(LEVELS + 1) - 0.5
        every.stairs(mass / mass.max(), edges, color=plots.COLORS[0], linewidth=1.8)
        every.plot(wide, self._density(wide) / mass.max(), color=plots.INK, ls="--", lw=1.2)
        every.set(xlabel="grey level", ylabel="mass / largest", ylim=(0, 1.1))
        fine = np.linspace(-NEAR - 0.5, NEAR + 0.5, 401) + self.level
        near.stairs(mass, edges, color=plots.COLORS[0], linewidth=1.8)
        near.plot(fine, self._density(fine), color=plots.INK, linestyle="--", linewidth=1.2)
        near.plot(self.level, mass[self.level], "o", color=plots.COLORS[1])
        near.set(xlabel="grey level", ylabel="mass", ylim=(0, 1), xlim=(fine[0], fine[-1]))
        plots.lines(cost, level, {"bits": bits}, "grey level", "bits", ylim=(0, 40))
        cost.plot(self.level, bits[self.level], "o", color=plots.COLORS[1])

        sigmas = torch.logspace(-4, 0, 161, dtype=torch.float64)
        x = self._center.expand(len(sigmas), 1)
        curves = {
            "now": _bits(x, torch.full_like(x, self.mean), sigmas[:, None]),
            "floor": _bits(x, x, sigmas[:, None]),
        }
        plots.lines(floor, sigmas, curves, r"$\sigma$", "bits", xscale="log", ylim=(0, 8))
        floor.legend_ = None  # there is no room for it
        floor.set_title("dashed, the floor", fontsize=10)
        schedule = linear_schedule()
        for variance in (schedule.beta[1], schedule.beta_tilde[2]):
            floor.axvline(variance.sqrt().item(), ymax=0.2, color=plots.INK, lw=1.2)
        floor.plot(self.sigma, bits[self.level], "o", color=plots.COLORS[1])
        return figure

    def _density(self, level: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        """The Gaussian's density times the width of a bin, at any real grey level."""
        off = (2 * level / (LEVELS - 1) - 1 - self.mean) / self.sigma
        bell = np.exp(-(off**2) / 2) / (self.sigma * math.sqrt(2 * math.pi))
        return bell * 2 / (LEVELS - 1)


def _bits(
    x: Float64[Tensor, "n 1"], mean: Float64[Tensor, "n 1"], sigma: float | Float64[Tensor, "n 1"]
) -> Float64[Tensor, " n"]:
    variance = torch.as_tensor(sigma, dtype=torch.float64) ** 2
    return decoder_nll(x, mean, variance, LEVELS) / math.log(2)
