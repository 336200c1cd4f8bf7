// The decoder: a Gaussian cut into 256 grey levels, and what the chosen level costs.

const LEVELS = 256;
const LAST = LEVELS - 1;
const BEYOND = 38; // grey levels that the mean may lie outside of 0..255
const NEAR = 8; // levels shown on each side of the chosen one
const DEEP = 40; // bits, the end of the chart over all levels
const STEEP = 8; // bits, the end of the chart over sigma

/** log Phi(z), the standard normal's, wherever z lies. Twin: torch.special.log_ndtr. */
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
  let sum = z;
  for (let term = z, n = 3; n < 80; n += 2) sum += term *= (z * z) / n;
  return Math.log(0.5 + Math.exp(logDensity) * sum);
}

/** -log of the mass of a grey level, in nats. Twin: ddpm_lite.decoder_nll. */
export function decoderNll(level, mean, sigma, levels = LEVELS) {
  const last = levels - 1;
  let above = level >= last ? Infinity : ((2 * level + 1) / last - 1 - mean) / sigma;
  let below = level <= 0 ? -Infinity : ((2 * level - 1) / last - 1 - mean) / sigma;
  // A difference of Phi is 1 - 1 in the right tail; the mirrored bin lies in the left one.
  if (above + below > 0) [above, below] = [-below, -above];
  const top = logNdtr(above);
  return -(top + Math.log(-Math.expm1(logNdtr(below) - top)));
}

function render({ model, el: root }) {
  root.classList.add("ddpm-widget");
  const center = (level) => (2 * level) / LAST - 1; // eq-model-range
  const bits = (level, mean, sigma) => decoderNll(level, mean, sigma) / Math.LN2;
  // Density times the width of a bin, by grey level: a mass, if bins were narrow.
  const density = (level, mean, sigma) =>
    Math.exp((-(((center(level) - mean) / sigma) ** 2) - Math.log(2 * Math.PI)) / 2) / sigma / (LAST / 2);
  const { beta, alphaBar } = schedule("linear", 1000, 1e-4, 0.02);
  const first = Math.sqrt(beta[1]);
  const second = Math.sqrt(((1 - alphaBar[1]) / (1 - alphaBar[2])) * beta[2]);

  const level = slider("Level <i>v</i>", "level", { min: 0, max: LAST });
  const mean = slider("Mean <i>μ</i>", "mean", {
    min: -BEYOND,
    max: LAST + BEYOND,
    step: 0.25,
    show: (v) => pretty(center(v)),
  });
  const spread = slider("Spread <i>σ</i>", "sigma", { min: -4, max: 0, step: 0.005, show: (v) => pretty(10 ** v) });
  const jump = (html, trait, value) => {
    const button = el("button", { type: "button", innerHTML: html });
    button.addEventListener("click", () => {
      model.set(trait, value());
      model.save_changes();
    });
    return button;
  };

  const ofLevel = { title: "grey level", xTicks: [0, 64, 128, 192, 255].map((v) => [v, v]) };
  const all = chart({
    ...ofLevel,
    x: [-BEYOND, LAST + BEYOND],
    y: [0, 1.1],
    yTicks: [[0, "0"], [0.5, "½"], [1, "1"]],
  });
  const near = chart({
    title: "grey level, from the chosen one",
    x: [-NEAR - 0.5, NEAR + 0.5],
    y: [0, 1],
    xTicks: [-8, -4, 0, 4, 8].map((v) => [v, pretty(v)]),
    yTicks: [[0, "0"], [0.5, "0.5"], [1, "1"]],
  });
  const cost = chart({ ...ofLevel, x: [0, LAST], y: [0, DEEP], yTicks: [0, 10, 20, 30, 40].map((v) => [v, v]) });
  const floor = chart({
    title: "σ",
    x: [-4, 0],
    y: [0, STEEP],
    xTicks: [[-4, "10⁻⁴"], [-3, "10⁻³"], [-2, "0.01"], [-1, "0.1"], [0, "1"]],
    yTicks: [0, 2, 4, 6, 8].map((v) => [v, v]),
  });
  const allBell = all.curve("bell");
  const allBars = all.curve("bars");
  const nearBell = near.curve("bell");
  const nearBars = near.curve("bars");
  const nearDot = near.dot("dot");
  const costCurve = cost.curve("cost");
  const costDot = cost.dot("dot");
  const marks = [first, second].map((sigma) => [sigma, floor.curve("bell mark")]);
  const floorCurve = floor.curve("third");
  const floorNow = floor.curve("now");
  const floorDot = floor.dot("dot");

  root.append(
    el(
      "div",
      { className: "ddpm-bar" },
      jump("Mean on the level", "mean", () => center(model.get("level"))),
      jump("<i>σ</i> = √<i>β</i><sub>1</sub>", "sigma", () => first),
      jump("<i>σ</i> = √<i>β̃</i><sub>2</sub>", "sigma", () => second),
    ),
    el("div", { className: "ddpm-sliders" }, level.row, mean.row, spread.row),
    el(
      "div",
      { className: "ddpm-panels" },
      panel("Mass of every level, the largest as 1; the Gaussian dashed", all.svg),
      panel("Mass near the chosen level; density × bin width dashed", near.svg),
      panel("Bits of every level, up to 40", cost.svg),
      panel("Bits of the chosen level by <i>σ</i>; floor dash-dotted", floor.svg),
    ),
  );
  const say = wording(root);

  const steps = (levels) => Array.from(levels).flatMap((v) => [v - 0.5, v + 0.5]);
  const outline = (values) => Array.from(values).flatMap((v) => [v, v]);
  const every = Array.from({ length: LEVELS }, (_, v) => v);
  const wide = Array.from({ length: 4 * (LEVELS + 2 * BEYOND) }, (_, i) => i / 4 - BEYOND);
  const offsets = Array.from({ length: 2 * NEAR + 1 }, (_, i) => i - NEAR);
  const fine = Array.from({ length: 20 * (2 * NEAR + 1) + 1 }, (_, i) => i / 20 - NEAR - 0.5);
  const logs = Array.from({ length: 161 }, (_, i) => -4 + i / 40);

  function draw() {
    const [v, m, s] = ["level", "mean", "sigma"].map((trait) => model.get(trait));
    const costs = every.map((w) => bits(w, m, s));
    const masses = costs.map((b) => 2 ** -b);
    const largest = Math.max(...masses);
    allBell(wide, wide.map((w) => density(w, m, s) / largest));
    allBars(steps(every), outline(masses.map((mass) => mass / largest)));
    nearBell(fine, fine.map((w) => density(v + w, m, s)));
    nearBars(steps(offsets), outline(offsets.map((w) => masses[v + w] ?? 0)));
    nearDot(0, masses[v]);
    costCurve(every, costs);
    costDot(v, costs[v]);
    const lowest = (sigma) => bits(v, center(v), sigma);
    for (const [sigma, mark] of marks) mark([Math.log10(sigma), Math.log10(sigma)], [0, lowest(sigma)]);
    floorCurve(logs, logs.map((log) => lowest(10 ** log)));
    floorNow(logs, logs.map((log) => bits(v, m, 10 ** log)));
    floorDot(Math.log10(s), costs[v]);

    const [mass, price, least] = [masses[v], costs[v], lowest(s)].map(pretty);
    const sum = masses.reduce((a, b) => a + b, 0).toFixed(6);
    const off = pretty((m - center(v)) * (LAST / 2));
    const levels = ["1", "−1"].includes(off) ? "level" : "levels";
    const text =
      `Grey level ${v} has mass ${mass} and costs ${price} bits. The mean is off by ${off} ${levels}; ` +
      `on the level, with this σ, the cost would be ${least} bits. The 256 masses sum to ${sum}.`;
    say(text);
    all.svg.setAttribute("aria-label", `Mass of each of the 256 grey levels around mean ${pretty(m)}, and the Gaussian's density.`);
    near.svg.setAttribute("aria-label", `Mass of the grey levels near ${v}; the chosen one has ${mass}.`);
    cost.svg.setAttribute("aria-label", `Bits of each grey level; the chosen one costs ${price}.`);
    floor.svg.setAttribute("aria-label", `Bits of grey level ${v} against sigma, now ${price}, above the floor of ${least} for a mean on the level.`);
  }

  const LOG = { read: (v) => 10 ** Number(v), write: (v) => Math.log10(v) };
  const LEVEL = { read: (v) => center(Number(v)), write: (m) => Math.round((m + 1) * 2 * LAST) / 4 };
  bind(model, "level", level);
  bind(model, "mean", mean, LEVEL);
  bind(model, "sigma", spread, LOG);
  onAny(model, ["level", "mean", "sigma"], draw);
  draw();
}

export default { render };
