// WebAssembly from words. A browser compiles bytes; these few functions make them, so that a kernel
// can be read, and changed, where it stands. https://webassembly.github.io/spec/core/binary/

/** Bytes, in lists of lists as they were put together.
 * @typedef {number | Bytes[]} Bytes
 */

const [I32, V128] = [0x7f, 0x7b];
/** Instructions, as their names in the specification say. */
const PLAIN = /** @type {const} */ ({
  "i32.add": [0x6a],
  "i32.lt_u": [0x49],
  "i32.mul": [0x6c],
  "f32x4.add": [0xfd, 0xe4, 0x01],
  "f32x4.mul": [0xfd, 0xe6, 0x01],
});
const MEMORY = /** @type {const} */ ({
  "i32.load": [[0x28], 2],
  "v128.load": [[0xfd, 0x00], 2],
  "v128.load32_splat": [[0xfd, 0x09], 2],
  "v128.store": [[0xfd, 0x0b], 2],
});

/** An unsigned number in groups of seven bits, the lowest first.
 * @type {(value: number) => number[]}
 */
function unsigned(value) {
  return value < 128 ? [value] : [(value & 127) | 128, ...unsigned(value >>> 7)];
}

/** The same with a sign, which is the highest bit of the last group.
 * @type {(value: number) => number[]}
 */
function signed(value) {
  if (value >= -64 && value < 64) return [value & 127];
  return [(value & 127) | 128, ...signed(value >> 7)];
}

/** @type {(part: Bytes) => number[]} */
const flat = (part) => (typeof part === "number" ? [part] : part.flatMap(flat));

/** A part of known length, as sections and bodies are.
 * @type {(...parts: Bytes[]) => Bytes[]}
 */
function sized(...parts) {
  const bytes = flat(parts);
  return [...unsigned(bytes.length), ...bytes];
}

/** @type {(items: Bytes[]) => Bytes[]} */
const list = (items) => [unsigned(items.length), ...items];

/** @type {(value: number) => Bytes} */
export const constant = (value) => [0x41, signed(value)];
/** @type {(local: number) => Bytes} */
export const get = (local) => [0x20, unsigned(local)];
/** @type {(local: number, ...value: Bytes[]) => Bytes} */
export const set = (local, ...value) => [...value, 0x21, unsigned(local)];

/** An instruction after its operands.
 * @type {(name: keyof typeof PLAIN, ...operands: Bytes[]) => Bytes}
 */
export const op = (name, ...operands) => [...operands, ...PLAIN[name]];

/** A load, or a store of `value`, at an address and so many bytes after it.
 * @type {(name: keyof typeof MEMORY, address: Bytes, offset?: number, value?: Bytes) => Bytes}
 */
export function at(name, address, offset = 0, value = []) {
  const [code, alignment] = MEMORY[name];
  return [address, value, ...code, alignment, unsigned(offset)];
}

/** Do `body` once, and again while `condition`.
 * @type {(condition: Bytes, ...body: Bytes[]) => Bytes}
 */
export const loop = (condition, ...body) => [0x03, 0x40, ...body, condition, 0x0d, 0, 0x0b];

/** A module with one function, `run`, of integers, on a memory that it is given. Its locals are its
 * parameters, then `integers` more, then `vectors` of four floats.
 * @type {(parameters: number, integers: number, vectors: number, ...body: Bytes[]) =>
 *   Uint8Array<ArrayBuffer>}
 */
export function moduleOf(parameters, integers, vectors, ...body) {
  /** @type {(text: string) => Bytes[]} */
  const name = (text) => sized(...[...text].map((c) => c.charCodeAt(0)));
  const type = [0x60, list(Array(parameters).fill(I32)), list([])];
  const locals = list([
    [unsigned(integers), I32],
    [unsigned(vectors), V128],
  ]);
  const sections = [
    [1, list([type])],
    [2, list([[name("page"), name("memory"), 2, 0, 1]])],
    [3, list([[0]])],
    [7, list([[name("run"), 0, 0]])],
    [10, list([sized(locals, ...body, 0x0b)])],
  ].map(([id, content]) => [id, sized(content)]);
  return Uint8Array.from(flat([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, ...sections]));
}
