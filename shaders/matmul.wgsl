// y[b, m, n] = epilogue(sum over k of a[b, m, k] * w[b, k, n]).
// The order of summation is canonical (docs/summation.md): k is cut into segments, each summed in ascending order into
// an accumulator that starts at 0, and their sums are added in order. Every tile and both forms agree, bit for bit.
// Grid: a workgroup for each batch entry, WORKGROUP_N * TILE_N quads of columns and WORKGROUP_M * TILE_M rows, rows
// fastest. A thread owns TILE_M adjacent rows and the quads x, x + WORKGROUP_N, ...: neighbours read neighbours.
// The form for software adapters broadcasts: a load there costs as much as 20 to 70 FMAs, so a row of `a` is loaded by
// one lane for all. Its workgroup is one subgroup (WORKGROUP_N its size, WORKGROUP_M 1). Those for GPUs are other entry
// points, at the end.
enable subgroups;

alias A = f32;                 // storage of a: f32, or packed f16
alias W = f32;                 // storage of w: also q8 or q4, dequantised as it is read
alias Y = f32;                 // storage of y
const WORKGROUP_M: u32 = 1u;   // threads along rows
const WORKGROUP_N: u32 = 8u;   // threads along columns
const TILE_M: u32 = 16u;       // rows of a thread: 1, 2, 4, 8 or 16
const TILE_N: u32 = 1u;        // quads of columns of a thread: 1, 2 or 4
const SEGMENT: u32 = 128u;     // terms of one partial sum: part of the result, not a choice of speed
const BLOCK: u32 = 128u;       // terms whose weights share a scale: 32, where it is read once for them
const K_TAIL: bool = true;     // k % 4 may not be 0
const N_TAIL: bool = true;     // n % 4 may not be 0

// Batch is outer x inner; each operand has its own strides, in elements, and 0 repeats it.
struct Params {
  batch: u32, inner: u32, m: u32, n: u32, k: u32,
  a_offset: u32, a_outer: u32, a_inner: u32, a_m: u32, a_k: u32,
  w_offset: u32, w_outer: u32, w_inner: u32, w_k: u32, w_n: u32,
  y_offset: u32, y_outer: u32, y_inner: u32, y_m: u32,
}

@group(0) @binding(0) var<storage, read> a: array<A>;
@group(0) @binding(1) var<storage, read> w: array<W>;
@group(0) @binding(2) var<storage, read_write> y: array<Y>;
@group(0) @binding(3) var<uniform> p: Params;

fn a_at(i: u32) -> f32 { return a[i]; }
fn a_quad(i: u32) -> vec4f { return vec4f(a[i], a[i + 1u], a[i + 2u], a[i + 3u]); }
fn w_at(i: u32) -> f32 { return w[i]; }
fn w_quad(i: u32) -> vec4f { return vec4f(w[i], w[i + 1u], w[i + 2u], w[i + 3u]); }
fn w_scale(i: u32) -> vec2f { return vec2f(); }
fn w_scaled(i: u32, s: vec2f) -> vec4f { return w_quad(i); }
fn y_set(i: u32, v: f32) { y[i] = v; }
fn y_put(i: u32, v: vec4f) { for (var j = 0u; j < 4u; j++) { y[i + j] = v[j]; } }

fn epilogue(v: vec4f, i: u32, column: u32) -> vec4f { return v; }

// a[k..k+3] of one row. a_four_strided takes its place where a_k is not 1.
fn a_four(i: u32) -> vec4f { return a_quad(i); }
fn a_four_strided(i: u32) -> vec4f {
  return vec4f(a_at(i), a_at(i + p.a_k), a_at(i + 2u * p.a_k), a_at(i + 3u * p.a_k));
}

// What four rows of quantised w share over BLOCK terms; nothing where each quad reads its own.
alias Scales = array<vec2f, 4>;
fn w_scales(i: u32) -> Scales { return Scales(); }
fn w_scales_of_rows(i: u32) -> Scales {
  return Scales(w_scale(i), w_scale(i + p.w_n), w_scale(i + 2u * p.w_n), w_scale(i + 3u * p.w_n));
}

// w[k..k+3, n..n+3], a column of the matrix for each k: for w_k = 1 (torch's [out, in]), for w_n = 1, for any strides.
fn w_block(i: u32, s: Scales) -> mat4x4f {
  return transpose(mat4x4f(w_quad(i), w_quad(i + p.w_n), w_quad(i + 2u * p.w_n), w_quad(i + 3u * p.w_n)));
}
fn w_block_scaled(i: u32, s: Scales) -> mat4x4f {
  return transpose(mat4x4f(
    w_scaled(i, s[0]), w_scaled(i + p.w_n, s[1]), w_scaled(i + 2u * p.w_n, s[2]), w_scaled(i + 3u * p.w_n, s[3]),
  ));
}
fn w_block_kn(i: u32, s: Scales) -> mat4x4f {
  return mat4x4f(w_quad(i), w_quad(i + p.w_k), w_quad(i + 2u * p.w_k), w_quad(i + 3u * p.w_k));
}
fn w_block_strided(i: u32, s: Scales) -> mat4x4f {
  return mat4x4f(w_four(i), w_four(i + p.w_k), w_four(i + 2u * p.w_k), w_four(i + 3u * p.w_k));
}
fn w_four(i: u32) -> vec4f {
  return vec4f(w_at(i), w_at(i + p.w_n), w_at(i + 2u * p.w_n), w_at(i + 3u * p.w_n));
}

// 1, 2, 3 where there are as many quads, else an index in range for lines that TILE_N drops
const Q1: u32 = min(1u, TILE_N - 1u);
const Q2: u32 = min(2u, TILE_N - 1u);
const Q3: u32 = min(3u, TILE_N - 1u);
alias Row = array<vec4f, TILE_N>;      // a thread's quads of one row
alias Tile = array<Row, 16>;           // its rows, TILE_M of them in use
alias Block = array<mat4x4f, TILE_N>;  // w[k..k+3] of its quads
alias Shared = array<Scales, TILE_N>;  // what they share over BLOCK terms

fn masked(v: vec4f, k: u32) -> vec4f { return select(vec4f(0.0), v, vec4u(k, k + 1u, k + 2u, k + 3u) < vec4u(p.k)); }

fn load_a(i: u32, k: u32) -> vec4f {
  let v = a_four(i + k * p.a_k);
  if (K_TAIL) { return masked(v, k); }
  return v;
}

// Terms past the end are 0 * 0: garbage there may be NaN.
fn load_quad(i: u32, k: u32, s: Scales) -> mat4x4f {
  let v = w_block(i + k * p.w_k, s);
  if (!K_TAIL) { return v; }
  let z = vec4f(0.0);
  let more = vec3u(k + 1u, k + 2u, k + 3u) < vec3u(p.k);
  return mat4x4f(v[0], select(z, v[1], more.x), select(z, v[2], more.y), select(z, v[3], more.z));
}

fn load_w(i: u32, k: u32, s: Shared) -> Block {
  var v: Block;
  let step = 4u * WORKGROUP_N * p.w_n;
  v[0] = load_quad(i, k, s[0]);
  if (TILE_N > 1u) { v[Q1] = load_quad(i + step, k, s[Q1]); }
  if (TILE_N > 2u) { v[Q2] = load_quad(i + 2u * step, k, s[Q2]); v[Q3] = load_quad(i + 3u * step, k, s[Q3]); }
  return v;
}

fn load_scales(i: u32) -> Shared {
  var s: Shared;
  let step = 4u * WORKGROUP_N * p.w_n;
  s[0] = w_scales(i);
  if (TILE_N > 1u) { s[Q1] = w_scales(i + step); }
  if (TILE_N > 2u) { s[Q2] = w_scales(i + 2u * step); s[Q3] = w_scales(i + 3u * step); }
  return s;
}

// Four terms of the sum of one quad, in ascending k.
fn add_terms(x: vec4f, w4: mat4x4f, c: vec4f) -> vec4f {
  return fma(vec4f(x.w), w4[3], fma(vec4f(x.z), w4[2], fma(vec4f(x.y), w4[1], fma(vec4f(x.x), w4[0], c))));
}

fn add_row_terms(x: vec4f, w4: Block, c: Row) -> Row {
  var v = c;
  v[0] = add_terms(x, w4[0], c[0]);
  if (TILE_N > 1u) { v[Q1] = add_terms(x, w4[Q1], c[Q1]); }
  if (TILE_N > 2u) { v[Q2] = add_terms(x, w4[Q2], c[Q2]); v[Q3] = add_terms(x, w4[Q3], c[Q3]); }
  return v;
}

fn add_rows(t: Row, c: Row) -> Row {
  var v = t;
  v[0] += c[0];
  if (TILE_N > 1u) { v[Q1] += c[Q1]; }
  if (TILE_N > 2u) { v[Q2] += c[Q2]; v[Q3] += c[Q3]; }
  return v;
}

// The four k of the rows that this thread loads for its subgroup; of none where each loads its own.
alias Rows = array<vec4f, 4>;
fn load_rows(i: u32, row: u32, lane: u32, k: u32) -> Rows { return Rows(); }
fn load_rows_of_lane(i: u32, row: u32, lane: u32, k: u32) -> Rows {
  let left = p.m - 1u - row;
  var x = Rows();
  x[0] = load_a(i + min(lane, left) * p.a_m, k);
  if (TILE_M > WORKGROUP_N) { x[1] = load_a(i + min(lane + WORKGROUP_N, left) * p.a_m, k); }
  if (TILE_M > 2u * WORKGROUP_N) {
    x[2] = load_a(i + min(lane + 2u * WORKGROUP_N, left) * p.a_m, k);
    x[3] = load_a(i + min(lane + 3u * WORKGROUP_N, left) * p.a_m, k);
  }
  return x;
}

// Written out: SwiftShader unrolls no loop, a private array with a running index is slow on software adapters, and the lane of a
// broadcast is a constant. Rows past the last one are read (robust access makes that harmless) and not written.
fn add_tile_terms(c: ptr<function, Tile>, x: Rows, i: u32, k: u32, w4: Block) {
  (*c)[0] = add_row_terms(load_a(i, k), w4, (*c)[0]);
  if (TILE_M > 1u) { (*c)[1] = add_row_terms(load_a(i + p.a_m, k), w4, (*c)[1]); }
  if (TILE_M > 2u) {
    (*c)[2] = add_row_terms(load_a(i + 2u * p.a_m, k), w4, (*c)[2]);
    (*c)[3] = add_row_terms(load_a(i + 3u * p.a_m, k), w4, (*c)[3]);
  }
  if (TILE_M > 4u) {
    (*c)[4] = add_row_terms(load_a(i + 4u * p.a_m, k), w4, (*c)[4]);
    (*c)[5] = add_row_terms(load_a(i + 5u * p.a_m, k), w4, (*c)[5]);
    (*c)[6] = add_row_terms(load_a(i + 6u * p.a_m, k), w4, (*c)[6]);
    (*c)[7] = add_row_terms(load_a(i + 7u * p.a_m, k), w4, (*c)[7]);
  }
  if (TILE_M > 8u) {
    (*c)[8] = add_row_terms(load_a(i + 8u * p.a_m, k), w4, (*c)[8]);
    (*c)[9] = add_row_terms(load_a(i + 9u * p.a_m, k), w4, (*c)[9]);
    (*c)[10] = add_row_terms(load_a(i + 10u * p.a_m, k), w4, (*c)[10]);
    (*c)[11] = add_row_terms(load_a(i + 11u * p.a_m, k), w4, (*c)[11]);
    (*c)[12] = add_row_terms(load_a(i + 12u * p.a_m, k), w4, (*c)[12]);
    (*c)[13] = add_row_terms(load_a(i + 13u * p.a_m, k), w4, (*c)[13]);
    (*c)[14] = add_row_terms(load_a(i + 14u * p.a_m, k), w4, (*c)[14]);
    (*c)[15] = add_row_terms(load_a(i + 15u * p.a_m, k), w4, (*c)[15]);
  }
}
fn add_tile_terms_broadcast(c: ptr<function, Tile>, x: Rows, i: u32, k: u32, w4: Block) {
  (*c)[0] = add_row_terms(subgroupBroadcast(x[0u / WORKGROUP_N], 0u % WORKGROUP_N), w4, (*c)[0]);
  if (TILE_M > 1u) { (*c)[1] = add_row_terms(subgroupBroadcast(x[1u / WORKGROUP_N], 1u % WORKGROUP_N), w4, (*c)[1]); }
  if (TILE_M > 2u) {
    (*c)[2] = add_row_terms(subgroupBroadcast(x[2u / WORKGROUP_N], 2u % WORKGROUP_N), w4, (*c)[2]);
    (*c)[3] = add_row_terms(subgroupBroadcast(x[3u / WORKGROUP_N], 3u % WORKGROUP_N), w4, (*c)[3]);
  }
  if (TILE_M > 4u) {
    (*c)[4] = add_row_terms(subgroupBroadcast(x[4u / WORKGROUP_N], 4u % WORKGROUP_N), w4, (*c)[4]);
    (*c)[5] = add_row_terms(subgroupBroadcast(x[5u / WORKGROUP_N], 5u % WORKGROUP_N), w4, (*c)[5]);
    (*c)[6] = add_row_terms(subgroupBroadcast(x[6u / WORKGROUP_N], 6u % WORKGROUP_N), w4, (*c)[6]);
    (*c)[7] = add_row_terms(subgroupBroadcast(x[7u / WORKGROUP_N], 7u % WORKGROUP_N), w4, (*c)[7]);
  }
  if (TILE_M > 8u) {
    (*c)[8] = add_row_terms(subgroupBroadcast(x[8u / WORKGROUP_N], 8u % WORKGROUP_N), w4, (*c)[8]);
    (*c)[9] = add_row_terms(subgroupBroadcast(x[9u / WORKGROUP_N], 9u % WORKGROUP_N), w4, (*c)[9]);
    (*c)[10] = add_row_terms(subgroupBroadcast(x[10u / WORKGROUP_N], 10u % WORKGROUP_N), w4, (*c)[10]);
    (*c)[11] = add_row_terms(subgroupBroadcast(x[11u / WORKGROUP_N], 11u % WORKGROUP_N), w4, (*c)[11]);
    (*c)[12] = add_row_terms(subgroupBroadcast(x[12u / WORKGROUP_N], 12u % WORKGROUP_N), w4, (*c)[12]);
    (*c)[13] = add_row_terms(subgroupBroadcast(x[13u / WORKGROUP_N], 13u % WORKGROUP_N), w4, (*c)[13]);
    (*c)[14] = add_row_terms(subgroupBroadcast(x[14u / WORKGROUP_N], 14u % WORKGROUP_N), w4, (*c)[14]);
    (*c)[15] = add_row_terms(subgroupBroadcast(x[15u / WORKGROUP_N], 15u % WORKGROUP_N), w4, (*c)[15]);
  }
}

fn add_tiles(t: ptr<function, Tile>, c: ptr<function, Tile>) {
  (*t)[0] = add_rows((*t)[0], (*c)[0]);
  if (TILE_M > 1u) { (*t)[1] = add_rows((*t)[1], (*c)[1]); }
  if (TILE_M > 2u) { (*t)[2] = add_rows((*t)[2], (*c)[2]); (*t)[3] = add_rows((*t)[3], (*c)[3]); }
  if (TILE_M > 4u) {
    (*t)[4] = add_rows((*t)[4], (*c)[4]); (*t)[5] = add_rows((*t)[5], (*c)[5]);
    (*t)[6] = add_rows((*t)[6], (*c)[6]); (*t)[7] = add_rows((*t)[7], (*c)[7]);
  }
  if (TILE_M > 8u) {
    (*t)[8] = add_rows((*t)[8], (*c)[8]); (*t)[9] = add_rows((*t)[9], (*c)[9]);
    (*t)[10] = add_rows((*t)[10], (*c)[10]); (*t)[11] = add_rows((*t)[11], (*c)[11]);
    (*t)[12] = add_rows((*t)[12], (*c)[12]); (*t)[13] = add_rows((*t)[13], (*c)[13]);
    (*t)[14] = add_rows((*t)[14], (*c)[14]); (*t)[15] = add_rows((*t)[15], (*c)[15]);
  }
}

// Where a thread's tile begins: in the product, and in each storage.
struct Place { row: u32, col: u32, a: u32, w: u32, y: u32 }
fn groups() -> u32 { return p.batch * tiles_m() * tiles_n(); }
fn tiles_m() -> u32 { return (p.m + WORKGROUP_M * TILE_M - 1u) / (WORKGROUP_M * TILE_M); }
fn tiles_n() -> u32 { return (p.n + 4u * WORKGROUP_N * TILE_N - 1u) / (4u * WORKGROUP_N * TILE_N); }
fn place(group: u32, x: u32, y: u32) -> Place {
  let strip = group / tiles_m(); // neighbours in time share columns of w
  let b = strip / tiles_n();
  let row = ((group - strip * tiles_m()) * WORKGROUP_M + y) * TILE_M;
  let col = 4u * ((strip - b * tiles_n()) * WORKGROUP_N * TILE_N + x);
  let outer = b / p.inner;
  let inner = b - outer * p.inner;
  return Place(
    row, col,
    p.a_offset + outer * p.a_outer + inner * p.a_inner + row * p.a_m,
    p.w_offset + outer * p.w_outer + inner * p.w_inner + col * p.w_n,
    p.y_offset + outer * p.y_outer + inner * p.y_inner,
  );
}

// `once` is 1. The compiler must not see the trip count: unrolled, this loop would take most of the compile time.
fn finish(total: ptr<function, Tile>, at: Place, once: u32) {
  for (var i = 0u; i < TILE_M * TILE_N * once; i++) {
    let m = at.row + i / TILE_N;
    let n = at.col + 4u * WORKGROUP_N * (i % TILE_N);
    if (m >= p.m || n >= p.n) { continue; }
    let j = at.y + m * p.y_m + n;
    let v = epilogue((*total)[i / TILE_N][i % TILE_N], j, n);
    if (N_TAIL && n + 4u > p.n) {
      for (var c = 0u; c < p.n - n; c++) { y_set(j + c, v[c]); }
    } else {
      y_put(j, v);
    }
  }
}

// The terms of one segment.
fn segment(c: ptr<function, Tile>, at: Place, lane: u32, start: u32, end: u32) {
  for (var part = start; part < end; part += BLOCK) {
    let s = load_scales(at.w + part);
    for (var k = part; k < min(part + BLOCK, end); k += 4u) {
      add_tile_terms(c, load_rows(at.a, at.row, lane, k), at.a, k, load_w(at.w, k, s));
    }
  }
}

@compute @workgroup_size(WORKGROUP_N, WORKGROUP_M)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) num: vec3u, @builtin(local_invocation_id) lid: vec3u,
) {
  let group = wid.x + wid.y * num.x;
  if (group >= groups()) { return; }
  let at = place(group, lid.x, lid.y);
  var total: Tile;
  for (var start = 0u; start < p.k; start += SEGMENT) {
    let end = min(start + SEGMENT, p.k);
    var c = Tile(); // a bare `var c: Tile` keeps its value from pass to pass in Dawn
    segment(&c, at, lid.x, start, end);
    add_tiles(&total, &c);
  }
  finish(&total, at, num.z);
}

// For GPUs and many rows: a workgroup holds DEPTH quads of k of its rows and columns in shared memory. TILE_N is 1.
const DEPTH: u32 = 4u;
const ROWS: u32 = WORKGROUP_M * TILE_M;
var<workgroup> a_board: array<vec4f, ROWS * DEPTH>;             // [row, quad of k]
var<workgroup> w_board: array<vec4f, 4u * DEPTH * WORKGROUP_N>; // [k, quad of n]

@compute @workgroup_size(WORKGROUP_N, WORKGROUP_M)
fn main_shared(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) num: vec3u, @builtin(local_invocation_id) lid: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let group = wid.x + wid.y * num.x;
  if (group >= groups()) { return; }
  let first = place(group, 0u, 0u);
  let deep = p.w_k == 1u; // neighbours read neighbours
  var total: Tile;
  for (var start = 0u; start < p.k; start += SEGMENT) {
    var c = Tile();
    for (var k = start; k < min(start + SEGMENT, p.k); k += 4u * DEPTH) {
      for (var i = thread; i < ROWS * DEPTH; i += WORKGROUP_M * WORKGROUP_N) {
        let at = k + 4u * (i % DEPTH);
        a_board[i] = vec4f(0.0);
        if (at < p.k) { a_board[i] = load_a(first.a + min(i / DEPTH, p.m - 1u - first.row) * p.a_m, at); }
      }
      for (var i = thread; i < DEPTH * WORKGROUP_N; i += WORKGROUP_M * WORKGROUP_N) {
        let q = select(i / WORKGROUP_N, i % DEPTH, deep);
        let n = select(i % WORKGROUP_N, i / DEPTH, deep);
        let at = k + 4u * q;
        var four = mat4x4f();
        let column = first.w + 4u * n * p.w_n;
        if (at < p.k) { four = load_quad(column, at, w_scales(column + at)); }
        for (var j = 0u; j < 4u; j++) { w_board[(4u * q + j) * WORKGROUP_N + n] = four[j]; }
      }
      workgroupBarrier();
      for (var q = 0u; q < DEPTH; q++) {
        var w4: Block;
        for (var j = 0u; j < 4u; j++) { w4[0][j] = w_board[(4u * q + j) * WORKGROUP_N + lid.x]; }
        for (var r = 0u; r < TILE_M; r++) { c[r] = add_row_terms(a_board[(lid.y * TILE_M + r) * DEPTH + q], w4, c[r]); }
      }
      workgroupBarrier();
    }
    add_tiles(&total, &c);
  }
  finish(&total, place(group, lid.x, lid.y), num.z);
}

// For GPUs and few rows: the threads along y take a segment each, and the first adds their sums in order.
const SPLIT: u32 = 16u;
var<workgroup> c_board: array<vec4f, SPLIT * WORKGROUP_N * TILE_M>; // [segment, quad of n, row]

@compute @workgroup_size(WORKGROUP_N, SPLIT)
fn main_split(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) num: vec3u, @builtin(local_invocation_id) lid: vec3u,
) {
  let group = wid.x + wid.y * num.x;
  if (group >= groups()) { return; }
  let at = place(group, lid.x, 0u);
  var total: Tile;
  for (var start = 0u; start < p.k; start += SPLIT * SEGMENT) {
    var c = Tile();
    let own = start + lid.y * SEGMENT;
    segment(&c, at, lid.x, own, min(own + SEGMENT, p.k));
    for (var r = 0u; r < TILE_M; r++) { c_board[(lid.y * WORKGROUP_N + lid.x) * TILE_M + r] = c[r][0]; }
    workgroupBarrier();
    if (lid.y == 0u) {
      for (var s = 0u; s < SPLIT && start + s * SEGMENT < p.k; s++) {
        for (var r = 0u; r < TILE_M; r++) { total[r][0] += c_board[(s * WORKGROUP_N + lid.x) * TILE_M + r]; }
      }
    }
    workgroupBarrier();
  }
  if (lid.y == 0u) { finish(&total, at, num.z); }
}
