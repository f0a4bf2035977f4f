// y[n, o, oy, ox] = epilogue(sum over c, i, j of x[n, c, oy * stride + i * dilation - pad, ...] * w[o, c, i, j]), x being
// zero outside. The order of summation is canonical (docs/summation.md): segments of whole channels, in each (c, i, j)
// ascending, into an accumulator that starts at 0; their sums are added in order.
// A thread owns TILE_O channels of 4 rows of 4 neighbours; the threads of a workgroup have the same channels and other places.
// On software adapters a workgroup is one subgroup: each lane loads the weights of a channel and broadcasts them.
enable subgroups;

alias X = f32;               // how x, w and y are stored
alias W = f32;
alias Y = f32;
const WG: u32 = 8u;          // threads of a workgroup; with the forms _broadcast those of a subgroup, at least 4
const TILE_O: u32 = 8u;      // channels of a thread: 1, 4 or 8
const KERNEL_X: u32 = 3u;    // width of the window, up to 3, where windows are one apart

// Of x: strides and, in channels, what a group has; of w: strides, which may be negative.
struct Params {
  batch: u32, groups: u32, in_channels: u32, out_channels: u32, segment: u32,
  height: u32, width: u32, out_height: u32, out_width: u32,
  x_offset: u32, x_n: u32, x_c: u32, x_y: u32, x_x: u32,
  w_offset: u32, w_group: u32, w_o: u32, w_c: u32, w_i: u32, w_j: u32,
  kernel: vec2u, stride: vec2u, pad: vec2u, dilation: vec2u, spread: vec2u, // y, x
}
@group(0) @binding(0) var<storage, read> x: array<X>;
@group(0) @binding(1) var<storage, read> w: array<W>;
@group(0) @binding(2) var<storage, read_write> y: array<Y>;
@group(0) @binding(3) var<uniform> p: Params;

fn x_at(i: u32) -> f32 { return x[i]; }
fn w_at(i: u32) -> f32 { return w[i]; }
fn y_some(i: u32, v: vec4f, left: u32) { for (var j = 0u; j < min(left, 4u); j++) { y[i + j] = v[j]; } }
fn epilogue(v: vec4f, i: u32, column: u32) -> vec4f { return v; }

alias Rows = array<vec4f, 4>;   // four rows of four neighbours
alias Tile = array<Rows, 8>;    // of each channel, TILE_O in use

// Where a thread's tile begins, and the places that it reads from.
struct Place { n: u32, first: u32, channel: u32, oy: u32, ox: u32, x: u32, w: u32, near: Four, far: Four }

fn add_rows(a: Rows, b: Rows) -> Rows { return Rows(a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]); }
// Up to three neighbouring places of the window, one after the other.
alias Line = array<Rows, 3>;
fn add_terms(v: Line, k: vec3f, c: Rows) -> Rows {
  return Rows(add_four(v, 0u, k, c[0]), add_four(v, 1u, k, c[1]), add_four(v, 2u, k, c[2]), add_four(v, 3u, k, c[3]));
}
fn add_four(v: Line, row: u32, k: vec3f, c: vec4f) -> vec4f {
  var sum = fma(v[0][row], vec4f(k.x), c);
  if (KERNEL_X > 1u) { sum = fma(v[1][row], vec4f(k.y), sum); }
  if (KERNEL_X > 2u) { sum = fma(v[2][row], vec4f(k.z), sum); }
  return sum;
}

// The weights of one channel at these places.
fn weights(i: u32) -> vec3f {
  var k = vec3f(w_at(i), 0.0, 0.0);
  if (KERNEL_X > 1u) { k.y = w_at(i + p.w_j); }
  if (KERNEL_X > 2u) { k.z = w_at(i + 2u * p.w_j); }
  return k;
}

// Written out: SwiftShader unrolls no loop, and the lane of a broadcast is a constant.
fn add_line(c: ptr<function, Tile>, v: Line, i: u32, at: Place, lane: u32) {
  let last = p.out_channels - 1u - at.channel;
  (*c)[0] = add_terms(v, weights(i), (*c)[0]);
  if (TILE_O > 1u) {
    (*c)[1] = add_terms(v, weights(i + min(1u, last) * p.w_o), (*c)[1]);
    (*c)[2] = add_terms(v, weights(i + min(2u, last) * p.w_o), (*c)[2]);
    (*c)[3] = add_terms(v, weights(i + min(3u, last) * p.w_o), (*c)[3]);
  }
  if (TILE_O > 4u) {
    (*c)[4] = add_terms(v, weights(i + min(4u, last) * p.w_o), (*c)[4]);
    (*c)[5] = add_terms(v, weights(i + min(5u, last) * p.w_o), (*c)[5]);
    (*c)[6] = add_terms(v, weights(i + min(6u, last) * p.w_o), (*c)[6]);
    (*c)[7] = add_terms(v, weights(i + min(7u, last) * p.w_o), (*c)[7]);
  }
}
fn add_line_broadcast(c: ptr<function, Tile>, v: Line, i: u32, at: Place, lane: u32) {
  let last = p.out_channels - 1u - at.channel;
  let one = weights(i + min(lane, last) * p.w_o);
  (*c)[0] = add_terms(v, subgroupBroadcast(one, 0u), (*c)[0]);
  if (TILE_O > 1u) {
    (*c)[1] = add_terms(v, subgroupBroadcast(one, 1u), (*c)[1]);
    (*c)[2] = add_terms(v, subgroupBroadcast(one, 2u), (*c)[2]);
    (*c)[3] = add_terms(v, subgroupBroadcast(one, 3u), (*c)[3]);
  }
  if (TILE_O > 4u) {
    var two = one;
    if (WG < 8u) { two = weights(i + min(lane + 4u, last) * p.w_o); }
    (*c)[4] = add_terms(v, subgroupBroadcast(two, 4u % WG), (*c)[4]);
    (*c)[5] = add_terms(v, subgroupBroadcast(two, 5u % WG), (*c)[5]);
    (*c)[6] = add_terms(v, subgroupBroadcast(two, 6u % WG), (*c)[6]);
    (*c)[7] = add_terms(v, subgroupBroadcast(two, 7u % WG), (*c)[7]);
  }
}

// Four neighbours in x, `step` apart: where they lie in a row, and which are there. Below zero wraps and is outside too.
struct Four { at: vec4u, isIn: vec4<bool> }
fn four(column: u32, step: u32) -> Four {
  let c = vec4u(column, column + step, column + 2u * step, column + 3u * step);
  return Four(min(c, vec4u(p.width - 1u)) * p.x_x, c < vec4u(p.width));
}
fn row_at(row: u32) -> u32 { return min(row, p.height - 1u) * p.x_y; }
fn row_in(row: u32) -> bool { return row < p.height; }
// The same of x with zeros between its elements.
fn four_of_spread(column: u32, step: u32) -> Four {
  let c = vec4u(column, column + step, column + 2u * step, column + 3u * step);
  let at = c / p.spread.y;
  return Four(min(at, vec4u(p.width - 1u)) * p.x_x, (at < vec4u(p.width)) & (at * p.spread.y == c));
}
fn row_at_of_spread(row: u32) -> u32 { return min(row / p.spread.x, p.height - 1u) * p.x_y; }
fn row_in_of_spread(row: u32) -> bool { return row / p.spread.x < p.height && row % p.spread.x == 0u; }
// And of x with each element as often as p.spread says, width and height being those that it has so.
fn four_of_repeated(column: u32, step: u32) -> Four {
  let c = vec4u(column, column + step, column + 2u * step, column + 3u * step);
  return Four(min(c, vec4u(p.width - 1u)) / p.spread.y * p.x_x, c < vec4u(p.width));
}
fn row_at_of_repeated(row: u32) -> u32 { return min(row, p.height - 1u) / p.spread.x * p.x_y; }

fn load(i: u32, f: Four, isIn: bool) -> vec4f {
  let v = vec4f(x_at(i + f.at.x), x_at(i + f.at.y), x_at(i + f.at.z), x_at(i + f.at.w));
  return select(vec4f(0.0), v, f.isIn & vec4<bool>(isIn));
}

// The terms of one channel: any window.
fn add_channel_of_any(c: ptr<function, Tile>, xi: u32, wi: u32, at: Place, lane: u32) {
  for (var i = 0u; i < p.kernel.x; i++) {
    let r = at.oy * p.stride.x + i * p.dilation.x - p.pad.x;
    let s = r + p.stride.x;
    let t = s + p.stride.x;
    let u = t + p.stride.x;
    for (var j = 0u; j < p.kernel.y; j++) {
      let f = four(at.ox * p.stride.y + j * p.dilation.y - p.pad.y, p.stride.y);
      let v = Rows(
        load(xi + row_at(r), f, row_in(r)), load(xi + row_at(s), f, row_in(s)),
        load(xi + row_at(t), f, row_in(t)), load(xi + row_at(u), f, row_in(u)),
      );
      add_line(c, Line(v, v, v), wi + i * p.w_i + j * p.w_j, at, lane);
    }
  }
}

// The same of windows up to 3 wide and one apart: rows of x pass by, each element is loaded once.
struct Strip { a: vec4f, b: vec2f } // six neighbours
fn strip(row: u32, i: u32, at: Place) -> Strip {
  let isIn = row_in(row);
  let k = i + row_at(row);
  var s = Strip(load(k, at.near, isIn), vec2f());
  if (KERNEL_X > 1u) { s.b.x = select(0.0, x_at(k + at.far.at.x), at.far.isIn.x && isIn); }
  if (KERNEL_X > 2u) { s.b.y = select(0.0, x_at(k + at.far.at.y), at.far.isIn.y && isIn); }
  return s;
}
fn add_channel(c: ptr<function, Tile>, xi: u32, wi: u32, at: Place, lane: u32) {
  let row = at.oy - p.pad.x;
  var s0 = Strip();
  var s1 = Strip();
  var s2 = Strip();
  for (var r = row; r != row + 3u; r++) {
    s0 = s1; s1 = s2; s2 = strip(r, xi, at);
  }
  for (var i = 0u; i < p.kernel.x; i++) {
    let s3 = strip(row + 3u + i, xi, at);
    var v: Line;
    v[0] = Rows(s0.a, s1.a, s2.a, s3.a);
    if (KERNEL_X > 1u) { v[1] = Rows(one_on(s0), one_on(s1), one_on(s2), one_on(s3)); }
    if (KERNEL_X > 2u) { v[2] = Rows(two_on(s0), two_on(s1), two_on(s2), two_on(s3)); }
    add_line(c, v, wi + i * p.w_i, at, lane);
    s0 = s1; s1 = s2; s2 = s3;
  }
}
fn one_on(s: Strip) -> vec4f { return vec4f(s.a.yzw, s.b.x); }
fn two_on(s: Strip) -> vec4f { return vec4f(s.a.zw, s.b); }

fn add_tiles(t: ptr<function, Tile>, c: ptr<function, Tile>) {
  (*t)[0] = add_rows((*t)[0], (*c)[0]);
  if (TILE_O > 1u) {
    (*t)[1] = add_rows((*t)[1], (*c)[1]); (*t)[2] = add_rows((*t)[2], (*c)[2]); (*t)[3] = add_rows((*t)[3], (*c)[3]);
  }
  if (TILE_O > 4u) {
    (*t)[4] = add_rows((*t)[4], (*c)[4]); (*t)[5] = add_rows((*t)[5], (*c)[5]);
    (*t)[6] = add_rows((*t)[6], (*c)[6]); (*t)[7] = add_rows((*t)[7], (*c)[7]);
  }
}

// `once` is 1. The compiler must not see the trip count: unrolled, this loop would take most of the compile time.
fn finish(total: ptr<function, Tile>, at: Place, once: u32) {
  for (var k = 0u; k < 4u * TILE_O * once; k++) {
    let o = at.channel + k / 4u;
    let oy = at.oy + k % 4u;
    if (o >= p.out_channels || oy >= p.out_height) { continue; }
    let i = (((at.n * p.groups * p.out_channels) + at.first + o) * p.out_height + oy) * p.out_width + at.ox;
    y_some(i, epilogue((*total)[k / 4u][k % 4u], i, at.ox), p.out_width - at.ox);
  }
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) num: vec3u, @builtin(local_invocation_index) lane: u32) {
  let tiles_x = (p.out_width + 3u) / 4u;
  let tiles = tiles_x * ((p.out_height + 3u) / 4u);
  let strips = (p.batch * tiles + WG - 1u) / WG;
  let parts = (p.out_channels + TILE_O - 1u) / TILE_O;
  let job = wid.x + wid.y * num.x;
  if (job >= strips * parts * p.groups) { return; }
  let part = job / strips; // neighbours in time share weights
  let tile = (job - part * strips) * WG + lane;
  let isPast = tile >= p.batch * tiles; // helps with the loads
  let n = min(tile / tiles, p.batch - 1u);
  let place = tile - n * tiles;
  let group = part / parts;
  let channel = TILE_O * (part - group * parts);
  let oy = place / tiles_x;
  let ox = 4u * (place - oy * tiles_x);
  let at = Place(
    n, group * p.out_channels, channel,
    select(oy * 4u, p.out_height, isPast),
    ox,
    p.x_offset + n * p.x_n + group * p.in_channels * p.x_c,
    p.w_offset + group * p.w_group + channel * p.w_o,
    four(ox - p.pad.y, 1u), four(ox + 4u - p.pad.y, 1u),
  );
  var total: Tile;
  for (var start = 0u; start < p.in_channels; start += p.segment) {
    var c = Tile(); // a bare `var c: Tile` keeps its value from pass to pass in Dawn
    for (var k = start; k < min(start + p.segment, p.in_channels); k++) { add_channel(&c, at.x + k * p.x_c, at.w + k * p.w_c, at, lane); }
    add_tiles(&total, &c);
  }
  finish(&total, at, num.z);
}
