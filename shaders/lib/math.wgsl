// Transcendental functions of f32 whose bits do not depend on the adapter. Only + - * fma floor, integers and selects: each of
// them has one right result, where the built-ins and `/` have a tolerance. Valid whether fma rounds once or twice (bound in ulp
// over all floats, both ways): exp_ 1, log_ 1, sin_ cos_ 2 (|x| <= 2^17, bounded by 1 beyond), tanh_ 3, erf_ 2, sigmoid_ 3.
// No step reads or makes a subnormal number, which some adapters flush to zero: exp_ and sigmoid_ are 0 below 2^-126; sin_, tanh_
// and erf_ return a subnormal x itself; log_ takes its bits as an integer and is exact there too. NaN gives NaN, tested on bits
// because compilers may assume that there is none. Polynomials: weighted Remez, coefficients rounded to f32 one by one with
// the rest fitted again; each comment gives interval, degree and largest relative error without rounding.

alias V = vec4f;  // f32, i32, u32 in a scalar kernel
alias VI = vec4i;
alias VU = vec4u;

// 2^n for whole n in [-126, 127]: n + 1.5 * 2^23 holds n in its low bits, the product moves it to the exponent field.
fn exponent_(n: V) -> VI {
  return bitcast<VI>(n + V(12582912.0)) * 8388608;
}

// n by another name (any |n| < 1e9). Compilers, Mesa's for one, turn fma(n, a, fma(n, b, x)) into fma(n, a + b, x), which would
// merge the parts of a constant that was split for accuracy; they do not know that both factors are the same.
fn same_(n: V) -> V {
  return min(n, V(1e9));
}

// x - n ln 2; the first part of ln 2 has 15 bits, so n times it is exact.
fn minus_ln2_(x: V, n: V) -> V {
  let p = n * V(0.693145751953125);
  return fma(n, V(-1.4286068e-6), x - p);
}

// e^x for e^x in [2^-126, 2^128). n = round(x / ln 2); e^r on |r| <= ln 2 / 2, degree 6, 3.2e-9.
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

// (e^x - 1) / 2 for -80 <= x < 128 ln 2. expm1(r) on |r| <= ln 2 / 2, degree 7, 4.7e-10.
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

// 1 / x on [1/2, 1]: quadratic, 1.0e-2, then two Newton steps.
fn rcp_(x: V) -> V {
  var y = fma(x, V(2.58585811), V(-5.81818104));
  y = fma(y, x, V(4.24242401));
  y = fma(fma(-x, y, V(1.0)), y, y);
  return fma(fma(-x, y, V(1.0)), y, y);
}

// y with the sign of x.
fn copysign_(y: V, x: V) -> V {
  return bitcast<V>((bitcast<VU>(y) & VU(0x7fffffffu)) | (bitcast<VU>(x) & VU(0x80000000u)));
}

// x itself where |x| < tiny (given by its bits) or NaN, else y.
fn unless_tiny_(y: V, x: V, tiny: u32) -> V {
  let rest = (bitcast<VU>(x) & VU(0x7fffffffu)) - VU(tiny);
  return select(y, x, rest > VU(0x7f800000u - tiny));
}

// e^x; inf above 88.72283, 0 below -87.33654.
fn exp_(x: V) -> V {
  let i = bitcast<VI>(x);
  var y = min(bitcast<VI>(exp_core_(min(x, V(89.0)))), VI(0x7f800000));
  y = select(y, VI(0), bitcast<VU>(x) > VU(0xc2aeac4fu));
  y = select(y, i, (i & VI(0x7fffffff)) > VI(0x7f800000));
  return bitcast<V>(y);
}

// e^x - 1, exact for small x.
fn expm1_(x: V) -> V {
  let i = bitcast<VI>(x);
  let h = expm1_half_(max(x, V(-20.0)));
  let y = select(bitcast<VI>(h + h), VI(0x7f800000), i > VI(0x42b17217));
  return unless_tiny_(bitcast<V>(y), x, 0x33000000u);
}

// log(1 + f) + n ln 2 on 1 + f in [sqrt 1/2, sqrt 2]: f - f^2 / 2 + f^3 P(f), P of degree 7, 5.9e-9.
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
  y = fma(same_(n), V(1.4286068e-6), y);
  return fma(n, V(0.693145751953125), y);
}

// The natural logarithm; -inf at 0, NaN below.
fn log_(x: V) -> V {
  let i = bitcast<VI>(x);
  let subnormal = i < VI(0x00800000);
  let m = select(i, bitcast<VI>(V(i)), subnormal); // x * 2^149, an integer
  let e = (m - VI(0x3f3504f3)) & VI(-8388608);     // exponent field of x / sqrt(1/2)
  let n = fma(V(e), V(1.1920929e-7), select(V(0.0), V(-149.0), subnormal));
  let y = log_core_(bitcast<V>(m - e) - V(1.0), n);
  var special = select(i | VI(0x7fc00000), i, i > VI(0)); // NaN for x < 0; inf and NaN stay
  special = select(special, VI(-8388608), (i & VI(0x7fffffff)) == VI(0));
  return bitcast<V>(select(bitcast<VI>(y), special, bitcast<VU>(x) - VU(1u) >= VU(0x7f7fffffu)));
}

// sin(x + turn pi / 2) for x >= 0. n = round(x / (pi / 2)) has 17 bits up to 2^17, so the parts of pi / 2 have 8, 6, 6, 5, 6 and 24:
// n times each but the last is exact. On |r| <= 0.8025 (pi / 4 and the error of n): sine of degree 7, 4.9e-9; cosine of degree 8, 1.6e-10.
fn sin_turned_(x: V, turn: i32) -> V {
  let n = floor(fma(x, V(0.636619772), V(0.5)));
  let m = same_(n);
  var r = fma(n, V(-1.5703125), x);
  r = fma(m, V(-0.00048065185546875), r);
  r = fma(n, V(-3.159046173095703125e-6), r);
  r = fma(m, V(-1.58324837684631348e-8), r);
  r = fma(n, V(-6.00266503170132637e-11), r);
  r = fma(m, V(-7.44354748e-13), r);
  r = clamp(r, V(-0.81), V(0.81));
  let z = r * r;
  var s = fma(z, V(-0.000194956636), V(0.00833201408));
  s = fma(s, z, V(-0.166666523));
  s = fma(r * z, s, r);
  var c = fma(z, V(2.44120856e-5), V(-0.00138871302));
  c = fma(c, z, V(0.0416666418));
  c = fma(z * z, c, fma(z, V(-0.5), V(1.0)));
  let q = bitcast<VI>(n + V(12582912.0)) + VI(turn);
  let y = select(s, c, (q & VI(1)) == VI(1));
  let i = bitcast<VI>(x);
  return bitcast<V>(select(bitcast<VI>(y) ^ ((q & VI(2)) * 0x40000000), i | VI(0x7fc00000), i >= VI(0x7f800000)));
}

fn sin_(x: V) -> V {
  let y = bitcast<VU>(sin_turned_(abs(x), 0));
  return unless_tiny_(bitcast<V>(y ^ (bitcast<VU>(x) & VU(0x80000000u))), x, 0x39800000u);
}

fn cos_(x: V) -> V {
  return sin_turned_(abs(x), 1);
}

// 1 - 2 / (e^2x + 1), as -h / (1 + h) with h = (e^-2|x| - 1) / 2; +-1 from |x| = 10.
fn tanh_(x: V) -> V {
  let h = expm1_half_(max(abs(x) * -2.0, V(-20.0)));
  return unless_tiny_(copysign_(h * rcp_(V(1.0) + h), x), x, 0x39800000u);
}

// The error function. |x| < 0.9: x P(x^2), degree 11, 1.2e-8 (2 / sqrt(pi) itself rounds by 5.2e-8). Above: 1 - P(|x|)^4,
// degree 8, P = erfc^(1/4) on [0.9, 3.93], 1.4e-8.
fn erf_(x: V) -> V {
  let a = min(abs(x), V(3.93));
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

// 1 / (1 + e^-x); for x < 0 as e^x / (1 + e^x).
fn sigmoid_(x: V) -> V {
  let a = abs(x);
  let e = select(V(0.0), exp_core_(-a), a < V(87.33654));
  let y = rcp_(fma(e, V(0.5), V(0.5))) * V(0.5) * select(V(1.0), e, bitcast<VI>(x) < VI(0));
  return unless_tiny_(y, x, 0u);
}
