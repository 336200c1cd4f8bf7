// A pad to draw on, by mouse, finger, or keys.

import { paint } from "../javascript/canvas.js";
import { button } from "../javascript/controls.js";
import { box, el, panel } from "../javascript/elements.js";
import { follow, save } from "../javascript/model.js";
import { clamp } from "../javascript/numbers.js";

/** @import { Model } from "../javascript/model.js" */
/** @import { Traits } from "./sampler_controls.js" */

/** @type {Record<string, [down: number, right: number]>} */
const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const WIPES = ["Backspace", "Delete"];
const INKS = [" ", "Enter"];
const HELP = "Draw with mouse or finger; or arrow keys, space and backspace.";

export class Pad {
  /** @param {Model<Traits>} model */
  constructor(model) {
    this.model = model;
    const [channels, height, width] = model.get("_shape");
    this.size = { channels, height, width };
    this.row = Math.floor(height / 2); // of the cursor
    this.column = Math.floor(width / 2);
    this.byKeys = false;
    /** @type {[x: number, y: number] | null} */
    this.last = null; // where a stroke under way has come to
    this.canvas = el("canvas", {
      className: "ddpm-pad",
      tabIndex: 0,
      role: "application",
      "aria-label": `Drawing pad of ${height} rows and ${width} columns. Arrow keys move, space draws, backspace wipes.`,
    });
    this.canvas.dataset.lmSuppressShortcuts = "true";
    this.cursor = el("span", { className: "ddpm-cursor" });
    this.cursor.style.width = `${100 / width}%`;
    this.cursor.style.height = `${100 / height}%`;
    this.told = el("output", { "aria-live": "polite", textContent: HELP });
    const wipe = button("ddpm-wipe", "Wipe the pad");
    wipe.addEventListener("click", () => {
      save(
        model,
        "drawing",
        model.get("drawing").map(() => -1),
      );
    });
    const frame = box("ddpm-pad-frame", this.canvas, this.cursor);
    const parts = el("div", {}, frame, this.told, wipe);
    this.node = panel("Your drawing, <i>x</i><sub>0</sub>", parts);
    this.listen();
    follow(model, [["drawing"], () => this.show()]);
  }

  listen() {
    this.canvas.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      this.canvas.setPointerCapture(event.pointerId);
      [this.last, this.byKeys] = [null, false];
      this.strokeTo(this.placeOf(event));
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (this.last) this.strokeTo(this.placeOf(event));
    });
    for (const end of ["pointerup", "pointercancel"]) {
      this.canvas.addEventListener(end, () => {
        this.last = null;
        this.model.save_changes();
      });
    }
    this.canvas.addEventListener("keydown", (event) => {
      if (![...Object.keys(MOVES), ...WIPES, ...INKS].includes(event.key)) return;
      event.preventDefault();
      this.press(event.key);
    });
  }

  show() {
    const { row, column, cursor } = this;
    const { channels, height, width } = this.size;
    const x = this.model.get("drawing");
    const pixels = Float32Array.from(x, (_, i) => {
      return x[(i % channels) * height * width + Math.floor(i / channels)];
    });
    paint(this.canvas, pixels, this.size);
    cursor.style.top = `${(100 * row) / height}%`;
    cursor.style.left = `${(100 * column) / width}%`;
    cursor.hidden = !this.byKeys;
  }

  /** Each pixel becomes as light as it is near to the point (x, y), in pixels; never darker.
   * @type {(x: number, y: number) => void}
   */
  ink(x, y) {
    const { height, width } = this.size;
    const brush = Math.max(1.4, width / 11); // so many pixels of what is to be filled with a hand
    const lit = this.model.get("drawing").map((before, i) => {
      const [down, right] = [Math.floor(i / width) % height, i % width];
      const far = Math.hypot(right + 0.5 - x, down + 0.5 - y);
      return Math.max(before, 2 * clamp(brush - far, 0, 1) - 1);
    });
    this.model.set("drawing", lit);
  }

  /** @type {(event: PointerEvent) => [x: number, y: number]} */
  placeOf({ clientX, clientY }) {
    const area = this.canvas.getBoundingClientRect();
    const [right, down] = [(clientX - area.left) / area.width, (clientY - area.top) / area.height];
    return [right * this.size.width, down * this.size.height];
  }

  /** @param {[x: number, y: number]} now */
  strokeTo(now) {
    const [x, y] = this.last ?? now;
    const [right, down] = [now[0] - x, now[1] - y];
    const parts = Math.max(1, Math.ceil(2 * Math.hypot(right, down)));
    for (let k = 1; k <= parts; k++) this.ink(x + (right * k) / parts, y + (down * k) / parts);
    this.last = now;
  }

  /** @param {string} key */
  press(key) {
    this.byKeys = true;
    const { row, column, model } = this;
    const { height, width } = this.size;
    const here = row * width + column;
    if (key in MOVES) {
      this.row = clamp(row + MOVES[key][0], 0, height - 1);
      this.column = clamp(column + MOVES[key][1], 0, width - 1);
    } else if (WIPES.includes(key)) {
      const wiped = model.get("drawing").map((v, i) => (i % (height * width) === here ? -1 : v));
      model.set("drawing", wiped);
    } else this.ink(column + 0.5, row + 0.5);
    model.save_changes();
    const now = model.get("drawing")[this.row * width + this.column] > 0 ? "drawn" : "empty";
    this.told.textContent = `Row ${this.row + 1}, column ${this.column + 1}: ${now}.`;
    this.show();
  }
}
