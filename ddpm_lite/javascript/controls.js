// Controls: each has its row to show, and reads and sets the value that it stands for.

import { el, pretty } from "./elements.js";

/** @import { Has } from "./model.js" */

/**
 * @template Value
 * @typedef {object} Control
 * @property {HTMLInputElement | HTMLSelectElement} input
 * @property {"input" | "change"} event of the input, when its value is the reader's choice
 * @property {() => Value} read
 * @property {(value: Value) => void} set
 */

/** @typedef {Control<number> & { row: HTMLElement, input: HTMLInputElement }} Slider */

let ids = 0;

/** An identifier that no other control of the page has.
 * @type {(name: string) => string}
 */
export function newId(name) {
  return `ddpm-${name}-${ids++}`;
}

/** A labelled slider: `label` is HTML of ours, `show` makes the text beside it. Where the slider's
 * position is not the value itself, `at` and `value` lead from one to the other.
 * @param {string} label
 * @param {string} name
 * @param {object} how
 * @param {number} how.min of the position, as are max and step
 * @param {number} how.max
 * @param {number} [how.step]
 * @param {(value: number) => string} [how.show]
 * @param {(value: number) => number} [how.at]
 * @param {(position: number) => number} [how.value]
 * @returns {Slider}
 */
export function slider(label, name, how) {
  const { min, max, step = 1, show = String, at = Number, value = Number } = how;
  const id = newId(name);
  const input = el("input", { type: "range", id, min, max, step, name });
  const text = el("output", { for: id });
  const row = el("div", { className: "ddpm-slider" }, el("label", { for: id, innerHTML: label }));
  row.append(input, text);
  return {
    row,
    input,
    event: "input",
    read: () => value(Number(input.value)),
    set(now) {
      input.value = String(at(now));
      text.textContent = show(now);
      input.setAttribute("aria-valuetext", text.textContent);
    },
  };
}

/** A slider over powers of ten, between the exponents `min` and `max`.
 * @type {(label: string, name: string, how: { min: number, max: number, step?: number }) => Slider}
 */
export function powerSlider(label, name, { min, max, step = 0.01 }) {
  return slider(label, name, {
    min,
    max,
    step,
    show: pretty,
    at: Math.log10,
    value: (v) => 10 ** v,
  });
}

/** A labelled choice among [value, text] pairs.
 * @template {string | number} Value
 * @param {string} label
 * @param {string} name
 * @param {[Value, string][]} options
 * @returns {Control<Value> & { row: HTMLElement, input: HTMLSelectElement }}
 */
export function choice(label, name, options) {
  const id = newId(name);
  const input = el("select", { id, name });
  for (const [value, textContent] of options) input.append(el("option", { value, textContent }));
  return {
    row: el("div", { className: "ddpm-choice" }, el("label", { for: id }, label), input),
    input,
    event: "change",
    read: () => options[input.selectedIndex][0],
    set(value) {
      input.value = String(value);
    },
  };
}

/** @type {(className: string, text?: string) => HTMLButtonElement} */
export function button(className, text = "") {
  return el("button", { type: "button", className }, text);
}

/** A button for other noise: the next seed.
 * @param {Has<"seed", number>} model
 */
export function noiseButton(model) {
  const fresh = button("ddpm-noise", "New noise");
  fresh.addEventListener("click", () => {
    model.set("seed", (model.get("seed") + 1) % 2 ** 31);
    model.save_changes();
  });
  return fresh;
}

/** A button that runs `advance(seconds since the last frame)` until it returns false.
 * @param {(passed: number) => boolean} advance
 */
function playButton(advance) {
  const play = button("ddpm-play");
  let frame = 0;
  let last = 0;
  const show = () => {
    play.textContent = frame ? "Pause" : "Play";
    play.setAttribute("aria-pressed", String(frame !== 0));
  };
  const stop = () => {
    cancelAnimationFrame(frame);
    frame = 0;
    show();
  };
  /** @param {number} now */
  const tick = (now) => {
    // A frame may be dated before the click, or come late: a page that was away goes on from there.
    const more = advance(Math.min(Math.max(0, now - last), 250) / 1000);
    last = now;
    if (more) frame = requestAnimationFrame(tick);
    else stop();
  };
  play.addEventListener("click", () => {
    if (frame) {
      stop();
      return;
    }
    last = performance.now();
    frame = requestAnimationFrame(tick);
    show();
  });
  show();
  return { button: play, stop };
}

/** A button that runs a trait from end to end in so many seconds; at the end it begins again.
 * @template {string} Name
 * @param {Has<Name, number>} model
 * @param {Name} name
 * @param {() => [number, number]} ends
 * @param {number} seconds
 */
export function playTrait(model, name, ends, seconds) {
  let at = 0; // the trait as a real number while playing
  const play = playButton((passed) => {
    const [from, to] = ends();
    at += (passed / seconds) * (to - from);
    const done = to > from ? at >= to : at <= to;
    model.set(name, done ? to : Math.round(at));
    if (done) model.save_changes();
    return !done;
  });
  play.button.addEventListener("click", () => {
    const [from, to] = ends();
    const share = (model.get(name) - from) / (to - from);
    at = share >= 0 && share < 1 ? model.get(name) : from;
    model.save_changes();
  });
  return play;
}
