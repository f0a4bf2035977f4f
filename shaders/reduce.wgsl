// y[r, s] = the sum, maximum, ... of segment s of row r. x: [rows, cols] in order; y: [rows, segments]. A thread has a
// segment. The order of summation is canonical (docs/summation.md): eight interleaved partial results of a segment meet
// in a fixed tree; longer rows are reduced once more.
alias X = f32;                 // how x and y are stored
alias Y = f32;
const WG: u32 = 64;            // threads of a workgroup
const SEGMENT: u32 = 4096;     // a multiple of 8
const LONG: bool = false;      // eight quads to a pass: SwiftShader pays for a pass as for two loads
alias V = vec4f;

struct Params { n: u32, cols: u32, segments: u32 }  // n: elements of y
@group(0) @binding(0) var<storage, read> x: array<X>;
@group(0) @binding(1) var<storage, read_write> y: array<Y>;
@group(0) @binding(2) var<uniform> p: Params;

fn x_at(i: u32) -> f32 { return x[i]; }
fn x_quad(i: u32) -> vec4f { return vec4f(x[i], x[i + 1u], x[i + 2u], x[i + 3u]); }
fn y_set(i: u32, v: f32) { y[i] = v; }

// What is reduced: how two partial results meet, and what they start from, given an element.
fn meet(a: V, b: V) -> V { return a + b; }
fn start(x: f32) -> f32 { return 0.0; }

fn start_any(x: f32) -> f32 { return x; }

fn head(v: V, left: u32, fill: V) -> V { return select(fill, v, vec4u(0u, 1u, 2u, 3u) < vec4u(left)); }
fn join(v: V) -> f32 { return meet(meet(V(v.x), V(v.z)), meet(V(v.y), V(v.w))).x; }

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) num: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (wid.x + wid.y * num.x) * WG + lane;
  if (i >= p.n) { return; }
  let row = i / p.segments;
  let begin = (i - row * p.segments) * SEGMENT;
  let end = row * p.cols + min(begin + SEGMENT, p.cols);
  var k = row * p.cols + begin;
  let fill = V(start(x_at(k)));
  var even = fill;
  var odd = fill;
  if (LONG) {
    for (; k + 32u <= end; k += 32u) {
      even = meet(meet(meet(meet(even, x_quad(k)), x_quad(k + 8u)), x_quad(k + 16u)), x_quad(k + 24u));
      odd = meet(meet(meet(meet(odd, x_quad(k + 4u)), x_quad(k + 12u)), x_quad(k + 20u)), x_quad(k + 28u));
    }
  }
  for (; k + 8u <= end; k += 8u) {
    even = meet(even, x_quad(k));
    odd = meet(odd, x_quad(k + 4u));
  }
  if (k < end) { even = meet(even, head(x_quad(k), end - k, fill)); }
  if (k + 4u < end) { odd = meet(odd, head(x_quad(k + 4u), end - k - 4u, fill)); }
  y_set(i, join(meet(even, odd)));
}
