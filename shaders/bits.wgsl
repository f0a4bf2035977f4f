// Numbers as a file stores them to f32: y[i] from the bits of x, read as 32-bit words in little-endian order. A thread
// makes four elements. Exact for every format here.
alias Y = f32;             // how y is stored
const WG: u32 = 64;        // threads of a workgroup

struct Params { n: u32 }   // elements of y
@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<Y>;
@group(0) @binding(2) var<uniform> p: Params;

fn y_put(i: u32, v: vec4f) { for (var j = 0u; j < 4u; j++) { y[i + j] = v[j]; } }

// four elements from the quad of number q
fn four(q: u32) -> vec4f { return f32_four(q); }
fn f32_four(q: u32) -> vec4f { return bitcast<vec4f>(vec4u(x[4u * q], x[4u * q + 1u], x[4u * q + 2u], x[4u * q + 3u])); }
fn f16_four(q: u32) -> vec4f { return vec4f(unpack2x16float(x[2u * q]), unpack2x16float(x[2u * q + 1u])); }
fn bf16_four(q: u32) -> vec4f {
  let a = x[2u * q];
  let b = x[2u * q + 1u];
  return bitcast<vec4f>(vec4u(a << 16u, a & 0xffff0000u, b << 16u, b & 0xffff0000u));
}

fn bytes(q: u32) -> vec4u { return (vec4u(x[q]) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(255u); }
// sign, exponent and fraction as a half: the exponent's bias differs by a power of two
fn e5m2_four(q: u32) -> vec4f {
  let h = bytes(q) << vec4u(8u);
  return vec4f(unpack2x16float(h.x | (h.y << 16u)), unpack2x16float(h.z | (h.w << 16u)));
}
fn e4m3_four(q: u32) -> vec4f {
  let b = bytes(q);
  let nan = select(vec4u(0u), vec4u(0x7e00u), (b & vec4u(127u)) == vec4u(127u));
  let h = ((b & vec4u(128u)) << vec4u(8u)) | ((b & vec4u(127u)) << vec4u(7u)) | nan; // as a half 2^-8 of its value
  return vec4f(unpack2x16float(h.x | (h.y << 16u)), unpack2x16float(h.z | (h.w << 16u))) * 256.0;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) num: vec3u, @builtin(local_invocation_index) lane: u32) {
  let q = (wid.x + wid.y * num.x) * WG + lane;
  if (4u * q < p.n) { y_put(4u * q, four(q)); }
}
