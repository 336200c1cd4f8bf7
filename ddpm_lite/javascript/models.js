// The models that a page has. Each is a script, which `ddpm-lite export` writes, and is loaded when a
// reader asks for it: a page opened as a file may fetch nothing, but it may load scripts.

import { askWorker, inWorker, newWorker } from "./workers.js";

/** @import { How } from "./engine/chain.js" */
/** @import { Engine, Known } from "./engine/engine.js" */

/** @returns {Record<string, Known>} */
export function knownModels() {
  const page = /** @type {{ ddpmModels?: Record<string, Known> }} */ (globalThis);
  // Without a prototype, so that "constructor" and "__proto__" are names like any other.
  page.ddpmModels ??= /** @type {Record<string, Known>} */ (Object.create(null));
  return page.ddpmModels;
}

/** The model of this name, from the folder of the site's static files.
 * @type {(assets: string, name: string) => Promise<Known>}
 */
export async function loadModel(assets, name) {
  if (!knownModels()[name]) {
    const script = document.createElement("script");
    script.src = `${assets}models/${name}.js`;
    await new Promise((resolve, reject) => {
      script.onload = resolve;
      script.onerror = () => reject(new Error("The model could not be loaded. Are you connected?"));
      document.head.append(script);
    }).finally(() => script.remove());
  }
  const known = knownModels()[name];
  if (!known) throw new Error("What was loaded holds no model.");
  return known;
}

const PATIENCE = 5; // seconds for a worker to say that it is there
// In a worker: say so, then load the script, and let the model answer.
const LOADS = `onmessage = ({ data: { url, name, how } }) => {
  if (!url) return postMessage({});
  try {
    importScripts(url);
    ddpmModels[name].serve(how);
    postMessage({});
  } catch (error) {
    postMessage({ error: String(error) });
  }
};`;

/** @param {Promise<unknown>} answer */
function inTime(answer) {
  const late = new Promise((_, reject) => setTimeout(reject, 1000 * PATIENCE));
  return Promise.race([answer, late]);
}

/** The model's engine, in a worker that loads the model itself: the page reads none of it, so that it
 * does not stutter. Where a worker may not load, as from a page opened as a file, the page does.
 * @type {(assets: string, name: string, how?: How) => Promise<Engine>}
 */
export async function startModel(assets, name, how) {
  if (!knownModels()[name] && location.protocol !== "file:") {
    /** @type {Worker | undefined} */
    let worker;
    try {
      worker = newWorker(LOADS);
      await inTime(askWorker(worker, {}));
      const { href } = new URL(`${assets}models/${name}.js`, document.baseURI);
      await askWorker(worker, { url: href, name, how });
      return inWorker(worker);
    } catch {
      worker?.terminate();
    }
  }
  return (await loadModel(assets, name)).start(how);
}
