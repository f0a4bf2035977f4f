// y[r] = x[r] where the element is among the largest of its row, else a value that has no probability. x, y: [rows, cols]
// in order. An element stays if what is above it weighs less than `limit`: each weighs 1 (the largest `limit`, all that
// equal the last of them too), or its probability (the smallest set with so much of it; of equal elements the first ones).
// A workgroup has a row, a thread a run of adjacent elements. The least element that stays is found bit by bit, two at a
// time. Sums are taken in runs, then over 16 runs, then over those, in ascending order: the canonical order of this op.
alias X = f32;              // how x and y are stored
alias Y = f32;
const WG: u32 = 256;        // threads of a workgroup: part of the canonical order
const EQUALS: bool = true;  // all elements that equal the least one stay
alias V = f32;              // functions of the library are of one element
alias VI = i32;
alias VU = u32;

struct Params { rows: u32, cols: u32, limit: f32 }
@group(0) @binding(0) var<storage, read> x: array<X>;
@group(0) @binding(1) var<storage, read_write> y: array<Y>;  // weights at first
@group(0) @binding(2) var<uniform> p: Params;

fn x_at(i: u32) -> f32 { return x[i]; }
fn exp_(x: V) -> V { return exp(x); }

var<workgroup> parts: array<vec3f, WG>;
var<workgroup> sums: array<vec3f, 16>;

// Over all threads. Every thread of the workgroup calls it.
fn total(part: vec3f, lane: u32) -> vec3f {
  parts[lane] = part;
  workgroupBarrier();
  if (lane < 16u) {
    var s = vec3f(0.0);
    for (var i = 0u; i < 16u; i++) { s += parts[lane * 16u + i]; }
    sums[lane] = s;
  }
  workgroupBarrier();
  var s = vec3f(0.0);
  for (var i = 0u; i < 16u; i++) { s += sums[i]; }
  return s;
}
fn highest(part: f32, lane: u32) -> f32 {
  parts[lane] = vec3f(part);
  workgroupBarrier();
  var top = parts[0].x;
  for (var i = 1u; i < WG; i++) { top = select(top, parts[i].x, parts[i].x > top); }
  workgroupBarrier();
  return top;
}

// Unsigned integers in the order of the floats; -0 and 0 are one.
fn order(v: f32) -> u32 {
  let bits = select(bitcast<u32>(v), 0u, v == 0.0);
  return bits ^ select(0x80000000u, 0xffffffffu, bits >= 0x80000000u);
}

fn weight(v: f32, top: f32) -> f32 { return one(v, top); }
fn one(v: f32, top: f32) -> f32 { return 1.0; }
fn probability(v: f32, top: f32) -> f32 { return exp_(v - top); }
// The limit in units of the weights.
fn limit_of(all: f32) -> f32 { return limit_is(all); }
fn limit_is(all: f32) -> f32 { return p.limit; }
fn limit_share(all: f32) -> f32 { return p.limit * all; }

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) num: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = wid.x + wid.y * num.x;
  let run = (p.cols + WG - 1u) / WG;
  let first = min(lane * run, p.cols);
  let end = select(min(first + run, p.cols), first, row >= p.rows);
  let base = min(row, p.rows - 1u) * p.cols;

  var top = x_at(base + min(first, p.cols - 1u));
  for (var i = first; i < end; i++) {
    let v = x_at(base + i);
    top = select(top, v, v > top);
  }
  top = highest(top, lane);
  var all = 0.0;
  for (var i = first; i < end; i++) {
    let w = weight(x_at(base + i), top);
    y[base + i] = w;
    all += w;
  }
  let limit = limit_of(total(vec3f(all), lane).x);

  // the smallest `least` that has less than the limit above it
  var least = 0xffffffffu;
  for (var shift = 30u; shift < 32u; shift -= 2u) { // ends where it passes below 0
    let tries = vec3u(least) - (vec3u(1u, 2u, 3u) << vec3u(shift));
    var above = vec3f(0.0);
    for (var i = first; i < end; i++) {
      above += select(vec3f(0.0), vec3f(y[base + i]), vec3u(order(x_at(base + i))) > tries);
    }
    let s = total(above, lane);
    least = select(least, tries.x, s.x < limit);
    least = select(least, tries.y, s.y < limit);
    least = select(least, tries.z, s.z < limit);
  }

  // of what equals it the first stay, as long as less than the limit is before them
  var over = 0.0;
  var equals = 0.0;
  for (var i = first; i < end; i++) {
    let k = order(x_at(base + i));
    over += select(0.0, y[base + i], k > least);
    equals += select(0.0, 1.0, k == least);
  }
  let above = total(vec3f(over), lane).x;
  _ = total(vec3f(equals), lane); // for what it leaves in `parts`: the count of each thread
  var before = 0.0;
  for (var i = 0u; i < lane; i++) { before += parts[i].x; }
  for (var at = base + first; at < base + end; at++) {
    let v = x_at(at);
    let k = order(v);
    var stays = k > least || (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u; // NaN is for the draw to find
    if (k == least) {
      stays = EQUALS || fma(before, y[at], above) < limit;
      before += 1.0;
    }
    y[at] = select(-3.4028234663852886e38, v, stays);
  }
}
