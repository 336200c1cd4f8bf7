// A chain that runs when asked, and all that it was, to scrub.

import { pretty } from "../javascript/elements.js";
import { sleep, visible } from "../javascript/running.js";
import { readSettings } from "./sampler_controls.js";
import { fromKernel, fromPage } from "./sampler_engine.js";

/** @import { Advanced, Begun, Frame } from "../javascript/engine/chain.js" */
/** @import { Model } from "../javascript/model.js" */
/** @import { Traits } from "./sampler_controls.js" */
/** @import { Source } from "./sampler_engine.js" */
/** @import { View } from "./sampler_view.js" */

// Milliseconds of steps for each question, so that pictures come as they go, or seldom to whom
// motion disturbs.
export const BUDGET = matchMedia("(prefers-reduced-motion: reduce)").matches ? 500 : 50;
const PACE = 400; // milliseconds that a line is lit, line by line

/** @type {(count: number, what: string) => string} */
const some = (count, what) => `${count} ${what}${count > 1 ? "s" : ""}`;

export class Run {
  /**
   * @param {Model<Traits>} model
   * @param {View} view
   */
  constructor(model, view) {
    this.model = model;
    this.view = view;
    /** @type {"idle" | "loading" | "running" | "paused"} */
    this.state = "idle";
    /** @type {Source | undefined} */
    this.engine = undefined;
    /** @type {Begun} */
    this.trip = { times: [], alphaBar: [], shape: [0, 0, 0, 0] }; // of the chain begun last
    /** @type {Frame[]} */
    this.frames = [];
    this.shown = 0;
    this.spent = { ms: 0, steps: 0, gpu: 0 };
    this.live = false; // the chain begun last can go on
    // Numbers: what bears an old one is dropped when it comes back from a wait.
    this.chain = 0;
    this.loop = 0;
    /** @type {Promise<unknown>} */
    this.turn = Promise.resolve();
  }

  get ended() {
    return this.frames.length > 0 && this.frames[this.frames.length - 1].t === 0;
  }

  // --- questions to the engine --------------------------------------------------------------------

  /** One question at a time, and none that waits for ever.
   * @template {Begun | Advanced} Answer
   * @param {(engine: Source) => Promise<Answer>} question
   * @returns {Promise<Answer>}
   */
  ask(question) {
    const engine = /** @type {Source} */ (this.engine);
    const kernel = this.model.assets ? "" : "Is the kernel busy, or gone? ";
    const text = `No answer for ${engine.patience} seconds. ${kernel}Press the button to begin again.`;
    let timer = 0;
    /** @type {Promise<never>} */
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(text)), 1000 * engine.patience);
    });
    const asked = this.turn
      .then(() => Promise.race([question(engine), late]))
      .finally(() => clearTimeout(timer));
    this.turn = asked.catch(() => {}); // whoever asked is told
    return asked;
  }

  /** Have an engine for chain `mine`; false where it was abandoned on the way.
   * @param {number} mine
   */
  async load(mine) {
    const { model, view } = this;
    view.complain();
    this.enter("loading");
    if (!this.engine) {
      const asks = model.assets ? `Loading the model, ${view.kind.weight}, once.` : "";
      view.tell(asks || "Asking the kernel.");
      const made = model.assets ? await fromPage(model, model.assets) : fromKernel(model);
      if (mine !== this.chain) made.stop();
      else this.engine = made;
    }
    return mine === this.chain;
  }

  /** Begin chain `mine`; false where it was abandoned on the way.
   * @param {number} mine
   */
  async begin(mine) {
    if (!(await this.load(mine))) return false;
    const { model, view } = this;
    view.light(0);
    let [trip, begun] = [this.trip, ""];
    // Once more where the reader has changed a setting meanwhile: what is shown is what is drawn.
    while (begun !== JSON.stringify(readSettings(model))) {
      const settings = readSettings(model);
      begun = JSON.stringify(settings);
      model.save_changes();
      trip = await this.ask((engine) => engine.ask(settings));
      if (view.slow) await sleep(PACE);
      if (mine !== this.chain) return false;
    }
    [this.trip, this.frames, this.shown, this.live] = [trip, [], 0, true];
    this.spent = { ms: 0, steps: 0, gpu: 0 };
    return true;
  }

  /** @type {(mine: number, ms: number) => Promise<void>} */
  async pull(mine, ms) {
    const told = await this.ask((engine) => engine.ask({ do: "next", ms }));
    if (mine !== this.chain) return;
    this.frames.push(...told.frames);
    this.spent.ms += told.ms;
    this.spent.steps += told.steps;
    this.spent.gpu += told.gpu ?? 0;
    this.view.refresh(this);
  }

  // --- from state to state ------------------------------------------------------------------------

  /** @param {Run["state"]} state */
  enter(state) {
    this.state = state;
    this.view.refresh(this);
  }

  /** Look at a frame.
   * @param {number} i
   */
  look(i) {
    this.shown = i;
    this.view.show(this);
    this.view.refresh(this);
  }

  lookAtLast() {
    this.look(this.frames.length - 1);
  }

  /** Forget the chain under way; what it was stays to be scrubbed. Returns the next one's number. */
  abandon() {
    this.live = false;
    this.loop++;
    this.view.light();
    this.enter("idle");
    return ++this.chain;
  }

  /** Abandon the chain and its engine, and say why.
   * @param {unknown} error
   */
  fail(error) {
    this.abandon();
    this.stop();
    this.view.complain(error);
    this.view.say("");
  }

  stop() {
    this.engine?.stop();
    [this.engine, this.turn] = [undefined, Promise.resolve()];
  }

  /** Do what may fail with the chain that can go on, or with another, begun now.
   * @type {(goesOn: boolean, work: (mine: number) => Promise<void>) => Promise<void>}
   */
  async withChain(goesOn, work) {
    const mine = goesOn ? this.chain : this.abandon();
    try {
      if (this.live || (await this.begin(mine))) await work(mine);
    } catch (error) {
      if (mine === this.chain) this.fail(error);
    }
  }

  /** Run to the end, or until told otherwise; begin first if there is nothing to go on with. */
  go() {
    return this.withChain(this.live && !this.ended, async (mine) => {
      const number = ++this.loop;
      this.enter("running");
      while (!this.ended) {
        await this.turnOf(mine, number);
        if (number !== this.loop) return;
      }
      this.finish();
    });
  }

  /** One turn of the loop: some steps, or one with its lines lit one after the other.
   * @type {(mine: number, number: number) => Promise<void>}
   */
  async turnOf(mine, number) {
    const { view } = this;
    await visible(this.view.say);
    for (const line of view.slow ? [1, 2] : []) {
      if (number !== this.loop) return;
      view.light(line);
      await sleep(PACE);
    }
    if (number !== this.loop) return;
    view.light(...(view.slow ? [3] : [1, 2, 3]));
    await this.pull(mine, view.slow ? 0 : BUDGET);
    if (number !== this.loop) return;
    this.lookAtLast();
    await (view.slow ? sleep(PACE) : new Promise(requestAnimationFrame));
  }

  finish() {
    const { trip, spent, view } = this;
    this.state = "idle";
    view.light(4);
    this.lookAtLast();
    const partly = spent.gpu < spent.steps ? `${spent.gpu} of them ` : "";
    let how = spent.gpu ? `, ${partly}on the GPU` : "";
    if (trip.fast === false && !how) how = " without WebAssembly, which this page may not use";
    const where = (trip.where ?? this.engine?.place) + how;
    view.tell(
      `Done: ${some(trip.shape[0], "image")} in ${some(spent.steps, "step")} ${where}, ${pretty(spent.ms / 1000)} seconds, ${pretty(spent.ms / spent.steps)} ms a step. Scrub back to see how.`,
    );
  }

  pause() {
    const instead = this.state === "loading" ? "Nothing was loaded." : "Stopped.";
    if (!this.live) this.abandon(); // still loading, or comparing: cancel
    this.loop++;
    this.view.light();
    this.enter(this.live ? "paused" : "idle");
    this.view.say(this.live ? "" : instead);
    if (this.live && this.frames.length) this.look(this.shown);
  }

  /** To the next frame, computed if need be. */
  async ahead() {
    if (this.shown < this.frames.length - 1) {
      this.look(this.shown + 1);
      return;
    }
    await this.withChain(this.live, async (mine) => {
      this.loop++;
      this.enter("running");
      this.view.light(1, 2, 3);
      await this.pull(mine, 0);
      if (mine !== this.chain) return;
      this.state = "paused";
      if (this.ended) this.finish();
      else this.lookAtLast();
    });
  }

  /** To a frame that is there.
   * @param {number} i
   */
  scrub(i) {
    if (this.state === "running") this.pause();
    if (this.frames.length) this.look(Math.max(0, i));
  }
}
