// A worker that is asked one thing at a time.

/** @import { Ask, Engine } from "./engine/engine.js" */

/** Where a program of this text is, until its address is revoked.
 * @param {string} text
 */
export function addressOf(text) {
  return URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
}

/** A worker that runs this text.
 * @param {string} text
 */
export function newWorker(text) {
  const url = addressOf(text);
  const revoke = () => URL.revokeObjectURL(url);
  try {
    const worker = new Worker(url);
    worker.addEventListener("message", revoke, { once: true }); // by then the text has been read
    return worker;
  } catch (error) {
    revoke();
    throw error;
  }
}

/** What comes of one message; the worker's fault, in words, is an error.
 * @type {(worker: Worker, message: unknown) => Promise<unknown>}
 */
export function askWorker(worker, message) {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => (data.error ? reject(new Error(data.error)) : resolve(data));
    worker.onerror = (event) => reject(new Error(event.message || "the worker could not start"));
    worker.postMessage(message);
  });
}

/** @type {(worker: Worker) => Engine} */
export function inWorker(worker) {
  /** @param {unknown} message */
  const ask = (message) => askWorker(worker, message);
  return { where: "worker", ask: /** @type {Ask} */ (ask), stop: () => worker.terminate() };
}
