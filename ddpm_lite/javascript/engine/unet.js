// The network, built from the names of its weights. Twin: ddpm_lite.unet.UNet.

import { attend, doubled, joined, linear, norm, plus, silu, timeEmbedding } from "./layers.js";

/** @import { Image, plain } from "./layers.js" */
/** @import { Stored, Weights } from "./weights.js" */

export class UNet {
  /**
   * @param {Stored["config"]} config
   * @param {Weights} weights
   * @param {Pick<typeof plain, "convolve">} products
   */
  constructor(config, weights, products) {
    this.config = config;
    this.weights = weights;
    this.products = products;
  }

  /** What the network says of one image, asked with a label where it has classes. The names of the
   * weights say which layers there are, and in which order. Twin: ddpm_lite.unet.UNet.forward.
   * @type {(xt: Float64Array, t: number, label?: number) => Float64Array}
   */
  output(xt, t, label) {
    const { weights } = this;
    const { size, width } = this.config;
    const hidden = linear(timeEmbedding(t, width), weights.layer("time.0")).map(silu);
    const temb = linear(hidden, weights.layer("time.2"));
    if (label !== undefined) {
      const rows = weights.tensor("labels.weight");
      for (let i = 0; i < temb.length; i++) temb[i] += rows[label * temb.length + i];
    }
    let h = this.#conv3({ x: xt, C: xt.length / size ** 2, n: size }, "conv_in");
    const skips = [h];
    for (const name of this.#parts("down")) {
      const down = () => this.#conv3(h, `${name}.conv`, 2);
      h = this.#isBlock(name) ? this.#block(h, name, temb) : down();
      skips.push(h);
    }
    h = this.#resBlock(this.#block(h, "middle_in", temb), "middle_out", temb);
    for (const name of this.#parts("up")) {
      const up = () => this.#conv3(doubled(h), `${name}.conv`);
      const wide = () => joined(h, /** @type {Image} */ (skips.pop()));
      h = this.#isBlock(name) ? this.#block(wide(), name, temb) : up();
    }
    return this.#conv3(norm(h, weights.layer("norm_out")), "conv_out").x;
  }

  /** @type {(image: Image, name: string, stride?: 1 | 2) => Image} */
  #conv3(image, name, stride = 1) {
    return this.products.convolve(image, this.weights.layer(name), 3, stride);
  }

  /** @type {(image: Image, name: string) => Image} */
  #conv1(image, name) {
    return this.products.convolve(image, this.weights.layer(name), 1, 1);
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
   * @type {(image: Image, name: string, temb: Float64Array) => Image}
   */
  #block(image, name, temb) {
    const h = this.#resBlock(image, `${name}.res`, temb);
    return this.weights.has(`${name}.attn.qkv`) ? this.#attention(h, `${name}.attn`) : h;
  }

  /** Twin: ddpm_lite.blocks.ResBlock, without dropout: nothing is trained here.
   * @type {(image: Image, name: string, temb: Float64Array) => Image}
   */
  #resBlock(image, name, temb) {
    /** @param {string} part */
    const layer = (part) => this.weights.layer(`${name}.${part}`);
    let h = this.#conv3(norm(image, layer("norm1")), `${name}.conv1`);
    const shift = linear(temb.map(silu), layer("time"));
    for (let c = 0, i = 0; c < h.C; c++) {
      for (const end = i + h.n * h.n; i < end; i++) h.x[i] += shift[c];
    }
    h = this.#conv3(norm(h, layer("norm2")), `${name}.conv2`);
    const shortcut = `${name}.shortcut`;
    return plus(this.weights.has(shortcut) ? this.#conv1(image, shortcut) : image, h);
  }

  /** Twin: ddpm_lite.blocks.Attention.
   * @type {(image: Image, name: string) => Image}
   */
  #attention(image, name) {
    const normed = norm(image, this.weights.layer(`${name}.norm`), false);
    const seen = attend(this.#conv1(normed, `${name}.qkv`), this.config.heads);
    return plus(image, this.#conv1(seen, `${name}.out`));
  }
}
