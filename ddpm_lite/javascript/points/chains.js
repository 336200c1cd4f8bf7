// Ways back from the same noise: Algorithm 2, and three solvers of the flow behind the chain. Each
// comes stop by stop, computed when it is asked for, so that a long way need not be taken at once.

import { ddimStep, ddpmStep, epsFrom, normals, spacedTimes, x0From } from "../mathematics.js";

/** @import { Schedule } from "../mathematics.js" */

/** What a network says of x_t [B, 2], all at the same t.
 * @typedef {(xt: Float64Array, t: number) => Float64Array} Network
 */

/** Where the points of a chain were, at one of its stops.
 * @typedef {{ t: number, x: Float64Array }} Stop
 */
/** @typedef {Stop[]} Path */
/** @typedef {Generator<Stop, void, void>} Way */

/** @typedef {Pick<Schedule, "alphaBar">} Kept */

const KEPT = 100; // stops of DDPM that are kept, beside the first

/** The guess at x_0 of a network that says eps.
 * @type {(eps: Network, s: Kept) => Network}
 */
export function guessOf(eps, { alphaBar }) {
  return (xt, t) => x0From(xt, eps(xt, t), alphaBar[t]);
}

/** Algorithm 2, with sigma_t^2 = beta_t. Twin: ddpm.
 * @type {(guess: Network, s: Schedule, start: Float64Array, seed: number, stops?: number) => Way}
 */
export function* ddpm(guess, { alphaBar, beta }, start, seed, stops = KEPT) {
  const T = alphaBar.length - 1;
  const kept = new Set(spacedTimes(T, Math.min(T, stops)));
  yield { t: T, x: start };
  let xt = start;
  for (let t = T; t > 0; t--) {
    const x0 = guess(xt, t);
    const [now, before] = [alphaBar[t], alphaBar[t - 1]];
    const own = (seed + Math.imul(t - 1, 0x9e3779b1)) >>> 0; // of the noise in x_{t-1}
    const z = t > 1 ? normals(own, xt.length) : null;
    xt = ddpmStep({ xt, x0, eps: x0, now, before, sigma2: beta[t], z });
    if (kept.has(t - 1)) yield { t: t - 1, x: xt };
  }
}

/** The step of the flow from alpha_bar `now` to `before`, with x_0 held fixed: DDIM's, eta = 0.
 * @type {(xt: Float64Array, x0: Float64Array, now: number, before: number) => Float64Array}
 */
function toward(xt, x0, now, before) {
  return ddimStep({ xt, x0, eps: epsFrom(xt, x0, now), now, before, sigma2: 0, z: null });
}

/** Along the flow in so many steps, each towards the x_0 that `best` makes of x_t, t and the next t.
 * @type {(s: Kept, start: Float64Array, steps: number,
 *   best: (xt: Float64Array, t: number, to: number) => Float64Array) => Way}
 */
function* along({ alphaBar }, start, steps, best) {
  const T = alphaBar.length - 1;
  const [, ...times] = spacedTimes(T, Math.min(T, steps)).reverse();
  let [t, x] = [T, start];
  yield { t, x };
  for (const to of times) {
    x = toward(x, best(x, t, to), alphaBar[t], alphaBar[to]);
    t = to;
    yield { t, x };
  }
}

/** DDIM with eta = 0, Euler's rule for the flow. Twin: ddim.
 * @type {(guess: Network, s: Kept, start: Float64Array, steps: number) => Way}
 */
export function ddim(guess, s, start, steps) {
  return along(s, start, steps, guess);
}

/** The step once more, with the mean of what is said at both ends, of x_0 or of eps; plain to t = 0.
 * Twin: heun.
 * @type {(guess: Network, s: Kept, start: Float64Array, steps: number, mean?: "x0" | "eps") => Way}
 */
export function heun(guess, s, start, steps, mean = "x0") {
  const { alphaBar } = s;
  return along(s, start, steps, (xt, t, to) => {
    const [now, after] = [alphaBar[t], alphaBar[to]];
    const x0 = guess(xt, t);
    if (to === 0) return x0;
    const ahead = toward(xt, x0, now, after);
    const then = guess(ahead, to);
    if (mean === "x0") return x0.map((v, i) => (v + then[i]) / 2);
    const [here, there] = [epsFrom(xt, x0, now), epsFrom(ahead, then, after)];
    return x0From(
      xt,
      here.map((v, i) => (v + there[i]) / 2),
      now,
    );
  });
}

/** DPM-Solver++(2M): x_0 drawn on from the last two guesses, over half a step h in log sqrt(SNR);
 * plain at first and to t = 0. Twin: dpm_solver.
 * @type {(guess: Network, s: Kept, start: Float64Array, steps: number) => Way}
 */
export function dpmSolver(guess, s, start, steps) {
  const lambda = s.alphaBar.map((kept) => Math.log(kept / (1 - kept)) / 2);
  /** @type {Float64Array | null} */
  let last = null; // the guess before, and its t
  let past = 0;
  return along(s, start, steps, (xt, t, to) => {
    const [x0, before, at] = [guess(xt, t), last, past];
    [last, past] = [x0, t];
    if (before === null || to === 0) return x0;
    const [h, hBefore] = [lambda[to] - lambda[t], lambda[t] - lambda[at]];
    return x0.map((v, i) => v + (h / (2 * hBefore)) * (v - before[i]));
  });
}
