// Sums of rows in the canonical order (docs/summation.md): within a segment two quads of partial sums, of the even and
// of the odd quads of elements; here they meet in a fixed tree.
alias V = vec4f;
fn row_tree(even: V, odd: V) -> f32 {
  let s = even + odd;
  return (s.x + s.z) + (s.y + s.w);
}
/* v with zeros after the first `left` elements */
fn row_head(v: V, left: u32) -> V { return select(V(0.0), v, vec4u(0u, 1u, 2u, 3u) < vec4u(left)); }

// Rows that eight neighbouring threads share, where threads are many: each has one of the eight partial sums, and all
// get the sum. Threads of a workgroup come here together.
var<workgroup> row_board: array<f32, 64>;
fn row_tree_of_lanes(v: f32, lane: u32) -> f32 {
  workgroupBarrier();
  row_board[lane] = v;
  workgroupBarrier();
  let i = lane & 0xfffffff8u;
  let even = V(row_board[i], row_board[i + 1u], row_board[i + 2u], row_board[i + 3u]);
  let odd = V(row_board[i + 4u], row_board[i + 5u], row_board[i + 6u], row_board[i + 7u]);
  return row_tree(even, odd);
}
fn row_max_of_lanes(v: f32, lane: u32) -> f32 {
  row_board[lane] = v;
  workgroupBarrier();
  var most = v;
  for (var i = lane & 0xfffffff8u; i <= (lane | 7u); i++) { most = max(most, row_board[i]); }
  return most;
}
