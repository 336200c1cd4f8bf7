// The bound for Gaussian data and the oracle: each term, their stack, and the exact likelihood.

import { alongT, chart, powerTicks, ticks } from "../javascript/chart.js";
import { choice, powerSlider, slider } from "../javascript/controls.js";
import { box, describe, panel, pretty, wording } from "../javascript/elements.js";
import { gaussian, posteriorAt, rescaled, schedule } from "../javascript/mathematics.js";
import { bind, follow, takeTimeAlong } from "../javascript/model.js";
import { evenly, sum } from "../javascript/numbers.js";

/** @import { Schedule } from "../javascript/mathematics.js" */
/** @import { Model, Place } from "../javascript/model.js" */

/** @typedef {"beta" | "beta_tilde"} Variance */
/**
 * @typedef {{ t: number, T: number, beta_end: number, std: number, variance: Variance }} Traits
 */
/** @typedef {ReturnType<typeof bits>} Bits */

export const LENGTHS = [1, 2, 3, 5, 7, 10, 20, 30, 50, 70, 100, 200, 300, 500, 700, 1000];

// --- mathematics --------------------------------------------------------------------------------

/** The variance of each reverse step, entries 1..T. Twin: Bound.sigma2.
 * @type {(s: Schedule, kind: Variance) => Float64Array}
 */
export function stepVariances(s, kind) {
  if (kind === "beta" || s.beta.length === 2) return s.beta;
  return s.beta.map((_, t) => (t ? posteriorAt(s, Math.max(t, 2)).variance : 0));
}

/** L_0..L_T in nats for N(0, std^2) data. Twin: ddpm_lite.oracle_bound.
 * @type {(s: Schedule, sigma2: Float64Array, std: number) => Float64Array}
 */
export function boundTerms(s, sigma2, std) {
  const T = s.beta.length - 1;
  /** @param {number} t */
  const missed = (t) =>
    (std ** 2 * (1 - s.alphaBar[t])) / (s.alphaBar[t] * std ** 2 + 1 - s.alphaBar[t]);
  const terms = new Float64Array(T + 1);
  terms[0] = (Math.log(2 * Math.PI * sigma2[1]) + missed(1) / sigma2[1]) / 2;
  for (let t = 2; t <= T; t++) {
    const { ofX0, variance } = posteriorAt(s, t);
    const ratio = variance / sigma2[t];
    terms[t - 1] = (ratio - 1 - Math.log(ratio) + (ofX0 ** 2 * missed(t)) / sigma2[t]) / 2;
  }
  terms[T] = (s.alphaBar[T] * (std ** 2 - 1) - Math.log1p(-s.alphaBar[T])) / 2;
  return terms;
}

/** The variance that the reverse chain gives to x_0. Twin: ddpm_lite.reverse_marginals.
 * @type {(s: Schedule, sigma2: Float64Array, std: number) => number}
 */
export function modelVariance(s, sigma2, std) {
  let variance = 1;
  for (let t = s.beta.length - 1; t > 0; t--) {
    const total = s.alphaBar[t] * std ** 2 + 1 - s.alphaBar[t];
    const slope = (1 - s.beta[t] / total) / Math.sqrt(1 - s.beta[t]);
    variance = slope ** 2 * variance + sigma2[t];
  }
  return variance;
}

/** Bits per pixel, counted to one of 256 grey levels, of a density's nats. Twin: Bound.
 * @type {(nats: number) => number}
 */
export function greyBits(nats) {
  return nats / Math.LN2 + Math.log2(255 / 2);
}

/** All that the widget shows, in bits. Twin: Bound.terms, Bound.nll.
 * @type {(base: Schedule, T: number, kind: Variance, std: number) =>
 *   { terms: Float64Array, nll: number, variance: number, total: number }}
 */
export function bits(base, T, kind, std) {
  const s = rescaled(base, T);
  const sigma2 = stepVariances(s, kind);
  const terms = boundTerms(s, sigma2, std).map((v, t) => (t ? v / Math.LN2 : greyBits(v)));
  const variance = modelVariance(s, sigma2, std);
  const nll = greyBits((Math.log(2 * Math.PI * variance) + std ** 2 / variance) / 2);
  return { terms, nll, variance, total: sum(terms) };
}

/** What is paid from L_T down to L_t, entry t.
 * @type {(terms: Float64Array) => Float64Array}
 */
function stacked(terms) {
  const paid = terms.slice();
  for (let t = paid.length - 2; t >= 0; t--) paid[t] += paid[t + 1];
  return paid;
}

// --- the widget ---------------------------------------------------------------------------------

/** @type {(v: number) => string} */
const round = (v) => v.toFixed(2);

/** @param {Model<Traits>} model */
function newControls(model) {
  const lengths = {
    min: 0,
    max: LENGTHS.length - 1,
    at: (/** @type {number} */ T) => LENGTHS.indexOf(T),
    value: (/** @type {number} */ i) => LENGTHS[i],
  };
  return {
    t: slider("Step <i>t</i>", "t", { min: 0, max: model.get("T") }),
    T: slider("Steps <i>T</i>", "T", lengths),
    beta_end: powerSlider("Last <i>β</i><sub><i>T</i></sub>", "beta_end", { min: -3, max: -1.3 }),
    std: slider("Data std", "std", { min: 0.05, max: 1, step: 0.01, show: round }),
    variance: choice("Variance of a step back", "variance", [
      ["beta", "β"],
      ["beta_tilde", "β̃"],
    ]),
  };
}

function newPanels() {
  const ofT = { ...alongT(2), title: "t" };
  const each = chart({ ...ofT, y: [-8, 1], yTicks: powerTicks(-8, -6, -4, -2, 0) });
  const stack = chart({ ...ofT, y: [0, 11], yTicks: ticks([0, 2, 4, 6, 8, 10]) });
  const growth = chart({
    title: "steps T",
    x: [0, 3],
    y: [0, 4],
    xTicks: ticks([0, 1, 2, 3], (v) => String(10 ** v)),
    yTicks: ticks([0, 1, 2, 3, 4]),
  });
  const density = chart({
    title: "x₀, in standard deviations of the data",
    x: [-4, 4],
    y: [0, 0.5],
    xTicks: ticks([-4, -2, 0, 2, 4]),
    yTicks: ticks([0, 0.2, 0.4]),
  });
  const row = box(
    "ddpm-panels",
    panel("Each term <i>L<sub>t</sub></i>, bits", each.svg),
    panel("<i>L<sub>T</sub></i> + … + <i>L<sub>t</sub></i>, bits; dashed, exact NLL", stack.svg),
    panel("Bound and, dashed, NLL above the entropy, bits", growth.svg),
    panel("What the model draws; dashed, the data", density.svg),
  );
  return { row, each, stack, growth, density };
}

/** Draws the curves, and returns what draws the marks at t.
 * @param {ReturnType<typeof newPanels>} panels
 */
function drawings({ each, stack, growth, density }) {
  const [eachCurve, eachDot] = [each.curve("each"), each.dot("dot")];
  const [stackCurve, stackNll, stackDot] = [
    stack.curve("stack"),
    stack.curve("second"),
    stack.dot("dot"),
  ];
  const [growthBound, growthNll, growthDot] = [
    growth.curve("bound"),
    growth.curve("second"),
    growth.dot("dot"),
  ];
  const grid = evenly(-4, 4, 81);
  density.curve("bell")(grid, (x) => gaussian(x));
  const learnt = density.curve("model");
  const logs = LENGTHS.map(Math.log10);
  return {
    /** @type {(now: Bits, paid: Float64Array) => void} */
    terms({ terms, nll }, paid) {
      const end = terms.length - 1;
      const steps = Array.from(terms.keys());
      each.stretch(end);
      eachCurve(steps, terms.map(Math.log10));
      stack.stretch(end);
      stackCurve(steps, paid);
      stackNll([0, end], [nll, nll]);
    },
    /** @type {(now: Bits, all: Bits[], std: number) => void} */
    growth(now, all, std) {
      const entropy = greyBits((Math.log(2 * Math.PI * std ** 2) + 1) / 2);
      growthBound(logs, (_, i) => all[i].total - entropy);
      growthNll(logs, (_, i) => all[i].nll - entropy);
      growthDot(Math.log10(now.terms.length - 1), now.total - entropy);
      learnt(grid, (x) => gaussian(x, 0, now.variance / std ** 2));
    },
    /** @type {(t: number, now: Bits, paid: Float64Array) => void} */
    marks(t, now, paid) {
      eachDot(t, Math.log10(now.terms[t]));
      stackDot(t, paid[t]);
    },
  };
}

/** @param {Place<Traits>} place */
function render({ model, el: root }) {
  root.classList.add("ddpm-widget");
  const controls = newControls(model);
  const { t, T, beta_end, std, variance } = controls;
  const panels = newPanels();
  const { each, stack, growth, density } = panels;
  const drawing = drawings(panels);
  root.append(
    box("ddpm-bar", variance.row),
    box("ddpm-sliders", t.row, T.row, beta_end.row, std.row),
    panels.row,
  );
  const say = wording(root);

  /** @type {Bits} */
  let now; // what is shown at the present T
  /** @type {Float64Array} */
  let paid;
  function compute() {
    const base = schedule("linear", 1000, 1e-4, model.get("beta_end"));
    const [end, kind, width] = [model.get("T"), model.get("variance"), model.get("std")];
    now = bits(base, end, kind, width);
    paid = stacked(now.terms);
    t.input.max = String(end);
    t.set(Math.min(model.get("t"), end));
    drawing.terms(now, paid);
    const all = LENGTHS.map((length) => bits(base, length, kind, width));
    drawing.growth(now, all, width);
  }
  function draw() {
    const end = model.get("T");
    const at = Math.min(model.get("t"), end);
    drawing.marks(at, now, paid);
    const gap = now.total - now.nll;
    const [L, nll, term] = [round(now.total), round(now.nll), pretty(now.terms[at])];
    const ratio = pretty(now.variance / model.get("std") ** 2);
    say(
      `At t = ${at} of ${end} the term is ${term} bits, and the stack down to it ${round(paid[at])}. ` +
        `Prior ${pretty(now.terms[end])}, reconstruction ${round(now.terms[0])}; bound ${L}, exact NLL ${nll}, gap ${pretty(gap < 5e-7 ? 0 : gap)} bits per pixel.`,
    );
    describe(each.svg, `Each term of the bound against t, logarithmic; now ${term} bits at ${at}.`);
    describe(
      stack.svg,
      `The terms added up from t = ${end} down; now ${round(paid[at])} bits at ${at}. The exact NLL is ${nll}.`,
    );
    describe(
      growth.svg,
      `Bound and exact NLL against the number of steps; now ${L} and ${nll} bits at ${end}.`,
    );
    describe(
      density.svg,
      `Densities of the data and of the model; the model's variance is ${ratio} times the data's.`,
    );
  }

  bind(model, controls);
  takeTimeAlong(model);
  follow(
    model,
    [["T", "beta_end", "std", "variance"], compute],
    [["t", "T", "beta_end", "std", "variance"], draw],
  );
}

export default { render };
