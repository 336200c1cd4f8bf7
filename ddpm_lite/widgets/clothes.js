// Clothes on request: the sampler of a network with classes, guided towards one of them.

import { ASKED } from "./clothes_controls.js";
import { ClothesRun, ClothesView } from "./clothes_run.js";
import { stage } from "./sampler_stage.js";

/** @import { Place } from "../javascript/model.js" */
/** @import { Traits } from "./sampler_controls.js" */

/** @param {Place<Traits>} place */
function render({ model, el: root }) {
  root.classList.add("ddpm-widget", "ddpm-sampler", "ddpm-clothes");
  const view = new ClothesView(model, root);
  const run = new ClothesRun(model, view);
  view.compare.addEventListener("click", () => run.compare());
  return stage(model, view, run, ASKED);
}

export default { render };
