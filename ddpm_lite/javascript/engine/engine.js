// A trained network that draws in a browser, with nothing else: no library, no server, no build.
// `ddpm-lite export` puts this and what it imports in front of the weights, as one classic script.
// Load it by a script element, on any page:
//
//   const engine = ddpmModels.digits.start();
//   await engine.ask({ do: "begin", sampler: "ddim", steps: 50, seed: 0, images: 16, clip: true });
//   const { frames, done } = await engine.ask({ do: "next", ms: 50 }); // what 50 ms allow
//
// A model with classes is asked for one by `label` and `scale`, as in { do: "begin", label: 9, scale: 2 }.
// The messages and their answers are Begin, Begun, Next and Advanced in chain.js.

import { knownModels } from "../models.js";
import { inWorker, newWorker } from "../workers.js";
import { Chain } from "./chain.js";

/** @import { Advanced, Begin, Begun, How, Next } from "./chain.js" */
/** @import { Stored } from "./weights.js" */

/** @typedef {((message: Begin) => Promise<Begun>) & ((message: Next) => Promise<Advanced>)} Ask */

/** `ask` answers one message at a time; `stop` ends it, and no answer comes any more. `where` says
 * whether it has a worker of its own or, where the browser gives none, runs on the page.
 * @typedef {{ where: "worker" | "page", ask: Ask, stop: () => void }} Engine
 */

/** What a page has as ddpmModels[name]; `local` is the chain itself, without a worker, and `serve` is
 * for a worker that has loaded the script: it answers messages from then on.
 * @typedef {{ config: Stored["config"], start: (how?: How) => Engine, local: (how?: How) => Chain,
 *   serve: (how?: How) => void }} Known
 */

/** What a worker does with messages, one after the other: the first is the model, unless it has one.
 * Faults are sent back in words.
 * @param {Chain} [chain]
 */
export function listen(chain) {
  let turn = Promise.resolve();
  /** @param {{ model: Stored, how?: How } & (Begin | Next)} data */
  const hear = async (data) => {
    try {
      if (data.model) chain = new Chain(data.model, data.how);
      else postMessage(await chain?.answer(data));
    } catch (error) {
      postMessage({ error: error instanceof Error ? error.message : String(error) });
    }
  };
  globalThis.onmessage = ({ data }) => {
    turn = turn.then(() => hear(data));
  };
}

/** @type {(model: Stored, how?: How) => Engine} */
function onPage(model, how) {
  const chain = new Chain(model, how);
  /** @type {Promise<unknown>} */
  let turn = Promise.resolve(); // one after the other, as in a worker
  /** @param {Begin | Next} message */
  const ask = (message) => {
    const asked = turn.then(async () => {
      await new Promise((resolve) => setTimeout(resolve)); // let the page draw first
      return chain.answer(message);
    });
    turn = asked.catch(() => {}); // whoever asked is told
    return asked;
  };
  return { where: "page", ask: /** @type {Ask} */ (ask), stop: () => chain.stop() };
}

/** Make a model known to the page as ddpmModels[name].
 * @param {string} name
 * @param {Stored} model
 * @param {Function} program whose text is all of this engine, and which returns `listen`
 */
export function register(name, model, program) {
  /** @param {How} [how] */
  const start = (how) => {
    try {
      const worker = newWorker(`(${program})().listen();`);
      worker.postMessage({ model, how });
      return inWorker(worker);
    } catch {
      return onPage(model, how);
    }
  };
  /** @param {How} [how] */
  const local = (how) => new Chain(model, how);
  /** @param {How} [how] */
  const serve = (how) => listen(local(how));
  knownModels()[name] = { config: model.config, start, local, serve };
}
