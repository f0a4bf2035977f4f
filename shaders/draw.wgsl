// y[r] = a place in row r of x, drawn with the probabilities softmax(x[r]) or the most probable one; -1 where the row has a
// NaN. x: [rows, cols] in order, y: [rows]. A workgroup has a row, a thread a run of adjacent elements; sums are taken in
// runs, then over the runs, each in ascending order: the canonical order of this op, whatever the row's length.
// Row r at `position` has a random number of its own: Philox of (position, r), keyed by the seed.
alias X = f32;              // how x and y are stored
alias Y = i32;
const WG: u32 = 256;        // threads of a workgroup: part of the canonical order
alias V = f32;              // functions of the library are of one element
alias VI = i32;
alias VU = u32;

struct Params { rows: u32, cols: u32, position: u32, seed_low: u32, seed_high: u32 }
@group(0) @binding(0) var<storage, read> x: array<X>;
@group(0) @binding(1) var<storage, read_write> y: array<Y>;
@group(0) @binding(2) var<uniform> p: Params;

fn x_at(i: u32) -> f32 { return x[i]; }
fn exp_(x: V) -> V { return exp(x); }
fn philox_(counter: vec4u, key: vec2u) -> vec4u { return counter; }
fn uniform_(word: u32) -> f32 { return f32(word); }

var<workgroup> best: array<f32, WG>;   // of each run
var<workgroup> place: array<i32, WG>;  // where that is; -1 of a run with a NaN, cols of none
var<workgroup> sum: array<f32, WG>;

// The first largest element; -1 where there is a NaN.
fn most() -> u32 {
  var top = 0u;
  for (var i = 0u; i < WG; i++) {
    if (place[i] < 0) { return i; }
    let is_empty = place[i] == i32(p.cols); // beyond a short row; -inf is less than what it holds
    if (!is_empty && (best[i] > best[top])) { top = i; }
  }
  return top;
}

// Draws, from the sums of the runs; `top` is the run of the largest element.
fn choice(row: u32, run: u32, top: u32) -> i32 { return drawn(row, run, top); }
fn likeliest(row: u32, run: u32, top: u32) -> i32 { return place[top]; }
fn drawn(row: u32, run: u32, top: u32) -> i32 {
  var total = 0.0;
  for (var i = 0u; i < WG; i++) { total += sum[i]; }
  let number = philox_(vec4u(p.position, row, 0u, 0u), vec2u(p.seed_low, p.seed_high)).x;
  let target_ = uniform_(number) * total; // below it, so some run reaches beyond
  var from_ = 0u;
  var before = 0.0;
  for (; from_ + 1u < WG; from_++) {
    let next = before + sum[from_];
    if (next > target_) { break; }
    before = next;
  }
  // within the run sums are of the run alone, as its total was made; the last that counts takes what rounding left over
  let rest = target_ - before;
  var within = 0.0;
  var found = place[top];
  for (var i = from_ * run; i < min((from_ + 1u) * run, p.cols); i++) {
    let w = exp_(x_at(row * p.cols + i) - best[top]);
    if (w > 0.0) { found = i32(i); }
    within += w;
    if (within > rest) { break; }
  }
  return found;
}

fn is_nan_(v: f32) -> bool { return (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u; }

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) num: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = wid.x + wid.y * num.x;
  let run = (p.cols + WG - 1u) / WG;
  let first = min(lane * run, p.cols);
  let end = min(first + run, p.cols);
  let base = min(row, p.rows - 1u) * p.cols;

  var top = -3.4028234663852886e38;
  var at = i32(p.cols);
  for (var i = first; i < end; i++) {
    let v = x_at(base + i);
    if (is_nan_(v)) {
      at = -1;
      break;
    }
    if (v > top || at == i32(p.cols)) {
      top = v;
      at = i32(i);
    }
  }
  best[lane] = top;
  place[lane] = at;
  workgroupBarrier();
  let top_run = most();
  let highest = best[top_run];
  var total = 0.0;
  for (var i = first; i < end; i++) { total += exp_(x_at(base + i) - highest); }
  sum[lane] = total;
  workgroupBarrier();
  if (lane == 0u && row < p.rows) {
    if (place[top_run] < 0) {
      y[row] = -1;
    } else {
      y[row] = choice(row, run, top_run);
    }
  }
}
