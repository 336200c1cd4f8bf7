// What is shown of a training: the pad, Algorithm 1, loss and bound, fields, and three ways back.

import { chart, ticks } from "../javascript/chart.js";
import { button } from "../javascript/controls.js";
import { box, describe, el, panel, pretty, wording } from "../javascript/elements.js";
import { evenly } from "../javascript/numbers.js";
import { heatLegend, plane } from "../javascript/plane.js";
import { RunningView } from "../javascript/running.js";
import { linesOf, newControls } from "./training_controls.js";
import { Pad } from "./training_pad.js";

/** @import { Model } from "../javascript/model.js" */
/** @import { Begun, Field, Measured, Sampled } from "../javascript/points/worker.js" */
/** @import { Traits } from "./training_controls.js" */
/** @import { Run } from "./training_run.js" */

const SIDE = 31; // of the fields' grid, and how far they reach, as in the engine
const LIMIT = 2.1;
const HIGHEST = 1.3; // loss in the chart
const WAYS = /** @type {const} */ (["ddpm", "ddim", "flow"]);
const CALLED = { ddpm: "DDPM, Algorithm 2", ddim: "DDIM", flow: "Probability-flow ODE" };
const WORKING = { idle: "Train", running: "Pause", paused: "Go on" };

/** A field of arrows under a cloud of points. */
function newField() {
  const square = plane(LIMIT);
  return { svg: square.svg, cloud: square.dots("cloud"), arrows: square.arrows("field") };
}

function newPanels() {
  const [learned, exact] = [newField(), newField()];
  const square = plane(LIMIT);
  const heat = square.heat();
  const apart = { svg: square.svg, heat, cloud: square.dots("cloud") };
  const ways = WAYS.map((name) => {
    const drawn = plane(LIMIT);
    const data = drawn.dots("faint"); // under what is drawn
    const figures = { dots: drawn.dots("drawn"), data, svg: drawn.svg };
    return { name, ...figures, told: el("span", { className: "ddpm-told" }) };
  });
  return { learned, exact, apart, ways };
}

/** How many points the square does not show. @param {ArrayLike<number>} xy */
function outsideOf(xy) {
  let count = 0;
  for (let i = 0; i < xy.length; i += 2) {
    if (!(Math.max(Math.abs(xy[i]), Math.abs(xy[i + 1])) <= LIMIT)) count++;
  }
  return count;
}

export class View extends RunningView {
  /**
   * @param {Model<Traits>} model
   * @param {HTMLElement} root
   */
  constructor(model, root) {
    super(Array.from({ length: 6 }, () => el("li")));
    this.model = model;
    this.root = root;
    this.controls = newControls(model);
    this.pad = new Pad(model);
    this.main = button("ddpm-play", "Train");
    this.once = button("ddpm-once", "One turn, slowly");
    this.again = button("ddpm-again", "Start again");
    this.turn = el("p", { className: "ddpm-turn", textContent: "Turn 0" });
    this.panels = newPanels();
    this.bound = el("figure");
    this.loss = this.lossChart();
    this.lossAt = el("span", { className: "ddpm-loss-at", textContent: "–" });
    /** @type {[turn: number, bits: number][]} */
    this.bounds = [];
    /** @type {Begun | null} */
    this.known = null;
    this.layOut();
    this.say = wording(root);
  }

  lossChart() {
    const axes = {
      title: "step t, logarithmic",
      x: /** @type {[number, number]} */ ([0, 1]),
      y: /** @type {[number, number]} */ ([0, HIGHEST]),
      xTicks: ticks([0, 0.5, 1], () => ""),
      yTicks: ticks([0, 0.5, 1]),
    };
    const made = chart(axes);
    const [floor, loss] = [made.curve("second"), made.curve("loss")];
    return { ...made, floor, loss, dot: made.dot("dot") };
  }

  layOut() {
    const { points, objective, kind, T, lr, t } = this.controls;
    const { learned, exact, apart, ways } = this.panels;
    const small = this.model.get("small");
    t.row.style.gridColumn = "1 / -1";
    const algorithm = box("ddpm-lines", el("ol", {}, ...this.lines), this.turn);
    const [first, ...others] = ways.map(({ name, svg, told }) =>
      el("figure", {}, el("figcaption", {}, CALLED[name]), svg, told),
    );
    const fields = [
      panel("Learned: −<i>ε̂</i>, along the score", learned.svg),
      panel("Exact, of your points", exact.svg),
      el("figure", {}, el("figcaption", {}, "Their distance"), apart.svg, heatLegend()),
    ];
    const lossPanel = panel("Loss in <i>ε</i> by <i>t</i>; dashed, its floor", this.loss.svg);
    lossPanel.append(this.lossAt);
    const choices = small ? [points] : [points, objective, kind, T, lr];
    const buttons = small ? [this.main, this.again] : [this.main, this.once, this.again];
    const bar = box("ddpm-bar", ...buttons);
    const beside = small ? first : el("div", {}, algorithm, bar);
    this.root.append(
      box("ddpm-bar", ...choices.map(({ row }) => row)),
      box("ddpm-panels ddpm-top", this.pad.node, beside),
      ...(small ? [bar] : []),
      this.fault,
      box("ddpm-sliders", t.row),
    );
    if (small) return;
    this.root.append(
      box("ddpm-panels", lossPanel, this.bound),
      box("ddpm-panels ddpm-three", ...fields),
      box("ddpm-panels ddpm-three", first, ...others),
    );
  }

  /** Nothing is known of these settings yet. */
  blank() {
    const { learned, exact, apart, ways } = this.panels;
    for (const { cloud, arrows } of [learned, exact]) {
      cloud([]);
      arrows([], 0);
    }
    apart.heat([], 1);
    apart.cloud([]);
    for (const { dots, data, told } of ways) {
      dots([]);
      data([]);
      told.textContent = "–";
    }
    for (const draw of [this.loss.floor, this.loss.loss]) draw([], []);
    [this.bounds, this.known] = [[], null];
    this.boundChart(100);
    this.loss.dot(-9, 0); // out of sight
    this.lossAt.textContent = "–";
    this.pad.lay();
    for (const svg of this.root.querySelectorAll("svg[role=img]")) {
      describe(svg, "Empty: nothing is trained yet.");
    }
  }

  /** What the settings say, before anything is trained. */
  arrange() {
    const { model, controls } = this;
    for (const [i, html] of linesOf(model.get("objective"), model.get("T")).entries()) {
      this.lines[i].innerHTML = html;
    }
    controls.t.input.max = String(model.get("T"));
    controls.t.set(Math.min(model.get("t"), model.get("T")));
  }

  /** What can be pressed. @param {Run["state"]} state */
  refresh(state) {
    this.main.textContent = WORKING[state];
    this.once.disabled = state === "running";
  }

  /** A chart of the bound, from a bit below the least to five bits above, over these turns.
   * @param {number} turns
   */
  boundChart(turns) {
    const least = Math.floor(Math.min(this.known?.entropy ?? 0, this.known?.least ?? 0));
    const made = chart({
      title: "turn",
      x: [0, turns],
      y: [least, least + 5],
      xTicks: ticks([0, turns / 2, turns], (v) => String(Math.round(v))),
      yTicks: ticks([0, 1, 2, 3, 4, 5].map((v) => least + v)),
    });
    const words = "Bits per coordinate: the bound; dashed, its least; dotted, the entropy";
    this.bound.replaceChildren(el("figcaption", {}, words), made.svg);
    return made;
  }

  /** @type {(begun: Begun, points: number[]) => void} */
  showBegun(begun, points) {
    this.known = begun;
    const T = this.model.get("T");
    const last = Math.log10(Math.max(T, 2));
    this.loss.zoom(0, last, (v) => pretty(Math.round(10 ** v)));
    this.loss.floor(begun.times.map(Math.log10), begun.floor);
    for (const { data } of this.panels.ways) data(points);
  }

  /** @type {(measured: Measured) => void} */
  showMeasured({ turn, loss, bound }) {
    const known = /** @type {Begun} */ (this.known);
    this.loss.loss(known.times.map(Math.log10), loss);
    this.bounds.push([turn, bound]);
    const turns = Math.max(100, 2 ** Math.ceil(Math.log2(turn / 100)) * 100);
    const made = this.boundChart(turns);
    made.curve("second")([0, turns], [known.least, known.least]);
    made.curve("fourth")([0, turns], [known.entropy, known.entropy]);
    const turns_ = this.bounds.map(([at]) => at);
    made.curve("bound")(
      turns_,
      this.bounds.map(([, bits]) => bits),
    );
    const now = `${pretty(bound)} bits per coordinate at turn ${turn}`;
    describe(made.svg, `The bound against the turn: ${now}; the least is ${pretty(known.least)}.`);
  }

  /** The dot of the loss at t. @type {(t: number, measured: Measured) => void} */
  mark(t, { loss }) {
    const { times } = /** @type {Begun} */ (this.known);
    const nearest = times.reduce((a, b) => (Math.abs(b - t) < Math.abs(a - t) ? b : a));
    const at = times.indexOf(nearest);
    const floor = pretty(/** @type {Begun} */ (this.known).floor[at]);
    this.loss.dot(Math.log10(nearest), loss[at]);
    const above = loss[at] > HIGHEST ? ", above the picture" : "";
    this.lossAt.textContent = `near t = ${t}: ${pretty(loss[at])}${above}; of it ${floor} stays`;
    describe(this.loss.svg, `Loss in eps against t; ${this.lossAt.textContent}.`);
  }

  /** @type {(t: number, field: Field) => void} */
  showField(t, { cloud, learned, exact }) {
    const { panels } = this;
    const off = evenly(0, SIDE * SIDE - 1, SIDE * SIDE).map((i) =>
      Math.hypot(learned[2 * i] - exact[2 * i], learned[2 * i + 1] - exact[2 * i + 1]),
    );
    for (const [one, eps] of /** @type {const} */ ([
      [panels.learned, learned],
      [panels.exact, exact],
    ])) {
      one.cloud(cloud);
      one.arrows(
        eps.map((v) => -v),
        SIDE,
      );
    }
    panels.apart.heat(off, SIDE);
    panels.apart.cloud(cloud);
    const middle = [...off].sort((a, b) => a - b)[Math.floor(off.length / 2)];
    describe(panels.learned.svg, `The learned field at t = ${t}, and your points with its noise.`);
    describe(panels.exact.svg, `The exact field at t = ${t}.`);
    describe(
      panels.apart.svg,
      `How far apart they are at t = ${t}: ${pretty(middle)} in the middle.`,
    );
  }

  /** The three ways back, at the stop of each that is nearest above t; at 1, the samples.
   * @type {(t: number, sampled: Sampled) => void}
   */
  showSampled(t, { chains, energy }) {
    for (const [i, { name, dots, svg, told }] of this.panels.ways.entries()) {
      const path = chains[name];
      if (!path) continue;
      const stop = t === 1 ? path[path.length - 1] : path.filter((one) => one.t >= t).pop();
      dots(stop?.x ?? []);
      const outside = stop ? outsideOf(stop.x) : 0;
      const seen = outside ? `, ${outside} outside the picture` : "";
      const far = Number.isFinite(energy[i]) ? pretty(energy[i]) : "no number";
      told.textContent = `at t = ${stop?.t}${seen}; when done, ${far} from the drawing`;
      describe(
        svg,
        `${stop ? stop.x.length / 2 : 0} points by ${CALLED[name]}, ${told.textContent}.`,
      );
    }
  }
}
