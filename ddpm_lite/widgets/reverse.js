// The reverse step: its true density against the best Gaussian, and a swarm on its way back.

import { alongT, chart, powerTicks, ticks } from "../javascript/chart.js";
import { noiseButton, playTrait, slider } from "../javascript/controls.js";
import { box, describe, panel, pretty, wording } from "../javascript/elements.js";
import {
  ddpmStep,
  gaussian,
  normals,
  paperSchedule,
  rescaled,
  x0From,
} from "../javascript/mathematics.js";
import { bind, follow, takeTimeAlong } from "../javascript/model.js";
import { evenly, sum } from "../javascript/numbers.js";

/** @import { Model, Place } from "../javascript/model.js" */

/** Data at peaks on a line.
 * @typedef {{ means: number[], beta_1: number }} Peaks
 */

/** Data on a ring of peaks in the plane, and how many points walk to it.
 * @typedef {{ means: [x: number, y: number][], std: number, points: number }} Ring
 */

/** @typedef {{ weight: number, mean: number, variance: number }[]} Mixture */

/**
 * @typedef {object} Traits
 * @property {number} beta
 * @property {number} xt
 * @property {number} t
 * @property {number} T
 * @property {number} seed
 * @property {Peaks} _peaks
 * @property {Ring} _ring
 */

const SECONDS = 6; // that Play takes from t = T to 0
const LARGEST = 0.9; // beta
const LOGS = { min: -4, max: -0.046, step: 0.002 }; // of beta

// --- mathematics --------------------------------------------------------------------------------

/** q(x_1 | x_2 = xt), a mixture, for data at the peaks. Twin: Oracle.q_reverse.
 * @type {(peaks: Peaks, beta: number, xt: number) => Mixture}
 */
export function stepBack({ means, beta_1 }, beta, xt) {
  const keep = Math.sqrt(1 - beta);
  const before = beta_1; // the variance of each peak of q(x_1)
  const total = (1 - beta) * before + beta;
  const centers = means.map((m) => Math.sqrt(1 - beta_1) * m);
  const likely = centers.map((c) => gaussian(xt, keep * c, total));
  const all = sum(likely);
  return centers.map((c, k) => ({
    weight: likely[k] / all,
    mean: c + ((keep * before) / total) * (xt - keep * c),
    variance: (beta * before) / total,
  }));
}

/** The density of a mixture at x.
 * @type {(mixture: Mixture, x: number) => number}
 */
export function density(mixture, x) {
  return sum(mixture.map(({ weight, mean, variance }) => weight * gaussian(x, mean, variance)));
}

/** The mean and the variance of a mixture. Twin: ReverseStep.best_gaussian.
 * @type {(mixture: Mixture) => { mean: number, variance: number }}
 */
export function bestGaussian(mixture) {
  const mean = sum(mixture.map((part) => part.weight * part.mean));
  const variance = mixture.map((part) => part.weight * (part.variance + (part.mean - mean) ** 2));
  return { mean, variance: sum(variance) };
}

/** KL(mixture || its best Gaussian) in nats, on a grid. Twin: ReverseStep.kl.
 * @type {(mixture: Mixture) => number}
 */
export function klToBest(mixture) {
  const { mean, variance } = bestGaussian(mixture);
  const scale = Math.sqrt(variance);
  let kl = 0;
  for (const z of evenly(-8, 8, 801)) {
    const q = density(mixture, mean + scale * z) * scale;
    kl += q * (Math.log(Math.max(q, 1e-300)) + (z * z) / 2 + Math.log(2 * Math.PI) / 2) * 0.02;
  }
  return kl;
}

/** The paper's schedule in T steps. Twin: linear_schedule().rescaled(T).
 * @param {number} T
 */
export function scheduleOf(T) {
  return rescaled(paperSchedule(), T);
}

/** E[eps | x_t] at one point of the plane. Twin: Oracle.
 * @type {(ring: Ring, alphaBar: number, x: number, y: number) => [number, number]}
 */
export function oracleEps({ means, std }, alphaBar, x, y) {
  const signal = Math.sqrt(alphaBar);
  const variance = alphaBar * std * std + 1 - alphaBar;
  const off = means.map((m) => [x - signal * m[0], y - signal * m[1]]);
  const log = off.map(([dx, dy]) => -(dx * dx + dy * dy) / (2 * variance));
  const top = Math.max(...log);
  let [total, ex, ey] = [0, 0, 0];
  for (const [k, value] of log.entries()) {
    const r = Math.exp(value - top);
    total += r;
    ex += r * off[k][0];
    ey += r * off[k][1];
  }
  const factor = Math.sqrt(1 - alphaBar) / variance / total;
  return [factor * ex, factor * ey];
}

/** x_t of every point, x and y in turn, entry t. Twin: ReverseStep.swarm.
 * @type {(ring: Ring, T: number, seed: number) => Float64Array[]}
 */
export function swarm(ring, T, seed) {
  const { alphaBar, beta } = scheduleOf(T);
  const n = 2 * ring.points;
  const noise = normals(seed, n * (T + 1));
  const path = new Array(T + 1);
  path[T] = noise.slice(0, n);
  for (let t = T; t > 0; t--) {
    const xt = path[t];
    const [now, before, sigma2] = [alphaBar[t], alphaBar[t - 1], t > 1 ? beta[t] : 0];
    const eps = new Float64Array(n);
    for (let i = 0; i < n; i += 2) eps.set(oracleEps(ring, now, xt[i], xt[i + 1]), i);
    const z = noise.subarray(n * (T - t + 1));
    path[t - 1] = ddpmStep({ xt, x0: x0From(xt, eps, now), eps, now, before, sigma2, z });
  }
  return path;
}

/** The share of points within three standard deviations of a peak.
 * @type {(ring: Ring, points: ArrayLike<number>) => number}
 */
export function landed({ means, std }, points) {
  let near = 0;
  for (let i = 0; i < points.length; i += 2) {
    const close = means.some((m) => Math.hypot(points[i] - m[0], points[i + 1] - m[1]) < 3 * std);
    near += close ? 1 : 0;
  }
  return (2 * near) / points.length;
}

// --- one step -----------------------------------------------------------------------------------

/** The chart of one step and that of what a Gaussian costs; `step` and `prices` draw them, and
 * `step` returns its words.
 */
function stepCharts() {
  const back = chart({
    title: "value before the step",
    x: [-4, 4],
    y: [0, 1.05],
    xTicks: ticks([-3, 0, 3], () => ""),
    yTicks: ticks([0]),
  });
  const [gaussianCurve, truth] = [back.curve("second"), back.curve("truth")];
  const price = chart({
    title: "step size β",
    x: [-4, 0],
    y: [-8, 0],
    xTicks: powerTicks(-4, -3, -2, -1, 0),
    yTicks: powerTicks(-8, -6, -4, -2, 0),
  });
  const [priceCurve, priceDot] = [price.curve("price"), price.dot("dot")];
  /** @param {number} kl */
  const log = (kl) => Math.log10(Math.max(kl, 1e-12));
  /** @type {(peaks: Peaks, beta: number, xt: number) => string} */
  function step(peaks, beta, xt) {
    const mixture = stepBack(peaks, beta, xt);
    const { mean, variance } = bestGaussian(mixture);
    // Eight standard deviations wide and as high as the peak, so that shapes can be compared.
    const scale = Math.sqrt(variance);
    const xs = evenly(mean - 4 * scale, mean + 4 * scale, 401);
    const true_ = xs.map((x) => density(mixture, x));
    const best = xs.map((x) => gaussian(x, mean, variance));
    const top = Math.max(...true_, ...best);
    back.zoom(xs[0], xs[400]);
    truth(xs, (_, i) => true_[i] / top);
    gaussianCurve(xs, (_, i) => best[i] / top);
    const kl = klToBest(mixture);
    priceDot(Math.log10(beta), log(kl));
    const words = `A step of β = ${pretty(beta)} led to ${pretty(xt)}. Before it the pixel was ${pretty(mean)} ± ${pretty(scale)}; as a Gaussian that is wrong by ${pretty(kl)} nats.`;
    describe(back.svg, `The true density one step back and its best Gaussian. ${words}`);
    describe(
      price.svg,
      `The divergence against the step size, both logarithmic; now ${pretty(kl)} nats at ${pretty(beta)}.`,
    );
    return words;
  }
  /** @type {(peaks: Peaks, xt: number) => void} */
  function prices(peaks, xt) {
    priceCurve(evenly(LOGS.min, LOGS.max, 80), (v) => log(klToBest(stepBack(peaks, 10 ** v, xt))));
  }
  const row = box(
    "ddpm-panels",
    panel("One step back; dashed, best Gaussian", back.svg),
    panel("Cost of the Gaussian, KL in nats", price.svg),
  );
  return { row, step, prices };
}

// --- the swarm ----------------------------------------------------------------------------------

/** The plane with the data's rings and the chart of the step sizes; `walk` makes another path, and
 * `step` draws it at t and returns its words.
 * @param {Ring} ring
 */
function swarmCharts(ring) {
  const marks = ticks([-2, -1, 0, 1, 2]);
  const plane = chart({
    title: "first coordinate",
    x: [-2.2, 2.2],
    y: [-2.2, 2.2],
    xTicks: marks,
    yTicks: marks,
    height: 246,
  });
  const turn = evenly(0, 2 * Math.PI, 33);
  for (const [x, y] of ring.means) {
    const xs = turn.map((a) => x + 3 * ring.std * Math.cos(a));
    plane.curve("bell")(xs, (_, i) => y + 3 * ring.std * Math.sin(turn[i]));
  }
  const points = plane.dots("points");
  const sizes = chart({
    ...alongT(),
    y: [-4, 0],
    yTicks: powerTicks(-4, -3, -2, -1, 0),
    height: 246,
  });
  const [sizesCurve, sizesDot] = [sizes.curve("sizes"), sizes.dot("dot")];
  /** @type {Float64Array[]} */
  let path;
  /** @type {Float64Array} */
  let beta;
  /** @type {(T: number, seed: number) => void} */
  function walk(T, seed) {
    path = swarm(ring, T, seed);
    beta = scheduleOf(T).beta;
    sizes.stretch(T);
    sizesCurve(evenly(1, T, T), (t) => Math.log10(beta[t]));
  }
  /** @type {(t: number) => string} */
  function step(t) {
    const [x, size] = [path[t], beta[Math.max(1, t)]];
    points(
      x.filter((_, i) => i % 2 === 0),
      x.filter((_, i) => i % 2 === 1),
    );
    sizesDot(t, Math.log10(size));
    const share = `${Math.round(100 * landed(ring, x))} % of the points lie in a ring`;
    const words = `At step ${t} of ${path.length - 1}, ${share}.`;
    describe(plane.svg, `${ring.points} points of the plane. ${words}`);
    describe(
      sizes.svg,
      `The step sizes against t, logarithmic; ${pretty(size)} at step ${Math.max(1, t)}.`,
    );
    return words;
  }
  const row = box(
    "ddpm-panels",
    panel("The swarm; rings, the data", plane.svg),
    panel("Its step sizes <i>β<sub>t</sub></i>", sizes.svg),
  );
  return { row, walk, step };
}

// --- the widget ---------------------------------------------------------------------------------

/** @param {Model<Traits>} model */
function newControls(model) {
  const sizes = {
    ...LOGS,
    show: pretty,
    at: Math.log10,
    value: (/** @type {number} */ v) => Math.min(LARGEST, 10 ** v),
  };
  const seen = { min: -1.5, max: 1.5, step: 0.05, show: pretty };
  return {
    beta: slider("Size <i>β</i>", "beta", sizes),
    xt: slider("Seen <i>x<sub>t</sub></i>", "xt", seen),
    t: slider("Step <i>t</i>", "t", { min: 0, max: model.get("T") }),
    T: slider("Steps <i>T</i>", "T", { min: 2, max: 200 }),
  };
}

/** @param {Place<Traits>} place */
function render({ model, el: root }) {
  root.classList.add("ddpm-widget");
  const controls = newControls(model);
  const { beta, xt, t, T } = controls;
  const play = playTrait(model, "t", () => [model.get("T"), 0], SECONDS);
  const peaks = model.get("_peaks");
  const [one, many] = [stepCharts(), swarmCharts(model.get("_ring"))];
  root.append(
    box("ddpm-sliders", beta.row, xt.row),
    one.row,
    box("ddpm-bar", play.button, noiseButton(model)),
    box("ddpm-sliders", t.row, T.row),
    many.row,
  );
  const say = wording(root);
  const words = ["", ""];

  function walk() {
    many.walk(model.get("T"), model.get("seed"));
    t.input.max = String(model.get("T"));
    t.set(Math.min(model.get("t"), model.get("T")));
  }
  function drawStep() {
    words[0] = one.step(peaks, model.get("beta"), model.get("xt"));
    say(words.join(" "));
  }
  function drawSwarm() {
    words[1] = many.step(Math.min(model.get("t"), model.get("T")));
    say(words.join(" "));
  }

  bind(model, controls);
  takeTimeAlong(model);
  follow(
    model,
    [["xt"], () => one.prices(peaks, model.get("xt"))],
    [["beta", "xt"], drawStep],
    [["T", "seed"], walk],
    [["t", "T", "seed"], drawSwarm],
  );
  return play.stop;
}

export default { render };
