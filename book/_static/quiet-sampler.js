// Noise, a button, and on request a trained network that turns the one into digits. What it needs
// is loaded then: `_static/models`, written by `ddpm-lite export`. A classic script, so that it
// also works when the page is opened as a file.
(() => {
  "use strict";

  /** @typedef {import("../../ddpm_lite/javascript/engine/engine.js").Engine} Engine */
  /** @typedef {import("../../ddpm_lite/javascript/engine/engine.js").Known} Known */

  const [COLUMNS, ROWS, SIDE, GAP] = [8, 1, 8, 1];
  const IMAGES = COLUMNS * ROWS;
  const FIRST = "Draw eight digits";
  const PATIENCE = 20; // seconds for an answer
  // Milliseconds between two pictures; more where the reader asked for less motion.
  const PACE = matchMedia("(prefers-reduced-motion: reduce)").matches ? 500 : 40;
  const script = /** @type {HTMLScriptElement} */ (document.currentScript);
  const assets = new URL(".", script.src).href;
  const page = /** @type {{ ddpmModels?: Record<string, Known> }} */ (globalThis);

  /** @type {(name: string) => Promise<Known>} */
  async function load(name) {
    if (!page.ddpmModels?.[name]) {
      const script = document.createElement("script");
      script.src = `${assets}models/${name}.js`;
      await new Promise((resolve, reject) => {
        const fault = "The model could not be loaded. Are you connected?";
        script.onload = resolve;
        script.onerror = () => reject(new Error(fault));
        document.head.append(script);
      }).finally(() => script.remove());
    }
    const known = page.ddpmModels?.[name];
    if (!known) throw new Error("What was loaded holds no model.");
    return known;
  }

  /** What comes of an answer, or a fault where none comes in time.
   * @template Answer
   * @param {Promise<Answer>} answer
   * @returns {Promise<Answer>}
   */
  function inTime(answer) {
    /** @type {Promise<never>} */
    const late = new Promise((_, reject) => {
      setTimeout(() => reject(new Error("The network does not answer.")), 1000 * PATIENCE);
    });
    return Promise.race([answer, late]);
  }

  /** IMAGES pictures of SIDE x SIDE numbers in [-1, 1], in ROWS rows.
   * @type {(canvas: HTMLCanvasElement, data: ArrayLike<number>) => void}
   */
  function paint(canvas, data) {
    const context = canvas.getContext("2d");
    if (!context) return;
    const image = context.createImageData(SIDE, SIDE);
    for (let b = 0; b < IMAGES; b++) {
      for (let i = 0; i < SIDE * SIDE; i++) {
        image.data.fill(127.5 * (data[b * SIDE * SIDE + i] + 1), 4 * i, 4 * i + 3);
        image.data[4 * i + 3] = 255;
      }
      const [row, column] = [Math.floor(b / COLUMNS), b % COLUMNS];
      context.putImageData(image, column * (SIDE + GAP), row * (SIDE + GAP));
    }
  }

  function noise() {
    const normal = () =>
      Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
    return Array.from({ length: IMAGES * SIDE * SIDE }, normal);
  }

  async function visible() {
    while (document.hidden) {
      await new Promise((go) => document.addEventListener("visibilitychange", go, { once: true }));
    }
  }

  /** @param {HTMLElement} root */
  function parts(root) {
    const canvas = document.createElement("canvas");
    canvas.width = COLUMNS * (SIDE + GAP) - GAP;
    canvas.height = ROWS * (SIDE + GAP) - GAP;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", "Eight squares of noise.");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = FIRST;
    const words = document.createElement("span");
    words.textContent = "A trained network, 0.7 MB, will be loaded and run in your browser.";
    const spoken = document.createElement("span"); // where it begins and ends, not every step
    spoken.className = "quiet-spoken";
    spoken.setAttribute("role", "status");
    root.append(canvas, button, words, spoken);
    return { canvas, button, words, spoken };
  }

  /** @param {HTMLElement} root */
  function show(root) {
    const { canvas, button, words, spoken } = parts(root);
    paint(canvas, noise());

    let run = 0; // the one under way; an older one finds that it is not, and ends
    /** @type {Engine | undefined} */
    let engine;
    let drawn = false;
    /** @param {string} text */
    function tell(text) {
      words.textContent = text;
      spoken.textContent = text;
    }
    /** @param {string} text */
    function rest(text) {
      run++;
      engine?.stop();
      engine = undefined;
      button.textContent = drawn ? "Draw eight more" : FIRST;
      tell(text);
    }
    async function draw() {
      const mine = ++run;
      button.textContent = "Stop";
      tell("Loading the network.");
      const known = await load(root.dataset.model ?? "");
      if (mine !== run) return;
      engine = known.start({ gpu: false }); // it is not known to be quicker for so small a network
      const { ask } = engine;
      const seed = Math.floor(Math.random() * 2 ** 31);
      const settings = { sampler: /** @type {const} */ ("ddim"), steps: 50, images: IMAGES, seed };
      const { times } = await inTime(ask({ do: "begin", ...settings }));
      for (let done = false, ms = 0, stops = 0; !done; ) {
        await visible();
        if (mine !== run) return;
        const reply = await inTime(ask({ do: "next", ms: PACE }));
        if (mine !== run) return;
        ms += reply.ms;
        stops += reply.frames.length;
        const { t, data } = reply.frames[reply.frames.length - 1];
        paint(canvas, data.subarray(0, data.length / 3));
        const seen = t
          ? `Eight noisy pictures at step ${t}.`
          : "Eight digits, drawn by the network.";
        canvas.setAttribute("aria-label", seen);
        words.textContent = `Step t = ${t} of ${times[0]}.`;
        done = reply.done;
        if (!done) await new Promise(requestAnimationFrame);
        else {
          drawn = true;
          const took = (ms / 1000).toFixed(1);
          rest(`Drawn from noise in ${stops - 1} steps and ${took} seconds, in your browser.`);
        }
      }
    }
    button.addEventListener("click", () => {
      if (button.textContent === "Stop") {
        rest("Stopped.");
        return;
      }
      const mine = run + 1;
      draw().catch((error) => {
        if (mine === run) rest(`${error.message} Press the button to try again.`);
      });
    });
  }

  function start() {
    const places = /** @type {NodeListOf<HTMLElement>} */ (
      document.querySelectorAll(".quiet-sampler")
    );
    places.forEach(show);
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
