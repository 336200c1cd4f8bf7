// Inside a U-Net: a recording to scrub over t, of attention in the middle and of feature maps.

import { bytesOf, unpack } from "../javascript/bytes.js";
import { newCanvas, paint } from "../javascript/canvas.js";
import { chart, ticks } from "../javascript/chart.js";
import { choice, playTrait, slider } from "../javascript/controls.js";
import { box, describe, el, panel, pretty, wording } from "../javascript/elements.js";
import { bind, follow, save } from "../javascript/model.js";
import { clamp, sum } from "../javascript/numbers.js";

/** @import { Model, Place } from "../javascript/model.js" */

/** @typedef {[name: string, channels: number, height: number, width: number]} Layer */

/**
 * @typedef {object} Traits
 * @property {number} stop
 * @property {number} query
 * @property {number} picture
 * @property {number} layer
 * @property {number[]} _times
 * @property {string[]} _names
 * @property {[height: number, width: number]} _size
 * @property {[rows: number, columns: number]} _grid
 * @property {[number, number]} _limits
 * @property {Layer[]} _layers
 * @property {DataView} _pictures
 * @property {DataView} _attention
 * @property {DataView} _features
 */

const SECONDS = 8; // that Play takes from t = 1 to T

/** Over how many places weights are spread. Twin: ddpm_lite.widgets.inside.spread.
 * @type {(weights: Float64Array) => number}
 */
export function spread(weights) {
  const total = sum(weights);
  const entropy = weights.reduce((left, weight) => {
    const share = weight / total;
    return weight > 0 ? left - share * Math.log(share) : left;
  }, 0);
  return Math.exp(entropy);
}

/** x_t, eps_hat, attention [N][N] and maps [channel], of a picture at a stop. Twin:
 * InsideUNet.inside.
 * @type {(model: Model<Traits>, picture: number, stop: number, layer: number) =>
 *   { xt: Float64Array, eps: Float64Array, looks: Float64Array[], maps: Float64Array[] }}
 */
export function frame(model, picture, stop, layer) {
  const count = model.get("_names").length * model.get("_times").length;
  const place = picture * model.get("_times").length + stop;
  const [height, width] = model.get("_size");
  const pictures = bytesOf(model.get("_pictures"));
  const [xt, eps] = model.get("_limits").map((limit, part) => {
    const start = (part * count + place) * height * width;
    return unpack(pictures.subarray(start, start + height * width), limit);
  });
  const [rows, columns] = model.get("_grid");
  const cells = rows * columns;
  const attention = bytesOf(model.get("_attention"));
  const looks = Array.from({ length: cells }, (_, cell) => {
    const start = (place * cells + cell) * cells;
    return Float64Array.from(attention.subarray(start, start + cells), (v) => v / 255);
  });
  const sizes = model.get("_layers").map(([, maps, h, w]) => maps * h * w);
  const before = sum(sizes.slice(0, layer)) * count;
  const [, channels, h, w] = model.get("_layers")[layer];
  const features = bytesOf(model.get("_features"));
  const maps = Array.from({ length: channels }, (_, c) => {
    const start = before + place * sizes[layer] + c * h * w;
    return unpack(features.subarray(start, start + h * w), 1);
  });
  return { xt, eps, looks, maps };
}

/** A canvas with a mark to move over the cells of a grid; a click chooses a cell.
 * @type {(grid: [rows: number, columns: number], choose: (cell: number) => void) =>
 *   { canvas: HTMLCanvasElement, frame: HTMLElement, move: (cell: number) => void }}
 */
function marked([rows, columns], choose) {
  const canvas = newCanvas();
  const mark = box("ddpm-mark");
  const frame = box("ddpm-marked", canvas, mark);
  mark.style.width = `${100 / columns}%`;
  mark.style.height = `${100 / rows}%`;
  frame.addEventListener("click", (event) => {
    const area = frame.getBoundingClientRect();
    /** @type {(share: number, count: number) => number} */
    const at = (share, count) => clamp(Math.floor(share * count), 0, count - 1);
    const row = at((event.clientY - area.top) / area.height, rows);
    choose(row * columns + at((event.clientX - area.left) / area.width, columns));
  });
  return {
    canvas,
    frame,
    move(cell) {
      mark.style.left = `${(100 * (cell % columns)) / columns}%`;
      mark.style.top = `${(100 * Math.floor(cell / columns)) / rows}%`;
    },
  };
}

/** @param {Model<Traits>} model */
function newControls(model) {
  const times = model.get("_times");
  const [last, T] = [times.length - 1, times[times.length - 1]];
  const cells = model.get("_grid")[0] * model.get("_grid")[1];
  const ofTime = (/** @type {number} */ i) => `${times[i]} of ${T}`;
  const ofCell = (/** @type {number} */ i) => `${i + 1} of ${cells}`;
  return {
    stop: slider("Step <i>t</i>", "stop", { min: 0, max: last, show: ofTime }),
    query: slider("Cell", "query", { min: 0, max: cells - 1, show: ofCell }),
    picture: choice(
      "Picture",
      "picture",
      model.get("_names").map((name, i) => [i, name]),
    ),
    layer: choice(
      "Layer",
      "layer",
      model.get("_layers").map(([name], i) => [i, name]),
    ),
  };
}

/** @param {Model<Traits>} model */
function newPanels(model) {
  const [seen, looks] = [1, 2].map(() =>
    marked(model.get("_grid"), (cell) => save(model, "query", cell)),
  );
  const noise = newCanvas();
  const times = model.get("_times");
  const T = times[times.length - 1];
  const cells = model.get("_grid")[0] * model.get("_grid")[1];
  const far = chart({
    title: "step t",
    x: [0, T],
    y: [0, cells],
    xTicks: ticks([0, T / 2, T]),
    yTicks: ticks([0, cells / 2, cells]),
  });
  const most = Math.max(...model.get("_layers").map(([, channels]) => channels));
  const maps = Array.from({ length: most }, newCanvas);
  const row = box(
    "ddpm-panels",
    panel("The input <i>x<sub>t</sub></i>, and the cell that looks", seen.frame),
    panel("Where it looks: white is most", looks.frame),
    panel("Over how many cells it looks; dashed, the mean of all", far.svg),
    panel("The noise <i>ε̂</i> that the network names", noise),
  );
  const strip = box("ddpm-panels ddpm-strip ddpm-maps", ...maps);
  return { row, strip, seen, looks, noise, far, maps };
}

/** Paint the maps of a layer, each on its canvas, and hide the canvases that it leaves over.
 * @type {(canvases: HTMLCanvasElement[], maps: Float64Array[], layer: Layer) => void}
 */
function paintMaps(canvases, maps, [name, , height, width]) {
  for (const [c, canvas] of canvases.entries()) {
    canvas.hidden = c >= maps.length;
    if (canvas.hidden) continue;
    paint(canvas, maps[c], { height, width, channels: 1 });
    describe(canvas, `Channel ${c + 1} of the ${maps.length} shown of: ${name}.`);
  }
}

/** @param {Place<Traits>} place */
function render({ model, el: root }) {
  root.classList.add("ddpm-widget");
  const times = model.get("_times");
  const T = times[times.length - 1];
  const [height, width] = model.get("_size");
  const [rows, columns] = model.get("_grid");
  const controls = newControls(model);
  const play = playTrait(model, "stop", () => [0, times.length - 1], SECONDS);
  const { row, strip, seen, looks, noise, far, maps } = newPanels(model);
  const [ofCell, ofAll, dot] = [far.curve("cell"), far.curve("second"), far.dot("dot")];
  const above = el("p", { className: "ddpm-words" });
  root.append(
    box("ddpm-bar", play.button, controls.picture.row, controls.layer.row),
    box("ddpm-sliders", controls.stop.row, controls.query.row),
    row,
    above,
    strip,
  );
  const say = wording(root);

  /** @param {number} stop */
  const at = (stop) => frame(model, model.get("picture"), stop, model.get("layer"));
  /** @param {number} cell */
  const name = (cell) => `row ${Math.floor(cell / columns) + 1}, column ${(cell % columns) + 1}`;
  function newCurve() {
    const over = times.map((_, i) => at(i).looks.map(spread));
    ofCell(times, (_, i) => over[i][model.get("query")]);
    ofAll(times, (_, i) => sum(over[i]) / over[i].length);
  }
  function draw() {
    const [cell, t] = [model.get("query"), times[model.get("stop")]];
    const now = at(model.get("stop"));
    const weights = now.looks[cell];
    const most = Math.max(...weights);
    const [count, cells] = [spread(weights), weights.length];
    for (const one of [seen, looks]) one.move(cell);
    paint(seen.canvas, now.xt, { height, width, channels: 1 });
    paint(
      noise,
      now.eps.map((v) => v / 2),
      { height, width, channels: 1 },
    );
    const relative = weights.map((w) => (2 * w) / most - 1);
    paint(looks.canvas, relative, { height: rows, width: columns, channels: 1 });
    dot(t, count);
    const layer = model.get("_layers")[model.get("layer")];
    paintMaps(maps, now.maps, layer);
    above.textContent = `${now.maps.length} channels of the layer “${layer[0]}”, each on its own scale:`;
    const words = `At step ${t} of ${T}, the cell in ${name(cell)} looks most at ${name(weights.indexOf(most))}, with ${pretty(most)} of its weight, and over ${count.toFixed(1)} of ${cells} cells in all.`;
    say(words);
    const picture = model.get("_names")[model.get("picture")];
    describe(seen.canvas, `Picture ${picture} at step ${t}; the cell in ${name(cell)} is marked.`);
    describe(looks.canvas, `The attention of that cell. ${words}`);
    describe(noise, `The noise that the network names at step ${t}.`);
    describe(
      far.svg,
      `Over how many of ${cells} cells the cell looks, against t; at step ${t} over ${count.toFixed(1)}.`,
    );
  }

  bind(model, controls);
  follow(model, [["picture", "query"], newCurve], [["stop", "layer", "picture", "query"], draw]);
  return play.stop;
}

export default { render };
