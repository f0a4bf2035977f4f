// y[r] = softmax(x[r]) or its logarithm. x, y: [rows, cols] in order. A thread, or LANES of them together, pass over a row
// three times: maximum, sum of exp(x - maximum), result.
alias X = f32;             // how x and y are stored
alias Y = f32;
const WG: u32 = 64;        // threads of a workgroup
const LANES: u32 = 1;      // threads of a row: 1, or 8 with the functions _of_lanes
alias V = vec4f;

struct Params { rows: u32, cols: u32 }
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

fn exp_(x: V) -> V { return exp(x); }
fn log_(x: V) -> V { return log(x); }
const ROW_SEGMENT: u32 = 4096u;
fn row_tree(even: V, odd: V) -> f32 { return dot(even + odd, V(1.0)); }
fn row_head(v: V, left: u32) -> V { return select(V(0.0), v, vec4u(0u, 1u, 2u, 3u) < vec4u(left)); }

// The result from d = x - maximum and the sum of exp(d).
fn result(d: V, sum: f32) -> V { return probability(d, sum); }
fn probability(d: V, sum: f32) -> V {
  let y = exp_(d) / sum;
  return select(y, V(0.0), y < V(1.17549435e-38)); // adapters differ in what they do with subnormal numbers
}
fn log_probability(d: V, sum: f32) -> V { return d - log_(V(sum)); }

// Without lanes a thread past the last row ends; with them it helps with the last, as all must meet.
fn past(row: u32) -> bool { return row >= p.rows; }
fn past_of_lanes(row: u32) -> bool { return false; }

fn row_max_of_lanes(v: f32, lane: u32) -> f32 { return v; }
fn row_tree_of_lanes(v: f32, lane: u32) -> f32 { return v; }
fn highest(v: f32, lane: u32) -> f32 { return v; }
fn highest_of_lanes(v: f32, lane: u32) -> f32 { return row_max_of_lanes(v, lane); }

// the sum of exp(x - most) over a segment
fn segment(begin: u32, end: u32, most: f32, lane: u32) -> f32 {
  var even = V(0.0);
  var odd = V(0.0);
  var k = begin;
  for (; k + 8u <= end; k += 8u) {
    even += exp_(x_quad(k) - most);
    odd += exp_(x_quad(k + 4u) - most);
  }
  if (k < end) { even += row_head(exp_(x_quad(k) - most), end - k); }
  if (k + 4u < end) { odd += row_head(exp_(x_quad(k + 4u) - most), end - k - 4u); }
  return row_tree(even, odd);
}
fn segment_of_lanes(begin: u32, end: u32, most: f32, lane: u32) -> f32 {
  var part = 0.0;
  for (var k = begin + lane % LANES; k < end; k += LANES) { part += exp_(V(x_at(k) - most)).x; }
  return row_tree_of_lanes(part, lane);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) num: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = ((wid.x + wid.y * num.x) * WG + lane) / LANES;
  if (past(row)) { return; }
  let first = min(row, p.rows - 1u) * p.cols;
  let end = first + p.cols;
  let own = 4u * (lane % LANES);

  var top = V(x_at(first));
  var i = first + own;
  for (; i + 4u <= end; i += 4u * LANES) { top = max(top, x_quad(i)); }
  for (; i < end; i++) { top.x = max(top.x, x_at(i)); }
  let most = highest(max(max(top.x, top.z), max(top.y, top.w)), lane);

  var sum = 0.0;
  for (var at = 0u; at < p.cols; at += ROW_SEGMENT) {
    sum += segment(first + at, first + min(at + ROW_SEGMENT, p.cols), most, lane);
  }

  for (var k = first + own; k < end; k += 4u * LANES) { y_some(k, result(x_quad(k) - most, sum), end - k); }
}
