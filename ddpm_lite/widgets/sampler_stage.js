// How a sampler answers to its controls and buttons.

import { bind, follow } from "../javascript/model.js";

/** @import { Model } from "../javascript/model.js" */
/** @import { Traits } from "./sampler_controls.js" */
/** @import { Run } from "./sampler_run.js" */
/** @import { View } from "./sampler_view.js" */

/** Begin to listen; what is returned ends the run.
 * @param {Model<Traits>} model
 * @param {View} view
 * @param {Run} run
 * @param {(keyof Traits)[]} settings the traits that make another chain
 */
export function stage(model, view, run, settings) {
  bind(model, /** @type {Parameters<typeof bind<Traits>>[1]} */ (view.controls));
  follow(model, [settings, () => view.arrange()]);
  // At once, not when the moment is over: New noise changes a setting and then begins a chain.
  for (const name of settings) {
    model.on(`change:${name}`, () => {
      if (!run.live && run.state !== "running") return; // a comparison runs without a live chain
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
