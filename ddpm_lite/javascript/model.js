// A widget's model: the traits it shares with Python, or with the page it stands on.

/** @import { Control } from "./controls.js" */

/** What anywidget gives a widget's module. Only a built page has `assets`, where the site keeps
 * what a widget may load when asked to; only a notebook has a kernel to send to.
 * @template Traits
 * @typedef {object} Model
 * @property {<Name extends keyof Traits>(name: Name) => Traits[Name]} get
 * @property {<Name extends keyof Traits>(name: Name, value: Traits[Name]) => void} set
 * @property {() => void} save_changes
 * @property {Listen} on
 * @property {Listen} off
 * @property {(message: object) => void} send
 * @property {string} [assets]
 */

/** @typedef {(event: string, listener: (...told: never[]) => void) => void} Listen */

/** A model of which no more needs to be known than that it has traits of these names.
 * @template {string} Name
 * @template Value
 * @typedef {object} Has
 * @property {(name: Name) => Value} get
 * @property {(name: Name, value: Value) => void} set
 * @property {() => void} save_changes
 * @property {Listen} on
 */

/** What anywidget gives to `render`.
 * @template Traits
 * @typedef {{ model: Model<Traits>, el: HTMLElement }} Place
 */

/** Set a trait, and tell Python.
 * @template Traits
 * @template {keyof Traits} Name
 * @param {Model<Traits>} model
 * @param {Name} name
 * @param {Traits[Name]} value
 */
export function save(model, name, value) {
  model.set(name, value);
  model.save_changes();
}

/** Tie each control, both ways, to the trait that it is named after here.
 * @template Traits
 * @param {Model<Traits>} model
 * @param {{ [Name in keyof Traits]?: Control<Traits[Name]> }} controls
 */
export function bind(model, controls) {
  for (const name in controls) {
    const control = controls[name];
    if (!control) continue;
    const show = () => control.set(model.get(name));
    control.input.addEventListener(control.event, () => save(model, name, control.read()));
    model.on(`change:${name}`, show);
    show();
  }
}

/** Run each action now, in their order, and again when one of its traits has changed: once for all
 * changes of one moment, so that a control that sets two traits draws once.
 * @template {string} Name
 * @param {{ get: (name: Name) => unknown, on: Listen }} model
 * @param {[Name[], () => void][]} rules the traits and the action
 */
export function follow(model, ...rules) {
  /** @type {Set<() => void>} */
  const due = new Set();
  const run = () => {
    const now = rules.map(([, act]) => act).filter((act) => due.has(act));
    due.clear();
    for (const act of now) act();
  };
  for (const [names, act] of rules) {
    for (const name of names) {
      model.on(`change:${name}`, () => {
        if (due.size === 0) queueMicrotask(run);
        due.add(act);
      });
    }
    act();
  }
}

/** A chain that is made shorter takes t along.
 * @param {Has<"t" | "T", number>} model
 */
export function takeTimeAlong(model) {
  model.on("change:T", () => {
    if (model.get("t") > model.get("T")) model.set("t", model.get("T"));
  });
}
