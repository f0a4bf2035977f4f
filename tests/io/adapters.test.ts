// LoRA adapters on a model: chosen, weighed, merged, trained; and what is refused. Their numbers are in the golden cases.
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { assign } from '../../src/exec/run.ts';
import {
  compile,
  type Device,
  grad,
  LlamaForCausalLM,
  run,
  setDevice,
  tensor,
  trim,
  writeSafetensors,
} from '../../src/index.ts';
import { loraConfig } from '../../src/io/lora-config.ts';
import { asFiles, openCase } from '../goldens/files.ts';
import { loss, withAdapters } from '../goldens/peft.ts';

const CASE = 'tests/goldens/cases/llama-lora';
const A = `${CASE}/adapter_a`;
const ids = () => tensor([[5, 90, 17, 3]], { dtype: 'i32' });
type Model = Awaited<ReturnType<typeof LlamaForCausalLM.from_pretrained>>;
async function logits(model: Model): Promise<Float32Array> {
  using input_ids = ids();
  using y = model.forward({ input_ids }).logits;
  return (await y.data()) as Float32Array;
}

let device: Device;
let model: Model;
beforeEach(async () => {
  device = await setDevice({ adapter: process.env.TESSERA_ADAPTER ?? 'software' }); // a new one, which holds nothing
  model = await LlamaForCausalLM.from_pretrained(CASE);
});
afterEach(() => model.dispose());

describe('adapters', () => {
  it('are swapped without loading again, weighed, and leave no trace', async () => {
    const base = await logits(model);
    await trim(device);
    const { liveBytes } = device.pool.stats;
    expect(await model.load_adapter(A, 'a')).toEqual([]);
    const a = await logits(model);
    expect(a).not.toEqual(base);
    await model.load_adapter(`${CASE}/adapter_b`, 'b');
    expect(model.active_adapters()).toEqual(['b']);
    model.set_adapters('a');
    expect(await logits(model)).toEqual(a);
    model.set_adapters(['a', 'b'], [0, 0]);
    expect(await logits(model)).toEqual(base);
    model.set_adapters([]);
    expect(await logits(model)).toEqual(base);
    model.delete_adapters(['a', 'b']);
    await trim(device);
    expect(device.pool.stats.liveBytes).toBe(liveBytes);
  });
  it('are in what was compiled before', async () => {
    const forward = compile((input_ids) => model.forward({ input_ids }).logits);
    const base = await (await forward(ids())).data();
    await model.load_adapter(A);
    expect(await (await forward(ids())).data()).toEqual(await logits(model));
    model.set_adapters([]);
    expect(await (await forward(ids())).data()).toEqual(base);
  });
  it('weigh without another plan', async () => {
    await model.load_adapter(A);
    await logits(model);
    const { pipelines, bindGroups } = device.counters;
    model.set_adapters('default', 0.5);
    await logits(model);
    expect(device.counters).toMatchObject({ pipelines, bindGroups });
  });
  it('merge into the weights and out of them, to the bit', async () => {
    const base = await logits(model);
    await model.load_adapter(A);
    const beside = await logits(model);
    await model.merge_adapter();
    const merged = await logits(model);
    expect(Math.max(...merged.map((v, i) => Math.abs(v - beside[i]!)))).toBeLessThan(1e-5);
    expect(() => model.set_adapters([])).toThrow(
      '[set_adapters] adapters are merged into the LlamaForCausalLM: call its unmerge_adapter()',
    );
    await model.unmerge_adapter();
    expect(await logits(model)).toEqual(beside);
    model.set_adapters([]);
    expect(await logits(model)).toEqual(base);
  });
  it('change one after the other, and what acts at once is refused meanwhile', async () => {
    const told = (work: Promise<unknown>) => work.then(String, ({ message }) => message as string);
    const seen: string[][] = [];
    const works = [
      model.load_adapter(A, 'a'),
      model.load_adapter(A, 'a'),
      model.merge_adapter().then(() => void seen.push(model.merged_adapters())),
      model.load_adapter(`${CASE}/adapter_b`, 'b'),
      model.unmerge_adapter().then(() => void seen.push(model.merged_adapters())),
      model.load_adapter(`${CASE}/adapter_b`, 'b', { active: false }),
    ].map(told);
    expect(() => model.set_adapters([])).toThrow('[set_adapters] load_adapter is at work: await it first');
    expect(() => model.delete_adapters([])).toThrow('[delete_adapters] load_adapter is at work: await it first');
    expect(await Promise.all(works)).toEqual([
      '',
      "[load_adapter] 'a' is loaded: give it another name, or delete_adapters first",
      'undefined',
      '[load_adapter] adapters are merged into the LlamaForCausalLM: call its unmerge_adapter() first',
      'undefined',
      '',
    ]);
    expect(seen).toEqual([['a'], []]);
    expect(model.active_adapters()).toEqual(['a']);
    model.set_adapters(['a', 'b']);
  });
  it('are merged still after a lost device', async () => {
    const w = model.named_parameters().get('model.layers.0.self_attn.q_proj.weight')!;
    const base = await w.data();
    await model.load_adapter(A);
    await model.merge_adapter();
    const merged = await w.data();
    expect(merged).not.toEqual(base);
    device.gpu.destroy();
    await device.gpu.lost;
    expect(await w.data()).toEqual(merged);
    await model.unmerge_adapter();
    expect(await w.data()).toEqual(base);
  });
  it('come as files of a page', async () => {
    const bytes = async (file: string) => new Uint8Array(await readFile(`${A}/${file}`));
    const files = asFiles('a', ['adapter_config.json', 'adapter_model.safetensors'], bytes);
    expect(await model.load_adapter((await files.checkpoint()) as File[])).toEqual([]);
  });
});

it('of an output layer that is tied to the embeddings act beside it, and are not merged into both', async () => {
  using tied = await LlamaForCausalLM.from_pretrained('tests/goldens/cases/llama-gqa');
  const [V, D] = tied.named_parameters().get('model.embed_tokens.weight')!.shape as [number, number];
  const folder = await mkdtemp(path.join(tmpdir(), 'tessera-test-'));
  try {
    const config = { peft_type: 'LORA', r: 1, lora_alpha: 1, target_modules: ['lm_head'] };
    await writeFile(`${folder}/adapter_config.json`, JSON.stringify(config));
    const half = (...shape: [number, number]) => {
      return { dtype: 'F32', shape, data: new Float32Array(shape[0] * shape[1]).fill(0.5) } as const;
    };
    const lora = new Map([
      ['base_model.model.lm_head.lora_A.weight', half(1, D)],
      ['base_model.model.lm_head.lora_B.weight', half(V, 1)],
    ]);
    await writeFile(`${folder}/adapter_model.safetensors`, writeSafetensors(lora));
    const base = await logits(tied);
    await tied.load_adapter(folder);
    const beside = await logits(tied);
    expect(beside).not.toEqual(base);
    await expect(tied.merge_adapter()).rejects.toThrow('[merge_adapter] lm_head has the weights of another layer');
    expect(await logits(tied)).toEqual(beside);
  } finally {
    await rm(folder, { recursive: true });
  }
});

describe('what does not fit', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'tessera-test-'));
    await cp(A, folder, { recursive: true });
  });
  afterEach(() => rm(folder, { recursive: true }));
  const change = async (changes: object) => {
    const config = JSON.parse(await readFile(`${folder}/adapter_config.json`, 'utf8'));
    await writeFile(`${folder}/adapter_config.json`, JSON.stringify({ ...config, ...changes }));
  };
  it.each([
    [{ peft_type: 'IA3' }, 'peft_type: got "IA3", want "LORA"'],
    [{ use_dora: true }, 'got use_dora true, want an adapter of lora_A and lora_B alone; merge it in PEFT'],
    [{ modules_to_save: ['lm_head'] }, 'got modules_to_save ["lm_head"], want an adapter of'],
    [{ bias: 'all' }, 'got bias "all", want an adapter of'],
    [{ r: 0 }, 'got r 0, lora_alpha 8, want a rank'],
    [{ target_modules: 3 }, 'target_modules: got 3, want names of modules or a regular expression'],
    [{ target_modules: '(' }, 'want a regular expression'],
    [{ target_modules: ['query'] }, 'does not fit LlamaForCausalLM: target_modules ["query"] names no linear'],
    [{ target_modules: ['o_proj', 'q_proj'] }, 'model.layers.0.self_attn.o_proj.lora_A is missing'],
    [{ r: 3 }, 'lora_A.weight: got [4, 32], want [3, 32]'],
  ])('%j', async (changes, message) => {
    await change(changes);
    await trim(device);
    const { live } = device.pool.stats;
    await expect(model.load_adapter(folder)).rejects.toMatchObject({
      name: 'UserError',
      message: expect.stringContaining(message),
    });
    expect(device.pool.stats.live).toBe(live);
  });
  it('says what is missing, or there', async () => {
    await rm(`${folder}/adapter_config.json`);
    await expect(model.load_adapter(folder)).rejects.toThrow(
      'no adapter_config.json: want it beside adapter_model.safetensors',
    );
    await expect(model.load_adapter(CASE)).rejects.toThrow('no file adapter_model.safetensors');
    await model.load_adapter(A);
    await expect(model.load_adapter(A)).rejects.toThrow("'default' is loaded: give it another name");
    expect(() => model.set_adapters('other')).toThrow("[set_adapters] no adapter 'other': 'default'");
    expect(() => model.set_adapters('default', [1, 2])).toThrow(
      'weights: got an array [1, 2] for 1 adapters, want a number for each',
    );
  });
  it('names what no module takes', async () => {
    await change({ target_modules: ['q_proj'] });
    const unused = await model.load_adapter(folder);
    expect(unused).toHaveLength(4);
    expect(unused[0]).toContain('v_proj');
  });
});

describe('modules and scales', () => {
  const CONFIG = { peft_type: 'LORA', r: 4, lora_alpha: 8, target_modules: ['q_proj'] };
  const at = (changes: object, path: string) => loraConfig('here', { ...CONFIG, ...changes })(path)?.scaling;
  it.each([
    [{}, 'model.layers.0.self_attn.q_proj', 2],
    [{}, 'q_proj', 2],
    [{}, 'model.layers.0.self_attn.aq_proj', undefined],
    [{ target_modules: '.*layers\\.[1-3]\\..*proj' }, 'model.layers.2.mlp.up_proj', 2],
    [{ target_modules: '.*layers\\.[1-3]\\..*proj' }, 'model.layers.2.mlp.up_proj_more', undefined],
    [{ target_modules: 'all-linear' }, 'anything', 2],
    [{ target_modules: 'all-linear' }, 'lm_head', undefined],
    [{ target_modules: 'all-linear' }, 'language_model.lm_head', undefined],
    [{ target_modules: ['lm_head'] }, 'lm_head', 2],
    [{ use_rslora: true }, 'q_proj', 4],
    [{ exclude_modules: ['0.q_proj'] }, 'layers.0.q_proj', undefined],
    [{ layers_to_transform: [1] }, 'layers.0.q_proj', undefined],
    [{ layers_to_transform: 1 }, 'layers.1.q_proj', 2],
    [{ rank_pattern: { 'layers.1.q_proj': 16 } }, 'model.layers.1.q_proj', 0.5],
    [{ rank_pattern: { 'layers.1.q_proj': 16 } }, 'model.layers.11.q_proj', 2],
    [{ alpha_pattern: { '.*1.q_proj': 1 } }, 'model.layers.11.q_proj', 0.25],
  ])('%j at %s: %s', (changes, path, want) => expect(at(changes, path)).toBe(want));
});

describe('a quantised backbone', () => {
  const TRAIN = openCase({ path: 'tests/goldens/cases/train-lora' });
  const inputs = () => ({
    input_ids: tensor([[5, 90, 17, 3, 44]], { dtype: 'i32' }),
    labels: tensor([[-100, 90, 17, 3, 44]], { dtype: 'i32' }),
  });
  it('gives adapters the gradients of its dequantised weights, to the bit', async () => {
    using packed = await withAdapters(TRAIN, 'q8');
    using whole = await withAdapters(TRAIN);
    for (const [name, w] of packed.named_parameters()) {
      if (w.dtype === 'q8') assign(whole.named_parameters().get(name)!, await w.to('f32').realize());
    }
    const gradients = async (m: typeof whole) => {
      m.set_adapters('adapter');
      const params = [...m.get_adapter_state_dict('adapter').values()];
      const all = grad(loss(m, inputs()), params);
      await run(all);
      return Promise.all(all.map((g) => g.data()));
    };
    const [got, want] = [await gradients(packed), await gradients(whole)];
    expect(got.some((g) => g.some((v) => v !== 0))).toBe(true);
    expect(got).toEqual(want);
  });
  it('is not merged into', async () => {
    using packed = await withAdapters(TRAIN, 'q8');
    packed.set_adapters('adapter');
    await expect(packed.merge_adapter()).rejects.toThrow(
      'model.layers.0.self_attn.q_proj is q8: merging would round the adapter away. Leave it unmerged, or load as f32',
    );
  });
});
