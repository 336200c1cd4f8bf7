// What one asks of a network with classes: which, how loudly, and the settings of the chain.

import { choice, slider } from "../javascript/controls.js";
import { pretty } from "../javascript/elements.js";
import { linesOf, newControls, SETTINGS } from "./sampler_controls.js";
import { partsOf } from "./sampler_view.js";

/** @import { Controls, Traits } from "./sampler_controls.js" */
/** @import { Kind } from "./sampler_view.js" */

/** @type {(keyof Traits)[]} */
export const ASKED = [...SETTINGS, "label", "scale"];
const LOUDER = 5; // so much the difference of the two noises is magnified

/** The picture, the guess, both noises, and what is between them.
 * @type {(data: Float32Array) => Float32Array[]}
 */
function pictures(data) {
  const [xt, x0, , withLabel, without] = partsOf(data, 5);
  return [xt, x0, withLabel, without, withLabel.map((v, i) => LOUDER * (v - without[i]))];
}

/** @type {(settings: Parameters<typeof linesOf>[0]) => string[]} */
function lines(settings) {
  const [begin, loop, draw, step, end] = linesOf(settings);
  const guidance = "<i>ε̂</i> = <i>ε̂</i>(no label) + scale × (<i>ε̂</i>(label) − <i>ε̂</i>(no label))";
  return [begin, loop, `${guidance}; ${draw}`, step, end];
}

/** @type {Kind} */
export const CLOTHES = {
  controls(model) {
    /** @type {Controls} */
    const all = newControls(model);
    all.label = choice(
      "Ask for",
      "label",
      (model.get("_names") ?? []).map((name, i) => [i, name]),
    );
    all.scale = slider("Scale", "scale", { min: 0, max: 8, step: 0.5, show: pretty });
    return all;
  },
  choices: ["label", "sampler", "variance", "clip", "start"],
  sliders: ["scale", "steps", "eta", "t_start"],
  panels: [
    ["The picture x_t", "The picture <i>x<sub>t</sub></i>"],
    ["The guess at x_0", "The guess <i>x̂</i><sub>0</sub>"],
    ["The noise seen with the label", "Noise <i>ε̂</i> with the label"],
    ["The noise seen without it", "Noise <i>ε̂</i> without"],
    ["The difference of the two", `Their difference, ${LOUDER} times`],
  ],
  pictures,
  lines,
  weight: "2 MB",
};
