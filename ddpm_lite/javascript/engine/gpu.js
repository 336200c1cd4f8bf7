// The network on a GPU, by WebGPU. Its weights stay there; of each step the images and the time go in,
// and one answer comes back. Whatever goes wrong is thrown, and the processor does it instead.

import { groupsOf } from "./layers.js";
import { LONGEST, NONE, NUMBERS, PIXELS, SHADERS } from "./shaders.js";
import { packed } from "./weights.js";

/** @import { Layers, UNet, When } from "./unet.js" */

/** An image on the GPU: two places where it was joined, `split` of its planes at the first.
 * @typedef {{ src: number, src2: number, split: number, C: number, n: number }} Placed
 */
/** @typedef {Partial<Record<typeof NUMBERS[number], number>>} Numbers */
/** @typedef {"convolve" | "norm" | "attend"} Kind */
/** @typedef {{ kind: Kind, numbers: Numbers, groups: [number, number, number] }} Work */
/** What is asked of the network, and where.
 * @typedef {When & { x: Float64Array }} Asked
 */

/** All that the network does to B pictures: what is put in, the shifts of its blocks with it, and
 * where the answer is.
 * @typedef {object} Plan
 * @property {number} B
 * @property {Work[]} works
 * @property {number} inputs numbers that are put in, the image first
 * @property {{ block: string, place: number }[]} shifts
 * @property {Placed} answer
 * @property {number} size numbers in all
 */

// As WebGPU numbers them; TypeScript does not know their names yet.
const [MAP_READ, COPY_SRC, COPY_DST, UNIFORM, STORAGE] = [1, 4, 8, 64, 128];
const [READ, COMPUTE] = [1, 4];
const APART = 256; // bytes between the numbers of two layers, as all devices allow
const MOST = 2 ** 26; // bytes of what lies between the layers
const PATIENCE = 10; // seconds for an answer; more for a program, which only tests wait for
const MORE = 600;

/** What the network does to B pictures, without doing it.
 * @type {(unet: UNet, planes: number, B: number, places: Map<string, number>) => Plan}
 */
export function planned(unet, planes, B, places) {
  const { weights, config } = unet;
  /** @type {Work[]} */
  const works = [];
  /** @type {Plan["shifts"]} */
  const shifts = [];
  let size = 0;
  /** @type {(C: number, n: number) => Placed} */
  const room = (C, n) => {
    const src = size;
    size += C * B * n * n;
    return { src, src2: 0, split: C, C, n };
  };
  /** @param {string} name */
  const place = (name) => /** @type {number} */ (places.get(name));
  const image = room(planes, config.size);
  for (const name of weights.names()) {
    if (!name.endsWith(".time")) continue;
    const block = name.slice(0, -5);
    shifts.push({ block, place: size });
    size += weights.layer(name).bias.length * B;
  }
  const inputs = size;
  /** @type {Layers<Placed, number>} */
  const layers = {
    convolve(from, name, side, { stride = 1, up = false, shift = NONE, beside } = {}) {
      const O = weights.layer(name).bias.length;
      const { n: m, ...rest } = from;
      const out = room(O, up ? 2 * m : m / stride);
      const also = beside && { beside: beside.src, beside2: beside.src2, split2: beside.split };
      const where = { ...rest, m, n: out.n, dst: out.src, w: place(name), O, side, stride };
      const numbers = { ...where, up: Number(up), shift, beside: NONE, ...also };
      const pixels = Math.ceil((B * out.n ** 2) / PIXELS);
      works.push({ kind: "convolve", numbers, groups: [pixels, Math.ceil(O / 4), 1] });
      return out;
    },
    norm(from, name, act) {
      const out = room(from.C, from.n);
      const groups = groupsOf(from.C);
      const numbers = { ...from, dst: out.src, w: place(name), act: Number(act), groups };
      works.push({ kind: "norm", numbers, groups: [groups, B, 1] });
      return out;
    },
    attend(qkv, heads) {
      const N = qkv.n ** 2;
      if (N > LONGEST) throw new Error(`a pixel attends to ${LONGEST} at most, got ${N}`);
      const out = room(qkv.C / 3, qkv.n);
      works.push({
        kind: "attend",
        numbers: { ...qkv, dst: out.src, heads },
        groups: [N, heads, B],
      });
      return out;
    },
    joined: (a, b) => ({ src: a.src, src2: b.src, split: a.C, C: a.C + b.C, n: a.n }),
    shift: (block) =>
      /** @type {{ place: number }} */ (shifts.find((s) => s.block === block)).place,
  };
  return { B, works, inputs, shifts, answer: unet.through(layers, image), size };
}

/** The weights of all layers as the shaders read them, four at a time, and where each layer's are.
 * @type {(weights: UNet["weights"]) => { data: Float32Array<ArrayBuffer>, places: Map<string, number> }}
 */
function laidOut(weights) {
  /** @type {[string, Float32Array][]} */
  const all = [...weights.convolutions()].map(([name, layer]) => [name, packed(layer)]);
  for (const name of weights.names()) {
    if (!/norm/.test(name)) continue;
    const { weight, bias } = weights.layer(name);
    const pairs = Float32Array.from({ length: 4 * bias.length }, (_, i) =>
      i % 4 < 2 ? [weight, bias][i % 4][i >> 2] : 0,
    );
    all.push([name, pairs]);
  }
  const data = new Float32Array(all.reduce((n, [, values]) => n + values.length, 0));
  const places = new Map();
  let place = 0;
  for (const [name, values] of all) {
    data.set(values, place);
    places.set(name, place / 4);
    place += values.length;
  }
  return { data, places };
}

/** @type {(device: GPUDevice, usage: number, size: number, data?: BufferSource) => GPUBuffer} */
function buffer(device, usage, size, data) {
  const made = device.createBuffer({ size, usage: usage | COPY_DST });
  if (data) device.queue.writeBuffer(made, 0, data);
  return made;
}

/** A network on a device. Make it by `onGPU`. */
export class OnGPU {
  /**
   * @param {UNet} unet
   * @param {GPUDevice} device
   * @param {Record<Kind, GPUComputePipeline>} pipelines
   * @param {GPUBindGroupLayout} layout
   */
  constructor(unet, device, pipelines, layout) {
    this.unet = unet;
    this.device = device;
    this.pipelines = pipelines;
    this.layout = layout;
    this.patience = PATIENCE;
    const { data, places } = laidOut(unet.weights);
    this.places = places;
    this.weights = buffer(device, STORAGE, data.byteLength, data);
    /** @type {Map<number, ReturnType<OnGPU["prepared"]>>} */
    this.ready = new Map(); // by the count of pictures
    this.one = 0; // bytes between the layers of one picture, once they are known
  }

  /** Give back the device, and all that is on it. */
  stop() {
    this.device.destroy();
  }

  /** What is needed to run a plan, on the device.
   * @type {(plan: Plan) => { plan: Plan, group: GPUBindGroup, between: GPUBuffer, back: GPUBuffer }}
   */
  prepared(plan) {
    const { device } = this;
    const told = new Uint32Array((plan.works.length * APART) / 4);
    for (const [i, { numbers }] of plan.works.entries()) {
      told.set(
        NUMBERS.map((name) => numbers[name] ?? (name === "B" ? plan.B : 0)),
        (i * APART) / 4,
      );
    }
    const numbers = buffer(device, UNIFORM, told.byteLength, told);
    const between = buffer(device, STORAGE | COPY_SRC, 4 * plan.size);
    const back = buffer(device, MAP_READ, 4 * plan.answer.C * plan.B * plan.answer.n ** 2);
    const entries = [
      { binding: 0, resource: { buffer: numbers, size: 4 * NUMBERS.length } },
      { binding: 1, resource: { buffer: this.weights } },
      { binding: 2, resource: { buffer: between } },
    ];
    return { plan, group: device.createBindGroup({ layout: this.layout, entries }), between, back };
  }

  /** What the network says of each, asked all at once as far as there is room.
   * @type {(asked: Asked[]) => Promise<Float64Array[]>}
   */
  async answers(asked) {
    const planes = asked[0].x.length / this.unet.config.size ** 2;
    this.one ||= 4 * planned(this.unet, planes, 1, this.places).size;
    const most = Math.max(1, Math.floor(MOST / this.one));
    /** @type {Float64Array[]} */
    const said = [];
    for (let i = 0; i < asked.length; i += most) {
      said.push(...(await this.#together(asked.slice(i, i + most), planes)));
    }
    return said;
  }

  /** @type {(asked: Asked[], planes: number) => Promise<Float64Array[]>} */
  async #together(asked, planes) {
    const { device } = this;
    const B = asked.length;
    device.pushErrorScope("validation");
    device.pushErrorScope("out-of-memory");
    const ready = this.ready.get(B) ?? this.prepared(planned(this.unet, planes, B, this.places));
    this.ready.set(B, ready);
    const { plan, between, back } = ready;
    device.queue.writeBuffer(between, 0, this.#inputs(plan, asked));
    const commands = device.createCommandEncoder();
    const pass = commands.beginComputePass();
    for (const [i, { kind, groups }] of plan.works.entries()) {
      pass.setPipeline(this.pipelines[kind]);
      pass.setBindGroup(0, ready.group, [i * APART]);
      pass.dispatchWorkgroups(...groups);
    }
    pass.end();
    commands.copyBufferToBuffer(between, 4 * plan.answer.src, back, 0, back.size);
    device.queue.submit([commands.finish()]);
    const faults = [device.popErrorScope(), device.popErrorScope()];
    for (const fault of await inTime(Promise.all(faults), this.patience))
      if (fault) throw new Error(fault.message);
    await inTime(back.mapAsync(READ), this.patience);
    const data = new Float32Array(back.getMappedRange()).slice();
    back.unmap();
    return asked.map((_, b) => ofOne(data, plan.answer.C, B, b));
  }

  /** The pictures, plane by plane, and what the time and the label are to each block.
   * @type {(plan: Plan, asked: Asked[]) => Float32Array<ArrayBuffer>}
   */
  #inputs({ B, inputs, shifts }, asked) {
    const { unet } = this;
    const data = new Float32Array(inputs);
    const N = unet.config.size ** 2;
    for (const [b, { x, ...when }] of asked.entries()) {
      for (let i = 0; i < x.length; i++) data[(Math.floor(i / N) * B + b) * N + (i % N)] = x[i];
      const told = unet.told(when);
      for (const { block, place } of shifts) {
        for (const [c, shift] of unet.shift(block, told).entries()) data[place + c * B + b] = shift;
      }
    }
    return data;
  }
}

/** Picture b of B, out of planes of all.
 * @type {(data: Float32Array, C: number, B: number, b: number) => Float64Array}
 */
function ofOne(data, C, B, b) {
  const N = data.length / C / B;
  return Float64Array.from(
    { length: C * N },
    (_, i) => data[(Math.floor(i / N) * B + b) * N + (i % N)],
  );
}

/** What comes of a promise, or a fault where nothing comes in so many seconds.
 * @template Value
 * @param {Promise<Value>} promise
 * @param {number} [patience]
 * @returns {Promise<Value>}
 */
function inTime(promise, patience = PATIENCE) {
  let timer = 0;
  /** @type {Promise<never>} */
  const late = new Promise((_, reject) => {
    const fault = new Error("the GPU does not answer");
    timer = /** @type {any} */ (setTimeout(() => reject(fault), 1000 * patience));
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** The network on the GPU, where the browser gives one. One that is a program, and slower than ours, is
 * taken only where `software` is. `gone` is called when the device goes, but not when it is given back.
 * @type {(unet: UNet, software: boolean, gone: () => void) => Promise<OnGPU>}
 */
export async function onGPU(unet, software, gone) {
  const adapter = await inTime(navigator.gpu.requestAdapter());
  if (!adapter) throw new Error("there is no GPU");
  if (adapter.info.isFallbackAdapter && !software) throw new Error("the GPU is a program");
  const requested = adapter.requestDevice();
  const device = await inTime(requested).catch((error) => {
    requested.then((late) => late.destroy()).catch(() => {}); // none came: nothing to destroy
    throw error;
  });
  device.lost.then(({ reason }) => reason !== "destroyed" && gone());
  try {
    return await onDevice(unet, device, software);
  } catch (error) {
    device.destroy();
    throw error;
  }
}

/** @type {(unet: UNet, device: GPUDevice, software: boolean) => Promise<OnGPU>} */
async function onDevice(unet, device, software) {
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ code: SHADERS });
  device.popErrorScope().catch(() => {}); // what is wrong with the shaders, the pipelines say
  const visibility = COMPUTE;
  const layout = device.createBindGroupLayout({
    entries: [
      { binding: 0, visibility, buffer: { type: "uniform", hasDynamicOffset: true } },
      { binding: 1, visibility, buffer: { type: "read-only-storage" } },
      { binding: 2, visibility, buffer: { type: "storage" } },
    ],
  });
  const shared = device.createPipelineLayout({ bindGroupLayouts: [layout] });
  /** @param {Kind} entryPoint */
  const pipeline = (entryPoint) =>
    device.createComputePipelineAsync({ layout: shared, compute: { module, entryPoint } });
  const [convolve, norm, attend] = await inTime(
    Promise.all([pipeline("convolve"), pipeline("norm"), pipeline("attend")]),
  );
  const made = new OnGPU(unet, device, { convolve, norm, attend }, layout);
  if (software) made.patience = MORE;
  return made;
}
