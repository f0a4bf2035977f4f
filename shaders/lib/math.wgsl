// Transcendental functions of f32 whose bits do not depend on the adapter: only + - * fma floor, integers and selects,
// each of which has one right result, where built-ins and `/` have a tolerance. Largest error in ulp over every fifth
// float, if fma rounds twice (software adapters) | once (GPUs):
//   exp_ 1.2 | 0.9   log_ 1.0 | 1.0   sin_ cos_ 3.3 | 3.3   tanh_ 3.3 | 3.0   erf_ 2.4 | 2.4   sigmoid_ 3.2 | 2.8
//   pow_ 1.8 | 1.8 (10^7 random pairs)
// exp_ is 0 below -87.33654 and inf above 88.72283. sin_ and cos_ have their bound for |x| <= 2^17; up to 2^22 they are
// off by no more than half an ulp of x, beyond they are NaN. tanh_ and erf_ reach exactly +-1.
// No result depends on subnormal arithmetic, which some adapters flush to zero: exp_ and sigmoid_ are 0 below 2^-126;
// sin_, tanh_ and erf_ return a subnormal x itself; log_ takes its bits as an integer. NaN gives NaN,
// tested on bits because compilers may assume that there is none. min, max and clamp of floats are slow on SwiftShader:
// bits are compared as integers instead.
// Polynomials are weighted Remez fits, coefficients rounded to f32 one by one and the rest fitted again. The comments
// give interval, degree and largest relative error before rounding of the arithmetic.

alias V = vec4f;  // a scalar kernel has f32, i32, u32 here
alias VI = vec4i;
alias VU = vec4u;

// |x| as bits.
fn magnitude_(x: V) -> VI {
  return bitcast<VI>(x) & VI(0x7fffffff);
}

// y with the sign of x.
fn copysign_(y: V, x: V) -> V {
  return bitcast<V>(magnitude_(y) | (bitcast<VI>(x) & VI(-0x80000000)));
}

// x itself where it is NaN or |x| < tiny (given by its bits), else y.
fn unless_tiny_(y: V, x: V, tiny: u32) -> V {
  return select(y, x, bitcast<VU>(magnitude_(x)) - VU(tiny) > VU(0x7f800000u - tiny));
}

// n by another name; `bound`, as bits, is above every n that matters. Compilers, Mesa's for one, turn fma(n, a, fma(n,
// b, x)) into fma(n, a + b, x) and would merge the parts of a constant that was split for accuracy; they cannot know
// that this is n. Neither can they move a factor of x into the constants here.
fn same_(n: V, bound: i32) -> V {
  return bitcast<V>(min(bitcast<VI>(n), VI(bound)));
}

// 2^n for whole n as a difference of exponent fields: n + 1.5 * 2^23 has n in its low bits, the product moves it up.
fn exponent_(n: V) -> VI {
  return bitcast<VI>(n + V(12582912.0)) * 8388608;
}

// x - n ln 2. The first part of ln 2 has 15 bits, so n times it is exact.
fn minus_ln2_(x: V, n: V) -> V {
  let p = n * V(0.693145751953125);
  return fma(n, V(-1.4286068e-6), x - p);
}

// e^x in [2^-126, 2^128). n = round(x / ln 2), then e^r on |r| <= ln 2 / 2: degree 6, 3.2e-9.
fn exp_core_(x: V) -> V {
  let n = floor(fma(x, V(1.44269504), V(0.5)));
  let r = minus_ln2_(x, n);
  var y = fma(r, V(0.00138389017), V(0.00836919248));
  y = fma(y, r, V(0.0416681021));
  y = fma(y, r, V(0.166665167));
  y = fma(y, r, V(0.49999994));
  y = fma(y, r, V(1.0));
  y = fma(y, r, V(1.0));
  return bitcast<V>(bitcast<VI>(y) + exponent_(n));
}

// (e^x - 1) / 2 for -80 <= x < 128 ln 2. expm1(r) on |r| <= ln 2 / 2: degree 7, 4.7e-10.
fn expm1_half_(x: V) -> V {
  let n = floor(fma(x, V(1.44269504), V(0.5)));
  let r = minus_ln2_(x, n);
  var y = fma(r, V(0.000196645429), V(0.00139350467));
  y = fma(y, r, V(0.00833364297));
  y = fma(y, r, V(0.0416664667));
  y = fma(y, r, V(0.166666657));
  y = fma(y, r, V(0.5));
  y = fma(r * r, y, r);
  let scale = bitcast<V>(exponent_(n) + VI(0x3f000000)); // 2^(n-1)
  return fma(scale, y, scale - V(0.5));
}

// -1 / x on [1/2, 1]: quadratic, 1.0e-2, and two Newton steps.
fn minus_rcp_(x: V) -> V {
  var y = fma(x, V(-2.58585811), V(5.81818104));
  y = fma(y, x, V(-4.24242401));
  y = fma(fma(x, y, V(1.0)), y, y);
  return fma(fma(x, y, V(1.0)), y, y);
}

// e^x.
fn exp_(x: V) -> V {
  let v = same_(x, 0x42b20000); // 89
  var y = min(bitcast<VI>(exp_core_(v)), VI(0x7f800000));
  y = select(y, VI(0), v < V(-87.33654));
  return bitcast<V>(select(y, bitcast<VI>(x), magnitude_(x) > VI(0x7f800000)));
}

// log(1 + f) + n ln 2 for 1 + f in [sqrt 1/2, sqrt 2]: f - f^2 / 2 + f^3 P(f), P of degree 7, 5.9e-9.
fn log_core_(f: V, n: V) -> V {
  var y = fma(f, V(-0.0764116943), V(0.127657175));
  y = fma(y, f, V(-0.131595463));
  y = fma(y, f, V(0.142010719));
  y = fma(y, f, V(-0.16623345));
  y = fma(y, f, V(0.200012594));
  y = fma(y, f, V(-0.250008225));
  y = fma(y, f, V(0.333333313));
  y = fma(y, f, V(-0.5));
  y = fma(f * f, y, f);
  y = fma(same_(n, 0x4e000000), V(1.4286068e-6), y);
  return fma(n, V(0.693145751953125), y);
}

// y, but -inf for x = 0, NaN for x < 0, x itself for inf and NaN.
fn log_special_(y: V, x: V) -> V {
  let i = bitcast<VI>(x);
  var z = select(i | VI(0x7fc00000), i, i > VI(0));
  z = select(z, VI(-0x00800000), magnitude_(x) == VI(0));
  return bitcast<V>(select(bitcast<VI>(y), z, bitcast<VU>(i) - VU(1u) > VU(0x7f7ffffeu)));
}

// The natural logarithm.
fn log_(x: V) -> V {
  let i = bitcast<VI>(x);
  let subnormal = i < VI(0x00800000);
  let m = select(i, bitcast<VI>(V(i)), subnormal); // bits of x * 2^149, a whole number
  let e = (m - VI(0x3f3504f3)) & VI(-0x00800000);  // exponent field of x / sqrt 1/2, less that of 1
  let n = fma(V(e), V(1.1920929e-7), select(V(0.0), V(-149.0), subnormal));
  return log_special_(log_core_(bitcast<V>(m - e) - V(1.0), n), x);
}

// x without its last 12 bits: products of two such numbers are exact.
fn head_(x: V) -> V {
  return bitcast<V>(bitcast<VI>(x) & VI(-4096));
}

// a^y for a > 0, |y| <= 2^33, as 2^(y log2 a); inf from 2^128 on, 0 below 2^-126. What is not rounded is exact, and log2 a =
// high + low is off by 2^-30 of itself: a = m 2^n with m in [0.866, 1.732], c = 1 or 1.5, s = (m - c) / (m + c),
// log2 m = log2 c + 2 / ln 2 (s + s^3 / 3 + ...); the series of degree 2 in s^2 <= 0.0103, 3.0e-8. Then 2^r on |r| <= 1 / 2:
// degree 6, 3.0e-9.
fn pow_core_(a: VI, y: V) -> V {
  let subnormal = a < VI(0x00800000);
  let i = select(a, bitcast<VI>(V(a)), subnormal); // bits of a * 2^149, a whole number
  let e = (i - VI(0x3f5db3d7)) & VI(-0x00800000);
  let n = fma(V(e), V(1.1920929e-7), select(V(0.0), V(-149.0), subnormal));
  let m = bitcast<V>(i - e);
  let upper = m >= V(1.2247449);
  let c = select(V(1.0), V(1.5), upper);
  let d = head_(m + c);
  let f = m - c;
  let rcp = minus_rcp_((m + c) * V(0.25)) * V(-0.25);
  let s1 = head_(f * rcp);
  let s2 = fma(-same_(s1, 0x7f000000), m - (d - c), fma(-s1, d, f)) * rcp;
  let s = s1 + s2;
  let z = s * s;
  let u = V(2.884765625) * s1; // 2 / ln 2 = 2.884765625 + 6.244568e-4
  var t = fma(z, V(0.14522895), V(0.19998744));
  t = fma(t, z, V(0.33333334)) * z;
  t = fma(s * V(2.8853900), t, same_(fma(V(2.884765625), s2, V(6.244568e-4) * s), 0x7f000000));
  let base = n + select(V(0.0), V(0.5849609375), upper); // log2 1.5 = 0.5849609375 + 1.5632212e-6
  let high = same_(base + u, 0x7f000000);
  let low = ((base - high) + u) + (same_(t, 0x7f000000) + select(V(0.0), V(1.5632212e-6), upper));

  let l = head_(high);
  let y1 = head_(y);
  let p = y1 * l;
  let q = same_(fma(y - y1, l, y * ((high - l) + low)), 0x7f000000);
  let sum = p + q;
  let k = floor(copysign_(bitcast<V>(min(magnitude_(sum), VI(0x43480000))), sum) + V(0.5)); // within 200
  let r = (p - k) + q;
  var v = fma(r, V(0.0001532931), V(0.001339097));
  v = fma(v, r, V(0.009618499));
  v = fma(v, r, V(0.055503596));
  v = fma(v, r, V(0.24022648));
  v = fma(v, r, V(0.6931472));
  v = fma(v, r, V(1.0));
  let w = select(bitcast<VI>(v) + exponent_(k), VI(0), sum < V(-126.0));
  return bitcast<V>(select(w, VI(0x7f800000), sum >= V(128.0)));
}

// x^y as C has it: 1 for y = 0 (or subnormal) and for x = 1, whatever the other; NaN for x < 0 unless y is whole.
fn pow_(x: V, y: V) -> V {
  let a = magnitude_(x);
  let b = magnitude_(y);
  let v = copysign_(bitcast<V>(min(b, VI(0x50000000))), y); // what y beyond 2^33 does, 2^33 does; it is even, as inf
  let whole = floor(v) == v;
  let odd = whole & (floor(v * V(0.5)) != v * V(0.5));
  let up = (bitcast<VI>(y) < VI(0)) == (a == VI(0)); // of 0 and inf: to inf, not to 0
  var w = bitcast<VI>(pow_core_(a, v));
  w = select(w, select(VI(0), VI(0x7f800000), up), (a == VI(0)) | (a == VI(0x7f800000)));
  let negative = bitcast<VI>(x) < VI(0);
  w = select(w, w | VI(-0x80000000), negative & odd);
  let none = negative & !whole & (a != VI(0)) & (a != VI(0x7f800000));
  w = select(w, VI(0x7fc00000), none | (a > VI(0x7f800000)) | (b > VI(0x7f800000)));
  return bitcast<V>(select(w, VI(0x3f800000), (b < VI(0x00800000)) | (bitcast<VI>(x) == VI(0x3f800000))));
}

// sin(x + turn pi / 2) for x >= 0. n = round(x / (pi / 2)) has 17 bits up to x = 2^17; the parts of pi / 2 have 8, 6,
// 6, 5, 6 and 24 bits, so n times each but the last is exact. |r| <= 0.8025: sine of degree 7, 4.9e-9; cosine of degree
// 8, 1.6e-10.
fn sin_turned_(x: V, turn: i32) -> V {
  let n = floor(fma(x, V(0.636619772), V(0.5)));
  let m = same_(n, 0x4e000000);
  var r = fma(n, V(-1.5703125), x);
  r = fma(m, V(-0.00048065185546875), r);
  r = fma(n, V(-3.159046173095703e-6), r);
  r = fma(m, V(-1.5832483768463135e-8), r);
  r = fma(n, V(-6.0026650317013264e-11), r);
  r = fma(m, V(-7.443548e-13), r);
  let z = r * r;
  var s = fma(z, V(-0.000194956636), V(0.00833201408));
  s = fma(s, z, V(-0.166666523));
  s = fma(r * z, s, r);
  var c = fma(z, V(2.44120856e-5), V(-0.00138871302));
  c = fma(c, z, V(0.0416666418));
  c = fma(z * z, c, fma(z, V(-0.5), V(1.0)));
  let q = bitcast<VI>(n + V(12582912.0)) + VI(turn);
  let y = bitcast<VI>(select(s, c, (q & VI(1)) == VI(1))) ^ ((q & VI(2)) * 0x40000000);
  return bitcast<V>(select(y, bitcast<VI>(x) | VI(0x7fc00000), bitcast<VI>(x) > VI(0x4a800000)));
}

fn sin_(x: V) -> V {
  let y = bitcast<VI>(sin_turned_(abs(x), 0)) ^ (bitcast<VI>(x) & VI(-0x80000000));
  return unless_tiny_(bitcast<V>(y), x, 0x39800000u);
}

fn cos_(x: V) -> V {
  return sin_turned_(abs(x), 1);
}

// 1 - 2 / (e^2x + 1), as -h / (1 + h) with h = (e^-2|x| - 1) / 2; +-1 from |x| = 10 at the latest.
fn tanh_(x: V) -> V {
  let h = expm1_half_(bitcast<V>(min(magnitude_(x), VI(0x41200000))) * V(-2.0));
  return unless_tiny_(copysign_(h * minus_rcp_(h + V(1.0)), x), x, 0x39800000u);
}

// 1 / (1 + e^-x); for x < 0 as e^x / (1 + e^x).
fn sigmoid_(x: V) -> V {
  let a = bitcast<V>(bitcast<VI>(x) | VI(-0x80000000)); // -|x|
  let e = select(exp_core_(a), V(0.0), a < V(-87.33654));
  let y = minus_rcp_(fma(e, V(0.5), V(0.5))) * V(-0.5);
  return unless_tiny_(y * select(V(1.0), e, bitcast<VI>(x) < VI(0)), x, 0u);
}

// The error function. |x| < 0.9: x P(x^2), degree 11, 1.2e-8 and 5.2e-8 of 2 / sqrt pi. Above: 1 - P(|x|)^4, P =
// erfc^(1/4) on [0.9, 3.93] of degree 8, 1.4e-8 of the result, which is 1 at 3.93.
fn erf_(x: V) -> V {
  let a = bitcast<V>(min(magnitude_(x), VI(0x407b851f)));
  let z = a * a;
  var s = fma(z, V(-0.000533571467), V(0.00486067217));
  s = fma(s, z, V(-0.026672991));
  s = fma(s, z, V(0.112791233));
  s = fma(s, z, V(-0.376122236));
  s = fma(s, z, V(1.12837911));
  var p = fma(a, V(-3.01131838e-5), V(0.000301652413));
  p = fma(p, a, V(-5.62121277e-5));
  p = fma(p, a, V(-0.00963110756));
  p = fma(p, a, V(0.0366855897));
  p = fma(p, a, V(-0.00731527247));
  p = fma(p, a, V(-0.10219001));
  p = fma(p, a, V(-0.289279372));
  p = fma(p, a, V(1.00128436));
  p = p * p;
  let y = select(fma(-p, p, V(1.0)), s * a, a < V(0.9));
  return unless_tiny_(copysign_(y, x), x, 0x00800000u);
}
