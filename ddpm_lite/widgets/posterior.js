// The posterior of one step, its two witnesses, and a prediction in four coordinates.

import { chart, legend, ticks } from "../javascript/chart.js";
import { choice, slider } from "../javascript/controls.js";
import { box, describe, el, panel, pretty, wording } from "../javascript/elements.js";
import { posteriorAt, schedule } from "../javascript/mathematics.js";
import { bind, follow, save } from "../javascript/model.js";
import { clamp, evenly } from "../javascript/numbers.js";

/** @import { Schedule } from "../javascript/mathematics.js" */
/** @import { Model, Place } from "../javascript/model.js" */

/** @typedef {"eps" | "x0" | "v" | "mu"} Coordinate */
/** @typedef {"beta" | "beta_tilde"} Variance */
/** @typedef {{ mean: number, variance: number }} Gaussian */

/**
 * @typedef {object} Traits
 * @property {number} t
 * @property {20 | 1000} T
 * @property {number} x0
 * @property {number} xt
 * @property {number} x0_hat
 * @property {Coordinate} objective
 * @property {Variance} variance
 */

/** @type {Coordinate[]} */
const COORDINATES = ["eps", "x0", "v", "mu"];
const NAMES = { eps: "ε", x0: "x₀", v: "v", mu: "μ" };
const STYLES = { eps: "first", x0: "second", v: "third", mu: "fourth" };
const BELLS = { prior: "first", likelihood: "second", posterior: "third", network: "fourth" };
const BETAS = { 20: [0.02, 0.5], 1000: [1e-4, 0.02] }; // a toy chain, and the paper's
const GUESSES = [-1.5, 1.5]; // of x_0
const EDGE = 3; // of the axis of x_{t-1}
const HEAD = ["coordinate", "truth", "guess", "off by", "weight", "weight × off²"];

// --- mathematics --------------------------------------------------------------------------------

/** Prior, likelihood and posterior of x_{t-1}. Twin: q_posterior.
 * @type {(s: Schedule, t: number, x0: number, xt: number) =>
 *   { prior: Gaussian, likelihood: Gaussian, posterior: Gaussian }}
 */
export function beliefs(s, t, x0, xt) {
  const [alpha, before] = [1 - s.beta[t], s.alphaBar[t - 1]];
  const { ofX0, ofXt, variance } = posteriorAt(s, t);
  return {
    prior: { mean: Math.sqrt(before) * x0, variance: 1 - before },
    likelihood: { mean: xt / Math.sqrt(alpha), variance: s.beta[t] / alpha },
    posterior: { mean: ofX0 * x0 + ofXt * xt, variance },
  };
}

/** [p, r] of each coordinate: for a given x_t it is p x_0 + r x_t.
 * @type {(s: Schedule, t: number) => Record<Coordinate, [p: number, r: number]>}
 */
export function lines(s, t) {
  const [a, b] = [Math.sqrt(s.alphaBar[t]), Math.sqrt(1 - s.alphaBar[t])];
  const { ofX0, ofXt } = posteriorAt(s, t);
  return { eps: [-a / b, 1 / b], x0: [1, 0], v: [-1 / b, a / b], mu: [ofX0, ofXt] };
}

/** A prediction in another coordinate. Twin: GaussianDiffusion.convert.
 * @type {(s: Schedule, t: number, xt: number, value: number, given: Coordinate,
 *   wanted: Coordinate) => number}
 */
export function convert(s, t, xt, value, given, wanted) {
  const { [given]: from, [wanted]: to } = lines(s, t);
  const x0 = (value - from[1] * xt) / from[0];
  return to[0] * x0 + to[1] * xt;
}

/** sigma_t^2 for t >= 2.
 * @type {(s: Schedule, t: number, variance: Variance) => number}
 */
export function sigma2(s, t, variance) {
  return variance === "beta" ? s.beta[t] : posteriorAt(s, t).variance;
}

/** What L_{t-1} multiplies a squared error by. Twin: loss_weight("variational").
 * @type {(s: Schedule, t: number, coordinate: Coordinate, variance: Variance) => number}
 */
export function weight(s, t, coordinate, variance) {
  const slopes = lines(s, t);
  return (slopes.mu[0] / slopes[coordinate][0]) ** 2 / (2 * sigma2(s, t, variance));
}

/** KL(N(q.mean, q.variance) || N(p.mean, p.variance)) in nats. Twin: gaussian_kl.
 * @type {(q: Gaussian, p: Gaussian) => number}
 */
export function gaussianKL(q, p) {
  const r = q.variance / p.variance;
  return (r - 1 - Math.log(r) + (q.mean - p.mean) ** 2 / p.variance) / 2;
}

// --- the widget ---------------------------------------------------------------------------------

/** Points of a bell curve of height one, inside the chart.
 * @type {(of: Gaussian) => [xs: number[], ys: (x: number) => number]}
 */
function bell({ mean, variance }) {
  const deviation = Math.sqrt(variance);
  const xs = evenly(mean - 3 * deviation, mean + 3 * deviation, 121);
  return [
    xs.filter((x) => Math.abs(x) <= EDGE),
    (x) => Math.exp(-((x - mean) ** 2) / (2 * variance)),
  ];
}

/** @param {Model<Traits>} model */
function newControls(model) {
  const one = { step: 0.01, show: pretty };
  return {
    t: slider("Step <i>t</i>", "t", { min: 2, max: model.get("T") }),
    x0: slider("Image <i>x</i><sub>0</sub>", "x0", { min: -1, max: 1, ...one }),
    xt: slider("Seen <i>x<sub>t</sub></i>", "xt", { min: -2, max: 2, ...one }),
    T: choice("Chain", "T", [
      [20, "20 large steps"],
      [1000, "the paper's 1000"],
    ]),
    objective: choice(
      "The network predicts",
      "objective",
      COORDINATES.map((c) => [c, NAMES[c]]),
    ),
    variance: choice("Its variance", "variance", [
      ["beta", "β"],
      ["beta_tilde", "β̃"],
    ]),
  };
}

/** The guess as a slider in the coordinate of the objective, whose ends follow t and x_t.
 * @type {(model: Model<Traits>, to: (x0: number) => number, from: (value: number) => number) =>
 *   { row: HTMLElement, show: () => void }}
 */
function guessSlider(model, to, from) {
  const guess = slider("Guess", "guess", { min: -1.5, max: 1.5, step: 0.01, show: pretty });
  const label = /** @type {HTMLLabelElement} */ (guess.row.querySelector("label"));
  guess.input.addEventListener("input", () => {
    save(model, "x0_hat", clamp(from(guess.read()), GUESSES[0], GUESSES[1]));
  });
  return {
    row: guess.row,
    show() {
      const [min, max] = GUESSES.map(to).sort((a, b) => a - b);
      Object.assign(guess.input, { min, max, step: (max - min) / 240 });
      label.innerHTML = `Guess <i>${NAMES[model.get("objective")]}</i>`;
      guess.set(to(model.get("x0_hat")));
    },
  };
}

/** The chart of the weights in this chain, and what moves its mark.
 * @type {(T: number, at: (t: number, coordinate: Coordinate) => number) =>
 *   { svg: SVGElement, mark: (t: number, chosen: Coordinate) => void }}
 */
function weightChart(T, at) {
  const ends = COORDINATES.flatMap((coordinate) => [at(2, coordinate), at(T, coordinate)]);
  const [low, high] = [Math.floor(Math.min(...ends)), Math.ceil(Math.max(...ends))];
  const apart = Math.ceil((high - low) / 6);
  const powers = Array.from({ length: 7 }, (_, i) => high - i * apart).filter((v) => v >= low);
  const { svg, curve, dot } = chart({
    title: "step t",
    x: [0, T],
    y: [low, high],
    xTicks: ticks([0, T / 2, T]),
    yTicks: ticks(powers, (v) => pretty(10 ** v)),
  });
  const steps = Array.from({ length: T - 1 }, (_, i) => i + 2);
  for (const coordinate of COORDINATES) {
    curve(`weight-${coordinate} ${STYLES[coordinate]}`)(steps, (t) => at(t, coordinate));
  }
  const move = dot("dot");
  return {
    svg,
    mark(t, chosen) {
      move(t, at(t, chosen));
      for (const coordinate of COORDINATES) {
        const line = /** @type {SVGElement} */ (svg.querySelector(`.weight-${coordinate}`));
        line.style.strokeWidth = coordinate === chosen ? "3.2" : "1.3";
      }
    },
  };
}

/** A row of the table: a coordinate's symbol and its numbers.
 * @typedef {{ name: Coordinate, numbers: number[] }} Row
 */

/** @type {(rows: Row[], chosen: Coordinate) => HTMLElement[]} */
function tableParts(rows, chosen) {
  const head = el("tr", {}, ...HEAD.map((text) => el("th", { scope: "col" }, text)));
  const body = rows.map(({ name, numbers }) => {
    const className = name === chosen ? "chosen" : "";
    const row = el("tr", { className }, el("th", { scope: "row" }, NAMES[name]));
    row.append(...numbers.map((v) => el("td", {}, pretty(v))));
    return row;
  });
  return [el("thead", {}, head), el("tbody", {}, ...body)];
}

/** What is drawn on. `bells` draw the four Gaussians; the chart of the weights depends on the chain
 * and is put into its panel with `showWeights`.
 */
function newPanels() {
  const curves = chart({
    title: "x, one step before t",
    x: [-EDGE, EDGE],
    y: [0, 1.08],
    xTicks: ticks([-3, -2, -1, 0, 1, 2, 3]),
    yTicks: ticks([0, 1]),
  });
  const bells = Object.entries(BELLS).map(([name, style]) => curves.curve(`bell-${name} ${style}`));
  const heading = "Candidates for <i>x</i><sub><i>t</i>−1</sub>, heights scaled to 1";
  const candidates = panel(heading, curves.svg);
  candidates.append(legend(BELLS));
  const weights = panel("The weight of each coordinate", "");
  const caption = /** @type {Node} */ (weights.firstChild);
  const key = legend(Object.fromEntries(COORDINATES.map((c) => [NAMES[c], STYLES[c]])));
  return {
    row: box("ddpm-panels", candidates, weights),
    curves,
    bells,
    /** @param {SVGElement} svg */
    showWeights: (svg) => weights.replaceChildren(caption, svg, key),
  };
}

/** @param {Place<Traits>} place */
function render({ model, el: root }) {
  root.classList.add("ddpm-widget");
  const controls = newControls(model);
  const { t, x0, xt, T, objective, variance } = controls;
  /** @type {Schedule} */
  let s; // in force
  /** @type {number} */
  let now; // t within it
  /** @type {ReturnType<typeof weightChart>} */
  let weights; // its axes are those of the chain
  /** @type {(value: number, given: Coordinate, wanted: Coordinate) => number} */
  const converted = (...of) => convert(s, now, model.get("xt"), ...of);
  const guess = guessSlider(
    model,
    (value) => converted(value, "x0", model.get("objective")),
    (value) => converted(value, model.get("objective"), "x0"),
  );
  const { row, curves, bells, showWeights } = newPanels();
  const table = el("table", { className: "ddpm-table" });
  root.append(
    box("ddpm-bar", objective.row, variance.row, T.row),
    box("ddpm-sliders", t.row, x0.row, xt.row, guess.row),
    row,
    box("ddpm-table-frame", table),
  );
  const say = wording(root);

  function newChain() {
    const [first, last] = BETAS[model.get("T")];
    s = schedule("linear", model.get("T"), first, last);
    t.input.max = String(model.get("T"));
  }
  function newWeights() {
    const kind = model.get("variance");
    weights = weightChart(model.get("T"), (at, name) => Math.log10(weight(s, at, name, kind)));
    showWeights(weights.svg);
  }
  /** @type {(name: Coordinate) => Row} */
  function rowOf(name) {
    const [truth, said] = [model.get("x0"), model.get("x0_hat")].map((value) =>
      converted(value, "x0", name),
    );
    const heavy = weight(s, now, name, model.get("variance"));
    return { name, numbers: [truth, said, said - truth, heavy, heavy * (said - truth) ** 2] };
  }
  function draw() {
    now = Math.min(model.get("t"), model.get("T"));
    t.set(now);
    guess.show();
    const { prior, likelihood, posterior } = beliefs(s, now, model.get("x0"), model.get("xt"));
    const network = {
      mean: converted(model.get("x0_hat"), "x0", "mu"),
      variance: sigma2(s, now, model.get("variance")),
    };
    for (const [i, one] of [prior, likelihood, posterior, network].entries())
      bells[i](...bell(one));
    const chosen = model.get("objective");
    weights.mark(now, chosen);
    const rows = COORDINATES.map(rowOf);
    table.replaceChildren(...tableParts(rows, chosen));
    const text = `At step ${now} of ${model.get("T")} ${inWords(posterior, network, rows[0])}`;
    say(text);
    describe(curves.svg, `Prior, likelihood, posterior and the network's Gaussian. ${text}`);
    const heavy = pretty(rowOf(chosen).numbers[3]);
    describe(
      weights.svg,
      `Weight of a squared error in each coordinate against t, logarithmic; for ${NAMES[chosen]} now ${heavy}.`,
    );
  }

  bind(model, controls);
  follow(
    model,
    [["T"], newChain],
    [["T", "variance"], newWeights],
    [["t", "T", "x0", "xt", "objective", "variance", "x0_hat"], draw],
  );
}

/** What the network's Gaussian costs, and how much of it is for its mean: the weighted square in any
 * row of the table.
 * @type {(posterior: Gaussian, network: Gaussian, row: Row) => string}
 */
function inWords(posterior, network, { numbers }) {
  const forVariance = gaussianKL({ ...posterior, mean: 0 }, { ...network, mean: 0 });
  const [mean, deviation] = [posterior.mean, Math.sqrt(posterior.variance)].map(pretty);
  const kl = pretty(gaussianKL(posterior, network));
  return (
    `the posterior has mean ${mean} and standard deviation ${deviation}. ` +
    `The network's mean is ${pretty(network.mean)}, so this term of the bound is ${kl} nats: ` +
    `${pretty(numbers[4])} for the mean, ${pretty(forVariance)} for the variance.`
  );
}

export default { render };
