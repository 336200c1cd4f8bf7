// A training that runs when asked: begun, paused, gone on with, and begun again.

import { pretty } from "../javascript/elements.js";
import { sleep, visible } from "../javascript/running.js";
import { pointsOf, readSettings } from "./training_controls.js";
import { startEngine } from "./training_engine.js";

/** @import { Model } from "../javascript/model.js" */
/** @import { Begun, Measured, Sampled, Trained } from "../javascript/points/worker.js" */
/** @import { Traits } from "./training_controls.js" */
/** @import { Engine } from "./training_engine.js" */
/** @import { View } from "./training_view.js" */

const CALM = matchMedia("(prefers-reduced-motion: reduce)").matches;
const BUDGET = CALM ? 400 : 60; // milliseconds of turns for each question
const [MEASURE, SAMPLE] = CALM ? [2000, 4000] : [350, 800]; // milliseconds between two looks, at least
const PACE = 900; // milliseconds that a line is lit, in a turn taken slowly
const IDLE = "Nothing is trained until you press Train.";
const SEEN = 24; // points of a batch that are shown

export class Run {
  /**
   * @param {Model<Traits>} model
   * @param {View} view
   */
  constructor(model, view) {
    this.model = model;
    this.view = view;
    /** @type {"idle" | "running" | "paused"} */
    this.state = "idle";
    /** @type {Engine | undefined} */
    this.engine = undefined;
    // Numbers: what bears an old one is dropped when it comes back from a wait.
    this.training = 0;
    this.loop = 0;
    this.live = false; // the engine has begun with these settings
    /** @type {Measured | null} */
    this.measured = null;
    /** @type {Sampled | null} */
    this.sampled = null;
    /** @type {{ turn: number, losses: number[], ms: number, turns: number }} */
    this.seen = { turn: 0, losses: [], ms: 0, turns: 0 };
    this.lookedAt = 0;
    this.looked = 0; // milliseconds that the last look took
    this.sampledAt = 0;
    this.on = false; // it trains until told otherwise
    this.due = 0; // the timer of a new beginning
  }

  get t() {
    return Math.min(this.model.get("t"), this.model.get("T"));
  }

  /** @param {import("../javascript/points/worker.js").Question} question */
  ask(question) {
    return /** @type {Engine} */ (this.engine).ask(question);
  }

  /** @param {Run["state"]} state */
  enter(state) {
    this.state = state;
    this.view.refresh(state);
  }

  /** Forget the training under way. Returns the next one's number. */
  abandon() {
    [this.live, this.measured, this.sampled] = [false, null, null];
    this.loop++;
    this.view.light();
    this.view.turn.textContent = "Turn 0";
    this.enter("idle");
    return ++this.training;
  }

  stop() {
    this.forgetDue();
    this.engine?.stop();
    this.engine = undefined;
  }

  forgetDue() {
    clearTimeout(this.due);
    this.due = 0;
  }

  /** Abandon the training and its engine, and say why. @param {unknown} error */
  fail(error) {
    this.on = false;
    this.abandon();
    this.stop();
    this.view.complain(error);
    this.view.say("");
  }

  /** Begin training `mine`; false where it was abandoned on the way. @param {number} mine */
  async begin(mine) {
    const { model, view } = this;
    view.complain();
    view.blank();
    const points = pointsOf(model);
    if (points.length === 0)
      throw new Error("There is nothing to learn: put points into the square.");
    view.say("Measuring what the best network could do with your points.");
    this.engine ??= await startEngine(model);
    const begun = /** @type {Begun} */ (
      await this.ask({ do: "begin", settings: readSettings(model) })
    );
    if (mine !== this.training) return false;
    view.showBegun(begun, points);
    this.live = true;
    this.seen = { turn: 0, losses: [], ms: 0, turns: 0 };
    this.sampledAt = performance.now() - SAMPLE / 2; // the first samples soon, but not untrained
    await this.look(mine);
    return mine === this.training;
  }

  /** Do what may fail with the training that can go on, or with another, begun now.
   * @param {(mine: number) => Promise<void>} work
   */
  async withTraining(work) {
    const mine = this.live ? this.training : this.abandon();
    try {
      this.enter("running");
      if (this.live || (await this.begin(mine))) await work(mine);
    } catch (error) {
      if (mine === this.training) this.fail(error);
    }
  }

  /** Train until told otherwise. */
  go() {
    this.forgetDue();
    this.on = true;
    return this.withTraining(async (mine) => {
      const number = ++this.loop;
      this.enter("running");
      this.view.light(0, 1, 2, 3, 4);
      this.view.pad.lay();
      while (number === this.loop) {
        await visible(this.view.say);
        await this.train(mine, BUDGET);
        if (mine !== this.training) return;
        const now = performance.now();
        // On a slow machine, too, most of the time is the training's.
        if (now - this.lookedAt > Math.max(MEASURE, 4 * this.looked)) await this.look(mine);
        const wait = Math.max(SAMPLE, 2 * (this.sampled?.ms ?? 0));
        if (now - this.sampledAt > wait) await this.sample(mine);
        await new Promise(requestAnimationFrame);
      }
    });
  }

  /** @type {(mine: number, ms: number) => Promise<Trained | undefined>} */
  async train(mine, ms) {
    const told = /** @type {Trained} */ (await this.ask({ do: "train", ms }));
    if (mine !== this.training) return undefined;
    const { turn, losses } = told;
    const last = losses[losses.length - 1];
    if (!Number.isFinite(last)) {
      throw new Error(
        `At turn ${turn} the loss is no number any more. Steps of ${pretty(this.model.get("lr"))} threw the weights so far that the arithmetic overflowed. Choose a smaller learning rate.`,
      );
    }
    const { seen } = this;
    this.seen = {
      turn,
      losses: [...seen.losses, ...losses].slice(-50),
      ms: seen.ms + told.ms,
      turns: seen.turns + losses.length,
    };
    const mean = this.seen.losses.reduce((a, b) => a + b) / this.seen.losses.length;
    const pace = pretty(Math.round((1000 * this.seen.turns) / this.seen.ms));
    this.view.turn.textContent = `Turn ${turn}, loss ${pretty(mean)}, ${pace} turns a second`;
    return told;
  }

  /** Measure the network, and look at its field. @param {number} mine */
  async look(mine) {
    const begun = performance.now();
    const measured = /** @type {Measured} */ (await this.ask({ do: "measure" }));
    if (mine !== this.training) return;
    this.measured = measured;
    this.view.showMeasured(measured);
    await this.lookAt();
    this.words();
    this.lookedAt = performance.now();
    this.looked = this.lookedAt - begun;
  }

  /** @param {number} mine */
  async sample(mine) {
    const ways = this.model.get("small") ? ["ddpm"] : ["ddpm", "ddim", "flow"];
    const sampled = /** @type {Sampled} */ (await this.ask({ do: "sample", ways }));
    if (mine !== this.training) return;
    this.sampled = sampled;
    this.view.showSampled(this.t, sampled);
    this.words();
    this.sampledAt = performance.now();
  }

  /** All that depends on t, at t. */
  async lookAt() {
    if (!this.live || !this.measured) return;
    const [t, mine] = [this.t, this.training];
    this.view.mark(t, this.measured);
    if (this.sampled) this.view.showSampled(t, this.sampled);
    if (this.model.get("small")) return;
    const field = await this.ask({ do: "field", t });
    if (mine === this.training && t === this.t) this.view.showField(t, field);
  }

  words() {
    const { measured, sampled, view, engine } = this;
    const { known } = view;
    if (!measured || !known) return;
    const { turn, distance, bound } = measured;
    const [far, best] = [sampled?.energy[0] ?? Number.NaN, known.energy];
    const apart = Number.isFinite(far)
      ? `are ${pretty(far)} from the drawing in energy distance`
      : "flew so far apart that their distance is no number";
    const near = sampled
      ? ` The samples by Algorithm 2 ${apart}; by the exact field it is ${pretty(best)}.`
      : "";
    // Nothing is an answer of zeros: for eps it costs 1; for x_0 and v other losses in eps.
    const worse = this.model.get("objective") === "eps" && distance > 1;
    const lost = worse
      ? " That is worse than to answer nothing: is the learning rate too large?"
      : "";
    view.say(
      `Turn ${turn}, ${engine?.place}. Of the loss in ε, ${pretty(distance)} could still be learnt.${lost} The bound is ${pretty(bound)} bits per coordinate, and ${pretty(known.least)} for the best network.${near}`,
    );
  }

  pause() {
    this.forgetDue();
    this.on = false;
    this.loop++;
    this.view.light(5);
    this.enter(this.live ? "paused" : "idle");
    if (this.live) this.rest(this.training);
    else {
      this.abandon();
      this.view.say(IDLE);
    }
  }

  /** A last look, and samples, at where the training has come to. @param {number} mine */
  async rest(mine) {
    try {
      await this.look(mine);
      await this.sample(mine);
      if (mine === this.training) this.view.root.dispatchEvent(new Event("change"));
    } catch (error) {
      if (mine === this.training) this.fail(error);
    }
  }

  /** One turn, its lines lit one after the other, and what each drew laid on the pad. */
  slowly() {
    this.on = false;
    return this.withTraining(async (mine) => {
      const number = ++this.loop;
      const { view } = this;
      const { batch } = /** @type {Trained} */ ((await this.train(mine, 0)) ?? {});
      for (const line of batch ? [1, 2, 3, 4] : []) {
        if (number !== this.loop) return;
        view.light(0, line);
        this.layBatch(line, batch);
        await sleep(PACE);
      }
      if (number !== this.loop) return;
      this.enter("paused");
      view.light(5);
      await this.rest(mine);
    });
  }

  /** @type {(line: number, batch: Trained["batch"]) => void} */
  layBatch(line, { x0, t, xt }) {
    const { view } = this;
    const some = t.slice(0, SEEN);
    view.pad.lay(x0.slice(0, 2 * SEEN), line > 2 ? xt.slice(0, 2 * SEEN) : []);
    const said = {
      1: `Line 2 picked ${t.length} points; ${some.length} of them are orange.`,
      2: `Line 3 gave each a step: ${[...some.slice(0, 8)].join(", ")}, …`,
      3: "Line 4 drew noise; each line leads from a point to its noisy version.",
      4: `Line 5 moved ${view.known?.weights.toLocaleString("en")} weights a little.`,
    };
    view.say(said[/** @type {1 | 2 | 3 | 4} */ (line)]);
  }

  /** Begin again with new weights, and train on if it was training. */
  again() {
    const on = this.on || this.due > 0;
    this.forgetDue();
    this.abandon();
    this.view.blank();
    this.view.complain();
    this.view.say(IDLE);
    if (!on) return;
    // Not at once: a stroke of the pen changes the points many times.
    this.due = setTimeout(() => {
      this.due = 0;
      this.go();
    }, 300);
  }
}
