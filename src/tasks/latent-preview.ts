// What latents look like, without the autoencoder: each colour as a sum over the channels of a latent, an eighth of the
// picture wide. Good enough to watch a picture come to be.
import { tensor } from '../ops/index.ts';
import { show } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** For each latent channel, then for the constant: red, green, blue, on a scale of -1 to 1. */
export type Factors = readonly (readonly [number, number, number])[];

/**
 * Of the autoencoder of Stable Diffusion 1 and 2, for latents as the U-Net has them: found by least squares on many pictures
 * (https://discuss.huggingface.co/t/decoding-latents-to-rgb-without-upscaling/23204).
 */
export const STABLE_DIFFUSION: Factors = [
  [0.298, 0.207, 0.208],
  [0.187, 0.286, 0.173],
  [-0.158, 0.189, 0.264],
  [-0.184, -0.271, -0.473],
  [0, 0, 0],
];

/** Latents [B, C, h, w] as pictures [B, 3, h, w] from about -1 to 1, as the autoencoder gives them. */
export function preview(latents: Tensor, factors: Factors = STABLE_DIFFUSION): Tensor {
  const [B, C, h, w] = latents.shape as [number, number, number, number];
  if (latents.rank !== 4 || C !== factors.length - 1) {
    throw new RangeError(`[preview] latents: got ${show(latents.shape)}, want [B, ${factors.length - 1}, h, w]`);
  }
  const weights = tensor(factors.slice(0, C)).reshape([C, 3, 1]);
  const colours = latents
    .reshape([B, C, 1, h * w])
    .mul(weights)
    .sum(1);
  return colours.add(tensor([...factors[C]!]).reshape([3, 1])).reshape([B, 3, h, w]);
}

const SAMPLES = 32;
const SIDE = 4; // latents of one colour; the middle of what is made of them counts

/** The factors that fit an autoencoder best: what `decode` makes of even latents [n, C, 4, 4], as [n, 3, H, W]. */
export async function fitFactors(channels: number, decode: (latents: Tensor) => Tensor): Promise<Factors> {
  // even latents of a lattice that fills the cube from -2 to 2 without a pattern (roots of x^(C + 1) = x + 1)
  let root = 2;
  for (let i = 0; i < 50; i++) root = (1 + root) ** (1 / (channels + 1));
  const points = Array.from({ length: SAMPLES }, (_, i) =>
    Array.from({ length: channels }, (_, c) => 4 * (((i + 1) / root ** (c + 1)) % 1) - 2),
  );
  using values = tensor(points);
  const even = values.reshape([SAMPLES, channels, 1, 1]).expand([SAMPLES, channels, SIDE, SIDE]);
  const made = decode(even.contiguous());
  const [H, W] = made.shape.slice(2) as [number, number];
  const middle = made
    .slice(2, Math.floor(H / 4), Math.ceil((3 * H) / 4))
    .slice(3, Math.floor(W / 4), Math.ceil((3 * W) / 4));
  using means = middle.mean([2, 3]);
  const colours = (await means.tolist()) as number[][];
  return leastSquares(
    points.map((p) => [...p, 1]),
    colours,
  ) as unknown as Factors;
}

/** X with A X nearest to B, by the normal equations. */
function leastSquares(A: readonly number[][], B: readonly number[][]): number[][] {
  const n = A[0]!.length;
  const product = (i: number, column: (row: number) => number) =>
    A.reduce((sum, row, r) => sum + row[i]! * column(r), 0);
  const rows = Array.from({ length: n }, (_, i) => [
    ...Array.from({ length: n }, (_, j) => product(i, (r) => A[r]![j]!)),
    ...B[0]!.map((_, j) => product(i, (r) => B[r]![j]!)),
  ]);
  for (let k = 0; k < n; k++) {
    const pivot = rows[k]!.map((v) => v / rows[k]![k]!);
    for (let i = 0; i < n; i++) {
      if (i !== k) rows[i] = rows[i]!.map((v, j) => v - rows[i]![k]! * pivot[j]!);
    }
    rows[k] = pivot;
  }
  return rows.map((row) => row.slice(n));
}
