// y[n] = epilogue(sum over k of a[k] * w[n, k]), w quantised with k a multiple of its blocks of 32: a token's products.
// The sums are those of matmul.wgsl, term by term in the same order (docs/summation.md). For software adapters: a workgroup
// is one subgroup, whose lanes load a block of `a` once for all; a lane makes four columns of y, and reads a block of
// each in whole vec4u. Grid: a workgroup for 4 * LANES columns.
enable subgroups;

alias A = f32;               // storage of a, in whole quads
alias Y = f32;               // storage of y
const LANES: u32 = 8u;       // of a subgroup: 4 or 8
const SEGMENT: u32 = 4u;     // blocks of one partial sum, 128 terms: part of the result
const N_TAIL: bool = true;   // n % 4 may not be 0

struct Params { n: u32, k: u32, a_offset: u32, w_offset: u32, w_n: u32 }

@group(0) @binding(0) var<storage, read> a: array<A>;
@group(0) @binding(1) var<storage, read> w: array<vec4u>;
@group(0) @binding(2) var<storage, read_write> y: array<Y>;
@group(0) @binding(3) var<uniform> p: Params;

fn a_quad(i: u32) -> vec4f { return vec4f(a[i], a[i + 1u], a[i + 2u], a[i + 3u]); }
fn w_words(i: u32) -> vec4u { return w[i]; }
fn w_word(i: u32, k: u32) -> u32 { return w[i][k]; } // a load for each component: of a vec4u of scales one counts
fn y_set(i: u32, v: f32) { y[i] = v; }
fn y_put(i: u32, v: vec4f) { for (var j = 0u; j < 4u; j++) { y[i + j] = v[j]; } }

fn epilogue(v: vec4f, i: u32, column: u32) -> vec4f { return v; }

// a block of `a`, spread over the lanes: quad t is the one of number t / LANES of lane t % LANES
alias Spread = array<vec4f, 2>;
fn load_a(i: u32, lane: u32) -> Spread {
  var x = Spread();
  x[0] = a_quad(i + 4u * lane);
  if (LANES == 4u) { x[1] = a_quad(i + 16u + 4u * lane); }
  return x;
}

// four terms of four columns, from the quads of their rows
fn add_terms(c: vec4f, x: vec4f, rows: mat4x4f) -> vec4f {
  let v = transpose(rows);
  return fma(vec4f(x.w), v[3], fma(vec4f(x.z), v[2], fma(vec4f(x.y), v[1], fma(vec4f(x.x), v[0], c))));
}

// Terms of a block; b: the number of the block in each of the four rows. d of a byte where it lies, and -128 d, are exact.
fn add_block(c: vec4f, x: Spread, b: vec4u) -> vec4f { return add_q8(c, x, b); }
fn d_of_q8(b: u32) -> f32 { return unpack2x16float(w_word((b >> 3u) * 17u, (b >> 1u) & 3u))[b & 1u]; }
fn bytes(word: u32, d: f32) -> vec4f {
  let biased = (vec4u(word) ^ vec4u(0u, 0u, 0u, 0x80000000u)) & vec4u(0xffu, 0xff00u, 0xff0000u, 0xff000000u);
  let scale = vec4f(1.0, 0.00390625, 0.0000152587890625, 0.000000059604644775390625) * d;
  return fma(vec4f(bitcast<vec4i>(biased)), scale, vec4f(-128.0, -128.0, -128.0, 0.0) * d);
}
fn add_bytes(c: vec4f, x: vec4f, r0: u32, r1: u32, r2: u32, r3: u32, d: vec4f) -> vec4f {
  return add_terms(c, x, mat4x4f(bytes(r0, d.x), bytes(r1, d.y), bytes(r2, d.z), bytes(r3, d.w)));
}
fn add_q8(begin: vec4f, x: Spread, b: vec4u) -> vec4f {
  let d = vec4f(d_of_q8(b.x), d_of_q8(b.y), d_of_q8(b.z), d_of_q8(b.w));
  let at = (b >> vec4u(3u)) * 17u + vec4u(1u) + (b & vec4u(7u)) * 2u;
  var c = begin;
  let r0 = w_words(at.x);
  let r1 = w_words(at.y);
  let r2 = w_words(at.z);
  let r3 = w_words(at.w);
  c = add_bytes(c, subgroupBroadcast(x[0u / LANES], 0u % LANES), r0.x, r1.x, r2.x, r3.x, d);
  c = add_bytes(c, subgroupBroadcast(x[1u / LANES], 1u % LANES), r0.y, r1.y, r2.y, r3.y, d);
  c = add_bytes(c, subgroupBroadcast(x[2u / LANES], 2u % LANES), r0.z, r1.z, r2.z, r3.z, d);
  c = add_bytes(c, subgroupBroadcast(x[3u / LANES], 3u % LANES), r0.w, r1.w, r2.w, r3.w, d);
  let s0 = w_words(at.x + 1u);
  let s1 = w_words(at.y + 1u);
  let s2 = w_words(at.z + 1u);
  let s3 = w_words(at.w + 1u);
  c = add_bytes(c, subgroupBroadcast(x[4u / LANES], 4u % LANES), s0.x, s1.x, s2.x, s3.x, d);
  c = add_bytes(c, subgroupBroadcast(x[5u / LANES], 5u % LANES), s0.y, s1.y, s2.y, s3.y, d);
  c = add_bytes(c, subgroupBroadcast(x[6u / LANES], 6u % LANES), s0.z, s1.z, s2.z, s3.z, d);
  return add_bytes(c, subgroupBroadcast(x[7u / LANES], 7u % LANES), s0.w, s1.w, s2.w, s3.w, d);
}

alias Scales = mat4x2f; // d and m of the four rows
fn q4_nibbles(half_word: u32, s: vec2f) -> vec4f { return vec4f(s, s); }
fn scale_of_q4(b: u32) -> vec2f { return unpack2x16float(w_word((b >> 2u) * 5u, b & 3u)); }
fn add_nibbles(c: vec4f, x: vec4f, r0: u32, r1: u32, r2: u32, r3: u32, s: Scales) -> vec4f {
  return add_terms(c, x, mat4x4f(q4_nibbles(r0, s[0]), q4_nibbles(r1, s[1]), q4_nibbles(r2, s[2]), q4_nibbles(r3, s[3])));
}
fn add_word(c: vec4f, x: vec4f, z: vec4f, r0: u32, r1: u32, r2: u32, r3: u32, s: Scales) -> vec4f {
  return add_nibbles(add_nibbles(c, x, r0, r1, r2, r3, s), z, r0 >> 16u, r1 >> 16u, r2 >> 16u, r3 >> 16u, s);
}
fn add_q4(begin: vec4f, x: Spread, b: vec4u) -> vec4f {
  let s = Scales(scale_of_q4(b.x), scale_of_q4(b.y), scale_of_q4(b.z), scale_of_q4(b.w));
  let at = (b >> vec4u(2u)) * 5u + vec4u(1u) + (b & vec4u(3u));
  let r0 = w_words(at.x);
  let r1 = w_words(at.y);
  let r2 = w_words(at.z);
  let r3 = w_words(at.w);
  var c = begin;
  c = add_word(c, subgroupBroadcast(x[0u / LANES], 0u % LANES), subgroupBroadcast(x[1u / LANES], 1u % LANES), r0.x, r1.x, r2.x, r3.x, s);
  c = add_word(c, subgroupBroadcast(x[2u / LANES], 2u % LANES), subgroupBroadcast(x[3u / LANES], 3u % LANES), r0.y, r1.y, r2.y, r3.y, s);
  c = add_word(c, subgroupBroadcast(x[4u / LANES], 4u % LANES), subgroupBroadcast(x[5u / LANES], 5u % LANES), r0.z, r1.z, r2.z, r3.z, s);
  return add_word(c, subgroupBroadcast(x[6u / LANES], 6u % LANES), subgroupBroadcast(x[7u / LANES], 7u % LANES), r0.w, r1.w, r2.w, r3.w, s);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) num: vec3u, @builtin(local_invocation_index) lane: u32) {
  let group = wid.x + wid.y * num.x;
  if (4u * LANES * group >= p.n) { return; }
  let n = 4u * (LANES * group + lane);
  let rows = min(vec4u(n, n + 1u, n + 2u, n + 3u), vec4u(p.n - 1u)) * p.w_n + vec4u(p.w_offset);
  let first = rows / vec4u(32u);
  let blocks = p.k / 32u;
  var total = vec4f(0.0);
  for (var start = 0u; start < blocks; start += SEGMENT) {
    var c = vec4f(0.0);
    for (var b = start; b < min(start + SEGMENT, blocks); b++) {
      c = add_block(c, load_a(p.a_offset + 32u * b, lane), first + vec4u(b));
    }
    total += c;
  }
  if (n >= p.n) { return; }
  let v = epilogue(total, n, n);
  if (N_TAIL && n + 4u > p.n) {
    for (var j = 0u; j < p.n - n; j++) { y_set(n + j, v[j]); }
  } else {
    y_put(n, v);
  }
}
