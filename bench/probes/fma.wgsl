// Chains of fma in registers: what the device can multiply and add. Three chains of vec4 are enough to keep it busy and
// few enough to stay in the registers of a CPU; in a pass each has 8 fma.
const WG: u32 = 64u;       // threads of a workgroup
const PASSES: u32 = 512u;  // passes of the loop

@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) gid: vec3u) {
  let x0 = x[gid.x % 64u];
  let s = vec4f(x0.x);
  let t = vec4f(x0.y);
  var a = x0;
  var b = x0 + 1.0;
  var c = x0 + 2.0;
  for (var i = 0u; i < PASSES; i++) {
    a = fma(a, s, t); b = fma(b, s, t); c = fma(c, s, t);
    a = fma(a, s, t); b = fma(b, s, t); c = fma(c, s, t);
    a = fma(a, s, t); b = fma(b, s, t); c = fma(c, s, t);
    a = fma(a, s, t); b = fma(b, s, t); c = fma(c, s, t);
    a = fma(a, s, t); b = fma(b, s, t); c = fma(c, s, t);
    a = fma(a, s, t); b = fma(b, s, t); c = fma(c, s, t);
    a = fma(a, s, t); b = fma(b, s, t); c = fma(c, s, t);
    a = fma(a, s, t); b = fma(b, s, t); c = fma(c, s, t);
  }
  y[gid.x % 4096u] = a + b + c;
}
