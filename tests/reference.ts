// Every op in plain float64, written to be read: what the engine has to agree with. Nothing here is fast.

export type Shape = readonly number[];
export type Index = readonly number[];
/** An n-dimensional array, last dimension fastest. */
export type Nd = { readonly shape: Shape; readonly data: Float64Array };

const count = (shape: Shape) => shape.reduce((n, d) => n * d, 1);
const range = (n: number) => Array.from({ length: n }, (_, i) => i);
const total = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
const put = (index: Index, dim: number, value: number) => index.map((v, d) => (d === dim ? value : v));
const fromEnd = (dim: number, rank: number) => (dim < 0 ? dim + rank : dim);

/** The array whose element at each index is `value(index)`. */
export function nd(shape: Shape, value: (index: Index) => number): Nd {
  const data = new Float64Array(count(shape));
  const index = shape.map(() => 0);
  for (let i = 0; i < data.length; i++) {
    data[i] = value(index);
    for (let d = shape.length - 1; d >= 0 && ++index[d]! === shape[d]!; d--) index[d] = 0;
  }
  return { shape, data };
}

/** The element at an index. Dimensions that x lacks in front are ignored, those of size 1 are read at 0: broadcasting. */
export function at(x: Nd, index: Index): number {
  const skip = index.length - x.shape.length;
  let i = 0;
  for (const [d, size] of x.shape.entries()) i = i * size + (size === 1 ? 0 : index[skip + d]!);
  return x.data[i]!;
}

export const broadcastShape = (...shapes: Shape[]): number[] => {
  const rank = Math.max(...shapes.map((s) => s.length));
  const sizes = (d: number) => shapes.map((s) => s[d - rank + s.length] ?? 1);
  return range(rank).map((d) => sizes(d).find((n) => n !== 1) ?? 1);
};

// Elementwise

/** f of the elements of arrays that broadcast. */
export const map =
  <N extends number[]>(f: (...values: N) => number) =>
  (...x: { [K in keyof N]: Nd }): Nd =>
    nd(broadcastShape(...x.map((a) => a.shape)), (i) => f(...(x.map((a) => at(a, i)) as N)));

export const where = map((c, a, b) => (c !== 0 ? a : b));

/** 2 / sqrt(pi) e^(-x^2) (x + 2 x^3 / 3 + 4 x^5 / 15 + ...); all terms have one sign (DLMF 7.6.2). */
export function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n++) sum += term *= (2 * x * x) / (2 * n + 1);
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}
export const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
export const gelu = (x: number): number => 0.5 * x * (1 + erf(x / Math.SQRT2));
export const geluTanh = (x: number): number =>
  0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));

/** The nearest half-precision number, the even one of two; inf from 65520 on. */
export function roundF16(x: number): number {
  if (Math.abs(x) >= 65520) return Math.sign(x) * Number.POSITIVE_INFINITY;
  const ulp = 2 ** (Math.max(-14, Math.floor(Math.log2(Math.abs(x)))) - 10);
  if (!Number.isFinite(ulp) || x === 0) return x;
  const below = Math.floor(x / ulp);
  const rest = x / ulp - below;
  return (rest > 0.5 || (rest === 0.5 && below % 2 !== 0) ? below + 1 : below) * ulp;
}
export const casts = {
  f32: map((x) => Math.fround(x)),
  f16: map((x) => roundF16(x)),
  i32: map((x) => Math.trunc(x)),
  u32: map((x) => Math.max(0, Math.trunc(x))),
  bool: map((x) => (x === 0 ? 0 : 1)),
};

// Views

/** The same elements; one size may be -1. */
export function reshape(x: Nd, shape: Shape): Nd {
  const known = shape.reduce((n, d) => (d === -1 ? n : n * d), 1);
  return { shape: shape.map((d) => (d === -1 ? x.data.length / known : d)), data: x.data };
}
export const permute = (x: Nd, order: readonly number[]): Nd =>
  nd(
    order.map((d) => x.shape[d]!),
    (i) =>
      at(
        x,
        x.shape.map((_, d) => i[order.indexOf(d)]!),
      ),
  );
export const expand = (x: Nd, shape: Shape): Nd => nd(shape, (i) => at(x, i));
/** Elements start, start + step, ... before end. */
export function slice(x: Nd, dim: number, start: number, end: number, step = 1): Nd {
  const shape = put(x.shape, dim, Math.max(0, Math.ceil((end - start) / step)));
  return nd(shape, (i) => at(x, put(i, dim, start + i[dim]! * step)));
}
export function concat(parts: readonly Nd[], dim: number): Nd {
  const sizes = parts.map((p) => p.shape[dim]!);
  return nd(put(parts[0]!.shape, dim, total(sizes)), (i) => {
    let part = 0;
    let k = i[dim]!;
    while (k >= sizes[part]!) k -= sizes[part++]!;
    return at(parts[part]!, put(i, dim, k));
  });
}
/** [before, after] of the last dimension, then of the one before it, ...; negative numbers cut. */
export function pad(x: Nd, padding: readonly number[], value = 0): Nd {
  const rank = x.shape.length;
  const before = x.shape.map((_, d) => padding[2 * (rank - 1 - d)] ?? 0);
  const shape = x.shape.map((size, d) => size + before[d]! + (padding[2 * (rank - 1 - d) + 1] ?? 0));
  return nd(shape, (i) => {
    const from = i.map((v, d) => v - before[d]!);
    return from.every((v, d) => v >= 0 && v < x.shape[d]!) ? at(x, from) : value;
  });
}

// Reductions

/** f of the elements along some dimensions (default: all), which stay as size 1 with `keepdim`. */
export function reduce(x: Nd, f: (values: number[]) => number, dims?: readonly number[], keepdim = false): Nd {
  const rank = x.shape.length;
  const gone = new Set(dims?.map((d) => fromEnd(d, rank)) ?? range(rank));
  const cells = nd(
    x.shape.map((size, d) => (gone.has(d) ? 1 : size)),
    () => 0,
  );
  const lists = Array.from(cells.data, () => [] as number[]);
  const places = { shape: cells.shape, data: Float64Array.from(lists, (_, i) => i) };
  nd(x.shape, (i) => lists[at(places, i)]!.push(at(x, i)));
  const shape = x.shape.flatMap((size, d) => (!gone.has(d) ? [size] : keepdim ? [1] : []));
  return { shape, data: Float64Array.from(lists, (values) => f(values)) };
}
export const sum = (x: Nd, dims?: readonly number[], keepdim?: boolean): Nd => reduce(x, total, dims, keepdim);
export const mean = (x: Nd, dims?: readonly number[], keepdim?: boolean): Nd =>
  reduce(x, (v) => total(v) / v.length, dims, keepdim);
export const max = (x: Nd, dims?: readonly number[], keepdim?: boolean): Nd =>
  reduce(x, (v) => v.reduce((a, b) => Math.max(a, b)), dims, keepdim);
export const min = (x: Nd, dims?: readonly number[], keepdim?: boolean): Nd =>
  reduce(x, (v) => v.reduce((a, b) => Math.min(a, b)), dims, keepdim);
const place = (extreme: (...x: number[]) => number) => (x: Nd, dim?: number, keepdim?: boolean) => {
  const first = (v: number[]) => {
    const best = v.reduce((a, b) => extreme(a, b));
    return v.findIndex((a) => a === best || Number.isNaN(a));
  };
  return reduce(x, first, dim === undefined ? undefined : [dim], keepdim);
};
/** The first index of the largest element, or of NaN. */
export const argmax = place(Math.max);
export const argmin = place(Math.min);

/** f of each line along a dimension, which gives a line of the same length. */
export function along(x: Nd, f: (line: number[]) => number[], dim = -1): Nd {
  const d = fromEnd(dim, x.shape.length);
  const lines = new Map<string, number[]>();
  return nd(x.shape, (i) => {
    const key = put(i, d, 0).join();
    let line = lines.get(key);
    if (!line) lines.set(key, (line = f(range(x.shape[d]!).map((k) => at(x, put(i, d, k))))));
    return line[i[d]!]!;
  });
}
const logSumExp = (v: number[]) => {
  const top = v.reduce((a, b) => Math.max(a, b));
  return top + Math.log(total(v.map((x) => Math.exp(x - top))));
};
export const logsumexp = (x: Nd, dims?: readonly number[], keepdim?: boolean): Nd =>
  reduce(x, logSumExp, dims, keepdim);
export const log_softmax = (x: Nd, dim = -1): Nd =>
  along(
    x,
    (v) => {
      const sum = logSumExp(v);
      return v.map((a) => a - sum);
    },
    dim,
  );
export const softmax = (x: Nd, dim = -1): Nd => map(Math.exp)(log_softmax(x, dim));
/** x / max(|x|, eps) along a dimension. */
export const normalize = (x: Nd, dim = -1, eps = 1e-12): Nd =>
  along(
    x,
    (v) => {
      const length = Math.max(eps, Math.sqrt(total(v.map((a) => a * a))));
      return v.map((a) => a / length);
    },
    dim,
  );

const scaleShift = (x: Nd, weight?: Nd, bias?: Nd) => {
  const scaled = weight ? map((a, w) => a * w)(x, weight) : x;
  return bias ? map((a, b) => a + b)(scaled, bias) : scaled;
};
export function layer_norm(x: Nd, weight?: Nd, bias?: Nd, eps = 1e-5): Nd {
  const rows = along(x, (v) => {
    const centre = total(v) / v.length;
    const variance = total(v.map((a) => (a - centre) ** 2)) / v.length;
    return v.map((a) => (a - centre) / Math.sqrt(variance + eps));
  });
  return scaleShift(rows, weight, bias);
}
/** x [N, C, ...] over groups of channels. */
export function group_norm(x: Nd, groups: number, weight?: Nd, bias?: Nd, eps = 1e-5): Nd {
  const rows = reshape(layer_norm(reshape(x, [x.shape[0]! * groups, -1]), undefined, undefined, eps), x.shape);
  const column = (v?: Nd) => v && reshape(v, [-1, ...x.shape.slice(2).map(() => 1)]);
  return scaleShift(rows, column(weight), column(bias));
}
export function rms_norm(x: Nd, weight?: Nd, eps = 1e-6): Nd {
  const rows = along(x, (v) => {
    const length = Math.sqrt(total(v.map((a) => a * a)) / v.length + eps);
    return v.map((a) => a / length);
  });
  return scaleShift(rows, weight);
}

// Products

/** [..., m, k] x [..., k, n], batches broadcast; a vector on the left is a row, on the right a column, and disappears. */
export function matmul(a: Nd, b: Nd): Nd {
  const left = a.shape.length === 1 ? reshape(a, [1, -1]) : a;
  const right = b.shape.length === 1 ? reshape(b, [-1, 1]) : b;
  const [m, k, n] = [left.shape.at(-2)!, left.shape.at(-1)!, right.shape.at(-1)!];
  const batch = broadcastShape(left.shape.slice(0, -2), right.shape.slice(0, -2));
  const y = nd([...batch, m, n], (i) => {
    const [rest, row, column] = [i.slice(0, -2), i.at(-2)!, i.at(-1)!];
    let sum = 0;
    for (let j = 0; j < k; j++) sum += at(left, [...rest, row, j]) * at(right, [...rest, j, column]);
    return sum;
  });
  const shape = [...batch, ...(a.shape.length === 1 ? [] : [m]), ...(b.shape.length === 1 ? [] : [n])];
  return reshape(y, shape);
}
const swap = (x: Nd) => permute(x, [...range(x.shape.length - 2), x.shape.length - 1, x.shape.length - 2]);
/** x W^T + b. */
export function linear(x: Nd, weight: Nd, bias?: Nd): Nd {
  return scaleShift(matmul(x, swap(weight)), undefined, bias);
}

export type Conv = { stride?: number; padding?: number; dilation?: number; groups?: number };
/** x [n, c, h, w], weight [o, c / groups, kh, kw]: a correlation, as torch.nn.functional.conv2d. */
export function conv2d(x: Nd, weight: Nd, bias?: Nd, options: Conv = {}): Nd {
  const { stride = 1, padding = 0, dilation = 1, groups = 1 } = options;
  const padded = pad(x, [padding, padding, padding, padding]);
  const [outputs, channels, kh, kw] = weight.shape as [number, number, number, number];
  const size = (n: number, k: number) => Math.floor((n - dilation * (k - 1) - 1) / stride) + 1;
  const [height, width] = [size(padded.shape[2]!, kh), size(padded.shape[3]!, kw)];
  return nd([x.shape[0]!, outputs, height, width], ([n, o, i, j]) => {
    const first = Math.floor(o! / (outputs / groups)) * channels;
    let sum = bias ? at(bias, [o!]) : 0;
    nd([channels, kh, kw], ([c, u, v]) => {
      const place = [n!, first + c!, i! * stride + u! * dilation, j! * stride + v! * dilation];
      return (sum += at(padded, place) * at(weight, [o!, c!, u!, v!]));
    });
    return sum;
  });
}

export type Attention = { mask?: Nd; causal?: boolean; scale?: number };
/** softmax(scale q k^T + mask) v over the last two dimensions; causal: query i sees keys 0..i + (keys - queries). */
export function attention(q: Nd, k: Nd, v: Nd, { mask, causal = false, scale }: Attention = {}): Nd {
  const [queries, keys] = [q.shape.at(-2)!, k.shape.at(-2)!];
  const factor = scale ?? 1 / Math.sqrt(q.shape.at(-1)!);
  const products = matmul(q, swap(k));
  const scores = nd(products.shape, (i) => {
    const hidden = causal && i.at(-1)! > i.at(-2)! + keys - queries;
    return hidden ? Number.NEGATIVE_INFINITY : factor * at(products, i) + (mask ? at(mask, i) : 0);
  });
  return matmul(softmax(scores), v);
}

// Gradients

const STEP = 1e-4; // errors of 1e-8 f''' by the step and 1e-12 by float64

/** d loss() / d x by central differences; `loss` reads `x`. */
export function slopes(x: Nd, loss: () => number): Nd {
  const data = x.data.map((v, i) => {
    const ends = [v + STEP, v - STEP].map((moved) => {
      x.data[i] = moved;
      return loss();
    });
    x.data[i] = v;
    return (ends[0]! - ends[1]!) / (2 * STEP);
  });
  return { shape: x.shape, data };
}
/** The sum of the products of two arrays. */
export const dot = (a: Nd, b: Nd): number => a.data.reduce((sum, v, i) => sum + v * b.data[i]!, 0);

// Indices

/** Rows of weight [n, d] by number. */
export const embedding = (weight: Nd, ids: Nd): Nd =>
  nd([...ids.shape, weight.shape[1]!], (i) => at(weight, [at(ids, i.slice(0, -1)), i.at(-1)!]));
/** y[..., i, ...] = x[..., index[..., i, ...], ...] along `dim`, as torch.gather. */
export const gather = (x: Nd, dim: number, index: Nd): Nd => nd(index.shape, (i) => at(x, put(i, dim, at(index, i))));

/** Philox 4x32-10 in integers of any size. */
export function philox(counter: readonly number[], key: readonly number[]): number[] {
  let [a, b, c, d] = counter.map(BigInt) as [bigint, bigint, bigint, bigint];
  let [k, l] = key.map(BigInt) as [bigint, bigint];
  const low = (v: bigint) => v & 0xffffffffn;
  for (let i = 0; i < 10; i++) {
    const [p, q] = [0xd2511f53n * a, 0xcd9e8d57n * c];
    [a, b, c, d] = [(q >> 32n) ^ b ^ k, low(q), (p >> 32n) ^ d ^ l, low(p)];
    [k, l] = [low(k + 0x9e3779b9n), low(l + 0xbb67ae85n)];
  }
  return [a, b, c, d].map(Number);
}

/** Normal numbers of deviation 1: element i has the first two words of (i, position, 1, 0), 24 bits of each. */
export function randn(shape: Shape, seed: number, position = 0): Nd {
  const key = [seed % 2 ** 32, Math.floor(seed / 2 ** 32)];
  const data = Float64Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => {
    const [radius, angle] = philox([i, position, 1, 0], key).map((word) => (word >>> 8) / 2 ** 24);
    return Math.sqrt(-2 * Math.log(1 - radius!)) * Math.cos(2 * Math.PI * angle!);
  });
  return { shape, data };
}
