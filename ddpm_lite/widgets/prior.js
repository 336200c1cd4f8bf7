// The end of the chain: how far q(x_T | x_0) is from the sampler's beginning, and what that costs.

const LOG = { min: -3, max: -0.01, step: 0.01, show: (v) => pretty(10 ** v) };
const LOG_TRAIT = { read: (v) => 10 ** Number(v), write: (v) => Math.log10(v) };

/** L_T of one pixel in bits. Twin: ddpm_lite.widgets.prior.prior_bits. */
export function priorBits(alphaBar, x0) {
  return (alphaBar * x0 * x0 - alphaBar - Math.log1p(-alphaBar)) / (2 * Math.LN2);
}

const density = (x, mean, variance) =>
  Math.exp((-(x - mean) * (x - mean)) / (2 * variance)) / Math.sqrt(2 * Math.PI * variance);

function render({ model, el: root }) {
  root.classList.add("ddpm-widget");
  const T = slider("Steps <i>T</i>", "T", { min: 1, max: 1000 });
  const last = slider("Last <i>β</i><sub><i>T</i></sub>", "beta_end", LOG);
  const pixel = slider("Pixel <i>x</i><sub>0</sub>", "x0", { min: -1, max: 1, step: 0.01, show: (v) => pretty(Number(v)) });

  const kept = chart({
    title: "step t",
    x: [0, 1],
    y: [0, 1],
    xTicks: [[0, ""], [0.5, ""], [1, ""]],
    yTicks: [[0, "0"], [0.5, "0.5"], [1, "1"]],
  });
  const keptCurve = kept.curve("kept");
  const keptDot = kept.dot("dot");
  const ends = chart({
    title: "pixel value",
    x: [-4, 4],
    y: [0, 1],
    xTicks: [-4, -2, 0, 2, 4].map((v) => [v, pretty(v)]),
    yTicks: [[0, "0"], [0.5, "0.5"], [1, "1"]],
  });
  const grid = Array.from({ length: 161 }, (_, i) => -4 + i / 20);
  const end = ends.curve("kept");
  ends.curve("bell")(grid, grid.map((x) => density(x, 0, 1)));
  const cost = chart({
    title: "last beta",
    x: [-3, -0.01],
    y: [-9, 1],
    xTicks: [[-3, "10⁻³"], [-2, "10⁻²"], [-1, "10⁻¹"]],
    yTicks: [[-8, "10⁻⁸"], [-4, "10⁻⁴"], [0, "1"]],
  });
  const costCurve = cost.curve("kept");
  const costDot = cost.dot("dot");
  const betas = Array.from({ length: 121 }, (_, i) => -3 + (i / 120) * 2.99);

  root.append(
    el("div", { className: "ddpm-sliders" }, T.row, last.row, pixel.row),
    el(
      "div",
      { className: "ddpm-panels" },
      panel("<i>ᾱ<sub>t</sub></i>, the variance kept", kept.svg),
      panel("The end of the chain, and <i>N</i>(0, 1) dashed", ends.svg),
      panel("<i>L<sub>T</sub></i> in bits, against the last beta", cost.svg),
    ),
  );
  const say = wording(root);

  // Below what the chart shows the value is not needed, and may be zero.
  const log = (bits) => Math.log10(Math.max(bits, 1e-12));
  function draw() {
    const [steps, first, final, x0] = ["T", "beta_start", "beta_end", "x0"].map((name) => model.get(name));
    const { alphaBar } = schedule("linear", steps, first, final);
    const left = alphaBar[steps];
    const bits = priorBits(left, x0);
    kept.stretch(steps);
    keptCurve(Array.from(alphaBar.keys()), alphaBar);
    keptDot(steps, left);
    end(grid, grid.map((x) => density(x, Math.sqrt(left) * x0, 1 - left)));
    costCurve(betas, betas.map((v) => log(priorBits(schedule("linear", steps, first, 10 ** v).alphaBar[steps], x0))));
    costDot(Math.log10(final), log(bits));
    say(`After ${steps} steps ${pretty(left)} of the variance is left of the image. Beginning with N(0, 1) instead costs ${pretty(bits)} bits for this pixel.`);
    kept.svg.setAttribute("aria-label", `Alpha-bar against t; ${pretty(left)} at the last step, ${steps}.`);
    ends.svg.setAttribute("aria-label", `The density of x_T, of mean ${pretty(Math.sqrt(left) * x0)} and variance ${pretty(1 - left)}, against the standard normal.`);
    cost.svg.setAttribute("aria-label", `L_T against the last beta, both logarithmic; now ${pretty(bits)} bits.`);
  }
  bind(model, "T", T);
  bind(model, "beta_end", last, LOG_TRAIT);
  bind(model, "x0", pixel);
  onAny(model, ["T", "beta_end", "x0"], draw);
  draw();
}

export default { render };
