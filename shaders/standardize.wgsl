// y[r] = (x[r] - mean) / sqrt(variance + eps), the heart of layer norm; or x[r] / sqrt(mean of squares + eps), of rms norm.
// x, y: [rows, cols] in order. A thread has a row: mean, variance about it, result.
alias X = f32;             // how x and y are stored
alias Y = f32;
const WG: u32 = 64;        // threads of a workgroup
const CENTER: bool = true; // subtract the mean
alias V = vec4f;

struct Params { rows: u32, cols: u32, eps: f32 }
@group(0) @binding(0) var<storage, read> x: array<X>;
@group(0) @binding(1) var<storage, read_write> y: array<Y>;
@group(0) @binding(2) var<uniform> p: Params;

fn x_quad(i: u32) -> vec4f { return vec4f(x[i], x[i + 1u], x[i + 2u], x[i + 3u]); }
fn y_some(i: u32, v: vec4f, left: u32) { for (var j = 0u; j < min(left, 4u); j++) { y[i + j] = v[j]; } }
fn epilogue(v: vec4f, i: u32, column: u32) -> vec4f { return v; }

const ROW_SEGMENT: u32 = 4096u;
fn row_tree(even: V, odd: V) -> f32 { return dot(even + odd, V(1.0)); }
fn row_head(v: V, left: u32) -> V { return select(V(0.0), v, vec4u(0u, 1u, 2u, 3u) < vec4u(left)); }

// a sum with an element more, or with its square
fn more(sum: V, a: V, squares: bool) -> V { return select(sum + a, fma(a, a, sum), squares); }

// mean over the row of x, or of (x - center)^2
fn mean_of(first: u32, end: u32, center: f32, squares: bool) -> f32 {
  var sum = 0.0;
  for (var begin = first; begin < end; begin += ROW_SEGMENT) {
    let stop = min(begin + ROW_SEGMENT, end);
    var even = V(0.0);
    var odd = V(0.0);
    var k = begin;
    for (; k + 8u <= stop; k += 8u) {
      even = more(even, x_quad(k) - center, squares);
      odd = more(odd, x_quad(k + 4u) - center, squares);
    }
    if (k < stop) { even = more(even, row_head(x_quad(k) - center, stop - k), squares); }
    if (k + 4u < stop) { odd = more(odd, row_head(x_quad(k + 4u) - center, stop - k - 4u), squares); }
    sum += row_tree(even, odd);
  }
  return sum / f32(end - first);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) num: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = (wid.x + wid.y * num.x) * WG + lane;
  if (row >= p.rows) { return; }
  let first = row * p.cols;
  let end = first + p.cols;
  var center = 0.0;
  if (CENTER) { center = mean_of(first, end, 0.0, false); }
  let scale = 1.0 / sqrt(mean_of(first, end, center, true) + p.eps);
  for (var k = first; k < end; k += 4u) { y_some(k, epilogue((x_quad(k) - center) * scale, k, k - first), end - k); }
}
