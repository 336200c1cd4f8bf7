// Plain numbers.

/** Numbers in [from, to], n of them, evenly apart.
 * @type {(from: number, to: number, n: number) => number[]}
 */
export function evenly(from, to, n) {
  return Array.from({ length: n }, (_, i) => from + ((to - from) * i) / (n - 1));
}

/** @type {(value: number, low: number, high: number) => number} */
export function clamp(value, low, high) {
  return Math.min(high, Math.max(low, value));
}

/** @type {(values: ArrayLike<number>) => number} */
export function sum(values) {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i];
  return total;
}
