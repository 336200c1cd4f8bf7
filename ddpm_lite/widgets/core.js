// Shared by every widget of the family: the mathematics, and a few parts to build with.
// A widget's module is this file followed by its own, so it needs nothing from outside.

// --- mathematics; each function has a twin in Python that tests hold it to ---------------------

/** alpha_bar_0..alpha_bar_T and beta_0..beta_T of a schedule. Twin: ddpm_lite.schedule. */
export function schedule(kind, T, betaStart, betaEnd) {
  const beta = new Float64Array(T + 1);
  const alphaBar = new Float64Array(T + 1).fill(1);
  const f = (t) => Math.cos(((t / T + 0.008) / 1.008) * (Math.PI / 2)) ** 2;
  for (let t = 1; t <= T; t++) {
    beta[t] =
      kind === "cosine"
        ? Math.min(1 - f(t) / f(t - 1), 0.999)
        : betaStart + (betaEnd - betaStart) * (T > 1 ? (t - 1) / (T - 1) : 0);
    alphaBar[t] = alphaBar[t - 1] * (1 - beta[t]);
  }
  return { beta, alphaBar };
}

/** n standard normal numbers: mulberry32, then Box and Muller. Twin: ddpm_lite.widgets.normals. */
export function normals(seed, n) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = Math.imul(state ^ (state >>> 15), state | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  };
  const out = new Float64Array(n + (n % 2));
  for (let i = 0; i < n; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    out[i] = radius * Math.cos(angle);
    out[i + 1] = radius * Math.sin(angle);
  }
  return out.subarray(0, n);
}

/** x_t = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) eps. Twin: GaussianDiffusion.q_sample. */
export function qSample(x0, eps, alphaBar) {
  const signal = Math.sqrt(alphaBar);
  const noise = Math.sqrt(1 - alphaBar);
  return Float64Array.from(x0, (value, i) => signal * value + noise * eps[i]);
}

// --- parts --------------------------------------------------------------------------------------

/** An element with properties, attributes (names with a dash, or `role`) and children. */
function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  // JupyterLab takes arrow keys for shortcuts of its own, unless the focused element forbids it.
  if (["button", "input", "select"].includes(tag)) node.dataset.lmSuppressShortcuts = "true";
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "for") node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...children);
  return node;
}

let ids = 0;

/** A labelled slider: `label` is HTML of ours, `show` makes the text beside it. */
function slider(label, name, { min, max, step = 1, show = String }) {
  const id = `ddpm-${name}-${ids++}`;
  const input = el("input", { type: "range", id, min, max, step, name });
  const value = el("output", { for: id });
  const row = el("div", { className: "ddpm-slider" }, el("label", { for: id, innerHTML: label }));
  row.append(input, value);
  return {
    row,
    input,
    set(position) {
      input.value = position;
      value.textContent = show(position);
      input.setAttribute("aria-valuetext", value.textContent);
    },
  };
}

/** A labelled choice among [value, text] pairs. */
function choice(label, name, options) {
  const id = `ddpm-${name}-${ids++}`;
  const select = el("select", { id, name });
  for (const [value, text] of options) select.append(el("option", { value, textContent: text }));
  return { row: el("div", { className: "ddpm-choice" }, el("label", { for: id }, label), select), select };
}

const SVG = "http://www.w3.org/2000/svg";

/** A small chart in SVG whose colours are the style sheet's, so it follows the page's theme. */
function chart({ title, x, y, xTicks, yTicks, width = 260, height = 190 }) {
  const box = { left: 38, right: width - 18, top: 8, bottom: height - 34 };
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("role", "img");
  const add = (tag, className, attributes = {}, text = "") => {
    const node = document.createElementNS(SVG, tag);
    node.setAttribute("class", className);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.textContent = text;
    svg.append(node);
    return node;
  };
  const span = { x: [...x], y: [...y] };
  const px = (v) => box.left + ((v - span.x[0]) / (span.x[1] - span.x[0])) * (box.right - box.left);
  const py = (v) => box.bottom - ((v - span.y[0]) / (span.y[1] - span.y[0])) * (box.bottom - box.top);
  for (const [value, text] of yTicks) {
    add("line", "grid", { x1: box.left, x2: box.right, y1: py(value), y2: py(value) });
    add("text", "tick end", { x: box.left - 5, y: py(value) + 3.5 }, text);
  }
  const bottom = xTicks.map(([at, text]) =>
    add("text", "tick middle", { x: px(at), y: box.bottom + 14 }, text),
  );
  add("text", "tick middle", { x: (box.left + box.right) / 2, y: height - 4 }, title);
  const clamp = (v) => Math.min(box.bottom, Math.max(box.top, v));
  const points = (xs, ys) =>
    Array.from(xs, (v, i) => `${px(v).toFixed(1)},${clamp(py(ys[i])).toFixed(1)}`).join(" ");
  return {
    svg,
    curve: (className) => {
      const node = add("polyline", className);
      return (xs, ys) => node.setAttribute("points", points(xs, ys));
    },
    dot: (className) => {
      const line = add("line", "cursor", { y1: box.top, y2: box.bottom });
      const node = add("circle", className, { r: 4.5 });
      return (v, w) => {
        line.setAttribute("x1", px(v));
        line.setAttribute("x2", px(v));
        node.setAttribute("cx", px(v));
        node.setAttribute("cy", clamp(py(w)));
      };
    },
    /** Points as dots: one path of lines without length, whose round ends are drawn. */
    dots: (className) => {
      const node = add("path", `dots ${className}`);
      return (xs, ys) =>
        node.setAttribute("d", points(xs, ys).split(" ").map((at) => `M${at}h0`).join(""));
    },
    /** Move the x axis to from..to and rename its ticks, which stay where they are. */
    zoom(from, to) {
      const places = xTicks.map(([at]) => (at - x[0]) / (x[1] - x[0]));
      span.x = [from, to];
      bottom.forEach((node, i) => {
        node.textContent = pretty(from + places[i] * (to - from));
      });
    },
    /** Stretch the x axis over 0..end and rename its ticks. */
    stretch(end) {
      span.x = [0, end];
      bottom.forEach((node, i) => {
        node.textContent = Math.round((end * i) / (bottom.length - 1));
      });
    },
  };
}

/** Tie a control to a trait both ways; `read` and `write` translate between the two. */
function bind(model, trait, control, { read = Number, write = (v) => v, event = "input" } = {}) {
  const input = control.input ?? control.select;
  const show = () => {
    if (control.set) control.set(write(model.get(trait)));
    else input.value = write(model.get(trait));
  };
  input.addEventListener(event, () => {
    model.set(trait, read(input.value));
    model.save_changes();
  });
  model.on(`change:${trait}`, show);
  show();
}

/** A button that runs `advance(seconds since the last frame)` until it returns false. */
function playButton(advance) {
  const button = el("button", { type: "button", className: "ddpm-play" });
  let frame = 0;
  let last = 0;
  const show = () => {
    button.textContent = frame ? "Pause" : "Play";
    button.setAttribute("aria-pressed", String(frame !== 0));
  };
  const stop = () => {
    cancelAnimationFrame(frame);
    frame = 0;
    show();
  };
  const tick = (now) => {
    const more = advance(Math.max(0, now - last) / 1000); // a frame may be dated before the click
    last = now;
    if (more) frame = requestAnimationFrame(tick);
    else stop();
  };
  button.addEventListener("click", () => {
    if (frame) return stop();
    last = performance.now();
    frame = requestAnimationFrame(tick);
    show();
  });
  show();
  return { button, stop };
}

/** A button that runs a trait from end to end in so many seconds; at the end it begins again. */
function playTrait(model, trait, ends, seconds) {
  let at = 0; // the trait as a real number while playing
  const play = playButton((passed) => {
    const [from, to] = ends();
    at += (passed / seconds) * (to - from);
    const done = to > from ? at >= to : at <= to;
    model.set(trait, done ? to : Math.round(at));
    if (done) model.save_changes();
    return !done;
  });
  play.button.addEventListener("click", () => {
    const [from, to] = ends();
    const share = (model.get(trait) - from) / (to - from);
    at = share >= 0 && share < 1 ? model.get(trait) : from;
    model.save_changes();
  });
  return play;
}

/** A panel: a caption, HTML of ours, above a canvas or a chart. */
function panel(html, node) {
  return el("figure", {}, el("figcaption", { innerHTML: html }), node);
}

/** Draw x, pixel by pixel and colours last, in [-1, 1]; what lies outside is clamped. */
function paint(canvas, x, { height, width, channels }) {
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) {
      image.data[4 * i + c] = 127.5 * (x[i * channels + (channels === 3 ? c : 0)] + 1);
    }
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

/** Run the actions, in their order, whenever one of the traits changes. */
function onAny(model, traits, ...actions) {
  for (const trait of traits) model.on(`change:${trait}`, () => actions.forEach((act) => act()));
}

/** Other noise: the next seed. */
function nextSeed(model) {
  model.set("seed", (model.get("seed") + 1) % 2 ** 31);
  model.save_changes();
}

/** A chain that is made shorter takes t along. */
function takeTimeAlong(model, T) {
  T.input.addEventListener("input", () => {
    if (model.get("t") <= model.get("T")) return;
    model.set("t", model.get("T"));
    model.save_changes();
  });
}

/** What the widget shows, in words: at once below it, and spoken once the hand is still. */
function wording(root) {
  const words = el("p", { className: "ddpm-words" });
  const spoken = el("p", { className: "ddpm-spoken", "aria-live": "polite" });
  root.append(words, spoken);
  root.addEventListener("change", () => (spoken.textContent = words.textContent));
  return (text) => (words.textContent = text);
}

/** A number as a reader would write it: 0.63, 1.2 × 10⁻⁴. */
function pretty(value) {
  if (value === Infinity) return "∞";
  let text = Number(value.toPrecision(3)).toString();
  if (value !== 0 && (Math.abs(value) < 0.001 || Math.abs(value) >= 1e5)) {
    const [digits, exponent] = value.toExponential(1).split("e");
    const raised = [...exponent.replace("+", "")].map((c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c]));
    text = `${digits === "1.0" ? "" : `${digits} × `}10${raised.join("")}`;
  }
  return text.replace("-", "−");
}

/** Which curve is which: name -> the class of its curve. */
function legend(curves) {
  const entries = Object.entries(curves).map(([name, className]) => {
    const sample = document.createElementNS(SVG, "svg");
    sample.setAttribute("viewBox", "0 0 26 8");
    sample.setAttribute("aria-hidden", "true");
    const line = document.createElementNS(SVG, "polyline");
    line.setAttribute("class", className);
    line.setAttribute("points", "0,4 26,4");
    sample.append(line);
    return el("span", {}, sample, name);
  });
  return el("div", { className: "ddpm-legend" }, ...entries);
}
