// The network, built from the names of its weights. Twin: ddpm_lite.unet.UNet.

import { linear, silu, timeEmbedding } from "./layers.js";

/** @import { Stored, Weights } from "./weights.js" */

/** What a convolution does besides: it sees each pixel four times where it goes `up`, and adds a
 * number to each plane, and another image.
 * @template Image
 * @template Shift
 * @typedef {{ stride?: 1 | 2, up?: boolean, shift?: Shift, beside?: Image }} More
 */

/** Who computes the layers, each by the name of its weights: eager.js at once, gpu.js later.
 * @template Image
 * @template Shift
 * @typedef {object} Layers
 * @property {(image: Image, name: string, side: 1 | 3, more?: More<Image, Shift>) => Image} convolve
 * @property {(image: Image, name: string, act: boolean) => Image} norm and SiLU, where `act`
 * @property {(qkv: Image, heads: number) => Image} attend
 * @property {(a: Image, b: Image) => Image} joined
 * @property {(name: string) => Shift} shift that the time has in a block
 */

/** Where the network is asked: a time, and a label where it has classes.
 * @typedef {{ t: number, label?: number }} When
 */

export class UNet {
  /**
   * @param {Stored["config"]} config
   * @param {Weights} weights
   */
  constructor(config, weights) {
    this.config = config;
    this.weights = weights;
  }

  /** The time and the label as all blocks are told them.
   * @type {(when: When) => Float64Array}
   */
  told({ t, label }) {
    const { weights } = this;
    const hidden = linear(timeEmbedding(t, this.config.width), weights.layer("time.0")).map(silu);
    const temb = linear(hidden, weights.layer("time.2"));
    if (label !== undefined) {
      const rows = weights.tensor("labels.weight");
      for (let i = 0; i < temb.length; i++) temb[i] += rows[label * temb.length + i];
    }
    return temb.map(silu);
  }

  /** What they add to the planes of one block.
   * @type {(block: string, told: Float64Array) => Float64Array}
   */
  shift(block, told) {
    return linear(told, this.weights.layer(`${block}.time`));
  }

  /** From an image to what the network says of it. The names of the weights say which layers there
   * are, and in which order. Twin: ddpm_lite.unet.UNet.forward.
   * @template Image
   * @template Shift
   * @param {Layers<Image, Shift>} layers
   * @param {Image} image
   * @returns {Image}
   */
  through(layers, image) {
    let h = layers.convolve(image, "conv_in", 3);
    const skips = [h];
    for (const name of this.#parts("down")) {
      const down = () => layers.convolve(h, `${name}.conv`, 3, { stride: 2 });
      h = this.#isBlock(name) ? this.#block(layers, h, name) : down();
      skips.push(h);
    }
    h = this.#resBlock(layers, this.#block(layers, h, "middle_in"), "middle_out");
    for (const name of this.#parts("up")) {
      const up = () => layers.convolve(h, `${name}.conv`, 3, { up: true });
      const wide = () => layers.joined(h, /** @type {Image} */ (skips.pop()));
      h = this.#isBlock(name) ? this.#block(layers, wide(), name) : up();
    }
    return layers.convolve(layers.norm(h, "norm_out", true), "conv_out", 3);
  }

  /** @param {string} name */
  #isBlock(name) {
    return this.weights.has(`${name}.res.conv1`);
  }

  /** The names down.0, down.1 and so on, as far as there are weights.
   * @param {string} way
   */
  *#parts(way) {
    for (let i = 0; ; i++) {
      const name = `${way}.${i}`;
      if (!this.#isBlock(name) && !this.weights.has(`${name}.conv`)) return;
      yield name;
    }
  }

  /** A residual block, and attention where the weights have it. Twin: ddpm_lite.unet.Block.
   * @template Image
   * @template Shift
   * @param {Layers<Image, Shift>} layers
   * @param {Image} image
   * @param {string} name
   * @returns {Image}
   */
  #block(layers, image, name) {
    const h = this.#resBlock(layers, image, `${name}.res`);
    const attn = `${name}.attn`;
    if (!this.weights.has(`${attn}.qkv`)) return h;
    const qkv = layers.convolve(layers.norm(h, `${attn}.norm`, false), `${attn}.qkv`, 1);
    const seen = layers.attend(qkv, this.config.heads);
    return layers.convolve(seen, `${attn}.out`, 1, { beside: h });
  }

  /** Twin: ddpm_lite.blocks.ResBlock, without dropout: nothing is trained here.
   * @template Image
   * @template Shift
   * @param {Layers<Image, Shift>} layers
   * @param {Image} image
   * @param {string} name
   * @returns {Image}
   */
  #resBlock(layers, image, name) {
    const shift = layers.shift(name);
    const h = layers.convolve(layers.norm(image, `${name}.norm1`, true), `${name}.conv1`, 3, {
      shift,
    });
    const shortcut = `${name}.shortcut`;
    const beside = this.weights.has(shortcut) ? layers.convolve(image, shortcut, 1) : image;
    return layers.convolve(layers.norm(h, `${name}.norm2`, true), `${name}.conv2`, 3, { beside });
  }
}
