// Noise, a button, and on request a trained network that turns the one into digits. What it needs
// is loaded then: `_static/models`, written by `ddpm-lite export`. A classic script, so that it
// also works when the page is opened as a file.
(() => {
  "use strict";

  const [COLUMNS, ROWS, SIDE, GAP] = [8, 1, 8, 1];
  const IMAGES = COLUMNS * ROWS;
  const PATIENCE = 20; // seconds for an answer
  // Milliseconds between two pictures; more where the reader asked for less motion.
  const PACE = matchMedia("(prefers-reduced-motion: reduce)").matches ? 500 : 40;
  const assets = new URL(".", document.currentScript.src).href;

  function load(name) {
    if (globalThis.ddpmModels?.[name]) return Promise.resolve();
    const script = Object.assign(document.createElement("script"), { src: `${assets}models/${name}.js` });
    return new Promise((resolve, reject) => {
      script.onload = () => (globalThis.ddpmModels?.[name] ? resolve() : reject(new Error("What was loaded holds no model.")));
      script.onerror = () => reject(new Error("The model could not be loaded. Are you connected?"));
      document.head.append(script);
    }).finally(() => script.remove());
  }

  /** IMAGES pictures of SIDE x SIDE numbers in [-1, 1], in ROWS rows. */
  function paint(canvas, data) {
    const context = canvas.getContext("2d");
    const image = context.createImageData(SIDE, SIDE);
    for (let b = 0; b < IMAGES; b++) {
      for (let i = 0; i < SIDE * SIDE; i++) {
        image.data.fill(127.5 * (data[b * SIDE * SIDE + i] + 1), 4 * i, 4 * i + 3);
        image.data[4 * i + 3] = 255;
      }
      context.putImageData(image, (b % COLUMNS) * (SIDE + GAP), Math.floor(b / COLUMNS) * (SIDE + GAP));
    }
  }

  function noise() {
    const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
    return Array.from({ length: IMAGES * SIDE * SIDE }, normal);
  }

  function show(root) {
    const make = (tag, properties) => Object.assign(document.createElement(tag), properties);
    const canvas = make("canvas", { width: COLUMNS * (SIDE + GAP) - GAP, height: ROWS * (SIDE + GAP) - GAP });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", "Eight squares of noise.");
    const button = make("button", { type: "button", textContent: "Draw eight digits" });
    const words = make("span", { textContent: "A trained network, 0.7 MB, will be loaded and run in your browser." });
    words.setAttribute("role", "status");
    root.append(canvas, button, words);
    paint(canvas, noise());

    let run = 0; // the one under way; an older one finds that it is not, and ends
    let engine;
    const rest = (text) => {
      run++;
      engine?.stop();
      engine = undefined;
      button.textContent = "Draw eight more";
      words.textContent = text;
    };
    function ask(message) {
      const late = new Promise((_, reject) => setTimeout(() => reject(new Error("The network does not answer.")), 1000 * PATIENCE));
      return Promise.race([engine.ask(message), late]);
    }
    async function draw() {
      const mine = ++run;
      button.textContent = "Stop";
      words.textContent = "Loading the network.";
      await load(root.dataset.model);
      if (mine !== run) return;
      engine = globalThis.ddpmModels[root.dataset.model].start();
      const seed = Math.floor(Math.random() * 2 ** 31);
      const { times } = await ask({ do: "begin", sampler: "ddim", steps: 50, images: IMAGES, seed });
      for (let done = false, ms = 0, stops = 0; !done; ) {
        while (document.hidden) await new Promise((go) => document.addEventListener("visibilitychange", go, { once: true }));
        if (mine !== run) return;
        const reply = await ask({ do: "next", ms: PACE });
        if (mine !== run) return;
        ms += reply.ms;
        stops += reply.frames.length;
        const { t, data } = reply.frames.at(-1);
        paint(canvas, data.subarray(0, data.length / 3));
        canvas.setAttribute("aria-label", t ? `Eight noisy pictures at step ${t}.` : "Eight digits, drawn by the network.");
        words.textContent = `Step t = ${t} of ${times[0]}.`;
        done = reply.done;
        if (done) rest(`Drawn from noise in ${stops - 1} steps and ${(ms / 1000).toFixed(1)} seconds, in your browser.`);
        else await new Promise(requestAnimationFrame);
      }
    }
    button.addEventListener("click", () => {
      if (button.textContent === "Stop") return rest("Stopped.");
      const mine = run + 1;
      draw().catch((error) => mine === run && rest(`${error.message} Press the button to try again.`));
    });
  }

  const start = () => document.querySelectorAll(".quiet-sampler").forEach(show);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
