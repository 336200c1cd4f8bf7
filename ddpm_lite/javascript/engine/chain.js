// The chain that draws. Twin: ddpm_lite.widgets.sampler.walk.

import { guided, learnedVariance, mixed, toEps, toX0 } from "../answers.js";
import {
  ddimStep,
  ddpmStep,
  epsFrom,
  normals,
  posterior,
  qSample,
  spacedTimes,
} from "../mathematics.js";
import { clamp } from "../numbers.js";
import { eager } from "./eager.js";
import { onGPU } from "./gpu.js";
import { Kernel } from "./kernel.js";
import { plain } from "./layers.js";
import { UNet } from "./unet.js";
import { readAlphaBar, Weights } from "./weights.js";

/** @import { Step } from "../mathematics.js" */
/** @import { Asked } from "./gpu.js" */
/** @import { Stored } from "./weights.js" */

/** What a chain is begun with.
 * @typedef {object} Begin
 * @property {"begin"} do
 * @property {"ddim" | "ddpm"} sampler
 * @property {number} [steps] from T to 0; T of them where not given
 * @property {number} [eta] of DDIM
 * @property {"beta" | "beta_tilde" | "learned"} [variance] of DDPM; the model's own where not given
 * @property {boolean} [clip] the guess to [-1, 1]
 * @property {number} [seed]
 * @property {number} [images]
 * @property {number[] | null} [drawing] an image to begin with, noised to `t_start`
 * @property {number} [t_start]
 * @property {number} [label] of a model with classes; the last of them, none, where not given
 * @property {number} [scale] how far to go from the answer without the label towards the one with it
 */

/** Where the chain will stop, alpha_bar there, and the shape of what it draws.
 * @typedef {object} Begun
 * @property {number[]} times
 * @property {number[]} alphaBar
 * @property {[count: number, channels: number, height: number, width: number]} shape
 * @property {string} [where] it is computed; a kernel says so
 * @property {boolean} [fast] whether by WebAssembly
 */

/** How to compute: without `fast` by JavaScript alone. A GPU joins when it is ready, unless `gpu` is
 * false; where it is "wait", a chain waits for it to begin, and one that is a program will do.
 * @typedef {{ fast?: boolean, gpu?: boolean | "wait" }} How
 */

/** x_t, x0_hat and eps_hat of all images, one after the other. A model with classes adds the eps_hat
 * that it has with the label and the one without.
 * @typedef {{ t: number, data: Float32Array }} Frame
 */

/** Go on for so many milliseconds, one step at least.
 * @typedef {{ do: "next", ms?: number }} Next
 */

/** `gpu` is how many of the steps a GPU has taken.
 * @typedef {{ frames: Frame[], done: boolean, ms: number, steps: number, gpu?: number }} Advanced
 */

const TOLERANCE = 1e-3; // of what a GPU says, of the largest number
const AGAIN = 3; // times in a row that a GPU is asked for in vain, after one was lost

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

/** What the network says of x_t, one number for each of it; of the variance, where that is learned;
 * and, where there are classes, with a label and without.
 * @typedef {object} Said
 * @property {Float64Array} output
 * @property {Float64Array} [share]
 * @property {[withLabel: Float64Array, without: Float64Array]} [apart]
 */

/** The convolutions by WebAssembly, or without it where the browser or the page's policy refuses it:
 * slower, and the same numbers.
 * @type {(weights: Weights, fast: boolean) => Kernel | typeof plain}
 */
function productsOf(weights, fast) {
  if (!fast) return plain;
  try {
    return new Kernel(weights);
  } catch {
    return plain;
  }
}

/** A model and its chain under way. */
export class Chain {
  /**
   * @param {Stored} stored
   * @param {How} [how]
   */
  constructor(stored, { fast = true, gpu = fast } = {}) {
    const { channels, size } = stored.config;
    const weights = new Weights(stored);
    this.products = productsOf(weights, fast);
    this.fast = this.products !== plain;
    this.shape = /** @type {[number, number, number]} */ ([channels, size, size]);
    this.alphaBar = readAlphaBar(stored);
    this.unet = new UNet(stored.config, weights);
    // An older script does not say what follows.
    this.variance = stored.variance ?? "beta";
    this.objective = stored.objective ?? "eps";
    this.classes = stored.classes ?? 0;
    this.learned = weights.tensor("conv_out.bias").length > channels; // the variance too
    this.selfCondition = stored.self_condition ?? false;
    /** @type {{ options: Begin, times: number[], i: number, xt: Float64Array,
     *   guess: Float64Array | null } | undefined} */
    this.now = undefined; // about to step from times[i]
    /** @type {Awaited<ReturnType<typeof onGPU>> | undefined} */
    this.gpu = undefined; // until it has joined, and again once it has failed
    this.refused = ""; // why there is none
    this.stopped = false;
    /** @type {Promise<unknown> | undefined} */
    this.trying = undefined; // a GPU is being timed
    this.waits = gpu === "wait";
    this.lost = false; // the device has gone, as when the machine slept or its driver began anew
    this.again = AGAIN;
    this.joining = gpu && globalThis.navigator?.gpu ? this.join() : undefined;
  }

  /** Take a GPU where there is one, once it has said what the processor says, as fast. One that is a
   * program, or slow, is taken where it is waited for.
   */
  async join() {
    /** @type {Awaited<ReturnType<typeof onGPU>> | undefined} */
    let gpu;
    const before = this.lost; // and false meanwhile, so that no chain asks for a second
    [this.gpu, this.lost, this.refused] = [undefined, false, ""];
    try {
      gpu = await onGPU(this.unet, this.waits, () => {
        this.lost = true;
      });
      await this.try(gpu, this.waits);
      if (this.stopped) gpu.stop();
      else [this.gpu, this.again] = [gpu, AGAIN];
    } catch (error) {
      gpu?.stop();
      this.lost ||= before;
      this.refused = error instanceof Error ? error.message : String(error);
    }
  }

  /** Hold what a GPU says of one image, at T and half way, to what the processor says. Its second answer,
   * for which all is ready, may not take longer than the processor's, unless it is known to be slow.
   * @type {(gpu: Awaited<ReturnType<typeof onGPU>>, slow: boolean) => Promise<void>}
   */
  async try(gpu, slow) {
    const T = this.alphaBar.length - 1;
    const n = this.shape.reduce((a, b) => a * b);
    for (const t of [T, Math.ceil(T / 2)]) {
      const [asked] = this.questions(normals(1, n), t, this.classes ? 0 : undefined, null);
      const start = performance.now();
      const known = this.asked(asked);
      const own = performance.now() - start;
      const asking = gpu.answers([asked]);
      if (t < T && !slow) {
        /** @type {Promise<"late">} */
        const late = new Promise((resolve) => setTimeout(() => resolve("late"), own));
        const first = Promise.race([asking, late]);
        this.trying = first.catch(() => {}); // what is wrong is thrown here
        if ((await first) === "late") throw new Error("the GPU is slower");
      }
      const [said] = await asking;
      const size = known.reduce((most, v) => Math.max(most, Math.abs(v)), 1);
      if (!said.every((v, i) => Math.abs(v - known[i]) < TOLERANCE * size)) {
        throw new Error("the GPU says something else");
      }
    }
  }

  /** Give back the GPU, or let none join any more. */
  stop() {
    this.stopped = true;
    this.gpu?.stop();
    this.gpu = undefined;
  }

  /** @type {(message: Begin | Next) => Promise<Begun | Advanced>} */
  async answer(message) {
    if (message.do === "begin" && this.lost && this.again-- > 0) this.joining = this.join();
    if (this.waits) await this.joining;
    return message.do === "begin" ? this.begin(message) : this.next(message);
  }

  /** Draw x_T, or noise a drawing to t_start; say where the chain will stop.
   * @type {(options: Begin) => Begun}
   */
  begin(options) {
    this.check(options);
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
    this.now = { options, times, i: times.length - 1, xt, guess: null };
    const stops = [...times].reverse();
    const alphaBar = stops.map((t) => this.alphaBar[t]);
    return { times: stops, alphaBar, shape: [images, ...this.shape], fast: this.fast };
  }

  /** @param {Begin} options */
  check({ label, scale = 1 }) {
    const { classes } = this;
    if (label !== undefined && !(Number.isInteger(label) && label >= 0 && label < classes)) {
      const known = classes ? `be a whole number in 0..${classes - 1}` : "not be given: no classes";
      throw new Error(`label must ${known}, got ${label}`);
    }
    if (!(scale >= 0)) throw new Error(`scale must not be negative, got ${scale}`);
  }

  /** Step on for so many milliseconds, once at least.
   * @type {(message: Next) => Promise<Advanced>}
   */
  async next({ ms = 0 }) {
    const start = performance.now();
    /** @type {Frame[]} */
    const frames = [];
    let [t, gpu] = [1, 0];
    do {
      frames.push(await this.step());
      t = frames[frames.length - 1].t;
      if (t > 0 && this.gpu) gpu++;
    } while (t > 0 && performance.now() - start < ms);
    const steps = frames.length - (t === 0 ? 1 : 0);
    return { frames, done: t === 0, ms: performance.now() - start, steps, gpu };
  }

  /** One step. Returns what it was before the step; at the end, the image.
   * @type {() => Promise<Frame>}
   */
  async step() {
    if (!this.now) throw new Error("No chain is under way: begin one.");
    const { options, times, i, xt, guess } = this.now;
    if (i === 0) {
      const none = new Float64Array(xt.length);
      return frame(0, xt, xt, ...(this.classes ? [none, none, none] : [none]));
    }
    const { sampler, clip = true, seed = 0 } = options;
    const [t, now, before] = [times[i], this.alphaBar[times[i]], this.alphaBar[times[i - 1]]];
    const { output, share, apart = [] } = await this.say(xt, t, options, guess);
    let eps = mixed(toEps(this.objective, now), output, xt);
    let x0 = mixed(toX0(this.objective, now), output, xt);
    if (clip) {
      x0 = x0.map((v) => clamp(v, -1, 1));
      eps = epsFrom(xt, x0, now);
    }
    const z = () => noiseOf(seed, i, xt.length);
    const trip = { xt, x0, eps, now, before };
    const after =
      sampler === "ddim"
        ? this.#ddim(trip, options.eta ?? 0, z)
        : this.#ddpm(trip, options.variance ?? this.variance, i > 1 ? z : null, share);
    this.now = { options, times, i: i - 1, xt: after, guess: x0 };
    const noises = apart.map((said) => mixed(toEps(this.objective, now), said, xt));
    return frame(t, xt, x0, eps, ...noises);
  }

  /** @type {(trip: Omit<Step, "sigma2" | "z">, eta: number, z: () => Float64Array) =>
   *   Float64Array} */
  #ddim(trip, eta, z) {
    const { now, before } = trip;
    const sigma2 = eta * eta * posterior(1 - now / before, now, before).variance;
    return ddimStep({ ...trip, sigma2, z: sigma2 > 0 ? z() : null });
  }

  /** @type {(trip: Omit<Step, "sigma2" | "z">, variance: NonNullable<Stored["variance"]>,
   *   z: (() => Float64Array) | null, share: Float64Array | undefined) => Float64Array} */
  #ddpm(trip, variance, z, share) {
    if (!z) return ddpmStep({ ...trip, sigma2: 0, z });
    const { now, before } = trip;
    const beta = 1 - now / before;
    const tilde = posterior(beta, now, before).variance;
    /** @type {number | Float64Array} */
    let sigma2 = variance === "beta" ? beta : tilde;
    if (variance === "learned") {
      if (!share) throw new Error("variance must be beta or beta_tilde: this model learned none");
      sigma2 = learnedVariance(share, beta, tilde);
    }
    return ddpmStep({ ...trip, sigma2, z: z() });
  }

  /** What the network says of all images: with classes it is asked twice.
   * @type {(xt: Float64Array, t: number, asked: Pick<Begin, "label" | "scale">,
   *   guess: Float64Array | null) => Promise<Said>}
   */
  async say(xt, t, { label, scale = 1 }, guess) {
    const nothing = this.classes ? this.classes - 1 : undefined;
    const labels = label === undefined || label === nothing ? [nothing] : [label, nothing];
    const asked = labels.flatMap((label) => this.questions(xt, t, label, guess));
    const answers = await this.answers(asked);
    const each = answers.length / labels.length;
    const said = labels.map((_, i) => this.told(answers.slice(i * each, (i + 1) * each)));
    const [own, without] = [said[0], said[said.length - 1]];
    if (!this.classes) return own;
    const output = guided(scale, own.output, without.output);
    return { output, share: own.share, apart: [own.output, without.output] };
  }

  /** By the GPU while there is one; what it cannot do, the processor does from then on.
   * @type {(asked: Asked[]) => Promise<Float64Array[]>}
   */
  async answers(asked) {
    await this.trying; // a step meanwhile would be time that the GPU is charged with
    const { gpu } = this;
    try {
      const said = await gpu?.answers(asked);
      if (said?.every((one) => one.every(Number.isFinite))) return said;
      if (said) throw new Error("the GPU says what is no number");
    } catch (error) {
      gpu?.stop();
      if (this.gpu === gpu) {
        // and not another, that has joined meanwhile
        this.gpu = undefined;
        this.refused = error instanceof Error ? error.message : String(error);
      }
    }
    return asked.map((one) => this.asked(one));
  }

  /** What the network says of one image, by the processor.
   * @param {Asked} asked
   */
  asked({ x, ...when }) {
    return eager(this.unet, this.products, x, when);
  }

  /** What the network is asked, for each image.
   * @type {(xt: Float64Array, t: number, label: number | undefined, guess: Float64Array | null) =>
   *   Asked[]}
   */
  questions(xt, t, label, guess) {
    const n = this.shape.reduce((a, b) => a * b);
    return Array.from({ length: xt.length / n }, (_, b) => {
      const seen = xt.subarray(b * n, (b + 1) * n);
      const beside = guess?.subarray(b * n, (b + 1) * n) ?? new Float64Array(n);
      return { x: this.selfCondition ? Float64Array.of(...beside, ...seen) : seen, t, label };
    });
  }

  /** The answers for all images, one after the other.
   * @type {(answers: Float64Array[]) => Said}
   */
  told(answers) {
    const n = this.shape.reduce((a, b) => a * b);
    const output = new Float64Array(n * answers.length);
    const share = this.learned ? new Float64Array(output.length) : undefined;
    for (const [b, said] of answers.entries()) {
      output.set(said.subarray(0, n), b * n);
      share?.set(said.subarray(n), b * n);
    }
    return { output, share };
  }

  /** eps_hat of all images, with a label where there are classes.
   * @type {(xt: Float64Array, t: number, label?: number) => Float64Array}
   */
  epsHat(xt, t, label = this.classes ? this.classes - 1 : undefined) {
    const answers = this.questions(xt, t, label, null).map((one) => this.asked(one));
    const { output } = this.told(answers);
    return mixed(toEps(this.objective, this.alphaBar[t]), output, xt);
  }
}
