// The sampler: a chain that runs when asked, and all that it was, to scrub. On a page the engine is
// ddpm_lite/export.js in a worker; in a notebook it is the kernel. Both answer the same questions.

// Milliseconds of steps for each question, so that pictures come as they go, or seldom to whom
// motion disturbs.
const BUDGET = matchMedia("(prefers-reduced-motion: reduce)").matches ? 500 : 50;
const PACE = 400; // milliseconds that a line is lit, line by line
const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];
const SETTINGS = ["sampler", "steps", "eta", "variance", "clip", "seed", "images", "start", "t_start", "drawing"];

const NAMES = ["The pictures x_t", "The guesses at x_0", "The noise that the network sees"];

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const X = (of) => `<i>x</i><sub>${of}</sub>`;
const ROOT = (of) => `√<span class="ddpm-root">${of}</span>`;

/** Images [B, C, n, n] as one picture, as square as can be, a line between them. */
function paintGrid(canvas, data, [B, C, height, width]) {
  const columns = Math.max(1, Math.round(Math.sqrt(B)));
  const [W, H] = [columns * (width + 1) - 1, Math.ceil(B / columns) * (height + 1) - 1];
  const x = new Float32Array(W * H * C).fill(-1);
  for (let b = 0, i = 0; b < B; b++) {
    const corner = Math.floor(b / columns) * (height + 1) * W + (b % columns) * (width + 1);
    for (let c = 0; c < C; c++)
      for (let row = 0; row < height; row++)
        for (let column = 0; column < width; column++) x[(corner + row * W + column) * C + c] = data[i++];
  }
  paint(canvas, x, { height: H, width: W, channels: C });
}

/** The engine of a page: a script of the site, loaded once, and its worker. */
async function fromPage(model) {
  const name = model.get("_name");
  if (!name) throw new Error("This network is the notebook's own: run the notebook to sample from it.");
  if (!globalThis.ddpmModels?.[name]) {
    const script = el("script", { src: `${model.assets}models/${name}.js` });
    await new Promise((resolve, reject) => {
      script.onload = resolve;
      script.onerror = () => reject(new Error("The model could not be loaded. Are you connected? Press the button to try again."));
      document.head.append(script);
    }).finally(() => script.remove());
  }
  const engine = globalThis.ddpmModels?.[name]?.start();
  if (!engine) throw new Error("What was loaded holds no model. Reload the page to try again.");
  return { ...engine, patience: 20, place: engine.where === "worker" ? "in your browser" : "in your browser, without a worker: the page may stutter" };
}

/** The engine of a notebook: its kernel. Answers find their question by its id. */
function fromKernel(model) {
  const view = Math.random().toString(36).slice(2);
  let [count, chain] = [0, ""];
  const waiting = new Map();
  const hear = (told, buffers = []) => {
    const { resolve, reject } = waiting.get(told.id) ?? {};
    waiting.delete(told.id);
    if (told.error) reject?.(new Error(told.error));
    const numbers = (b) => new Float32Array(b.buffer.slice(b.byteOffset, b.byteOffset + b.byteLength));
    resolve?.({ ...told, frames: told.frames?.map((t, i) => ({ t, data: numbers(buffers[i]) })) });
  };
  model.on("msg:custom", hear);
  const ask = (message) =>
    new Promise((resolve, reject) => {
      const id = `${view}-${count++}`;
      if (message.do === "begin") chain = id;
      waiting.set(id, { resolve, reject });
      model.send({ do: message.do, ms: message.ms ?? 0, id, chain });
    });
  return { ask, stop: () => model.off("msg:custom", hear), patience: 60 };
}

/** A pad to draw on, by mouse, finger, or keys. */
function drawingPad(model) {
  const [C, height, width] = model.get("_shape");
  const canvas = el("canvas", { className: "ddpm-pad", tabIndex: 0, role: "application", "aria-label": `Drawing pad of ${height} rows and ${width} columns. Arrow keys move, space draws, backspace wipes.` });
  canvas.dataset.lmSuppressShortcuts = "true";
  const where = el("output", { "aria-live": "polite", textContent: "Draw with mouse or finger; or arrow keys, space and backspace." });
  const wipe = el("button", { type: "button", className: "ddpm-wipe" }, "Wipe the pad");
  const cursor = el("span", { className: "ddpm-cursor" });
  Object.assign(cursor.style, { width: `${100 / width}%`, height: `${100 / height}%` });
  let [row, column, keys] = [Math.floor(height / 2), Math.floor(width / 2), false];

  function show() {
    const x = model.get("drawing");
    paint(canvas, Float32Array.from({ length: x.length }, (_, i) => x[(i % C) * height * width + Math.floor(i / C)]), { height, width, channels: C });
    Object.assign(cursor.style, { top: `${(100 * row) / height}%`, left: `${(100 * column) / width}%` });
    cursor.hidden = !keys;
  }
  /** Each pixel becomes as light as it is near to the point (x, y), in pixels; never darker. */
  function ink(x, y) {
    const near = (i) => Math.hypot((i % width) + 0.5 - x, (Math.floor(i / width) % height) + 0.5 - y);
    const light = (i) => 2 * Math.min(1, Math.max(0, 1.4 - near(i))) - 1;
    model.set("drawing", model.get("drawing").map((v, i) => Math.max(v, light(i))));
  }
  let last = null;
  function point(event) {
    const box = canvas.getBoundingClientRect();
    const now = [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
    const [x, y] = last ?? now;
    const parts = Math.max(1, Math.ceil(2 * Math.hypot(now[0] - x, now[1] - y)));
    for (let k = 1; k <= parts; k++) ink(x + ((now[0] - x) * k) / parts, y + ((now[1] - y) * k) / parts);
    last = now;
  }
  canvas.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    [last, keys] = [null, false];
    point(event);
  });
  canvas.addEventListener("pointermove", (event) => last && point(event));
  for (const end of ["pointerup", "pointercancel"])
    canvas.addEventListener(end, () => {
      last = null;
      model.save_changes();
    });
  canvas.addEventListener("keydown", (event) => {
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const wipes = ["Backspace", "Delete"].includes(event.key);
    if (!move && !wipes && ![" ", "Enter"].includes(event.key)) return;
    event.preventDefault();
    keys = true;
    const i = row * width + column;
    if (move) [row, column] = [Math.min(height - 1, Math.max(0, row + move[0])), Math.min(width - 1, Math.max(0, column + move[1]))];
    else if (wipes) model.set("drawing", model.get("drawing").map((v, k) => (k % (height * width) === i ? -1 : v)));
    else ink(column + 0.5, row + 0.5);
    model.save_changes();
    where.textContent = `Row ${row + 1}, column ${column + 1}: ${model.get("drawing")[row * width + column] > 0 ? "drawn" : "empty"}.`;
    show();
  });
  wipe.addEventListener("click", () => {
    model.set("drawing", model.get("drawing").map(() => -1));
    model.save_changes();
  });
  model.on("change:drawing", show);
  show();
  const frame = el("div", { className: "ddpm-pad-frame" }, canvas, cursor);
  return panel("Your drawing, <i>x</i><sub>0</sub>", el("div", {}, frame, where, wipe));
}

/** The lines of the algorithm at these settings, HTML of ours. */
function linesOf(get) {
  const begin = get("start") === "drawing"
    ? `${X("<i>t</i>")} = ${ROOT("<i>ᾱ<sub>t</sub></i>")} ${X(0)} + ${ROOT("1 − <i>ᾱ<sub>t</sub></i>")} <i>ε</i>, from your drawing ${X(0)}`
    : `${X("<i>T</i>")} ∼ 𝒩(0, <b>I</b>)`;
  const clip = get("clip") ? `, <i>x̂</i><sub>0</sub> held in [−1, 1]` : "";
  if (get("sampler") === "ddpm") {
    const sigma = get("variance") === "beta" ? "β" : "β̃";
    return [begin, "<b>for</b> <i>t</i> = <i>T</i>, …, 1:", "<i>z</i> ∼ 𝒩(0, <b>I</b>) if <i>t</i> &gt; 1, else <i>z</i> = 0", `${X("<i>t</i>−1")} = <i>μ<sub>θ</sub></i>(${X("<i>t</i>")}, <i>t</i>) + <i>σ<sub>t</sub></i> <i>z</i>, with <i>σ<sub>t</sub></i>² = <i>${sigma}<sub>t</sub></i>${clip}`, `the sample ${X(0)}`];
  }
  const noise = get("eta") > 0 ? " + <i>σ</i> <i>z</i>" : "";
  return [begin, "<b>for</b> each stop <i>t</i> from <i>T</i> down, and the next, <i>s</i>:", get("eta") > 0 ? "<i>z</i> ∼ 𝒩(0, <b>I</b>)" : "no noise is drawn, since <i>η</i> = 0", `${X("<i>s</i>")} = ${ROOT("<i>ᾱ<sub>s</sub></i>")} <i>x̂</i><sub>0</sub> + ${ROOT("1 − <i>ᾱ<sub>s</sub></i>" + (get("eta") > 0 ? " − <i>σ</i>²" : ""))} <i>ε̂</i>${noise}${clip}`, `the sample ${X(0)}`];
}

function render({ model, el: root }) {
  root.classList.add("ddpm-widget", "ddpm-sampler");
  const get = (name) => model.get(name);
  const T = get("_T");
  const counts = [...new Set([...STEPS.filter((n) => n < T), T, get("steps")])].sort((a, b) => a - b);

  // Parts.
  const sampler = choice("Sampler", "sampler", [["ddim", "DDIM"], ["ddpm", "DDPM, Algorithm 2"]]);
  const variance = choice("Variance σ²", "variance", [["beta", "β"], ["beta_tilde", "β̃"]]);
  const clip = choice("Guess x̂₀", "clip", [["on", "clipped"], ["off", "as it is"]]);
  const images = choice("Images", "images", [1, 4, 9, 16].map((n) => [n, String(n)]));
  const start = choice("Begin with", "start", [["noise", "noise"], ["drawing", "a drawing of yours"]]);
  const pace = choice("Pace", "pace", [["fast", "as it comes"], ["slow", "line by line"]]);
  const steps = slider("Steps", "steps", { min: 0, max: counts.length - 1, show: (i) => String(counts[i]) });
  const eta = slider("<i>η</i>", "eta", { min: 0, max: 1, step: 0.05, show: (v) => pretty(Number(v)) });
  const from = slider("Noise it to <i>t</i>", "t_start", { min: 1, max: T });
  const stop = slider("Look at <i>t</i>", "stop", { min: 0, max: 0, show: () => (frames.length ? `${frames[shown].t} of ${T}` : "–") });
  const seed = { input: el("input", { type: "number", min: 0, max: 2 ** 31 - 1, name: "seed", id: `ddpm-seed-${ids++}` }) };
  const button = (name, text) => el("button", { type: "button", className: name }, text);
  const [main, back, forward, fresh] = [button("ddpm-play"), button("ddpm-back", "Step back"), button("ddpm-forward", "Step forward"), button("ddpm-noise", "New noise")];
  const canvases = NAMES.map(() => el("canvas", { role: "img" }));
  const lines = Array.from({ length: 5 }, (_, i) => el(i < 4 ? "li" : "p"));
  const pad = drawingPad(model);
  const fault = el("p", { className: "ddpm-fault", role: "alert", hidden: true });
  root.append(
    el("div", { className: "ddpm-bar" }, sampler.row, variance.row, clip.row, images.row, start.row, pace.row, el("div", { className: "ddpm-choice" }, el("label", { for: seed.input.id }, "Seed"), seed.input)),
    el("div", { className: "ddpm-sliders" }, steps.row, eta.row, from.row),
    el("div", { className: "ddpm-bar" }, main, back, forward, fresh),
    fault,
    el("div", { className: "ddpm-sliders" }, stop.row),
    el("div", { className: "ddpm-panels" }, panel(`The picture ${X("<i>t</i>")}`, canvases[0]), panel("The guess <i>x̂</i><sub>0</sub>", canvases[1]), panel(`The noise <i>ε̂</i> that the network sees`, canvases[2]), el("div", { className: "ddpm-lines" }, el("ol", {}, ...lines.slice(0, 4)), lines[4]), pad),
  );
  stop.row.style.gridColumn = "1 / -1";
  const say = wording(root);
  const tell = (text) => {
    say(text);
    root.dispatchEvent(new Event("change")); // to be spoken
  };

  // `trip` is what the engine said of the chain begun last: its stops and its shape. `chain` and
  // `loop` are numbers: what bears an old one is dropped when it comes back from a wait.
  let [engine, trip, frames, shown] = [undefined, null, [], 0];
  let [chain, loop, live, state] = [0, 0, false, "idle"]; // live: the chain begun last can go on
  let spent = { ms: 0, steps: 0 };
  let turn = Promise.resolve();
  const ended = () => frames.at(-1)?.t === 0;
  const slow = () => pace.select.value === "slow";

  /** One question at a time, and none that waits for ever. */
  function ask(message) {
    const { patience, ask: answer } = engine;
    let timer;
    const late = new Promise((_, reject) => {
      const kernel = model.assets ? "" : "Is the kernel busy, or gone? ";
      timer = setTimeout(() => reject(new Error(`No answer for ${patience} seconds. ${kernel}Press the button to begin again.`)), 1000 * patience);
    });
    const asked = turn.then(() => Promise.race([answer(message), late])).finally(() => clearTimeout(timer));
    turn = asked.catch(() => {}); // whoever asked is told
    return asked;
  }
  /** Forget the chain under way; what it was stays to be scrubbed. Returns the next one's number. */
  function abandon() {
    [live, state] = [false, "idle"];
    loop++;
    light();
    refresh();
    return ++chain;
  }
  function failed(error) {
    abandon();
    engine?.stop();
    [engine, turn] = [undefined, Promise.resolve()];
    fault.textContent = error.message;
    fault.hidden = false;
    say("");
  }
  /** Begin chain `mine`; false where it was abandoned on the way. */
  async function begin(mine) {
    fault.hidden = true;
    state = "loading";
    refresh();
    if (!engine) {
      tell(model.assets ? "Loading the model, 0.7 MB, once." : "Asking the kernel.");
      const made = model.assets ? await fromPage(model) : fromKernel(model);
      if (mine !== chain) made.stop();
      else engine = made;
    }
    if (mine !== chain) return false;
    light(0);
    model.save_changes();
    const settings = Object.fromEntries(SETTINGS.map((name) => [name, get(name)]));
    if (settings.start === "noise") settings.drawing = null;
    const reply = await ask({ do: "begin", ...settings });
    if (slow()) await sleep(PACE);
    if (mine !== chain) return false;
    [trip, frames, shown, spent, live] = [reply, [], 0, { ms: 0, steps: 0 }, true];
    return true;
  }
  async function pull(mine, ms) {
    const reply = await ask({ do: "next", ms });
    if (mine !== chain) return;
    frames.push(...reply.frames);
    spent = { ms: spent.ms + reply.ms, steps: spent.steps + reply.steps };
    stop.input.max = frames.length - 1;
  }
  async function visible() {
    while (document.hidden) {
      say("Waiting: the page is in the background.");
      await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
    }
  }
  /** Run to the end, or until told otherwise; begin first if there is nothing to go on with. */
  async function go() {
    const mine = live && !ended() ? chain : abandon();
    try {
      if (!live && !(await begin(mine))) return;
      const number = ++loop;
      state = "running";
      refresh();
      while (!ended()) {
        await visible();
        for (const line of slow() ? [1, 2] : []) {
          if (number === loop) light(line);
          if (number === loop) await sleep(PACE);
        }
        if (number !== loop) return;
        light(...(slow() ? [3] : [1, 2, 3]));
        await pull(mine, slow() ? 0 : BUDGET);
        if (number !== loop) return;
        show(frames.length - 1);
        await (slow() ? sleep(PACE) : new Promise(requestAnimationFrame));
        if (number !== loop) return;
      }
      finish();
    } catch (error) {
      if (mine === chain) failed(error);
    }
  }
  function finish() {
    state = "idle";
    light(4);
    show(frames.length - 1);
    const some = (n, what) => `${n} ${what}${n > 1 ? "s" : ""}`;
    tell(`Done: ${some(trip.shape[0], "image")} in ${some(spent.steps, "step")} ${trip.where ?? engine.place}, ${pretty(spent.ms / 1000)} seconds, ${pretty(spent.ms / spent.steps)} ms a step. Scrub back to see how.`);
  }
  function pause() {
    if (!live) abandon(); // still loading: cancel
    loop++;
    state = live ? "paused" : "idle";
    light();
    refresh();
    say(live ? "" : "Nothing was loaded.");
    if (live && frames.length) show(shown);
  }
  async function ahead() {
    if (shown < frames.length - 1) return show(shown + 1);
    const mine = live ? chain : abandon();
    try {
      if (!live && !(await begin(mine))) return;
      state = "running";
      loop++;
      refresh();
      light(1, 2, 3);
      await pull(mine, 0);
      if (mine !== chain) return;
      state = "paused";
      if (ended()) finish();
      else show(frames.length - 1);
    } catch (error) {
      if (mine === chain) failed(error);
    }
  }

  // What is shown.
  function light(...which) {
    lines.forEach((line, i) => {
      line.classList.toggle("lit", which.includes(i));
      if (which.includes(i)) line.setAttribute("aria-current", "step");
      else line.removeAttribute("aria-current");
    });
  }
  function refresh() {
    const first = engine || !model.assets ? "Sample" : "Load the model and sample";
    main.textContent = { loading: "Cancel", running: "Pause", paused: "Go on", idle: first }[state];
    back.disabled = shown === 0;
    forward.disabled = ["loading", "running"].includes(state) || (live && ended() && shown === frames.length - 1);
    stop.input.disabled = frames.length < 2;
    stop.set(shown);
  }
  function show(i) {
    shown = i;
    const { t, data } = frames[i];
    const n = data.length / 3;
    canvases.forEach((canvas, part) => {
      paintGrid(canvas, data.subarray(part * n, (part + 1) * n), trip.shape);
      canvas.setAttribute("aria-label", `${NAMES[part]} at t = ${t}, of ${trip.shape[0]}.`);
    });
    const at = `At t = ${t}, stop ${i} of ${trip.times.length - 1}`;
    const [signal, noise] = [trip.alphaBar[i], 1 - trip.alphaBar[i]].map((v) => pretty(Math.sqrt(v)));
    const time = spent.steps ? ` A step takes ${pretty(spent.ms / spent.steps)} ms.` : "";
    say(t ? `${at}, each picture is ${signal} × its guess + ${noise} × noise.${time}` : `${at}: the sample. Nothing is left to guess or to take out.`);
    refresh();
  }
  function arrange() {
    eta.input.disabled = get("sampler") === "ddpm";
    variance.select.disabled = get("sampler") === "ddim";
    from.row.hidden = pad.hidden = get("start") === "noise";
    linesOf(get).forEach((html, i) => (lines[i].innerHTML = html));
  }

  bind(model, "sampler", sampler, { read: String, event: "change" });
  bind(model, "variance", variance, { read: String, event: "change" });
  bind(model, "clip", clip, { read: (v) => v === "on", write: (v) => (v ? "on" : "off"), event: "change" });
  bind(model, "images", images, { event: "change" });
  bind(model, "start", start, { read: String, event: "change" });
  bind(model, "steps", steps, { read: (i) => counts[i], write: (n) => counts.findIndex((m) => m >= n) });
  bind(model, "eta", eta);
  bind(model, "t_start", from);
  bind(model, "seed", seed, { read: (v) => Math.min(2 ** 31 - 1, Math.max(0, Math.floor(Number(v)) || 0)), event: "change" });
  onAny(model, SETTINGS, arrange, () => live && (abandon(), say("The settings changed: press the button for another chain.")));
  main.addEventListener("click", () => (["loading", "running"].includes(state) ? pause() : go()));
  forward.addEventListener("click", ahead);
  back.addEventListener("click", () => {
    if (state === "running") pause();
    show(Math.max(0, shown - 1));
  });
  fresh.addEventListener("click", () => {
    nextSeed(model);
    go();
  });
  stop.input.addEventListener("input", () => {
    const i = Number(stop.input.value);
    if (state === "running") pause();
    if (frames.length) show(i);
  });

  const [C, height, width] = get("_shape");
  const blank = [get("images"), C, height, width];
  canvases.forEach((canvas) => paintGrid(canvas, new Float32Array(blank.reduce((a, b) => a * b)).fill(-1), blank));
  canvases.forEach((canvas) => canvas.setAttribute("aria-label", "Empty: nothing is sampled yet."));
  arrange();
  refresh();
  say("Nothing runs until you press the button.");
  return () => {
    abandon();
    engine?.stop();
  };
}

export default { render };
