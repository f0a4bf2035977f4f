// y[o, d, m, l] = x[o, m, l, d], where l lies `stride` apart in x: the copy of a view whose last dimension is not the one
// that is together in memory. x: any strides but that of d, which is 1; y: [outer, deep, middle, last] in order.
// A thread turns a block of four by four: element by element, a copy would load four times for each quad.
alias X = f32;             // how x and y are stored
alias Y = f32;
alias T = vec4f;           // four elements: integers move as such
const WG: u32 = 64;        // threads of a workgroup

struct Params {
  outer: u32, deep: u32, middle: u32, last: u32,
  x_offset: u32, x_outer: u32, x_middle: u32, x_last: u32, // strides of x
}
@group(0) @binding(0) var<storage, read> x: array<X>;
@group(0) @binding(1) var<storage, read_write> y: array<Y>;
@group(0) @binding(2) var<uniform> p: Params;

fn x_quad(i: u32) -> T { return T(x[i], x[i + 1u], x[i + 2u], x[i + 3u]); }
fn y_some(i: u32, v: T, left: u32) { for (var j = 0u; j < min(left, 4u); j++) { y[i + j] = v[j]; } }

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) num: vec3u, @builtin(local_invocation_index) lane: u32) {
  let thread = (wid.x + wid.y * num.x) * WG + lane;
  let across = (p.last + 3u) / 4u;
  let down = (p.deep + 3u) / 4u;
  let a = thread / across;
  let b = a / p.middle;
  let o = b / down;
  if (o >= p.outer) { return; }
  let l = 4u * (thread - a * across);
  let m = a - b * p.middle;
  let d = 4u * (b - o * down);

  let source = p.x_offset + o * p.x_outer + m * p.x_middle + l * p.x_last + d;
  let v = array<T, 4>(x_quad(source), x_quad(source + p.x_last), x_quad(source + 2u * p.x_last), x_quad(source + 3u * p.x_last));
  let at = ((o * p.deep + d) * p.middle + m) * p.last + l;
  let step = p.middle * p.last;
  let left = p.last - l;
  y_some(at, T(v[0].x, v[1].x, v[2].x, v[3].x), left);
  if (d + 1u < p.deep) { y_some(at + step, T(v[0].y, v[1].y, v[2].y, v[3].y), left); }
  if (d + 2u < p.deep) { y_some(at + 2u * step, T(v[0].z, v[1].z, v[2].z, v[3].z), left); }
  if (d + 3u < p.deep) { y_some(at + 3u * step, T(v[0].w, v[1].w, v[2].w, v[3].w), left); }
}
