// The mathematics that widgets and the exported model share. Each function has a twin in Python, to
// which tests hold it.

/** Entries 0..T of a schedule; entry 0 is the data.
 * @typedef {{ beta: Float64Array, alphaBar: Float64Array }} Schedule
 */

/** The density of N(mean, variance) at x.
 * @type {(x: number, mean?: number, variance?: number) => number}
 */
export function gaussian(x, mean = 0, variance = 1) {
  return Math.exp(-((x - mean) ** 2) / (2 * variance)) / Math.sqrt(2 * Math.PI * variance);
}

/** Twin: ddpm_lite.schedule.
 * @type {(kind: "linear" | "cosine", T: number, start: number, end: number) => Schedule}
 */
export function schedule(kind, T, start, end) {
  const beta = new Float64Array(T + 1);
  const alphaBar = new Float64Array(T + 1).fill(1);
  /** @param {number} t */
  const f = (t) => Math.cos(((t / T + 0.008) / 1.008) * (Math.PI / 2)) ** 2;
  for (let t = 1; t <= T; t++) {
    beta[t] =
      kind === "cosine"
        ? Math.min(1 - f(t) / f(t - 1), 0.999)
        : start + (end - start) * (T > 1 ? (t - 1) / (T - 1) : 0);
    alphaBar[t] = alphaBar[t - 1] * (1 - beta[t]);
  }
  return { beta, alphaBar };
}

/** The paper's schedule. Twin: linear_schedule() of ddpm_lite. */
export function paperSchedule() {
  return schedule("linear", 1000, 1e-4, 0.02);
}

/** The same loss of signal in T steps. Twin: NoiseSchedule.rescaled.
 * @type {(s: Schedule, T: number) => Schedule}
 */
export function rescaled({ alphaBar }, T) {
  const steps = alphaBar.length - 1;
  const log = Float64Array.from({ length: T + 1 }, (_, t) => {
    const place = (t * steps) / T;
    const before = Math.min(steps - 1, Math.floor(place));
    const [low, high] = [Math.log(alphaBar[before]), Math.log(alphaBar[before + 1])];
    return low + (high - low) * (place - before);
  });
  return {
    beta: log.map((value, t) => (t ? -Math.expm1(value - log[t - 1]) : 0)),
    alphaBar: log.map(Math.exp),
  };
}

/** round(i T / steps) for i = 0..steps, halves to the even. Twin: spaced_times.
 * @type {(last: number, steps: number) => number[]}
 */
export function spacedTimes(last, steps) {
  return Array.from({ length: steps + 1 }, (_, i) => {
    const [whole, rest] = [Math.floor((i * last) / steps), (i * last) % steps];
    const up = 2 * rest > steps || (2 * rest === steps && whole % 2 === 1);
    return whole + (up ? 1 : 0);
  });
}

/** n even numbers in [0, 1): mulberry32. Twin: ddpm_lite.widgets.noise.uniforms.
 * @type {(seed: number, n: number) => Float64Array}
 */
export function uniforms(seed, n) {
  let state = seed >>> 0;
  const out = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = Math.imul(state ^ (state >>> 15), state | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    out[i] = ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  }
  return out;
}

/** n standard normal numbers, by Box and Muller. Twin: ddpm_lite.widgets.normals.
 * @type {(seed: number, n: number) => Float64Array}
 */
export function normals(seed, n) {
  const out = uniforms(seed, n + (n % 2));
  for (let i = 0; i < n; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - out[i]));
    const angle = 2 * Math.PI * out[i + 1];
    out[i] = radius * Math.cos(angle);
    out[i + 1] = radius * Math.sin(angle);
  }
  return out.subarray(0, n);
}

/** x_t = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) eps. Twin: GaussianDiffusion.q_sample.
 * @type {(x0: Float64Array, eps: Float64Array, alphaBar: number) => Float64Array}
 */
export function qSample(x0, eps, alphaBar) {
  const [signal, noise] = [Math.sqrt(alphaBar), Math.sqrt(1 - alphaBar)];
  return x0.map((value, i) => signal * value + noise * eps[i]);
}

/** The x_0 with which qSample gives x_t.
 * @type {(xt: Float64Array, eps: Float64Array, alphaBar: number) => Float64Array}
 */
export function x0From(xt, eps, alphaBar) {
  const [signal, noise] = [Math.sqrt(alphaBar), Math.sqrt(1 - alphaBar)];
  return xt.map((value, i) => (value - noise * eps[i]) / signal);
}

/** The eps with which qSample gives x_t.
 * @type {(xt: Float64Array, x0: Float64Array, alphaBar: number) => Float64Array}
 */
export function epsFrom(xt, x0, alphaBar) {
  const [signal, noise] = [Math.sqrt(alphaBar), Math.sqrt(1 - alphaBar)];
  return xt.map((value, i) => (value - signal * x0[i]) / noise);
}

/** The posterior of a step from alpha_bar `now` back to the larger `before`: the factors of x_0 and
 * x_t in its mean, and its variance, beta-tilde. Twin: q_posterior.
 * @type {(beta: number, now: number, before: number) =>
 *   { ofX0: number, ofXt: number, variance: number }}
 */
export function posterior(beta, now, before) {
  return {
    ofX0: (Math.sqrt(before) * beta) / (1 - now),
    ofXt: (Math.sqrt(1 - beta) * (1 - before)) / (1 - now),
    variance: ((1 - before) / (1 - now)) * beta,
  };
}

/** The posterior of step t of a schedule.
 * @type {(s: Schedule, t: number) => ReturnType<typeof posterior>}
 */
export function posteriorAt({ beta, alphaBar }, t) {
  return posterior(beta[t], alphaBar[t], alphaBar[t - 1]);
}

/** What a step back begins from: the picture and what the network makes of it, alpha_bar now and
 * after the step; the variance of the step's noise, and the noise itself where that is not 0.
 * @typedef {object} Step
 * @property {Float64Array} xt
 * @property {Float64Array} x0 the guess
 * @property {Float64Array} eps the noise that goes with it
 * @property {number} now
 * @property {number} before
 * @property {number | Float64Array} sigma2
 * @property {Float64Array | null} z
 */

/** One step of Algorithm 2, from any stop to any earlier one. Twin: GaussianDiffusion.p_draw.
 * @type {(step: Step) => Float64Array}
 */
export function ddpmStep({ xt, x0, now, before, sigma2, z }) {
  const { ofX0, ofXt } = posterior(1 - now / before, now, before);
  /** @param {number} i */
  const sigma = (i) => Math.sqrt(typeof sigma2 === "number" ? sigma2 : sigma2[i]);
  return x0.map((v, i) => ofX0 * v + ofXt * xt[i] + (z ? sigma(i) * z[i] : 0));
}

/** One step of DDIM, whose variance is one for all pixels. Twin: ddpm_lite.samplers.
 * @type {(step: Step & { sigma2: number }) => Float64Array}
 */
export function ddimStep({ x0, eps, before, sigma2, z }) {
  const [signal, sigma] = [Math.sqrt(before), Math.sqrt(sigma2)];
  const noise = Math.sqrt(Math.max(0, 1 - before - sigma2));
  return x0.map((v, i) => signal * v + noise * eps[i] + (z ? sigma * z[i] : 0));
}
