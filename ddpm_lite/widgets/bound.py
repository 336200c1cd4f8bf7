"""The bound to drag: its terms, their stack, and the exact likelihood it bounds."""

import math

import numpy as np
import torch
import traitlets
from jaxtyping import Float64
from matplotlib.figure import Figure
from torch import Tensor

from ddpm_lite import plots
from ddpm_lite.oracle import oracle_bound, reverse_marginals
from ddpm_lite.schedule import NoiseSchedule, linear_schedule
from ddpm_lite.widgets.base import Widget, esm

__all__ = ["Bound"]

LENGTHS = (1, 2, 3, 5, 7, 10, 20, 30, 50, 70, 100, 200, 300, 500, 700, 1000)


class Bound(Widget):
    """Drag t, T, beta_T and the data's std; see each term of the bound, their stack and the NLL.

    The data are N(0, std^2), one pixel; the model is the oracle, unclipped. The chain cuts the
    linear schedule from 1e-4 to beta_T into T steps. All is in bits per pixel, counted to one of
    256 grey levels in [-1, 1]: a density's nats / log(2) + log2(255 / 2).

    Args:
        settings: the first values of `t`, `T` (a member of `LENGTHS`), `beta_end`, `std`, and
            `variance`, "beta" or "beta_tilde".

    Raises:
        traitlets.TraitError: a setting out of its range.
    """

    _esm = esm("bound.js")
    t = traitlets.Int(5, min=0).tag(sync=True)
    T = traitlets.Enum(LENGTHS, 20).tag(sync=True)
    beta_end = traitlets.Float(0.02, min=1e-3, max=0.0502).tag(sync=True)
    std = traitlets.Float(0.3, min=0.05, max=1).tag(sync=True)
    variance = traitlets.Enum(["beta", "beta_tilde"], "beta").tag(sync=True)

    def at(self, T: int) -> tuple[NoiseSchedule, Float64[Tensor, " times"]]:
        """The chain of T steps, and the variances [T + 1] of its steps back."""
        schedule = linear_schedule(1000, 1e-4, self.beta_end).rescaled(T)
        sigma2 = schedule.beta.clone()
        if self.variance == "beta_tilde" and T > 1:
            sigma2 = schedule.beta_tilde.clone()
            sigma2[1] = sigma2[2]
        return schedule, sigma2

    def terms(self, T: int) -> Float64[Tensor, " times"]:
        """L_0..L_T, entry t, of the chain of T steps, in bits."""
        prior, kl, decoder = oracle_bound(*self.at(T), 0.0, self.std)
        bits = torch.cat([decoder.view(1), kl, prior.view(1)]) / math.log(2)
        bits[0] += math.log2(255 / 2)
        return bits

    def model_variance(self, T: int) -> float:
        """The variance of p_theta(x_0) in the chain of T steps."""
        return reverse_marginals(*self.at(T), 0.0, self.std)[1][0].item()

    def nll(self, T: int) -> float:
        """-log2 p_theta(x_0) of a grey level in the chain of T steps, averaged over the data."""
        v = self.model_variance(T)
        nats = (math.log(2 * math.pi * v) + self.std**2 / v) / 2
        return nats / math.log(2) + math.log2(255 / 2)

    def still(self) -> Figure:
        """Each term, the stack, bound and NLL against T, and the densities, at these settings."""
        figure, (each, stack, growth, density) = plots.panels(4)
        t, terms, nll = min(self.t, self.T), self.terms(self.T), self.nll(self.T)
        paid, steps = terms.flip(0).cumsum(0).flip(0), np.arange(self.T + 1)
        plots.lines(each, steps, {"L": terms}, "t", "each term, bits", yscale="log")
        both = {"stack": paid, "exact NLL": torch.full_like(paid, nll)}
        plots.lines(stack, steps, both, "t", "stack, bits", ylim=(0, 11))
        entropy = math.log2(2 * math.pi * math.e * self.std**2) / 2 + math.log2(255 / 2)
        bound = np.array([self.terms(length).sum() for length in LENGTHS])
        exact = np.array([self.nll(length) for length in LENGTHS])
        above = {"bound": bound - entropy, "exact NLL": exact - entropy}
        plots.lines(growth, np.array(LENGTHS), above, "steps T", "above entropy", ylim=(0, 4))
        growth.set_xscale("log")
        x = torch.linspace(-4, 4, 161)
        ratio = self.model_variance(self.T) / self.std**2
        bells = {
            "model": torch.distributions.Normal(0.0, ratio**0.5).log_prob(x).exp(),
            "data": torch.distributions.Normal(0.0, 1.0).log_prob(x).exp(),
        }
        plots.lines(density, x, bells, "x₀ / std of the data", "density", ylim=(0, 0.65))
        for ax, place in ((each, t), (stack, t), (growth, self.T)):
            ax.axvline(place, color=plots.COLORS[1], linestyle="--", linewidth=1.2)
        return figure
