// One question of the loss: the noisy input, what should be said about it, and the best answer.

import { bytesOf } from "../javascript/bytes.js";
import { newCanvas, paint } from "../javascript/canvas.js";
import { alongT, chart, powerTicks } from "../javascript/chart.js";
import { choice, noiseButton, slider } from "../javascript/controls.js";
import { box, describe, el, panel, pretty, wording } from "../javascript/elements.js";
import { epsFrom, normals, paperSchedule, qSample } from "../javascript/mathematics.js";
import { bind, follow } from "../javascript/model.js";
import { sum } from "../javascript/numbers.js";

/** @import { Schedule } from "../javascript/mathematics.js" */
/** @import { Model, Place } from "../javascript/model.js" */

/** @typedef {"eps" | "x0" | "v"} Objective */
/** @typedef {"variational" | "simple"} Weighting */

/**
 * @typedef {object} Traits
 * @property {number} t
 * @property {string} picture
 * @property {Objective} objective
 * @property {number} seed
 * @property {string[]} _names
 * @property {[height: number, width: number]} _size
 * @property {DataView} _pixels
 */

const T = 1000;
const SCALE = { eps: 2, x0: 1, v: 2 }; // what is painted white; its negative is black
const SYMBOL = { eps: "<i>ε</i>", x0: "<i>x</i><sub>0</sub>", v: "<i>v</i>" };
const NAMED = { eps: "the noise ε", x0: "the image", v: "v, between noise and image" };
const SHOWN = [1, ...Array.from({ length: 50 }, (_, i) => 20 * (i + 1))]; // steps of the error's curve

/** E[eps | x_t] and E[x_0 | x_t] where x_0 is any of a finite set, all alike. Twin: Oracle.
 * @type {(xt: Float64Array, images: Float64Array[], alphaBar: number) =>
 *   { x0: Float64Array, eps: Float64Array }}
 */
export function bestGuess(xt, images, alphaBar) {
  const signal = Math.sqrt(alphaBar);
  const logs = images.map((x) => {
    let distance = 0;
    for (let i = 0; i < x.length; i++) distance += (xt[i] - signal * x[i]) ** 2;
    return -distance / (2 * (1 - alphaBar));
  });
  const largest = Math.max(...logs);
  const shares = logs.map((log) => Math.exp(log - largest));
  const total = sum(shares);
  const x0 = new Float64Array(xt.length);
  for (const [k, x] of images.entries()) {
    for (let i = 0; i < x.length; i++) x0[i] += (shares[k] / total) * x[i];
  }
  return { x0, eps: epsFrom(xt, x0, alphaBar) };
}

/** What a network with this objective should say. Twin: GaussianDiffusion.target.
 * @type {(objective: Objective, x0: Float64Array, eps: Float64Array, alphaBar: number) =>
 *   Float64Array}
 */
export function target(objective, x0, eps, alphaBar) {
  if (objective === "eps") return eps;
  if (objective === "x0") return x0;
  const [signal, noise] = [Math.sqrt(alphaBar), Math.sqrt(1 - alphaBar)];
  return eps.map((value, i) => signal * value - noise * x0[i]);
}

/** The factor of L, or of L_simple, on the squared error at t; sigma^2 is beta.
 * Twin: GaussianDiffusion.loss_weight.
 * @type {(kind: Weighting, objective: Objective, s: Schedule, t: number) => number}
 */
export function lossWeight(kind, objective, { beta, alphaBar }, t) {
  const noise = 1 - alphaBar[t];
  const onEps = kind === "simple" ? 1 : beta[t] / (2 * (1 - beta[t]) * noise);
  return onEps * { eps: 1, x0: alphaBar[t] / noise, v: alphaBar[t] }[objective];
}

/** @type {(a: Float64Array, b: Float64Array) => number} */
export function meanSquare(a, b) {
  return a.reduce((total, value, i) => total + (value - b[i]) ** 2, 0) / a.length;
}

/** The pictures to choose from, by name, and the finite set, as arrays in [-1, 1].
 * @type {(model: Model<Traits>) =>
 *   { pictures: Record<string, Float64Array>, images: Float64Array[] }}
 */
export function unpackDigits(model) {
  const bytes = bytesOf(model.get("_pixels"));
  const n = model.get("_size")[0] * model.get("_size")[1];
  const every = Array.from({ length: bytes.length / n }, (_, k) =>
    Float64Array.from(bytes.subarray(k * n, (k + 1) * n), (v) => v / 8 - 1),
  );
  const names = model.get("_names");
  return {
    pictures: Object.fromEntries(names.map((name, k) => [name, every[k]])),
    images: every.slice(names.length),
  };
}

/** @param {string[]} names of the pictures */
function newControls(names) {
  return {
    t: slider("Step <i>t</i>", "t", { min: 1, max: T }),
    picture: choice(
      "Picture",
      "picture",
      names.map((name) => [name, name]),
    ),
    objective: choice("Target", "objective", [
      ["eps", "the noise ε"],
      ["x0", "the image x₀"],
      ["v", "v"],
    ]),
  };
}

function newPanels() {
  const canvases = [newCanvas(), newCanvas(), newCanvas(), newCanvas()];
  const wanted = el("figcaption");
  const powers = powerTicks(-4, -2, 0, 2, 4);
  const weights = chart({ ...alongT(), y: [-4, 4], yTicks: powers });
  const errors = chart({ ...alongT(), y: [-4, 4], yTicks: powers });
  for (const one of [weights, errors]) one.stretch(T);
  const strip = box(
    "ddpm-panels ddpm-strip",
    panel("The input <i>x<sub>t</sub></i>", canvases[0]),
    el("figure", {}, wanted, canvases[1]),
    panel("The prediction", canvases[2]),
    panel("Its error", canvases[3]),
  );
  const row = box(
    "ddpm-panels",
    panel("Weight of the error: in <i>L</i>; dashed, in <i>L</i><sub>simple</sub>", weights.svg),
    panel("Squared error; dashed, times its weight in <i>L</i>", errors.svg),
  );
  return { strip, row, canvases, wanted, weights, errors };
}

/** @param {number} value */
const log = (value) => Math.log10(Math.max(value, 1e-9));

/** @param {Place<Traits>} place */
function render({ model, el: root }) {
  root.classList.add("ddpm-widget");
  const { pictures, images } = unpackDigits(model);
  const [height, width] = model.get("_size");
  const s = paperSchedule();
  const controls = newControls(Object.keys(pictures));
  const { t, picture, objective } = controls;
  t.row.style.gridColumn = "1 / -1";
  const { strip, row, canvases, wanted, weights, errors } = newPanels();
  const [ofL, ofSimple] = [weights.curve("of-l"), weights.curve("second")];
  const weightDot = weights.dot("dot");
  const [errorCurve, termCurve] = [errors.curve("error"), errors.curve("second")];
  const errorDot = errors.dot("dot");
  root.append(
    box("ddpm-bar", picture.row, objective.row, noiseButton(model)),
    box("ddpm-sliders", t.row),
    strip,
    row,
  );
  const say = wording(root);

  /** @type {Float64Array} */
  let x0;
  /** @type {Float64Array} */
  let eps;
  /** @param {number} now */
  function ask(now) {
    const alphaBar = s.alphaBar[now];
    const xt = qSample(x0, eps, alphaBar);
    const [should, says] = [{ x0, eps }, bestGuess(xt, images, alphaBar)].map((one) =>
      target(model.get("objective"), one.x0, one.eps, alphaBar),
    );
    return { xt, should, says, error: meanSquare(says, should) };
  }
  /** @type {(kind: Weighting, now: number) => number} */
  const weight = (kind, now) => lossWeight(kind, model.get("objective"), s, now);
  function newQuestion() {
    x0 = pictures[model.get("picture")];
    eps = normals(model.get("seed"), x0.length);
    const steps = Array.from({ length: T }, (_, i) => i + 1);
    ofL(steps, (now) => log(weight("variational", now)));
    ofSimple(steps, (now) => log(weight("simple", now)));
    const found = SHOWN.map((now) => ask(now).error);
    errorCurve(SHOWN, found.map(log));
    termCurve(SHOWN, (now, i) => log(found[i] * weight("variational", now)));
    wanted.innerHTML = `The target, ${SYMBOL[model.get("objective")]}`;
  }
  function draw() {
    const [now, asked] = [model.get("t"), model.get("objective")];
    const { xt, should, says, error } = ask(now);
    /** @param {Float64Array} x */
    const scaled = (x) => x.map((v) => v / SCALE[asked]);
    const wrong = says.map((v, i) => v - should[i]);
    const shown = [xt, scaled(should), scaled(says), scaled(wrong)];
    const names = ["The input", "The target", "The prediction", "Its error"];
    for (const [i, canvas] of canvases.entries()) {
      paint(canvas, shown[i], { height, width, channels: 1 });
      describe(canvas, `${names[i]} at step ${now}, for ${model.get("picture")}.`);
    }
    weightDot(now, log(weight("variational", now)));
    errorDot(now, log(error));
    const [full, simple] = [weight("variational", now), weight("simple", now)].map(pretty);
    const [signal, noise] = [s.alphaBar[now], 1 - s.alphaBar[now]].map((v) => pretty(Math.sqrt(v)));
    const off = error < 1e-6 ? "practically 0" : pretty(error);
    say(
      `At step ${now} the input is ${signal} × image + ${noise} × noise, and the answer should be ${NAMED[asked]}. Squared error ${off}; its weight is ${full} in L and ${simple} in L_simple.`,
    );
    describe(
      weights.svg,
      `Weights against t, logarithmic; at step ${now}, ${full} in L and ${simple} in L_simple.`,
    );
    describe(
      errors.svg,
      `Squared error of the prediction against t, logarithmic; at step ${now}, ${off}.`,
    );
  }

  bind(model, controls);
  follow(
    model,
    [["seed", "picture", "objective"], newQuestion],
    [["t", "seed", "picture", "objective"], draw],
  );
}

export default { render };
