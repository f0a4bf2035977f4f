// Copies rows into wider rows: y[r, start * inner + k] = x[r, k]. x: [rows, block], y: [rows, total], of any type of four
// bytes, moved as bits. A thread moves one E.
alias E = u32;             // u32, or vec4u where block, total and inner are whole quads
alias X = u32;             // how x is stored
const WG: u32 = 64;

struct Params { n: u32, block: u32, total: u32, inner: u32, start: u32 }  // all but start in units of E; n: of all of x
@group(0) @binding(0) var<storage, read> x: array<X>;
@group(0) @binding(1) var<storage, read_write> y: array<E>;
@group(0) @binding(2) var<uniform> p: Params;

fn x_at(i: u32) -> f32 { return f32(x[i]); }
fn x_quad(i: u32) -> vec4f { return vec4f(f32(x[i]), f32(x[i + 1u]), f32(x[i + 2u]), f32(x[i + 3u])); }
fn x_bits(i: u32) -> E { return bitcast<E>(x[i]); }
fn y_set(i: u32, v: E) { y[i] = v; }

// one E; of floats by their values, which may be computed as they are read
fn moved(i: u32) -> E { return x_bits(i); }
fn moved_one(i: u32) -> E { return bitcast<E>(x_at(i)); }
fn moved_quad(i: u32) -> vec4u { return bitcast<vec4u>(x_quad(4u * i)); }

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) num: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (wid.x + wid.y * num.x) * WG + lane;
  if (i >= p.n) { return; }
  let row = i / p.block;
  y_set(row * p.total + p.start * p.inner + i - row * p.block, moved(i));
}
