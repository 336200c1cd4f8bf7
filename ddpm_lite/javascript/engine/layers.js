// The layers of the U-Net, for one image at a time.

/** @import { Layer } from "./weights.js" */

/** C planes of n x n numbers, one after the other.
 * @typedef {{ x: Float64Array, C: number, n: number }} Image
 */

/** @type {(v: number) => number} */
export const silu = (v) => v / (1 + Math.exp(-v));

/** @type {(a: number, b: number) => number} */
const gcd = (a, b) => (b ? gcd(b, a % b) : a);

/** x [in] -> W x + b [out]. Twin: torch.nn.Linear.
 * @type {(x: Float64Array, layer: Layer) => Float64Array}
 */
export function linear(x, { weight, bias }) {
  const out = bias.slice();
  for (let o = 0, k = 0; o < out.length; o++) {
    for (let i = 0; i < x.length; i++) out[o] += weight[k++] * x[i];
  }
  return out;
}

/** Twin: ddpm_lite.blocks.time_embedding.
 * @type {(t: number, width: number) => Float64Array}
 */
export function timeEmbedding(t, width) {
  const n = Math.floor(width / 2);
  return Float64Array.from({ length: 2 * n }, (_, i) => {
    const angle = t * Math.exp((-Math.log(10000) / (n - 1)) * (i % n));
    return i < n ? Math.sin(angle) : Math.cos(angle);
  });
}

/** Groups of so many planes. Twin: ddpm_lite.blocks.group_norm.
 * @type {(C: number) => number}
 */
export const groupsOf = (C) => gcd(32, Math.floor(C / 4));

/** Twin: ddpm_lite.blocks.group_norm, followed by SiLU where `act`.
 * @type {(image: Image, layer: Layer, act?: boolean) => Image}
 */
export function norm({ x, C, n }, { weight, bias }, act = true) {
  const groups = groupsOf(C);
  const out = new Float64Array(x.length);
  const [N, each] = [n * n, (C / groups) * n * n];
  for (let start = 0; start < x.length; start += each) {
    let [sum, square] = [0, 0];
    for (let i = start; i < start + each; i++) sum += x[i];
    const mean = sum / each;
    for (let i = start; i < start + each; i++) square += (x[i] - mean) ** 2;
    const scale = 1 / Math.sqrt(square / each + 1e-6);
    for (let i = start, c = start / N; i < start + each; c++) {
      const [a, b] = [scale * weight[c], bias[c] - mean * scale * weight[c]];
      for (const end = i + N; i < end; i++) {
        const v = a * x[i] + b;
        out[i] = act ? silu(v) : v;
      }
    }
  }
  return { x: out, C, n };
}

/** The image in a frame of zeros, two wider; `edge` of it on the left and above.
 * @type {(image: Image, edge: number) => Float64Array}
 */
function padded({ x, C, n }, edge) {
  const W = n + 2;
  const out = new Float64Array(C * W * W);
  for (let c = 0, i = 0; c < C; c++) {
    for (let row = 0; row < n; row++, i += n) {
      out.set(x.subarray(i, i + n), c * W * W + (row + edge) * W + edge);
    }
  }
  return out;
}

/** An image as a product of matrices reads it. Each number of a filter has a row of all pixels, which
 * is the image from some place on: `rows` says where in `data`. A row has `width` numbers for each of
 * the n of the image that comes out; those past n are of the frame, and nobody's.
 * @type {(image: Image, side: 1 | 3, stride: 1 | 2) =>
 *   { data: Float64Array, rows: number[], width: number, n: number }}
 */
export function layOut(image, side, stride) {
  const { x, C, n } = image;
  /** @type {(each: (c: number, i: number, j: number) => number) => number[]} */
  const rowsOf = (each) =>
    Array.from({ length: C * side * side }, (_, r) => {
      const k = r % (side * side);
      return each(Math.floor(r / (side * side)), Math.floor(k / side), k % side);
    });
  if (side === 1) return { data: x, rows: rowsOf((c) => c * n * n), width: n, n };
  const W = n + 2;
  const data = padded(image, stride === 1 ? 1 : 0);
  if (stride === 1) return { data, rows: rowsOf((c, i, j) => (c * W + i) * W + j), width: W, n };
  // Every other pixel of a row stands beside the next where each plane is dealt out to four.
  const half = W / 2;
  const dealt = new Float64Array(data.length);
  for (let c = 0, k = 0; c < C; c++) {
    for (let i = 0; i < W; i++) {
      const from = ((4 * c + 2 * (i % 2)) * half + (i >> 1)) * half;
      for (let j = 0; j < W; j++) dealt[from + (j % 2) * half * half + (j >> 1)] = data[k++];
    }
  }
  /** @type {(c: number, i: number, j: number) => number} */
  const place = (c, i, j) => ((4 * c + 2 * (i % 2) + (j % 2)) * half + (i >> 1)) * half + (j >> 1);
  return { data: dealt, rows: rowsOf(place), width: half, n: n / 2 };
}

/** 3x3; with stride 2 the padding is on the right and below. Twins: Conv2d, Downsample.
 * @type {(image: Image, layer: Layer, stride?: number) => Image}
 */
export function conv3(image, { weight, bias }, stride = 1) {
  const { C, n } = image;
  const [O, m, W] = [bias.length, n / stride, n + 2];
  const x = padded(image, stride === 1 ? 1 : 0);
  const out = new Float64Array(O * m * m);
  for (let o = 0, w = 0; o < O; o++) {
    const from = o * m * m;
    out.fill(bias[o], from, from + m * m);
    for (let c = 0; c < C; c++, w += 9) {
      // Named one by one, so that they stay in registers: a third of the time of a loop.
      const a = weight[w];
      const b = weight[w + 1];
      const d = weight[w + 2];
      const e = weight[w + 3];
      const f = weight[w + 4];
      const g = weight[w + 5];
      const h = weight[w + 6];
      const k = weight[w + 7];
      const l = weight[w + 8];
      for (let row = 0, q = from; row < m; row++) {
        let p = c * W * W + row * stride * W;
        for (const end = q + m; q < end; q++, p += stride) {
          const [r, s] = [p + W, p + 2 * W];
          const top = a * x[p] + b * x[p + 1] + d * x[p + 2];
          const middle = e * x[r] + f * x[r + 1] + g * x[r + 2];
          out[q] += top + middle + h * x[s] + k * x[s + 1] + l * x[s + 2];
        }
      }
    }
  }
  return { x: out, C: O, n: m };
}

/** 1x1. Twin: Conv2d.
 * @type {(image: Image, layer: Layer) => Image}
 */
export function conv1({ x, C, n }, { weight, bias }) {
  const N = n * n;
  const out = new Float64Array(bias.length * N);
  for (let o = 0, k = 0; o < bias.length; o++) {
    out.fill(bias[o], o * N, (o + 1) * N);
    for (let c = 0; c < C; c++, k++) {
      for (let i = 0; i < N; i++) out[o * N + i] += weight[k] * x[c * N + i];
    }
  }
  return { x: out, C: bias.length, n };
}

/** Convolutions in JavaScript alone, which is everywhere. kernel.js has them for most browsers. */
export const plain = {
  /** @type {(image: Image, layer: Layer, side: 1 | 3, stride: 1 | 2) => Image} */
  convolve: (image, layer, side, stride) =>
    side === 3 ? conv3(image, layer, stride) : conv1(image, layer),
};

/** softmax(q k^T / sqrt(d)) v in each head, q, k and v one after the other. The heart of
 * ddpm_lite.blocks.Attention.
 * @type {(qkv: Image, heads: number) => Image}
 */
export function attend({ x, C, n }, heads) {
  const [inner, N] = [C / 3, n * n];
  const [d, out] = [inner / heads, new Float64Array(inner * N)];
  const shares = new Float64Array(N);
  for (let head = 0; head < heads; head++) {
    const [q, k, v] = [0, inner, 2 * inner].map((part) => (part + head * d) * N);
    for (let i = 0; i < N; i++) {
      shares.fill(0);
      for (let c = 0; c < d; c++) {
        const query = x[q + c * N + i] / Math.sqrt(d);
        for (let j = 0, from = k + c * N; j < N; j++) shares[j] += query * x[from + j];
      }
      softmax(shares);
      for (let c = 0; c < d; c++) {
        let seen = 0;
        for (let j = 0, from = v + c * N; j < N; j++) seen += shares[j] * x[from + j];
        out[(head * d + c) * N + i] = seen;
      }
    }
  }
  return { x: out, C: inner, n };
}

/** In place. @param {Float64Array} logits */
function softmax(logits) {
  let largest = Number.NEGATIVE_INFINITY;
  for (const logit of logits) if (logit > largest) largest = logit;
  let total = 0;
  for (let i = 0; i < logits.length; i++) {
    logits[i] = Math.exp(logits[i] - largest);
    total += logits[i];
  }
  for (let i = 0; i < logits.length; i++) logits[i] /= total;
}

/** Each pixel four times. Twin: the first half of ddpm_lite.blocks.Upsample.
 * @type {(image: Image) => Image}
 */
export function doubled({ x, C, n }) {
  const out = new Float64Array(4 * x.length);
  for (let i = 0, k = 0; i < C * n; i++) {
    for (let twice = 0; twice < 2; twice++) {
      for (let j = 0; j < 2 * n; j++) out[k++] = x[i * n + (j >> 1)];
    }
  }
  return { x: out, C, n: 2 * n };
}

/** @type {(a: Image, b: Image) => Image} */
export function plus(a, b) {
  const x = a.x.slice();
  for (let i = 0; i < x.length; i++) x[i] += b.x[i];
  return { ...a, x };
}

/** The planes of both.
 * @type {(a: Image, b: Image) => Image}
 */
export function joined(a, b) {
  const x = new Float64Array(a.x.length + b.x.length);
  x.set(a.x);
  x.set(b.x, a.x.length);
  return { x, C: a.C + b.C, n: a.n };
}
