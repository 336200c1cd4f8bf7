// The straight line from x_0 to its noise, (1 - s) x_0 + s eps, on which every schedule walks.

/** @import { Schedule } from "./mathematics.js" */

/** alpha_bar where the line has come to s.
 * @param {number} s
 */
export function keptAt(s) {
  return (1 - s) ** 2 / ((1 - s) ** 2 + s ** 2);
}

/** The schedule that walks on it evenly, s = t / T. Twin: line_schedule.
 * @param {number} T
 * @returns {Schedule}
 */
export function lineSchedule(T) {
  const beta = new Float64Array(T + 1);
  const alphaBar = new Float64Array(T + 1).fill(1);
  for (let t = 1; t <= T; t++) {
    beta[t] = 1 - keptAt(t / T) / keptAt((t - 1) / T);
    alphaBar[t] = alphaBar[t - 1] * (1 - beta[t]);
  }
  return { beta, alphaBar };
}

/** s, the place of x_t. Twin: NoiseSchedule.line.
 * @param {number} alphaBar
 */
export function placeOf(alphaBar) {
  const [signal, noise] = [Math.sqrt(alphaBar), Math.sqrt(1 - alphaBar)];
  return noise / (signal + noise);
}

/** The line's point, of which x_t is a multiple. Twin: GaussianDiffusion.to_line.
 * @type {(xt: Float64Array, alphaBar: number) => Float64Array}
 */
export function toLine(xt, alphaBar) {
  const both = Math.sqrt(alphaBar) + Math.sqrt(1 - alphaBar);
  return xt.map((v) => v / both);
}
