// The chain that draws. Twin: ddpm_lite.widgets.sampler.walk.

import {
  clamp,
  ddimStep,
  ddpmStep,
  epsFrom,
  normals,
  posterior,
  qSample,
  spacedTimes,
  x0From,
} from "../mathematics.js";
import { UNet } from "./unet.js";
import { readAlphaBar, Weights } from "./weights.js";

/** @import { Stored } from "./weights.js" */

/** What a chain is begun with.
 * @typedef {object} Begin
 * @property {"begin"} do
 * @property {"ddim" | "ddpm"} sampler
 * @property {number} [steps] from T to 0; T of them where not given
 * @property {number} [eta] of DDIM
 * @property {"beta" | "beta_tilde"} [variance] of DDPM; the model's own where not given
 * @property {boolean} [clip] the guess to [-1, 1]
 * @property {number} [seed]
 * @property {number} [images]
 * @property {number[] | null} [drawing] an image to begin with, noised to `t_start`
 * @property {number} [t_start]
 */

/** Where the chain will stop, alpha_bar there, and the shape of what it draws.
 * @typedef {object} Begun
 * @property {number[]} times
 * @property {number[]} alphaBar
 * @property {[count: number, channels: number, height: number, width: number]} shape
 * @property {string} [where] it is computed; a kernel says so
 */

/** x_t, x0_hat and eps_hat of all images, one after the other.
 * @typedef {{ t: number, data: Float32Array }} Frame
 */

/** Go on for so many milliseconds, one step at least.
 * @typedef {{ do: "next", ms?: number }} Next
 */

/** @typedef {{ frames: Frame[], done: boolean, ms: number, steps: number }} Advanced */

/** The noise of step i, each step's its own; 0 is what the chain begins with.
 * @type {(seed: number, i: number, n: number) => Float64Array}
 */
function noiseOf(seed, i, n) {
  return normals((seed + Math.imul(i, 0x9e3779b1)) >>> 0, n);
}

/** @type {(t: number, ...parts: Float64Array[]) => Frame} */
function frame(t, ...parts) {
  const data = new Float32Array(parts.length * parts[0].length);
  for (const [k, part] of parts.entries()) data.set(part, k * part.length);
  return { t, data };
}

/** The variance of the noise of a step, which may skip some of the thousand.
 * @type {(options: Begin, now: number, before: number, last: boolean) => number}
 */
function noiseVariance({ sampler, eta = 0, variance }, now, before, last) {
  const beta = 1 - now / before;
  const tilde = posterior(beta, now, before).variance;
  if (sampler === "ddim") return eta * eta * tilde;
  if (last) return 0;
  return variance === "beta" ? beta : tilde;
}

/** A model and its chain under way. */
export class Chain {
  /** @param {Stored} stored */
  constructor(stored) {
    const { channels, size } = stored.config;
    this.shape = /** @type {[number, number, number]} */ ([channels, size, size]);
    this.alphaBar = readAlphaBar(stored);
    this.unet = new UNet(stored.config, new Weights(stored));
    this.variance = stored.variance ?? "beta"; // an older script does not say
    /** @type {{ options: Begin, times: number[], i: number, xt: Float64Array } | undefined} */
    this.now = undefined; // about to step from times[i]
  }

  /** @type {(message: Begin | Next) => Begun | Advanced} */
  answer(message) {
    return message.do === "begin" ? this.begin(message) : this.next(message);
  }

  /** Draw x_T, or noise a drawing to t_start; say where the chain will stop.
   * @type {(options: Begin) => Begun}
   */
  begin(options) {
    const T = this.alphaBar.length - 1;
    const { images = 1, seed = 0, steps = T, drawing = null, t_start = T } = options;
    const first = drawing ? t_start : T;
    const times = spacedTimes(first, Math.max(1, Math.ceil((steps * first) / T)));
    const [channels, height, width] = this.shape;
    let xt = noiseOf(seed, 0, images * channels * height * width);
    if (drawing) {
      const copies = Float64Array.from(xt, (_, k) => drawing[k % drawing.length]);
      xt = qSample(copies, xt, this.alphaBar[first]);
    }
    this.now = { options, times, i: times.length - 1, xt };
    const stops = [...times].reverse();
    const alphaBar = stops.map((t) => this.alphaBar[t]);
    return { times: stops, alphaBar, shape: [images, ...this.shape] };
  }

  /** Step on for so many milliseconds, once at least.
   * @type {(message: Next) => Advanced}
   */
  next({ ms = 0 }) {
    const start = performance.now();
    const frames = [this.step()];
    let { t } = frames[0];
    while (t > 0 && performance.now() - start < ms) {
      frames.push(this.step());
      t = frames[frames.length - 1].t;
    }
    const steps = frames.length - (t === 0 ? 1 : 0);
    return { frames, done: t === 0, ms: performance.now() - start, steps };
  }

  /** One step. Returns what it was before the step; at the end, the image.
   * @type {() => Frame}
   */
  step() {
    if (!this.now) throw new Error("No chain is under way: begin one.");
    const { options, times, i, xt } = this.now;
    if (i === 0) return frame(0, xt, xt, new Float64Array(xt.length));
    const { sampler, clip = true, seed = 0 } = options;
    const [t, now, before] = [times[i], this.alphaBar[times[i]], this.alphaBar[times[i - 1]]];
    let eps = this.epsHat(xt, t);
    let x0 = x0From(xt, eps, now);
    if (clip) {
      x0 = x0.map((v) => clamp(v, -1, 1));
      eps = epsFrom(xt, x0, now);
    }
    const variance = options.variance ?? this.variance;
    const sigma2 = noiseVariance({ ...options, variance }, now, before, i === 1);
    const z = sigma2 > 0 ? noiseOf(seed, i, xt.length) : null;
    const back = sampler === "ddim" ? ddimStep : ddpmStep;
    const after = back({ xt, x0, eps, now, before, sigma2, z });
    this.now = { options, times, i: i - 1, xt: after };
    return frame(t, xt, x0, eps);
  }

  /** eps_theta(x_t, t) of all images, one after the other.
   * @type {(xt: Float64Array, t: number) => Float64Array}
   */
  epsHat(xt, t) {
    const n = this.shape.reduce((a, b) => a * b);
    const eps = new Float64Array(xt.length);
    for (let b = 0; b < xt.length; b += n) eps.set(this.unet.epsHat(xt.subarray(b, b + n), t), b);
    return eps;
  }
}
