// Reading without code: one switch in the sidebar folds the code of all chapters, and is remembered
// in this browser. It runs before the page is drawn, so that nothing is seen to move.
(() => {
  "use strict";

  const STORE = "ddpm-code";
  const root = document.documentElement;

  /** @param {boolean} folded */
  function fold(folded) {
    if (folded) root.dataset.code = "folded";
    else delete root.dataset.code;
  }
  function recall() {
    try {
      return localStorage.getItem(STORE) === "folded";
    } catch {
      return false; // this browser keeps nothing for us: the switch holds for this page
    }
  }
  /** @param {boolean} folded */
  function keep(folded) {
    try {
      if (folded) localStorage.setItem(STORE, "folded");
      else localStorage.removeItem(STORE);
    } catch {
      return; // as above
    }
  }

  fold(recall());
  document.addEventListener("DOMContentLoaded", () => {
    const box = /** @type {HTMLInputElement | null} */ (document.getElementById("without-code"));
    if (!box) return;
    box.checked = root.dataset.code === "folded";
    box.addEventListener("change", () => {
      fold(box.checked);
      keep(box.checked);
    });
  });
})();
