// The sampler: a chain that runs when asked, and all that it was, to scrub.

import { bind, follow } from "../javascript/model.js";
import { SETTINGS } from "./sampler_controls.js";
import { Run } from "./sampler_run.js";
import { View } from "./sampler_view.js";

/** @import { Place } from "../javascript/model.js" */
/** @import { Traits } from "./sampler_controls.js" */

/** @param {Place<Traits>} place */
function render({ model, el: root }) {
  root.classList.add("ddpm-widget", "ddpm-sampler");
  const view = new View(model, root);
  const run = new Run(model, view);

  bind(model, view.controls);
  follow(model, [SETTINGS, () => view.arrange()]);
  // At once, not when the moment is over: New noise changes a setting and then begins a chain.
  for (const name of SETTINGS) {
    model.on(`change:${name}`, () => {
      if (!run.live) return;
      run.abandon();
      view.say("The settings changed: press the button for another chain.");
    });
  }
  view.main.addEventListener("click", () => {
    if (run.state === "loading" || run.state === "running") run.pause();
    else run.go();
  });
  view.forward.addEventListener("click", () => run.ahead());
  view.back.addEventListener("click", () => run.scrub(run.shown - 1));
  view.fresh.addEventListener("click", () => run.go()); // with the seed that it has just set
  view.stop.input.addEventListener("input", () => run.scrub(view.stop.read()));

  view.refresh(run);
  view.say("Nothing runs until you press the button.");
  return () => {
    run.abandon();
    run.stop();
  };
}

export default { render };
