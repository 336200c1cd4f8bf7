// Three ways back from the same noise: Algorithm 2, DDIM, and the probability-flow ODE.

import { ddimStep, ddpmStep, normals, spacedTimes, x0From } from "../mathematics.js";

/** @import { Schedule } from "../mathematics.js" */

/** What a network makes of x_t [B, 2], all at the same t.
 * @typedef {(xt: Float64Array, t: number) => Float64Array} Eps
 */

/** Where the points of a chain were, at each of its stops.
 * @typedef {{ t: number, x: Float64Array }[]} Path
 */

const KEPT = 100; // stops of DDPM that are kept, beside the first
export const CALLS = 50; // of the network, at most, for DDIM and for the ODE

/** Algorithm 2, with sigma_t^2 = beta_t. Twin: ddpm.
 * @type {(eps: Eps, s: Schedule, start: Float64Array, seed: number) => Path}
 */
export function ddpm(eps, { alphaBar, beta }, start, seed) {
  const T = alphaBar.length - 1;
  const kept = new Set(spacedTimes(T, Math.min(T, KEPT)));
  const path = [{ t: T, x: start }];
  let xt = start;
  for (let t = T; t > 0; t--) {
    const said = eps(xt, t);
    const [now, before] = [alphaBar[t], alphaBar[t - 1]];
    const own = (seed + Math.imul(t - 1, 0x9e3779b1)) >>> 0; // of the noise in x_{t-1}
    const z = t > 1 ? normals(own, xt.length) : null;
    xt = ddpmStep({ xt, x0: x0From(xt, said, now), eps: said, now, before, sigma2: beta[t], z });
    if (kept.has(t - 1)) path.push({ t: t - 1, x: xt });
  }
  return path;
}

/** DDIM with eta = 0. Twin: ddim.
 * @type {(eps: Eps, s: Schedule, start: Float64Array) => Path}
 */
export function ddim(eps, { alphaBar }, start) {
  const T = alphaBar.length - 1;
  const [, ...times] = spacedTimes(T, Math.min(T, CALLS)).reverse();
  const path = [{ t: T, x: start }];
  for (const to of times) {
    const { t, x: xt } = path[path.length - 1];
    const said = eps(xt, t);
    const [now, before] = [alphaBar[t], alphaBar[to]];
    const x0 = x0From(xt, said, now);
    path.push({ t: to, x: ddimStep({ xt, x0, eps: said, now, before, sigma2: 0, z: null }) });
  }
  return path;
}

/** dy / d(sigma) = eps, where y = x / sqrt(alpha_bar) and sigma is noise over signal: Euler's steps
 * on it are DDIM; these are Heun's, with no more calls. Song et al. (2021), Eq. 13. Twin: flow.
 * @type {(eps: Eps, s: Schedule, start: Float64Array) => Path}
 */
export function flow(eps, { alphaBar }, start) {
  const T = alphaBar.length - 1;
  const [, ...times] = spacedTimes(T, Math.ceil(Math.min(T, CALLS) / 2)).reverse();
  const path = [{ t: T, x: start }];
  for (const to of times) {
    const { t, x } = path[path.length - 1];
    const [signal, after] = [Math.sqrt(alphaBar[t]), Math.sqrt(alphaBar[to])];
    const step = Math.sqrt(1 / alphaBar[to] - 1) - Math.sqrt(1 / alphaBar[t] - 1);
    const slope = eps(x, t);
    let next = x.map((v, i) => after * (v / signal + step * slope[i]));
    if (to > 0) {
      const there = eps(next, to);
      next = x.map((v, i) => after * (v / signal + (step * (slope[i] + there[i])) / 2));
    }
    path.push({ t: to, x: next });
  }
  return path;
}
