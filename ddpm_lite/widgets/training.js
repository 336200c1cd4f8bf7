// The reader draws points, and a small DDPM is trained on them where one can see it.

import { bind, follow, takeTimeAlong } from "../javascript/model.js";
import { SETTINGS } from "./training_controls.js";
import { Run } from "./training_run.js";
import { View } from "./training_view.js";

/** @import { Place } from "../javascript/model.js" */
/** @import { Traits } from "./training_controls.js" */

/** @param {Place<Traits>} place */
function render({ model, el: root }) {
  root.classList.add("ddpm-widget", "ddpm-training");
  root.classList.toggle("ddpm-small", model.get("small"));
  const view = new View(model, root);
  const run = new Run(model, view);

  bind(model, view.controls);
  takeTimeAlong(model);
  follow(
    model,
    [["objective", "T"], () => view.arrange()],
    [SETTINGS, () => run.again()],
    [["t"], () => void run.lookAt().catch((error) => run.fail(error))],
  );
  view.main.addEventListener("click", () => {
    if (run.state === "running") run.pause();
    else run.go();
  });
  view.once.addEventListener("click", () => run.slowly());
  view.again.addEventListener("click", () => run.again());
  return () => {
    run.abandon();
    run.stop();
  };
}

export default { render };
