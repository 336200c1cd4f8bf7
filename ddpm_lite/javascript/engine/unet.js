// The network, built from the names of its weights. Twin: ddpm_lite.unet.UNet.

import {
  attend,
  conv1,
  conv3,
  doubled,
  joined,
  linear,
  norm,
  plus,
  silu,
  timeEmbedding,
} from "./layers.js";

/** @import { Image } from "./layers.js" */
/** @import { Stored, Weights } from "./weights.js" */

export class UNet {
  /**
   * @param {Stored["config"]} config
   * @param {Weights} weights
   */
  constructor(config, weights) {
    this.config = config;
    this.weights = weights;
  }

  /** eps_theta(x_t, t) of one image. The names of the weights say which layers there are, and in
   * which order. Twin: ddpm_lite.unet.UNet.forward.
   * @type {(xt: Float64Array, t: number) => Float64Array}
   */
  epsHat(xt, t) {
    const { weights } = this;
    const { channels, size, width } = this.config;
    const hidden = linear(timeEmbedding(t, width), weights.layer("time.0")).map(silu);
    const temb = linear(hidden, weights.layer("time.2"));
    let h = conv3({ x: xt, C: channels, n: size }, weights.layer("conv_in"));
    const skips = [h];
    for (const name of this.#parts("down")) {
      const down = () => conv3(h, weights.layer(`${name}.conv`), 2);
      h = this.#isBlock(name) ? this.#block(h, name, temb) : down();
      skips.push(h);
    }
    h = this.#resBlock(this.#block(h, "middle_in", temb), "middle_out", temb);
    for (const name of this.#parts("up")) {
      const up = () => conv3(doubled(h), weights.layer(`${name}.conv`));
      const wide = () => joined(h, /** @type {Image} */ (skips.pop()));
      h = this.#isBlock(name) ? this.#block(wide(), name, temb) : up();
    }
    return conv3(norm(h, weights.layer("norm_out")), weights.layer("conv_out")).x;
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
    let h = conv3(norm(image, layer("norm1")), layer("conv1"));
    const shift = linear(temb.map(silu), layer("time"));
    for (let c = 0, i = 0; c < h.C; c++) {
      for (const end = i + h.n * h.n; i < end; i++) h.x[i] += shift[c];
    }
    h = conv3(norm(h, layer("norm2")), layer("conv2"));
    return plus(this.weights.has(`${name}.shortcut`) ? conv1(image, layer("shortcut")) : image, h);
  }

  /** Twin: ddpm_lite.blocks.Attention.
   * @type {(image: Image, name: string) => Image}
   */
  #attention(image, name) {
    const { weights } = this;
    const qkv = conv1(
      norm(image, weights.layer(`${name}.norm`), false),
      weights.layer(`${name}.qkv`),
    );
    const seen = attend(qkv, this.config.heads);
    return plus(image, conv1(seen, weights.layer(`${name}.out`)));
  }
}
