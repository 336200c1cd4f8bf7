// The forward process: one image, its histogram, and where on the curves of the schedule it is.

import { bytesOf } from "../javascript/bytes.js";
import { newCanvas, paint } from "../javascript/canvas.js";
import { alongT, chart, powerTicks, ticks } from "../javascript/chart.js";
import { choice, noiseButton, playTrait, powerSlider, slider } from "../javascript/controls.js";
import { box, describe, panel, pretty, wording } from "../javascript/elements.js";
import { gaussian, normals, qSample, schedule } from "../javascript/mathematics.js";
import { bind, follow, takeTimeAlong } from "../javascript/model.js";
import { clamp, evenly } from "../javascript/numbers.js";

/** @import { Size } from "../javascript/canvas.js" */
/** @import { Model, Place } from "../javascript/model.js" */

/**
 * @typedef {object} Traits
 * @property {number} t
 * @property {number} T
 * @property {number} beta_start
 * @property {number} beta_end
 * @property {"linear" | "cosine"} kind
 * @property {number} seed
 * @property {string} picture
 * @property {(Size & { name: string, levels: number })[]} _pictures
 * @property {DataView} _pixels
 */

const BINS = 64;
const SECONDS = 6; // that Play takes from t = 0 to T

/** The pictures a widget carries, by name, in [-1, 1].
 * @type {(model: Model<Traits>) => Record<string, Size & { x0: Float64Array }>}
 */
export function unpackPictures(model) {
  const bytes = bytesOf(model.get("_pixels"));
  let start = 0;
  return Object.fromEntries(
    model.get("_pictures").map(({ name, levels, ...size }) => {
      const end = start + size.height * size.width * size.channels;
      const x0 = Float64Array.from(bytes.subarray(start, end), (v) => (2 * v) / (levels - 1) - 1);
      start = end;
      return [name, { x0, ...size }];
    }),
  );
}

/** The outline of a histogram over -4..4 whose area is one; what lies outside is in the last bins.
 * @type {(x: Float64Array) => [xs: number[], ys: number[]]}
 */
function histogram(x) {
  const counts = new Float64Array(BINS);
  for (const v of x) counts[clamp(Math.floor((v + 4) * (BINS / 8)), 0, BINS - 1)]++;
  const heights = Array.from(counts, (n) => (n / x.length) * (BINS / 8));
  const outline = heights.flatMap((v) => [v, v]);
  return [outline.map((_, i) => -4 + Math.ceil(i / 2) * (8 / BINS)), outline];
}

/**
 * @param {Model<Traits>} model
 * @param {string[]} names of the pictures
 */
function newControls(model, names) {
  return {
    t: slider("Step <i>t</i>", "t", { min: 0, max: model.get("T") }),
    T: slider("Steps <i>T</i>", "T", { min: 1, max: 1000 }),
    beta_start: powerSlider("First <i>β</i><sub>1</sub>", "beta_start", { min: -5, max: -0.01 }),
    beta_end: powerSlider("Last <i>β</i><sub><i>T</i></sub>", "beta_end", { min: -5, max: -0.01 }),
    picture: choice(
      "Picture",
      "picture",
      names.map((name) => [name, name]),
    ),
    kind: choice("Schedule", "kind", [
      ["linear", "linear"],
      ["cosine", "cosine"],
    ]),
  };
}

/** What is drawn on: the canvas of x_t and three charts. */
function newPanels() {
  const canvas = newCanvas();
  const half = ticks([0, 0.5, 1]);
  const xTicks = ticks([-4, -2, 0, 2, 4]);
  const pixels = chart({ title: "pixel value", x: [-4, 4], y: [0, 1], xTicks, yTicks: half });
  pixels.curve("bell")(evenly(-4, 4, 81), (v) => gaussian(v));
  const kept = chart({ ...alongT(), y: [0, 1], yTicks: half });
  const ratio = chart({ ...alongT(), y: [-5, 5], yTicks: powerTicks(-4, -2, 0, 2, 4) });
  const row = box(
    "ddpm-panels",
    panel("The picture <i>x<sub>t</sub></i>", canvas),
    panel("Its pixels, and <i>N</i>(0, 1) dashed", pixels.svg),
    panel("<i>ᾱ<sub>t</sub></i>, the variance kept", kept.svg),
    panel("Signal to noise, <i>ᾱ<sub>t</sub></i> / (1 − <i>ᾱ<sub>t</sub></i>)", ratio.svg),
  );
  return { row, canvas, pixels, kept, ratio };
}

/** @param {Place<Traits>} place */
function render({ model, el: root }) {
  root.classList.add("ddpm-widget");
  const pictures = unpackPictures(model);
  const controls = newControls(model, Object.keys(pictures));
  const { t, T, beta_start, beta_end, picture, kind } = controls;
  const play = playTrait(model, "t", () => [0, model.get("T")], SECONDS);
  const { row, canvas, pixels, kept, ratio } = newPanels();
  const bars = pixels.curve("bars");
  const [keptCurve, keptDot] = [kept.curve("kept"), kept.dot("dot")];
  const [ratioCurve, ratioDot] = [ratio.curve("ratio"), ratio.dot("dot")];
  root.append(
    box("ddpm-bar", play.button, picture.row, kind.row, noiseButton(model)),
    box("ddpm-sliders", t.row, T.row, beta_start.row, beta_end.row),
    row,
  );
  const say = wording(root);

  /** @type {Float64Array} */
  let alphaBar; // of the schedule in force
  /** @type {Float64Array} */
  let eps;
  function newSchedule() {
    const end = model.get("T");
    const [first, last] = [model.get("beta_start"), model.get("beta_end")];
    alphaBar = schedule(model.get("kind"), end, first, last).alphaBar;
    t.input.max = String(end);
    t.set(Math.min(model.get("t"), end));
    for (const { input } of [beta_start, beta_end]) input.disabled = model.get("kind") === "cosine";
    const steps = Array.from(alphaBar.keys());
    kept.stretch(end);
    keptCurve(steps, alphaBar);
    ratio.stretch(end);
    ratioCurve(steps, (i) => Math.log10(alphaBar[i] / (1 - alphaBar[i])));
  }
  function newNoise() {
    eps = normals(model.get("seed"), pictures[model.get("picture")].x0.length);
  }
  function draw() {
    const now = Math.min(model.get("t"), model.get("T"));
    const { x0, ...size } = pictures[model.get("picture")];
    const left = alphaBar[now];
    const xt = qSample(x0, eps, left);
    const snr = left / (1 - left);
    paint(canvas, xt, size);
    bars(...histogram(xt));
    keptDot(now, left);
    ratioDot(now, Math.log10(snr));
    const [signal, noise] = [Math.sqrt(left), Math.sqrt(1 - left)].map(pretty);
    const text = `At step ${now} of ${model.get("T")} the picture is ${signal} × image + ${noise} × noise; signal to noise ${pretty(snr)}.`;
    say(text);
    describe(canvas, `The ${model.get("picture")}. ${text}`);
    describe(
      pixels.svg,
      `Histogram of the pixel values at step ${now}, against the standard normal density.`,
    );
    describe(kept.svg, `Alpha-bar against t; now ${pretty(left)} at step ${now}.`);
    describe(
      ratio.svg,
      `Signal-to-noise ratio against t, logarithmic; now ${pretty(snr)} at step ${now}.`,
    );
  }

  bind(model, controls);
  takeTimeAlong(model);
  follow(
    model,
    [["T", "beta_start", "beta_end", "kind"], newSchedule],
    [["seed", "picture"], newNoise],
    [["t", "T", "beta_start", "beta_end", "kind", "seed", "picture"], draw],
  );
  return play.stop;
}

export default { render };
