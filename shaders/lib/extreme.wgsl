// The larger and the smaller of two; NaN if either is. That is found by bits, because compilers may assume that there is none.
fn is_nan(x: vec4f) -> vec4<bool> { return (bitcast<vec4u>(x) & vec4u(0x7fffffffu)) > vec4u(0x7f800000u); }
fn maximum(a: vec4f, b: vec4f) -> vec4f { return select(b, a, ((a >= b) & !is_nan(b)) | is_nan(a)); }
fn minimum(a: vec4f, b: vec4f) -> vec4f { return select(b, a, ((a <= b) & !is_nan(b)) | is_nan(a)); }
