// The windows of a convolution as columns: y[b, (c, i, j), (oy, ox)] = x[b, c, oy * stride - pad + i * dilation, ...], zero
// outside. x: [batch * channels, height, width], y: [batch * channels, kernel, out], all in order; the last two of y are
// i, j and oy, ox. Or the transpose, fold: windows x added up where they lie in pictures y, in the order of (i, j). A thread makes
// four elements of y.
alias X = f32;             // how x and y are stored
alias Y = f32;
const WG: u32 = 64;        // threads of a workgroup

struct Params {
  n: u32, height: u32, width: u32, out_height: u32, out_width: u32, kernel_height: u32, kernel_width: u32,
  stride_y: u32, stride_x: u32, pad_y: u32, pad_x: u32, dilation_y: u32, dilation_x: u32,
}
@group(0) @binding(0) var<storage, read> x: array<X>;
@group(0) @binding(1) var<storage, read_write> y: array<Y>;
@group(0) @binding(2) var<uniform> p: Params;

fn x_at(i: u32) -> f32 { return x[i]; }
fn y_put(i: u32, v: vec4f) { for (var j = 0u; j < 4u; j++) { y[i + j] = v[j]; } }

fn element(n: u32) -> f32 { return element_of_window(n); }
fn element_of_window(n: u32) -> f32 {
  let a = n / p.out_width;
  let ox = n - a * p.out_width;
  let b = a / p.out_height;
  let oy = a - b * p.out_height;
  let c = b / p.kernel_width;
  let j = b - c * p.kernel_width;
  let plane = c / p.kernel_height;
  let i = c - plane * p.kernel_height;
  let iy = oy * p.stride_y + i * p.dilation_y - p.pad_y; // below zero wraps and is outside too
  let ix = ox * p.stride_x + j * p.dilation_x - p.pad_x;
  let inside = iy < p.height && ix < p.width;
  return select(0.0, x_at((plane * p.height + min(iy, p.height - 1u)) * p.width + min(ix, p.width - 1u)), inside);
}

fn element_of_picture(n: u32) -> f32 {
  let row = n / p.width;
  let plane = row / p.height;
  let iy = row - plane * p.height + p.pad_y;
  let ix = n - row * p.width + p.pad_x;
  var sum = 0.0;
  for (var i = 0u; i < p.kernel_height; i++) {
    let ay = iy - i * p.dilation_y; // below zero wraps and is outside too
    let oy = ay / p.stride_y;
    if (oy >= p.out_height || oy * p.stride_y != ay) { continue; }
    for (var j = 0u; j < p.kernel_width; j++) {
      let ax = ix - j * p.dilation_x;
      let ox = ax / p.stride_x;
      if (ox >= p.out_width || ox * p.stride_x != ax) { continue; }
      sum += x_at((((plane * p.kernel_height + i) * p.kernel_width + j) * p.out_height + oy) * p.out_width + ox);
    }
  }
  return sum;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) num: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = ((wid.x + wid.y * num.x) * WG + lane) * 4u;
  if (i < p.n) { y_put(i, vec4f(element(i), element(i + 1u), element(i + 2u), element(i + 3u))); }
}
