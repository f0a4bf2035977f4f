// y[i] = value(i): one kernel for every chain of elementwise ops. exec/fuse.ts writes `value` as calls of the functions
// below; an op is one function of this family. A thread makes QUADS quads of four elements.
// V, VI and VU are four floats, ints and unsigned ints; a bool is a V of 0.0 or 1.0.
alias Y = f32;            // how y is stored
const WG: u32 = 64;       // threads of a workgroup
const QUADS: u32 = 4;     // quads of a thread
const WRITTEN_OUT: bool = false; // without a loop: up to twice as fast on SwiftShader, where it also compiles longer
const LANE: u32 = 1;      // quads from a thread to the next, and from one of its quads to the next: 1 and WG, so that a
const STEP: u32 = 64;     // subgroup's loads are neighbours; or QUADS and 1, which software adapters copy twice as fast
alias V = vec4f;
alias VI = vec4i;
alias VU = vec4u;

struct Params { n: u32 }  // elements of y
@group(0) @binding(0) var<storage, read_write> y: array<Y>;
@group(0) @binding(1) var<uniform> p: Params;

fn y_put(i: u32, v: vec4f) { y[i] = v.x; y[i + 1u] = v.y; y[i + 2u] = v.z; y[i + 3u] = v.w; }
fn value(i: u32) -> V { return V(f32(i)); }

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) num: vec3u, @builtin(local_invocation_index) lane: u32) {
  let first = ((wid.x + wid.y * num.x) * WG * QUADS + lane * LANE) * 4u;
  if (first >= p.n) { return; }
  let last = (p.n - 1u) / 4u * 4u; // made again, with the same bits, by threads that begin before the end and pass it
  if (WRITTEN_OUT) {
    put(first);
    put(min(first + 4u * STEP, last));
    put(min(first + 8u * STEP, last));
    put(min(first + 12u * STEP, last));
  } else {
    for (var k = 0u; k < QUADS; k++) { put(min(first + 4u * k * STEP, last)); }
  }
}
fn put(i: u32) { y_put(i, value(i)); }

fn bool_of(c: vec4<bool>) -> V { return select(V(0.0), V(1.0), c); }

// of the index alone: fuse.ts gives the index of each of the four elements
fn iota(i: vec4u) -> V { return V(i); }
fn iota_i32(i: vec4u) -> VI { return VI(i); }

// a normal number for each place, of deviation 1: two words of Philox (shaders/lib/random.wgsl) by Box and Muller
fn philox_(counter: vec4u, key: vec2u) -> vec4u { return counter; }
fn uniform_(word: u32) -> f32 { return f32(word); }
fn uniform2_(place: i32, position: u32, low: u32, high: u32) -> vec2f {
  let words = philox_(vec4u(u32(place), position, 1u, 0u), vec2u(low, high)); // 1: no counter of shaders/draw.wgsl
  return vec2f(uniform_(words.x), uniform_(words.y));
}
fn normal_u32(i: VI, position: VU, low: VU, high: VU) -> V {
  let a = uniform2_(i.x, position.x, low.x, high.x);
  let b = uniform2_(i.y, position.y, low.y, high.y);
  let c = uniform2_(i.z, position.z, low.z, high.z);
  let d = uniform2_(i.w, position.w, low.w, high.w);
  let radius = sqrt(V(-2.0) * log_(V(1.0) - V(a.x, b.x, c.x, d.x)));
  return radius * cos_(V(6.283185307179586) * V(a.y, b.y, c.y, d.y));
}

// arithmetic
fn add(a: V, b: V) -> V { return a + b; }
fn sub(a: V, b: V) -> V { return a - b; }
fn mul(a: V, b: V) -> V { return a * b; }
fn div(a: V, b: V) -> V { return a / b; }
fn neg(x: V) -> V { return -x; }
fn abs_(x: V) -> V { return abs(x); }
fn sign_(x: V) -> V { return sign(x); }
fn floor_(x: V) -> V { return floor(x); }
fn square(x: V) -> V { return x * x; }
fn reciprocal(x: V) -> V { return V(1.0) / x; }
fn maximum(a: V, b: V) -> V { return max(a, b); } // shaders/lib/extreme.wgsl
fn minimum(a: V, b: V) -> V { return min(a, b); }
fn sqrt_(x: V) -> V { return sqrt(x); }
fn rsqrt(x: V) -> V { return V(1.0) / sqrt(x); }

// transcendental: shaders/lib/math.wgsl
fn exp_(x: V) -> V { return exp(x); }
fn log_(x: V) -> V { return log(x); }
fn pow_(a: V, b: V) -> V { return pow(a, b); }
fn sin_(x: V) -> V { return sin(x); }
fn cos_(x: V) -> V { return cos(x); }
fn tanh_(x: V) -> V { return tanh(x); }
fn erf_(x: V) -> V { return tanh(x); }
fn sigmoid_(x: V) -> V { return V(1.0) / (V(1.0) + exp(-x)); }

// activations
fn relu(x: V) -> V { return select(x, V(0.0), x < V(0.0)); } // a float max is slow on SwiftShader, and loses NaN
fn silu(x: V) -> V { return x * sigmoid_(x); }
fn quick_gelu(x: V) -> V { return x * sigmoid_(V(1.702) * x); }
fn gelu(x: V) -> V { return V(0.5) * x * (V(1.0) + erf_(x * V(0.70710678118654752))); }
fn gelu_tanh(x: V) -> V {
  return V(0.5) * x * (V(1.0) + tanh_(V(0.79788456080286536) * fma(V(0.044715) * x * x, x, x)));
}

// comparisons
fn eq(a: V, b: V) -> V { return bool_of(a == b); }
fn ne(a: V, b: V) -> V { return bool_of(a != b); }
fn lt(a: V, b: V) -> V { return bool_of(a < b); }
fn le(a: V, b: V) -> V { return bool_of(a <= b); }
fn gt(a: V, b: V) -> V { return bool_of(a > b); }
fn ge(a: V, b: V) -> V { return bool_of(a >= b); }
fn where_(c: V, a: V, b: V) -> V { return select(b, a, c != V(0.0)); }

// the same for i32 and u32, and from one type to another
fn add_i32(a: VI, b: VI) -> VI { return a + b; }
fn sub_i32(a: VI, b: VI) -> VI { return a - b; }
fn mul_i32(a: VI, b: VI) -> VI { return a * b; }
fn neg_i32(x: VI) -> VI { return -x; }
fn abs_i32(x: VI) -> VI { return abs(x); }
fn maximum_i32(a: VI, b: VI) -> VI { return max(a, b); }
fn minimum_i32(a: VI, b: VI) -> VI { return min(a, b); }
fn eq_i32(a: VI, b: VI) -> V { return bool_of(a == b); }
fn ne_i32(a: VI, b: VI) -> V { return bool_of(a != b); }
fn lt_i32(a: VI, b: VI) -> V { return bool_of(a < b); }
fn le_i32(a: VI, b: VI) -> V { return bool_of(a <= b); }
fn gt_i32(a: VI, b: VI) -> V { return bool_of(a > b); }
fn ge_i32(a: VI, b: VI) -> V { return bool_of(a >= b); }
fn where_i32(c: V, a: VI, b: VI) -> VI { return select(b, a, c != V(0.0)); }
fn add_u32(a: VU, b: VU) -> VU { return a + b; }
fn sub_u32(a: VU, b: VU) -> VU { return a - b; }
fn mul_u32(a: VU, b: VU) -> VU { return a * b; }
fn maximum_u32(a: VU, b: VU) -> VU { return max(a, b); }
fn minimum_u32(a: VU, b: VU) -> VU { return min(a, b); }
fn eq_u32(a: VU, b: VU) -> V { return bool_of(a == b); }
fn ne_u32(a: VU, b: VU) -> V { return bool_of(a != b); }
fn lt_u32(a: VU, b: VU) -> V { return bool_of(a < b); }
fn le_u32(a: VU, b: VU) -> V { return bool_of(a <= b); }
fn gt_u32(a: VU, b: VU) -> V { return bool_of(a > b); }
fn ge_u32(a: VU, b: VU) -> V { return bool_of(a >= b); }
fn where_u32(c: V, a: VU, b: VU) -> VU { return select(b, a, c != V(0.0)); }
fn to_f32(x: V) -> V { return x; }
fn to_f32_i32(x: VI) -> V { return V(x); }
fn to_f32_u32(x: VU) -> V { return V(x); }
fn to_i32(x: V) -> VI { return VI(x); }
fn to_i32_i32(x: VI) -> VI { return x; }
fn to_i32_u32(x: VU) -> VI { return VI(x); }
fn to_u32(x: V) -> VU { return VU(x); }
fn to_u32_i32(x: VI) -> VU { return VU(x); }
fn to_u32_u32(x: VU) -> VU { return x; }
fn to_bool(x: V) -> V { return bool_of(x != V(0.0)); }
fn to_bool_i32(x: VI) -> V { return bool_of(x != VI(0)); }
fn to_bool_u32(x: VU) -> V { return bool_of(x != VU(0u)); }
