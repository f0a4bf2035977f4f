// jax-js as its users write it: jit() of a function of arrays, which own what they are given (`ref` keeps one).
import * as jax from '@jax-js/jax';
import type { Case } from '../cases.ts';
import { CLIP, namesOf, SHAPES, weight } from '../clip.ts';
import { permute, type Values, values } from '../data.ts';
import type { Engine, Work } from '../engine.ts';
import { provideNavigator } from './navigator.ts';

// biome-ignore lint/suspicious/noExplicitAny: a peer's arrays
type Array_ = any;
type Fn = (...x: Array_[]) => Array_;
const { jit, lax, nn, numpy: np, blockUntilReady } = jax;

const layerNorm = (x: Array_, w: Array_, b: Array_) => {
  const centered = x.ref.sub(x.mean(-1, { keepdims: true }));
  const variance = centered.ref.mul(centered.ref).mean(-1, { keepdims: true });
  return centered
    .div(np.sqrt(variance.add(1e-5)))
    .mul(w)
    .add(b);
};
const rmsNorm = (x: Array_, w: Array_) => {
  const scale = np.sqrt(x.ref.mul(x.ref).mean(-1, { keepdims: true }).add(1e-5));
  return x.div(scale).mul(w);
};

const groupNormSilu = (x: Array_, w: Array_, b: Array_) => {
  const { shape } = x;
  const centered = layerNorm(x.reshape([shape[0] * 32, -1]), np.array(1), np.array(0)).reshape(shape);
  return nn.silu(centered.mul(w.reshape([-1, 1, 1])).add(b.reshape([-1, 1, 1])));
};

const KERNELS: Record<string, Fn> = {
  gemm: (a, b) => np.matmul(a, b),
  gemv: (a, b) => np.matmul(a, b),
  linear: (x, w, b) => np.dot(x, w.transpose()).add(b),
  conv3x3: (x, w) => lax.conv(x, w, [1, 1], 'SAME'),
  conv1x1: (x, w) => lax.conv(x, w, [1, 1], 'SAME'),
  attention: (q, k, v) => nn.dotProductAttention(q, k, v), // [B, L, H, D]
  softmax: (x) => nn.softmax(x, -1),
  layer_norm: layerNorm,
  group_norm_silu: groupNormSilu,
  rms_norm: rmsNorm,
  chain: (x, a, b, c) => nn.gelu(x.mul(a).add(b), { approximate: false }).mul(c),
  sum_last: (x) => np.sum(x, -1),
  sum_all: (x) => np.sum(x),
  transpose: (x) => np.transpose(x),
  heads: (x) => np.transpose(x, [1, 0, 2]),
  embedding: (table, ids) => table.slice(ids),
};

/** Inputs that jax-js wants in another order of dimensions, and results that it gives in one. */
const HEADS_LAST = [0, 2, 1, 3]; // [B, H, L, D] to [B, L, H, D], and back

type Weights = Record<string, Array_>;
type Tower = { L: number; D: number; heads: number };

function encoder(w: Weights, prefix: string, { D, heads }: Tower, x: Array_, isCausal: boolean): Array_ {
  const [B, L] = x.shape;
  const norm = (name: string, y: Array_) => layerNorm(y, w[`${name}.weight`].ref, w[`${name}.bias`].ref);
  const linear = (name: string, y: Array_) => np.dot(y, w[`${name}.weight`].ref.transpose()).add(w[`${name}.bias`].ref);
  for (let i = 0; i < CLIP.layers; i++) {
    const layer = `${prefix}.encoder.layers.${i}`;
    const y = norm(`${layer}.layer_norm1`, x.ref);
    const [q, k, v] = ['q', 'k', 'v'].map((p) =>
      linear(`${layer}.self_attn.${p}_proj`, y.ref).reshape([B, L, heads, D / heads]),
    );
    y.dispose();
    const attended = nn.dotProductAttention(q, k, v, { isCausal }).reshape([B, L, D]);
    x = x.add(linear(`${layer}.self_attn.out_proj`, attended));
    const h = linear(`${layer}.mlp.fc1`, norm(`${layer}.layer_norm2`, x.ref));
    const activated = h.ref.mul(nn.sigmoid(h.mul(1.702)));
    x = x.add(linear(`${layer}.mlp.fc2`, activated));
  }
  return x;
}

function textFeatures(w: Weights, ids: Array_): Array_ {
  const [B, L] = ids.shape;
  const at = 'text_model';
  const embedded = w[`${at}.embeddings.token_embedding.weight`].ref.slice(ids.ref);
  let x = embedded.add(w[`${at}.embeddings.position_embedding.weight`].ref);
  x = encoder(w, at, CLIP.text, x, true);
  x = layerNorm(x, w[`${at}.final_layer_norm.weight`].ref, w[`${at}.final_layer_norm.bias`].ref);
  const end = np.argmax(ids, -1).add(np.arange(B).mul(L)); // the end has the largest id
  return np.dot(x.reshape([B * L, CLIP.text.D]).slice(end), w['text_projection.weight'].ref.transpose());
}

function imageFeatures(w: Weights, pixels: Array_): Array_ {
  const B = pixels.shape[0];
  const { D } = CLIP.image;
  const at = 'vision_model';
  const patches = lax.conv(pixels, w[`${at}.embeddings.patch_embedding.weight`].ref, [32, 32], 'VALID');
  const grid = patches.reshape([B, D, 49]).transpose([0, 2, 1]);
  const first = np.broadcastTo(w[`${at}.embeddings.class_embedding`].ref, [B, 1, D]);
  let x = np.concatenate([first, grid], 1).add(w[`${at}.embeddings.position_embedding.weight`].ref);
  x = layerNorm(x, w[`${at}.pre_layrnorm.weight`].ref, w[`${at}.pre_layrnorm.bias`].ref);
  x = encoder(w, at, CLIP.image, x, false).slice([], 0);
  x = layerNorm(x, w[`${at}.post_layernorm.weight`].ref, w[`${at}.post_layernorm.bias`].ref);
  return np.dot(x, w['visual_projection.weight'].ref.transpose());
}

const array = (x: Values, shape: number[]) =>
  np.array(x, { shape, dtype: x instanceof Int32Array ? np.int32 : np.float32 });

/** jax-js calls these on iterators, which Node 20 lacks (they are of ES2025). */
function polyfillIterators(): void {
  const prototype = Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]()));
  prototype.map ??= function* <T>(this: Iterable<T>, f: (x: T) => unknown) {
    for (const x of this) yield f(x);
  };
  prototype.filter ??= function* <T>(this: Iterable<T>, f: (x: T) => boolean) {
    for (const x of this) if (f(x)) yield x;
  };
}

export async function open(adapter: string): Promise<Engine> {
  polyfillIterators();
  const name = await provideNavigator(adapter);
  await jax.init('webgpu');
  jax.defaultDevice('webgpu');
  const weights: Record<string, Weights> = {};
  const model = (tower: 'text' | 'image', forward: (w: Weights, x: Array_) => Array_): Fn => {
    const w = (weights[tower] ??= Object.fromEntries(namesOf(tower).map((n) => [n, array(weight(n), SHAPES.get(n)!)])));
    const run = jit(forward);
    return (x) => run(jax.tree.ref(w), x);
  };
  const functionOf = (kernel: string): Fn => {
    if (kernel === 'clip_text') return model('text', textFeatures);
    if (kernel === 'clip_image') return model('image', imageFeatures);
    return jit(KERNELS[kernel]!);
  };
  return { adapter: name, prepare: async (c, sets) => prepare(c, sets, functionOf(c.kernel)) };
}

async function prepare(c: Case, sets: number, run: Fn): Promise<Work> {
  const reordered = c.kernel === 'attention';
  const [B, H, L, D] = c.output as [number, number, number, number];
  const input = (i: number, set: number) => {
    const { shape } = c.inputs[i]!;
    const x = values(c, i, set);
    return reordered ? array(permute(x, shape, HEADS_LAST), [B, L, H, D]) : array(x, shape);
  };
  const shared = c.inputs.map(({ shared: same }, i) => (same ? input(i, 0) : undefined));
  const inputs = Array.from({ length: sets }, (_, set) => c.inputs.map((_, i) => shared[i]?.ref ?? input(i, set)));
  await blockUntilReady(inputs.flat());
  let last: Array_;
  const call = async (set: number) => {
    const y = run(...inputs[set]!.map((x) => x.ref));
    await y.ref.gpuBuffer(); // sends it to the device and does not wait
    last?.dispose();
    last = y;
  };
  return {
    call,
    wait: () => blockUntilReady(last),
    async result() {
      const y = (await run(...inputs[0]!.map((x) => x.ref)).data()) as Float32Array;
      return reordered ? permute(y, [B, L, H, D], HEADS_LAST) : y;
    },
    dispose() {
      last?.dispose();
      last = undefined;
      for (const x of [...inputs.flat(), ...shared.filter((s) => s)]) x.dispose();
    },
  };
}
