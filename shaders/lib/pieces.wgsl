// A tensor larger than a binding may be is bound in pieces of PIECE_SIZE elements each; `piece_0` and so on stand for them.
alias PieceElement = vec4f;
alias PieceComponent = f32;
const PIECE_SIZE: u32 = 1u;
@group(0) @binding(0) var<storage, read_write> piece_0: array<PieceElement>;
@group(0) @binding(1) var<storage, read_write> piece_1: array<PieceElement>;
@group(0) @binding(2) var<storage, read_write> piece_2: array<PieceElement>;
@group(0) @binding(3) var<storage, read_write> piece_3: array<PieceElement>;

fn piece_load_2(i: u32) -> PieceElement {
  if (i < PIECE_SIZE) { return piece_0[i]; }
  return piece_1[i - PIECE_SIZE];
}
fn piece_load_3(i: u32) -> PieceElement {
  if (i < 2u * PIECE_SIZE) { return piece_load_2(i); }
  return piece_2[i - 2u * PIECE_SIZE];
}
fn piece_load_4(i: u32) -> PieceElement {
  if (i < 3u * PIECE_SIZE) { return piece_load_3(i); }
  return piece_3[i - 3u * PIECE_SIZE];
}
fn piece_store_2(i: u32, v: PieceElement) {
  if (i < PIECE_SIZE) { piece_0[i] = v; } else { piece_1[i - PIECE_SIZE] = v; }
}
fn piece_store_3(i: u32, v: PieceElement) {
  if (i < 2u * PIECE_SIZE) { piece_store_2(i, v); } else { piece_2[i - 2u * PIECE_SIZE] = v; }
}
fn piece_store_4(i: u32, v: PieceElement) {
  if (i < 3u * PIECE_SIZE) { piece_store_3(i, v); } else { piece_3[i - 3u * PIECE_SIZE] = v; }
}
fn piece_with(four: PieceElement, k: u32, v: PieceComponent) -> PieceElement {
  var all = four;
  all[k] = v;
  return all;
}
