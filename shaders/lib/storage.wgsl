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

// q8 and q4: blocks of 32 elements with halves of their own (shaders/quantise.wgsl has the rule), in units of whole vec4u.
// q8: 256 elements in 17: eight d, two in a u32; then bytes, q + 128. The value is q d.
// q4: 128 elements in 5: four u32 of d and m; then nibbles, q. The value is q d + m.
// Products with d are exact in f32, so neither the adapter nor the order of operations shows. A shift is dear on
// SwiftShader: bytes and nibbles are masked where they lie and scaled, the topmost byte as a signed number.
fn q8_bytes(word: u32) -> vec4f {
  let biased = (vec4u(word) ^ vec4u(0u, 0u, 0u, 0x80000000u)) & vec4u(0xffu, 0xff00u, 0xff0000u, 0xff000000u);
  let scale = vec4f(1.0, 0.00390625, 0.0000152587890625, 0.000000059604644775390625); // 2^-8 a byte
  return fma(vec4f(bitcast<vec4i>(biased)), scale, vec4f(-128.0, -128.0, -128.0, 0.0));
}
fn q4_nibbles(half_word: u32, s: vec2f) -> vec4f {
  let raw = vec4u(half_word) & vec4u(0xfu, 0xf0u, 0xf00u, 0xf000u);
  let d = vec4f(s.x) * vec4f(1.0, 0.0625, 0.00390625, 0.000244140625); // 2^-4 a nibble
  return fma(vec4f(bitcast<vec4i>(raw)), d, vec4f(s.y));
}
fn q8_d(scales: u32, i: u32) -> f32 { return unpack2x16float(scales)[(i >> 5u) & 1u]; }
// where element i of q8, of q4 has its integer, in vec4u; and its nibble in the low half of its u32
fn q8_place(i: u32) -> u32 { return (i >> 8u) * 17u + 1u + ((i >> 4u) & 15u); }
fn q4_place(i: u32) -> u32 { return (i >> 7u) * 5u + 1u + ((i >> 5u) & 3u); }
fn q4_half(word: u32, i: u32) -> u32 { return word >> ((i & 4u) * 4u); }

fn q8_at(i: u32) -> f32 {
  let d = q8_d(src_u32x4[(i >> 8u) * 17u][(i >> 6u) & 3u], i);
  return q8_bytes(src_u32x4[q8_place(i)][(i >> 2u) & 3u])[i & 3u] * d;
}
fn q8x4_at(i: u32) -> f32 {
  let d = q8_d(src_u32x4[(i >> 8u) * 17u][(i >> 6u) & 3u], i);
  return q8_bytes(src_u32x4[q8_place(i)][(i >> 2u) & 3u])[i & 3u] * d;
}
fn q8_quad(first: u32) -> vec4f {
  var v = vec4f();
  for (var k = 0u; k < 4u; k++) {
    let i = first + k;
    let d = q8_d(src_u32x4[(i >> 8u) * 17u][(i >> 6u) & 3u], i);
    v[k] = q8_bytes(src_u32x4[q8_place(i)][(i >> 2u) & 3u])[i & 3u] * d;
  }
  return v;
}
fn q8x4_quad(i: u32) -> vec4f {
  let d = q8_d(src_u32x4[(i >> 8u) * 17u][(i >> 6u) & 3u], i);
  return q8_bytes(src_u32x4[q8_place(i)][(i >> 2u) & 3u]) * d;
}
// what a block shares, and a quad of it by that
fn q8x4_scale(i: u32) -> vec2f { return vec2f(q8_d(src_u32x4[(i >> 8u) * 17u][(i >> 6u) & 3u], i), 0.0); }
fn q8x4_scaled(i: u32, s: vec2f) -> vec4f { return q8_bytes(src_u32x4[q8_place(i)][(i >> 2u) & 3u]) * s.x; }

fn q4_at(i: u32) -> f32 {
  let s = unpack2x16float(src_u32x4[(i >> 7u) * 5u][(i >> 5u) & 3u]);
  return q4_nibbles(q4_half(src_u32x4[q4_place(i)][(i >> 3u) & 3u], i), s)[i & 3u];
}
fn q4x4_at(i: u32) -> f32 {
  let s = unpack2x16float(src_u32x4[(i >> 7u) * 5u][(i >> 5u) & 3u]);
  return q4_nibbles(q4_half(src_u32x4[q4_place(i)][(i >> 3u) & 3u], i), s)[i & 3u];
}
fn q4_quad(first: u32) -> vec4f {
  var v = vec4f();
  for (var k = 0u; k < 4u; k++) {
    let i = first + k;
    let s = unpack2x16float(src_u32x4[(i >> 7u) * 5u][(i >> 5u) & 3u]);
    v[k] = q4_nibbles(q4_half(src_u32x4[q4_place(i)][(i >> 3u) & 3u], i), s)[i & 3u];
  }
  return v;
}
fn q4x4_quad(i: u32) -> vec4f {
  let s = unpack2x16float(src_u32x4[(i >> 7u) * 5u][(i >> 5u) & 3u]);
  return q4_nibbles(q4_half(src_u32x4[q4_place(i)][(i >> 3u) & 3u], i), s);
}
fn q4x4_scale(i: u32) -> vec2f { return unpack2x16float(src_u32x4[(i >> 7u) * 5u][(i >> 5u) & 3u]); }
fn q4x4_scaled(i: u32, s: vec2f) -> vec4f { return q4_nibbles(q4_half(src_u32x4[q4_place(i)][(i >> 3u) & 3u], i), s); }
