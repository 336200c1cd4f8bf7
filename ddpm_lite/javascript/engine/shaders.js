// The layers of the network as a GPU computes them, in WGSL. https://www.w3.org/TR/WGSL/
//
// An image has C planes of B pictures of n x n numbers, each at its place in `a`. What was joined out
// of two images is at two places, `split` planes at the first and the rest at the second.

/** The names of a layer's numbers, all whole: the places of what it reads and writes, and sizes. */
export const NUMBERS = /** @type {const} */ ([
  ...["src", "src2", "split", "C", "m", "n", "B", "dst"],
  ...["w", "O", "side", "stride", "up", "act", "groups", "heads"],
  ...["shift", "beside", "beside2", "split2"],
]);
export const NONE = 0xffffffff; // where there is no shift, or nothing beside
export const PIXELS = 64; // that one workgroup convolves
export const LONGEST = 2048; // of what a pixel may attend to

export const SHADERS = `
struct Layer { ${NUMBERS.map((name) => `${name}: u32`).join(", ")} }
@group(0) @binding(0) var<uniform> p: Layer;
@group(0) @binding(1) var<storage, read> w: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> a: array<f32>;

fn plane(first: u32, second: u32, split: u32, c: u32, size: u32) -> u32 {
  if (c < split) { return first + c * size; }
  return second + (c - split) * size;
}

// 3x3 or 1x1, one pixel of four outputs. With stride 2 the padding is on the right and below. What
// lies to the left of 0 is, without a sign, far to the right.
@compute @workgroup_size(${PIXELS})
fn convolve(@builtin(global_invocation_id) id: vec3u) {
  let N = p.n * p.n;
  let M = p.m * p.m;
  let q = id.x;
  if (q >= p.B * N) { return; }
  let b = q / N;
  let y = (q % N) / p.n;
  let x = q % p.n;
  let edge = select(0u, 1u, p.side == 3u && p.stride == 1u);
  let limit = p.m << p.up;
  var k = p.w + id.y * (1u + p.C * p.side * p.side);
  var total = w[k];
  for (var c = 0u; c < p.C; c++) {
    let first = plane(p.src, p.src2, p.split, c, p.B * M) + b * M;
    for (var i = 0u; i < p.side; i++) {
      let row = y * p.stride + i - edge;
      for (var j = 0u; j < p.side; j++) {
        k++;
        let column = x * p.stride + j - edge;
        if (row < limit && column < limit) {
          total += w[k] * a[first + (row >> p.up) * p.m + (column >> p.up)];
        }
      }
    }
  }
  for (var l = 0u; l < 4u; l++) {
    let o = 4u * id.y + l;
    if (o >= p.O) { return; }
    var v = total[l];
    if (p.shift != ${NONE}u) { v += a[p.shift + o * p.B + b]; }
    if (p.beside != ${NONE}u) { v += a[plane(p.beside, p.beside2, p.split2, o, p.B * N) + q]; }
    a[p.dst + o * p.B * N + q] = v;
  }
}

var<workgroup> parts: array<f32, 64>;
fn sum(l: u32, v: f32) -> f32 {
  parts[l] = v;
  workgroupBarrier();
  for (var s = 32u; s > 0u; s >>= 1u) {
    if (l < s) { parts[l] += parts[l + s]; }
    workgroupBarrier();
  }
  let all = parts[0];
  workgroupBarrier();
  return all;
}

// GroupNorm of one group of one picture, and SiLU.
@compute @workgroup_size(64)
fn norm(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) l: u32) {
  let N = p.n * p.n;
  let size = p.B * N;
  let planes = p.C / p.groups;
  let count = f32(planes * N);
  var v = 0.0;
  for (var c = id.x * planes; c < (id.x + 1u) * planes; c++) {
    let first = plane(p.src, p.src2, p.split, c, size) + id.y * N;
    for (var i = l; i < N; i += 64u) { v += a[first + i]; }
  }
  let mean = sum(l, v) / count;
  v = 0.0;
  for (var c = id.x * planes; c < (id.x + 1u) * planes; c++) {
    let first = plane(p.src, p.src2, p.split, c, size) + id.y * N;
    for (var i = l; i < N; i += 64u) { v += (a[first + i] - mean) * (a[first + i] - mean); }
  }
  let scale = 1.0 / sqrt(sum(l, v) / count + 1e-6);
  for (var c = id.x * planes; c < (id.x + 1u) * planes; c++) {
    let first = plane(p.src, p.src2, p.split, c, size) + id.y * N;
    let there = p.dst + c * size + id.y * N;
    let own = w[p.w + c];
    for (var i = l; i < N; i += 64u) {
      let h = (a[first + i] - mean) * scale * own.x + own.y;
      a[there + i] = select(h, h / (1.0 + exp(min(-h, 80.0))), p.act == 1u);
    }
  }
}

// softmax(q k^T / sqrt(d)) v for one pixel of one head of one picture.
var<workgroup> shares: array<f32, ${LONGEST}>;
@compute @workgroup_size(64)
fn attend(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) l: u32) {
  let N = p.n * p.n;
  let size = p.B * N;
  let inner = p.C / 3u;
  let d = inner / p.heads;
  let q = p.src + id.y * d * size + id.z * N;
  let k = q + inner * size;
  let v = k + inner * size;
  for (var j = l; j < N; j += 64u) {
    var s = 0.0;
    for (var c = 0u; c < d; c++) { s += a[q + c * size + id.x] * a[k + c * size + j]; }
    shares[j] = s / sqrt(f32(d));
  }
  workgroupBarrier();
  var top = shares[0];
  for (var j = 1u; j < N; j++) { top = max(top, shares[j]); }
  workgroupBarrier();
  for (var j = l; j < N; j += 64u) { shares[j] = exp(shares[j] - top); }
  workgroupBarrier();
  var all = 0.0;
  for (var j = 0u; j < N; j++) { all += shares[j]; }
  for (var c = l; c < d; c += 64u) {
    var seen = 0.0;
    for (var j = 0u; j < N; j++) { seen += shares[j] * a[v + c * size + j]; }
    a[p.dst + (id.y * d + c) * size + id.z * N + id.x] = seen / all;
  }
}
`;
