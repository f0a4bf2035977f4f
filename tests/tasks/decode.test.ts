// Tokens from a model: the same bits however the work is cut, and a cache that always says what it holds.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AutoModelForCausalLM, defaultDevice, run, type Tensor, tensor, trim } from '../../src/index.ts';
import { KVCache } from '../../src/nn/kv-cache.ts';
import { decode, forget, type Held } from '../../src/tasks/decode.ts';
import { Decoder } from '../../src/tasks/decoder.ts';
import { type GenerateOptions, settle } from '../../src/tasks/generation-config.ts';
import { collect } from '../collect.ts';
import { random } from '../ops/harness.ts';
import { golden } from './support.ts';

type Model = Awaited<ReturnType<typeof AutoModelForCausalLM.from_pretrained>>;
let model: Model;
beforeAll(async () => {
  model = await AutoModelForCausalLM.from_pretrained(golden('llama-gqa'));
});
afterAll(() => model.dispose());

/** Tokens that end nothing. */
function prompt(length: number, seed = 1): number[] {
  const next = random(seed);
  return Array.from({ length }, () => 3 + Math.floor(60 * next()));
}
const ids = (row: readonly number[]) => tensor([...row], [1, row.length], { dtype: 'i32' });
const bits = async (t: Tensor) => {
  const { buffer, byteOffset, length } = await t.data();
  return Array.from(new Int32Array(buffer as ArrayBuffer, byteOffset, length));
};
const none = { eos_token_id: [] };

describe('logits have the same bits', { timeout: 240_000 }, () => {
  const LENGTH = 300; // beyond two segments of a sum, and the smallest capacity
  const row = prompt(LENGTH);
  let whole: number[];
  beforeAll(async () => {
    whole = await bits(model.forward({ input_ids: ids(row) }).logits);
  });
  const vocab = 97;

  /** Logits of all tokens, computed in pieces of given lengths with a cache of a capacity. */
  async function inPieces(lengths: readonly number[], capacity: number, of: Model = model): Promise<number[]> {
    using cache = await KVCache.empty(of.sizes, 1, capacity);
    const all: number[] = [];
    let at = 0;
    for (const length of lengths) {
      const { logits } = of.forward({ input_ids: ids(row.slice(at, at + length)), past_key_values: cache });
      await run([logits, ...cache.tensors]);
      all.push(...(await bits(logits)));
      cache.length = at += length;
      if (cache.capacity < LENGTH && at > 200) await cache.grow(2 * capacity);
    }
    return all;
  }
  it.each([
    ['in one piece', [LENGTH], 512],
    ['in one piece, just so large', [LENGTH], LENGTH],
    ['of another capacity', [LENGTH], 1027],
    ['in two pieces', [131, 169], 512],
    ['in pieces that end anywhere', [1, 2, 126, 1, 127, 43], 301],
    ['in a cache that grows', [128, 100, 72], 256],
    ['a token at a time', new Array<number>(LENGTH).fill(1), 304],
  ])('%s', async (_, lengths, capacity) => {
    const got = await inPieces(lengths, capacity);
    expect(got.length).toBe(LENGTH * vocab);
    expect(got.findIndex((v, i) => v !== whole[i])).toBe(-1);
  });

  it('where tokens see a window', async () => {
    using near = await AutoModelForCausalLM.from_pretrained(golden('mistral'));
    const length = 30; // five windows
    const all = await bits(near.forward({ input_ids: ids(row.slice(0, length)) }).logits);
    for (const [lengths, capacity] of [
      [[length], length],
      [[1, 2, 4, 16, 7], 67],
      [new Array<number>(length).fill(1), 64],
    ] as const) {
      expect(await inPieces(lengths, capacity, near)).toEqual(all);
    }
  });

  it('of a row with padding before it, wherever its places are counted from', async () => {
    const both = [row.slice(0, 40), [...new Array<number>(9).fill(0), ...row.slice(0, 31)]];
    const mask = both.map((tokens, b) => tokens.map((_, i) => Number(b === 0 || i >= 9)));
    const positions = mask.map((r, b) => r.map((_, i) => Math.max(0, i - (b === 0 ? 0 : 9))));
    const [input_ids, attention_mask, position_ids] = [both, mask, positions].map((rows) =>
      tensor(rows, { dtype: 'i32' }),
    ) as [Tensor, Tensor, Tensor];
    const { logits } = model.forward({ input_ids, attention_mask, position_ids });
    expect(await bits(logits.select(0, 0).contiguous())).toEqual(whole.slice(0, 40 * vocab));
    expect(await bits(logits.select(0, 1).slice(0, 9).contiguous())).toEqual(whole.slice(0, 31 * vocab));
  });
});

/** Tokens of one row, and the logits that they were chosen by. */
async function tokens(held: { at?: Held }, row: readonly number[], options: GenerateOptions, stopAfter = Infinity) {
  const generation = settle({ ...none, ...options }, model.generation_config, model.config);
  const found: number[] = [];
  for await (const step of decode(model, held, { ids: [[...row]] }, generation)) {
    found.push(step.tokens[0]!);
    if (found.length >= stopAfter) break;
  }
  return found;
}
const fresh = async (row: readonly number[], options: GenerateOptions) => {
  const held = {};
  const found = await tokens(held, row, options);
  forget(held);
  return found;
};

describe('decode', () => {
  it('gives what whole forwards give, in a cache that grows on the way', async () => {
    const row = prompt(250);
    const found = await fresh(row, { max_new_tokens: 12 });
    const all = [...row];
    for (const token of found) {
      const { logits } = model.forward({ input_ids: ids(all), logits_to_keep: 1 });
      expect(await logits.argmax(-1).item()).toBe(token);
      all.push(token);
    }
  });

  it('holds what was asked for and no more, wherever it is left', async () => {
    const row = prompt(20);
    const want = await fresh(row, { max_new_tokens: 8 });
    for (const stopAfter of [1, 2, 7, 8]) {
      const held: { at?: Held } = {};
      expect(await tokens(held, row, { max_new_tokens: 8 }, stopAfter)).toEqual(want.slice(0, stopAfter));
      expect([row.length + stopAfter, row.length + stopAfter - 1]).toContain(held.at!.ids.length);
      expect(held.at!.ids).toEqual([...row, ...want].slice(0, held.at!.ids.length));
      // goes on from there, and back to an earlier place
      expect(await tokens(held, [...row, ...want.slice(0, 3)], { max_new_tokens: 5 })).toEqual(want.slice(3));
      const other = [...row.slice(0, 9), ...prompt(30, 2)];
      expect(await tokens(held, other, { max_new_tokens: 4 })).toEqual(await fresh(other, { max_new_tokens: 4 }));
      forget(held);
    }
  });

  it('computes nothing again that is there', async () => {
    const device = await defaultDevice();
    const held: { at?: Held } = {};
    const row = prompt(600);
    const submits = async (row: readonly number[]) => {
      const before = device.counters.submits;
      await tokens(held, row, { max_new_tokens: 1 });
      return device.counters.submits - before;
    };
    const first = await submits(row); // three pieces
    expect(await submits([...row, 5, 6, 7])).toBeLessThan(first);
    expect(held.at!.ids).toEqual([...row, 5, 6, 7]);
    forget(held);
  });

  it('ends at an eos, which is among its tokens', async () => {
    const row = prompt(20);
    const want = await fresh(row, { max_new_tokens: 8 });
    const eos = want[4]!;
    const until = want.slice(0, want.indexOf(eos) + 1);
    expect(await fresh(row, { max_new_tokens: 8, eos_token_id: eos })).toEqual(until);
    expect(await fresh(row, { max_new_tokens: 8, eos_token_id: [2, eos] })).toEqual(until);
  });

  it('stops at an abort and can go on', async () => {
    const row = prompt(20);
    const want = await fresh(row, { max_new_tokens: 6 });
    const held: { at?: Held } = {};
    const controller = new AbortController();
    const generation = settle({ ...none, max_new_tokens: 6, signal: controller.signal }, {}, {});
    const work = (async () => {
      for await (const _ of decode(model, held, { ids: [row] }, generation)) controller.abort(new Error('enough'));
    })();
    await expect(work).rejects.toThrow('enough');
    expect(held.at!.ids).toEqual([...row, ...want].slice(0, held.at!.ids.length));
    expect(await tokens(held, row, { max_new_tokens: 6 })).toEqual(want);
    forget(held);
  });

  it('draws the same tokens for a seed, in a batch and beside others', async () => {
    const options = {
      max_new_tokens: 10,
      do_sample: true,
      temperature: 1.5,
      top_k: 20,
      top_p: 0.9,
      repetition_penalty: 1.2,
    };
    const row = prompt(9);
    const [one, again, other] = await Promise.all([
      fresh(row, { ...options, seed: 7 }),
      fresh(row, { ...options, seed: 7 }),
      fresh(row, { ...options, seed: 2 ** 32 + 7 }),
    ]);
    expect(again).toEqual(one);
    expect(other).not.toEqual(one);
    const rows = [row, prompt(9, 5)];
    const batch = (await model
      .generate({ ...none, ...options, seed: 7, input_ids: rows })
      .then((t) => t.tolist())) as number[][];
    expect(batch[0]!.slice(9)).toEqual(one);
  });

  it('says where the numbers end', async () => {
    const bad = await AutoModelForCausalLM.from_pretrained(golden('llama'));
    const weight = bad.named_parameters().get('model.layers.1.mlp.up_proj.weight')!;
    const { assign } = await import('../../src/exec/run.ts');
    const nan = await weight.mul(Number.NaN).realize();
    assign(weight, nan);
    const work = bad.generate({ input_ids: [[1, 5, 9]], max_new_tokens: 3 });
    await expect(work).rejects.toThrow('[generate] the logits are not numbers (in layer 1 or the final norm)');
    bad.dispose();
  });

  it.each([
    [{ input_ids: [] }, 'rows of nothing'],
    [{ input_ids: [[1, 2], [3]] }, 'rows of 2, 1'],
    [{ input_ids: [[1, 97]] }, 'input_ids: got 97, want 0..96'],
    [{ input_ids: [[1]], temperature: 0, do_sample: true }, 'temperature: got 0, want a number above 0'],
    [{ input_ids: [[1]], temperature: 1e-50, do_sample: true }, 'temperature: got 1e-50, want a number above 0'],
    [{ input_ids: [[1]], repetition_penalty: 1e300 }, 'repetition_penalty: got 1e+300, want a number above 0'],
    [{ input_ids: [[1]], top_p: 2 }, 'top_p: got 2, want a number in (0, 1]'],
    [{ input_ids: [[1]], max_new_tokens: 1.5 }, 'max_new_tokens: got 1.5'],
    [{ input_ids: [[1, 2]], attention_mask: [[1]] }, 'attention_mask: got rows of 1'],
  ])('refuses %j', async (inputs, message) => {
    await expect(model.generate(inputs)).rejects.toThrow(message);
  });

  it('leaves no buffer behind', async () => {
    const device = await defaultDevice();
    const options = { max_new_tokens: 5, do_sample: true, repetition_penalty: 1.1, top_p: 0.9, seed: 1 };
    const round = async (n: number) => {
      const held: { at?: Held } = {};
      await tokens(held, prompt(5 + (n % 3), n), options, 1 + (n % 5));
      await tokens(held, prompt(9, n), options);
      forget(held);
      (await model.generate({ ...options, input_ids: [prompt(4, n)], output_logits: true })).dispose();
      await model.generate({
        ...options,
        input_ids: [prompt(4, n), prompt(4, 2)],
        attention_mask: [
          [0, 1, 1, 1],
          [1, 1, 1, 1],
        ],
      });
    };
    for (let n = 0; n < 6; n++) await round(n);
    await trim(device);
    const { live } = device.pool.stats;
    for (let n = 6; n < 18; n++) await round(n);
    await trim(device);
    expect(device.pool.stats.live).toBeLessThanOrEqual(live);
  });

  it('keeps no decoder of the call whose steps were recorded', async () => {
    const made: WeakRef<Decoder>[] = [];
    const { step } = Decoder.prototype;
    Decoder.prototype.step = function (this: Decoder) {
      made.push(new WeakRef(this));
      return step.call(this);
    };
    try {
      const own = { max_new_tokens: 2, eos_token_id: [1, 2, 95] }; // no call before had these
      for (let n = 0; n < 2; n++) await model.generate({ input_ids: [prompt(4)], ...own });
    } finally {
      Decoder.prototype.step = step;
    }
    expect(made).toHaveLength(2);
    for (let i = 0; i < 5; i++) await collect(); // who looked in between would keep it
    expect(made[0]!.deref()).toBeUndefined();
  });
});
