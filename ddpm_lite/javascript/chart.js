// A small chart in SVG whose colours are the style sheet's, so it follows the page's theme.

import { el, power, pretty } from "./elements.js";
import { clamp, evenly } from "./numbers.js";

/** @typedef {[at: number, text: string][]} Ticks */

/** Draw at these places; the heights may be a function of them.
 * @typedef {(xs: ArrayLike<number>, ys: ArrayLike<number> | Height) => void} Draw
 */
/** @typedef {(x: number, i: number) => number} Height */

/**
 * @typedef {object} Axes
 * @property {string} title of the x axis
 * @property {[number, number]} x its ends
 * @property {[number, number]} y
 * @property {Ticks} xTicks
 * @property {Ticks} yTicks
 * @property {number} [width]
 * @property {number} [height]
 */

/**
 * @typedef {object} Chart
 * @property {SVGElement} svg
 * @property {(className: string) => Draw} curve
 * @property {(className: string) => (x: number, y: number) => void} dot
 * @property {(className: string) => Draw} dots
 * @property {(from: number, to: number, show?: (value: number) => string) => void} zoom
 * @property {(end: number) => void} stretch
 */

const SVG = "http://www.w3.org/2000/svg";
const MARGIN = { left: 38, right: 18, top: 8, bottom: 34 };

/** Ticks that carry their own number.
 * @type {(values: number[], show?: (value: number) => string) => Ticks}
 */
export function ticks(values, show = pretty) {
  return values.map((v) => [v, show(v)]);
}

/** Ticks of a logarithmic axis, at these powers of ten.
 * @type {(...exponents: number[]) => Ticks}
 */
export function powerTicks(...exponents) {
  return ticks(exponents, power);
}

/** An x axis for t, to be stretched over 0..T, with so many ticks.
 * @type {(count?: number) => { title: string, x: [number, number], xTicks: Ticks }}
 */
export function alongT(count = 3) {
  return { title: "step t", x: [0, 1], xTicks: ticks(evenly(0, 1, count), () => "") };
}

/** @type {(parent: Element, tag: string, attributes: Record<string, unknown>) => SVGElement} */
function add(parent, tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  parent.append(node);
  return /** @type {SVGElement} */ (node);
}

/** The empty chart, and what leads from numbers to places in it.
 * @param {Axes} axes
 */
function frame({ title, x, y, xTicks, yTicks, width = 260, height = 190 }) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("role", "img");
  const [left, right] = [MARGIN.left, width - MARGIN.right];
  const [top, bottom] = [MARGIN.top, height - MARGIN.bottom];
  const span = { x: [...x], y: [...y] };
  /** @param {number} v */
  const px = (v) => left + ((v - span.x[0]) / (span.x[1] - span.x[0])) * (right - left);
  /** @param {number} v */
  const py = (v) => bottom - ((v - span.y[0]) / (span.y[1] - span.y[0])) * (bottom - top);
  for (const [v, text] of yTicks) {
    add(svg, "line", { class: "grid", x1: left, x2: right, y1: py(v), y2: py(v) });
    add(svg, "text", { class: "tick end", x: left - 5, y: py(v) + 3.5 }).textContent = text;
  }
  const names = xTicks.map(([v, text]) => {
    const node = add(svg, "text", { class: "tick middle", x: px(v), y: bottom + 14 });
    node.textContent = text;
    return node;
  });
  const middle = { class: "tick middle", x: (left + right) / 2, y: height - 4 };
  add(svg, "text", middle).textContent = title;
  /** @param {number} v */
  const inside = (v) => clamp(py(v), top, bottom);
  return { svg, span, px, py: inside, top, bottom, names };
}

/** @type {(axes: Axes) => Chart} */
export function chart(axes) {
  const { svg, span, px, py, top, bottom, names } = frame(axes);
  const places = axes.xTicks.map(([at]) => (at - axes.x[0]) / (axes.x[1] - axes.x[0]));
  /** @type {(xs: ArrayLike<number>, ys: ArrayLike<number> | Height) => string[]} */
  const points = (xs, ys) => {
    const y =
      typeof ys === "function" ? ys : (/** @type {number} */ _, /** @type {number} */ i) => ys[i];
    return Array.from(xs, (v, i) => `${px(v).toFixed(1)},${py(y(v, i)).toFixed(1)}`);
  };
  return {
    svg,
    curve(className) {
      const node = add(svg, "polyline", { class: className });
      return (xs, ys) => node.setAttribute("points", points(xs, ys).join(" "));
    },
    dot(className) {
      const line = add(svg, "line", { class: "cursor", y1: top, y2: bottom });
      const node = add(svg, "circle", { class: className, r: 4.5 });
      return (x, y) => {
        for (const end of ["x1", "x2"]) line.setAttribute(end, String(px(x)));
        node.setAttribute("cx", String(px(x)));
        node.setAttribute("cy", String(py(y)));
      };
    },
    /** Points as dots: one path of lines without length, whose round ends are drawn. */
    dots(className) {
      const node = add(svg, "path", { class: `dots ${className}` });
      return (xs, ys) => {
        const marks = points(xs, ys).map((at) => `M${at}h0`);
        node.setAttribute("d", marks.join(""));
      };
    },
    /** Move the x axis to from..to and rename its ticks, which stay where they are. */
    zoom(from, to, show = pretty) {
      span.x = [from, to];
      names.forEach((node, i) => {
        node.textContent = show(from + places[i] * (to - from));
      });
    },
    /** Stretch the x axis over 0..end and rename its ticks. */
    stretch(end) {
      span.x = [0, end];
      names.forEach((node, i) => {
        node.textContent = String(Math.round((end * i) / (names.length - 1)));
      });
    },
  };
}

/** Which curve is which: name -> the class of its curve.
 * @type {(curves: Record<string, string>) => HTMLElement}
 */
export function legend(curves) {
  const entries = Object.entries(curves).map(([name, className]) => {
    const sample = document.createElementNS(SVG, "svg");
    sample.setAttribute("viewBox", "0 0 26 8");
    sample.setAttribute("aria-hidden", "true");
    add(sample, "polyline", { class: className, points: "0,4 26,4" });
    return el("span", {}, sample, name);
  });
  return el("div", { className: "ddpm-legend" }, ...entries);
}
