// The decoder: a Gaussian cut into 256 grey levels, and what the chosen level costs.

import { chart, powerTicks, ticks } from "../javascript/chart.js";
import { powerSlider, slider } from "../javascript/controls.js";
import { box, describe, el, panel, pretty, wording } from "../javascript/elements.js";
import { gaussian, paperSchedule, posteriorAt } from "../javascript/mathematics.js";
import { bind, follow, save } from "../javascript/model.js";
import { evenly, sum } from "../javascript/numbers.js";

/** @import { Chart } from "../javascript/chart.js" */
/** @import { Model, Place } from "../javascript/model.js" */

/** @typedef {{ level: number, mean: number, sigma: number }} Traits */

const LEVELS = 256;
const LAST = LEVELS - 1;
const BEYOND = 38; // grey levels that the mean may lie outside of 0..255
const NEAR = 8; // levels shown on each side of the chosen one
const DEEP = 40; // bits, the end of the chart over all levels
const STEEP = 8; // bits, the end of the chart over sigma

/** log Phi(z), the standard normal's, wherever z lies. Twin: torch.special.log_ndtr.
 * @type {(z: number) => number}
 */
export function logNdtr(z) {
  if (z === Infinity) return 0;
  if (z === -Infinity) return -Infinity;
  if (z > 2) return Math.log1p(-Math.exp(logNdtr(-z)));
  const logDensity = (-z * z - Math.log(2 * Math.PI)) / 2;
  if (z < -2) {
    // Mills's ratio as a continued fraction, from its eightieth term up.
    let fraction = -z;
    for (let k = 80; k > 0; k--) fraction = -z + k / fraction;
    return logDensity - Math.log(fraction);
  }
  let [series, term] = [z, z];
  for (let n = 3; n < 80; n += 2) {
    term *= (z * z) / n;
    series += term;
  }
  return Math.log(0.5 + Math.exp(logDensity) * series);
}

/** -log of the mass of a grey level, in nats. Twin: ddpm_lite.decoder_nll.
 * @type {(level: number, mean: number, sigma: number, levels?: number) => number}
 */
export function decoderNll(level, mean, sigma, levels = LEVELS) {
  const last = levels - 1;
  let above = level >= last ? Infinity : ((2 * level + 1) / last - 1 - mean) / sigma;
  let below = level <= 0 ? -Infinity : ((2 * level - 1) / last - 1 - mean) / sigma;
  // A difference of Phi is 1 - 1 in the right tail; the mirrored bin lies in the left one.
  if (above + below > 0) [above, below] = [-below, -above];
  const top = logNdtr(above);
  return -(top + Math.log(-Math.expm1(logNdtr(below) - top)));
}

/** Where a grey level lies in [-1, 1], eq-model-range.
 * @type {(level: number) => number}
 */
const center = (level) => (2 * level) / LAST - 1;

/** @type {(level: number, mean: number, sigma: number) => number} */
const bits = (level, mean, sigma) => decoderNll(level, mean, sigma) / Math.LN2;

/** The density times the width of a bin: the mass of a level, if bins were narrow.
 * @type {(level: number, mean: number, sigma: number) => number}
 */
const density = (level, mean, sigma) => gaussian(center(level), mean, sigma * sigma) / (LAST / 2);

function newControls() {
  const mean = {
    min: -BEYOND,
    max: LAST + BEYOND,
    step: 0.25,
    show: pretty,
    at: (/** @type {number} */ m) => Math.round((m + 1) * 2 * LAST) / 4,
    value: center,
  };
  return {
    level: slider("Level <i>v</i>", "level", { min: 0, max: LAST }),
    mean: slider("Mean <i>μ</i>", "mean", mean),
    sigma: powerSlider("Spread <i>σ</i>", "sigma", { min: -4, max: 0, step: 0.005 }),
  };
}

/** Buttons that set the mean, or sigma to that of the last steps, given here.
 * @param {Model<Traits>} model
 * @param {number[]} sigmas
 */
function newJumps(model, [first, second]) {
  /** @type {(innerHTML: string, jump: () => void) => HTMLButtonElement} */
  const button = (innerHTML, jump) => {
    const made = el("button", { type: "button", innerHTML });
    made.addEventListener("click", jump);
    return made;
  };
  return box(
    "ddpm-bar",
    button("Mean on the level", () => save(model, "mean", center(model.get("level")))),
    button("<i>σ</i> = √<i>β</i><sub>1</sub>", () => save(model, "sigma", first)),
    button("<i>σ</i> = √<i>β̃</i><sub>2</sub>", () => save(model, "sigma", second)),
  );
}

function newCharts() {
  const ofLevel = { title: "grey level", xTicks: ticks([0, 64, 128, 192, 255]) };
  const all = chart({
    ...ofLevel,
    x: [-BEYOND, LAST + BEYOND],
    y: [0, 1.1],
    yTicks: [
      [0, "0"],
      [0.5, "½"],
      [1, "1"],
    ],
  });
  const near = chart({
    title: "grey level, from the chosen one",
    x: [-NEAR - 0.5, NEAR + 0.5],
    y: [0, 1],
    xTicks: ticks([-8, -4, 0, 4, 8]),
    yTicks: ticks([0, 0.5, 1]),
  });
  const cost = chart({
    ...ofLevel,
    x: [0, LAST],
    y: [0, DEEP],
    yTicks: ticks([0, 10, 20, 30, 40]),
  });
  const floor = chart({
    title: "σ",
    x: [-4, 0],
    y: [0, STEEP],
    xTicks: powerTicks(-4, -3, -2, -1, 0),
    yTicks: ticks([0, 2, 4, 6, 8]),
  });
  return { all, near, cost, floor };
}

/** Levels as the two ends of each, and what is drawn over them twice: the outline of bars.
 * @type {(levels: number[], heights: number[]) => [xs: number[], ys: number[]]}
 */
function bars(levels, heights) {
  return [levels.flatMap((v) => [v - 0.5, v + 0.5]), heights.flatMap((v) => [v, v])];
}

/** Draws the masses, over all levels and near the chosen one.
 * @type {(all: Chart, near: Chart) => (traits: Traits, masses: number[]) => void}
 */
function massDrawing(all, near) {
  const [allBell, allBars] = [all.curve("bell"), all.curve("bars")];
  const [nearBell, nearBars, nearDot] = [near.curve("bell"), near.curve("bars"), near.dot("dot")];
  const wide = Array.from({ length: 4 * (LEVELS + 2 * BEYOND) }, (_, i) => i / 4 - BEYOND);
  const offsets = Array.from({ length: 2 * NEAR + 1 }, (_, i) => i - NEAR);
  const fine = evenly(-NEAR - 0.5, NEAR + 0.5, 20 * (2 * NEAR + 1) + 1);
  const every = Array.from({ length: LEVELS }, (_, v) => v);
  return ({ level, mean, sigma }, masses) => {
    const largest = Math.max(...masses);
    allBell(wide, (w) => density(w, mean, sigma) / largest);
    allBars(
      ...bars(
        every,
        masses.map((mass) => mass / largest),
      ),
    );
    nearBell(fine, (w) => density(level + w, mean, sigma));
    nearBars(
      ...bars(
        offsets,
        offsets.map((w) => masses[level + w] ?? 0),
      ),
    );
    nearDot(0, masses[level]);
  };
}

/** Draws the bits: of every level, and of the chosen one by sigma, with marks at these sigmas.
 * @type {(cost: Chart, floor: Chart, sigmas: number[]) =>
 *   (traits: Traits, costs: number[]) => void}
 */
function costDrawing(cost, floor, sigmas) {
  const [costCurve, costDot] = [cost.curve("cost"), cost.dot("dot")];
  const marks = sigmas.map((sigma) => ({ sigma, draw: floor.curve("bell mark") }));
  const [floorCurve, floorNow] = [floor.curve("third"), floor.curve("now")];
  const floorDot = floor.dot("dot");
  const logs = evenly(-4, 0, 161);
  return ({ level, mean, sigma }, costs) => {
    costCurve(Array.from(costs.keys()), costs);
    costDot(level, costs[level]);
    for (const { sigma, draw } of marks) {
      const at = Math.log10(sigma);
      draw([at, at], [0, bits(level, center(level), sigma)]);
    }
    floorCurve(logs, (log) => bits(level, center(level), 10 ** log));
    floorNow(logs, (log) => bits(level, mean, 10 ** log));
    floorDot(Math.log10(sigma), costs[level]);
  };
}

/** @param {Place<Traits>} place */
function render({ model, el: root }) {
  root.classList.add("ddpm-widget");
  const s = paperSchedule();
  const sigmas = [Math.sqrt(s.beta[1]), Math.sqrt(posteriorAt(s, 2).variance)];
  const controls = newControls();
  const { all, near, cost, floor } = newCharts();
  const drawMasses = massDrawing(all, near);
  const drawCosts = costDrawing(cost, floor, sigmas);
  root.append(
    newJumps(model, sigmas),
    box("ddpm-sliders", controls.level.row, controls.mean.row, controls.sigma.row),
    box(
      "ddpm-panels",
      panel("Mass of every level, the largest as 1; the Gaussian dashed", all.svg),
      panel("Mass near the chosen level; density × bin width dashed", near.svg),
      panel("Bits of every level, up to 40", cost.svg),
      panel("Bits of the chosen level by <i>σ</i>; floor dash-dotted", floor.svg),
    ),
  );
  const say = wording(root);

  function draw() {
    const now = { level: model.get("level"), mean: model.get("mean"), sigma: model.get("sigma") };
    const { level, mean, sigma } = now;
    const costs = Array.from({ length: LEVELS }, (_, v) => bits(v, mean, sigma));
    const masses = costs.map((b) => 2 ** -b);
    drawMasses(now, masses);
    drawCosts(now, costs);
    const least = pretty(bits(level, center(level), sigma));
    const [mass, price] = [pretty(masses[level]), pretty(costs[level])];
    const off = pretty((mean - center(level)) * (LAST / 2));
    const levels = ["1", "−1"].includes(off) ? "level" : "levels";
    say(
      `Grey level ${level} has mass ${mass} and costs ${price} bits. The mean is off by ${off} ${levels}; ` +
        `on the level, with this σ, the cost would be ${least} bits. The 256 masses sum to ${sum(masses).toFixed(6)}.`,
    );
    describe(
      all.svg,
      `Mass of each of the 256 grey levels around mean ${pretty(mean)}, and the Gaussian's density.`,
    );
    describe(near.svg, `Mass of the grey levels near ${level}; the chosen one has ${mass}.`);
    describe(cost.svg, `Bits of each grey level; the chosen one costs ${price}.`);
    describe(
      floor.svg,
      `Bits of grey level ${level} against sigma, now ${price}; with the mean on the level ${least}.`,
    );
  }

  bind(model, controls);
  follow(model, [["level", "mean", "sigma"], draw]);
}

export default { render };
