// One question of the loss: the noisy input, what should be said about it, and the best answer.

const T = 1000;
const SCALE = { eps: 2, x0: 1, v: 2 }; // what is painted white; its negative is black
const SYMBOL = { eps: "<i>ε</i>", x0: "<i>x</i><sub>0</sub>", v: "<i>v</i>" };
const NAMED = { eps: "the noise ε", x0: "the image", v: "v, between noise and image" };
const SHOWN = [1, ...Array.from({ length: 50 }, (_, i) => 20 * (i + 1))]; // steps of the error's curve

/** E[eps | x_t] and E[x_0 | x_t] where x_0 is any of a finite set, all alike. Twin: Oracle. */
export function bestGuess(xt, images, alphaBar) {
  const signal = Math.sqrt(alphaBar);
  const logs = images.map((x) => {
    let distance = 0;
    for (let i = 0; i < x.length; i++) distance += (xt[i] - signal * x[i]) ** 2;
    return -distance / (2 * (1 - alphaBar));
  });
  const largest = Math.max(...logs);
  const shares = logs.map((log) => Math.exp(log - largest));
  const total = shares.reduce((sum, share) => sum + share);
  const x0 = new Float64Array(xt.length);
  images.forEach((x, k) => x.forEach((value, i) => (x0[i] += (shares[k] / total) * value)));
  return { x0, eps: xt.map((value, i) => (value - signal * x0[i]) / Math.sqrt(1 - alphaBar)) };
}

/** What a network with this objective should say. Twin: GaussianDiffusion.target. */
export function target(objective, x0, eps, alphaBar) {
  if (objective === "eps") return eps;
  if (objective === "x0") return x0;
  const [signal, noise] = [Math.sqrt(alphaBar), Math.sqrt(1 - alphaBar)];
  return eps.map((value, i) => signal * value - noise * x0[i]);
}

/** The factor of L, or of L_simple, on the squared error at t; sigma^2 is beta.
 * Twin: GaussianDiffusion.loss_weight. */
export function lossWeight(kind, objective, { beta, alphaBar }, t) {
  const noise = 1 - alphaBar[t];
  const onEps = kind === "simple" ? 1 : beta[t] / (2 * (1 - beta[t]) * noise);
  return onEps * { eps: 1, x0: alphaBar[t] / noise, v: alphaBar[t] }[objective];
}

export function meanSquare(a, b) {
  return a.reduce((sum, value, i) => sum + (value - b[i]) ** 2, 0) / a.length;
}

/** The pictures to choose from, by name, and the finite set, as arrays in [-1, 1]. */
export function unpackDigits(model) {
  const bytes = model.get("_pixels");
  const view = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const n = model.get("_size")[0] * model.get("_size")[1];
  const every = Array.from({ length: view.length / n }, (_, k) =>
    Float64Array.from(view.subarray(k * n, (k + 1) * n), (v) => v / 8 - 1),
  );
  const names = model.get("_names");
  return {
    pictures: Object.fromEntries(names.map((name, k) => [name, every[k]])),
    images: every.slice(names.length),
  };
}

function render({ model, el: root }) {
  root.classList.add("ddpm-widget");
  const { pictures, images } = unpackDigits(model);
  const [height, width] = model.get("_size");
  const s = schedule("linear", T, 1e-4, 0.02);

  const t = slider("Step <i>t</i>", "t", { min: 1, max: T });
  t.row.style.gridColumn = "1 / -1";
  const picture = choice("Picture", "picture", Object.keys(pictures).map((name) => [name, name]));
  const objective = choice("Target", "objective", [["eps", "the noise ε"], ["x0", "the image x₀"], ["v", "v"]]);
  const fresh = el("button", { type: "button", className: "ddpm-noise" }, "New noise");

  const canvases = ["", "", "", ""].map(() => el("canvas", { role: "img" }));
  const wanted = panel("", canvases[1]);
  const ofT = { title: "step t", x: [0, 1], xTicks: [[0, ""], [0.5, ""], [1, ""]], y: [-4, 4] };
  const powers = [[-4, "10⁻⁴"], [-2, "10⁻²"], [0, "1"], [2, "10²"], [4, "10⁴"]];
  const weights = chart({ ...ofT, yTicks: powers });
  const errors = chart({ ...ofT, yTicks: powers });
  for (const one of [weights, errors]) one.stretch(T);
  const ofL = weights.curve("of-l");
  const ofSimple = weights.curve("second");
  const weightDot = weights.dot("dot");
  const errorCurve = errors.curve("error");
  const termCurve = errors.curve("second");
  const errorDot = errors.dot("dot");

  root.append(
    el("div", { className: "ddpm-bar" }, picture.row, objective.row, fresh),
    el("div", { className: "ddpm-sliders" }, t.row),
    el(
      "div",
      { className: "ddpm-panels ddpm-strip" },
      panel("The input <i>x<sub>t</sub></i>", canvases[0]),
      wanted,
      panel("The prediction", canvases[2]),
      panel("Its error", canvases[3]),
    ),
    el(
      "div",
      { className: "ddpm-panels" },
      panel("Weight of the error: in <i>L</i>; dashed, in <i>L</i><sub>simple</sub>", weights.svg),
      panel("Squared error; dashed, times its weight in <i>L</i>", errors.svg),
    ),
  );
  const say = wording(root);

  let x0;
  let eps;
  const log = (value) => Math.log10(Math.max(value, 1e-9));
  function ask(now) {
    const alphaBar = s.alphaBar[now];
    const xt = qSample(x0, eps, alphaBar);
    const best = bestGuess(xt, images, alphaBar);
    const [should, says] = [{ x0, eps }, best].map((one) =>
      target(model.get("objective"), one.x0, one.eps, alphaBar),
    );
    return { xt, should, says, error: meanSquare(says, should) };
  }
  function weight(kind, now) {
    return lossWeight(kind, model.get("objective"), s, now);
  }
  function newQuestion() {
    x0 = pictures[model.get("picture")];
    eps = normals(model.get("seed"), x0.length);
    const steps = Array.from({ length: T }, (_, i) => i + 1);
    ofL(steps, steps.map((now) => log(weight("variational", now))));
    ofSimple(steps, steps.map((now) => log(weight("simple", now))));
    const found = SHOWN.map((now) => ask(now).error);
    errorCurve(SHOWN, found.map(log));
    termCurve(SHOWN, found.map((error, i) => log(error * weight("variational", SHOWN[i]))));
    wanted.querySelector("figcaption").innerHTML = `The target, ${SYMBOL[model.get("objective")]}`;
  }
  function draw() {
    const now = model.get("t");
    const scale = SCALE[model.get("objective")];
    const { xt, should, says, error } = ask(now);
    const shown = [xt, should.map((v) => v / scale), says.map((v) => v / scale)];
    shown.push(says.map((v, i) => (v - should[i]) / scale));
    const names = ["The input", "The target", "The prediction", "Its error"];
    shown.forEach((x, i) => {
      paint(canvases[i], x, { height, width, channels: 1 });
      canvases[i].setAttribute("aria-label", `${names[i]} at step ${now}, for ${model.get("picture")}.`);
    });
    const [full, simple] = ["variational", "simple"].map((kind) => weight(kind, now));
    weightDot(now, log(full));
    errorDot(now, log(error));
    const [signal, noise] = [s.alphaBar[now], 1 - s.alphaBar[now]].map((v) => pretty(Math.sqrt(v)));
    const off = error < 1e-6 ? "practically 0" : pretty(error);
    say(
      `At step ${now} the input is ${signal} × image + ${noise} × noise, and the answer should be ${NAMED[model.get("objective")]}. Squared error ${off}; its weight is ${pretty(full)} in L and ${pretty(simple)} in L_simple.`,
    );
    weights.svg.setAttribute("aria-label", `Weights against t, logarithmic; at step ${now}, ${pretty(full)} in L and ${pretty(simple)} in L_simple.`);
    errors.svg.setAttribute("aria-label", `Squared error of the prediction against t, logarithmic; at step ${now}, ${off}.`);
  }

  bind(model, "t", t);
  bind(model, "picture", picture, { read: String, event: "change" });
  bind(model, "objective", objective, { read: String, event: "change" });
  onAny(model, ["seed", "picture", "objective"], newQuestion, draw);
  onAny(model, ["t"], draw);
  fresh.addEventListener("click", () => nextSeed(model));

  newQuestion();
  draw();
}

export default { render };
