// Brings the widgets of a built page to life without a kernel.
//
// MyST-NB embeds the state of every ipywidget in the page, and a placeholder where each is shown.
// This host reads both, and runs the widgets that carry their own module (anywidget's `_esm`).
// It is a classic script, and modules are loaded from Blob URLs, so that it also works when the
// page is opened as a file.
(() => {
  "use strict";

  const assets = new URL(".", document.currentScript.src).href;

  /** What a widget's module sees of its model: anywidget's interface, without a kernel. Only here
   * has it `assets`, where the site keeps what a widget may load when asked to. */
  class Model {
    constructor(state) {
      this.assets = assets;
      this.state = state;
      this.listeners = new Map();
    }
    get(name) {
      return this.state[name];
    }
    set(name, value) {
      if (Object.is(this.state[name], value)) return;
      this.state[name] = value;
      for (const event of [`change:${name}`, "change"]) {
        for (const listener of [...(this.listeners.get(event) ?? [])]) listener(this, value);
      }
    }
    on(event, listener) {
      if (!this.listeners.has(event)) this.listeners.set(event, new Set());
      this.listeners.get(event).add(listener);
    }
    off(event, listener) {
      if (listener) this.listeners.get(event)?.delete(listener);
      else this.listeners.delete(event);
    }
    save_changes() {} // there is no kernel to save to
    send() {}
  }

  function decode(base64) {
    const text = atob(base64);
    return new DataView(Uint8Array.from(text, (c) => c.charCodeAt(0)).buffer);
  }

  function readState() {
    const models = new Map();
    for (const script of document.querySelectorAll(
      'script[type="application/vnd.jupyter.widget-state+json"]',
    )) {
      for (const [id, saved] of Object.entries(JSON.parse(script.textContent).state)) {
        const state = { ...saved.state };
        for (const { path, data } of saved.buffers ?? []) {
          const key = path[path.length - 1];
          path.slice(0, -1).reduce((inside, step) => inside[step], state)[key] = decode(data);
        }
        models.set(id, { name: saved.model_name, model: new Model(state) });
      }
    }
    return models;
  }

  const modules = new Map();
  function load(source) {
    if (!modules.has(source)) {
      const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
      modules.set(source, import(url).finally(() => URL.revokeObjectURL(url)));
    }
    return modules.get(source);
  }

  const styles = new Set();
  function addStyle(css) {
    if (!css || styles.has(css)) return;
    styles.add(css);
    document.head.append(Object.assign(document.createElement("style"), { textContent: css }));
  }

  function say(root, words) {
    root.append(Object.assign(document.createElement("p"), { className: "widget-note", textContent: words }));
  }

  async function show(root, entry) {
    if (!entry?.model.get("_esm")) {
      const kind = entry ? ` (${entry.name})` : "";
      say(root, `This widget${kind} needs a running notebook: open the chapter in Colab or Jupyter.`);
      return;
    }
    try {
      addStyle(entry.model.get("_css"));
      const module = await load(entry.model.get("_esm"));
      const widget = typeof module.default === "function" ? await module.default() : module.default;
      await widget.initialize?.({ model: entry.model });
      await widget.render({ model: entry.model, el: root });
      root.dataset.ready = "true";
      // Its still is for print from now on.
      root.closest(".cell_output")?.querySelectorAll(".widget-still").forEach((still) => still.classList.add("print-only"));
    } catch (error) {
      console.error(error);
      say(root, `This widget could not start in your browser: ${error.message}`);
    }
  }

  function start() {
    const models = readState();
    for (const script of document.querySelectorAll(
      'script[type="application/vnd.jupyter.widget-view+json"]',
    )) {
      const root = document.createElement("div");
      root.className = "widget-host";
      script.after(root);
      show(root, models.get(JSON.parse(script.textContent).model_id));
    }
    window.ddpmWidgets = models; // for tests, and for the curious
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
