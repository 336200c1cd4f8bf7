// What the sampler shows of a run.

import { newCanvas, paint } from "../javascript/canvas.js";
import { button, choice, noiseButton, slider } from "../javascript/controls.js";
import { box, describe, el, panel, pretty, wording } from "../javascript/elements.js";
import { linesOf, newControls, x } from "./sampler_controls.js";
import { Pad } from "./sampler_pad.js";

/** @import { Model } from "../javascript/model.js" */
/** @import { Traits } from "./sampler_controls.js" */
/** @import { Run } from "./sampler_run.js" */

/** @typedef {[count: number, channels: number, height: number, width: number]} Shape */

const NAMES = ["The pictures x_t", "The guesses at x_0", "The noise that the network sees"];
const WORKING = { loading: "Cancel", running: "Pause", paused: "Go on" };

/** Images [B, C, n, n] as one picture, as square as can be, a line between them.
 * @type {(canvas: HTMLCanvasElement, data: ArrayLike<number>, shape: Shape) => void}
 */
function paintGrid(canvas, data, [count, channels, height, width]) {
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

export class View {
  /**
   * @param {Model<Traits>} model
   * @param {HTMLElement} root
   */
  constructor(model, root) {
    this.model = model;
    this.root = root;
    this.controls = newControls(model);
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
    this.fault = el("p", { className: "ddpm-fault", role: "alert", hidden: true });
    this.canvases = NAMES.map(newCanvas);
    this.lines = Array.from({ length: 5 }, (_, i) => el(i < 4 ? "li" : "p"));
    this.pad = new Pad(model);
    this.layOut();
    this.say = wording(root);
    this.blank();
  }

  layOut() {
    const { sampler, variance, clip, images, start, seed, steps, eta, t_start } = this.controls;
    const [xt, x0, eps] = this.canvases;
    const choices = [sampler, variance, clip, images, start, this.pace, seed];
    this.stop.row.style.gridColumn = "1 / -1";
    this.root.append(
      box("ddpm-bar", ...choices.map(({ row }) => row)),
      box("ddpm-sliders", steps.row, eta.row, t_start.row),
      box("ddpm-bar", this.main, this.back, this.forward, this.fresh),
      this.fault,
      box("ddpm-sliders", this.stop.row),
      box(
        "ddpm-panels",
        panel(`The picture ${x("<i>t</i>")}`, xt),
        panel("The guess <i>x̂</i><sub>0</sub>", x0),
        panel("The noise <i>ε̂</i> that the network sees", eps),
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

  /** @param {string} text of what went wrong; none where nothing did */
  complain(text) {
    this.fault.textContent = text;
    this.fault.hidden = !text;
  }

  /** Light these lines of the algorithm and no others.
   * @param {number[]} which
   */
  light(...which) {
    for (const [i, line] of this.lines.entries()) {
      line.classList.toggle("lit", which.includes(i));
      if (which.includes(i)) line.setAttribute("aria-current", "step");
      else line.removeAttribute("aria-current");
    }
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
    const n = data.length / 3;
    for (const [part, canvas] of this.canvases.entries()) {
      paintGrid(canvas, data.subarray(part * n, (part + 1) * n), trip.shape);
      describe(canvas, `${NAMES[part]} at t = ${t}, of ${trip.shape[0]}.`);
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
    for (const [i, html] of linesOf({ sampler, start, clip, variance, eta }).entries()) {
      this.lines[i].innerHTML = html;
    }
  }
}
