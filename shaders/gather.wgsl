// y[o, j, k] = x[o, index[o, j, k], k], as torch.gather; a row of a table for each index where index does not depend on k.
// x: [outer, size, inner], index: [outer, count, spread], spread being inner or 1, y: [outer, count, inner], all in order.
// A thread makes UNIT elements of y. An index out of range is taken to the nearest.
alias X = f32;             // how x, index and y are stored
alias INDEX = i32;
alias Y = f32;
alias T = vec4f;           // four elements: integers move as such
const WG: u32 = 64;        // threads of a workgroup
const UNIT: u32 = 4;       // or 16

struct Params { n: u32, size: u32, count: u32, inner: u32, spread: u32 }  // n: elements of y
@group(0) @binding(0) var<storage, read> x: array<X>;
@group(0) @binding(1) var<storage, read> index: array<INDEX>;
@group(0) @binding(2) var<storage, read_write> y: array<Y>;
@group(0) @binding(3) var<uniform> p: Params;

fn x_at(i: u32) -> f32 { return x[i]; }
fn x_quad(i: u32) -> vec4f { return vec4f(x[i], x[i + 1u], x[i + 2u], x[i + 3u]); }
fn index_at(i: u32) -> i32 { return index[i]; }
fn y_put(i: u32, v: T) { for (var j = 0u; j < 4u; j++) { y[i + j] = v[j]; } }

// where the element i of y comes from
fn source(i: u32) -> u32 {
  let row = i / p.inner;
  let k = i - row * p.inner;
  let at = clamp(index_at(row * p.spread + min(k, p.spread - 1u)), 0, i32(p.size) - 1);
  return (row / p.count * p.size + u32(at)) * p.inner + k;
}
fn each(i: u32) -> T { return T(x_at(source(i)), x_at(source(i + 1u)), x_at(source(i + 2u)), x_at(source(i + 3u))); }

// the elements of a thread: four from anywhere, or UNIT of one row, whose place costs divisions
fn move_each(i: u32) { y_put(i, each(i)); }
fn move_together(i: u32) {
  let at = source(i);
  y_put(i, x_quad(at));
  if (UNIT > 4u) {
    y_put(i + 4u, x_quad(at + 4u));
    y_put(i + 8u, x_quad(at + 8u));
    y_put(i + 12u, x_quad(at + 12u));
  }
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) num: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = ((wid.x + wid.y * num.x) * WG + lane) * UNIT;
  if (i < p.n) { move_each(i); }
}
