// How good a network is, by what only a known distribution can tell: its distance to the best there
// can be, at each t, and so its loss and its bound.

import { evenly } from "../numbers.js";

/** @import { Schedule } from "../mathematics.js" */
/** @import { Drawing } from "./drawing.js" */

/** eps for rows of x_t [B, 2], each at its own t [B].
 * @typedef {(xt: Float64Array, t: ArrayLike<number>) => Float64Array} EpsOf
 */

const PARTS = 24; // of 1..T, at most
const ROWS = 64; // on which each is measured

/** The steps 1..T in at most 24 parts, short ones first, for there the loss changes quickest.
 * @type {(T: number) => { from: number, to: number }[]}
 */
export function partsOf(T) {
  const ends = evenly(0, Math.log(T), PARTS + 1).map((v) => Math.round(Math.exp(v)));
  const starts = [...new Set([1, ...ends.slice(0, -1).map((end) => Math.min(T, end))])];
  return starts.map((from, i) => ({ from, to: i + 1 < starts.length ? starts[i + 1] - 1 : T }));
}

/** The factor of the squared error at t in the bound, where sigma_t^2 is beta_t.
 * Twin: GaussianDiffusion.loss_weight("variational").
 * @type {(s: Schedule, t: number) => number}
 */
export function weight({ beta, alphaBar }, t) {
  return beta[t] / (2 * (1 - beta[t]) * (1 - alphaBar[t]));
}

/** What of the bound no network changes, in nats, for two coordinates: L_T and the constants of
 * each term. `power` is the mean square of a coordinate.
 * @type {(s: Schedule, power: number) => number}
 */
export function constantOf({ beta, alphaBar }, power) {
  const T = alphaBar.length - 1;
  let sum = alphaBar[T] * (power - 1) - Math.log(1 - alphaBar[T]) + Math.log(2 * Math.PI * beta[1]);
  for (let t = 2; t <= T; t++) {
    const ratio = (1 - alphaBar[t - 1]) / (1 - alphaBar[t]);
    sum += ratio - 1 - Math.log(ratio);
  }
  return sum;
}

/** Nats of a point as bits of a coordinate. @param {number} nats */
const bits = (nats) => nats / (2 * Math.LN2);

export class Measures {
  /**
   * @param {Drawing} drawing
   * @param {Schedule} schedule
   */
  constructor(drawing, schedule) {
    this.drawing = drawing;
    this.schedule = schedule;
    const { alphaBar } = schedule;
    this.parts = partsOf(alphaBar.length - 1);
    this.times = this.parts.map(({ from, to }) => Math.round((from + to) / 2));
    this.floor = this.times.map((t) => drawing.floor(alphaBar[t]));
    this.t = this.parts
      .flatMap(({ from, to }) =>
        Array.from({ length: ROWS }, (_, i) => from + ((i * 37) % ROWS) * ((to - from + 1) / ROWS)),
      )
      .map(Math.floor);
    /** @param {number} i */
    const kept = (i) => alphaBar[this.t[i]];
    this.xt = new Float64Array(2 * this.t.length);
    for (let i = 0; i < this.t.length; i += ROWS) {
      this.xt.set(
        drawing.draws(ROWS, (row) => kept(i + row), i),
        2 * i,
      );
    }
    this.best = drawing.eps(this.xt, kept);
    this.entropy = bits(drawing.entropy());
    this.least = bits(constantOf(schedule, drawing.power) + this.floors());
  }

  /** The sum over all t of the weight times the least squared error, whose logarithm is followed
   * from part to part along that of the signal over the noise.
   */
  floors() {
    const { schedule, drawing } = this;
    const last = schedule.alphaBar.length - 1;
    const nodes = [...this.times, last];
    const logs = [...this.floor, drawing.floor(schedule.alphaBar[last])].map(Math.log);
    /** @param {number} t */
    const snr = (t) => Math.log(schedule.alphaBar[t] / (1 - schedule.alphaBar[t]));
    let [sum, i] = [0, 0];
    for (let t = 1; t <= last; t++) {
      while (i < nodes.length - 2 && nodes[i + 1] < t) i++;
      const [from, to] = [snr(nodes[i]), snr(nodes[i + 1])];
      const place = from === to ? 0 : (snr(t) - from) / (to - from);
      sum += 2 * weight(schedule, t) * Math.exp(logs[i] + place * (logs[i + 1] - logs[i]));
    }
    return sum;
  }

  /** The network's loss in each part: the floor plus its distance to the best. And its bound, in
   * bits per coordinate. The theorem makes this exact but for the rows' number, and leaves out the
   * noise of the floor itself.
   * @type {(eps: EpsOf) => { loss: number[], distance: number, bound: number }}
   */
  of(eps) {
    const { parts, floor, best, schedule } = this;
    const said = eps(this.xt, this.t);
    let [excess, distance] = [0, 0];
    const loss = parts.map(({ from, to }, part) => {
      let [plain, weighted] = [0, 0];
      for (let row = part * ROWS; row < (part + 1) * ROWS; row++) {
        const off =
          (said[2 * row] - best[2 * row]) ** 2 + (said[2 * row + 1] - best[2 * row + 1]) ** 2;
        plain += off / 2 / ROWS;
        weighted += (weight(schedule, this.t[row]) * off) / ROWS;
      }
      excess += (to - from + 1) * weighted;
      distance += ((to - from + 1) * plain) / (schedule.alphaBar.length - 1);
      return floor[part] + plain;
    });
    return { loss, distance, bound: this.least + bits(excess) };
  }
}
