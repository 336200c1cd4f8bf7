// The reverse chain: a recording to scrub, as x_t, the guess at x_0 and the noise in x_t.

const SECONDS = 8; // that Play takes from T to 0

/** -limit..limit out of bytes. Twin: ddpm_lite.widgets.chain.unpack. */
export function unpack(bytes, limit) {
  return Float64Array.from(bytes, (v) => (v / 127.5 - 1) * limit);
}

/** The root mean square by which each image is off the end. Twin: ddpm_lite.widgets.chain.from_end. */
export function fromEnd(images, end) {
  const square = (x) => x.reduce((sum, v, i) => sum + (v - end[i]) ** 2, 0);
  return images.map((x) => Math.sqrt(square(x) / end.length));
}

/** x_t, x0_hat and eps_hat of one chain: for each, an array with an image per stop. */
export function frames(model, chain) {
  const bytes = model.get("_frames");
  const view = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [stops, chains, height, width, channels] = model.get("_shape");
  const n = height * width * channels;
  return model.get("_limits").map((limit, part) =>
    Array.from({ length: stops }, (_, stop) => {
      const start = ((part * stops + stop) * chains + chain) * n;
      return unpack(view.subarray(start, start + n), limit);
    }),
  );
}

function render({ model, el: root }) {
  root.classList.add("ddpm-widget");
  const times = model.get("_times");
  const alphaBar = model.get("_alpha_bar");
  const [stops, chains, height, width, channels] = model.get("_shape");
  const T = times[0];

  const stop = slider("Step <i>t</i>", "stop", {
    min: 0,
    max: stops - 1,
    show: (i) => `${times[i]} of ${T}`,
  });
  const chain = choice("Chain", "chain", Array.from({ length: chains }, (_, i) => [i, String(i + 1)]));
  const play = playTrait(model, "stop", () => [0, stops - 1], SECONDS);

  const [noisy, guess, noise] = Array.from({ length: 3 }, () => el("canvas", { role: "img" }));
  const all = Array.from({ length: chains }, (_, i) => frames(model, i));
  const distances = all.map(([xt, guesses]) => [xt, guesses].map((x) => fromEnd(x, xt[stops - 1])));
  const top = Math.ceil(2 * Math.max(...distances.flat(2))) / 2;
  const off = chart({
    title: "step t",
    x: [T, 0],
    y: [0, top],
    xTicks: [T, T / 2, 0].map((v) => [v, String(v)]),
    yTicks: [0, top / 2, top].map((v) => [v, pretty(v)]),
  });
  const ofState = off.curve("state");
  const ofGuess = off.curve("second");
  const dot = off.dot("dot");

  root.append(
    el("div", { className: "ddpm-bar" }, play.button, chain.row),
    el("div", { className: "ddpm-sliders" }, stop.row),
    el(
      "div",
      { className: "ddpm-panels" },
      panel("The picture <i>x<sub>t</sub></i>", noisy),
      panel("The guess <i>x̂</i><sub>0</sub>", guess),
      panel("The noise <i>ε̂</i> that the network sees in <i>x<sub>t</sub></i>", noise),
      panel("How far from the end: <i>x<sub>t</sub></i>, and dashed <i>x̂</i><sub>0</sub>", off.svg),
    ),
  );
  const say = wording(root);

  function newChain() {
    const [xt, guesses] = distances[model.get("chain")];
    ofState(times, xt);
    ofGuess(times, guesses);
  }
  function draw() {
    const i = model.get("stop");
    const which = model.get("chain");
    const size = { height, width, channels };
    [noisy, guess, noise].forEach((canvas, part) => paint(canvas, all[which][part][i], size));
    const far = distances[which][1][i];
    dot(times[i], far);
    const [signal, rest] = [Math.sqrt(alphaBar[i]), Math.sqrt(1 - alphaBar[i])].map(pretty);
    const text =
      times[i] > 0
        ? `At step ${times[i]} of ${T} the picture is ${signal} × guess + ${rest} × noise; the guess is ${pretty(far)} per pixel away from the end of its chain.`
        : `Step 0 of ${T}: the sample. Nothing is left to guess or to take out.`;
    say(text);
    noisy.setAttribute("aria-label", `x_t of chain ${which + 1}. ${text}`);
    guess.setAttribute("aria-label", `The guess at x_0 at step ${times[i]}.`);
    noise.setAttribute("aria-label", `The noise that the network sees at step ${times[i]}.`);
    off.svg.setAttribute(
      "aria-label",
      `Distance from the end of the chain against t; at step ${times[i]} the picture is ${pretty(distances[which][0][i])} away and the guess ${pretty(far)}.`,
    );
  }

  bind(model, "stop", stop);
  bind(model, "chain", chain, { event: "change" });
  onAny(model, ["chain"], newChain, draw);
  onAny(model, ["stop"], draw);

  newChain();
  draw();
  return play.stop;
}

export default { render };
