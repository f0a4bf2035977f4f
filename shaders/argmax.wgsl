// y[r] = the place of the largest element of row r, the first of them; of NaN, if there is one. x: [rows, cols] in order,
// y: [rows]. A thread has a row.
alias X = f32;             // how x is stored
alias Y = i32;
const WG: u32 = 64;        // threads of a workgroup

struct Params { rows: u32, cols: u32 }
@group(0) @binding(0) var<storage, read> x: array<X>;
@group(0) @binding(1) var<storage, read_write> y: array<Y>;
@group(0) @binding(2) var<uniform> p: Params;

fn x_at(i: u32) -> f32 { return x[i]; }
fn is_nan(x: vec4f) -> vec4<bool> { return x != x; }

// Which is preferred.
fn beats(v: f32, best: f32) -> bool { return v > best; }
fn is_less(v: f32, best: f32) -> bool { return v < best; }

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) num: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = (wid.x + wid.y * num.x) * WG + lane;
  if (row >= p.rows) { return; }
  let first = row * p.cols;
  var best = x_at(first);
  var place = 0u;
  for (var k = 1u; k < p.cols; k++) {
    if (is_nan(vec4f(best)).x) { break; }
    let v = x_at(first + k);
    if (beats(v, best) || is_nan(vec4f(v)).x) {
      best = v;
      place = k;
    }
  }
  y[row] = i32(place);
}
