// A trained network that draws in a browser, with nothing else: no library, no server, no build.
// `ddpm-lite export` puts this in front of the weights. Load it by a script element, on any page:
//
//   const engine = ddpmModels.digits.start();
//   await engine.ask({ do: "begin", sampler: "ddim", steps: 50, seed: 0, images: 16, clip: true });
//   const { frames, done } = await engine.ask({ do: "next", ms: 50 }); // what 50 ms allow

/** The network and its chain. A worker is made from this function's text, so it holds all it needs. */
function program(model) {
  "use strict";

  // --- reading the file --------------------------------------------------------------------------

  function bytes(base64) {
    const text = atob(base64);
    const out = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) out[i] = text.charCodeAt(i);
    return out.buffer;
  }

  /** A sixteen-bit float: sign, five bits of exponent, ten of fraction. */
  function half(bits) {
    const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
    const size = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
    return bits & 0x8000 ? -size : size;
  }

  const { channels, size, width, heads } = model.config;
  const beta = new Float64Array(bytes(model.beta));
  const T = beta.length;
  const alphaBar = new Float64Array(T + 1).fill(1);
  for (let t = 1; t <= T; t++) alphaBar[t] = alphaBar[t - 1] * (1 - beta[t - 1]);

  const parameters = {}; // name -> { shape, data }, all in doubles: a browser adds nothing faster
  const view = new DataView(bytes(model.weights));
  let place = 0;
  for (const [name, shape] of model.tensors) {
    const data = new Float64Array(shape.reduce((n, side) => n * side, 1));
    for (let i = 0; i < data.length; i++, place += 2) data[i] = half(view.getUint16(place, true));
    parameters[name] = { shape, data };
  }
  const has = (name) => name in parameters;
  const of = (name) => parameters[name].data;

  // --- the U-Net. An image is { x: C planes of n x n numbers, one after the other; C; n } --------

  const silu = (v) => v / (1 + Math.exp(-v));

  /** x [in] -> W x + b [out]. Twin: torch.nn.Linear. */
  function linear(x, name) {
    const [weight, out] = [of(`${name}.weight`), of(`${name}.bias`).slice()];
    for (let o = 0, k = 0; o < out.length; o++) for (let i = 0; i < x.length; i++) out[o] += weight[k++] * x[i];
    return out;
  }

  /** Twin: ddpm_lite.blocks.time_embedding. */
  function timeEmbedding(t) {
    const n = Math.floor(width / 2);
    const angle = (i) => t * Math.exp((-Math.log(10000) / (n - 1)) * i);
    return Float64Array.from({ length: 2 * n }, (_, i) => (i < n ? Math.sin(angle(i)) : Math.cos(angle(i - n))));
  }

  /** Twin: ddpm_lite.blocks.group_norm, followed by SiLU where `act`. */
  function norm({ x, C, n }, name, act = true) {
    const gcd = (a, b) => (b ? gcd(b, a % b) : a);
    const groups = gcd(32, Math.floor(C / 4));
    const [gain, shift, out] = [of(`${name}.weight`), of(`${name}.bias`), new Float64Array(x.length)];
    const [N, each] = [n * n, (C / groups) * n * n];
    for (let start = 0; start < x.length; start += each) {
      let [sum, square] = [0, 0];
      for (let i = start; i < start + each; i++) sum += x[i];
      const mean = sum / each;
      for (let i = start; i < start + each; i++) square += (x[i] - mean) ** 2;
      const scale = 1 / Math.sqrt(square / each + 1e-6);
      for (let i = start, c = start / N; i < start + each; c++) {
        const [a, b] = [scale * gain[c], shift[c] - mean * scale * gain[c]];
        for (const end = i + N; i < end; i++) {
          const v = a * x[i] + b;
          out[i] = act ? silu(v) : v;
        }
      }
    }
    return { x: out, C, n };
  }

  /** 3x3; with stride 2 the padding is on the right and below. Twins: Conv2d, Downsample. */
  function conv3({ x, C, n }, name, stride = 1) {
    const [weight, bias] = [of(`${name}.weight`), of(`${name}.bias`)];
    const [O, m, W, N] = [bias.length, n / stride, n + 2, (n + 2) * (n + 2)];
    const padded = new Float64Array(C * N);
    const edge = stride === 1 ? 1 : 0;
    for (let c = 0, i = 0; c < C; c++)
      for (let row = 0; row < n; row++, i += n) padded.set(x.subarray(i, i + n), c * N + (row + edge) * W + edge);
    const out = new Float64Array(O * m * m);
    for (let o = 0, w = 0; o < O; o++) {
      const [from, to] = [o * m * m, (o + 1) * m * m];
      out.fill(bias[o], from, to);
      for (let c = 0; c < C; c++, w += 9) {
        // Named one by one, so that they stay in registers: a third of the time of a loop.
        const a = weight[w], b = weight[w + 1], d = weight[w + 2];
        const e = weight[w + 3], f = weight[w + 4], g = weight[w + 5];
        const h = weight[w + 6], k = weight[w + 7], l = weight[w + 8];
        for (let row = 0, q = from; row < m; row++) {
          let p = c * N + row * stride * W;
          for (let end = q + m; q < end; q++, p += stride) {
            out[q] +=
              a * padded[p] + b * padded[p + 1] + d * padded[p + 2] +
              e * padded[p + W] + f * padded[p + W + 1] + g * padded[p + W + 2] +
              h * padded[p + 2 * W] + k * padded[p + 2 * W + 1] + l * padded[p + 2 * W + 2];
          }
        }
      }
    }
    return { x: out, C: O, n: m };
  }

  /** 1x1. Twin: Conv2d. */
  function conv1({ x, C, n }, name) {
    const [weight, bias, N] = [of(`${name}.weight`), of(`${name}.bias`), n * n];
    const out = new Float64Array(bias.length * N);
    for (let o = 0, k = 0; o < bias.length; o++) {
      out.fill(bias[o], o * N, (o + 1) * N);
      for (let c = 0; c < C; c++, k++)
        for (let i = 0; i < N; i++) out[o * N + i] += weight[k] * x[c * N + i];
    }
    return { x: out, C: bias.length, n };
  }

  const plus = (a, b) => ({ ...a, x: a.x.map((v, i) => v + b.x[i]) });

  /** Twin: ddpm_lite.blocks.ResBlock, without dropout: nothing is trained here. */
  function resBlock(image, name, temb) {
    let h = conv3(norm(image, `${name}.norm1`), `${name}.conv1`);
    const shift = linear(temb.map(silu), `${name}.time`);
    for (let c = 0, i = 0; c < h.C; c++) for (const end = i + h.n * h.n; i < end; i++) h.x[i] += shift[c];
    h = conv3(norm(h, `${name}.norm2`), `${name}.conv2`);
    return plus(has(`${name}.shortcut.weight`) ? conv1(image, `${name}.shortcut`) : image, h);
  }

  /** softmax(q k^T / sqrt(d)) v in each head. Twin: ddpm_lite.blocks.Attention. */
  function attention(image, name) {
    const { x, C, n } = conv1(norm(image, `${name}.norm`, false), `${name}.qkv`);
    const [inner, N] = [C / 3, n * n];
    const [d, out] = [inner / heads, new Float64Array(inner * N)];
    for (let head = 0; head < heads; head++) {
      const [q, k, v] = [0, inner, 2 * inner].map((part) => (part + head * d) * N);
      for (let i = 0; i < N; i++) {
        const logits = Float64Array.from({ length: N }, (_, j) => {
          let dot = 0;
          for (let c = 0; c < d; c++) dot += x[q + c * N + i] * x[k + c * N + j];
          return dot / Math.sqrt(d);
        });
        const largest = logits.reduce((a, b) => Math.max(a, b));
        const shares = logits.map((v) => Math.exp(v - largest));
        const total = shares.reduce((a, b) => a + b);
        for (let c = 0; c < d; c++) {
          let sum = 0;
          for (let j = 0; j < N; j++) sum += shares[j] * x[v + c * N + j];
          out[(head * d + c) * N + i] = sum / total;
        }
      }
    }
    return plus(image, conv1({ x: out, C: inner, n }, `${name}.out`));
  }

  /** A residual block, and attention where the weights have it. Twin: ddpm_lite.unet.Block. */
  function block(image, name, temb) {
    const h = resBlock(image, `${name}.res`, temb);
    return has(`${name}.attn.qkv.weight`) ? attention(h, `${name}.attn`) : h;
  }

  /** Twin: ddpm_lite.blocks.Upsample. */
  function upsample({ x, C, n }, name) {
    const out = new Float64Array(4 * x.length);
    for (let i = 0, k = 0; i < C * n; i++)
      for (let twice = 0; twice < 2; twice++)
        for (let j = 0; j < 2 * n; j++) out[k++] = x[i * n + (j >> 1)];
    return conv3({ x: out, C, n: 2 * n }, `${name}.conv`);
  }

  function joined(a, b) {
    const x = new Float64Array(a.x.length + b.x.length);
    x.set(a.x);
    x.set(b.x, a.x.length);
    return { x, C: a.C + b.C, n: a.n };
  }

  /** eps_theta(x_t, t) of one image. The names of the weights say which layers there are, and in
   * which order. Twin: ddpm_lite.unet.UNet.forward. */
  function epsHat(xt, t) {
    const temb = linear(linear(timeEmbedding(t), "time.0").map(silu), "time.2");
    let h = conv3({ x: xt, C: channels, n: size }, "conv_in");
    const skips = [h];
    const isBlock = (name) => has(`${name}.res.conv1.weight`);
    for (let i = 0, name; (name = `down.${i}`), isBlock(name) || has(`${name}.conv.weight`); i++) {
      h = isBlock(name) ? block(h, name, temb) : conv3(h, `${name}.conv`, 2);
      skips.push(h);
    }
    h = resBlock(block(h, "middle_in", temb), "middle_out", temb);
    for (let i = 0, name; (name = `up.${i}`), isBlock(name) || has(`${name}.conv.weight`); i++) {
      h = isBlock(name) ? block(joined(h, skips.pop()), name, temb) : upsample(h, name);
    }
    return conv3(norm(h, "norm_out"), "conv_out").x;
  }

  // --- the chain. Twin: ddpm_lite.widgets.sampler.walk -------------------------------------------

  /** n standard normal numbers: mulberry32, then Box and Muller. Twin: ddpm_lite.widgets.normals. */
  function normals(seed, n) {
    let state = seed >>> 0;
    const uniform = () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let z = Math.imul(state ^ (state >>> 15), state | 1);
      z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
      return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
    };
    const out = new Float64Array(n + (n % 2));
    for (let i = 0; i < n; i += 2) {
      const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
      const angle = 2 * Math.PI * uniform();
      out[i] = radius * Math.cos(angle);
      out[i + 1] = radius * Math.sin(angle);
    }
    return out.subarray(0, n);
  }

  /** The noise of step i, each step's its own; 0 is what the chain begins with. */
  const noiseOf = (seed, i, n) => normals((seed + Math.imul(i, 0x9e3779b1)) >>> 0, n);

  /** round(i T / steps) for i = 0..steps, halves to the even. Twin: ddpm_lite.schedule. */
  function spacedTimes(last, steps) {
    return Array.from({ length: steps + 1 }, (_, i) => {
      const [whole, rest] = [Math.floor((i * last) / steps), (i * last) % steps];
      return whole + (2 * rest > steps || (2 * rest === steps && whole % 2) ? 1 : 0);
    });
  }

  let chain; // the one under way: { options, times, i, x }, about to step from times[i]

  /** Draw x_T, or noise a drawing to t_start; say where the chain will stop. */
  function begin(options) {
    const { images = 1, seed = 0, steps = T, drawing = null } = options;
    const first = drawing ? options.t_start : T;
    const times = spacedTimes(first, Math.max(1, Math.ceil((steps * first) / T)));
    const n = images * channels * size * size;
    let x = noiseOf(seed, 0, n);
    if (drawing) {
      const [signal, noise] = [Math.sqrt(alphaBar[first]), Math.sqrt(1 - alphaBar[first])];
      x = x.map((z, k) => signal * drawing[k % drawing.length] + noise * z);
    }
    chain = { ...options, seed, times, i: times.length - 1, x };
    const stops = times.slice().reverse();
    return { times: stops, alphaBar: stops.map((t) => alphaBar[t]), shape: [images, channels, size, size] };
  }

  /** One step of the chain: DDIM's, or Algorithm 2's. Returns what it was before the step; at the
   * end, the image. */
  function step() {
    const { x, i, times, seed, sampler, clip = true, eta = 0, variance = "beta" } = chain;
    if (i === 0) return frame(0, x, x, new Float64Array(x.length));
    const [t, n] = [times[i], channels * size * size];
    const eps = new Float64Array(x.length);
    for (let b = 0; b < x.length; b += n) eps.set(epsHat(x.subarray(b, b + n), t), b);
    const [kept, before] = [alphaBar[t], alphaBar[times[i - 1]]];
    const [signal, noise] = [Math.sqrt(kept), Math.sqrt(1 - kept)];
    let x0 = x.map((v, k) => (v - noise * eps[k]) / signal);
    if (clip) {
      x0 = x0.map((v) => Math.min(1, Math.max(-1, v)));
      for (let k = 0; k < eps.length; k++) eps[k] = (x[k] - signal * x0[k]) / noise;
    }
    const b = 1 - kept / before; // beta of this step, which may skip some of the thousand
    const tilde = ((1 - before) / (1 - kept)) * b;
    let [first, second, other, sigma2] = [];
    if (sampler === "ddim") {
      sigma2 = eta * eta * tilde;
      [first, second, other] = [Math.sqrt(before), Math.sqrt(Math.max(0, 1 - before - sigma2)), eps];
    } else {
      sigma2 = i > 1 ? (variance === "beta" ? b : tilde) : 0;
      first = (Math.sqrt(before) * b) / (1 - kept);
      [second, other] = [(Math.sqrt(1 - b) * (1 - before)) / (1 - kept), x];
    }
    const z = sigma2 > 0 ? noiseOf(seed, i, x.length) : null;
    const sigma = Math.sqrt(sigma2);
    const next = x0.map((v, k) => first * v + second * other[k] + (z ? sigma * z[k] : 0));
    Object.assign(chain, { x: next, i: i - 1 });
    return frame(t, x, x0, eps);
  }

  /** { t, data }: x_t, x0_hat and eps_hat of all images, one after the other. */
  function frame(t, ...parts) {
    const data = new Float32Array(parts.length * parts[0].length);
    parts.forEach((part, k) => data.set(part, k * part.length));
    return { t, data };
  }

  /** Step on for so many milliseconds, once at least. */
  function next({ ms = 0 }) {
    const start = performance.now();
    const frames = [];
    do frames.push(step());
    while (frames.at(-1).t > 0 && performance.now() - start < ms);
    const done = frames.at(-1).t === 0;
    return { frames, done, ms: performance.now() - start, steps: frames.length - done };
  }

  return { answer: (message) => (message.do === "begin" ? begin : next)(message), epsHat, spacedTimes, T };
}

/** What a worker does with messages. Faults are sent back in words. */
function listen(program) {
  let made;
  onmessage = ({ data }) => {
    try {
      if (data.model) made = program(data.model);
      else postMessage(made.answer(data));
    } catch (error) {
      postMessage({ error: error.message });
    }
  };
}

/** An engine in a worker of its own, or, where the browser gives none, on the page: `where` says.
 * `ask` answers one message at a time; `stop` ends it, and no answer comes any more. */
function start(model) {
  let worker;
  try {
    const text = `(${listen})(${program})`;
    const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    worker = new Worker(url);
    worker.postMessage({ model });
  } catch {
    const made = program(model);
    const soon = () => new Promise((resolve) => setTimeout(resolve));
    return { where: "page", stop() {}, ask: async (message) => (await soon(), made.answer(message)) };
  }
  const ask = (message) =>
    new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => (data.error ? reject(new Error(data.error)) : resolve(data));
      worker.onerror = (event) => reject(new Error(event.message || "the worker could not start"));
      worker.postMessage(message);
    });
  return { where: "worker", ask, stop: () => worker.terminate() };
}

/** Make a model known to the page as ddpmModels[name]. */
function register(name, model) {
  const known = (globalThis.ddpmModels ??= {});
  known[name] = { config: model.config, start: () => start(model), local: () => program(model) };
}
