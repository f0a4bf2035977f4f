// Does a device compute right? Each kernel on small odd shapes, against plain float64 loops that are written out here.
import { run } from '../exec/run.ts';
import type { Device } from '../gpu/device.ts';
import { from_bits } from '../ops/bits.ts';
import { concat, likeliest_token, repetition_penalty, tensor, top_k } from '../ops/index.ts';
import { grad } from '../tensor/grad.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** One line of the self-test: the largest error of any element, and how large it may be. */
export type Check = {
  name: string;
  ok: boolean;
  /** null where nothing was computed, or not numbers. */
  error: number | null;
  bound: number | null;
  /** What went wrong, where it is not the error. */
  message?: string;
};

type Values = readonly number[] | Float32Array;
/** `roundings`: how many times 2^-24 of the largest wanted value a result may be off; 0: equal. */
type Case = { roundings: number; compute(at: Run): Promise<Tensor> | Tensor; want(): Values };
type Run = (x: Tensor) => Promise<Tensor>;

const UNIT = 2 ** -24;
const HALF = 2 ** 14; // the space between two halves: either is right

/** Floats in [-span, span) by xorshift32: the same in every run. */
function noise(seed: number, count: number, span = 1): Float32Array {
  let s = Math.imul(seed, 2654435761) | 1;
  return Float32Array.from({ length: count }, () => {
    s ^= s << 13;
    s ^= s >>> 17;
    s ^= s << 5;
    return span * ((s >>> 0) / 2 ** 31 - 1);
  });
}
const indices = (seed: number, count: number, below: number): number[] =>
  Array.from(noise(seed, count), (v) => Math.floor((v + 1) * 0.5 * below));

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const total = (values: Values): number => range(values.length).reduce((sum, i) => sum + values[i]!, 0);
/** f(row, column) for each place of a matrix. */
const grid = (rows: number, cols: number, f: (i: number, j: number) => number): number[] =>
  range(rows * cols).map((at) => f(Math.floor(at / cols), at % cols));
/** f of each row. */
const rowwise = (x: Values, cols: number, f: (row: number[]) => number[]): number[] =>
  range(x.length / cols).flatMap((r) => f([...x.slice(r * cols, (r + 1) * cols)]));

const matmul = (a: Values, w: Values, k: number, n: number): number[] =>
  grid(a.length / k, n, (i, j) => total(range(k).map((t) => a[i * k + t]! * w[t * n + j]!)));
const softmax = (x: Values, cols: number): number[] =>
  rowwise(x, cols, (row) => {
    const most = Math.max(...row);
    const powers = row.map((v) => Math.exp(v - most));
    const sum = total(powers);
    return powers.map((v) => v / sum);
  });
/** x / 2 (1 + erf(x / sqrt 2)); erf by DLMF 7.6.2, whose terms have one sign. */
function gelu(x: number): number {
  const z = x / Math.SQRT2;
  let term = z;
  let sum = z;
  for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n++) sum += term *= (2 * z * z) / (2 * n + 1);
  return 0.5 * x * (1 + (2 / Math.sqrt(Math.PI)) * Math.exp(-z * z) * sum);
}

/** [m, k] x [k, n]: over a segment of 128 terms, and no size a multiple of 4. */
function product(): Case {
  const [m, k, n] = [13, 131, 29];
  const [a, w] = [noise(1, m * k), noise(2, k * n)];
  return {
    roundings: 32,
    compute: () => tensor(a, [m, k]).matmul(tensor(w, [k, n])),
    want: () => matmul(a, w, k, n),
  };
}

/** Queries see keys up to their own place, counted from the end. */
function attention(length: number): Case {
  const [heads, keys, size] = [3, 33, 12];
  const [q, k, v] = [
    noise(3, heads * length * size, 2),
    noise(4, heads * keys * size, 2),
    noise(5, heads * keys * size),
  ];
  const scores = (h: number) =>
    grid(length, keys, (i, j) => {
      if (j > i + keys - length) return -1e30;
      const [row, column] = [(h * length + i) * size, (h * keys + j) * size];
      return total(range(size).map((t) => q[row + t]! * k[column + t]!)) / Math.sqrt(size);
    });
  return {
    roundings: 32,
    compute: () => {
      const [x, y, z] = [
        tensor(q, [heads, length, size]),
        tensor(k, [heads, keys, size]),
        tensor(v, [heads, keys, size]),
      ];
      return x.scaled_dot_product_attention(y, z, { is_causal: true });
    },
    want: () => {
      const values = (h: number) => v.slice(h * keys * size, (h + 1) * keys * size);
      return range(heads).flatMap((h) => matmul(softmax(scores(h), keys), values(h), keys, size));
    },
  };
}

/** 3 x 3 windows with a border of 1. */
function convolution(): Case {
  const [pictures, channels, height, width, outputs] = [2, 3, 9, 12, 5];
  const x = noise(6, pictures * channels * height * width);
  const [w, bias] = [noise(7, outputs * channels * 9), noise(8, outputs)];
  const pixel = (n: number, c: number, i: number, j: number) =>
    i < 0 || j < 0 || i >= height || j >= width ? 0 : x[((n * channels + c) * height + i) * width + j]!;
  return {
    roundings: 32,
    compute: () => {
      const pictured = tensor(x, [pictures, channels, height, width]);
      return pictured.conv2d(tensor(w, [outputs, channels, 3, 3]), tensor(bias), { padding: 1 });
    },
    want: () =>
      grid(pictures * outputs, height * width, (map, place) => {
        const [n, o] = [Math.floor(map / outputs), map % outputs];
        const [i, j] = [Math.floor(place / width) - 1, (place % width) - 1];
        const terms = grid(
          channels,
          9,
          (c, t) => pixel(n, c, i + Math.floor(t / 3), j + (t % 3)) * w[(o * channels + c) * 9 + t]!,
        );
        return bias[o]! + total(terms);
      }),
  };
}

function norm(): Case {
  const cols = 97;
  const [x, w, b] = [noise(9, 7 * cols, 0.1), noise(10, cols), noise(11, cols)];
  return {
    roundings: 32,
    compute: () => tensor(x, [7, cols]).layer_norm(tensor(w), tensor(b)),
    want: () =>
      rowwise(x, cols, (row) => {
        const centre = total(row) / cols;
        const spread = Math.sqrt(total(row.map((v) => (v - centre) ** 2)) / cols + 1e-5);
        return row.map((v, i) => ((v - centre) / spread) * w[i]! + b[i]!);
      }),
  };
}

/** One row by a matrix in q8 whose integers are known: the largest of each block is 127, so its scale is 1. */
function quantised(): Case {
  const [k, n] = [160, 12];
  const x = noise(22, k);
  const w = Float32Array.from(grid(n, k, (i, j) => (j % 32 === 0 ? 127 : ((37 * i + 11 * j) % 255) - 127)));
  return {
    roundings: 32,
    compute: () => tensor(x, [1, k]).matmul(tensor(w, [n, k]).to('q8').transpose(0, 1)),
    want: () => range(n).map((i) => total(range(k).map((j) => x[j]! * w[i * k + j]!))),
  };
}

/** d/dw of sum(c softmax(gelu(w[ids] m))): rows that are looked up twice, or never. */
function gradient(): Case {
  const [rows, size, classes, ids] = [6, 5, 7, [4, 0, 3, 4, 2]];
  const [w, m, c] = [noise(12, rows * size), noise(13, size * classes), noise(14, ids.length * classes)];
  const loss = (at: number, step: number) => {
    const moved = (i: number) => w[i]! + (i === at ? step : 0);
    const looked = ids.flatMap((id) => range(size).map((j) => moved(id * size + j)));
    const y = softmax(matmul(looked, m, size, classes).map(gelu), classes);
    return total(y.map((v, i) => v * c[i]!));
  };
  const STEP = 1e-4; // its square times the third derivative is 2^-26
  return {
    roundings: 64,
    compute: () => {
      const weight = tensor(w, [rows, size]);
      const scores = tensor(ids, { dtype: 'i32' })
        .embedding(weight)
        .matmul(tensor(m, [size, classes]))
        .gelu();
      return grad(
        scores
          .softmax(-1)
          .mul(tensor(c, [ids.length, classes]))
          .sum(),
        [weight],
      )[0]!;
    },
    want: () => range(w.length).map((i) => (loss(i, STEP) - loss(i, -STEP)) / (2 * STEP)),
  };
}

function cases(): Record<string, Case> {
  const some = noise(15, 1001, 6);
  const long = noise(16, 3 * 9001).map((v) => v + 1);
  const wide = noise(17, 5 * 131, 8);
  const table = noise(18, 11 * 7);
  const ids = indices(19, 10, 11);
  const places = indices(20, 5 * 9, 131);
  const words = Uint32Array.from(indices(21, 501, 2 ** 32), (v) => ((v & 0xbfffbfff) | 0x20002000) >>> 0); // finite, normal
  const bf16 = [...words].flatMap((v) => [...new Float32Array(Uint32Array.of(v << 16, v & 0xffff0000).buffer)]);
  return {
    'read-back': { roundings: 0, compute: () => tensor(some), want: () => some },
    'f16 storage': {
      roundings: HALF,
      compute: async (at) => (await at(tensor(some, [1001], { dtype: 'f16' }))).to('f32'),
      want: () => some,
    },
    'bf16 bits': {
      roundings: 0,
      compute: () => from_bits(tensor(words), [1002], 'BF16'),
      want: () => bf16, // each is the upper half of a float
    },
    gelu: { roundings: 8, compute: () => tensor(some).gelu(), want: () => Array.from(some, gelu) },
    matmul: product(),
    softmax: {
      roundings: 32,
      compute: () => tensor(wide, [5, 131]).softmax(-1),
      want: () => softmax(wide, 131),
    },
    layer_norm: norm(),
    'sum of 9001': {
      roundings: 16,
      compute: () => tensor(long, [3, 9001]).sum(1),
      want: () => rowwise(long, 9001, (row) => [total(row)]),
    },
    argmax: {
      roundings: 0,
      compute: () => tensor(wide, [5, 131]).argmax(1),
      want: () => rowwise(wide, 131, (row) => [row.indexOf(Math.max(...row))]),
    },
    embedding: {
      roundings: 0,
      compute: () => tensor(ids, [2, 5], { dtype: 'i32' }).embedding(tensor(table, [11, 7])),
      want: () => grid(10, 7, (i, j) => table[ids[i]! * 7 + j]!),
    },
    gather: {
      roundings: 0,
      compute: () => tensor(wide, [5, 131]).gather(1, tensor(places, [5, 9], { dtype: 'i32' })),
      want: () => grid(5, 9, (i, j) => wide[i * 131 + places[i * 9 + j]!]!),
    },
    concat: {
      roundings: 0,
      compute: () => concat([tensor(table, [11, 7]), tensor(wide.slice(0, 55), [11, 5])], 1),
      want: () => grid(11, 12, (i, j) => (j < 7 ? table[i * 7 + j]! : wide[i * 5 + j - 7]!)),
    },
    transpose: {
      roundings: 0,
      compute: () => tensor(table, [11, 7]).transpose(0, 1).contiguous(),
      want: () => grid(7, 11, (i, j) => table[j * 7 + i]!),
    },
    'q8 matmul': quantised(),
    repetition_penalty: {
      roundings: 4,
      compute: () => repetition_penalty(tensor(wide, [5, 131]), tensor(places, [5, 9], { dtype: 'i32' }), 1.5),
      want: () =>
        grid(5, 131, (i, j) => {
          const v = wide[i * 131 + j]!;
          return places.slice(9 * i, 9 * i + 9).includes(j) ? (v < 0 ? v * 1.5 : v / 1.5) : v;
        }),
    },
    top_k: {
      roundings: 32,
      compute: () => top_k(tensor(wide, [5, 131]), 1).softmax(-1),
      want: () => rowwise(wide, 131, (row) => row.map((v) => (v === Math.max(...row) ? 1 : 0))),
    },
    'likeliest token': {
      roundings: 0,
      compute: () => likeliest_token(tensor(wide, [5, 131])),
      want: () => rowwise(wide, 131, (row) => [row.indexOf(Math.max(...row))]),
    },
    conv2d: convolution(),
    attention: attention(17),
    'attention of one query': attention(1),
    gradient: gradient(),
  };
}

export type SelfTestProgress = (event: { name: string; done: number; total: number }) => void;

/** Runs every check on a device, one after the other. What throws - a kernel that does not compile - is off, with its message. */
export async function selfTest(device: Device, onProgress: SelfTestProgress = () => {}): Promise<Check[]> {
  const checks: Check[] = [];
  const all = Object.entries(cases());
  for (const [name, one] of all) {
    onProgress({ name, done: checks.length, total: all.length });
    checks.push({ name, ...(await check(device, one).catch(failure)) });
  }
  return checks;
}

export const failure = (error: unknown): Omit<Check, 'name'> => ({
  ok: false,
  error: null,
  bound: null,
  message: error instanceof Error ? error.message : String(error),
});

async function check(device: Device, { roundings, compute, want }: Case): Promise<Omit<Check, 'name'>> {
  const at: Run = async (x) => {
    await run([x], { device });
    return x;
  };
  using got = await at(await compute(at));
  const [values, wanted] = [await got.data(), want()];
  if (values.length !== wanted.length) throw new Error(`got ${values.length} values, want ${wanted.length}`);
  let [error, largest] = [0, 0];
  for (const [i, value] of wanted.entries()) {
    largest = Math.max(largest, Math.abs(value));
    error = Math.max(error, Math.abs(values[i]! - value)); // NaN stays
  }
  const bound = roundings * UNIT * largest;
  if (Number.isFinite(error)) return { ok: error <= bound, error, bound };
  return { ok: false, error: null, bound, message: 'got values that are no numbers' };
}
