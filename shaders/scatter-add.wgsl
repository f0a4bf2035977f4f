// Rows added up where an index says, the transpose of gather: y[o, s, k] is the sum, in the order of j, of the x[o, j, k] with
// index[o, j, k] = s. x: [outer, count, inner], index: [outer, count, spread], spread being inner or 1, y: [outer, size,
// inner], all in order. A thread has row s of y where the row moves as a whole, else an element of it. An index out of
// range is taken to the nearest, as in gather.
alias E = f32;             // f32, or vec4f where rows are whole quads and move as a whole
alias INDEX = i32;         // how index is stored
const WG: u32 = 64;        // threads of a workgroup

struct Params { n: u32, size: u32, count: u32, inner: u32, spread: u32 }  // n: threads; inner in units of E
@group(0) @binding(0) var<storage, read> x: array<E>;
@group(0) @binding(1) var<storage, read> index: array<INDEX>;
@group(0) @binding(2) var<storage, read_write> y: array<E>;
@group(0) @binding(3) var<uniform> p: Params;

fn x_at(i: u32) -> E { return x[i]; }
fn index_at(i: u32) -> i32 { return index[i]; }
fn y_at(i: u32) -> E { return y[i]; }
fn y_set(i: u32, v: E) { y[i] = v; }

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) num: vec3u, @builtin(local_invocation_index) lane: u32) {
  let thread = (wid.x + wid.y * num.x) * WG + lane;
  if (thread >= p.n) { return; }
  let row = thread / p.spread;
  let k = thread - row * p.spread;
  let width = p.inner / p.spread;
  let outer = row / p.size;
  let s = i32(row - outer * p.size);
  let to = row * p.inner + k;
  for (var c = 0u; c < width; c++) { y_set(to + c, E(0.0)); }
  for (var j = outer * p.count; j < (outer + 1u) * p.count; j++) {
    if (clamp(index_at(j * p.spread + k), 0, i32(p.size) - 1) != s) { continue; }
    for (var c = 0u; c < width; c++) { y_set(to + c, y_at(to + c) + x_at(j * p.inner + k + c)); }
  }
}
