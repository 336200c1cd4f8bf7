// Inside a U-Net: a recording to scrub over t, of attention in the middle and of feature maps.

const SECONDS = 8; // that Play takes from t = 1 to T

/** Over how many places weights are spread. Twin: ddpm_lite.widgets.inside.spread. */
export function spread(weights) {
  const total = weights.reduce((sum, w) => sum + w, 0);
  const entropy = weights.reduce((sum, w) => (w > 0 ? sum - (w / total) * Math.log(w / total) : sum), 0);
  return Math.exp(entropy);
}

const view = (bytes) => new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** x_t, eps_hat, attention [N][N] and maps [channel], of a picture at a stop. Twin: InsideUNet.inside. */
export function frame(model, picture, stop, layer) {
  const pictures = view(model.get("_pictures"));
  const features = view(model.get("_features"));
  const attention = view(model.get("_attention"));
  const count = model.get("_names").length * model.get("_times").length;
  const place = picture * model.get("_times").length + stop;
  const [height, width] = model.get("_size");
  const [rows, columns] = model.get("_grid");
  const n = height * width;
  const cells = rows * columns;
  const part = (i, limit) => {
    const start = (i * count + place) * n;
    return Float64Array.from(pictures.subarray(start, start + n), (v) => (v / 127.5 - 1) * limit);
  };
  const [xt, eps] = model.get("_limits").map((limit, i) => part(i, limit));
  const looks = Array.from({ length: cells }, (_, i) => {
    const start = (place * cells + i) * cells;
    return Float64Array.from(attention.subarray(start, start + cells), (v) => v / 255);
  });
  const layers = model.get("_layers");
  const sizes = layers.map(([, maps, h, w]) => maps * h * w);
  const before = sizes.slice(0, layer).reduce((sum, size) => sum + size * count, 0);
  const [, channels, h, w] = layers[layer];
  const maps = Array.from({ length: channels }, (_, c) => {
    const start = before + place * sizes[layer] + c * h * w;
    return Float64Array.from(features.subarray(start, start + h * w), (v) => v / 127.5 - 1);
  });
  return { xt, eps, looks, maps };
}

/** A canvas with a mark to move over the cells of a grid; a click chooses a cell. */
function marked(canvas, [rows, columns], choose) {
  const mark = el("div", { className: "ddpm-mark" });
  const box = el("div", { className: "ddpm-marked" }, canvas, mark);
  mark.style.width = `${100 / columns}%`;
  mark.style.height = `${100 / rows}%`;
  box.addEventListener("click", (event) => {
    const area = box.getBoundingClientRect();
    const at = (share, count) => Math.min(count - 1, Math.max(0, Math.floor(share * count)));
    const row = at((event.clientY - area.top) / area.height, rows);
    choose(row * columns + at((event.clientX - area.left) / area.width, columns));
  });
  return {
    box,
    move(cell) {
      mark.style.left = `${(100 * (cell % columns)) / columns}%`;
      mark.style.top = `${(100 * Math.floor(cell / columns)) / rows}%`;
    },
  };
}

function render({ model, el: root }) {
  root.classList.add("ddpm-widget");
  const times = model.get("_times");
  const T = times[times.length - 1];
  const [height, width] = model.get("_size");
  const grid = model.get("_grid");
  const [rows, columns] = grid;
  const layers = model.get("_layers");
  const name = (cell) => `row ${Math.floor(cell / columns) + 1}, column ${(cell % columns) + 1}`;

  const stop = slider("Step <i>t</i>", "stop", {
    min: 0,
    max: times.length - 1,
    show: (i) => `${times[i]} of ${T}`,
  });
  const query = slider("Cell", "query", { min: 0, max: rows * columns - 1, show: (i) => `${+i + 1} of ${rows * columns}` });
  const picture = choice("Picture", "picture", model.get("_names").map((text, i) => [i, text]));
  const layer = choice("Layer", "layer", layers.map(([text], i) => [i, text]));
  const play = playTrait(model, "stop", () => [0, times.length - 1], SECONDS);

  const canvas = () => el("canvas", { role: "img" });
  const choose = (cell) => {
    model.set("query", cell);
    model.save_changes();
  };
  const [seen, looks] = [canvas(), canvas()].map((one) => ({ canvas: one, ...marked(one, grid, choose) }));
  const noise = canvas();
  const cells = rows * columns;
  const far = chart({
    title: "step t",
    x: [0, T],
    y: [0, cells],
    xTicks: [0, T / 2, T].map((v) => [v, String(v)]),
    yTicks: [0, cells / 2, cells].map((v) => [v, pretty(v)]),
  });
  const ofCell = far.curve("cell");
  const ofAll = far.curve("second");
  const dot = far.dot("dot");
  const maps = Array.from({ length: Math.max(...layers.map(([, count]) => count)) }, canvas);
  const strip = el("div", { className: "ddpm-panels ddpm-strip ddpm-maps" }, ...maps);
  const above = el("p", { className: "ddpm-words" });

  root.append(
    el("div", { className: "ddpm-bar" }, play.button, picture.row, layer.row),
    el("div", { className: "ddpm-sliders" }, stop.row, query.row),
    el(
      "div",
      { className: "ddpm-panels" },
      panel("The input <i>x<sub>t</sub></i>, and the cell that looks", seen.box),
      panel("Where it looks: white is most", looks.box),
      panel("Over how many cells it looks; dashed, the mean of all", far.svg),
      panel("The noise <i>ε̂</i> that the network names", noise),
    ),
    above,
    strip,
  );
  const say = wording(root);

  const at = (i) => frame(model, model.get("picture"), i, model.get("layer"));
  function newCurve() {
    const over = times.map((_, i) => at(i).looks.map(spread));
    ofCell(times, over.map((all) => all[model.get("query")]));
    ofAll(times, over.map((all) => all.reduce((sum, v) => sum + v, 0) / all.length));
  }
  function draw() {
    const i = model.get("stop");
    const cell = model.get("query");
    const now = at(i);
    const weights = now.looks[cell];
    const most = Math.max(...weights);
    const count = spread(weights);
    for (const one of [seen, looks]) one.move(cell);
    paint(seen.canvas, now.xt, { height, width, channels: 1 });
    paint(noise, now.eps.map((v) => v / 2), { height, width, channels: 1 });
    paint(looks.canvas, weights.map((w) => (2 * w) / most - 1), { height: rows, width: columns, channels: 1 });
    dot(times[i], count);
    const [text, , h, w] = layers[model.get("layer")];
    maps.forEach((one, c) => {
      one.hidden = c >= now.maps.length;
      if (one.hidden) return;
      paint(one, now.maps[c], { height: h, width: w, channels: 1 });
      one.setAttribute("aria-label", `Channel ${c + 1} of the ${now.maps.length} shown of: ${text}.`);
    });
    above.textContent = `${now.maps.length} channels of the layer “${text}”, each on its own scale:`;
    const words = `At step ${times[i]} of ${T}, the cell in ${name(cell)} looks most at ${name(weights.indexOf(most))}, with ${pretty(most)} of its weight, and over ${count.toFixed(1)} of ${cells} cells in all.`;
    say(words);
    seen.canvas.setAttribute("aria-label", `Picture ${model.get("_names")[model.get("picture")]} at step ${times[i]}; the cell in ${name(cell)} is marked.`);
    looks.canvas.setAttribute("aria-label", `The attention of that cell. ${words}`);
    noise.setAttribute("aria-label", `The noise that the network names at step ${times[i]}.`);
    far.svg.setAttribute(
      "aria-label",
      `Over how many of ${cells} cells the cell looks, against t; at step ${times[i]} over ${count.toFixed(1)}.`,
    );
  }

  bind(model, "stop", stop);
  bind(model, "query", query);
  bind(model, "picture", picture, { event: "change" });
  bind(model, "layer", layer, { event: "change" });
  onAny(model, ["picture", "query"], newCurve, draw);
  onAny(model, ["stop", "layer"], draw);

  newCurve();
  draw();
  return play.stop;
}

export default { render };
