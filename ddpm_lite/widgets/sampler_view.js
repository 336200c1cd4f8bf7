// What the sampler shows of a run.

import { newCanvas, paint } from "../javascript/canvas.js";
import { button, choice, noiseButton, slider } from "../javascript/controls.js";
import { box, describe, el, panel, pretty, wording } from "../javascript/elements.js";
import { RunningView } from "../javascript/running.js";
import { linesOf, newControls, x } from "./sampler_controls.js";
import { Pad } from "./sampler_pad.js";

/** @import { Model } from "../javascript/model.js" */
/** @import { Controls, Traits } from "./sampler_controls.js" */
/** @import { Run } from "./sampler_run.js" */

/** @typedef {[count: number, channels: number, height: number, width: number]} Shape */

/** What is shown of a chain, and by which controls it is set.
 * @typedef {object} Kind
 * @property {(model: Model<Traits>) => Controls} controls
 * @property {(keyof Controls)[]} choices
 * @property {(keyof Controls)[]} sliders
 * @property {[name: string, caption: string][]} panels each picture for those who do not see it, and
 *   for those who do, HTML of ours
 * @property {(data: Float32Array) => Float32Array[]} pictures of a frame, one for each panel
 * @property {typeof linesOf} lines
 * @property {string} weight of what is loaded
 */

/** The parts of a frame.
 * @type {(data: Float32Array, count: number) => Float32Array[]}
 */
export function partsOf(data, count) {
  const n = data.length / count;
  return Array.from({ length: count }, (_, i) => data.subarray(i * n, (i + 1) * n));
}

/** @type {Kind} */
export const SAMPLER = {
  controls: newControls,
  choices: ["sampler", "variance", "clip", "images", "start"],
  sliders: ["steps", "eta", "t_start"],
  panels: [
    ["The pictures x_t", `The picture ${x("<i>t</i>")}`],
    ["The guesses at x_0", "The guess <i>x̂</i><sub>0</sub>"],
    ["The noise that the network sees", "The noise <i>ε̂</i> that the network sees"],
  ],
  pictures: (data) => partsOf(data, 3),
  lines: linesOf,
  weight: "0.7 MB",
};
const WORKING = { loading: "Cancel", running: "Pause", paused: "Go on" };

/** Images [B, C, n, n] as one picture, as square as can be, a line between them.
 * @type {(canvas: HTMLCanvasElement, data: ArrayLike<number>, shape: Shape) => void}
 */
export function paintGrid(canvas, data, [count, channels, height, width]) {
  const columns = Math.max(1, Math.round(Math.sqrt(count)));
  const [W, H] = [columns * (width + 1) - 1, Math.ceil(count / columns) * (height + 1) - 1];
  const pixels = new Float32Array(W * H * channels).fill(-1);
  for (let i = 0; i < count * channels * height * width; i++) {
    const [row, column] = [Math.floor(i / width) % height, i % width];
    const plane = Math.floor(i / (height * width));
    const [b, c] = [Math.floor(plane / channels), plane % channels];
    const corner = Math.floor(b / columns) * (height + 1) * W + (b % columns) * (width + 1);
    pixels[(corner + row * W + column) * channels + c] = data[i];
  }
  paint(canvas, pixels, { height: H, width: W, channels });
}

export class View extends RunningView {
  /**
   * @param {Model<Traits>} model
   * @param {HTMLElement} root
   * @param {Kind} kind
   */
  constructor(model, root, kind = SAMPLER) {
    super(Array.from({ length: 5 }, (_, i) => el(i < 4 ? "li" : "p")));
    this.model = model;
    this.root = root;
    this.kind = kind;
    this.controls = kind.controls(model);
    this.pace = choice("Pace", "pace", [
      ["fast", "as it comes"],
      ["slow", "line by line"],
    ]);
    this.at = "–"; // the stop that is shown
    this.stop = slider("Look at <i>t</i>", "stop", { min: 0, max: 0, show: () => this.at });
    this.main = button("ddpm-play");
    this.back = button("ddpm-back", "Step back");
    this.forward = button("ddpm-forward", "Step forward");
    this.fresh = noiseButton(model);
    this.canvases = kind.panels.map(newCanvas);
    this.pad = new Pad(model);
    this.layOut();
    this.say = wording(root);
    this.blank();
  }

  layOut() {
    const { choices, sliders, panels } = this.kind;
    /** @param {keyof Controls} name */
    const row = (name) => /** @type {{ row: HTMLElement }} */ (this.controls[name]).row;
    this.stop.row.style.gridColumn = "1 / -1";
    this.root.append(
      box("ddpm-bar", ...choices.map(row), this.pace.row, row("seed")),
      box("ddpm-sliders", ...sliders.map(row)),
      box("ddpm-bar", this.main, this.back, this.forward, this.fresh),
      this.fault,
      box("ddpm-sliders", this.stop.row),
      box(
        "ddpm-panels",
        ...panels.map(([_, caption], i) => panel(caption, this.canvases[i])),
        box("ddpm-lines", el("ol", {}, ...this.lines.slice(0, 4)), this.lines[4]),
        this.pad.node,
      ),
    );
  }

  blank() {
    const [channels, height, width] = this.model.get("_shape");
    const count = this.model.get("images");
    const none = new Float32Array(count * channels * height * width).fill(-1);
    for (const canvas of this.canvases) {
      paintGrid(canvas, none, [count, channels, height, width]);
      describe(canvas, "Empty: nothing is sampled yet.");
    }
  }

  get slow() {
    return this.pace.read() === "slow";
  }

  /** Say, and have it spoken.
   * @param {string} text
   */
  tell(text) {
    this.say(text);
    this.root.dispatchEvent(new Event("change"));
  }

  /** What can be pressed, and at which stop we are.
   * @param {Run} run
   */
  refresh({ state, shown, frames, ended, live, engine }) {
    const last = shown === frames.length - 1;
    const first = engine || !this.model.assets ? "Sample" : "Load the model and sample";
    this.main.textContent = state === "idle" ? first : WORKING[state];
    this.back.disabled = shown === 0;
    this.forward.disabled = state === "loading" || state === "running" || (live && ended && last);
    this.stop.input.max = String(Math.max(0, frames.length - 1));
    this.stop.input.disabled = frames.length < 2;
    this.at = frames.length ? `${frames[shown].t} of ${this.model.get("_T")}` : "–";
    this.stop.set(shown);
  }

  /** The frame that the run looks at.
   * @param {Run} run
   */
  show({ frames, shown, trip, spent }) {
    const { t, data } = frames[shown];
    for (const [part, picture] of this.kind.pictures(data).entries()) {
      const canvas = this.canvases[part];
      paintGrid(canvas, picture, trip.shape);
      describe(canvas, `${this.kind.panels[part][0]} at t = ${t}, of ${trip.shape[0]}.`);
    }
    const at = `At t = ${t}, stop ${shown} of ${trip.times.length - 1}`;
    const [signal, noise] = [trip.alphaBar[shown], 1 - trip.alphaBar[shown]].map((v) =>
      pretty(Math.sqrt(v)),
    );
    const time = spent.steps ? ` A step takes ${pretty(spent.ms / spent.steps)} ms.` : "";
    this.say(
      t
        ? `${at}, each picture is ${signal} × its guess + ${noise} × noise.${time}`
        : `${at}: the sample. Nothing is left to guess or to take out.`,
    );
  }

  /** What the settings leave to be set, and the lines that they make. */
  arrange() {
    const { model, controls } = this;
    const [sampler, start] = [model.get("sampler"), model.get("start")];
    controls.eta.input.disabled = sampler === "ddpm";
    controls.variance.input.disabled = sampler === "ddim";
    controls.t_start.row.hidden = start === "noise";
    this.pad.node.hidden = start === "noise";
    const [clip, variance, eta] = [model.get("clip"), model.get("variance"), model.get("eta")];
    for (const [i, html] of this.kind.lines({ sampler, start, clip, variance, eta }).entries()) {
      this.lines[i].innerHTML = html;
    }
  }
}
