// y[r] = softmax(x[r]) or its logarithm. x, y: [rows, cols] in order. A thread has a row and passes over it three times:
// maximum, sum of exp(x - maximum), result.
alias X = f32;             // how x and y are stored
alias Y = f32;
const WG: u32 = 64;        // threads of a workgroup
alias V = vec4f;

struct Params { rows: u32, cols: u32 }
@group(0) @binding(0) var<storage, read> x: array<X>;
@group(0) @binding(1) var<storage, read_write> y: array<Y>;
@group(0) @binding(2) var<uniform> p: Params;

fn x_at(i: u32) -> f32 { return x[i]; }
fn x_quad(i: u32) -> vec4f { return vec4f(x[i], x[i + 1u], x[i + 2u], x[i + 3u]); }
fn y_some(i: u32, v: vec4f, left: u32) { for (var j = 0u; j < min(left, 4u); j++) { y[i + j] = v[j]; } }

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

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) num: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = (wid.x + wid.y * num.x) * WG + lane;
  if (row >= p.rows) { return; }
  let first = row * p.cols;
  let end = first + p.cols;

  var top = V(x_at(first));
  var i = first;
  for (; i + 4u <= end; i += 4u) { top = max(top, x_quad(i)); }
  for (; i < end; i++) { top.x = max(top.x, x_at(i)); }
  let most = max(max(top.x, top.z), max(top.y, top.w));

  var sum = 0.0;
  for (var begin = first; begin < end; begin += ROW_SEGMENT) {
    let stop = min(begin + ROW_SEGMENT, end);
    var even = V(0.0);
    var odd = V(0.0);
    var k = begin;
    for (; k + 8u <= stop; k += 8u) {
      even += exp_(x_quad(k) - most);
      odd += exp_(x_quad(k + 4u) - most);
    }
    if (k < stop) { even += row_head(exp_(x_quad(k) - most), stop - k); }
    if (k + 4u < stop) { odd += row_head(exp_(x_quad(k + 4u) - most), stop - k - 4u); }
    sum += row_tree(even, odd);
  }

  for (var k = first; k < end; k += 4u) { y_some(k, result(x_quad(k) - most, sum), end - k); }
}
