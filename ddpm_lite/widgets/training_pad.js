// A square of the plane to put points into, by mouse, finger, or keys.

import { button } from "../javascript/controls.js";
import { box, describe, el } from "../javascript/elements.js";
import { follow } from "../javascript/model.js";
import { clamp } from "../javascript/numbers.js";
import { plane } from "../javascript/plane.js";
import { pointsOf } from "./training_controls.js";

/** @import { Model } from "../javascript/model.js" */
/** @import { Traits } from "./training_controls.js" */

/** @type {Record<string, [right: number, up: number]>} */
const MOVES = { ArrowUp: [0, 1], ArrowDown: [0, -1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
const STEP = 0.1; // of the cursor
const [SPACING, NEAR] = [0.06, 0.15]; // of points in a stroke; of what backspace takes
const [LIMIT, MOST] = [1.5, 240];
const HELP = "Draw here, or use arrow keys, space and backspace.";

export class Pad {
  /** @param {Model<Traits>} model */
  constructor(model) {
    this.model = model;
    this.at = [0, 0]; // the cursor
    this.byKeys = false;
    /** @type {number[] | null} */
    this.last = null; // where a stroke under way has come to
    this.plane = plane(LIMIT);
    const { svg } = this.plane;
    this.dots = this.plane.dots("data");
    this.links = this.plane.trails("link");
    this.picked = this.plane.dots("picked");
    this.moved = this.plane.dots("moved");
    this.cursor = this.plane.dots("cursor-dot");
    svg.setAttribute("role", "application");
    svg.setAttribute("tabindex", "0");
    svg.classList.add("ddpm-points");
    svg.dataset.lmSuppressShortcuts = "true";
    this.told = el("output", { "aria-live": "polite", textContent: HELP });
    this.wipe = button("ddpm-wipe", "Wipe");
    this.wipe.addEventListener("click", () => this.become([]));
    this.node = el(
      "figure",
      {},
      el("figcaption", { innerHTML: "Your points <i>x</i><sub>0</sub>" }),
      svg,
      box("ddpm-bar", this.wipe, this.told),
    );
    this.listen();
    follow(model, [["points", "own"], () => this.show()]);
  }

  listen() {
    const { svg } = this.plane;
    svg.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      svg.setPointerCapture(event.pointerId);
      svg.focus();
      [this.last, this.byKeys] = [null, false];
      this.strokeTo(this.plane.placeOf(event));
    });
    svg.addEventListener("pointermove", (event) => {
      if (this.last) this.strokeTo(this.plane.placeOf(event));
    });
    for (const end of ["pointerup", "pointercancel"]) {
      svg.addEventListener(end, () => {
        if (this.last) this.model.save_changes();
        this.last = null;
      });
    }
    svg.addEventListener("keydown", (event) => {
      const known = [...Object.keys(MOVES), " ", "Enter", "Backspace", "Delete"];
      if (!known.includes(event.key)) return;
      event.preventDefault();
      this.press(event.key);
    });
  }

  /** Points of the reader's own. @param {number[]} xy */
  become(xy) {
    this.model.set("own", xy);
    this.model.set("points", "own");
    this.model.save_changes();
  }

  /** @param {number[]} place */
  add([x, y]) {
    const xy = pointsOf(this.model);
    if (xy.length >= 2 * MOST) {
      this.told.textContent = `${MOST} points are all there can be: wipe some.`;
      return;
    }
    /** @param {number} v */
    const inside = (v) => Number(clamp(v, -LIMIT, LIMIT).toFixed(3));
    this.model.set("own", [...xy, inside(x), inside(y)]);
    this.model.set("points", "own");
  }

  /** @param {number[]} now */
  strokeTo(now) {
    if (!this.last) {
      this.add(now);
      this.last = now;
      return;
    }
    const [x, y] = this.last;
    const far = Math.hypot(now[0] - x, now[1] - y);
    const parts = Math.floor(far / SPACING);
    for (let k = 1; k <= parts; k++) {
      const share = (k * SPACING) / far;
      this.add([x + share * (now[0] - x), y + share * (now[1] - y)]);
    }
    if (parts) {
      const share = (parts * SPACING) / far;
      this.last = [x + share * (now[0] - x), y + share * (now[1] - y)];
    }
  }

  /** @param {string} key */
  press(key) {
    this.byKeys = true;
    if (key in MOVES) {
      this.at = this.at.map((v, i) => clamp(v + STEP * MOVES[key][i], -LIMIT, LIMIT));
    } else if (key === " " || key === "Enter") {
      this.add(this.at);
      this.model.save_changes();
    } else this.take();
    const [x, y] = this.at.map((v) => v.toFixed(1).replace("-", "−"));
    this.told.textContent = `At ${x}, ${y}; ${pointsOf(this.model).length / 2} points.`;
    this.show();
  }

  /** Take away the point nearest to the cursor. */
  take() {
    const xy = pointsOf(this.model);
    let [best, which] = [NEAR, -1];
    for (let i = 0; i < xy.length; i += 2) {
      const far = Math.hypot(xy[i] - this.at[0], xy[i + 1] - this.at[1]);
      if (far < best) [best, which] = [far, i];
    }
    if (which >= 0) this.become(xy.filter((_, i) => i !== which && i !== which + 1));
  }

  show() {
    const xy = pointsOf(this.model);
    this.dots(xy);
    this.cursor(this.byKeys ? this.at : []);
    describe(
      this.plane.svg,
      `Drawing pad with ${xy.length / 2} points. Arrow keys move, space puts a point, backspace takes one away.`,
    );
  }

  /** What a turn picked, and where noise has moved it; nothing at all by default.
   * @type {(x0?: ArrayLike<number>, xt?: ArrayLike<number>) => void}
   */
  lay(x0 = [], xt = []) {
    this.picked(x0);
    this.moved(xt);
    this.links(xt.length ? [x0, xt] : []);
  }
}
