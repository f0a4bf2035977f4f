// From the flat index of an element in a contiguous tensor to its place in a strided one (stride 0 broadcasts). A view is
// its sizes and strides, outermost first.
fn strided1(i: u32, stride: u32, offset: u32) -> u32 { return offset + i * stride; }
fn strided2(i: u32, size: u32, stride: vec2u, offset: u32) -> u32 {
  let outer = i / size;
  return offset + outer * stride.x + (i - outer * size) * stride.y;
}
fn strided3(i: u32, size: vec2u, stride: vec4u) -> u32 {  // the last of stride is the offset
  let a = i / size.y;
  let b = a / size.x;
  return stride.w + b * stride.x + (a - b * size.x) * stride.y + (i - a * size.y) * stride.z;
}
fn strided4(i: u32, size: vec4u, stride: vec4u, offset: u32) -> u32 {
  let a = i / size.w;
  let b = a / size.z;
  let c = b / size.y;
  return offset + c * stride.x + (b - c * size.y) * stride.y + (a - b * size.z) * stride.z + (i - a * size.w) * stride.w;
}
fn strided8(i: u32, size0: vec4u, size1: vec4u, stride0: vec4u, stride1: vec4u, offset: u32) -> u32 {
  let inner = size1.x * size1.y * size1.z * size1.w;
  let outer = i / inner;
  return strided4(outer, size0, stride0, strided4(i - outer * inner, size1, stride1, offset));
}
