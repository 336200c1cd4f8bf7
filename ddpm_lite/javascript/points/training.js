// Algorithm 1 on points of the plane: what a turn draws, its loss and gradient, and Adam's step.

import { toEps } from "../answers.js";
import { draw } from "./drawing.js";
import { backward, COUNT, firstWeights, forward, layersOf } from "./network.js";

/** @import { Objective } from "../answers.js" */
/** @import { Schedule } from "../mathematics.js" */
/** @import { Batch, Drawing } from "./drawing.js" */

/** How to train. Twin: TrainConfig, with clip_norm infinite.
 * @typedef {object} How
 * @property {Objective} objective
 * @property {number} lr
 * @property {number} batch
 * @property {number} warmup
 * @property {number} average the most that the average keeps of itself
 * @property {number} seed
 */

/** What the network should say: a eps + b x_0. Twin: GaussianDiffusion.target.
 * @type {(objective: Objective, alphaBar: number) => [ofEps: number, ofX0: number]}
 */
export function target(objective, alphaBar) {
  if (objective === "eps") return [1, 0];
  if (objective === "x0") return [0, 1];
  return [Math.sqrt(alphaBar), -Math.sqrt(1 - alphaBar)];
}

/** Line 5: the mean squared error per coordinate, and its gradient by all weights.
 * @type {(weights: Float64Array, batch: Batch, s: Schedule, objective: Objective) =>
 *   { loss: number, gradient: Float64Array }}
 */
export function lossAndGradient(weights, { x0, t, eps, xt }, { alphaBar }, objective) {
  const layers = layersOf(weights);
  const seen = forward(layers, xt, t);
  const off = seen.out.map((v, i) => {
    const [ofEps, ofX0] = target(objective, alphaBar[t[i >> 1]]);
    return v - ofEps * eps[i] - ofX0 * x0[i];
  });
  const loss = off.reduce((sum, v) => sum + v * v, 0) / off.length;
  const gradient = backward(
    layers,
    seen,
    off.map((v) => (2 * v) / off.length),
  );
  return { loss, gradient };
}

/** Adam (Kingma and Ba, 2015), a warm-up, and an average of the weights. */
export class Adam {
  /**
   * @param {Float64Array} weights that are moved
   * @param {How} how
   */
  constructor(weights, how) {
    this.weights = weights;
    this.how = how;
    this.turn = 0;
    this.mean = new Float64Array(COUNT);
    this.square = new Float64Array(COUNT);
    this.average = weights.slice();
  }

  /** @param {Float64Array} gradient */
  step(gradient) {
    const { weights, mean, square, average, how } = this;
    const warm = Math.min(1, (this.turn + 1) / (how.warmup + 1));
    this.turn++;
    const [n, rate] = [this.turn, how.lr * warm];
    const [one, two] = [1 - 0.9 ** n, 1 - 0.999 ** n]; // both begin at zero
    const keep = n === 1 ? 0 : Math.min(how.average, (1 + n) / (10 + n));
    for (let i = 0; i < COUNT; i++) {
      const g = gradient[i];
      mean[i] = 0.9 * mean[i] + 0.1 * g;
      square[i] = 0.999 * square[i] + 0.001 * g * g;
      weights[i] -= (rate * (mean[i] / one)) / (Math.sqrt(square[i] / two) + 1e-8);
      average[i] = keep * average[i] + (1 - keep) * weights[i];
    }
  }
}

export class Training {
  /**
   * @param {Drawing} drawing
   * @param {Schedule} schedule
   * @param {How} how
   */
  constructor(drawing, schedule, how) {
    this.drawing = drawing;
    this.schedule = schedule;
    this.how = how;
    this.adam = new Adam(firstWeights(how.seed), how);
  }

  /** One turn of Algorithm 1. */
  turn() {
    const { drawing, schedule, how, adam } = this;
    const batch = draw(drawing, schedule, how, adam.turn);
    const { loss, gradient } = lossAndGradient(adam.weights, batch, schedule, how.objective);
    adam.step(gradient);
    return { batch, loss };
  }

  /** The averaged network's eps for each row, in which everything here is measured.
   * @type {(xt: Float64Array, t: ArrayLike<number>) => Float64Array}
   */
  eps(xt, t) {
    const { out } = forward(layersOf(this.adam.average), xt, t);
    return out.map((v, i) => {
      const [ofOutput, ofXt] = toEps(this.how.objective, this.schedule.alphaBar[t[i >> 1]]);
      return ofOutput * v + ofXt * xt[i];
    });
  }
}
