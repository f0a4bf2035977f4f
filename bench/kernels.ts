// What each kernel of the matrix is: its inputs, what it costs, and its result in float64 at any place.
import { gelu } from '../tests/reference.ts';
import type { Input, Values } from './data.ts';

/** The value of an output element by its place, from the inputs. */
type Expected = (...x: Values[]) => (i: number) => number;

export type Kernel = {
  inputs: Input[];
  output: number[];
  /** Operations of products; 0 where there are none worth counting. */
  flops: number;
  /** Bytes that must move: each input and the output once. */
  bytes: number;
  /** None for models: their sides are compared with each other. */
  expected?: Expected;
};

const size = (shape: readonly number[]) => shape.reduce((n, d) => n * d, 1);

function kernel(shapes: number[][], output: number[], flops: number, expected: Expected): Kernel {
  const bytes = 4 * [...shapes, output].reduce((n, shape) => n + size(shape), 0);
  return { inputs: shapes.map((shape) => ({ shape })), output, flops, bytes, expected };
}

/** Sum of f(0) ... f(n - 1). */
function sum(n: number, f: (i: number) => number): number {
  let total = 0;
  for (let i = 0; i < n; i++) total += f(i);
  return total;
}

const matmul = (M: number, K: number, N: number) =>
  kernel(
    [
      [M, K],
      [K, N],
    ],
    [M, N],
    2 * M * K * N,
    (a, b) => (i) => {
      const [m, n] = [Math.floor(i / N), i % N];
      return sum(K, (k) => a[m * K + k]! * b[k * N + n]!);
    },
  );

const linear = (M: number, K: number, N: number) =>
  kernel([[M, K], [N, K], [N]], [M, N], 2 * M * K * N, (a, w, bias) => (i) => {
    const [m, n] = [Math.floor(i / N), i % N];
    return bias[n]! + sum(K, (k) => a[m * K + k]! * w[n * K + k]!);
  });

/** B pictures of C channels, H x W, to O channels; the edge is padded with zeros so that the size stays. */
const conv = (k: number) => (B: number, C: number, H: number, W: number, O: number) => {
  const made = kernel(
    [
      [B, C, H, W],
      [O, C, k, k],
    ],
    [B, O, H, W],
    2 * B * C * O * H * W * k * k,
    (x, w) => (i) => {
      const [x0, y0] = [i % W, Math.floor(i / W) % H];
      const [o, b] = [Math.floor(i / (W * H)) % O, Math.floor(i / (W * H * O))];
      const half = (k - 1) / 2;
      return sum(C * k * k, (j) => {
        const [dx, dy, c] = [j % k, Math.floor(j / k) % k, Math.floor(j / (k * k))];
        const [px, py] = [x0 + dx - half, y0 + dy - half];
        if (px < 0 || py < 0 || px >= W || py >= H) return 0;
        return x[((b * C + c) * H + py) * W + px]! * w[((o * C + c) * k + dy) * k + dx]!;
      });
    },
  );
  made.inputs[1]!.shared = true; // a model's own: onnxruntime has it in the graph
  return made;
};

/** Remembers what `make` gave for the last row: neighbours in a sample share it. */
function perRow<T>(make: (row: number) => T): (row: number) => T {
  let last = -1;
  let value: T;
  return (row) => {
    if (row !== last) [value, last] = [make(row), row];
    return value;
  };
}

const softmaxOf = (scores: number[]) => {
  const most = Math.max(...scores);
  const terms = scores.map((s) => Math.exp(s - most));
  const total = sum(terms.length, (i) => terms[i]!);
  return terms.map((t) => t / total);
};

/** q, k, v [H, L, D], batch of one. */
const attention = (H: number, L: number, D: number) =>
  kernel(
    [
      [1, H, L, D],
      [1, H, L, D],
      [1, H, L, D],
    ],
    [1, H, L, D],
    4 * H * L * L * D,
    (q, k, v) => {
      const weights = perRow((row) => {
        const head = Math.floor(row / L) * L * D;
        const score = (j: number) => sum(D, (d) => q[row * D + d]! * k[head + j * D + d]!) / Math.sqrt(D);
        return softmaxOf(Array.from({ length: L }, (_, j) => score(j)));
      });
      return (i) => {
        const [row, d] = [Math.floor(i / D), i % D];
        const head = Math.floor(row / L) * L * D;
        const p = weights(row);
        return sum(L, (j) => p[j]! * v[head + j * D + d]!);
      };
    },
  );

const softmax = (R: number, C: number) =>
  kernel([[R, C]], [R, C], 0, (x) => {
    const row = perRow((r) => softmaxOf([...x.subarray(r * C, (r + 1) * C)]));
    return (i) => row(Math.floor(i / C))[i % C]!;
  });

const layer_norm = (R: number, C: number) =>
  kernel([[R, C], [C], [C]], [R, C], 0, (x, w, b) => {
    const row = perRow((r) => {
      const mean = sum(C, (c) => x[r * C + c]!) / C;
      const variance = sum(C, (c) => (x[r * C + c]! - mean) ** 2) / C;
      return { mean, scale: 1 / Math.sqrt(variance + 1e-5) };
    });
    return (i) => {
      const { mean, scale } = row(Math.floor(i / C));
      return (x[i]! - mean) * scale * w[i % C]! + b[i % C]!;
    };
  });

const GROUPS = 32;
/** silu(group_norm(x)) of [B, C, H, W], with weights by channel. */
const group_norm_silu = (B: number, C: number, H: number, W: number) =>
  kernel([[B, C, H, W], [C], [C]], [B, C, H, W], 0, (x, w, b) => {
    const size = (C / GROUPS) * H * W;
    const group = perRow((g) => {
      const mean = sum(size, (i) => x[g * size + i]!) / size;
      const variance = sum(size, (i) => (x[g * size + i]! - mean) ** 2) / size;
      return { mean, scale: 1 / Math.sqrt(variance + 1e-5) };
    });
    return (i) => {
      const { mean, scale } = group(Math.floor(i / size));
      const c = Math.floor(i / (H * W)) % C;
      const y = (x[i]! - mean) * scale * w[c]! + b[c]!;
      return y / (1 + Math.exp(-y));
    };
  });

const rms_norm = (R: number, C: number) =>
  kernel([[R, C], [C]], [R, C], 0, (x, w) => {
    const row = perRow((r) => 1 / Math.sqrt(sum(C, (c) => x[r * C + c]! ** 2) / C + 1e-5));
    return (i) => x[i]! * row(Math.floor(i / C)) * w[i % C]!;
  });

const chain = (R: number, C: number) =>
  kernel([[R, C], [C], [C], [R, C]], [R, C], 0, (x, a, b, c) => (i) => gelu(x[i]! * a[i % C]! + b[i % C]!) * c[i]!);

/** Tokens of N texts: rows of a table [V, D]. Only the rows that are asked for move. */
const embedding = (V: number, D: number, N: number): Kernel => ({
  inputs: [
    { shape: [V, D], shared: true },
    { shape: [N], limit: V },
  ],
  output: [N, D],
  flops: 0,
  bytes: 4 * (N + 2 * N * D),
  expected: (table, ids) => (i) => table[ids[Math.floor(i / D)]! * D + (i % D)]!,
});

// biome-ignore lint/suspicious/noExplicitAny: each takes its own number of sizes
export const KERNELS: Record<string, (...dims: any[]) => Kernel> = {
  gemm: matmul,
  gemv: matmul,
  linear: linear,
  conv3x3: conv(3),
  conv1x1: conv(1),
  attention: attention,
  softmax: softmax,
  layer_norm: layer_norm,
  group_norm_silu: group_norm_silu,
  rms_norm: rms_norm,
  chain: chain,
  sum_last: (R: number, C: number) => kernel([[R, C]], [R], 0, (x) => (i) => sum(C, (c) => x[i * C + c]!)),
  sum_all: (R: number, C: number) => kernel([[R, C]], [1], 0, (x) => () => sum(R * C, (i) => x[i]!)),
  transpose: (R: number, C: number) => kernel([[R, C]], [C, R], 0, (x) => (i) => x[(i % R) * C + Math.floor(i / R)]!),
  heads: (L: number, H: number, D: number) =>
    kernel([[L, H, D]], [H, L, D], 0, (x) => (i) => {
      const [h, l, d] = [Math.floor(i / (L * D)), Math.floor(i / D) % L, i % D];
      return x[(l * H + h) * D + d]!;
    }),
  embedding: embedding,
};
