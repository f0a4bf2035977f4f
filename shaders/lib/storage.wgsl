// How elements lie in a buffer, and how four of them (a quad, i..i+3) or one are read and written. `src_*` stands for
// the binding. The x4 forms hold whole quads, so i is a multiple of 4; f16 is two elements in a u32 (no shader-f16 needed).
@group(0) @binding(0) var<storage, read_write> src_f32: array<f32>;
@group(0) @binding(1) var<storage, read_write> src_f32x4: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> src_f16: array<u32>;
@group(0) @binding(3) var<storage, read_write> src_f16x4: array<vec2u>;
@group(0) @binding(4) var<storage, read_write> src_i32: array<i32>;
@group(0) @binding(5) var<storage, read_write> src_i32x4: array<vec4i>;
@group(0) @binding(6) var<storage, read_write> src_u32: array<u32>;
@group(0) @binding(7) var<storage, read_write> src_u32x4: array<vec4u>;

fn f32_at(i: u32) -> f32 { return src_f32[i]; }
fn f32_quad(i: u32) -> vec4f { return vec4f(src_f32[i], src_f32[i + 1u], src_f32[i + 2u], src_f32[i + 3u]); }
fn f32x4_at(i: u32) -> f32 { return src_f32x4[i >> 2u][i & 3u]; }
fn f32x4_quad(i: u32) -> vec4f { return src_f32x4[i >> 2u]; }
fn f32x4_set(i: u32, v: f32) { src_f32x4[i >> 2u][i & 3u] = v; }
fn f32x4_put(i: u32, v: vec4f) { src_f32x4[i >> 2u] = v; }

// the first `left` of four; whole quads have no others
fn f32x4_some(i: u32, v: vec4f, left: u32) { src_f32x4[i >> 2u] = v; }
fn f16x4_some(i: u32, v: vec4f, left: u32) { src_f16x4[i >> 2u] = f16_pack(v); }

// Four halves. From 65520 on pack2x16float may give anything (SwiftShader's spills into the neighbour): inf and NaN by bits.
fn f16_pack(v: vec4f) -> vec2u {
  let bits = bitcast<vec4u>(v);
  let size = bits & vec4u(0x7fffffffu);
  let huge = size >= vec4u(0x477ff000u);
  let sign = (bits >> vec4u(16u)) & vec4u(0x8000u);
  let special = select(vec4u(0u), sign | select(vec4u(0x7c00u), vec4u(0x7e00u), size > vec4u(0x7f800000u)), huge);
  let safe = select(v, vec4f(0.0), huge);
  return vec2u(pack2x16float(safe.xy), pack2x16float(safe.zw)) | special.xz | (special.yw << vec2u(16u));
}
fn f16_round(v: vec4f) -> vec4f {
  let packed = f16_pack(v);
  return vec4f(unpack2x16float(packed.x), unpack2x16float(packed.y));
}
fn f16_at(i: u32) -> f32 { return unpack2x16float(src_f16[i >> 1u])[i & 1u]; }
fn f16_quad(i: u32) -> vec4f { // no local here may have the name of a binding
  let word = i >> 1u;
  let one = unpack2x16float(src_f16[word]);
  let two = unpack2x16float(src_f16[word + 1u]);
  let three = unpack2x16float(src_f16[word + (i & 1u) * 2u]);
  return select(vec4f(one, two), vec4f(one.y, two, three.x), (i & 1u) == 1u);
}
fn f16x4_at(i: u32) -> f32 {
  let q = src_f16x4[i >> 2u];
  return unpack2x16float(q[(i >> 1u) & 1u])[i & 1u];
}
fn f16x4_quad(i: u32) -> vec4f {
  let q = src_f16x4[i >> 2u];
  return vec4f(unpack2x16float(q.x), unpack2x16float(q.y));
}
fn f16x4_set(i: u32, v: f32) { // no other thread may write the quad
  let half = (i >> 1u) & 1u;
  let shift = (i & 1u) * 16u;
  let other = src_f16x4[i >> 2u][half] & (0xffff0000u >> shift);
  src_f16x4[i >> 2u][half] = other | ((f16_pack(vec4f(v)).x & 0xffffu) << shift);
}
fn f16x4_put(i: u32, v: vec4f) { src_f16x4[i >> 2u] = f16_pack(v); }

fn i32_at(i: u32) -> i32 { return src_i32[i]; }
fn i32_quad(i: u32) -> vec4i { return vec4i(src_i32[i], src_i32[i + 1u], src_i32[i + 2u], src_i32[i + 3u]); }
fn i32x4_at(i: u32) -> i32 { return src_i32x4[i >> 2u][i & 3u]; }
fn i32x4_quad(i: u32) -> vec4i { return src_i32x4[i >> 2u]; }
fn i32x4_put(i: u32, v: vec4i) { src_i32x4[i >> 2u] = v; }
fn i32x4_some(i: u32, v: vec4i, left: u32) { src_i32x4[i >> 2u] = v; }

fn u32_at(i: u32) -> u32 { return src_u32[i]; }
fn u32_quad(i: u32) -> vec4u { return vec4u(src_u32[i], src_u32[i + 1u], src_u32[i + 2u], src_u32[i + 3u]); }
fn u32x4_at(i: u32) -> u32 { return src_u32x4[i >> 2u][i & 3u]; }
fn u32x4_quad(i: u32) -> vec4u { return src_u32x4[i >> 2u]; }
fn u32x4_put(i: u32, v: vec4u) { src_u32x4[i >> 2u] = v; }
fn u32x4_some(i: u32, v: vec4u, left: u32) { src_u32x4[i >> 2u] = v; }

// bool: a u32 of 0 or 1 in memory, 0.0 or 1.0 in registers
fn bool_at(i: u32) -> f32 { return f32(src_u32[i]); }
fn bool_quad(i: u32) -> vec4f { return vec4f(vec4u(src_u32[i], src_u32[i + 1u], src_u32[i + 2u], src_u32[i + 3u])); }
fn boolx4_at(i: u32) -> f32 { return f32(src_u32x4[i >> 2u][i & 3u]); }
fn boolx4_quad(i: u32) -> vec4f { return vec4f(src_u32x4[i >> 2u]); }
fn boolx4_put(i: u32, v: vec4f) { src_u32x4[i >> 2u] = vec4u(v != vec4f(0.0)); }
