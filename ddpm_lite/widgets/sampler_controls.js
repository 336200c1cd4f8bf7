// The sampler's settings, their controls, and the algorithm's lines at these settings.

import { choice, newId, slider } from "../javascript/controls.js";
import { box, el, pretty } from "../javascript/elements.js";
import { clamp } from "../javascript/numbers.js";

/** @import { Control } from "../javascript/controls.js" */
/** @import { Begin } from "../javascript/engine/chain.js" */
/** @import { Model } from "../javascript/model.js" */

/**
 * @typedef {object} Settings
 * @property {"ddim" | "ddpm"} sampler
 * @property {number} steps
 * @property {number} eta
 * @property {"beta" | "beta_tilde"} variance
 * @property {boolean} clip
 * @property {number} seed
 * @property {number} images
 * @property {"noise" | "drawing"} start
 * @property {number} t_start
 * @property {number[]} drawing
 */

/** @typedef {{ _name: string, _T: number, _shape: [number, number, number] }} Fixed */
/** What only a network with classes has: which of `_names` to ask for, and how loudly.
 * @typedef {{ label?: number, scale?: number, _names?: string[] }} Asked
 */
/** @typedef {Settings & Fixed & Asked} Traits */

/** Each has its row; a kind of sampler may have more.
 * @typedef {ReturnType<typeof newControls> & {
 *   label?: Control<number> & { row: HTMLElement },
 *   scale?: Control<number> & { row: HTMLElement } }}
 *   Controls
 */

/** @type {(keyof Settings)[]} */
export const SETTINGS = [
  "sampler",
  "steps",
  "eta",
  "variance",
  "clip",
  "seed",
  "images",
  "start",
  "t_start",
  "drawing",
];
const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];
const LARGEST_SEED = 2 ** 31 - 1;

/** What a chain is begun with.
 * @type {(model: Model<Traits>) => Begin}
 */
export function readSettings(model) {
  return {
    do: "begin",
    sampler: model.get("sampler"),
    steps: model.get("steps"),
    eta: model.get("eta"),
    variance: model.get("variance"),
    clip: model.get("clip"),
    seed: model.get("seed"),
    images: model.get("images"),
    t_start: model.get("t_start"),
    drawing: model.get("start") === "drawing" ? model.get("drawing") : null,
    label: model.get("label"),
    scale: model.get("scale"),
  };
}

/** @param {Model<Traits>} model */
function stepsSlider(model) {
  const T = model.get("_T");
  const known = [...STEPS.filter((n) => n < T), T, model.get("steps")];
  const counts = [...new Set(known)].sort((a, b) => a - b);
  return slider("Steps", "steps", {
    min: 0,
    max: counts.length - 1,
    at: (steps) => counts.findIndex((n) => n >= steps),
    value: (i) => counts[i],
  });
}

/** @type {() => Control<boolean> & { row: HTMLElement }} */
function clipChoice() {
  const clip = choice("Guess x̂₀", "clip", [
    ["on", "clipped"],
    ["off", "as it is"],
  ]);
  return { ...clip, read: () => clip.read() === "on", set: (on) => clip.set(on ? "on" : "off") };
}

/** @type {() => Control<number> & { row: HTMLElement }} */
function seedField() {
  const id = newId("seed");
  const input = el("input", { type: "number", min: 0, max: LARGEST_SEED, name: "seed", id });
  return {
    row: box("ddpm-choice", el("label", { for: id }, "Seed"), input),
    input,
    event: "change",
    read: () => clamp(Math.floor(Number(input.value)) || 0, 0, LARGEST_SEED),
    set(seed) {
      input.value = String(seed);
    },
  };
}

/** The controls of the settings, by their traits; the pad is the drawing's.
 * @param {Model<Traits>} model
 */
export function newControls(model) {
  return {
    sampler: choice("Sampler", "sampler", [
      ["ddim", "DDIM"],
      ["ddpm", "DDPM, Algorithm 2"],
    ]),
    variance: choice("Variance σ²", "variance", [
      ["beta", "β"],
      ["beta_tilde", "β̃"],
    ]),
    clip: clipChoice(),
    images: choice(
      "Images",
      "images",
      [1, 4, 9, 16].map((n) => [n, String(n)]),
    ),
    start: choice("Begin with", "start", [
      ["noise", "noise"],
      ["drawing", "a drawing of yours"],
    ]),
    seed: seedField(),
    steps: stepsSlider(model),
    eta: slider("<i>η</i>", "eta", { min: 0, max: 1, step: 0.05, show: pretty }),
    t_start: slider("Noise it to <i>t</i>", "t_start", { min: 1, max: model.get("_T") }),
  };
}

/** @type {(index: string | number) => string} */
export const x = (index) => `<i>x</i><sub>${index}</sub>`;
/** @type {(of: string) => string} */
const root = (of) => `√<span class="ddpm-root">${of}</span>`;

/** The lines of the algorithm at these settings, HTML of ours.
 * @type {(settings: Pick<Settings, "sampler" | "start" | "clip" | "variance" | "eta">) => string[]}
 */
export function linesOf({ sampler, start, clip, variance, eta }) {
  const begin =
    start === "drawing"
      ? `${x("<i>t</i>")} = ${root("<i>ᾱ<sub>t</sub></i>")} ${x(0)} + ${root("1 − <i>ᾱ<sub>t</sub></i>")} <i>ε</i>, from your drawing ${x(0)}`
      : `${x("<i>T</i>")} ∼ 𝒩(0, <b>I</b>)`;
  const held = clip ? `, <i>x̂</i><sub>0</sub> held in [−1, 1]` : "";
  const end = `the sample ${x(0)}`;
  if (sampler === "ddpm") {
    const sigma = variance === "beta" ? "β" : "β̃";
    return [
      begin,
      "<b>for</b> <i>t</i> = <i>T</i>, …, 1:",
      "<i>z</i> ∼ 𝒩(0, <b>I</b>) if <i>t</i> &gt; 1, else <i>z</i> = 0",
      `${x("<i>t</i>−1")} = <i>μ<sub>θ</sub></i>(${x("<i>t</i>")}, <i>t</i>) + <i>σ<sub>t</sub></i> <i>z</i>, with <i>σ<sub>t</sub></i>² = <i>${sigma}<sub>t</sub></i>${held}`,
      end,
    ];
  }
  const [drawn, less, noise] =
    eta > 0
      ? ["<i>z</i> ∼ 𝒩(0, <b>I</b>)", " − <i>σ</i>²", " + <i>σ</i> <i>z</i>"]
      : ["no noise is drawn, since <i>η</i> = 0", "", ""];
  return [
    begin,
    "<b>for</b> each stop <i>t</i> from <i>T</i> down, and the next, <i>s</i>:",
    drawn,
    `${x("<i>s</i>")} = ${root("<i>ᾱ<sub>s</sub></i>")} <i>x̂</i><sub>0</sub> + ${root(`1 − <i>ᾱ<sub>s</sub></i>${less}`)} <i>ε̂</i>${noise}${held}`,
    end,
  ];
}
