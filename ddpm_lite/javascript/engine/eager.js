// The layers of the network computed at once, on the processor, for one image.

import { attend, doubled, joined, norm, plus } from "./layers.js";

/** @import { Image, plain } from "./layers.js" */
/** @import { Layers, UNet, When } from "./unet.js" */

/** What the network says of one image, of any number of planes.
 * @type {(unet: UNet, products: Pick<typeof plain, "convolve">, x: Float64Array, when: When) =>
 *   Float64Array}
 */
export function eager(unet, products, x, when) {
  const { config, weights } = unet;
  const told = unet.told(when);
  /** @type {Layers<Image, Float64Array>} */
  const layers = {
    convolve(image, name, side, { stride = 1, up = false, shift, beside } = {}) {
      const seen = up ? doubled(image) : image;
      const h = products.convolve(seen, weights.layer(name), side, stride);
      for (let c = 0, i = 0; shift && c < h.C; c++) {
        for (const end = i + h.n * h.n; i < end; i++) h.x[i] += shift[c];
      }
      return beside ? plus(beside, h) : h;
    },
    norm: (image, name, act) => norm(image, weights.layer(name), act),
    attend,
    joined,
    shift: (block) => unet.shift(block, told),
  };
  return unet.through(layers, { x, C: x.length / config.size ** 2, n: config.size }).x;
}
