// y[r, v] = x[r, v] for elements that are among the first `count` of ids[r] divided by the penalty, multiplied where negative
// (arXiv:1909.05858); as it is elsewhere. x, y: [rows, cols], ids: [rows, capacity], in order. A workgroup has a row.
alias X = f32;              // how x, ids and y are stored
alias IDS = i32;
alias Y = f32;
const WG: u32 = 256;        // threads of a workgroup

struct Params { rows: u32, cols: u32, capacity: u32, count: u32, penalty: f32 }
@group(0) @binding(0) var<storage, read> x: array<X>;
@group(0) @binding(1) var<storage, read> ids: array<IDS>;
@group(0) @binding(2) var<storage, read_write> y: array<Y>;
@group(0) @binding(3) var<uniform> p: Params;

fn x_at(i: u32) -> f32 { return x[i]; }
fn ids_at(i: u32) -> i32 { return ids[i]; }

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) num: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = min(wid.x + wid.y * num.x, p.rows - 1u);
  let base = row * p.cols;
  for (var i = lane; i < p.cols; i += WG) { y[base + i] = x_at(base + i); }
  storageBarrier();
  for (var i = lane; i < p.count; i += WG) {
    let id = u32(ids_at(row * p.capacity + i));
    if (id < p.cols) { // the same value, however often it is written
      let v = x_at(base + id);
      y[base + id] = select(v / p.penalty, v * p.penalty, v < 0.0);
    }
  }
}
