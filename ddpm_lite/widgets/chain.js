// The reverse chain: a recording to scrub, as x_t, the guess at x_0 and the noise in x_t.

import { bytesOf, unpack } from "../javascript/bytes.js";
import { newCanvas, paint } from "../javascript/canvas.js";
import { chart, ticks } from "../javascript/chart.js";
import { choice, playTrait, slider } from "../javascript/controls.js";
import { box, describe, panel, pretty, wording } from "../javascript/elements.js";
import { bind, follow } from "../javascript/model.js";

/** @import { Chart } from "../javascript/chart.js" */
/** @import { Model, Place } from "../javascript/model.js" */

/**
 * @typedef {object} Traits
 * @property {number} stop
 * @property {number} chain
 * @property {number[]} _times
 * @property {number[]} _alpha_bar
 * @property {DataView} _frames
 * @property {[stops: number, chains: number, height: number, width: number, channels: number]} _shape
 * @property {[number, number, number]} _limits
 */

const SECONDS = 8; // that Play takes from T to 0

/** The root mean square by which each image is off the end. Twin: ddpm_lite.widgets.chain.from_end.
 * @type {(images: Float64Array[], end: Float64Array) => number[]}
 */
export function fromEnd(images, end) {
  return images.map((x) => {
    const square = x.reduce((sum, v, i) => sum + (v - end[i]) ** 2, 0);
    return Math.sqrt(square / end.length);
  });
}

/** x_t, x0_hat and eps_hat of one chain: for each, an array with an image per stop.
 * @type {(model: Model<Traits>, chain: number) => Float64Array[][]}
 */
export function frames(model, chain) {
  const bytes = bytesOf(model.get("_frames"));
  const [stops, chains, height, width, channels] = model.get("_shape");
  const n = height * width * channels;
  return model.get("_limits").map((limit, part) =>
    Array.from({ length: stops }, (_, stop) => {
      const start = ((part * stops + stop) * chains + chain) * n;
      return unpack(bytes.subarray(start, start + n), limit);
    }),
  );
}

/** @param {Model<Traits>} model */
function newControls(model) {
  const times = model.get("_times");
  const [stops, chains] = model.get("_shape");
  const show = (/** @type {number} */ i) => `${times[i]} of ${times[0]}`;
  return {
    stop: slider("Step <i>t</i>", "stop", { min: 0, max: stops - 1, show }),
    chain: choice(
      "Chain",
      "chain",
      Array.from({ length: chains }, (_, i) => [i, String(i + 1)]),
    ),
  };
}

/** What is drawn on: three canvases, and a chart up to `top`.
 * @type {(T: number, top: number) => { row: HTMLElement, canvases: HTMLCanvasElement[], off: Chart }}
 */
function newPanels(T, top) {
  const canvases = [newCanvas(), newCanvas(), newCanvas()];
  const off = chart({
    title: "step t",
    x: [T, 0],
    y: [0, top],
    xTicks: ticks([T, T / 2, 0]),
    yTicks: ticks([0, top / 2, top]),
  });
  const row = box(
    "ddpm-panels",
    panel("The picture <i>x<sub>t</sub></i>", canvases[0]),
    panel("The guess <i>x̂</i><sub>0</sub>", canvases[1]),
    panel("The noise <i>ε̂</i> that the network sees in <i>x<sub>t</sub></i>", canvases[2]),
    panel("How far from the end: <i>x<sub>t</sub></i>, and dashed <i>x̂</i><sub>0</sub>", off.svg),
  );
  return { row, canvases, off };
}

/** @param {Place<Traits>} place */
function render({ model, el: root }) {
  root.classList.add("ddpm-widget");
  const [times, alphaBar] = [model.get("_times"), model.get("_alpha_bar")];
  const [stops, chains, height, width, channels] = model.get("_shape");
  const all = Array.from({ length: chains }, (_, i) => frames(model, i));
  const distances = all.map(([xt, guesses]) => [xt, guesses].map((x) => fromEnd(x, xt[stops - 1])));
  const top = Math.ceil(2 * Math.max(...distances.flat(2))) / 2;
  const controls = newControls(model);
  const play = playTrait(model, "stop", () => [0, stops - 1], SECONDS);
  const { row, canvases, off } = newPanels(times[0], top);
  const [ofState, ofGuess, dot] = [off.curve("state"), off.curve("second"), off.dot("dot")];
  root.append(
    box("ddpm-bar", play.button, controls.chain.row),
    box("ddpm-sliders", controls.stop.row),
    row,
  );
  const say = wording(root);

  function newChain() {
    const [xt, guesses] = distances[model.get("chain")];
    ofState(times, xt);
    ofGuess(times, guesses);
  }
  function draw() {
    const [i, which] = [model.get("stop"), model.get("chain")];
    for (const [part, canvas] of canvases.entries()) {
      paint(canvas, all[which][part][i], { height, width, channels });
    }
    const [away, far] = distances[which].map((distance) => distance[i]);
    dot(times[i], far);
    const [signal, rest] = [Math.sqrt(alphaBar[i]), Math.sqrt(1 - alphaBar[i])].map(pretty);
    const [t, T] = [times[i], times[0]];
    const text =
      t > 0
        ? `At step ${t} of ${T} the picture is ${signal} × guess + ${rest} × noise; the guess is ${pretty(far)} per pixel away from the end of its chain.`
        : `Step 0 of ${T}: the sample. Nothing is left to guess or to take out.`;
    say(text);
    describe(canvases[0], `x_t of chain ${which + 1}. ${text}`);
    describe(canvases[1], `The guess at x_0 at step ${t}.`);
    describe(canvases[2], `The noise that the network sees at step ${t}.`);
    describe(
      off.svg,
      `Distance from the end of the chain against t; at step ${t} the picture is ${pretty(away)} away and the guess ${pretty(far)}.`,
    );
  }

  bind(model, controls);
  follow(model, [["chain"], newChain], [["stop", "chain"], draw]);
  return play.stop;
}

export default { render };
