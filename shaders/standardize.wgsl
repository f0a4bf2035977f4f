// y[r] = (x[r] - mean) / sqrt(variance + eps), the heart of layer norm; or x[r] / sqrt(mean of squares + eps), of rms norm.
// x, y: [rows, cols] in order. A thread, or LANES of them together, have a row: mean, variance about it, result.
alias X = f32;             // how x and y are stored
alias Y = f32;
const WG: u32 = 64;        // threads of a workgroup
const LANES: u32 = 1;      // threads of a row: 1, or 8 with the functions _of_lanes
const CENTER: bool = true; // subtract the mean
const LONG: bool = false;  // more quads to a pass: SwiftShader pays for a pass as for two loads
alias V = vec4f;

struct Params { rows: u32, cols: u32, eps: f32 }
@group(0) @binding(0) var<storage, read> x: array<X>;
@group(0) @binding(1) var<storage, read_write> y: array<Y>;
@group(0) @binding(2) var<uniform> p: Params;

fn x_at(i: u32) -> f32 { return x[i]; }
fn x_quad(i: u32) -> vec4f { return vec4f(x[i], x[i + 1u], x[i + 2u], x[i + 3u]); }
fn y_some(i: u32, v: vec4f, left: u32) {
  y[i] = v.x;
  if (left > 1u) { y[i + 1u] = v.y; }
  if (left > 2u) { y[i + 2u] = v.z; }
  if (left > 3u) { y[i + 3u] = v.w; }
}
fn epilogue(v: vec4f, i: u32, column: u32) -> vec4f { return v; }

const ROW_SEGMENT: u32 = 4096u;
fn row_tree(even: V, odd: V) -> f32 { return dot(even + odd, V(1.0)); }
fn row_head(v: V, left: u32) -> V { return select(V(0.0), v, vec4u(0u, 1u, 2u, 3u) < vec4u(left)); }

// a sum with an element more, or with its square
fn more(sum: V, a: V, squares: bool) -> V { return select(sum + a, fma(a, a, sum), squares); }
fn four_more(sum: V, k: u32, center: f32, squares: bool) -> V {
  let two = more(more(sum, x_quad(k) - center, squares), x_quad(k + 8u) - center, squares);
  return more(more(two, x_quad(k + 16u) - center, squares), x_quad(k + 24u) - center, squares);
}

// Without lanes a thread past the last row ends; with them it helps with the last, as all must meet.
fn past(row: u32) -> bool { return row >= p.rows; }
fn past_of_lanes(row: u32) -> bool { return false; }

// the sum over a segment of x - center, or of its square
fn segment(begin: u32, end: u32, center: f32, squares: bool, lane: u32) -> f32 {
  var even = V(0.0);
  var odd = V(0.0);
  var k = begin;
  if (LONG) {
    for (; k + 32u <= end; k += 32u) {
      even = four_more(even, k, center, squares);
      odd = four_more(odd, k + 4u, center, squares);
    }
  }
  for (; k + 8u <= end; k += 8u) {
    even = more(even, x_quad(k) - center, squares);
    odd = more(odd, x_quad(k + 4u) - center, squares);
  }
  if (k < end) { even = more(even, row_head(x_quad(k) - center, end - k), squares); }
  if (k + 4u < end) { odd = more(odd, row_head(x_quad(k + 4u) - center, end - k - 4u), squares); }
  return row_tree(even, odd);
}
fn row_tree_of_lanes(v: f32, lane: u32) -> f32 { return v; }
fn segment_of_lanes(begin: u32, end: u32, center: f32, squares: bool, lane: u32) -> f32 {
  var part = 0.0;
  for (var k = begin + lane % LANES; k < end; k += LANES) { part = more(V(part), V(x_at(k) - center), squares).x; }
  return row_tree_of_lanes(part, lane);
}

// mean over the row of x, or of (x - center)^2
fn mean_of(first: u32, center: f32, squares: bool, lane: u32) -> f32 {
  var sum = 0.0;
  for (var at = 0u; at < p.cols; at += ROW_SEGMENT) {
    sum += segment(first + at, first + min(at + ROW_SEGMENT, p.cols), center, squares, lane);
  }
  return sum / f32(p.cols);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) num: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = ((wid.x + wid.y * num.x) * WG + lane) / LANES;
  if (past(row)) { return; }
  let first = min(row, p.rows - 1u) * p.cols;
  let end = first + p.cols;
  var center = 0.0;
  if (CENTER) { center = mean_of(first, 0.0, false, lane); }
  let scale = 1.0 / sqrt(mean_of(first, center, true, lane) + p.eps);
  var k = first + 4u * (lane % LANES);
  if (LONG) {
    for (; k + 16u <= end; k += 16u) {
      put(k, first, end, center, scale);
      put(k + 4u, first, end, center, scale);
      put(k + 8u, first, end, center, scale);
      put(k + 12u, first, end, center, scale);
    }
  }
  for (; k < end; k += 4u * LANES) { put(k, first, end, center, scale); }
}
fn put(k: u32, first: u32, end: u32, center: f32, scale: f32) {
  y_some(k, epilogue((x_quad(k) - center) * scale, k, k - first), end - k);
}
