// y = x: what the device can stream. Each thread moves four quads, adjacent or a workgroup apart, whichever is faster here.
const WG: u32 = 64u;           // threads of a workgroup
const APART: bool = false;     // quads of a thread lie WG apart: neighbours read neighbours

@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) num: vec3u, @builtin(local_invocation_id) lid: vec3u,
) {
  let first = (wid.x + wid.y * num.x) * 4u * WG;
  let i = first + select(4u * lid.x, lid.x, APART);
  let step = select(1u, WG, APART);
  if (i + 3u * step >= arrayLength(&x)) { return; }
  let a = x[i];
  let b = x[i + step];
  let c = x[i + 2u * step];
  let d = x[i + 3u * step];
  y[i] = a;
  y[i + step] = b;
  y[i + 2u * step] = c;
  y[i + 3u * step] = d;
}
