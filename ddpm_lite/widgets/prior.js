// The end of the chain: how far q(x_T | x_0) is from the sampler's beginning, and what that costs.

import { alongT, chart, powerTicks, ticks } from "../javascript/chart.js";
import { powerSlider, slider } from "../javascript/controls.js";
import { box, describe, panel, pretty, wording } from "../javascript/elements.js";
import { gaussian, schedule } from "../javascript/mathematics.js";
import { bind, follow } from "../javascript/model.js";
import { evenly } from "../javascript/numbers.js";

/** @import { Place } from "../javascript/model.js" */

/** @typedef {{ T: number, beta_start: number, beta_end: number, x0: number }} Traits */

/** L_T of one pixel in bits. Twin: ddpm_lite.widgets.prior.prior_bits.
 * @type {(alphaBar: number, x0: number) => number}
 */
export function priorBits(alphaBar, x0) {
  return (alphaBar * x0 * x0 - alphaBar - Math.log1p(-alphaBar)) / (2 * Math.LN2);
}

/** Below what the chart shows the value is not needed, and may be zero.
 * @type {(bits: number) => number}
 */
const log = (bits) => Math.log10(Math.max(bits, 1e-12));

function newControls() {
  return {
    T: slider("Steps <i>T</i>", "T", { min: 1, max: 1000 }),
    beta_end: powerSlider("Last <i>β</i><sub><i>T</i></sub>", "beta_end", { min: -3, max: -0.01 }),
    x0: slider("Pixel <i>x</i><sub>0</sub>", "x0", { min: -1, max: 1, step: 0.01, show: pretty }),
  };
}

function newPanels() {
  const half = ticks([0, 0.5, 1]);
  const kept = chart({ ...alongT(), y: [0, 1], yTicks: half });
  const xTicks = ticks([-4, -2, 0, 2, 4]);
  const ends = chart({ title: "pixel value", x: [-4, 4], y: [0, 1], xTicks, yTicks: half });
  const cost = chart({
    title: "last beta",
    x: [-3, -0.01],
    y: [-9, 1],
    xTicks: powerTicks(-3, -2, -1),
    yTicks: powerTicks(-8, -4, 0),
  });
  const row = box(
    "ddpm-panels",
    panel("<i>ᾱ<sub>t</sub></i>, the variance kept", kept.svg),
    panel("The end of the chain, and <i>N</i>(0, 1) dashed", ends.svg),
    panel("<i>L<sub>T</sub></i> in bits, against the last beta", cost.svg),
  );
  return { row, kept, ends, cost };
}

/** @param {Place<Traits>} place */
function render({ model, el: root }) {
  root.classList.add("ddpm-widget");
  const controls = newControls();
  const { row, kept, ends, cost } = newPanels();
  const [keptCurve, keptDot] = [kept.curve("kept"), kept.dot("dot")];
  const [end, bell] = [ends.curve("kept"), ends.curve("bell")];
  const [costCurve, costDot] = [cost.curve("kept"), cost.dot("dot")];
  const [grid, exponents] = [evenly(-4, 4, 161), evenly(-3, -0.01, 121)];
  bell(grid, (x) => gaussian(x));
  const { T, beta_end, x0: pixel } = controls;
  root.append(box("ddpm-sliders", T.row, beta_end.row, pixel.row), row);
  const say = wording(root);

  function draw() {
    const [steps, first, x0] = [model.get("T"), model.get("beta_start"), model.get("x0")];
    /** @param {number} last */
    const at = (last) => schedule("linear", steps, first, last).alphaBar;
    const alphaBar = at(model.get("beta_end"));
    const left = alphaBar[steps];
    const bits = priorBits(left, x0);
    kept.stretch(steps);
    keptCurve(Array.from(alphaBar.keys()), alphaBar);
    keptDot(steps, left);
    end(grid, (x) => gaussian(x, Math.sqrt(left) * x0, 1 - left));
    costCurve(exponents, (v) => log(priorBits(at(10 ** v)[steps], x0)));
    costDot(Math.log10(model.get("beta_end")), log(bits));
    say(
      `After ${steps} steps ${pretty(left)} of the variance is left of the image. Beginning with N(0, 1) instead costs ${pretty(bits)} bits for this pixel.`,
    );
    describe(kept.svg, `Alpha-bar against t; ${pretty(left)} at the last step, ${steps}.`);
    describe(
      ends.svg,
      `The density of x_T, of mean ${pretty(Math.sqrt(left) * x0)} and variance ${pretty(1 - left)}, against the standard normal.`,
    );
    describe(cost.svg, `L_T against the last beta, both logarithmic; now ${pretty(bits)} bits.`);
  }

  bind(model, controls);
  follow(model, [["T", "beta_start", "beta_end", "x0"], draw]);
}

export default { render };
