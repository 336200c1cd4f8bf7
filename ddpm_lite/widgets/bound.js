// The bound for Gaussian data and the oracle: each term, their stack, and the exact likelihood.

export const LENGTHS = [1, 2, 3, 5, 7, 10, 20, 30, 50, 70, 100, 200, 300, 500, 700, 1000];

// --- mathematics --------------------------------------------------------------------------------

/** The same loss of signal in T steps. Twin: NoiseSchedule.rescaled. */
export function rescaled({ alphaBar }, T) {
  const steps = alphaBar.length - 1;
  const log = Float64Array.from({ length: T + 1 }, (_, t) => {
    const place = (t * steps) / T;
    const before = Math.min(steps - 1, Math.floor(place));
    const [low, high] = [Math.log(alphaBar[before]), Math.log(alphaBar[before + 1])];
    return low + (high - low) * (place - before);
  });
  return {
    beta: log.map((value, t) => (t ? -Math.expm1(value - log[t - 1]) : 0)),
    alphaBar: log.map(Math.exp),
  };
}

const betaTilde = ({ beta, alphaBar }, t) => ((1 - alphaBar[t - 1]) / (1 - alphaBar[t])) * beta[t];

/** The variance of each reverse step, entries 1..T. Twin: Bound.sigma2. */
export function stepVariances(s, kind) {
  if (kind === "beta" || s.beta.length === 2) return s.beta;
  return s.beta.map((_, t) => (t ? betaTilde(s, Math.max(t, 2)) : 0));
}

/** L_0..L_T in nats for N(0, std^2) data. Twin: ddpm_lite.oracle_bound. */
export function boundTerms(s, sigma2, std) {
  const T = s.beta.length - 1;
  const missed = (t) => (std ** 2 * (1 - s.alphaBar[t])) / (s.alphaBar[t] * std ** 2 + 1 - s.alphaBar[t]);
  const terms = new Float64Array(T + 1);
  terms[0] = (Math.log(2 * Math.PI * sigma2[1]) + missed(1) / sigma2[1]) / 2;
  for (let t = 2; t <= T; t++) {
    const pull = (Math.sqrt(s.alphaBar[t - 1]) * s.beta[t]) / (1 - s.alphaBar[t]);
    const ratio = betaTilde(s, t) / sigma2[t];
    terms[t - 1] = (ratio - 1 - Math.log(ratio) + (pull ** 2 * missed(t)) / sigma2[t]) / 2;
  }
  terms[T] = (s.alphaBar[T] * (std ** 2 - 1) - Math.log1p(-s.alphaBar[T])) / 2;
  return terms;
}

/** The variance that the reverse chain gives to x_0. Twin: ddpm_lite.reverse_marginals. */
export function modelVariance(s, sigma2, std) {
  let variance = 1;
  for (let t = s.beta.length - 1; t > 0; t--) {
    const total = s.alphaBar[t] * std ** 2 + 1 - s.alphaBar[t];
    const slope = (1 - s.beta[t] / total) / Math.sqrt(1 - s.beta[t]);
    variance = slope ** 2 * variance + sigma2[t];
  }
  return variance;
}

/** Bits per pixel, counted to one of 256 grey levels, of a density's nats. Twin: Bound. */
export function greyBits(nats) {
  return nats / Math.LN2 + Math.log2(255 / 2);
}

/** All that the widget shows, in bits. Twin: Bound.terms, Bound.nll. */
export function bits(base, T, kind, std) {
  const s = rescaled(base, T);
  const sigma2 = stepVariances(s, kind);
  const terms = boundTerms(s, sigma2, std).map((v, t) => (t ? v / Math.LN2 : greyBits(v)));
  const variance = modelVariance(s, sigma2, std);
  const nll = greyBits((Math.log(2 * Math.PI * variance) + std ** 2 / variance) / 2);
  return { terms, nll, variance, total: terms.reduce((sum, term) => sum + term, 0) };
}

// --- the widget ---------------------------------------------------------------------------------

function render({ model, el: root }) {
  root.classList.add("ddpm-widget");
  const round = (v) => Number(v).toFixed(2);

  const t = slider("Step <i>t</i>", "t", { min: 0, max: model.get("T") });
  const T = slider("Steps <i>T</i>", "T", { min: 0, max: LENGTHS.length - 1, show: (v) => String(LENGTHS[v]) });
  const last = slider("Last <i>β</i><sub><i>T</i></sub>", "beta_end", {
    min: -3,
    max: -1.3,
    step: 0.01,
    show: (v) => pretty(10 ** v),
  });
  const std = slider("Data std", "std", { min: 0.05, max: 1, step: 0.01, show: round });
  const variance = choice("Variance of a step back", "variance", [["beta", "β"], ["beta_tilde", "β̃"]]);

  const ofT = { x: [0, 1], xTicks: [[0, ""], [1, ""]] };
  const each = chart({
    ...ofT,
    title: "t",
    y: [-8, 1],
    yTicks: [[-8, "10⁻⁸"], [-6, "10⁻⁶"], [-4, "10⁻⁴"], [-2, "10⁻²"], [0, "1"]],
  });
  const eachCurve = each.curve("each");
  const eachDot = each.dot("dot");
  const levels = (values) => values.map((v) => [v, String(v)]);
  const stack = chart({ ...ofT, title: "t", y: [0, 11], yTicks: levels([0, 2, 4, 6, 8, 10]) });
  const stackCurve = stack.curve("stack");
  const stackNll = stack.curve("second");
  const stackDot = stack.dot("dot");
  const growth = chart({
    title: "steps T",
    x: [0, 3],
    y: [0, 4],
    xTicks: [[0, "1"], [1, "10"], [2, "100"], [3, "1000"]],
    yTicks: levels([0, 1, 2, 3, 4]),
  });
  const growthBound = growth.curve("bound");
  const growthNll = growth.curve("second");
  const growthDot = growth.dot("dot");
  const density = chart({
    title: "x₀, in standard deviations of the data",
    x: [-4, 4],
    y: [0, 0.5],
    xTicks: levels([-4, -2, 0, 2, 4]).map(([v]) => [v, pretty(v)]),
    yTicks: levels([0, 0.2, 0.4]),
  });
  const bell = density.curve("bell");
  const learnt = density.curve("model");
  const grid = Array.from({ length: 81 }, (_, i) => -4 + i / 10);
  const normal = (ratio) => grid.map((x) => Math.exp((-x * x) / (2 * ratio)) / Math.sqrt(2 * Math.PI * ratio));
  bell(grid, normal(1));

  root.append(
    el("div", { className: "ddpm-bar" }, variance.row),
    el("div", { className: "ddpm-sliders" }, t.row, T.row, last.row, std.row),
    el(
      "div",
      { className: "ddpm-panels" },
      panel("Each term <i>L<sub>t</sub></i>, bits", each.svg),
      panel("<i>L<sub>T</sub></i> + … + <i>L<sub>t</sub></i>, bits; dashed, exact NLL", stack.svg),
      panel("Bound and, dashed, NLL above the entropy, bits", growth.svg),
      panel("What the model draws; dashed, the data", density.svg),
    ),
  );
  const say = wording(root);

  let now; // what is shown at the present T
  let paid; // paid[t] is the stack from L_T down to L_t
  function compute() {
    const base = schedule("linear", 1000, 1e-4, model.get("beta_end"));
    const [end, kind, width] = ["T", "variance", "std"].map((name) => model.get(name));
    now = bits(base, end, kind, width);
    paid = Float64Array.from(now.terms);
    for (let i = end - 1; i >= 0; i--) paid[i] += paid[i + 1];
    t.input.max = end;
    t.set(Math.min(model.get("t"), end));
    const steps = Array.from(now.terms.keys());
    each.stretch(end);
    eachCurve(steps, now.terms.map(Math.log10));
    stack.stretch(end);
    stackCurve(steps, paid);
    stackNll([0, end], [now.nll, now.nll]);
    const all = LENGTHS.map((length) => bits(base, length, kind, width));
    const logs = LENGTHS.map(Math.log10);
    const entropy = greyBits((Math.log(2 * Math.PI * width ** 2) + 1) / 2);
    growthBound(logs, all.map(({ total }) => total - entropy));
    growthNll(logs, all.map(({ nll }) => nll - entropy));
    growthDot(Math.log10(end), now.total - entropy);
    learnt(grid, normal(now.variance / width ** 2));
  }
  function draw() {
    const end = model.get("T");
    const at = Math.min(model.get("t"), end);
    eachDot(at, Math.log10(now.terms[at]));
    stackDot(at, paid[at]);
    const gap = now.total - now.nll;
    const [L, nll] = [now.total, now.nll].map(round);
    say(
      `At t = ${at} of ${end} the term is ${pretty(now.terms[at])} bits, and the stack down to it ${round(paid[at])}. ` +
        `Prior ${pretty(now.terms[end])}, reconstruction ${round(now.terms[0])}; bound ${L}, exact NLL ${nll}, gap ${pretty(gap < 5e-7 ? 0 : gap)} bits per pixel.`,
    );
    each.svg.setAttribute("aria-label", `Each term of the bound against t, logarithmic; now ${pretty(now.terms[at])} bits at ${at}.`);
    stack.svg.setAttribute("aria-label", `The terms added up from t = ${end} down; now ${round(paid[at])} bits at ${at}. The exact NLL is ${nll}.`);
    growth.svg.setAttribute("aria-label", `Bound and exact NLL against the number of steps; now ${L} and ${nll} bits at ${end}.`);
    density.svg.setAttribute("aria-label", `Densities of the data and of the model; the model's variance is ${pretty(now.variance / model.get("std") ** 2)} times the data's.`);
  }

  bind(model, "t", t);
  bind(model, "T", T, { read: (v) => LENGTHS[v], write: (v) => LENGTHS.indexOf(v) });
  bind(model, "beta_end", last, { read: (v) => 10 ** Number(v), write: Math.log10 });
  bind(model, "std", std);
  bind(model, "variance", variance, { read: String, event: "change" });
  onAny(model, ["T", "beta_end", "std", "variance"], compute, draw);
  onAny(model, ["t"], draw);
  takeTimeAlong(model, T);

  compute();
  draw();
}

export default { render };
