// Numbers that travel as bytes: a widget's recordings and an exported model's weights.

/** The bytes of what a model hands out for a trait of bytes.
 * @type {(data: DataView) => Uint8Array}
 */
export function bytesOf(data) {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** -limit..limit out of bytes. Twin: ddpm_lite.widgets.chain.unpack.
 * @type {(bytes: Uint8Array, limit: number) => Float64Array}
 */
export function unpack(bytes, limit) {
  return Float64Array.from(bytes, (v) => (v / 127.5 - 1) * limit);
}

/** @type {(base64: string) => ArrayBuffer} */
export function decoded(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes.buffer;
}

/** A sixteen-bit float: sign, five bits of exponent, ten of fraction.
 * @type {(bits: number) => number}
 */
export function half(bits) {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  const size = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
  return bits & 0x8000 ? -size : size;
}
