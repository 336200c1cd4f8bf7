"""Draw points, and train a small DDPM on them: in the page, or by `train` in a kernel."""

import time
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import torch
import traitlets
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from ddpm_lite import plots
from ddpm_lite.diffusion import GaussianDiffusion
from ddpm_lite.forward import Objective
from ddpm_lite.javascript import POINTS, as_function
from ddpm_lite.oracle import Oracle
from ddpm_lite.samplers import sample
from ddpm_lite.schedule import cosine_schedule, linear_schedule
from ddpm_lite.training import TrainConfig, TrainStep, train
from ddpm_lite.widgets.base import HERE, Widget, esm, style
from ddpm_lite.widgets.points import NETWORK, PEN, PointNet, point_sets

__all__ = ["Training"]

BATCH, WARMUP, AVERAGE = 128, 20, 0.998
HOW = {"pen": PEN, "batch": BATCH, "warmup": WARMUP, "average": AVERAGE}
MOST = 240  # points
SETS = {name: points.round(3).ravel().tolist() for name, points in point_sets().items()}
SETTINGS = ["points", "own", "objective", "kind", "T", "lr", "seed"]


class Training(Widget):
    """Draw points, press Train, and watch Algorithm 1 learn them, beside what is exactly right.

    Each point stands for a small Gaussian, so the best network for the drawing is an `Oracle`. The
    widget holds the trained one against it: its loss at each t, its field, its bound, and what is
    drawn with it by DDPM, DDIM and the probability-flow ODE.

    On a published page the browser trains. In a notebook with a kernel `train` does, with the same
    settings, from the same first weights and on the same points, but with its own draws; then
    `network` is what it has come to.

    Args:
        settings: the first values of `points` (a set's name, or "own"), `own` (x and y in turn),
            `objective` ("eps", "x0", "v"), `kind` ("linear", "cosine"), `T`, `lr`, `t`, `seed`,
            `small` (the drawing and the samples alone).

    Raises:
        traitlets.TraitError: a setting out of its range.
    """

    _esm = esm("training.js")
    _css = style + (HERE / "training.css").read_text(encoding="utf-8")
    points = traitlets.Enum([*SETS, "own"], "ring").tag(sync=True)
    own = traitlets.List(traitlets.Float(min=-1.5, max=1.5), maxlen=2 * MOST).tag(sync=True)
    objective = traitlets.Enum(["eps", "x0", "v"], "eps").tag(sync=True)
    kind = traitlets.Enum(["linear", "cosine"], "linear").tag(sync=True)
    T = traitlets.Int(100, min=1, max=1000).tag(sync=True)
    lr = traitlets.Float(0.01, min=1e-6).tag(sync=True)
    t = traitlets.Int(1, min=1, max=1000).tag(sync=True)
    seed = traitlets.Int(0, min=0, max=2**31 - 1).tag(sync=True)
    small = traitlets.Bool(False).tag(sync=True)
    _sets = traitlets.Dict(SETS).tag(sync=True)
    _how = traitlets.Dict(HOW).tag(sync=True)
    _engine = traitlets.Unicode(as_function(POINTS)).tag(sync=True)

    def __init__(self, **settings: Any):
        self._under_way: Iterator[TrainStep] | None = None
        self._last: TrainStep | None = None
        super().__init__(**settings)
        self.observe(self._forget, SETTINGS)
        self.on_msg(self._answer)

    @traitlets.validate("own")
    def _in_pairs(self, proposal: Any) -> list[float]:
        if len(proposal["value"]) % 2:
            raise traitlets.TraitError(
                f"own must hold x and y in turn, got {len(proposal['value'])} numbers"
            )
        return proposal["value"]

    @property
    def data(self) -> Float[Tensor, "N 2"]:
        """The points, in float64."""
        flat = self.own if self.points == "own" else SETS[self.points]
        return torch.tensor(flat, dtype=torch.float64).view(-1, 2)

    @property
    def diffusion(self) -> GaussianDiffusion:
        """The process at the present settings; the linear schedule is the paper's in T steps."""
        linear = self.kind == "linear"
        schedule = linear_schedule().rescaled(self.T) if linear else cosine_schedule(self.T)
        return GaussianDiffusion(schedule, cast(Objective, self.objective), levels=None)

    @property
    def oracle(self) -> Oracle:
        """The best network for the drawing: eps, whatever the objective."""
        return Oracle(self.diffusion.schedule, self.data, PEN)

    @property
    def network(self) -> nn.Module:
        """The averaged network that the kernel has trained; before that, its first weights."""
        if self._last is not None:
            return self._last.ema
        return PointNet(*NETWORK).begin(self.seed).float()

    @property
    def turn(self) -> int:
        """How many turns of Algorithm 1 the kernel has taken."""
        return 0 if self._last is None else self._last.step

    def train(self) -> Iterator[TrainStep]:
        """Algorithm 1 by `ddpm_lite.train`, from the first weights on: a step for each turn."""
        if len(self.data) == 0:
            raise ValueError("there is nothing to learn: put points into the square")
        generator = torch.Generator().manual_seed(self.seed)
        drawn = self.oracle.sample(20_000, generator).float()
        config = TrainConfig(
            steps=10**9, batch=BATCH, lr=self.lr, warmup=WARMUP,
            ema_decay=AVERAGE, clip_norm=float("inf"), precision="float32", seed=self.seed,
        )  # fmt: skip
        network = PointNet(*NETWORK).begin(self.seed).float()
        for step in train(network, self.diffusion, drawn, config):
            self._last = step
            yield step

    def still(self) -> Figure:
        """After 300 turns: the points and samples, loss and floor by t, and the two fields."""
        steps = self.train()
        self._last = next(step for step in steps if step.step == 300)
        figure, (drawing, drawn, losses, apart) = plots.panels(4)
        torch.manual_seed(self.seed)
        samples = sample(self.diffusion, self.network, (300, 2), clip=False)
        for ax, xy, title in (
            (drawing, self.data, "the points"),
            (drawn, samples, "samples after 300 turns"),
        ):
            ax.scatter(xy[:, 0], xy[:, 1], s=3, color=plots.COLORS[0], linewidths=0)
            ax.set(xlim=(-2.1, 2.1), ylim=(-2.1, 2.1), aspect="equal")
            ax.set_title(title, fontsize=10)
        times = np.unique(np.geomspace(1, self.T, 20).round().astype(int)).tolist()
        found = zip(*map(self._losses, times), strict=True)
        curves = dict(zip(("learned", "the floor"), map(list, found), strict=True))
        plots.lines(losses, times, curves, "step t", "loss at t", xscale="log", ylim=(0, 1.3))
        axis = torch.linspace(-2.1, 2.1, 13)
        places = torch.cartesian_prod(axis, axis)
        now = min(max(self.t, self.T // 5, 1), self.T)
        answers = self.oracle(places, now), self._eps(places, now)
        for eps, color in zip(answers, plots.COLORS[1::-1], strict=True):
            arrows = -eps
            root = arrows / arrows.norm(dim=1, keepdim=True).sqrt().clamp(min=1e-6)
            apart.quiver(*places.T, *root.T, color=color, width=0.006)
        apart.set(xlim=(-2.4, 2.4), ylim=(-2.4, 2.4), aspect="equal")
        apart.set_title(f"fields at t = {now}: learned, over the exact", fontsize=10)
        self._last = None
        return figure

    @torch.no_grad()
    def _eps(self, xt: Tensor, t: int) -> Tensor:
        out = self.diffusion.p_mean_variance(self.network, xt.float(), t, clip=False)
        return out.eps_hat

    def _losses(self, t: int) -> tuple[float, float]:
        """Of the network and of the oracle at t, on the same thousand draws."""
        generator = torch.Generator().manual_seed(t)
        x0 = self.oracle.sample(1000, generator).float()
        eps = torch.randn(1000, 2, generator=generator)
        xt = self.diffusion.q_sample(x0, t, eps)
        own, best = self._eps(xt, t) - eps, self.oracle(xt, t) - eps
        return (own**2).mean().item(), (best**2).mean().item()

    def _forget(self, _: Any) -> None:
        self._under_way = self._last = None

    def _answer(self, _: Any, asked: dict[str, Any], buffers: Any) -> None:
        """What the browser asks of a kernel: to begin, or to train for some milliseconds.

        The answers are those of `ddpm_lite/javascript/points/worker.js`; the averaged weights
        come along as one vector, for the page to measure and to draw with.
        """
        try:
            begins = asked["do"] == "begin"
            told, data = self._begin() if begins else self._train(float(asked["ms"]))
        except Exception as error:  # whatever it was, the reader is told, and nothing waits
            told, data = {"error": f"{type(error).__name__}: {error}"}, []
        self.send(told | {"id": asked["id"]}, data)

    def _begin(self) -> tuple[dict[str, Any], list[bytes]]:
        self._last, self._under_way = None, self.train()
        return {}, []

    def _train(self, ms: float) -> tuple[dict[str, Any], list[bytes]]:
        if self._under_way is None:
            return {"error": "the settings changed in the kernel; press the button again"}, []
        begun, spent = time.perf_counter(), 0.0
        losses: list[float] = []
        while not losses or spent < ms:
            step = next(self._under_way)
            losses.append(step.loss.item())
            spent = (time.perf_counter() - begun) * 1000
        weights = parameters_to_vector(step.ema.parameters())
        data = [weights.detach().numpy().astype(np.float32).tobytes()]
        return {"turn": step.step, "losses": losses, "ms": spent}, data
