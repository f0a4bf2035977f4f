// y[b, l] = softmax(q[b, l] k[b]^T scale, hidden keys at the lowest number) v[b]: attention of few queries, as of tokens
// that are generated, in one kernel. The sums are those of matmul.wgsl and softmax.wgsl, term by term in the same order
// (docs/summation.md), so the bits are those of the three kernels. A workgroup has a row: its threads share the keys, then
// the segments of the values. Hidden keys cost a look at the mask.
alias QS = f32;              // how each is stored; rows of q, k and v lie in order
alias KS = f32;
alias VS = f32;
alias MASK = u32;
alias Y = f32;
const WG: u32 = 64;         // threads of a workgroup; QUADS divides it
const KEYS: u32 = 2048;     // at most: they are kept in the memory of the workgroup
const QUADS: u32 = 16;      // of a row of v
const SEGMENT: u32 = 128;  // terms of one partial sum of a product
const HIDDEN: f32 = -3.4028234663852886e38;

// Batch is outer x middle x inner; each operand has its own strides, in elements, and 0 repeats it.
struct Params {
  rows: u32, middle: u32, inner: u32, l: u32, s: u32, d: u32, scale: f32,
  q_offset: u32, q_outer: u32, q_middle: u32, q_inner: u32, q_l: u32,
  k_offset: u32, k_outer: u32, k_middle: u32, k_inner: u32, k_s: u32,
  v_offset: u32, v_outer: u32, v_middle: u32, v_inner: u32, v_s: u32,
  mask_offset: u32, mask_outer: u32, mask_middle: u32, mask_inner: u32, mask_l: u32, mask_s: u32,
}
@group(0) @binding(0) var<storage, read> qs: array<QS>;
@group(0) @binding(1) var<storage, read> ks: array<KS>;
@group(0) @binding(2) var<storage, read> vs: array<VS>;
@group(0) @binding(3) var<storage, read> mask: array<MASK>;
@group(0) @binding(4) var<storage, read_write> y: array<Y>;
@group(0) @binding(5) var<uniform> p: Params;

fn qs_quad(i: u32) -> vec4f { return vec4f(qs[i], qs[i + 1u], qs[i + 2u], qs[i + 3u]); }
fn ks_quad(i: u32) -> vec4f { return vec4f(ks[i], ks[i + 1u], ks[i + 2u], ks[i + 3u]); }
fn vs_quad(i: u32) -> vec4f { return vec4f(vs[i], vs[i + 1u], vs[i + 2u], vs[i + 3u]); }
fn y_put(i: u32, x: vec4f) { for (var j = 0u; j < 4u; j++) { y[i + j] = x[j]; } }
fn exp_(x: vec4f) -> vec4f { return exp(x); }

// Which of four keys a query sees, those past the last excepted.
fn seen(at: Row, key: u32) -> vec4<bool> { return vec4<bool>(true); }
fn seen_of_mask(at: Row, key: u32) -> vec4<bool> {
  let i = at.shown + key * p.mask_s;
  return vec4<bool>(mask[i] != 0u, mask[i + p.mask_s] != 0u, mask[i + 2u * p.mask_s] != 0u, mask[i + 3u * p.mask_s] != 0u);
}

struct Row { q: u32, k: u32, v: u32, shown: u32 }
fn place(row: u32) -> Row {
  let b = row / p.l;
  let l = row - b * p.l;
  let rest = b / p.inner;
  let inner = b - rest * p.inner;
  let outer = rest / p.middle;
  let middle = rest - outer * p.middle;
  return Row(
    p.q_offset + outer * p.q_outer + middle * p.q_middle + inner * p.q_inner + l * p.q_l,
    p.k_offset + outer * p.k_outer + middle * p.k_middle + inner * p.k_inner,
    p.v_offset + outer * p.v_outer + middle * p.v_middle + inner * p.v_inner,
    p.mask_offset + outer * p.mask_outer + middle * p.mask_middle + inner * p.mask_inner + l * p.mask_l,
  );
}

var<workgroup> keys: array<vec4f, KEYS / 4>;                  // scores, then their exponentials
var<workgroup> board: array<vec4f, max(WG, KEYS / SEGMENT * QUADS)>; // what threads tell each other; sums of segments [segment, quad]

// q k^T scale of four keys, or HIDDEN
fn scores(at: Row, key: u32) -> vec4f {
  let shown = seen(at, key) & (vec4u(key, key + 1u, key + 2u, key + 3u) < vec4u(p.s));
  if (!any(shown)) { return vec4f(HIDDEN); }
  let rows = vec4u(at.k) + min(vec4u(key, key + 1u, key + 2u, key + 3u), vec4u(p.s - 1u)) * p.k_s;
  var total = vec4f(0.0);
  for (var start = 0u; start < p.d; start += SEGMENT) {
    var c = vec4f(0.0);
    for (var i = start; i < min(start + SEGMENT, p.d); i += 4u) {
      let x = qs_quad(at.q + i);
      let w = transpose(mat4x4f(ks_quad(rows.x + i), ks_quad(rows.y + i), ks_quad(rows.z + i), ks_quad(rows.w + i)));
      c = fma(vec4f(x.w), w[3], fma(vec4f(x.z), w[2], fma(vec4f(x.y), w[1], fma(vec4f(x.x), w[0], c))));
    }
    total += c;
  }
  return select(vec4f(HIDDEN), total * p.scale, shown);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) num: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = wid.x + wid.y * num.x;
  if (row >= p.rows) { return; }
  let at = place(row);
  let quads = (p.s + 3u) / 4u;

  var top = vec4f(HIDDEN);
  for (var j = lane; j < quads; j += WG) {
    let s = scores(at, 4u * j);
    keys[j] = s;
    top = max(top, s);
  }
  board[lane] = top;
  workgroupBarrier();
  for (var j = 0u; j < WG; j++) { top = max(top, board[j]); }
  let most = max(max(top.x, top.z), max(top.y, top.w));
  for (var j = lane; j < quads; j += WG) {
    let four = vec4u(4u * j, 4u * j + 1u, 4u * j + 2u, 4u * j + 3u) < vec4u(p.s);
    keys[j] = select(vec4f(0.0), exp_(keys[j] - most), four);
  }
  workgroupBarrier();
  // eight partial sums: two quads, of the even and the odd quads of keys
  if (lane < 2u) {
    var part = vec4f(0.0);
    for (var j = lane; j < quads; j += 2u) { part += keys[j]; }
    board[lane] = part;
  }
  workgroupBarrier();
  let eight = board[0] + board[1];
  let sum = (eight.x + eight.z) + (eight.y + eight.w);
  workgroupBarrier();

  let quad = lane % QUADS;
  for (var segment = lane / QUADS; segment * SEGMENT < p.s; segment += WG / QUADS) {
    let end = min((segment + 1u) * SEGMENT, p.s);
    var c = vec4f(0.0);
    for (var key = segment * SEGMENT; key < end; key += 4u) {
      let e = keys[key / 4u];
      if (all(e == vec4f(0.0))) { continue; }
      let x = e / sum;
      let shown = select(x, vec4f(0.0), x < vec4f(1.17549435e-38)); // as softmax.wgsl has it
      for (var i = 0u; i < min(4u, end - key); i++) {
        c = fma(vec4f(shown[i]), vs_quad(at.v + (key + i) * p.v_s + 4u * quad), c);
      }
    }
    board[segment * QUADS + quad] = c;
  }
  workgroupBarrier();
  if (lane < QUADS) {
    var total = vec4f(0.0);
    for (var segment = 0u; segment * SEGMENT < p.s; segment++) { total += board[segment * QUADS + lane]; }
    y_put(4u * (row * QUADS + lane), total);
  }
}
