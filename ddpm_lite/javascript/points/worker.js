// What a worker does for the widget that trains on points: one question, one answer.

import { normals, paperSchedule, rescaled, schedule as scheduleOf } from "../mathematics.js";
import { ddim, ddpm, guessOf, heun } from "./chains.js";
import { Drawing, energyDistance } from "./drawing.js";
import { Measures } from "./measures.js";
import { COUNT } from "./network.js";
import { Training } from "./training.js";

/** @import { Path, Way } from "./chains.js" */
/** @import { Batch } from "./drawing.js" */
/** @import { How } from "./training.js" */

/** What a training is begun with; `points` are x and y in turn.
 * @typedef {How & { points: number[], pen: number, kind: "linear" | "cosine", T: number }} Settings
 */

/** What is known before anything is trained.
 * @typedef {object} Begun
 * @property {number} weights how many there are
 * @property {number[]} times in the middle of each part of 1..T
 * @property {number[]} floor the least loss there
 * @property {number} least the least bound, in bits per coordinate
 * @property {number} entropy below which no bound comes
 * @property {number} energy from the drawing to what the oracle draws, by Algorithm 2
 */

/** @typedef {{ turn: number, losses: number[], ms: number, batch: Batch }} Trained */
/** @typedef {{ turn: number, loss: number[], distance: number, bound: number }} Measured */

/** x_t of the drawing; on a grid, the network's eps and the best, as rows from below.
 * @typedef {object} Field
 * @property {Float64Array} cloud
 * @property {Float64Array} learned
 * @property {Float64Array} exact
 */

/** The ways back by their names, and how far from the drawing each ended, in energy distance.
 * @typedef {{ turn: number, chains: Record<string, Path>, energy: number[], ms: number }} Sampled
 */

export const GRID = { side: 31, limit: 2.1 };
const POINTS = 200; // in a cloud, and on each way back
const DRAWN = 400; // that a cloud is compared with
const CALLS = 50; // of the network, at most, for DDIM and for the ODE

/** The schedule of a kind in T steps: the paper's with as much noise at the end, or the cosine.
 * @type {(kind: "linear" | "cosine", T: number) => import("../mathematics.js").Schedule}
 */
export function scheduleFor(kind, T) {
  return kind === "cosine" ? scheduleOf("cosine", T, 0, 0) : rescaled(paperSchedule(), T);
}

export class Session {
  /** @param {Settings} settings */
  constructor(settings) {
    this.settings = settings;
    this.schedule = scheduleFor(settings.kind, settings.T);
    this.drawing = new Drawing(settings.points, settings.pen);
    this.training = new Training(this.drawing, this.schedule, settings);
    this.measures = new Measures(this.drawing, this.schedule);
    this.drawn = this.drawing.draws(DRAWN, () => 1);
    const { side, limit } = GRID;
    this.grid = Float64Array.from({ length: 2 * side * side }, (_, i) => {
      const at = i % 2 ? Math.floor(i / 2 / side) : (i >> 1) % side;
      return limit * ((2 * at) / (side - 1) - 1);
    });
  }

  get turn() {
    return this.training.adam.turn;
  }

  /** @returns {Begun} */
  begin() {
    const { alphaBar } = this.schedule;
    /** @type {import("./chains.js").Network} */
    const best = (xt, t) => this.drawing.x0(xt, alphaBar[t]);
    const end = [...ddpm(best, this.schedule, this.start(), this.settings.seed)].pop();
    const { times, floor, least, entropy } = this.measures;
    const energy = energyDistance(/** @type {Path[0]} */ (end).x, this.drawn);
    return { weights: COUNT, times, floor, least, entropy, energy };
  }

  start() {
    return normals(this.settings.seed, 2 * POINTS);
  }

  /** Turns of Algorithm 1, for so many milliseconds, one at least.
   * @type {(ms: number) => Trained}
   */
  train(ms) {
    const begun = performance.now();
    const losses = [];
    for (;;) {
      const { batch, loss } = this.training.turn();
      losses.push(loss);
      const spent = performance.now() - begun;
      if (spent >= ms || !Number.isFinite(loss)) {
        return { turn: this.turn, losses, ms: spent, batch };
      }
    }
  }

  /** @returns {Measured} */
  measure() {
    return { turn: this.turn, ...this.measures.of((xt, t) => this.training.eps(xt, t)) };
  }

  /** @type {(t: number) => Field} */
  field(t) {
    const alphaBar = this.schedule.alphaBar[t];
    const cloud = this.drawing.draws(POINTS, () => alphaBar);
    const learned = this.eps(this.grid, t);
    const exact = this.drawing.eps(this.grid, () => alphaBar);
    return { cloud, learned, exact };
  }

  /** @type {import("./chains.js").Network} */
  eps(xt, t) {
    return this.training.eps(xt, new Int32Array(xt.length / 2).fill(t));
  }

  /** The ways back that are asked for. @type {(ways: string[]) => Sampled} */
  sample(ways) {
    const begun = performance.now();
    const { schedule, settings } = this;
    const guess = guessOf((xt, t) => this.eps(xt, t), schedule);
    const calls = Math.min(settings.T, CALLS);
    /** @type {Record<string, () => Way>} */
    const known = {
      ddpm: () => ddpm(guess, schedule, this.start(), settings.seed),
      ddim: () => ddim(guess, schedule, this.start(), calls),
      flow: () => heun(guess, schedule, this.start(), Math.ceil(calls / 2), "eps"),
    };
    const chains = Object.fromEntries(ways.map((way) => [way, [...known[way]()]]));
    const energy = Object.values(chains).map((path) =>
      energyDistance(path[path.length - 1].x, this.drawn),
    );
    return { turn: this.turn, chains, energy, ms: performance.now() - begun };
  }

  /** A network that was trained elsewhere, in place of this one.
   * @type {(weights: ArrayLike<number>, turn: number) => {}}
   */
  take(weights, turn) {
    this.training.adam.average.set(weights);
    this.training.adam.turn = turn;
    return {};
  }
}

/** What is asked of a worker.
 * @typedef {{ do: "begin", settings: Settings } | { do: "train", ms: number } | { do: "measure" } |
 *   { do: "field", t: number } | { do: "sample", ways: string[] } |
 *   { do: "take", weights: Float32Array, turn: number }} Question
 */

/** Who answers questions, one after the other. */
export function answerer() {
  /** @type {Session} */
  let session;
  /** @param {Question} asked */
  return (asked) => {
    if (asked.do === "begin") {
      session = new Session(asked.settings);
      return session.begin();
    }
    if (asked.do === "train") return session.train(asked.ms);
    if (asked.do === "field") return session.field(asked.t);
    if (asked.do === "take") return session.take(asked.weights, asked.turn);
    return asked.do === "sample" ? session.sample(asked.ways) : session.measure();
  };
}

/** Answer messages. Faults are sent back in words. */
export function listen() {
  const answer = answerer();
  globalThis.onmessage = ({ data }) => {
    try {
      postMessage(answer(data));
    } catch (error) {
      postMessage({ error: error instanceof Error ? error.message : String(error) });
    }
  };
}
