"""The reverse step to drag: its true density, its best Gaussian, and a swarm that walks back."""

import math

import numpy as np
import torch
import traitlets
from jaxtyping import Float64
from matplotlib.figure import Figure
from torch import Tensor

from ddpm_lite import plots
from ddpm_lite.diffusion import GaussianDiffusion
from ddpm_lite.oracle import Oracle
from ddpm_lite.schedule import NoiseSchedule, linear_schedule
from ddpm_lite.widgets.base import Widget, esm
from ddpm_lite.widgets.noise import normals

__all__ = ["ReverseStep"]

PEAKS, BETA_1 = [-0.8, 0.8], 0.1
ANGLES = np.arange(8) * (math.pi / 4)
RING = {
    "means": (0.8 * np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1)).tolist(),
    "std": 0.08,
    "points": 400,
}
Parts = tuple[Float64[Tensor, " K"], Float64[Tensor, " K"], Float64[Tensor, " K"]]


class ReverseStep(Widget):
    """Drag beta; see q(x_{t-1} | x_t) and the Gaussian nearest to it. Drag t; see a swarm go back.

    On one side a pixel whose density has two peaks, and one step of size `beta` from it; on the
    other 400 points of the plane on their way from noise to a ring of eight Gaussians, by the
    oracle, in `T` steps of the paper's schedule. The browser computes both.

    Args:
        settings: the first values of `beta`, `xt`, `t`, `T`, `seed`.

    Raises:
        traitlets.TraitError: a setting out of its range.
    """

    _esm = esm("reverse.js")
    beta = traitlets.Float(0.1, min=1e-4, max=0.9).tag(sync=True)
    xt = traitlets.Float(0.1, min=-1.5, max=1.5).tag(sync=True)
    t = traitlets.Int(20, min=0).tag(sync=True)
    T = traitlets.Int(100, min=2, max=200).tag(sync=True)
    seed = traitlets.Int(0, min=0, max=2**31 - 1).tag(sync=True)
    _peaks = traitlets.Dict({"means": PEAKS, "beta_1": BETA_1}).tag(sync=True)
    _ring = traitlets.Dict(RING).tag(sync=True)

    @property
    def step_back(self) -> Parts:
        """Weights, means and variances [2] of q(x_1 | x_2 = xt), an exact mixture.

        The pixel was -0.8 or 0.8; a step of beta_1 = 0.1 and one of `beta` followed.
        """
        return _step_back(self.beta, self.xt)

    @property
    def best_gaussian(self) -> tuple[float, float]:
        """The mean and the variance of q(x_1 | x_2 = xt)."""
        return _moments(self.step_back)

    @property
    def kl(self) -> float:
        """KL(q(x_1 | x_2 = xt) || its best Gaussian) in nats."""
        return _kl(self.step_back)

    @property
    def oracle(self) -> Oracle:
        """What the swarm asks: the exact E[eps | x_t] for the ring, in `T` steps."""
        means = torch.tensor(self._ring["means"], dtype=torch.float64)
        return Oracle(linear_schedule().rescaled(self.T), means, self._ring["std"])

    @property
    def swarm(self) -> Float64[Tensor, "times N 2"]:
        """x_t of every point, [T + 1, N, 2], entry t."""
        n, oracle = self._ring["points"], self.oracle
        diffusion = GaussianDiffusion(oracle.schedule)
        # The browser draws the noise of x_T first, then that of each step.
        noise = torch.from_numpy(normals(self.seed, 2 * n * (self.T + 1))).view(-1, n, 2)
        x = [noise[0]]
        for z, t in zip(noise[1:], range(self.T, 0, -1), strict=True):
            x.append(diffusion.p_sample(oracle, x[-1], t, clip=False, noise=z))
        return torch.stack(x[::-1])

    def still(self) -> Figure:
        """The two densities, what their difference costs, the swarm, and the betas of its steps."""
        figure, (densities, prices, plane, betas) = plots.panels(4)
        mean, variance = self.best_gaussian
        x = mean + math.sqrt(variance) * torch.linspace(-4, 4, 401, dtype=torch.float64)
        bell = torch.exp(-((x - mean) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)
        both = {"true": _density(self.step_back, x), "best Gaussian": bell}
        plots.lines(densities, x, both, "one step back", "density")
        densities.legend_ = None  # there is no room for it
        densities.set_title("dashed: the best Gaussian", fontsize=10)

        grid = np.geomspace(1e-4, 0.9, 60)
        kls = [_kl(_step_back(beta, self.xt)) for beta in grid]
        plots.lines(prices, grid, {"KL": kls}, "step size β", "KL", xscale="log", yscale="log")
        prices.plot(self.beta, self.kl, "o", color=plots.COLORS[1])

        now = min(self.t, self.T)
        across, up = self.swarm[now].T
        plane.scatter(across, up, s=2, color=plots.COLORS[0], linewidths=0)
        plane.set(xlim=(-2.2, 2.2), ylim=(-2.2, 2.2), aspect="equal")
        plane.set_title(f"the swarm at t = {now} of {self.T}", fontsize=10)
        beta = self.oracle.schedule.beta[1:]
        steps, log = np.arange(1, self.T + 1), {"yscale": "log", "ylim": (1e-4, 1)}
        plots.lines(betas, steps, {"beta": beta}, "step t", "β of the step", **log)
        betas.axvline(now, color=plots.COLORS[1], linestyle="--", linewidth=1.2)
        return figure


def _step_back(beta: float, xt: float) -> Parts:
    schedule = NoiseSchedule([BETA_1, beta])
    means = torch.tensor(PEAKS, dtype=torch.float64)[:, None]
    back = Oracle(schedule, means).q_reverse(torch.tensor([[xt]], dtype=torch.float64), 2)
    weights, means, variances = (part.flatten() for part in back)
    return weights, means, variances


def _moments(parts: Parts) -> tuple[float, float]:
    weights, means, variances = parts
    mean = (weights * means).sum()
    return mean.item(), (weights * (variances + (means - mean) ** 2)).sum().item()


def _density(parts: Parts, x: Float64[Tensor, " n"]) -> Float64[Tensor, " n"]:
    weights, means, variances = parts
    bells = torch.exp(-((x[:, None] - means) ** 2) / (2 * variances))
    return (weights * bells / (2 * math.pi * variances).sqrt()).sum(1)


def _kl(parts: Parts) -> float:
    """On a grid of z = (x - mean) / std, in which the best Gaussian is N(0, 1)."""
    mean, variance = _moments(parts)
    z = torch.linspace(-8, 8, 801, dtype=torch.float64)
    q = _density(parts, mean + math.sqrt(variance) * z) * math.sqrt(variance)
    log_bell = -(z**2) / 2 - math.log(2 * math.pi) / 2
    return ((q * (q.clamp(min=1e-300).log() - log_bell)).sum() * 0.02).item()
