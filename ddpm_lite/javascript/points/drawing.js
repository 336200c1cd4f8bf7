// What the reader drew, as a distribution: each point is a small Gaussian, as wide as the pen. So
// the best network there can be is known in closed form. Twin: Oracle(schedule, points, pen).

import { normals, uniforms } from "../mathematics.js";

/** @import { Schedule } from "../mathematics.js" */

/** What one turn of Algorithm 1 sees: x_0, eps and x_t [B, 2], t [B].
 * @typedef {{ x0: Float64Array, t: Int32Array, eps: Float64Array, xt: Float64Array }} Batch
 */

// Steps that fill a square evenly: one over the powers of the root of g^3 = g + 1 (Roberts, 2018).
const EVEN = [0.7548776662466927, 0.5698402909980532];

/** `count` even draws, as a sum in place of an integral needs them: which of `n`, and two normal
 * numbers for each, whose radii are the middles of `count` equal shares. Another `first` goes with
 * the same radii to other points and directions.
 * @type {(count: number, n: number, first: number) => { which: number[], normal: Float64Array }}
 */
function evenDraws(count, n, first) {
  const normal = new Float64Array(2 * count);
  const which = Array.from({ length: count }, (_, i) => {
    const radius = Math.sqrt(-2 * Math.log(1 - (i + 0.5) / count));
    const [turn, share] = EVEN.map((step) => ((first + i + 1) * step) % 1);
    normal[2 * i] = radius * Math.cos(2 * Math.PI * turn);
    normal[2 * i + 1] = radius * Math.sin(2 * Math.PI * turn);
    return Math.floor(share * n);
  });
  return { which, normal };
}

/** @typedef {{ ex: number, ey: number, x0: number, y0: number, log: number }} Said */

export class Drawing {
  /**
   * @param {ArrayLike<number>} points x and y in turn
   * @param {number} pen the standard deviation about each
   */
  constructor(points, pen) {
    this.points = Float64Array.from(points);
    this.count = points.length / 2;
    this.pen = pen;
    this.far = new Float64Array(this.count); // squared distances, while they are needed
  }

  /** Even draws from q(x_t), those near a point first; alpha_bar of each is asked for.
   * @type {(count: number, alphaBar: (i: number) => number, first?: number) => Float64Array}
   */
  draws(count, alphaBar, first = 0) {
    const { which, normal } = evenDraws(count, this.count, first);
    for (let i = 0; i < count; i++) {
      const [kept, variance] = this.noised(alphaBar(i));
      for (const c of [0, 1]) {
        const at = kept * this.points[2 * which[i] + c];
        normal[2 * i + c] = at + Math.sqrt(variance) * normal[2 * i + c];
      }
    }
    return normal;
  }

  /** What is left of a point, and the variance about it. @param {number} alphaBar */
  noised(alphaBar) {
    return [Math.sqrt(alphaBar), alphaBar * this.pen ** 2 + 1 - alphaBar];
  }

  /** What x_t says in the mean: E[eps | x_t], E[x_0 | x_t], and log q(x_t).
   * @type {(x: number, y: number, alphaBar: number) => Said}
   */
  at(x, y, alphaBar) {
    const { points, far } = this;
    const [kept, variance] = this.noised(alphaBar);
    let nearest = Infinity;
    for (let k = 0; k < far.length; k++) {
      const dx = x - kept * points[2 * k];
      const dy = y - kept * points[2 * k + 1];
      far[k] = dx * dx + dy * dy;
      if (far[k] < nearest) nearest = far[k];
    }
    const seen = nearest + 80 * variance; // what is beyond counts for less than 1e-17
    let [total, ex, ey, mx, my] = [0, 0, 0, 0, 0];
    for (let k = 0; k < far.length; k++) {
      if (far[k] > seen) continue;
      const share = Math.exp((nearest - far[k]) / (2 * variance));
      total += share;
      ex += share * (x - kept * points[2 * k]);
      ey += share * (y - kept * points[2 * k + 1]);
      mx += share * points[2 * k];
      my += share * points[2 * k + 1];
    }
    const log = Math.log(total / this.count / (2 * Math.PI * variance)) - nearest / (2 * variance);
    const [noise, pull] = [Math.sqrt(1 - alphaBar) / variance, (kept * this.pen ** 2) / variance];
    return {
      ex: (noise * ex) / total,
      ey: (noise * ey) / total,
      x0: (mx + pull * ex) / total,
      y0: (my + pull * ey) / total,
      log,
    };
  }

  /** E[eps | x_t] of each row: no network is nearer to the noise, in the mean square.
   * @type {(xt: Float64Array, alphaBar: (i: number) => number) => Float64Array}
   */
  eps(xt, alphaBar) {
    const out = new Float64Array(xt.length);
    for (let i = 0; i < xt.length; i += 2) {
      const { ex, ey } = this.at(xt[i], xt[i + 1], alphaBar(i / 2));
      [out[i], out[i + 1]] = [ex, ey];
    }
    return out;
  }

  /** E[x_0 | x_t] of each row, all at one t. Twin: Oracle.x0_hat.
   * @type {(xt: Float64Array, alphaBar: number) => Float64Array}
   */
  x0(xt, alphaBar) {
    const out = new Float64Array(xt.length);
    for (let i = 0; i < xt.length; i += 2) {
      const { x0, y0 } = this.at(xt[i], xt[i + 1], alphaBar);
      [out[i], out[i + 1]] = [x0, y0];
    }
    return out;
  }

  /** The least loss at t, per coordinate: 1 - E|eps*|^2 / 2. Where noise outweighs signal that is
   * a small difference of large numbers, and the same in terms of x_0 is none.
   * @type {(alphaBar: number, count?: number) => number}
   */
  floor(alphaBar, count = Math.round(Math.min(8192, Math.max(1024, 2 ** 21 / this.count)))) {
    const xt = this.draws(count, () => alphaBar);
    const best = this.eps(xt, () => alphaBar);
    const [signal, noise] = [Math.sqrt(alphaBar), Math.sqrt(1 - alphaBar)];
    let [ofEps, ofX0] = [0, 0];
    for (let i = 0; i < xt.length; i++) {
      ofEps += best[i] ** 2 / xt.length;
      ofX0 += ((xt[i] - noise * best[i]) / signal) ** 2 / xt.length;
    }
    return signal > noise ? 1 - ofEps : (signal / noise) ** 2 * (this.power - ofX0);
  }

  /** The entropy of the drawing in nats: no model of it has a lower bound.
   * @param {number} [count]
   */
  entropy(count = 4096) {
    const x = this.draws(count, () => 1);
    let sum = 0;
    for (let i = 0; i < x.length; i += 2) sum -= this.at(x[i], x[i + 1], 1).log;
    return sum / count;
  }

  /** The mean square of a coordinate. */
  get power() {
    return this.points.reduce((sum, v) => sum + v * v, 0) / this.points.length + this.pen ** 2;
  }
}

/** Lines 2 to 4 of Algorithm 1, for a whole batch: a point and where the pen was, a step, and noise. Each turn has
 * numbers of its own. Twin: ddpm_lite.widgets.points.draw_batch.
 * @type {(drawing: Pick<Drawing, "points" | "pen" | "count">, s: Pick<Schedule, "alphaBar">,
 *   how: { batch: number, seed: number }, turn: number) => Batch}
 */
export function draw(drawing, { alphaBar }, { batch, seed }, turn) {
  const own = (seed + Math.imul(turn + 1, 0x9e3779b1)) >>> 0;
  const u = uniforms(own, 2 * batch);
  const z = normals((own + 0x85ebca6b) >>> 0, 4 * batch);
  const [T, n] = [alphaBar.length - 1, 2 * batch];
  const t = Int32Array.from({ length: batch }, (_, i) => 1 + Math.floor(u[batch + i] * T));
  const x0 = Float64Array.from({ length: n }, (_, i) => {
    const which = Math.floor(u[i >> 1] * drawing.count);
    return drawing.points[2 * which + (i % 2)] + drawing.pen * z[i];
  });
  const eps = z.slice(n);
  const xt = x0.map((v, i) => {
    const kept = alphaBar[t[i >> 1]];
    return Math.sqrt(kept) * v + Math.sqrt(1 - kept) * eps[i];
  });
  return { x0, t, eps, xt };
}

/** The mean distance between a point of a and a point of b.
 * @type {(a: ArrayLike<number>, b: ArrayLike<number>) => number}
 */
function apart(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i += 2) {
    for (let j = 0; j < b.length; j += 2) sum += Math.hypot(a[i] - b[j], a[i + 1] - b[j + 1]);
  }
  return (4 * sum) / (a.length * b.length);
}

/** The energy distance of two sets of points, 0 where they are the same. Székely and Rizzo (2013).
 * @type {(a: ArrayLike<number>, b: ArrayLike<number>) => number}
 */
export function energyDistance(a, b) {
  return 2 * apart(a, b) - apart(a, a) - apart(b, b);
}
