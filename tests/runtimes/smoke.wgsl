// c = a b for square matrices of SIZE, row-major. One invocation for each element, k ascending, one f32 accumulator.
const SIZE: u32 = 64;

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3u) {
  var sum = 0.0;
  for (var k = 0u; k < SIZE; k++) {
    sum = fma(a[id.y * SIZE + k], b[k * SIZE + id.x], sum);
  }
  c[id.y * SIZE + id.x] = sum;
}
