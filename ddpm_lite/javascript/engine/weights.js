// Reading what an exported model holds.

import { decoded, half } from "../bytes.js";

/** @import { Objective } from "../answers.js" */

/** An exported model, as `ddpm_lite.export.browser_script` writes it.
 * @typedef {object} Stored
 * @property {{ size: number, channels: number, width: number, heads: number }} config
 * @property {"beta" | "beta_tilde" | "learned"} [variance] of the chain's steps back
 * @property {Objective} [objective] what the network says of x_t; eps in an older script
 * @property {number | null} [classes] that it can be asked for, the last of which is none
 * @property {boolean} [self_condition] whether it is given its last guess beside x_t
 * @property {[name: string, shape: number[]][]} tensors in the order in which they are stored
 * @property {string} beta float64 in base64, beta_1..beta_T
 * @property {string} weights float16 in base64
 */

/** @typedef {{ weight: Float64Array, bias: Float64Array }} Layer */

/** The weights by their names, all in doubles: a browser adds nothing faster. */
export class Weights {
  /** @param {Stored} stored */
  constructor({ tensors, weights }) {
    // A processor's own order of bytes is that of the file wherever browsers run.
    const halves = new Uint16Array(decoded(weights));
    const values = Float64Array.from({ length: 65536 }, (_, bits) => half(bits)); // all there are
    /** @type {Map<string, Float64Array>} */
    this.tensors = new Map();
    this.shapes = tensors;
    let place = 0;
    for (const [name, shape] of tensors) {
      const data = new Float64Array(shape.reduce((n, side) => n * side, 1));
      for (let i = 0; i < data.length; i++) data[i] = values[halves[place++]];
      this.tensors.set(name, data);
    }
  }

  /** @param {string} name of a layer */
  has(name) {
    return this.tensors.has(`${name}.weight`);
  }

  /** Every layer that has a bias, by its name. */
  *names() {
    for (const [name] of this.shapes) if (name.endsWith(".bias")) yield name.slice(0, -5);
  }

  /** Every layer whose weights are filters, by its name. */
  *convolutions() {
    for (const [weight, shape] of this.shapes) {
      const name = weight.replace(/\.weight$/, "");
      if (shape.length === 4) yield/** @type {const} */ ([name, this.layer(name)]);
    }
  }

  /** @param {string} name */
  tensor(name) {
    const tensor = this.tensors.get(name);
    if (!tensor) throw new Error(`The model has no ${name}.`);
    return tensor;
  }

  /** @type {(name: string) => Layer} */
  layer(name) {
    return { weight: this.tensor(`${name}.weight`), bias: this.tensor(`${name}.bias`) };
  }
}

export const FILTERS = 4; // of outputs that are computed at a time

/** The filters of a convolution four by four, side by side, the last ones zeros where they do not come
 * out even: of each four the biases, then for each number of a filter the four weights.
 * @type {(layer: Layer) => Float32Array}
 */
export function packed({ weight, bias }) {
  const [O, R] = [bias.length, weight.length / bias.length];
  const out = new Float32Array(FILTERS * Math.ceil(O / FILTERS) * (1 + R));
  for (let o = 0; o < O; o++) {
    const four = FILTERS * (1 + R) * Math.floor(o / FILTERS) + (o % FILTERS);
    out[four] = bias[o];
    for (let r = 0; r < R; r++) out[four + FILTERS * (1 + r)] = weight[o * R + r];
  }
  return out;
}

/** alpha_bar_0..alpha_bar_T.
 * @type {(stored: Stored) => Float64Array}
 */
export function readAlphaBar(stored) {
  const beta = new Float64Array(decoded(stored.beta));
  const alphaBar = new Float64Array(beta.length + 1).fill(1);
  for (let t = 1; t <= beta.length; t++) alphaBar[t] = alphaBar[t - 1] * (1 - beta[t - 1]);
  return alphaBar;
}
