// A network for points of the plane, forwards and backwards, written out. Twin: PointNet(*NETWORK).

import { timeEmbedding } from "../engine/layers.js";
import { uniforms } from "../mathematics.js";
import { byRows, transposed } from "./matrices.js";

/** A layer, or its gradient: weight [out, in], as PyTorch has it, and bias [out].
 * @typedef {{ weight: Float64Array, bias: Float64Array, out: number, in: number }} Layer
 */
/** @typedef {Record<"x" | "t" | "scale" | "middle" | "last" | "out", Layer>} Layers */

const WIDTH = 32;
const TIME = 32; // numbers that stand for t
const WAVES = [3, 6]; // a small network sees fine detail sooner in these
const PLACE = 2 + 4 * WAVES.length; // numbers that stand for x_t
/** @type {[name: keyof Layers, out: number, width: number][]} */
const SHAPES = [
  ["x", WIDTH, PLACE],
  ["t", WIDTH, TIME],
  ["scale", WIDTH, TIME],
  ["middle", WIDTH, WIDTH],
  ["last", WIDTH, WIDTH],
  ["out", 2, WIDTH],
];
export const COUNT = SHAPES.reduce((count, [, out, n]) => count + out * n + out, 0);

/** The layers that lie in one long vector, without a copy: PyTorch's parameters_to_vector.
 * @type {(vector: Float64Array) => Layers}
 */
export function layersOf(vector) {
  const layers = /** @type {Layers} */ ({});
  let at = 0;
  /** @param {number} n */
  const next = (n) => {
    at += n;
    return vector.subarray(at - n, at);
  };
  for (const [name, out, n] of SHAPES) {
    layers[name] = { weight: next(out * n), bias: next(out), out, in: n };
  }
  return layers;
}

/** Weights to begin with: even between -1 / sqrt(in) and 1 / sqrt(in), as PyTorch has them. Twin:
 * PointNet.begin.
 * @type {(seed: number) => Float64Array}
 */
export function firstWeights(seed) {
  const weights = uniforms(seed, COUNT);
  for (const layer of Object.values(layersOf(weights))) {
    for (const part of [layer.weight, layer.bias]) {
      for (let i = 0; i < part.length; i++) part[i] = (2 * part[i] - 1) / Math.sqrt(layer.in);
    }
  }
  return weights;
}

/** W x + b for each row of x.
 * @type {(x: Float64Array, layer: Layer) => Float64Array}
 */
function linear(x, { weight, bias, out: m, in: k }) {
  const out = byRows(x, weight, x.length / k, m, k);
  for (let i = 0; i < out.length; i++) out[i] += bias[i % m];
  return out;
}

/** Given dL/d(out), add up dL/d(weight) and dL/d(bias), and return dL/dx.
 * @type {(dOut: Float64Array, x: Float64Array, layer: Layer, gradient: Layer) => Float64Array}
 */
function linearBack(dOut, x, layer, gradient) {
  const { weight, out: m, in: k } = layer;
  const rows = x.length / k;
  gradient.weight.set(byRows(transposed(dOut, rows, m), transposed(x, rows, k), m, k, rows));
  gradient.bias.fill(0);
  for (let i = 0; i < dOut.length; i++) gradient.bias[i % m] += dOut[i];
  return byRows(dOut, transposed(weight, m, k), rows, k, m);
}

/** SiLU, v / (1 + exp(-v)), and its slope.
 * @type {(v: Float64Array) => { value: Float64Array, slope: Float64Array }}
 */
function silu(v) {
  const [value, slope] = [new Float64Array(v.length), new Float64Array(v.length)];
  for (let i = 0; i < v.length; i++) {
    const sigmoid = 1 / (1 + Math.exp(-v[i]));
    value[i] = v[i] * sigmoid;
    slope[i] = sigmoid * (1 + v[i] * (1 - sigmoid));
  }
  return { value, slope };
}

/** Number by number. @type {(a: Float64Array, b: Float64Array) => Float64Array} */
function times(a, b) {
  const out = new Float64Array(a.length);
  for (let i = 0; i < a.length; i++) out[i] = a[i] * b[i];
  return out;
}

/** Number by number. @type {(a: Float64Array, b: Float64Array) => Float64Array} */
function plus(a, b) {
  const out = new Float64Array(a.length);
  for (let i = 0; i < a.length; i++) out[i] = a[i] + b[i];
  return out;
}

/** The times that are asked, each once, and which row asks which. @param {ArrayLike<number>} t */
function distinct(t) {
  /** @type {Map<number, number>} */
  const known = new Map();
  const place = Array.from(t, (one) => {
    if (!known.has(one)) known.set(one, known.size);
    return /** @type {number} */ (known.get(one));
  });
  const embedding = new Float64Array(known.size * TIME);
  for (const [one, i] of known) embedding.set(timeEmbedding(one, TIME), i * TIME);
  return { place, embedding };
}

/** What stands for x_t [B, 2]: it, and a sine and a cosine of each wave of it.
 * @type {(xt: Float64Array) => Float64Array}
 */
function placeOf(xt) {
  const out = new Float64Array((xt.length / 2) * PLACE);
  for (let i = 0; i < xt.length; i++) {
    const at = (i >> 1) * PLACE + (i % 2);
    out[at] = xt[i];
    for (const [k, wave] of WAVES.entries()) {
      out[at + 2 + 4 * k] = Math.sin(wave * xt[i]);
      out[at + 4 + 4 * k] = Math.cos(wave * xt[i]);
    }
  }
  return out;
}

/** Each row's own row of `table`.
 * @type {(table: Float64Array, place: number[]) => Float64Array}
 */
function gather(table, place) {
  const out = new Float64Array(place.length * WIDTH);
  for (const [row, i] of place.entries()) {
    for (let c = 0; c < WIDTH; c++) out[row * WIDTH + c] = table[i * WIDTH + c];
  }
  return out;
}

/** The way back of `gather`: the sum of the rows that had a row of the table.
 * @type {(rows: Float64Array, place: number[], count: number) => Float64Array}
 */
function scatter(rows, place, count) {
  const table = new Float64Array(count * WIDTH);
  for (const [row, i] of place.entries()) {
    for (let c = 0; c < WIDTH; c++) table[i * WIDTH + c] += rows[row * WIDTH + c];
  }
  return table;
}

/** What the network says of x_t [B, 2] at t [B], `out`, and all that the way back needs.
 * @param {Layers} layers
 * @param {Float64Array} xt
 * @param {ArrayLike<number>} t
 */
export function forward(layers, xt, t) {
  const { place, embedding } = distinct(t);
  const shift = gather(linear(embedding, layers.t), place);
  const scale = gather(linear(embedding, layers.scale), place).map((v) => 1 + v);
  const x = placeOf(xt);
  const first = silu(plus(linear(x, layers.x), shift));
  const middle = linear(first.value, layers.middle);
  const second = silu(times(middle, scale));
  const third = silu(linear(second.value, layers.last));
  const out = linear(third.value, layers.out);
  return { x, place, embedding, scale, first, middle, second, third, out };
}

/** dL/d(weights), one long vector, from dL/d(out): `forward` from its last line to its first.
 * @type {(layers: Layers, seen: ReturnType<typeof forward>, dOut: Float64Array) => Float64Array}
 */
export function backward(layers, seen, dOut) {
  const { x, place, embedding, scale, first, middle, second, third } = seen;
  const vector = new Float64Array(COUNT);
  const gradient = layersOf(vector);
  /** @type {(name: keyof Layers, d: Float64Array, x: Float64Array) => Float64Array} */
  const back = (name, d, x) => linearBack(d, x, layers[name], gradient[name]);
  const count = embedding.length / TIME;

  const dThird = times(back("out", dOut, third.value), third.slope);
  const dSecond = times(back("last", dThird, second.value), second.slope);
  back("scale", scatter(times(dSecond, middle), place, count), embedding);
  const dFirst = times(back("middle", times(dSecond, scale), first.value), first.slope);
  back("t", scatter(dFirst, place, count), embedding);
  back("x", dFirst, x);
  return vector;
}
