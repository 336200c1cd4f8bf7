// Pictures of numbers.

import { el } from "./elements.js";

/** @typedef {{ height: number, width: number, channels: number }} Size */

export function newCanvas() {
  return el("canvas", { role: "img" });
}

/** Draw x, pixel by pixel and colours last, in [-1, 1]; what lies outside is clamped.
 * @type {(canvas: HTMLCanvasElement, x: ArrayLike<number>, size: Size) => void}
 */
export function paint(canvas, x, { height, width, channels }) {
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  if (!context) throw new Error("This browser gives a canvas no 2d context.");
  const image = context.createImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) {
      image.data[4 * i + c] = 127.5 * (x[i * channels + (channels === 3 ? c : 0)] + 1);
    }
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}
