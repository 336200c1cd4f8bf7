// Elements of a page, and the words below a widget.

/** An element with properties, attributes (names with a dash, `role` and `for`) and children.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, unknown>} [properties]
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  // JupyterLab takes arrow keys for shortcuts of its own, unless the focused element forbids it.
  if (["button", "input", "select"].includes(tag)) node.dataset.lmSuppressShortcuts = "true";
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "for") {
      node.setAttribute(name, String(value));
    } else Object.assign(node, { [name]: value });
  }
  node.append(...children);
  return node;
}

/** @type {(className: string, ...children: (Node | string)[]) => HTMLDivElement} */
export function box(className, ...children) {
  return el("div", { className }, ...children);
}

/** A panel: a caption, HTML of ours, above a canvas or a chart.
 * @type {(html: string, node: Node | string) => HTMLElement}
 */
export function panel(html, node) {
  return el("figure", {}, el("figcaption", { innerHTML: html }), node);
}

/** What a chart or a canvas shows, for those who do not see it.
 * @type {(node: Element, text: string) => void}
 */
export function describe(node, text) {
  node.setAttribute("aria-label", text);
}

/** What the widget shows, in words: at once below it, and spoken once the hand is still.
 * @type {(root: HTMLElement) => (text: string) => void}
 */
export function wording(root) {
  const words = el("p", { className: "ddpm-words" });
  const spoken = el("p", { className: "ddpm-spoken", "aria-live": "polite" });
  root.append(words, spoken);
  root.addEventListener("change", () => {
    // After the drawing of the change itself, which waits for its moment to end.
    queueMicrotask(() => {
      spoken.textContent = words.textContent;
    });
  });
  return (text) => {
    words.textContent = text;
  };
}

/** 10 to a whole power: 1, 0.1, 10⁻⁴.
 * @type {(exponent: number) => string}
 */
export function power(exponent) {
  if (exponent === 0) return "1";
  if (exponent === -1) return "0.1";
  return `10${[...String(exponent)].map((c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[+c])).join("")}`;
}

/** A number as a reader would write it: 0.63, 1.2 × 10⁻⁴.
 * @type {(value: number) => string}
 */
export function pretty(value) {
  if (value === Infinity) return "∞";
  let text = Number(value.toPrecision(3)).toString();
  if (value !== 0 && (Math.abs(value) < 0.001 || Math.abs(value) >= 1e5)) {
    const [digits, exponent] = value.toExponential(1).split("e");
    text = `${digits === "1.0" ? "" : `${digits} × `}${power(Number(exponent))}`;
  }
  return text.replace("-", "−");
}
