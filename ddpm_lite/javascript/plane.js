// A square of the plane in SVG, whose colours are the style sheet's: dots, arrows, strengths.

import { el } from "./elements.js";

const SVG = "http://www.w3.org/2000/svg";
const SIZE = 200; // of the drawing, in its own units
/** How strong is as dark as which of the classes heat-0, heat-1, ... */
export const STRENGTHS = [0.1, 0.2, 0.4, 0.8, 1.6];

/** @type {(tag: string, attributes: Record<string, string | number>) => SVGElement} */
function shape(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  return node;
}

/** @typedef {ArrayLike<number>} Numbers x and y in turn */

/** The square from -limit to limit; `square(side)` says where the cells of a grid lie, rows from
 * below, whose outer points are on the edge.
 * @param {number} limit
 */
export function plane(limit) {
  const svg = shape("svg", { viewBox: `0 0 ${SIZE} ${SIZE}`, role: "img", class: "ddpm-plane" });
  const middle = SIZE / 2;
  svg.append(
    shape("path", { class: "grid", d: `M0 ${middle}H${SIZE}M${middle} 0V${SIZE}` }),
    shape("rect", { class: "edge", x: 0.5, y: 0.5, width: SIZE - 1, height: SIZE - 1 }),
  );
  /** @param {number} x */
  const px = (x) => middle * (1 + x / limit);
  /** @param {number} y */
  const py = (y) => middle * (1 - y / limit);
  /** @param {string} className */
  const path = (className) => {
    const node = shape("path", { class: className });
    svg.append(node);
    return /** @param {string} d */ (d) => node.setAttribute("d", d);
  };
  /** @type {(x: number, y: number) => string} */
  const place = (x, y) => `${px(x).toFixed(1)} ${py(y).toFixed(1)}`;
  return {
    svg,
    /** Dots: lines without length, whose round ends are drawn. What lies far outside, or is no
     * number, is left out. @param {string} className
     */
    dots(className) {
      const set = path(`dots ${className}`);
      return /** @param {Numbers} xy */ (xy) => {
        let d = "";
        for (let i = 0; i < xy.length; i += 2) {
          const far = Math.max(Math.abs(xy[i]), Math.abs(xy[i + 1]));
          if (far < 2 * limit) d += `M${place(xy[i], xy[i + 1])}h0`;
        }
        set(d);
      };
    },
    /** The way of each point through these stops, straight from one to the next.
     * @param {string} className
     */
    trails(className) {
      const set = path(`trail ${className}`);
      return /** @param {Numbers[]} stops */ (stops) => {
        let d = "";
        for (let i = 0; i < (stops[0]?.length ?? 0); i += 2) {
          for (const [k, xy] of stops.entries()) {
            d += `${k ? "L" : "M"}${place(xy[i], xy[i + 1])}`;
          }
        }
        set(d);
      };
    },
    /** Arrows at every other point of a grid, each as long as the root of its length.
     * @param {string} className
     */
    arrows(className) {
      const set = path(`arrows ${className}`);
      return /** @type {(vectors: Numbers, side: number) => void} */ (vectors, side) => {
        let d = "";
        for (let i = 0; i < side * side; i++) {
          const [row, column] = [Math.floor(i / side), i % side];
          if (row % 2 === 0 || column % 2 === 0) continue;
          d += arrow(
            vectors[2 * i],
            vectors[2 * i + 1],
            column / (side - 1),
            row / (side - 1),
            side,
          );
        }
        set(d);
      };
    },
    /** The strengths at the points of a grid, each a square as dark as STRENGTHS says. */
    heat() {
      const sets = STRENGTHS.map((_, i) => path(`heat heat-${i}`));
      return /** @type {(values: Numbers, side: number) => void} */ (values, side) => {
        const step = SIZE / (side - 1);
        const wide = (step + 0.1).toFixed(2); // no gaps between neighbours
        const d = STRENGTHS.map(() => "");
        for (let i = 0; i < side * side; i++) {
          const class_ = STRENGTHS.filter((least) => values[i] >= least).length - 1;
          const [x, y] = [(i % side) * step, SIZE - Math.floor(i / side) * step];
          if (class_ >= 0) {
            d[class_] +=
              `M${(x - step / 2).toFixed(2)} ${(y - step / 2).toFixed(2)}h${wide}v${wide}h-${wide}z`;
          }
        }
        for (const [i, set] of sets.entries()) set(d[i]);
      };
    },
    /** Where in the plane a pointer is. @param {{ clientX: number, clientY: number }} event */
    placeOf({ clientX, clientY }) {
      const area = svg.getBoundingClientRect();
      const [right, down] = [clientX - area.left, clientY - area.top];
      return [limit * ((2 * right) / area.width - 1), limit * (1 - (2 * down) / area.height)];
    },
  };
}

/** An arrow's line and head; x and y are shares of the square.
 * @type {(u: number, v: number, x: number, y: number, side: number) => string}
 */
function arrow(u, v, x, y, side) {
  const size = Math.hypot(u, v);
  if (!(size > 1e-3)) return "";
  const long = Math.min(1.7, Math.sqrt(size)) * (SIZE / (side - 1));
  const [a, b] = [(u / size) * long, (-v / size) * long];
  const [left, top] = [x * SIZE - a / 2, (1 - y) * SIZE - b / 2];
  const [tipX, tipY] = [left + a, top + b];
  /** @param {number} turn */
  const side_ = (turn) =>
    `${(tipX - 0.35 * a + turn * 0.25 * b).toFixed(1)} ${(tipY - 0.35 * b - turn * 0.25 * a).toFixed(1)}`;
  const tip = `${tipX.toFixed(1)} ${tipY.toFixed(1)}`;
  return `M${left.toFixed(1)} ${top.toFixed(1)}L${tip}M${side_(1)}L${tip}L${side_(-1)}`;
}

/** Which square is how strong. */
export function heatLegend() {
  const entries = STRENGTHS.map((least, i) => {
    const swatch = shape("svg", { viewBox: "0 0 12 12", "aria-hidden": "true", class: "swatch" });
    swatch.append(shape("rect", { class: `heat heat-${i}`, width: 12, height: 12 }));
    return el("span", {}, swatch, `${least}`);
  });
  return el("div", { className: "ddpm-legend ddpm-heat" }, "from", ...entries);
}
