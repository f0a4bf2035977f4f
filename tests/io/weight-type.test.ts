// How weights are kept: quantised while they are read, by module, and what is refused.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Device, LlamaForCausalLM, setDevice, type Tensor, tensor, trim } from '../../src/index.ts';
import { type FromPretrained, pretrained } from '../../src/io/pretrained.ts';
import { saveSafetensors } from '../../src/io/safetensors.ts';
import { embedding, layerNorm, linear } from '../../src/nn/layers.ts';
import { random } from '../ops/harness.ts';
import { quantised } from '../quantised.ts';

const LLAMA = 'tests/goldens/cases/llama-lora';
const ROWS = 8192;
const COLS = 384; // f32: more than one piece of 8 MiB
const OUT = 1024;

/** Tied, and one more of each kind. */
const Small = pretrained('Small', (w) => {
  const embed = embedding(w.at('embed'), ROWS, COLS);
  const norm = layerNorm(w.at('norm'), COLS, 1e-5);
  const head = linear(w.at('embed'), COLS, ROWS, { bias: false });
  const mlp = linear(w.at('layers.0.mlp'), COLS, OUT);
  return { forward: (ids: Tensor) => ({ logits: head(norm(embed(ids))), y: mlp(norm(embed(ids))) }) };
});

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tessera-test-'));
});
afterEach(() => rm(folder, { recursive: true }));

const next = random(3);
const VALUES: Record<string, { shape: readonly number[]; data: Float32Array }> = Object.fromEntries(
  Object.entries({
    'embed.weight': [ROWS, COLS],
    'norm.weight': [COLS],
    'norm.bias': [COLS],
    'layers.0.mlp.weight': [OUT, COLS],
    'layers.0.mlp.bias': [OUT],
  }).map(([name, shape]) => {
    const data = Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => next() - 0.5);
    return [name, { shape, data }];
  }),
);

async function write(config: object = {}): Promise<void> {
  const { writeFile } = await import('node:fs/promises');
  await writeFile(`${folder}/config.json`, JSON.stringify({ model_type: 'small', ...config }));
  const plan = new Map(Object.entries(VALUES).map(([name, { shape }]) => [name, { dtype: 'F32', shape } as const]));
  await saveSafetensors(`${folder}/model.safetensors`, plan, (name: string) => VALUES[name]!.data);
}
const load = (options: FromPretrained) => Small.from_pretrained(folder, options);

describe('dtype', () => {
  it.each([
    ['q8', 'q8', 'q8'],
    ['q4', 'q8', 'q4'], // tables stay q8 unless they are named
    [{ embed: 'q4', default: 'q4' }, 'q4', 'q4'],
  ] as const)('%j quantises matrices as they are read, tied ones once', async (dtype, table, matrix) => {
    await write();
    const device = await setDevice({ adapter: process.env.TESSERA_ADAPTER ?? 'software' });
    using model = await load({ dtype });
    const named = model.named_parameters();
    expect([...named].map(([name, t]) => `${name} ${t.dtype}`)).toEqual([
      `embed.weight ${table}`,
      'norm.weight f32',
      'norm.bias f32',
      `layers.0.mlp.weight ${matrix}`,
      'layers.0.mlp.bias f32',
    ]);
    const got = await named.get('embed.weight')!.data();
    const want = quantised(VALUES['embed.weight']!.data, table).values;
    expect(want.findIndex((v, i) => Math.fround(v) !== got[i])).toBe(-1);
    await trim(device);
    const bytes = [...named.values()].reduce((n, t) => n + t.nbytes, 0);
    expect(device.pool.stats.liveBytes).toBeLessThan(1.1 * bytes);
    const ids = tensor([3, ROWS - 1], { dtype: 'i32' });
    expect((await model.forward(ids).logits.data()).every(Number.isFinite)).toBe(true);
  });
  it('is chosen by module, the first that fits', async () => {
    using model = await LlamaForCausalLM.from_pretrained(LLAMA, {
      dtype: { 'model.layers.*.mlp': 'q4', 'model.layers.1': 'f16', lm_head: 'q8', default: 'f32' },
    });
    const of = (name: string) => model.named_parameters().get(`${name}.weight`)!.dtype;
    expect(of('lm_head')).toBe('q8');
    expect(of('model.embed_tokens')).toBe('f32');
    expect(of('model.layers.1.mlp.up_proj')).toBe('q4');
    expect(of('model.layers.1.self_attn.q_proj')).toBe('f16');
    expect(of('model.layers.0.self_attn.q_proj')).toBe('f32');
  });
  it('says what it wants', async () => {
    const load = (dtype: unknown) => LlamaForCausalLM.from_pretrained(LLAMA, { dtype: dtype as 'f32' });
    await expect(load('q5')).rejects.toThrow("[from_pretrained] dtype: got 'q5', want 'f32', 'f16', 'q8' or 'q4'");
    await expect(load({ lm_head: 8 })).rejects.toThrow('dtype: got 8 for lm_head, want');
    await expect(load({ 'model.layer.0': 'q4' })).rejects.toThrow(
      "[from_pretrained] dtype: no weight is in 'model.layer.0'; the names begin with model, lm_head",
    );
  });
});

describe('weights that others packed', () => {
  it.each(['gptq', 'awq', 'bitsandbytes'])('are refused: %s', async (quant_method) => {
    await write({ quantization_config: { quant_method } });
    await expect(load({})).rejects.toThrow(
      `quantised by another library (quant_method "${quant_method}"), whose packing is not read here. Want the model before`,
    );
  });
  it('are known by their tensors too', async () => {
    VALUES['layers.0.mlp.qweight'] = { shape: [2], data: new Float32Array(2) };
    await write();
    delete VALUES['layers.0.mlp.qweight'];
    await expect(load({})).rejects.toThrow('(it holds layers.0.mlp.qweight)');
  });
  it('but for fp8, which is floats', async () => {
    await write({ quantization_config: { quant_method: 'fp8' } });
    using model = await load({ dtype: 'q4' });
    expect(model.unused).toEqual([]);
  });
});

describe('too little memory', () => {
  it.each([
    ['q8', 5e6],
    ['q4', 3.75e6],
  ] as const)('names %s where it would fit', async (fits, max_memory) => {
    await write();
    const device: Device = await setDevice({ adapter: process.env.TESSERA_ADAPTER ?? 'software', max_memory });
    await expect(load({ device })).rejects.toThrow(
      new RegExp(`In ${fits} they take \\d.\\d MB and would fit: dtype '${fits}'`),
    );
  });
});
