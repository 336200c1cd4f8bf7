// The convolutions once more, four numbers at a time: products of matrices in WebAssembly.

import { at, constant, get, loop, moduleOf, op, set } from "./assembler.js";
import { layOut } from "./layers.js";
import { FILTERS, packed } from "./weights.js";

/** @import { Image } from "./layers.js" */
/** @import { Layer, Weights } from "./weights.js" */

const PAGE = 65536; // bytes, in which a memory grows
const VECTORS = 2; // of each output at a time, each of four floats
const SPAN = 4 * VECTORS; // pixels at a time

/** out[o][q] = bias[o] + sum_r weight[r][o] rows[r][q], for four o and all q: addresses all, but for
 * the count of rows and the bytes of an output. A row is anywhere, and `rows` says where.
 */
function program() {
  const [rows, count, weight, bias, out, stride] = [0, 1, 2, 3, 4, 5]; // parameters
  const [q, row, w, end, x] = [6, 7, 8, 9, 10]; // integers
  /** @param {number} v */
  const pixels = (v) => 11 + v;
  /** @type {(o: number, v: number) => number} */
  const total = (o, v) => 11 + VECTORS + VECTORS * o + v;
  const vectors = VECTORS * (1 + FILTERS);
  /** @type {<Made>(n: number, make: (i: number) => Made) => Made[]} */
  const each = (n, make) => Array.from({ length: n }, (_, i) => make(i));

  const begin = each(FILTERS, (o) =>
    each(VECTORS, (v) => set(total(o, v), at("v128.load32_splat", get(bias), 4 * o))),
  );
  const add = each(FILTERS, (o) =>
    each(VECTORS, (v) => {
      const factor = at("v128.load32_splat", get(w), 4 * o);
      return set(
        total(o, v),
        op("f32x4.add", get(total(o, v)), op("f32x4.mul", factor, get(pixels(v)))),
      );
    }),
  );
  const store = each(FILTERS, (o) =>
    each(VECTORS, (v) => {
      const place = op("i32.add", get(out), op("i32.mul", get(stride), constant(o)));
      return at("v128.store", op("i32.add", place, get(q)), 16 * v, get(total(o, v)));
    }),
  );
  /** @type {(local: number, by: number) => import("./assembler.js").Bytes} */
  const advance = (local, by) => set(local, op("i32.add", get(local), constant(by)));
  return moduleOf(
    6,
    5,
    vectors,
    set(end, op("i32.add", get(rows), op("i32.mul", get(count), constant(4)))),
    loop(
      op("i32.lt_u", get(q), get(stride)),
      ...begin,
      set(row, get(rows)),
      set(w, get(weight)),
      loop(
        op("i32.lt_u", get(row), get(end)),
        set(x, op("i32.add", at("i32.load", get(row)), get(q))),
        ...each(VECTORS, (v) => set(pixels(v), at("v128.load", get(x), 16 * v))),
        ...add,
        advance(row, 4),
        advance(w, 4 * FILTERS),
      ),
      ...store,
      advance(q, 4 * SPAN),
    ),
  );
}

/** Convolutions in a memory of their own, which holds the weights. Throws where a page may not
 * compile WebAssembly, or the browser has none with vectors.
 */
export class Kernel {
  /** @param {Weights} weights */
  constructor(weights) {
    this.memory = new WebAssembly.Memory({ initial: 1 });
    const made = new WebAssembly.Module(program());
    const { exports } = new WebAssembly.Instance(made, { page: { memory: this.memory } });
    this.run = /** @type {(...addresses: number[]) => void} */ (exports.run);
    /** @type {Map<Float64Array, number>} */
    this.places = new Map(); // of packed weights: the bias, then four filters side by side
    this.used = 0; // bytes
    for (const [, layer] of weights.convolutions()) this.pack(layer);
  }

  /** The numbers of the memory, when it has room for so many bytes after the weights.
   * @param {number} bytes
   */
  room(bytes) {
    const missing = this.used + bytes - this.memory.buffer.byteLength;
    if (missing > 0) this.memory.grow(Math.ceil(missing / PAGE));
    return new Float32Array(this.memory.buffer);
  }

  /** @param {Layer} layer */
  pack(layer) {
    const filters = packed(layer);
    this.room(filters.byteLength).set(filters, this.used / 4);
    this.places.set(layer.weight, this.used);
    this.used += filters.byteLength;
  }

  /** The same as `conv3` and `conv1` of layers.js.
   * @type {(image: Image, layer: Layer, side: 1 | 3, stride: 1 | 2) => Image}
   */
  convolve(image, { weight, bias }, side, stride) {
    const place = this.places.get(weight);
    if (place === undefined) throw new Error("These weights are not in the kernel's memory.");
    const { data, rows, width, n } = layOut(image, side, stride);
    const [O, R] = [bias.length, rows.length];
    const count = SPAN * Math.ceil((n * width) / SPAN); // of an output, the frame's zeros and all
    const fours = Math.ceil(O / FILTERS);
    // After the weights: where the rows are, the image, room to read past it, and what comes out.
    const x = this.used + 4 * R;
    const out = x + 4 * (data.length + count + SPAN);
    const floats = this.room(out - this.used + 4 * FILTERS * fours * count);
    const table = new Int32Array(this.memory.buffer, this.used, R);
    for (let r = 0; r < R; r++) table[r] = x + 4 * rows[r];
    floats.set(data, x / 4);
    for (let four = 0; four < fours; four++) {
      const own = place + 4 * FILTERS * (1 + R) * four;
      const there = out + 4 * FILTERS * count * four;
      this.run(this.used, R, own + 4 * FILTERS, own, there, 4 * count);
    }
    const result = new Float64Array(O * n * n);
    for (let o = 0, i = 0; o < O; o++) {
      for (let row = 0; row < n; row++) {
        let from = out / 4 + o * count + row * width;
        for (const end = i + n; i < end; i++) result[i] = floats[from++];
      }
    }
    return { x: result, C: O, n };
  }
}
