// The flow: its field at t, its exact paths, a solver's with few calls, the SDE's, and the lines.

import { legend } from "../javascript/chart.js";
import { choice, newId, noiseButton, playTrait, slider } from "../javascript/controls.js";
import { box, describe, el, pretty, wording } from "../javascript/elements.js";
import { keptAt, lineSchedule, placeOf, toLine } from "../javascript/line.js";
import { schedule } from "../javascript/mathematics.js";
import { bind, follow } from "../javascript/model.js";
import { clamp } from "../javascript/numbers.js";
import { plane } from "../javascript/plane.js";
import { ddim, ddpm, dpmSolver, heun } from "../javascript/points/chains.js";
import { Drawing, draw } from "../javascript/points/drawing.js";

/** @import { Control } from "../javascript/controls.js" */
/** @import { Schedule } from "../javascript/mathematics.js" */
/** @import { Model, Place } from "../javascript/model.js" */
/** @import { Kept, Way } from "../javascript/points/chains.js" */

/** @typedef {"ddim" | "heun" | "dpm_solver"} Solver */

/** @typedef {{ s: number, z: Float64Array }} Stop */
/** Points on their way from noise to data, as points of the line, at falling places s.
 * @typedef {Stop[]} Track
 */
/** A track stop by stop, each computed when it is asked for.
 * @typedef {Generator<Stop, void, void>} Stops
 */

/**
 * @typedef {object} Traits
 * @property {string} points the name of a set
 * @property {"line" | "cosine"} kind
 * @property {Solver} solver
 * @property {number} t
 * @property {number} calls
 * @property {boolean} lines
 * @property {number} seed
 * @property {Record<string, number[]>} _sets
 * @property {number} _pen
 */

const [T, COUNT, FINE, MOST] = [1000, 12, 1000, 64]; // steps, walkers, exact steps, calls
const [LIMIT, SIDE] = [2.5, 31]; // how far the squares reach, and their grid
const [SMOOTH, JAGGED] = [50, 120]; // stops of a trail that are drawn, at most
const SECONDS = 6; // that Play takes from t = T to 0
const SDE = 0xc2b2ae35; // is added to the seed for its noise, which is none of the pairs
const SLICE = 12; // milliseconds of a frame for what takes many frames
const FIELD = "The way back at <i>t</i>, and a solver";
const SOLVERS = { ddim, heun, dpm_solver: dpmSolver };
/** @type {Record<Solver, string>} */
const NAMES = { ddim: "DDIM", heun: "Heun", dpm_solver: "DPM-Solver" };

// --- mathematics --------------------------------------------------------------------------------

/** Steps of a solver with at most so many calls, and the calls it makes: two a step for Heun, but
 * one for the last. Twin: Flow.steps, Flow.used.
 * @type {(solver: Solver, calls: number) => { steps: number, used: number }}
 */
export function budget(solver, calls) {
  if (solver !== "heun") return { steps: calls, used: calls };
  const steps = Math.floor((calls + 1) / 2);
  return { steps, used: 2 * steps - 1 };
}

/** Stops in x_t as stops on the line.
 * @type {(way: Way, s: Kept) => Stops}
 */
function* onLine(way, { alphaBar }) {
  for (const { t, x } of way) yield { s: placeOf(alphaBar[t]), z: toLine(x, alphaBar[t]) };
}

/** Where the points are at s: straight from stop to stop, as a solver's step is. Twin: Track.at.
 * @type {(track: Track, s: number) => Float64Array}
 */
export function at(track, s) {
  const first = track.findIndex((stop) => stop.s <= s);
  const after = clamp(first < 0 ? track.length : first, 1, track.length - 1);
  const [here, there] = [track[after - 1], track[after]];
  const share = (here.s - s) / (here.s - there.s);
  return here.z.map((v, i) => v + share * (there.z[i] - v));
}

/** The flow from x_T, on steps of its own: even along the line, from where this x_T lies.
 * Twin: Flow.exact.
 * @type {(drawing: Drawing, s: Schedule, start: Float64Array) => Stops}
 */
export function exactFlow(drawing, { alphaBar }, start) {
  const last = placeOf(alphaBar[T]);
  const fine = {
    alphaBar: Float64Array.from({ length: FINE + 1 }, (_, i) => keptAt((last * i) / FINE)),
  };
  return onLine(
    heun((xt, i) => drawing.x0(xt, fine.alphaBar[i]), fine, start, FINE),
    fine,
  );
}

/** A solver's stops. Twin: Flow.solved.
 * @type {(drawing: Drawing, s: Schedule, start: Float64Array, solver: Solver, steps: number) => Stops}
 */
export function solved(drawing, s, start, solver, steps) {
  return onLine(
    SOLVERS[solver]((xt, t) => drawing.x0(xt, s.alphaBar[t]), s, start, steps),
    s,
  );
}

/** Algorithm 2 from the same noise, each step kept. Twin: Flow.sde.
 * @type {(drawing: Drawing, s: Schedule, start: Float64Array, seed: number) => Stops}
 */
export function reverseSde(drawing, s, start, seed) {
  return onLine(
    ddpm((xt, t) => drawing.x0(xt, s.alphaBar[t]), s, start, (seed + SDE) >>> 0, T),
    s,
  );
}

/** E[eps - x_0 | z], dz / ds along the flow, at a point of the line. Twin: Flow.velocity.
 * @type {(drawing: Drawing, alphaBar: number, x: number, y: number) => [number, number]}
 */
export function velocity(drawing, alphaBar, x, y) {
  const both = Math.sqrt(alphaBar) + Math.sqrt(1 - alphaBar);
  const { ex, ey, x0, y0 } = drawing.at(both * x, both * y, alphaBar);
  return [ex - x0, ey - y0];
}

/** How far each point of a lies from that of b.
 * @type {(a: Float64Array, b: Float64Array) => number[]}
 */
export function apart(a, b) {
  return Array.from({ length: a.length / 2 }, (_, i) =>
    Math.hypot(a[2 * i] - b[2 * i], a[2 * i + 1] - b[2 * i + 1]),
  );
}

// --- what is shown ------------------------------------------------------------------------------

/** A kind of walker in a square: its trail up to s and a dot there.
 * @type {(square: ReturnType<typeof plane>, name: string, most?: number) =>
 *   (track: Track, s: number) => void}
 */
function walkers(square, name, most = SMOOTH) {
  const [trails, dots] = [square.trails(name), square.dots(`now ${name}`)];
  return (track, s) => {
    const behind = track.filter((stop) => stop.s > s);
    const now = track.length ? at(track, s) : new Float64Array();
    const every = Math.ceil(behind.length / most);
    const drawn = behind.filter((_, k) => k % every === 0).map(({ z }) => z);
    trails([...drawn, now]);
    dots(now);
  };
}

/** A solver's walkers, with dots where they turned.
 * @param {ReturnType<typeof plane>} square
 */
function turning(square) {
  const [turns, walk] = [square.dots("turns solver"), walkers(square, "solver", MOST)];
  return /** @type {(track: Track, s: number) => void} */ (track, s) => {
    walk(track, s);
    turns(track.filter((stop) => stop.s > s).flatMap(({ z }) => [...z]));
  };
}

function newSquares() {
  const [one, two] = [plane(LIMIT), plane(LIMIT)];
  const data = [one.dots("data"), two.dots("data")];
  const field = one.arrows("field");
  const [sde, lines] = [walkers(two, "sde", JAGGED), walkers(two, "lines")]; // under the flow
  const exact = [walkers(one, "exact"), walkers(two, "exact")];
  const solver = turning(one);
  return { one: one.svg, two: two.svg, data, field, exact, solver, sde, lines };
}

/** The squares, and what is drawn in them.
 * @param {HTMLElement} root
 */
function newView(root) {
  const squares = newSquares();
  const [left, right] = [box(""), box("")];
  const caption = el("figcaption");
  root.append(
    box(
      "ddpm-panels",
      el("figure", {}, el("figcaption", { innerHTML: FIELD }), squares.one, left),
      el("figure", {}, caption, squares.two, right),
    ),
  );
  /** @type {(solver: Solver, lines: boolean) => void} */
  function name(solver, lines) {
    caption.textContent = lines
      ? "Straight lines from the same noise"
      : "The SDE from the same noise";
    left.replaceChildren(legend({ "exact flow": "exact", [NAMES[solver]]: "solver" }));
    const [other, class_] = lines ? ["lines x₀ to ε", "lines"] : ["reverse SDE", "sde"];
    right.replaceChildren(legend({ "exact flow": "exact", [other]: class_ }));
  }
  /** @param {Float64Array} points */
  function showData(points) {
    for (const dots of squares.data) dots(points);
  }
  return { ...squares, name, showData };
}

/** The way back at each other point of the grid, a quarter as long, so that arrows keep apart.
 * @type {(drawing: Drawing, alphaBar: number) => Float64Array}
 */
function wayBack(drawing, alphaBar) {
  const out = new Float64Array(2 * SIDE * SIDE);
  for (let row = 1; row < SIDE; row += 2) {
    for (let column = 1; column < SIDE; column += 2) {
      const [x, y] = [column, row].map((k) => LIMIT * ((2 * k) / (SIDE - 1) - 1));
      const [u, v] = velocity(drawing, alphaBar, x, y);
      out.set([-u / 4, -v / 4], 2 * (row * SIDE + column));
    }
  }
  return out;
}

/** A labelled box to tick.
 * @type {(label: string, name: string) => Control<boolean> & { row: HTMLElement }}
 */
function tick(label, name) {
  const id = newId(name);
  const input = el("input", { type: "checkbox", id, name });
  return {
    row: el("div", { className: "ddpm-choice" }, input, el("label", { for: id }, label)),
    input,
    event: "change",
    read: () => input.checked,
    set(on) {
      input.checked = on;
    },
  };
}

/** @param {Model<Traits>} model */
function newControls(model) {
  const sets = Object.keys(model.get("_sets"));
  return {
    points: choice(
      "Points",
      "points",
      sets.map((name) => [name, name]),
    ),
    kind: choice(
      "Schedule",
      "kind",
      /** @type {["line" | "cosine", string][]} */ ([
        ["line", "the line"],
        ["cosine", "cosine"],
      ]),
    ),
    solver: choice("Solver", "solver", /** @type {[Solver, string][]} */ (Object.entries(NAMES))),
    lines: tick("Conditional lines", "lines"),
    t: slider("Step <i>t</i>", "t", { min: 0, max: T }),
    calls: slider("Calls <i>n</i>", "calls", { min: 1, max: MOST }),
  };
}

// --- the widget ---------------------------------------------------------------------------------

/** A track of many stops, as far as it has been walked. */
class Walk {
  /** @param {Iterable<Stop>} stops */
  constructor(stops) {
    this.stops = stops[Symbol.iterator]();
    /** @type {Track} */
    this.behind = [];
    this.ended = false;
  }

  /** The whole of it, or nothing yet. */
  get track() {
    return this.ended ? this.behind : [];
  }

  /** Walk on until then. @param {number} time */
  until(time) {
    while (!this.ended && performance.now() < time) {
      const { value } = this.stops.next();
      if (value) this.behind.push(value);
      else this.ended = true;
    }
  }
}

/** What is computed, each part when what it depends on has changed: what takes few calls at once, and
 * what takes a thousand steps only where it is shown, in slices.
 * @param {{ get: <Name extends keyof Traits>(name: Name) => Traits[Name] }} model
 */
export function newFlow(model) {
  const flow = {
    drawing: new Drawing([], 0),
    chain: lineSchedule(T),
    exact: new Walk([]),
    sde: new Walk([]),
    lines: /** @type {Track} */ ([]),
    solver: /** @type {Track} */ ([]),
    start: /** @type {Float64Array} */ (new Float64Array()),
    begin() {
      const seed = model.get("seed");
      flow.drawing = new Drawing(model.get("_sets")[model.get("points")], model.get("_pen"));
      flow.chain = model.get("kind") === "line" ? lineSchedule(T) : schedule("cosine", T, 0, 0);
      const { x0, eps } = draw(flow.drawing, flow.chain, { batch: COUNT, seed }, 0);
      flow.start = eps;
      flow.exact = new Walk(exactFlow(flow.drawing, flow.chain, eps));
      flow.sde = new Walk(reverseSde(flow.drawing, flow.chain, eps, seed));
      flow.lines = [
        { s: 1, z: eps },
        { s: 0, z: x0 },
      ];
    },
    solve() {
      const name = model.get("solver");
      const { steps } = budget(name, model.get("calls"));
      flow.solver = [...solved(flow.drawing, flow.chain, flow.start, name, steps)];
    },
    /** Of what is shown, the walk that comes next. */
    next() {
      const shown = model.get("lines") ? [flow.exact] : [flow.exact, flow.sde];
      return shown.find((walk) => !walk.ended);
    },
    /** A slice of it; true where it has come to its end. */
    walkOn() {
      const walk = flow.next();
      walk?.until(performance.now() + SLICE);
      return walk?.ended ?? false;
    },
  };
  return flow;
}

/** @type {(model: Model<Traits>, flow: ReturnType<typeof newFlow>, s: number) => string} */
function wordsFor(model, flow, s) {
  const [name, t] = [model.get("solver"), model.get("t")];
  const where = `At t = ${t} of ${T}, s = ${pretty(s)}.`;
  const [exact, sde] = [flow.exact.track, flow.sde.track];
  if (!exact.length) return `${where} The exact flow is being computed.`;
  const { steps, used } = budget(name, model.get("calls"));
  /** @param {Track} track */
  const end = (track) => track[track.length - 1].z;
  const off = apart(end(flow.solver), end(exact));
  /** @param {number[]} all */
  const mean = (all) => pretty(all.reduce((sum, v) => sum + v, 0) / all.length);
  /** @type {(n: number, of: string) => string} */
  const count = (n, of) => `${n} ${of}${n === 1 ? "" : "s"}`;
  const far = sde.length
    ? `ends ${mean(apart(end(sde), end(exact)))} from them`
    : "is being computed";
  const other = model.get("lines") ? "" : ` The SDE ${far}.`;
  return `${where} With ${count(used, "call")} in ${count(steps, "step")}, ${NAMES[name]} ends ${mean(off)} from the exact flow’s ends in the mean, ${pretty(Math.max(...off))} at most.${other}`;
}

/** @param {Place<Traits>} place */
function render({ model, el: root }) {
  root.classList.add("ddpm-widget", "ddpm-flow");
  const controls = newControls(model);
  const { points, kind, solver, lines, t, calls } = controls;
  const play = playTrait(model, "t", () => [T, 0], SECONDS);
  root.append(
    box("ddpm-bar", points.row, kind.row, solver.row),
    box("ddpm-bar", play.button, noiseButton(model), lines.row),
    box("ddpm-sliders", t.row, calls.row),
  );
  const flow = newFlow(model);
  const view = newView(root);
  const say = wording(root);

  function show() {
    const s = placeOf(flow.chain.alphaBar[model.get("t")]);
    for (const walk of view.exact) walk(flow.exact.track, s);
    view.solver(flow.solver, s);
    const straight = model.get("lines");
    view.sde(straight ? [] : flow.sde.track, s);
    view.lines(straight ? flow.lines : [], s);
    const words = wordsFor(model, flow, s);
    say(words);
    const twelve = `${COUNT} points on their way from noise to ${model.get("points")}`;
    describe(
      view.one,
      `${twelve}, on the exact flow and by a solver, over arrows of the flow. ${words}`,
    );
    const other = straight
      ? "and straight from their noise to a point of the data"
      : "and by the SDE";
    describe(view.two, `${twelve}, on the exact flow ${other}, at s = ${pretty(s)}.`);
  }

  let frame = 0;
  function wake() {
    cancelAnimationFrame(frame);
    const more = flow.next() !== undefined;
    if (more) frame = requestAnimationFrame(walkOn);
    root.setAttribute("aria-busy", String(more));
  }
  let spoken = false; // what comes after a reader's choice is, what the page begins with is not
  for (const kind of ["input", "change", "click"])
    root.addEventListener(kind, () => (spoken = true));
  function walkOn() {
    if (flow.walkOn()) show();
    wake();
    if (flow.next() || !spoken) return;
    root.dispatchEvent(new Event("change"));
  }

  bind(model, controls);
  follow(
    model,
    [["points", "kind", "seed"], flow.begin],
    [["points"], () => view.showData(flow.drawing.points)],
    [["points", "kind", "seed", "solver", "calls"], flow.solve],
    [["solver", "lines"], () => view.name(model.get("solver"), model.get("lines"))],
    [
      ["points", "kind", "t"],
      () => view.field(wayBack(flow.drawing, flow.chain.alphaBar[model.get("t")]), SIDE),
    ],
    [["points", "kind", "seed", "solver", "calls", "lines", "t"], show],
    [["points", "kind", "seed", "lines"], wake],
  );
  return () => {
    play.stop();
    cancelAnimationFrame(frame);
  };
}

export default { render };
