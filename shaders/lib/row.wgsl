// Sums of rows in the canonical order (docs/summation.md): within a segment two quads of partial sums, of the even and
// of the odd quads of elements; here they meet in a fixed tree.
alias V = vec4f;
fn row_tree(even: V, odd: V) -> f32 {
  let s = even + odd;
  return (s.x + s.z) + (s.y + s.w);
}
/* v with zeros after the first `left` elements */
fn row_head(v: V, left: u32) -> V { return select(V(0.0), v, vec4u(0u, 1u, 2u, 3u) < vec4u(left)); }
