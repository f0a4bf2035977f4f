// Matrix products. Every kernel here sums in the same order (docs/summation.md), so which one runs is a choice of speed.
import matmulShader from '../../shaders/matmul.wgsl';
import matvecShader from '../../shaders/matvec.wgsl';
import { constOf, kernel } from '../exec/kernel.ts';
import type { Capabilities } from '../gpu/device.ts';
import type { Specialisation } from '../gpu/shader.ts';
import { checkTensors } from '../tensor/check.ts';
import { type DType, isFloat, isQuantised, plain, promote } from '../tensor/dtype.ts';
import { op } from '../tensor/op.ts';
import { broadcastShapes, contiguousStrides, show } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { full } from './create.ts';

const tiles = kernel(matmulShader);
const SEGMENT = constOf(matmulShader, 'SEGMENT');
const matvec = kernel(matvecShader);

/** A batch dimension with the strides of both operands and the result. */
type Batch = { size: number; a: number; w: number; y: number };
/** `heads`: the result is [..., M, H, N] in memory, H being the last batch dimension. */
type Attrs = { heads?: boolean };

const shapeOf = (a: Tensor, w: Tensor, { heads }: Attrs): number[] => {
  const [m, n] = [a.shape.at(-2)!, w.shape.at(-1)!];
  return heads ? [...a.shape.slice(0, -3), m, a.shape.at(-3)!, n] : [...a.shape.slice(0, -1), n];
};

/** The batch dimensions of a product, neighbours merged where all allow it, and the stride of the result's rows. */
function batches(a: Tensor, w: Tensor, attrs: Attrs): { batch: Batch[]; y_m: number } {
  const strides = contiguousStrides(shapeOf(a, w, attrs));
  const [y_m] = strides.splice(attrs.heads ? -3 : -2, 1) as [number];
  const batch: Batch[] = [];
  a.shape.slice(0, -2).forEach((size, i) => {
    if (size === 1) return;
    const next = { size, a: a.layout.strides[i]!, w: w.layout.strides[i]!, y: strides[i]! };
    const last = batch.at(-1);
    if (last && last.a === next.a * size && last.w === next.w * size && last.y === next.y * size)
      batch[batch.length - 1] = { ...next, size: last.size * size };
    else batch.push(next);
  });
  return { batch, y_m };
}

const BROADCAST = { load_rows: 'load_rows_of_lane', add_tile_terms: 'add_tile_terms_broadcast' };
const FEW = 4; // rows: of tokens that are generated
const LARGE = 2 ** 24; // multiplications from which a wider tile repays its compilation

type Tile = Specialisation & Record<'TILE_M' | 'TILE_N' | 'WORKGROUP_M' | 'WORKGROUP_N', number>;

/** The tile of a product and the threads that share it: as measured on software adapters (docs/summation.md); no GPU timed the others. */
function tile(m: number, n: number, k: number, { software, subgroupSize }: Capabilities): Tile {
  const rows = (most: number) => (m === 1 ? 1 : m <= 4 ? 4 : m <= 8 ? Math.min(8, most) : most);
  if (!software && m > 8) {
    return { main: 'main_shared', TILE_M: m > 32 ? 8 : 4, TILE_N: 1, WORKGROUP_M: 8, WORKGROUP_N: 16 };
  }
  if (!software) {
    const SPLIT = k <= SEGMENT ? 1 : Math.min(16, 2 ** Math.ceil(Math.log2(k / SEGMENT)));
    return { main: 'main_split', SPLIT, TILE_M: rows(8), TILE_N: 1, WORKGROUP_M: 1, WORKGROUP_N: 64 / SPLIT };
  }
  if (subgroupSize !== 4 && subgroupSize !== 8) {
    return { TILE_M: rows(8), TILE_N: m === 1 ? 1 : 2, WORKGROUP_M: 1, WORKGROUP_N: 8 };
  }
  const wide = subgroupSize === 4 && (m === 1 || m * n * k >= LARGE);
  return { TILE_M: rows(16), TILE_N: wide ? 2 : 1, WORKGROUP_M: 1, WORKGROUP_N: subgroupSize, ...BROADCAST };
}

const product = op<Attrs>(
  {
    name: 'matmul',
    epilogue: true,
    tiny: ([a]) => a!.shape.at(-2)! <= FEW,
    joins: true,
    saves: [0, 1],
    // da = dy w^T, dw = a^T dy
    backward: [
      (dy, { x, attrs }) => matmul(inBatches(dy, attrs), x[1]!.transpose(-2, -1)),
      (dy, { x, attrs }) => matmul(x[0]!.transpose(-2, -1), inBatches(dy, attrs)),
    ],
    flops: ([a], y) => 2 * y.size * a!.shape.at(-1)!,
    dispatch: ([a, w], y, attrs, capabilities) => {
      const [m, k] = a!.shape.slice(-2) as [number, number];
      const n = w!.shape.at(-1)!;
      const { batch: all, y_m } = batches(a!, w!, attrs);
      const [inner, outer] = all.reverse() as [Batch?, Batch?];
      const [a_m, a_k] = a!.layout.strides.slice(-2) as [number, number];
      const [w_k, w_n] = w!.layout.strides.slice(-2) as [number, number];
      const batch = (inner?.size ?? 1) * (outer?.size ?? 1);
      const params = {
        ...{ batch, inner: inner?.size ?? 1, m, n, k },
        ...{ a_offset: a!.layout.offset, a_outer: outer?.a ?? 0, a_inner: inner?.a ?? 0, a_m, a_k },
        ...{ w_offset: w!.layout.offset, w_outer: outer?.w ?? 0, w_inner: inner?.w ?? 0, w_k, w_n },
        ...{ y_offset: 0, y_outer: outer?.y ?? 0, y_inner: inner?.y ?? 0, y_m },
      };
      const quads = (...strides: number[]) => strides.every((s) => s % 4 === 0);
      const changes: Record<string, string | number> = { K_TAIL: `${k % 4 !== 0}`, N_TAIL: `${n % 4 !== 0}` };
      const aligned = n % 4 === 0 ? ['y'] : [];
      if (a_k !== 1) changes.a_four = 'a_four_strided';
      else if (quads(params.a_offset, params.a_outer, params.a_inner, a_m)) aligned.push('a');
      if (w_k !== 1) changes.w_block = w_n === 1 ? 'w_block_kn' : 'w_block_strided';
      const across = w_k === 1 ? w_n : w_k;
      if ((w_k === 1 || w_n === 1) && quads(params.w_offset, params.w_outer, params.w_inner, across)) aligned.push('w');
      const blocks = (...strides: number[]) => strides.every((s) => s % 32 === 0);
      if (isQuantised(w!.dtype) && w_k === 1 && blocks(k, params.w_offset, params.w_outer, params.w_inner, w_n)) {
        const { software, subgroupSize: LANES } = capabilities;
        if (m === 1 && batch === 1 && software && (LANES === 4 || LANES === 8) && aligned.includes('a')) {
          const { a_offset, w_offset } = params;
          const own = { LANES, N_TAIL: changes.N_TAIL!, add_block: `add_${w!.dtype}` };
          const groups = Math.ceil(n / (4 * LANES));
          return [
            matvec({ a: a!, w: w!, y }, { params: { n, k, a_offset, w_offset, w_n }, groups, aligned, changes: own }),
          ];
        }
        Object.assign(changes, { BLOCK: 32, w_block: 'w_block_scaled', w_scales: 'w_scales_of_rows' });
      }
      const t = tile(m, n, k, capabilities);
      const groups = batch * Math.ceil(m / (t.WORKGROUP_M * t.TILE_M)) * Math.ceil(n / (4 * t.WORKGROUP_N * t.TILE_N));
      return [tiles({ a: a!, w: w!, y }, { params, groups, aligned, changes: { ...changes, ...t } })];
    },
  },
  ([a, w], attrs) => ({ shape: shapeOf(a!, w!, attrs), dtype: 'f32' }),
);
const inBatches = (y: Tensor, { heads }: Attrs) => (heads ? y.transpose(-3, -2) : y);

const widest = (a: Tensor, b: Tensor): DType => {
  const dtype = promote(a.dtype, b.dtype);
  return isFloat(dtype) ? dtype : 'f32';
};

/**
 * a [..., M, K] times b [..., K, N]: [..., M, N], batches broadcast, one dimension as in torch.matmul. Sums in f32; what is
 * quantised is dequantised as it is read, with the bits of the product with its values. The result has the wider type of both (f32 for integers), or `dtype`.
 */
export function matmul(a: Tensor, b: Tensor, dtype?: DType): Tensor {
  checkTensors('matmul', { a, b });
  if (a.rank === 0 || b.rank === 0) throw new RangeError('[matmul] a number has no product of matrices; use mul');
  if (a.rank === 1) return matmul(a.unsqueeze(0), b, dtype).squeeze(b.rank === 1 ? 0 : -2);
  if (b.rank === 1) return matmul(a, b.unsqueeze(-1), dtype).squeeze(-1);
  if (a.shape.at(-1) !== b.shape.at(-2)) {
    const hint = a.shape.at(-1) === b.shape.at(-1) ? '; transpose b?' : '';
    throw new RangeError(`[matmul] inner sizes differ: got a ${show(a.shape)}, b ${show(b.shape)}${hint}`);
  }
  const [m, k] = a.shape.slice(-2) as [number, number];
  const n = b.shape.at(-1)!;
  if (b.rank === 2 && a.rank > 2 && k > 0)
    return matmul(a.reshape([-1, k]), b, dtype).reshape([...a.shape.slice(0, -1), n]);
  const batch = broadcastShapes('matmul', a.shape.slice(0, -2), b.shape.slice(0, -2));
  const result = dtype ?? widest(a, b);
  if (k === 0) return full([...batch, m, n], 0, result);
  const float = (t: Tensor) => (isFloat(plain(t.dtype)) ? t : t.to('f32'));
  let x = float(a).expand([...batch, m, k]);
  let w = float(b).expand([...batch, k, n]);
  const last = batch.length - 1;
  if (batch[last]! > 1 && w.layout.strides[last] === 0 && x.layout.strides[last] === m * x.layout.strides[last + 1]!) {
    const all = matmul(x.flatten(last, last + 1), w.select(last, 0), dtype); // w repeats: so many more rows
    return all.reshape([...batch, m, n]);
  }
  if (x.base.scalar !== null) x = x.contiguous();
  if (w.base.scalar !== null) w = w.contiguous();
  if (batches(x, w, {}).batch.length > 2) [x, w] = [x.contiguous(), w.contiguous()];
  return product([x, w]).to(result);
}

/**
 * a [..., H, M, K] times b [..., H, K, N], both floats of the same batch: the product as a view of [..., M, H, N], so that
 * rows of all heads side by side are no copy. Where that is not to be had, as it comes.
 */
export function matmulOfHeads(a: Tensor, b: Tensor, dtype: DType): Tensor {
  const attrs = { heads: true };
  const repeats = b.layout.strides.at(-3) === 0;
  const known = a.size > 0 && a.base.scalar === null && b.base.scalar === null && isFloat(b.dtype);
  if (a.rank < 3 || a.shape.at(-3) === 1 || a.shape.at(-2) === 1 || repeats || !known) return matmul(a, b, dtype);
  if (batches(a, b, attrs).batch.length > 2) return matmul(a, b, dtype);
  return product([a, b], attrs).to(dtype).transpose(-3, -2);
}
