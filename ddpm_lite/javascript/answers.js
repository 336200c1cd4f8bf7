// What a network says, and what follows from it. Each function has a twin in Python, to which tests
// hold it.

/** What a network says of x_t: the noise, the image, or v between the two.
 * @typedef {"eps" | "x0" | "v"} Objective
 */

/** The eps that goes with what the network says: a of it and b of x_t. Twin: convert.
 * @type {(objective: Objective, alphaBar: number) => [ofOutput: number, ofXt: number]}
 */
export function toEps(objective, alphaBar) {
  const [signal, noise] = [Math.sqrt(alphaBar), Math.sqrt(1 - alphaBar)];
  if (objective === "eps") return [1, 0];
  if (objective === "x0") return [-signal / noise, 1 / noise];
  return [signal, noise];
}

/** The x_0 that goes with it, in the same way. Twin: convert.
 * @type {(objective: Objective, alphaBar: number) => [ofOutput: number, ofXt: number]}
 */
export function toX0(objective, alphaBar) {
  const [signal, noise] = [Math.sqrt(alphaBar), Math.sqrt(1 - alphaBar)];
  if (objective === "eps") return [-noise / signal, 1 / signal];
  if (objective === "x0") return [1, 0];
  return [-noise, signal];
}

/** @type {(shares: [ofA: number, ofB: number], a: Float64Array, b: Float64Array) => Float64Array} */
export function mixed([ofA, ofB], a, b) {
  return a.map((value, i) => ofA * value + ofB * b[i]);
}

/** Classifier-free guidance: from the answer without a label towards the one with it, and past it.
 * Twin: ddpm_lite.guidance.guided.
 * @type {(scale: number, withLabel: Float64Array, without: Float64Array) => Float64Array}
 */
export function guided(scale, withLabel, without) {
  return mixed([scale, 1 - scale], withLabel, without);
}

/** Between beta-tilde, where the network says -1, and beta, where it says 1, by logarithms.
 * @type {(said: Float64Array, beta: number, tilde: number) => Float64Array}
 */
export function learnedVariance(said, beta, tilde) {
  const [high, low] = [Math.log(beta), Math.log(tilde)];
  return said.map((v) => Math.exp(((1 + v) / 2) * high + ((1 - v) / 2) * low));
}
