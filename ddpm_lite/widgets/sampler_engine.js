// Who computes the sampler's chain: on a page the exported model, in a notebook the kernel. Both
// answer the same questions, those of the exported engine.

import { startModel } from "../javascript/models.js";

/** @import { Advanced, Begin, Begun, Next } from "../javascript/engine/chain.js" */
/** @import { Ask } from "../javascript/engine/engine.js" */
/** @import { Model } from "../javascript/model.js" */
/** @import { Traits } from "./sampler_controls.js" */

/** `patience` is in seconds; `place` says where the steps are taken, unless each answer does.
 * @typedef {object} Source
 * @property {Ask} ask
 * @property {() => void} stop
 * @property {number} patience
 * @property {string} place
 */

/** What a kernel says: the times of its frames, whose numbers come as buffers, or its fault.
 * @typedef {Omit<Advanced & Begun, "frames"> & { id: string, error?: string, frames?: number[] }} Told
 */

/** The engine of a page: a script of the site, loaded once, and its worker.
 * @type {(model: Model<Traits>, assets: string) => Promise<Source>}
 */
export async function fromPage(model, assets) {
  const name = model.get("_name");
  if (!name) {
    throw new Error("This network is the notebook's own: run the notebook to sample from it.");
  }
  const { ask, stop, where } = await startModel(assets, name).catch((error) => {
    throw new Error(`${error.message} Press the button to try again.`);
  });
  const alone = where === "worker" ? "" : ", without a worker: the page may stutter";
  return { ask, stop, patience: 20, place: `in your browser${alone}` };
}

/** The engine of a notebook: its kernel. Answers find their question by its id.
 * @type {(model: Model<Traits>) => Source}
 */
export function fromKernel(model) {
  const view = Math.random().toString(36).slice(2);
  let [count, chain] = [0, ""];
  /** @type {Map<string, { resolve: (answer: never) => void, reject: (error: Error) => void }>} */
  const waiting = new Map();
  /** @type {(told: Told, buffers?: DataView[]) => void} */
  const hear = ({ id, error, frames, ...told }, buffers = []) => {
    const asked = waiting.get(id);
    waiting.delete(id);
    if (error) asked?.reject(new Error(error));
    const read = frames?.map((t, i) => ({ t, data: floats(buffers[i]) }));
    asked?.resolve(/** @type {never} */ ({ ...told, frames: read }));
  };
  model.on("msg:custom", hear);
  /** @param {Begin | Next} message */
  const ask = (message) =>
    new Promise((resolve, reject) => {
      const id = `${view}-${count++}`;
      if (message.do === "begin") chain = id;
      waiting.set(id, { resolve, reject });
      const ms = message.do === "next" ? (message.ms ?? 0) : 0;
      const scale = message.do === "begin" ? message.scale : undefined;
      model.send({ do: message.do, ms, id, chain, scale });
    });
  const stop = () => model.off("msg:custom", hear);
  return { ask: /** @type {Ask} */ (ask), stop, patience: 60, place: "" };
}

/** A copy: the buffer need not begin where a float may.
 * @param {DataView} view
 */
function floats({ buffer, byteOffset, byteLength }) {
  return new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));
}
