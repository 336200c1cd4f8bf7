"""The end of the chain to drag: T and beta_T, and what beginning with pure noise then costs."""

import math

import numpy as np
import torch
import traitlets
from matplotlib.figure import Figure

from ddpm_lite import plots
from ddpm_lite.schedule import NoiseSchedule, linear_schedule
from ddpm_lite.widgets.base import Widget, esm

__all__ = ["PriorMatching", "prior_bits"]


def prior_bits(alpha_bar: float, x0: float) -> float:
    """L_T of one pixel, in bits; see `prior_kl`."""
    return (alpha_bar * x0**2 - alpha_bar - math.log1p(-alpha_bar)) / (2 * math.log(2))


class PriorMatching(Widget):
    """Drag T and beta_T; see alpha_bar, q(x_T | x_0) against N(0, 1), and L_T of one pixel.

    Traits: `T`, `beta_end` and `x0`, a pixel in [-1, 1]; the first beta is the paper's.
    """

    _esm = esm("prior.js")
    T = traitlets.Int(300, min=1, max=1000).tag(sync=True)
    beta_start = traitlets.Float(1e-4).tag(sync=True)
    beta_end = traitlets.Float(0.02, min=1e-3, max=0.98).tag(sync=True)
    x0 = traitlets.Float(0.9, min=-1.0, max=1.0).tag(sync=True)

    @property
    def schedule(self) -> NoiseSchedule:
        """The schedule that the widget shows now."""
        return linear_schedule(self.T, self.beta_start, self.beta_end)

    @property
    def bits(self) -> float:
        """L_T of the pixel, in bits, at the present settings."""
        return prior_bits(self.schedule.alpha_bar[-1].item(), self.x0)

    def still(self) -> Figure:
        """alpha_bar, the two densities and L_T against beta_T, at the present settings."""
        figure, (kept, ends, cost) = plots.panels(3)
        alpha_bar = self.schedule.alpha_bar
        plots.lines(kept, np.arange(self.T + 1), {"": alpha_bar}, "step t", "alpha-bar")
        left = alpha_bar[-1]
        x = torch.linspace(-4, 4, 161)
        normal = torch.distributions.Normal
        end = normal(left.sqrt() * self.x0, (1 - left).sqrt())
        curves = {"$x_T$": end.log_prob(x).exp(), "N(0, 1)": normal(0.0, 1.0).log_prob(x).exp()}
        plots.lines(ends, x, curves, "pixel value", "density")
        betas = np.logspace(-3, -0.01, 60)
        last = [linear_schedule(self.T, self.beta_start, b).alpha_bar[-1].item() for b in betas]
        bits = [max(prior_bits(a, self.x0), 1e-12) for a in last]
        axes = {"xscale": "log", "yscale": "log", "ylim": (1e-9, 10)}
        plots.lines(cost, betas, {"": bits}, "last beta", "L_T, bits", **axes)
        cost.plot(self.beta_end, self.bits, "o", color=plots.COLORS[1])
        return figure
