// A chain of the clothes network, and the same start at several scales.

import { newCanvas } from "../javascript/canvas.js";
import { button } from "../javascript/controls.js";
import { box, describe, el, pretty } from "../javascript/elements.js";
import { visible } from "../javascript/running.js";
import { CLOTHES } from "./clothes_controls.js";
import { readSettings } from "./sampler_controls.js";
import { BUDGET, Run } from "./sampler_run.js";
import { paintGrid, partsOf, View } from "./sampler_view.js";

/** @import { Model } from "../javascript/model.js" */
/** @import { Traits } from "./sampler_controls.js" */

const SCALES = [0, 1, 2, 4];

export class ClothesView extends View {
  /**
   * @param {Model<Traits>} model
   * @param {HTMLElement} root
   */
  constructor(model, root) {
    super(model, root, CLOTHES);
    this.names = model.get("_names") ?? [];
    this.compare = button("ddpm-compare", `Compare scales ${SCALES.join(", ")}`);
    this.fresh.after(this.compare);
    this.row = SCALES.map(newCanvas);
    const figures = this.row.map((canvas, i) =>
      el("figure", {}, el("figcaption", {}, `Scale ${SCALES[i]}`), canvas),
    );
    this.strip = box("ddpm-panels ddpm-strip", ...figures);
    this.strip.hidden = true;
    root.querySelector(".ddpm-words")?.before(this.strip);
  }
}

export class ClothesRun extends Run {
  /**
   * @param {Model<Traits>} model
   * @param {ClothesView} view
   */
  constructor(model, view) {
    super(model, view);
    this.clothes = view;
  }

  /** The same start at each of the scales, one after the other; the last chain before it stays to be
   * scrubbed.
   */
  async compare() {
    const mine = this.abandon();
    try {
      if (await this.load(mine)) await this.atEach(mine);
    } catch (error) {
      if (mine === this.chain) this.fail(error);
    }
  }

  /** @param {number} mine */
  async atEach(mine) {
    const { clothes, model } = this;
    model.save_changes();
    const settings = readSettings(model); // once: the four begin alike
    const name = clothes.names[model.get("label") ?? 0];
    const number = ++this.loop;
    const goesOn = () => mine === this.chain && number === this.loop;
    clothes.strip.hidden = false;
    this.enter("running");
    for (const [i, scale] of SCALES.entries()) {
      const { shape } = await this.ask((engine) => engine.ask({ ...settings, scale }));
      for (let done = false; !done; ) {
        await visible(clothes.say);
        if (!goesOn()) return; // else this would take a step of the next chain
        const told = await this.ask((engine) => engine.ask({ do: "next", ms: BUDGET }));
        if (!goesOn()) return;
        done = told.done;
        const { t, data } = told.frames[told.frames.length - 1];
        paintGrid(clothes.row[i], partsOf(data, 5)[done ? 0 : 1], shape);
        const what = done ? "What was drawn" : `The guess at t = ${t}`;
        describe(clothes.row[i], `${what} at scale ${scale}, asked for: ${name}.`);
        clothes.say(`Scale ${pretty(scale)}: ${done ? "done" : `the guess at t = ${t}`}.`);
        await new Promise(requestAnimationFrame);
      }
      if (!goesOn()) return;
    }
    this.enter("idle");
    clothes.tell(
      `One start at four scales, asked for: ${name}. At 0 the label is not heard; look for what changes as it is heard louder.`,
    );
  }
}
