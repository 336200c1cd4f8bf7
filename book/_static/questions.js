// Checks the questions of a page in the reader's browser, and counts in the sidebar which of the
// book's are answered. What is right follows the rules of book/_ext/questions/kinds.py, from a key
// that the build writes; the reasons stand in the folded answer. A classic script, so that it also
// works when the page is opened as a file.
(() => {
  "use strict";

  /** @typedef {{ right: number, within: number, nearly: number, wrong: number[] }} NumericKey */
  /** @typedef {{ right: number }} ChoiceKey */
  /** @typedef {{ before: [number, number][] }} OrderKey */
  /** Whether an answer is right; which reason belongs to it, if one does; or what is missing.
   * @typedef {{ right: boolean, reason?: number, hint?: string }} Verdict */

  const STORE = "ddpm-questions";
  const NEARLY = "Nearly. Give three digits.";
  const NUMBER = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i;
  const THOUSANDS = /^[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?$/;
  const page =
    /** @type {{ MathJax?: { typesetPromise?: (where: Element[]) => Promise<void> } }} */ (
      globalThis
    );

  /** What this browser keeps: the questions that were answered. */
  const progress = {
    kept: true,
    /** @type {Set<string>} */
    answered: new Set(),

    recall() {
      try {
        const told = JSON.parse(localStorage.getItem(STORE) ?? "[]");
        this.answered = new Set(Array.isArray(told) ? told.map(String) : []);
      } catch {
        this.kept = false; // refused, or not ours: count what is answered on this page
      }
    },
    /** @param {string} name */
    add(name) {
      if (this.kept) this.recall(); // another page may have added to it
      this.answered.add(name);
      this.keep();
    },
    erase() {
      this.answered = new Set();
      this.keep();
    },
    keep() {
      try {
        if (this.answered.size) localStorage.setItem(STORE, JSON.stringify([...this.answered]));
        else localStorage.removeItem(STORE);
        this.kept = true;
      } catch {
        this.kept = false;
      }
    },
  };

  /** The numbers that a text without "/" may mean: 2,998 is read both ways.
   * @param {string} text
   */
  function readings(text) {
    const whole = THOUSANDS.test(text) ? [text.replace(/,/g, "")] : [];
    return [text.replace(",", "."), ...whole].filter((part) => NUMBER.test(part)).map(Number);
  }

  /** What a reader may mean by 0.25, 0,25, 1/4, 25%, 1e-3 or 7,985; nothing for anything else.
   * @param {string} text
   */
  function numbers(text) {
    if (/\d\s+\d.*\//.test(text)) return []; // 1 1/4 is not 11/4
    const plain = text.replace(/\s/g, "").replace(/[−–—‑‐]/g, "-");
    const [above, below = "1", ...more] = plain.replace(/%$/, "").split("/");
    const share = plain.endsWith("%") ? 100 : 1;
    if (more.length) return [];
    return readings(above)
      .flatMap((a) => readings(below).map((b) => a / b / share))
      .filter(Number.isFinite);
  }

  /** @type {(form: HTMLFormElement, key: NumericKey) => Verdict} */
  function numeric(form, { right, within, nearly, wrong }) {
    const input = /** @type {HTMLInputElement} */ (form.querySelector("input"));
    const answers = numbers(input.value);
    if (!answers.length) {
      return { right: false, hint: "Type a number, such as 0.25, 1/4 or 1e-3." };
    }
    const near = (/** @type {number} */ value, share = within) =>
      answers.some((answer) => Math.abs(answer - value) <= share * Math.abs(value) + 1e-12);
    if (near(right)) return { right: true, reason: 0 };
    const known = wrong.findIndex((value) => near(value));
    if (known >= 0) return { right: false, reason: known + 1 };
    return near(right, nearly) ? { right: false, hint: NEARLY } : { right: false };
  }

  /** @type {(form: HTMLFormElement, key: ChoiceKey) => Verdict} */
  function choice(form, { right }) {
    const chosen = /** @type {HTMLInputElement | null} */ (form.querySelector("input:checked"));
    if (!chosen) return { right: false, hint: "Choose one of the answers." };
    return { right: Number(chosen.value) === right, reason: Number(chosen.value) };
  }

  /** @type {(form: HTMLFormElement, key: OrderKey) => Verdict} */
  function order(form, { before }) {
    const lines = [...form.querySelectorAll("li")].map((line) => Number(line.dataset.line));
    const broken = before.findIndex(([a, b]) => lines.indexOf(a) > lines.indexOf(b));
    return { right: broken < 0, reason: broken + 1 };
  }

  /** @type {Record<string, (form: HTMLFormElement, key: any) => Verdict>} */
  const judges = { numeric, choice, order };

  /** @param {HTMLElement} root */
  function judge(root) {
    const form = /** @type {HTMLFormElement} */ (root.querySelector("form"));
    const key = JSON.parse(atob(root.dataset.key ?? ""));
    return judges[root.dataset.kind ?? ""](form, key);
  }

  /** Says the verdict in words, with the reason that the folded answer has for it.
   * @type {(root: HTMLElement, verdict: Verdict) => void}
   */
  function say(root, { right, reason, hint }) {
    const place = /** @type {HTMLElement} */ (root.querySelector(".question-verdict"));
    const word = document.createElement("strong");
    word.textContent = right ? "Right. " : "Not right. ";
    const source = reason === undefined ? null : root.querySelectorAll(".reason")[reason];
    place.replaceChildren(
      ...(hint ? [hint] : [word, ...(source?.cloneNode(true).childNodes ?? [])]),
    );
    place.dataset.right = hint ? "" : String(right);
    if (place.querySelector(".math:not(:has(mjx-container))")) {
      page.MathJax?.typesetPromise?.([place]).catch(console.error);
    }
  }

  /** @param {HTMLElement} root */
  function hush(root) {
    const place = /** @type {HTMLElement} */ (root.querySelector(".question-verdict"));
    place.replaceChildren();
    place.dataset.right = "";
  }

  /** Lines of an order question move by buttons, or by the arrow keys on these.
   * @param {HTMLElement} root
   */
  function movable(root) {
    const place = /** @type {HTMLElement} */ (root.querySelector(".question-verdict"));
    /** @type {(button: HTMLElement, step: number) => void} */
    function move(button, step) {
      const line = /** @type {HTMLElement} */ (button.closest("li"));
      const other = step < 0 ? line.previousElementSibling : line.nextElementSibling;
      if (step < 0) other?.before(line);
      else other?.after(line);
      button.focus();
      const all = [.../** @type {HTMLElement} */ (line.parentElement).children];
      const words = `Line ${all.indexOf(line) + 1} of ${all.length}: ${line.querySelector(".question-words")?.textContent}`;
      place.dataset.right = "";
      place.replaceChildren(words);
    }
    for (const button of root.querySelectorAll("button")) {
      const step = Number(button.dataset.move);
      if (!step) continue;
      button.addEventListener("click", () => move(button, step));
      button.addEventListener("keydown", (event) => {
        const way = { ArrowUp: -1, ArrowDown: 1 }[event.key];
        if (!way) return;
        event.preventDefault();
        move(button, way);
      });
    }
  }

  /** How many of a chapter's questions are answered: those that there are, not those that were.
   * @type {(chapter: number, count: number) => number}
   */
  function answeredOf(chapter, count) {
    let found = 0;
    for (let i = 1; i <= count; i++) if (progress.answered.has(`${chapter}.${i}`)) found++;
    return found;
  }

  /** Beside each chapter in the list of contents.
   * @param {number[]} counts
   */
  function countInContents(counts) {
    for (const link of document.querySelectorAll(".bd-sidebar-primary .bd-links a")) {
      const path = /** @type {HTMLAnchorElement} */ (link).pathname;
      const chapter = Number(/\/(\d\d)-[^/]*\.html$/.exec(path)?.[1]);
      const count = counts[chapter - 1];
      if (!count) continue;
      let mark = link.querySelector(".chapter-answered");
      if (!mark) {
        mark = document.createElement("span");
        mark.className = "chapter-answered";
        link.append(" ", mark);
      }
      const found = answeredOf(chapter, count);
      mark.textContent = found ? `${found}/${count}` : "";
      mark.setAttribute("title", `${found} of ${count} questions answered`);
    }
  }

  let erasing = false; // asked to, once

  function show() {
    erasing = false;
    for (const root of questions()) {
      const done = progress.answered.has(root.dataset.question ?? "");
      if (!done && root.hasAttribute("data-done")) hush(root); // it was erased
      root.toggleAttribute("data-done", done);
    }
    const aids = /** @type {HTMLElement | null} */ (document.querySelector(".reading-aids"));
    const words = aids?.querySelector(".questions-answered");
    if (!aids || !words) return;
    const counts = (aids.dataset.counts ?? "").split(" ").map(Number);
    const all = counts.reduce((sum, count) => sum + count, 0);
    const found = counts.reduce((sum, count, i) => sum + answeredOf(i + 1, count), 0);
    words.textContent = `${found} of ${all} answered${progress.kept ? "" : ", not kept"}`;
    countInContents(counts);
  }

  function questions() {
    return /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(".question"));
  }

  /** Erases all answers at the second click; anything else in between takes back the first. */
  function erasable() {
    const button = document.querySelector(".questions-erase");
    const words = document.querySelector(".questions-answered");
    if (!button || !words) return;
    button.addEventListener("click", () => {
      words.setAttribute("role", "status"); // read it out
      if (erasing) {
        progress.erase();
        show();
      } else {
        erasing = true;
        words.textContent = "Press again to erase";
      }
    });
    for (const type of ["click", "focusin"]) {
      document.addEventListener(type, (event) => {
        if (erasing && event.target !== button) show();
      });
    }
  }

  function start() {
    progress.recall();
    for (const root of questions()) {
      movable(root);
      root.querySelector("form")?.addEventListener("submit", (event) => {
        event.preventDefault();
        const verdict = judge(root);
        if (verdict.right) {
          progress.add(root.dataset.question ?? "");
          show();
        }
        say(root, verdict);
      });
    }
    erasable();
    addEventListener("storage", (event) => {
      if (event.key !== STORE && event.key !== null) return;
      if (progress.kept) progress.recall();
      show();
    });
    addEventListener("pageshow", (event) => {
      if (!event.persisted) return; // a page that was gone back to is as it was left
      if (progress.kept) progress.recall();
      show();
    });
    show();
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
