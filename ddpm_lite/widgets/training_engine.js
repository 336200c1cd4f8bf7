// Who answers the widget's questions: a worker of its own, and in a notebook the kernel trains.

import { addressOf, askWorker, newWorker } from "../javascript/workers.js";

/** @import { Model } from "../javascript/model.js" */
/** @import { Question } from "../javascript/points/worker.js" */
/** @import { Traits } from "./training_controls.js" */

/** @typedef {{ ask: (question: Question) => Promise<any>, stop: () => void, place: string }} Engine */

/** One answer to each question, in their order.
 * @param {(question: Question) => Promise<any>} answer
 */
function inTurn(answer) {
  /** @type {Promise<unknown>} */
  let turn = Promise.resolve();
  /** @param {Question} question */
  return (question) => {
    const asked = turn.then(() => answer(question));
    turn = asked.catch(() => {}); // whoever asked is told
    return asked;
  };
}

/** The engine's program in a worker or, where the browser gives none, on the page.
 * @type {(program: string) => Promise<Engine>}
 */
async function inBrowser(program) {
  try {
    const worker = newWorker(`(${program})().listen();`);
    const ask = inTurn((question) => askWorker(worker, question));
    return { ask, stop: () => worker.terminate(), place: "in your browser" };
  } catch {
    const url = addressOf(`export default ${program}`);
    const { default: make } = await import(url).finally(() => URL.revokeObjectURL(url));
    const answer = make().answerer();
    const ask = inTurn(async (question) => {
      await new Promise((resolve) => setTimeout(resolve)); // let the page draw first
      return answer(question);
    });
    return { ask, stop() {}, place: "in your browser, without a worker: the page may stutter" };
  }
}

/** A kernel that trains, in whose place the worker measures and draws.
 * @type {(model: Model<Traits>, worker: Engine) => Engine}
 */
function byKernel(model, worker) {
  const view = Math.random().toString(36).slice(2);
  let count = 0;
  /** @type {Map<string, { resolve: (answer: any) => void, reject: (error: Error) => void }>} */
  const waiting = new Map();
  /** @type {(told: { id: string, error?: string, turn: number }, buffers?: DataView[]) => void} */
  const hear = ({ id, error, ...told }, buffers = []) => {
    const asked = waiting.get(id);
    waiting.delete(id);
    if (error) asked?.reject(new Error(error));
    else asked?.resolve({ ...told, buffer: buffers[0] });
  };
  model.on("msg:custom", hear);
  /** @param {object} message */
  const kernel = (message) =>
    new Promise((resolve, reject) => {
      const id = `${view}-${count++}`;
      waiting.set(id, { resolve, reject });
      model.send({ ...message, id });
      setTimeout(
        () => reject(new Error("No answer for a minute: is the kernel busy, or gone?")),
        6e4,
      );
    });
  const ask = inTurn(async (question) => {
    if (question.do === "begin") {
      model.save_changes();
      await kernel({ do: "begin" });
    }
    if (question.do !== "train") return worker.ask(question);
    const { buffer, ...told } = await kernel(question);
    const { buffer: bytes, byteOffset, byteLength } = /** @type {DataView} */ (buffer);
    const weights = new Float32Array(bytes.slice(byteOffset, byteOffset + byteLength));
    await worker.ask({ do: "take", weights, turn: told.turn });
    return told;
  });
  const stop = () => {
    model.off("msg:custom", hear);
    worker.stop();
  };
  return { ask, stop, place: "by PyTorch in the kernel" };
}

/** @type {(model: Model<Traits>) => Promise<Engine>} */
export async function startEngine(model) {
  const worker = await inBrowser(model.get("_engine"));
  return model.assets ? worker : byKernel(model, worker);
}
