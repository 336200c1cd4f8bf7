// The settings of the training, their controls, and Algorithm 1's lines at these settings.

import { choice, slider } from "../javascript/controls.js";
import { pretty } from "../javascript/elements.js";

/** @import { Model } from "../javascript/model.js" */
/** @import { Settings } from "../javascript/points/worker.js" */

/** @typedef {"eps" | "x0" | "v"} Objective */

/**
 * @typedef {object} Traits
 * @property {string} points the name of a set, or "own"
 * @property {number[]} own x and y in turn
 * @property {Objective} objective
 * @property {"linear" | "cosine"} kind
 * @property {number} T
 * @property {number} lr
 * @property {number} t
 * @property {number} seed
 * @property {boolean} small
 * @property {Record<string, number[]>} _sets
 * @property {Pick<Settings, "pen" | "batch" | "warmup" | "average">} _how
 * @property {string} _engine
 */

/** @type {(keyof Traits)[]} */
export const SETTINGS = ["points", "own", "objective", "kind", "T", "lr", "seed"];
const LENGTHS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];
const RATES = [1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 1];

/** The points to learn from.
 * @type {(model: Model<Traits>) => number[]}
 */
export function pointsOf(model) {
  const name = model.get("points");
  return name === "own" ? model.get("own") : model.get("_sets")[name];
}

/** What the engine begins with.
 * @type {(model: Model<Traits>) => Settings}
 */
export function readSettings(model) {
  return {
    ...model.get("_how"),
    points: pointsOf(model),
    kind: model.get("kind"),
    T: model.get("T"),
    objective: model.get("objective"),
    lr: model.get("lr"),
    seed: model.get("seed"),
  };
}

/** These and whatever else the model has, in order. @type {(known: number[], own: number) => number[]} */
const withOwn = (known, own) => [...new Set([...known, own])].sort((a, b) => a - b);

/** @param {Model<Traits>} model */
export function newControls(model) {
  const names = [...Object.keys(model.get("_sets")), "own"];
  return {
    points: choice(
      "Points",
      "points",
      names.map((name) => [name, name === "own" ? "your own" : name]),
    ),
    objective: choice(
      "Predict",
      "objective",
      /** @type {[Objective, string][]} */ ([
        ["eps", "the noise ε"],
        ["x0", "the point x₀"],
        ["v", "v"],
      ]),
    ),
    kind: choice(
      "Schedule",
      "kind",
      /** @type {["linear" | "cosine", string][]} */ ([
        ["linear", "linear"],
        ["cosine", "cosine"],
      ]),
    ),
    T: choice(
      "Steps T",
      "T",
      withOwn(LENGTHS, model.get("T")).map((T) => [T, String(T)]),
    ),
    lr: choice(
      "Learning rate",
      "lr",
      withOwn(RATES, model.get("lr")).map((lr) => [lr, pretty(lr)]),
    ),
    t: slider("Look at <i>t</i>", "t", {
      min: 1,
      max: model.get("T"),
      show: (t) => `${t} of ${model.get("T")}`,
    }),
  };
}

const XT =
  '√<span class="ddpm-root"><i>ᾱ<sub>t</sub></i></span> <i>x</i><sub>0</sub> + √<span class="ddpm-root">1 − <i>ᾱ<sub>t</sub></i></span> <i>ε</i>';
const TARGETS = {
  eps: "<i>ε</i>",
  x0: "<i>x</i><sub>0</sub>",
  v: "<i>v</i>",
};

/** Algorithm 1, HTML of ours.
 * @type {(objective: Objective, T: number) => string[]}
 */
export function linesOf(objective, T) {
  const aim = TARGETS[objective];
  const said = `${aim.replace("</i>", "<sub>θ</sub></i>").replace("<sub>0</sub>", "")}`;
  const net = objective === "x0" ? "<i>x̂<sub>θ</sub></i>" : said;
  return [
    "repeat:",
    "pick points <i>x</i><sub>0</sub> from the drawing",
    `pick a step <i>t</i> from 1, …, ${T} for each`,
    "draw noise <i>ε</i> ∼ 𝒩(0, <b>I</b>) for each",
    `move <i>θ</i> against the gradient of ‖${aim} − ${net}(<i>x<sub>t</sub></i>, <i>t</i>)‖², where <i>x<sub>t</sub></i> = ${XT}`,
    "until you like the samples",
  ];
}
