// y = x as q8 or q4: blocks of 32 elements, in order, each with what its integers are scaled by, in halves.
//   q8: d = the smallest half from 2^-24 on that is not below max|x| * fround(1 / 127); q = floor(x / d + 1/2); value q d
//   q4: m = the largest half not above min x, r = fround(max x - m); d = the smallest half from 2^-24 on that is not below
//       r * fround(1 / 15); t = fround(x - m); q = floor(t / d + 1/2); value q d + m
// Those divisions are meant exactly: a quotient is made with the adapter's, and mended by comparing products that are
// exact in f32. Rounding d up and m down keeps q within -127..127 and 0..15; it is cut to them where a half ends, at 65504.
// A block with NaN or infinity has d = NaN. What q4 spends on m, half a bit an element, takes a tenth to a fifth off the
// error of the best symmetric rule. x: [n] in order; y as shaders/lib/storage.wgsl says. A thread makes UNIT elements.
alias X = f32;               // how x is stored
const UNIT: u32 = 256;       // 256 for q8, 128 for q4
const WORDS: u32 = 17;       // vec4u of a unit: 17 or 5
const WG: u32 = 64;          // threads of a workgroup

struct Params { n: u32 }     // elements of x
@group(0) @binding(0) var<storage, read> x: array<X>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4u>;
@group(0) @binding(2) var<uniform> p: Params;

fn x_quad(i: u32) -> vec4f { return vec4f(x[i], x[i + 1u], x[i + 2u], x[i + 3u]); }

const NAN: u32 = 0x7e00u;    // as a half
const STEP: f32 = 16777216.0; // halves below 2^-14 are multiples of 1 / STEP

fn half_of(bits: u32) -> f32 { return unpack2x16float(bits).x; }
// the bits of the smallest half not below v >= 0, and of the largest not above it
fn half_above(v: f32) -> u32 {
  let normal = ((bitcast<u32>(v) + 0x1fffu) >> 13u) - 0x1c000u;
  return min(select(normal, u32(ceil(v * STEP)), v < 0.00006103515625), 0x7bffu);
}
fn half_below(v: f32) -> u32 {
  let normal = (bitcast<u32>(v) >> 13u) - 0x1c000u;
  return min(select(normal, u32(floor(v * STEP)), v < 0.00006103515625), 0x7bffu);
}

// floor(x / d + 1/2), d > 0, |x / d| < 2^11: the quotient is off by less than 1, and (2 q + 1) d is exact.
fn rounded(x: vec4f, d: f32) -> vec4f {
  let q = floor(fma(x, vec4f(1.0 / d), vec4f(0.5)));
  let twice = x + x;
  let up = twice >= (q + q + vec4f(1.0)) * d;
  let down = twice < (q + q - vec4f(1.0)) * d;
  return q + select(vec4f(0.0), vec4f(1.0), up) - select(vec4f(0.0), vec4f(1.0), down);
}

// elements past the end are 0, or what is there already where a block begins before it
fn load(i: u32, other: f32) -> vec4f {
  return select(vec4f(other), x_quad(i), vec4u(i, i + 1u, i + 2u, i + 3u) < vec4u(p.n));
}

// d of the block at i
fn d_of_q8(i: u32) -> u32 {
  var most = vec4u(0u); // of magnitudes' bits, in whose order NaN is the largest
  for (var k = i; k < i + 32u; k += 4u) { most = max(most, bitcast<vec4u>(load(k, 0.0)) & vec4u(0x7fffffffu)); }
  let bits = max(max(most.x, most.y), max(most.z, most.w));
  if (bits >= 0x7f800000u) { return NAN; }
  return max(half_above(bitcast<f32>(bits) * 0.007874015718698502), 1u);
}
fn bytes(i: u32, d: f32) -> u32 {
  let q = vec4u(clamp(rounded(load(i, 0.0), d), vec4f(-127.0), vec4f(127.0)) + vec4f(128.0));
  return q.x | (q.y << 8u) | (q.z << 16u) | (q.w << 24u);
}

// d and m of the block at i; past the end its first element stands for all, so that it alone sets the range
fn scale_of_q4(i: u32) -> u32 {
  let first = load(i, 0.0).x;
  var low = load(i, first);
  var high = low;
  var most = vec4u(0u);
  for (var k = i; k < i + 32u; k += 4u) {
    let v = load(k, first);
    most = max(most, bitcast<vec4u>(v) & vec4u(0x7fffffffu));
    low = select(low, v, v < low);
    high = select(high, v, v > high);
  }
  if (max(max(most.x, most.y), max(most.z, most.w)) >= 0x7f800000u) { return NAN | (NAN << 16u); }
  let pair = select(low.xy, low.zw, low.zw < low.xy);
  let other = select(high.xy, high.zw, high.zw > high.xy);
  let least = select(pair.x, pair.y, pair.y < pair.x);
  let largest = select(other.x, other.y, other.y > other.x);
  var m = half_below(least);
  if (least < 0.0) { m = half_above(-least) | 0x8000u; }
  let d = max(half_above((largest - half_of(m)) * 0.06666667014360428), 1u);
  return d | (m << 16u);
}
fn nibbles(i: u32, s: vec2f) -> u32 {
  let a = vec4u(clamp(rounded(load(i, s.y) - vec4f(s.y), s.x), vec4f(0.0), vec4f(15.0)));
  let b = vec4u(clamp(rounded(load(i + 4u, s.y) - vec4f(s.y), s.x), vec4f(0.0), vec4f(15.0)));
  let all = (a | (b << vec4u(16u))) << vec4u(0u, 4u, 8u, 12u);
  return all.x | all.y | all.z | all.w;
}

fn make_unit(unit: u32) { make_q8(unit); }
fn make_q8(unit: u32) {
  let first = unit * UNIT;
  var scales = vec4u(0u);
  for (var b = 0u; b < 8u; b++) {
    let i = first + 32u * b;
    let d = d_of_q8(i);
    scales[b >> 1u] |= d << (16u * (b & 1u));
    let at = unit * WORDS + 1u + 2u * b;
    let v = half_of(d);
    y[at] = vec4u(bytes(i, v), bytes(i + 4u, v), bytes(i + 8u, v), bytes(i + 12u, v));
    y[at + 1u] = vec4u(bytes(i + 16u, v), bytes(i + 20u, v), bytes(i + 24u, v), bytes(i + 28u, v));
  }
  y[unit * WORDS] = scales;
}
fn make_q4(unit: u32) {
  let first = unit * UNIT;
  var scales = vec4u(0u);
  for (var b = 0u; b < 4u; b++) {
    let i = first + 32u * b;
    scales[b] = scale_of_q4(i);
    let s = unpack2x16float(scales[b]);
    y[unit * WORDS + 1u + b] = vec4u(nibbles(i, s), nibbles(i + 8u, s), nibbles(i + 16u, s), nibbles(i + 24u, s));
  }
  y[unit * WORDS] = scales;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) num: vec3u, @builtin(local_invocation_index) lane: u32) {
  let unit = (wid.x + wid.y * num.x) * WG + lane;
  if (unit * UNIT < p.n) { make_unit(unit); }
}
