// The posterior of one step, its two witnesses, and a prediction in four coordinates.

const NAMES = { eps: "ε", x0: "x₀", v: "v", mu: "μ" };
const STYLES = { eps: "first", x0: "second", v: "third", mu: "fourth" };
const BETAS = { 20: [0.02, 0.5], 1000: [1e-4, 0.02] }; // a toy chain, and the paper's
const GUESSES = [-1.5, 1.5]; // of x_0
const EDGE = 3; // of the axis of x_{t-1}

/** Means and variances of prior, likelihood and posterior of x_{t-1}. Twin: q_posterior. */
export function posterior({ beta, alphaBar }, t, x0, xt) {
  const alpha = 1 - beta[t];
  const prior = { mean: Math.sqrt(alphaBar[t - 1]) * x0, variance: 1 - alphaBar[t - 1] };
  const likelihood = { mean: xt / Math.sqrt(alpha), variance: beta[t] / alpha };
  const rest = 1 - alphaBar[t];
  const mean =
    ((Math.sqrt(alphaBar[t - 1]) * beta[t]) / rest) * x0 +
    ((Math.sqrt(alpha) * (1 - alphaBar[t - 1])) / rest) * xt;
  return { prior, likelihood, posterior: { mean, variance: ((1 - alphaBar[t - 1]) / rest) * beta[t] } };
}

/** [p, r] of each coordinate: for a given x_t it is p x_0 + r x_t. */
export function lines({ beta, alphaBar }, t) {
  const a = Math.sqrt(alphaBar[t]);
  const b = Math.sqrt(1 - alphaBar[t]);
  const p = (Math.sqrt(alphaBar[t - 1]) * beta[t]) / (1 - alphaBar[t]);
  const r = (Math.sqrt(1 - beta[t]) * (1 - alphaBar[t - 1])) / (1 - alphaBar[t]);
  return { eps: [-a / b, 1 / b], x0: [1, 0], v: [-1 / b, a / b], mu: [p, r] };
}

/** A prediction in another coordinate. Twin: GaussianDiffusion.convert. */
export function convert(s, t, xt, value, given, wanted) {
  const { [given]: from, [wanted]: to } = lines(s, t);
  const x0 = (value - from[1] * xt) / from[0];
  return to[0] * x0 + to[1] * xt;
}

/** sigma_t^2 for t >= 2. */
export function sigma2({ beta, alphaBar }, t, variance) {
  return variance === "beta" ? beta[t] : ((1 - alphaBar[t - 1]) / (1 - alphaBar[t])) * beta[t];
}

/** What L_{t-1} multiplies a squared error by. Twin: loss_weight("variational"). */
export function weight(s, t, coordinate, variance) {
  const slopes = lines(s, t);
  return (slopes.mu[0] / slopes[coordinate][0]) ** 2 / (2 * sigma2(s, t, variance));
}

/** KL(N(q.mean, q.variance) || N(p.mean, p.variance)) in nats. Twin: gaussian_kl. */
export function gaussianKL(q, p) {
  const r = q.variance / p.variance;
  return (r - 1 - Math.log(r) + (q.mean - p.mean) ** 2 / p.variance) / 2;
}

function render({ model, el: root }) {
  root.classList.add("ddpm-widget");
  const get = (name) => model.get(name);
  const one = { step: 0.01, show: (v) => pretty(Number(v)) };
  const t = slider("Step <i>t</i>", "t", { min: 2, max: get("T") });
  const x0 = slider("Image <i>x</i><sub>0</sub>", "x0", { min: -1, max: 1, ...one });
  const xt = slider("Seen <i>x<sub>t</sub></i>", "xt", { min: -2, max: 2, ...one });
  const guess = slider("Guess", "guess", { min: -1.5, max: 1.5, ...one });
  const T = choice("Chain", "T", [["20", "20 large steps"], ["1000", "the paper's 1000"]]);
  const objective = choice("The network predicts", "objective", Object.entries(NAMES));
  const variance = choice("Its variance", "variance", [["beta", "β"], ["beta_tilde", "β̃"]]);

  const curves = chart({
    title: "x, one step before t",
    x: [-EDGE, EDGE],
    y: [0, 1.08],
    xTicks: [-3, -2, -1, 0, 1, 2, 3].map((v) => [v, pretty(v)]),
    yTicks: [[0, "0"], [1, "1"]],
  });
  const bells = { prior: "first", likelihood: "second", posterior: "third", network: "fourth" };
  const draws = Object.entries(bells).map(([name, style]) => [name, curves.curve(`bell-${name} ${style}`)]);
  const weightsPanel = panel("The weight of each coordinate", "");
  const table = el("table", { className: "ddpm-table" });

  root.append(
    el("div", { className: "ddpm-bar" }, objective.row, variance.row, T.row),
    el("div", { className: "ddpm-sliders" }, t.row, x0.row, xt.row, guess.row),
    el(
      "div",
      { className: "ddpm-panels" },
      panel("Candidates for <i>x</i><sub><i>t</i>−1</sub>, heights scaled to 1", curves.svg),
      weightsPanel,
    ),
  );
  curves.svg.after(legend(bells));
  root.append(el("div", { className: "ddpm-table-frame" }, table));
  const say = wording(root);

  let s; // the schedule in force
  let now; // t within it
  let weights; // the chart of the weights, its axes those of the chain
  let dot;
  function newChain() {
    const end = get("T");
    s = schedule("linear", end, ...BETAS[end]);
    t.input.max = end;
  }
  function newWeights() {
    const end = get("T");
    const range = Object.keys(NAMES).flatMap((name) => [2, end].map((t) => weightAt(t, name)));
    const y = [Math.floor(Math.min(...range)), Math.ceil(Math.max(...range))];
    const apart = Math.ceil((y[1] - y[0]) / 6);
    const powers = Array.from({ length: 7 }, (_, i) => y[1] - i * apart).filter((v) => v >= y[0]);
    weights = chart({
      title: "step t",
      x: [0, end],
      y,
      xTicks: [0, end / 2, end].map((v) => [v, String(v)]),
      yTicks: powers.map((v) => [v, pretty(10 ** v)]),
    });
    const steps = Array.from({ length: end - 1 }, (_, i) => i + 2);
    for (const name of Object.keys(NAMES)) {
      weights.curve(`weight-${name} ${STYLES[name]}`)(steps, steps.map((t) => weightAt(t, name)));
    }
    dot = weights.dot("dot");
    const key = legend(Object.fromEntries(Object.entries(STYLES).map(([name, style]) => [NAMES[name], style])));
    weightsPanel.replaceChildren(weightsPanel.firstChild, weights.svg, key);
  }
  const weightAt = (t, name) => Math.log10(weight(s, t, name, get("variance")));
  function draw() {
    now = Math.min(get("t"), get("T"));
    t.set(now);
    const chosen = get("objective");
    const say0 = { truth: get("x0"), guess: get("x0_hat") };
    const all = posterior(s, now, get("x0"), get("xt"));
    const to = (value, name) => convert(s, now, get("xt"), value, "x0", name);
    all.network = { mean: to(say0.guess, "mu"), variance: sigma2(s, now, get("variance")) };
    for (const [name, curve] of draws) curve(...bell(all[name]));

    const ends = GUESSES.map((v) => to(v, chosen)).sort((a, b) => a - b);
    Object.assign(guess.input, { min: ends[0], max: ends[1], step: (ends[1] - ends[0]) / 240 });
    guess.row.querySelector("label").innerHTML = `Guess <i>${NAMES[chosen]}</i>`;
    guess.set(to(say0.guess, chosen));

    dot(now, weightAt(now, chosen));
    for (const name of Object.keys(NAMES)) {
      weights.svg.querySelector(`.weight-${name}`).style.strokeWidth = name === chosen ? 3.2 : 1.3;
    }
    const rows = Object.entries(NAMES).map(([name, symbol]) => {
      const [truth, said] = [to(say0.truth, name), to(say0.guess, name)];
      const w = weight(s, now, name, get("variance"));
      return { name, cells: [symbol, truth, said, said - truth, w, w * (said - truth) ** 2] };
    });
    table.replaceChildren(...tableRows(rows, chosen));

    const kl = gaussianKL(all.posterior, all.network);
    const forMean = rows[0].cells[5];
    const forVariance = gaussianKL({ ...all.posterior, mean: 0 }, { ...all.network, mean: 0 });
    const deviation = pretty(Math.sqrt(all.posterior.variance));
    const text =
      `At step ${now} of ${get("T")} the posterior has mean ${pretty(all.posterior.mean)} and standard deviation ` +
      `${deviation}. The network's mean is ${pretty(all.network.mean)}, so this term of the bound is ${pretty(kl)} nats: ` +
      `${pretty(forMean)} for the mean, ${pretty(forVariance)} for the variance.`;
    say(text);
    curves.svg.setAttribute("aria-label", `Prior, likelihood, posterior and the network's Gaussian. ${text}`);
    weights.svg.setAttribute(
      "aria-label",
      `Weight of a squared error in each coordinate against t, logarithmic; for ${NAMES[chosen]} now ${pretty(rows.find((r) => r.name === chosen).cells[4])}.`,
    );
  }

  bind(model, "t", t);
  bind(model, "x0", x0);
  bind(model, "xt", xt);
  bind(model, "T", T, { event: "change" });
  bind(model, "objective", objective, { read: String, event: "change" });
  bind(model, "variance", variance, { read: String, event: "change" });
  guess.input.addEventListener("input", () => {
    const said = convert(s, now, get("xt"), Number(guess.input.value), get("objective"), "x0");
    model.set("x0_hat", Math.min(GUESSES[1], Math.max(GUESSES[0], said)));
    model.save_changes();
  });
  onAny(model, ["T"], newChain, newWeights, draw);
  onAny(model, ["variance"], newWeights, draw);
  onAny(model, ["t", "x0", "xt", "objective", "x0_hat"], draw);
  newChain();
  newWeights();
  draw();
}

/** Points of a bell curve of height one, inside the chart. */
function bell({ mean, variance }) {
  const deviation = Math.sqrt(variance);
  const xs = Array.from({ length: 121 }, (_, i) => mean + (i / 20 - 3) * deviation).filter((x) => Math.abs(x) <= EDGE);
  return [xs, xs.map((x) => Math.exp(-((x - mean) ** 2) / (2 * variance)))];
}

function tableRows(rows, chosen) {
  const head = ["coordinate", "truth", "guess", "off by", "weight", "weight × off²"];
  const first = el("tr", {}, ...head.map((text) => el("th", { scope: "col" }, text)));
  const body = rows.map(({ name, cells: [symbol, ...numbers] }) => {
    const row = el("tr", name === chosen ? { className: "chosen" } : {}, el("th", { scope: "row" }, symbol));
    row.append(...numbers.map((v) => el("td", {}, pretty(v))));
    return row;
  });
  return [el("thead", {}, first), el("tbody", {}, ...body)];
}

export default { render };
