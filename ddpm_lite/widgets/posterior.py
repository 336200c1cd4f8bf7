"""The posterior of one step to drag, and one prediction in four coordinates."""

from typing import Any

import numpy as np
import torch
import traitlets
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ddpm_lite import plots
from ddpm_lite.diffusion import GaussianDiffusion
from ddpm_lite.forward import Objective
from ddpm_lite.schedule import linear_schedule
from ddpm_lite.widgets.base import Widget, esm

__all__ = ["Posterior"]

BETAS = {20: (0.02, 0.5), 1000: (1e-4, 0.02)}  # a toy chain of large steps, and the paper's
SYMBOLS: dict[Objective, str] = {"eps": "ε", "x0": "$x_0$", "v": "v", "mu": "μ"}


class Posterior(Widget):
    """Drag t, x_0 and x_t of one pixel, and a network's guess; see what L_{t-1} compares.

    One chart has the prior q(x_{t-1} | x_0), the likelihood q(x_t | x_{t-1}) as a function of
    x_{t-1}, the posterior q(x_{t-1} | x_t, x_0), and the network's Gaussian. The other has the
    weight of L_{t-1} on a squared error in each coordinate. The guess keeps its place when the
    coordinate changes. The browser computes everything.

    Args:
        settings: the first values of `t` (from 2), `T` (20 or 1000), `x0`, `xt`, `x0_hat` (the
            guess, as an image, whatever its coordinate), `objective` and `variance`.

    Raises:
        traitlets.TraitError: a setting out of its range.
    """

    _esm = esm("posterior.js")
    t = traitlets.Int(6, min=2, max=1000).tag(sync=True)
    T = traitlets.Enum(list(BETAS), 20).tag(sync=True)
    x0 = traitlets.Float(0.8, min=-1, max=1).tag(sync=True)
    xt = traitlets.Float(-0.5, min=-2, max=2).tag(sync=True)
    x0_hat = traitlets.Float(-0.2, min=-1.5, max=1.5).tag(sync=True)
    objective = traitlets.Enum(list(SYMBOLS), "eps").tag(sync=True)
    variance = traitlets.Enum(["beta", "beta_tilde"], "beta").tag(sync=True)

    @property
    def diffusion(self) -> GaussianDiffusion:
        """The chain, the objective and the variance chosen now."""
        return self._with(self.objective)

    def _with(self, objective: Any) -> GaussianDiffusion:
        variance: Any = self.variance
        return GaussianDiffusion(linear_schedule(self.T, *BETAS[self.T]), objective, variance)

    def coordinates(self) -> dict[Objective, Float[Tensor, "three"]]:
        """For each coordinate the truth, the guess, and the weight of its squared error, [3]."""
        t, xt = min(self.t, self.T), torch.full((2, 1), self.xt, dtype=torch.float64)
        images = torch.tensor([[self.x0], [self.x0_hat]], dtype=torch.float64)
        rows = {}
        for name in SYMBOLS:
            said = self.diffusion.convert(images, xt, t, "x0", name)[:, 0]
            weight = self._with(name).loss_weight("variational")
            rows[name] = torch.cat([said, weight[t : t + 1]])
        return rows

    def still(self) -> Figure:
        """The curves, the weights over t, the guess's four errors, and each error weighted."""
        figure, (curves, weights, errors, terms) = plots.panels(4, height=2.6)
        t, schedule, rows = min(self.t, self.T), self.diffusion.schedule, self.coordinates()
        alpha, beta, before = schedule.alpha[t], schedule.beta[t], schedule.alpha_bar[t - 1]
        sigma2 = beta if self.variance == "beta" else schedule.beta_tilde[t]
        bells = {
            "prior": (before.sqrt() * self.x0, 1 - before),
            "likelihood": (self.xt / alpha.sqrt(), beta / alpha),
            "posterior": (rows["mu"][0], schedule.beta_tilde[t]),
            "network": (rows["mu"][1], sigma2),
        }
        x = torch.linspace(-3, 3, 601, dtype=torch.float64)
        drawn = {name: (-((x - m) ** 2) / (2 * v)).exp() for name, (m, v) in bells.items()}
        plots.lines(curves, x, drawn, "$x_{t-1}$", "height", ylim=(0, 1.75))
        curves.set_title(f"t = {t} of {self.T}, $x_t$ = {self.xt:.2f}", fontsize=10)
        steps = np.arange(2, self.T + 1)
        over_t = {
            symbol: self._with(name).loss_weight("variational")[2:]
            for name, symbol in SYMBOLS.items()
        }
        plots.lines(weights, steps, over_t, "step t", "weight", yscale="log")
        weights.axvline(t, color=plots.INK, linestyle="--", linewidth=1)
        for ax in (curves, weights):
            ax.legend(fontsize=8, ncols=2)
        _bars(errors, {name: (row[1] - row[0]).item() for name, row in rows.items()})
        errors.set_title("the guess is off by", fontsize=10)
        _bars(terms, {name: (row[2] * (row[1] - row[0]) ** 2).item() for name, row in rows.items()})
        terms.set_title("weight times its square, nats", fontsize=10)
        return figure


def _bars(ax: Axes, values: dict[Objective, float]) -> None:
    """A bar for each coordinate, with its number."""
    bars = ax.barh([SYMBOLS[name] for name in values], list(values.values()), color=plots.COLORS)
    ax.bar_label(bars, [f"{value:.3g}" for value in values.values()], padding=3, fontsize=9)
    ax.invert_yaxis()
    ax.set_axisbelow(True)
    ax.margins(x=0.3)
