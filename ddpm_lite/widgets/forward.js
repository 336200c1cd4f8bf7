// The forward process: one image, its histogram, and where on the curves of the schedule it is.

const LOG = { min: -5, max: -0.01, step: 0.01, show: (v) => pretty(10 ** v) };
const LOG_TRAIT = { read: (v) => 10 ** Number(v), write: (v) => Math.log10(v) };
const BINS = 64;
const SECONDS = 6; // that Play takes from t = 0 to T

/** The pictures a widget carries, as arrays in [-1, 1] with height, width and channels. */
export function unpack(model) {
  const bytes = model.get("_pixels");
  const view = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let start = 0;
  return Object.fromEntries(
    model.get("_pictures").map(({ name, height, width, channels, levels }) => {
      const n = height * width * channels;
      const x0 = Float64Array.from(view.subarray(start, start + n), (v) => (2 * v) / (levels - 1) - 1);
      start += n;
      return [name, { x0, height, width, channels }];
    }),
  );
}

function render({ model, el: root }) {
  root.classList.add("ddpm-widget");
  const pictures = unpack(model);

  const t = slider("Step <i>t</i>", "t", { min: 0, max: model.get("T") });
  const T = slider("Steps <i>T</i>", "T", { min: 1, max: 1000 });
  const first = slider("First <i>β</i><sub>1</sub>", "beta_start", LOG);
  const last = slider("Last <i>β</i><sub><i>T</i></sub>", "beta_end", LOG);
  const picture = choice("Picture", "picture", Object.keys(pictures).map((name) => [name, name]));
  const kind = choice("Schedule", "kind", [["linear", "linear"], ["cosine", "cosine"]]);
  const fresh = el("button", { type: "button", className: "ddpm-noise" }, "New noise");
  const play = playTrait(model, "t", () => [0, model.get("T")], SECONDS);

  const canvas = el("canvas", { role: "img" });
  const histogram = chart({
    title: "pixel value",
    x: [-4, 4],
    y: [0, 1],
    xTicks: [-4, -2, 0, 2, 4].map((v) => [v, pretty(v)]),
    yTicks: [[0, "0"], [0.5, "0.5"], [1, "1"]],
  });
  const bell = histogram.curve("bell");
  const bars = histogram.curve("bars");
  const grid = Array.from({ length: 81 }, (_, i) => -4 + i / 10);
  bell(grid, grid.map((v) => Math.exp((-v * v) / 2) / Math.sqrt(2 * Math.PI)));
  const ofT = { x: [0, 1], xTicks: [[0, ""], [0.5, ""], [1, ""]] };
  const kept = chart({ ...ofT, title: "step t", y: [0, 1], yTicks: [[0, "0"], [0.5, "0.5"], [1, "1"]] });
  const ratio = chart({
    ...ofT,
    title: "step t",
    y: [-5, 5],
    yTicks: [[-4, "10⁻⁴"], [-2, "10⁻²"], [0, "1"], [2, "10²"], [4, "10⁴"]],
  });
  const keptCurve = kept.curve("kept");
  const keptDot = kept.dot("dot");
  const ratioCurve = ratio.curve("ratio");
  const ratioDot = ratio.dot("dot");

  root.append(
    el("div", { className: "ddpm-bar" }, play.button, picture.row, kind.row, fresh),
    el("div", { className: "ddpm-sliders" }, t.row, T.row, first.row, last.row),
    el(
      "div",
      { className: "ddpm-panels" },
      panel("The picture <i>x<sub>t</sub></i>", canvas),
      panel("Its pixels, and <i>N</i>(0, 1) dashed", histogram.svg),
      panel("<i>ᾱ<sub>t</sub></i>, the variance kept", kept.svg),
      panel("Signal to noise, <i>ᾱ<sub>t</sub></i> / (1 − <i>ᾱ<sub>t</sub></i>)", ratio.svg),
    ),
  );
  const say = wording(root);

  let s; // the schedule in force
  let eps;
  function newSchedule() {
    const end = model.get("T");
    s = schedule(model.get("kind"), end, model.get("beta_start"), model.get("beta_end"));
    t.input.max = end;
    t.set(Math.min(model.get("t"), end));
    for (const control of [first, last]) control.input.disabled = model.get("kind") === "cosine";
    const steps = Array.from(s.alphaBar.keys());
    kept.stretch(end);
    keptCurve(steps, s.alphaBar);
    ratio.stretch(end);
    ratioCurve(steps, s.alphaBar.map((a) => Math.log10(a / (1 - a))));
  }
  function newNoise() {
    eps = normals(model.get("seed"), pictures[model.get("picture")].x0.length);
  }
  function draw() {
    const now = Math.min(model.get("t"), model.get("T"));
    const { x0, height, width, channels } = pictures[model.get("picture")];
    const alphaBar = s.alphaBar[now];
    const xt = qSample(x0, eps, alphaBar);

    paint(canvas, xt, { height, width, channels });

    const counts = new Float64Array(BINS);
    for (const value of xt) counts[Math.min(BINS - 1, Math.max(0, Math.floor((value + 4) * (BINS / 8))))]++;
    const outline = Array.from(counts).flatMap((n) => [n, n].map((v) => (v / xt.length) * (BINS / 8)));
    bars(outline.map((_, i) => -4 + Math.ceil(i / 2) * (8 / BINS)), outline);

    const snr = alphaBar / (1 - alphaBar);
    keptDot(now, alphaBar);
    ratioDot(now, Math.log10(snr));
    const [signal, noise] = [Math.sqrt(alphaBar), Math.sqrt(1 - alphaBar)].map(pretty);
    const text = `At step ${now} of ${model.get("T")} the picture is ${signal} × image + ${noise} × noise; signal to noise ${pretty(snr)}.`;
    say(text);
    canvas.setAttribute("aria-label", `The ${model.get("picture")}. ${text}`);
    histogram.svg.setAttribute("aria-label", `Histogram of the pixel values at step ${now}, against the standard normal density.`);
    kept.svg.setAttribute("aria-label", `Alpha-bar against t; now ${pretty(alphaBar)} at step ${now}.`);
    ratio.svg.setAttribute("aria-label", `Signal-to-noise ratio against t, logarithmic; now ${pretty(snr)} at step ${now}.`);
  }

  bind(model, "t", t);
  bind(model, "T", T);
  bind(model, "beta_start", first, LOG_TRAIT);
  bind(model, "beta_end", last, LOG_TRAIT);
  bind(model, "picture", picture, { read: String, event: "change" });
  bind(model, "kind", kind, { read: String, event: "change" });
  onAny(model, ["T", "beta_start", "beta_end", "kind"], newSchedule, draw);
  onAny(model, ["seed", "picture"], newNoise, draw);
  onAny(model, ["t"], draw);
  fresh.addEventListener("click", () => nextSeed(model));
  takeTimeAlong(model, T);

  newSchedule();
  newNoise();
  draw();
  return play.stop;
}

export default { render };
