// What widgets share in which something runs until it is told otherwise.

import { el } from "./elements.js";

/** @type {(ms: number) => Promise<void>} */
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Wait while the page is in the background, and say so.
 * @param {(text: string) => void} say
 */
export async function visible(say) {
  while (document.hidden) {
    say("Waiting: the page is in the background.");
    await new Promise((resolve) => {
      document.addEventListener("visibilitychange", resolve, { once: true });
    });
  }
}

/** The lines of an algorithm, and a place for what goes wrong while it runs. */
export class RunningView {
  /** @param {HTMLElement[]} lines */
  constructor(lines) {
    this.lines = lines;
    this.fault = el("p", { className: "ddpm-fault", role: "alert", hidden: true });
  }

  /** @param {unknown} fault what went wrong, in words or as it was thrown; nothing where nothing did */
  complain(fault = "") {
    this.fault.textContent = fault instanceof Error ? fault.message : String(fault);
    this.fault.hidden = !fault;
  }

  /** Light these lines of the algorithm and no others.
   * @param {number[]} which
   */
  light(...which) {
    for (const [i, line] of this.lines.entries()) {
      line.classList.toggle("lit", which.includes(i));
      if (which.includes(i)) line.setAttribute("aria-current", "step");
      else line.removeAttribute("aria-current");
    }
  }
}
