// The sampler: a chain that runs when asked, and all that it was, to scrub.

import { SETTINGS } from "./sampler_controls.js";
import { Run } from "./sampler_run.js";
import { stage } from "./sampler_stage.js";
import { View } from "./sampler_view.js";

/** @import { Place } from "../javascript/model.js" */
/** @import { Traits } from "./sampler_controls.js" */

/** @param {Place<Traits>} place */
function render({ model, el: root }) {
  root.classList.add("ddpm-widget", "ddpm-sampler");
  const view = new View(model, root);
  return stage(model, view, new Run(model, view), SETTINGS);
}

export default { render };
