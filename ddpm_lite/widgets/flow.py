"""The flow to drag: its field at t, its exact paths, a solver's with few calls, and the SDE's."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
import traitlets
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ddpm_lite import plots
from ddpm_lite.diffusion import GaussianDiffusion
from ddpm_lite.flow.solvers import dpm_solver, heun
from ddpm_lite.oracle import Oracle
from ddpm_lite.samplers import ddim, ddpm
from ddpm_lite.schedule import NoiseSchedule, cosine_schedule, line_schedule
from ddpm_lite.widgets.base import HERE, Widget, esm, style
from ddpm_lite.widgets.noise import normals
from ddpm_lite.widgets.points import PEN, draw_batch, point_sets

__all__ = ["Flow", "Track"]

T, COUNT, FINE, LIMIT = 1000, 12, 1000, 2.5  # steps, walkers, exact steps, the square's edge
SDE = 0xC2B2AE35  # is added to the seed for its noise, which is none of the pairs
SETS = {name: points.round(3).ravel().tolist() for name, points in point_sets().items()}
SOLVERS: dict[str, Any] = {"ddim": ddim, "heun": heun, "dpm_solver": dpm_solver}
NAMES = {"ddim": "DDIM", "heun": "Heun", "dpm_solver": "DPM-Solver"}
SCHEDULES = {"line": line_schedule, "cosine": cosine_schedule}
Points = Float64[Tensor, "N 2"]


class Track(NamedTuple):
    """Points on their way from noise to data, as points of the line, at falling places s."""

    s: Float64[Tensor, " K"]
    z: Float64[Tensor, "K N 2"]

    def at(self, s: float) -> Points:
        """Where the points are at s, [N, 2]: straight from stop to stop, as a solver's step is."""
        after = int((self.s > s).sum().clamp(1, len(self.s) - 1))
        here, there = self.s[after - 1], self.s[after]
        return self.z[after - 1].lerp(self.z[after], (here - s) / (here - there))


class Flow(Widget):
    """Drag t and the number of calls; see a solver follow the flow, and leave it.

    Twelve points start from noise. One square shows them on the exact flow and by a solver with
    few calls of the network, over the field at t; the other the exact flow again beside the
    reverse SDE from the same noise, or beside the straight lines of flow matching. The network is
    the oracle of a set of points. Everything is drawn as points of the line, z = (1 - s) x_0 + s
    eps, on which every schedule walks, each at its pace. The browser computes everything.

    Args:
        settings: the first values of `points` (a set's name), `kind` (of schedule: "line",
            "cosine"), `solver` ("ddim", "heun", "dpm_solver"), `t` (0 to 1000), `calls` (1 to 64),
            `lines` (in place of the SDE) and `seed`.

    Raises:
        traitlets.TraitError: a setting out of its range.
    """

    _esm = esm("flow.js")
    _css = style + (HERE / "flow.css").read_text(encoding="utf-8")
    points = traitlets.Enum(list(SETS), "two moons").tag(sync=True)
    kind = traitlets.Enum(list(SCHEDULES), "line").tag(sync=True)
    solver = traitlets.Enum(list(SOLVERS), "ddim").tag(sync=True)
    t = traitlets.Int(400, min=0, max=T).tag(sync=True)
    calls = traitlets.Int(8, min=1, max=64).tag(sync=True)
    lines = traitlets.Bool(False).tag(sync=True)
    seed = traitlets.Int(0, min=0, max=2**31 - 1).tag(sync=True)
    _sets = traitlets.Dict(SETS).tag(sync=True)
    _pen = traitlets.Float(PEN).tag(sync=True)

    @property
    def schedule(self) -> NoiseSchedule:
        """The chain of 1000 steps whose t the slider has."""
        return SCHEDULES[self.kind](T)

    @property
    def oracle(self) -> Oracle:
        """The best network for the points, each a Gaussian as wide as the pen."""
        return _oracle(self.schedule, self.points)

    @property
    def steps(self) -> int:
        """Of the solver, with at most `calls` of the network: one call a step, or Heun's two."""
        return (self.calls + 1) // 2 if self.solver == "heun" else self.calls

    @property
    def used(self) -> int:
        """Calls that the solver makes: Heun 2 n - 1 in n steps."""
        return 2 * self.steps - 1 if self.solver == "heun" else self.steps

    @property
    def pairs(self) -> tuple[Points, Points]:
        """x_0 and eps [12, 2], drawn as for training: the ends of the lines; eps is the start."""
        return _pairs(self.points, self.seed)

    @property
    def exact(self) -> Track:
        """The flow from x_T, by Heun's rule in 1000 even steps along the line."""
        return _exact(self.kind, self.points, self.seed)

    @property
    def solved(self) -> Track:
        """The solver's stops."""
        d, (_, start) = GaussianDiffusion(self.schedule, "x0", levels=None), self.pairs
        how = {"steps": self.steps, "clip": False, "start": start}
        walk = SOLVERS[self.solver](d, self.oracle.x0_hat, start.shape, **how)
        return _track(self.schedule, [(T, start), *((step.t, step.xt) for step in walk)])

    @property
    def sde(self) -> Track:
        """Algorithm 2 from the same noise, all 1000 steps of the reverse SDE."""
        return _sde(self.kind, self.points, self.seed)

    @property
    def off(self) -> Float64[Tensor, " N"]:
        """How far from the exact flow's end each point of the solver ends, [12]."""
        return (self.solved.z[-1] - self.exact.z[-1]).norm(dim=1)

    def velocity(self, z: Points, t: int) -> Points:
        """E[eps - x_0 | z], dz / ds along the flow at t, [N, 2]."""
        if t == 0:
            return -z
        d = GaussianDiffusion(self.schedule, "x0", levels=None)
        xt = d.from_line(z, t)
        return self.oracle(xt, t) - self.oracle.x0_hat(xt, t)

    def still(self) -> Figure:
        """The field at t, the exact flow and the solver; and the exact flow by what it is not."""
        figure, (left, right) = plots.panels(2, height=3.1)
        s, (x0, eps) = float(self.schedule.line[self.t]), self.pairs
        axis = torch.linspace(-LIMIT, LIMIT, 16, dtype=torch.float64)[:-1] + LIMIT / 15
        places = torch.cartesian_prod(axis, axis)
        back = -self.velocity(places, self.t)
        root = back / back.norm(dim=1, keepdim=True).sqrt().clamp(min=1e-6)
        left.quiver(*places.T, *root.T, color=plots.PALE, width=0.006)
        blue, orange, green, purple = plots.COLORS
        across, up = _data(self.points).T
        for ax in (left, right):
            ax.scatter(across, up, s=4, color=plots.PALE, linewidths=0)
            ax.set(xlim=(-LIMIT, LIMIT), ylim=(-LIMIT, LIMIT), aspect="equal")
        if self.lines:
            straight = Track(torch.tensor([1.0, 0.0]).double(), torch.stack([eps, x0]))
            _trail(right, straight, s, purple, ":")
            right.set_title("exact; dotted, the lines", fontsize=10)
        else:
            _trail(right, self.sde, s, green, "-", most=80, linewidth=0.4)
            right.set_title("exact; jagged, the SDE", fontsize=10)
        for ax in (left, right):
            _trail(ax, self.exact, s, blue, "-")
        _trail(left, self.solved, s, orange, "--", most=64)
        left.set_title(f"exact; dashed, {NAMES[self.solver]}, {self.used} calls", fontsize=10)
        return figure


def _data(points: str) -> Points:
    return torch.tensor(SETS[points], dtype=torch.float64).view(-1, 2)


def _pairs(points: str, seed: int) -> tuple[Points, Points]:
    batch = draw_batch(_data(points), PEN, T, COUNT, seed, 0)
    return batch.x0, batch.eps


def _oracle(schedule: NoiseSchedule, points: str) -> Oracle:
    return Oracle(schedule, _data(points), PEN)


def _track(schedule: NoiseSchedule, path: list[tuple[int, Tensor]]) -> Track:
    """Stops in x_t as stops on the line."""
    times = [t for t, _ in path]
    kept = schedule.alpha_bar[times]
    both = (kept.sqrt() + (1 - kept).sqrt()).view(-1, 1, 1)
    return Track(schedule.line[times], torch.stack([x for _, x in path]) / both)


@lru_cache(8)
def _exact(kind: str, points: str, seed: int) -> Track:
    """On steps of its own: even along the line, from where this schedule's x_T lies."""
    s = SCHEDULES[kind](T).line[-1] * torch.arange(FINE + 1, dtype=torch.float64) / FINE
    kept = (1 - s) ** 2 / ((1 - s) ** 2 + s**2)
    fine = NoiseSchedule(1 - kept[1:] / kept[:-1])
    d, start = GaussianDiffusion(fine, "x0", levels=None), _pairs(points, seed)[1]
    how: dict[str, Any] = {"steps": FINE, "clip": False, "start": start}
    walk = heun(d, _oracle(fine, points).x0_hat, tuple(start.shape), **how)
    return _track(fine, [(FINE, start), *((step.t, step.xt) for step in walk)])


@lru_cache(8)
def _sde(kind: str, points: str, seed: int) -> Track:
    schedule, start = SCHEDULES[kind](T), _pairs(points, seed)[1]

    def noise(t: int) -> Tensor:  # that makes x_t
        own = (seed + SDE + t * 0x9E3779B1) % 2**32
        return torch.from_numpy(normals(own, start.numel()).copy()).view_as(start)

    d = GaussianDiffusion(schedule, "x0", levels=None)
    model, shape = _oracle(schedule, points).x0_hat, tuple(start.shape)
    walk = ddpm(d, model, shape, clip=False, start=start, noise=noise)
    return _track(schedule, [(T, start), *((step.t, step.xt) for step in walk)])


def _trail(
    ax: Axes, track: Track, s: float, color: str, style: str, most: int = 40, linewidth: float = 0.9
) -> None:
    """The way from the noise to s, and a dot there."""
    now, behind = track.at(s), track.z[track.s > s]
    thin = behind[:: max(1, len(behind) // most)]
    ways = torch.cat([thin, now[None]]).numpy()
    ax.plot(ways[..., 0], ways[..., 1], style, color=color, linewidth=linewidth)
    ax.plot(*np.asarray(now).T, "o", color=color, markersize=3)
