// The reverse step: its true density against the best Gaussian, and a swarm on its way back.

const SECONDS = 6; // that Play takes from t = T to 0
const BETA = { min: -4, max: -0.046, step: 0.002, show: (v) => pretty(10 ** v) };
const BETA_TRAIT = { read: (v) => Math.min(0.9, 10 ** Number(v)), write: (v) => Math.log10(v) };
const normal = (x, mean, variance) =>
  Math.exp(-((x - mean) ** 2) / (2 * variance)) / Math.sqrt(2 * Math.PI * variance);
const range = (from, to, n) => Array.from({ length: n }, (_, i) => from + ((to - from) * i) / (n - 1));

/** q(x_1 | x_2 = xt), a mixture, for data at the peaks. Twin: Oracle.q_reverse. */
export function stepBack({ means, beta_1 }, beta, xt) {
  const keep = Math.sqrt(1 - beta);
  const before = beta_1; // the variance of each peak of q(x_1)
  const total = (1 - beta) * before + beta;
  const centers = means.map((m) => Math.sqrt(1 - beta_1) * m);
  const likely = centers.map((c) => normal(xt, keep * c, total));
  const sum = likely.reduce((a, b) => a + b);
  return centers.map((c, k) => ({
    weight: likely[k] / sum,
    mean: c + ((keep * before) / total) * (xt - keep * c),
    variance: (beta * before) / total,
  }));
}

/** The density of a mixture at x. */
export function density(mixture, x) {
  return mixture.reduce((sum, { weight, mean, variance }) => sum + weight * normal(x, mean, variance), 0);
}

/** The mean and the variance of a mixture. Twin: ReverseStep.best_gaussian. */
export function bestGaussian(mixture) {
  const mean = mixture.reduce((sum, part) => sum + part.weight * part.mean, 0);
  const variance = mixture.reduce(
    (sum, part) => sum + part.weight * (part.variance + (part.mean - mean) ** 2),
    0,
  );
  return { mean, variance };
}

/** KL(mixture || its best Gaussian) in nats, on a grid. Twin: ReverseStep.kl. */
export function klToBest(mixture) {
  const { mean, variance } = bestGaussian(mixture);
  const scale = Math.sqrt(variance);
  let kl = 0;
  for (const z of range(-8, 8, 801)) {
    const q = density(mixture, mean + scale * z) * scale;
    kl += q * (Math.log(Math.max(q, 1e-300)) + (z * z) / 2 + Math.log(2 * Math.PI) / 2) * 0.02;
  }
  return kl;
}

/** The paper's schedule in T steps. Twin: linear_schedule().rescaled(T). */
export function rescaled(T) {
  const log = schedule("linear", 1000, 1e-4, 0.02).alphaBar.map(Math.log);
  const alphaBar = Float64Array.from({ length: T + 1 }, (_, t) => {
    const place = (t * 1000) / T;
    const i = Math.min(999, Math.floor(place));
    return Math.exp(log[i] + (log[i + 1] - log[i]) * (place - i));
  });
  return { alphaBar, beta: alphaBar.map((a, t) => (t ? 1 - a / alphaBar[t - 1] : 0)) };
}

/** E[eps | x_t] at one point of the plane. Twin: Oracle. */
export function oracleEps({ means, std }, alphaBar, x, y) {
  const signal = Math.sqrt(alphaBar);
  const variance = alphaBar * std * std + 1 - alphaBar;
  const off = means.map((m) => [x - signal * m[0], y - signal * m[1]]);
  const log = off.map(([dx, dy]) => -(dx * dx + dy * dy) / (2 * variance));
  const top = Math.max(...log);
  let [sum, ex, ey] = [0, 0, 0];
  log.forEach((value, k) => {
    const r = Math.exp(value - top);
    sum += r;
    ex += r * off[k][0];
    ey += r * off[k][1];
  });
  const factor = Math.sqrt(1 - alphaBar) / variance / sum;
  return [factor * ex, factor * ey];
}

/** x_t of every point, x and y in turn, entry t. Twin: ReverseStep.swarm. */
export function swarm(ring, T, seed) {
  const { alphaBar, beta } = rescaled(T);
  const n = 2 * ring.points;
  const noise = normals(seed, n * (T + 1));
  const path = new Array(T + 1);
  path[T] = noise.slice(0, n);
  for (let t = T; t > 0; t--) {
    const z = noise.subarray(n * (T - t + 1));
    const x = path[t];
    const out = (path[t - 1] = new Float64Array(n));
    const sigma = t > 1 ? Math.sqrt(beta[t]) : 0;
    for (let i = 0; i < n; i += 2) {
      const eps = oracleEps(ring, alphaBar[t], x[i], x[i + 1]);
      for (const j of [0, 1]) {
        const mean = x[i + j] - (beta[t] / Math.sqrt(1 - alphaBar[t])) * eps[j];
        out[i + j] = mean / Math.sqrt(1 - beta[t]) + sigma * z[i + j];
      }
    }
  }
  return path;
}

/** The share of points within three standard deviations of a peak. */
export function landed({ means, std }, points) {
  let near = 0;
  for (let i = 0; i < points.length; i += 2) {
    near += means.some((m) => Math.hypot(points[i] - m[0], points[i + 1] - m[1]) < 3 * std);
  }
  return (2 * near) / points.length;
}

function render({ model, el: root }) {
  root.classList.add("ddpm-widget");
  const [peaks, ring] = [model.get("_peaks"), model.get("_ring")];

  const beta = slider("Size <i>β</i>", "beta", BETA);
  const xt = slider("Seen <i>x<sub>t</sub></i>", "xt", { min: -1.5, max: 1.5, step: 0.05, show: pretty });
  const t = slider("Step <i>t</i>", "t", { min: 0, max: model.get("T") });
  const T = slider("Steps <i>T</i>", "T", { min: 2, max: 200 });
  const fresh = el("button", { type: "button", className: "ddpm-noise" }, "New noise");
  const play = playTrait(model, "t", () => [model.get("T"), 0], SECONDS);

  const back = chart({
    title: "value before the step",
    x: [-4, 4],
    y: [0, 1.05],
    xTicks: [-3, 0, 3].map((v) => [v, ""]),
    yTicks: [[0, "0"]],
  });
  const gaussian = back.curve("second");
  const truth = back.curve("truth");
  const price = chart({
    title: "step size β",
    x: [-4, 0],
    y: [-8, 0],
    xTicks: [[-4, "10⁻⁴"], [-3, "10⁻³"], [-2, "10⁻²"], [-1, "0.1"], [0, "1"]],
    yTicks: [[-8, "10⁻⁸"], [-6, "10⁻⁶"], [-4, "10⁻⁴"], [-2, "10⁻²"], [0, "1"]],
  });
  const priceCurve = price.curve("price");
  const priceDot = price.dot("dot");
  const marks = [-2, -1, 0, 1, 2].map((v) => [v, pretty(v)]);
  const square = { x: [-2.2, 2.2], y: [-2.2, 2.2], xTicks: marks, yTicks: marks };
  const plane = chart({ ...square, title: "first coordinate", height: 246 });
  for (const [x, y] of ring.means) {
    const turn = range(0, 2 * Math.PI, 33);
    plane.curve("bell")(
      turn.map((a) => x + 3 * ring.std * Math.cos(a)),
      turn.map((a) => y + 3 * ring.std * Math.sin(a)),
    );
  }
  const points = plane.dots("points");
  const sizes = chart({
    title: "step t",
    x: [0, 1],
    y: [-4, 0],
    xTicks: [[0, ""], [0.5, ""], [1, ""]],
    yTicks: [[-4, "10⁻⁴"], [-3, "10⁻³"], [-2, "10⁻²"], [-1, "0.1"], [0, "1"]],
    height: 246,
  });
  const sizesCurve = sizes.curve("sizes");
  const sizesDot = sizes.dot("dot");

  root.append(
    el("div", { className: "ddpm-sliders" }, beta.row, xt.row),
    el(
      "div",
      { className: "ddpm-panels" },
      panel("One step back; dashed, best Gaussian", back.svg),
      panel("Cost of the Gaussian, KL in nats", price.svg),
    ),
    el("div", { className: "ddpm-bar" }, play.button, fresh),
    el("div", { className: "ddpm-sliders" }, t.row, T.row),
    el(
      "div",
      { className: "ddpm-panels" },
      panel("The swarm; rings, the data", plane.svg),
      panel("Its step sizes <i>β<sub>t</sub></i>", sizes.svg),
    ),
  );
  const say = wording(root);
  const words = ["", ""];

  function drawStep() {
    const [size, seen] = [model.get("beta"), model.get("xt")];
    const mixture = stepBack(peaks, size, seen);
    const { mean, variance } = bestGaussian(mixture);
    // Eight standard deviations wide and as high as the peak, so that shapes can be compared.
    const scale = Math.sqrt(variance);
    const xs = range(mean - 4 * scale, mean + 4 * scale, 401);
    const curves = [(x) => density(mixture, x), (x) => normal(x, mean, variance)].map((f) => xs.map(f));
    const top = Math.max(...curves.flat());
    back.zoom(xs[0], xs[400]);
    [truth, gaussian].forEach((draw, i) => draw(xs, curves[i].map((y) => y / top)));
    const kl = klToBest(mixture);
    priceDot(Math.log10(size), Math.log10(Math.max(kl, 1e-12)));
    words[0] = `A step of β = ${pretty(size)} led to ${pretty(seen)}. Before it the pixel was ${pretty(mean)} ± ${pretty(scale)}; as a Gaussian that is wrong by ${pretty(kl)} nats.`;
    back.svg.setAttribute("aria-label", `The true density one step back and its best Gaussian. ${words[0]}`);
    price.svg.setAttribute("aria-label", `The divergence against the step size, both logarithmic; now ${pretty(kl)} nats at ${pretty(size)}.`);
    say(words.join(" "));
  }
  function drawPrices() {
    const sizes = range(-4, -0.046, 80);
    priceCurve(sizes, sizes.map((v) => Math.log10(Math.max(klToBest(stepBack(peaks, 10 ** v, model.get("xt"))), 1e-12))));
  }

  let path;
  let betas;
  function walk() {
    const end = model.get("T");
    path = swarm(ring, end, model.get("seed"));
    betas = rescaled(end).beta;
    t.input.max = end;
    t.set(Math.min(model.get("t"), end));
    sizes.stretch(end);
    sizesCurve(range(1, end, end), Array.from(betas.subarray(1), Math.log10));
  }
  function drawSwarm() {
    const now = Math.min(model.get("t"), model.get("T"));
    points(path[now].filter((_, i) => i % 2 === 0), path[now].filter((_, i) => i % 2 === 1));
    sizesDot(now, Math.log10(betas[Math.max(1, now)]));
    const share = `${Math.round(100 * landed(ring, path[now]))} % of the points lie in a ring`;
    words[1] = `At step ${now} of ${model.get("T")}, ${share}.`;
    plane.svg.setAttribute("aria-label", `${ring.points} points of the plane. ${words[1]}`);
    sizes.svg.setAttribute("aria-label", `The step sizes against t, logarithmic; ${pretty(betas[Math.max(1, now)])} at step ${Math.max(1, now)}.`);
    say(words.join(" "));
  }

  bind(model, "beta", beta, BETA_TRAIT);
  bind(model, "xt", xt);
  bind(model, "t", t);
  bind(model, "T", T);
  onAny(model, ["xt"], drawPrices);
  onAny(model, ["beta", "xt"], drawStep);
  onAny(model, ["T", "seed"], walk);
  onAny(model, ["t", "T", "seed"], drawSwarm);
  fresh.addEventListener("click", () => nextSeed(model));
  takeTimeAlong(model, T);

  drawPrices();
  drawStep();
  walk();
  drawSwarm();
  return play.stop;
}

export default { render };
