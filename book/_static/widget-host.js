// Brings the widgets of a built page to life without a kernel.
//
// MyST-NB embeds the state of every ipywidget in the page, and a placeholder where each is shown.
// This host reads both, and runs the widgets that carry their own module (anywidget's `_esm`).
// It is a classic script, and modules are loaded from Blob URLs, so that it also works when the
// page is opened as a file.
(() => {
  "use strict";

  /** @typedef {(...told: unknown[]) => void} Listener */
  /** @typedef {{ name: string, model: Model }} Entry */
  /** @typedef {{ model: Model, el: HTMLElement }} Place */

  /** What a widget's module exports, or a function that makes it.
   * @typedef {object} Widget
   * @property {(place: { model: Model }) => unknown} [initialize]
   * @property {(place: Place) => unknown} render
   */

  /** A widget as MyST-NB saves it: its bytes apart, each with its path into the state.
   * @typedef {object} Saved
   * @property {string} model_name
   * @property {Record<string, unknown>} state
   * @property {{ path: string[], data: string }[]} [buffers]
   */

  const script = /** @type {HTMLScriptElement} */ (document.currentScript);
  const assets = new URL(".", script.src).href;

  /** What a widget's module sees of its model: anywidget's interface, without a kernel. Only here
   * has it `assets`, where the site keeps what a widget may load when asked to. */
  class Model {
    /** @param {Record<string, unknown>} state */
    constructor(state) {
      this.assets = assets;
      this.state = state;
      /** @type {Map<string, Set<Listener>>} */
      this.listeners = new Map();
    }
    /** @param {string} name */
    get(name) {
      return this.state[name];
    }
    /** @type {(name: string, value: unknown) => void} */
    set(name, value) {
      if (Object.is(this.state[name], value)) return;
      this.state[name] = value;
      for (const event of [`change:${name}`, "change"]) {
        for (const listener of [...(this.listeners.get(event) ?? [])]) listener(this, value);
      }
    }
    /** @type {(event: string, listener: Listener) => void} */
    on(event, listener) {
      const known = this.listeners.get(event) ?? new Set();
      this.listeners.set(event, known.add(listener));
    }
    /** @type {(event: string, listener?: Listener) => void} */
    off(event, listener) {
      if (listener) this.listeners.get(event)?.delete(listener);
      else this.listeners.delete(event);
    }
    save_changes() {} // there is no kernel to save to
    send() {}
  }

  /** @param {string} base64 */
  function decode(base64) {
    const text = atob(base64);
    return new DataView(Uint8Array.from(text, (c) => c.charCodeAt(0)).buffer);
  }

  /** @type {(saved: Saved) => Entry} */
  function restored({ model_name, state, buffers = [] }) {
    const own = { ...state };
    for (const { path, data } of buffers) {
      const inside = path.slice(0, -1).reduce((part, step) => {
        return /** @type {Record<string, unknown>} */ (part[step]);
      }, own);
      inside[path[path.length - 1]] = decode(data);
    }
    return { name: model_name, model: new Model(own) };
  }

  /** @param {string} kind of the scripts that ipywidgets embeds */
  function embedded(kind) {
    const type = `application/vnd.jupyter.widget-${kind}+json`;
    const found = document.querySelectorAll(`script[type="${type}"]`);
    return Array.from(found, (node) => ({ node, told: JSON.parse(node.textContent ?? "") }));
  }

  function readState() {
    /** @type {Map<string, Entry>} */
    const models = new Map();
    for (const { told } of embedded("state")) {
      for (const [id, saved] of Object.entries(told.state)) models.set(id, restored(saved));
    }
    return models;
  }

  /** @type {Map<string, Promise<{ default: Widget | (() => Widget | Promise<Widget>) }>>} */
  const modules = new Map();
  /** @param {string} source */
  function load(source) {
    const known = modules.get(source);
    if (known) return known;
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    const module = import(url).finally(() => URL.revokeObjectURL(url));
    modules.set(source, module);
    return module;
  }

  const styles = new Set();
  /** @param {unknown} css */
  function addStyle(css) {
    if (!css || styles.has(css)) return;
    styles.add(css);
    const style = document.createElement("style");
    style.textContent = String(css);
    document.head.append(style);
  }

  /** @type {(root: HTMLElement, words: string) => void} */
  function say(root, words) {
    const note = document.createElement("p");
    note.className = "widget-note";
    note.textContent = words;
    root.append(note);
  }

  /** A still is for print only, from when its widget runs.
   * @param {HTMLElement} root
   */
  function keepStillForPrint(root) {
    const stills = root.closest(".cell_output")?.querySelectorAll(".widget-still") ?? [];
    for (const still of stills) still.classList.add("print-only");
  }

  /** @type {(root: HTMLElement, entry: Entry | undefined) => Promise<void>} */
  async function show(root, entry) {
    const source = entry?.model.get("_esm");
    if (!entry || typeof source !== "string" || !source) {
      const kind = entry ? ` (${entry.name})` : "";
      say(
        root,
        `This widget${kind} needs a running notebook: open the chapter in Colab or Jupyter.`,
      );
      return;
    }
    try {
      addStyle(entry.model.get("_css"));
      const module = await load(source);
      const widget = typeof module.default === "function" ? await module.default() : module.default;
      await widget.initialize?.({ model: entry.model });
      await widget.render({ model: entry.model, el: root });
      root.dataset.ready = "true";
      keepStillForPrint(root);
    } catch (error) {
      console.error(error);
      const why = error instanceof Error ? error.message : error;
      say(root, `This widget could not start in your browser: ${why}`);
    }
  }

  /** The script of a widget that a page does not have yet: what MyST-NB would embed.
   * @type {(name: string) => Promise<{ state: { state: Record<string, Saved> },
   *   view: { model_id: string } }>}
   */
  async function fetched(name) {
    const script = document.createElement("script");
    script.src = `${assets}widgets/${name}.js`;
    await new Promise((resolve, reject) => {
      const fault = "It could not be loaded. Are you connected?";
      script.onload = resolve;
      script.onerror = () => reject(new Error(fault));
      document.head.append(script);
    }).finally(() => script.remove());
    return /** @type {any} */ (globalThis).ddpmQuiet[name];
  }

  /** A button in a widget's place. It loads the widget, and presses the widget's own first button.
   * @type {(root: HTMLElement, models: Map<string, Entry>) => void}
   */
  function quiet(root, models) {
    const { widget = "", asks = "", says = "" } = root.dataset;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = asks;
    const words = document.createElement("span");
    words.textContent = says;
    words.setAttribute("role", "status");
    root.append(button, words);
    button.addEventListener("click", async () => {
      button.disabled = true;
      words.textContent = "Loading.";
      try {
        const { state, view } = await fetched(widget);
        for (const [id, saved] of Object.entries(state.state)) models.set(id, restored(saved));
        const host = document.createElement("div");
        host.className = "widget-host";
        root.replaceWith(host);
        await show(host, models.get(view.model_id));
        const first = /** @type {HTMLElement | null} */ (host.querySelector(".ddpm-play"));
        first?.focus();
        first?.click();
      } catch (error) {
        const why = error instanceof Error ? error.message : error;
        words.textContent = `${why} Press the button to try again.`;
        button.disabled = false;
      }
    });
  }

  function start() {
    const models = readState();
    for (const { node, told } of embedded("view")) {
      const root = document.createElement("div");
      root.className = "widget-host";
      node.after(root);
      show(root, models.get(told.model_id));
    }
    const places = /** @type {NodeListOf<HTMLElement>} */ (
      document.querySelectorAll(".quiet-widget")
    );
    for (const root of places) quiet(root, models);
    Object.assign(window, { ddpmWidgets: models }); // for tests, and for the curious
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
