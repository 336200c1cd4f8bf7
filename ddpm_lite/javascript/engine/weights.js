// Reading what an exported model holds.

import { decoded, half } from "../bytes.js";

/** An exported model, as `ddpm_lite.export.browser_script` writes it.
 * @typedef {object} Stored
 * @property {{ size: number, channels: number, width: number, heads: number }} config
 * @property {"beta" | "beta_tilde"} [variance] of the chain's steps back
 * @property {[name: string, shape: number[]][]} tensors in the order in which they are stored
 * @property {string} beta float64 in base64, beta_1..beta_T
 * @property {string} weights float16 in base64
 */

/** @typedef {{ weight: Float64Array, bias: Float64Array }} Layer */

/** The weights by their names, all in doubles: a browser adds nothing faster. */
export class Weights {
  /** @param {Stored} stored */
  constructor({ tensors, weights }) {
    const view = new DataView(decoded(weights));
    /** @type {Map<string, Float64Array>} */
    this.tensors = new Map();
    let place = 0;
    for (const [name, shape] of tensors) {
      const data = new Float64Array(shape.reduce((n, side) => n * side, 1));
      for (let i = 0; i < data.length; i++, place += 2) data[i] = half(view.getUint16(place, true));
      this.tensors.set(name, data);
    }
  }

  /** @param {string} name of a layer */
  has(name) {
    return this.tensors.has(`${name}.weight`);
  }

  /** @type {(name: string) => Layer} */
  layer(name) {
    const [weight, bias] = ["weight", "bias"].map((part) => this.tensors.get(`${name}.${part}`));
    if (!weight || !bias) throw new Error(`The model has no layer ${name}.`);
    return { weight, bias };
  }
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
