// Counter-based random numbers: Philox 4x32-10, Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3". Four words
// from a counter and a key, the same everywhere.
fn mul_high_(a: u32, b: u32) -> u32 {
  let low = (a & 0xffffu) * (b & 0xffffu);
  let left = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
  let right = (a & 0xffffu) * (b >> 16u) + (left & 0xffffu);
  return (a >> 16u) * (b >> 16u) + (left >> 16u) + (right >> 16u);
}
fn philox_(counter: vec4u, key: vec2u) -> vec4u {
  var c = counter;
  var k = key;
  for (var i = 0u; i < 10u; i++) {
    let a = vec2u(mul_high_(0xD2511F53u, c.x), 0xD2511F53u * c.x);
    let b = vec2u(mul_high_(0xCD9E8D57u, c.z), 0xCD9E8D57u * c.z);
    c = vec4u(b.x ^ c.y ^ k.x, b.y, a.x ^ c.w ^ k.y, a.y);
    k += vec2u(0x9E3779B9u, 0xBB67AE85u);
  }
  return c;
}
/* in [0, 1), a multiple of 2^-24 */
fn uniform_(word: u32) -> f32 { return f32(word >> 8u) * 5.9604644775390625e-8; }
