// Layouts on the goldens' headers: under each, the keys and shapes are exactly those of today's transformers model.
import { describe, expect, test } from 'vitest';
import { openCheckpoint } from '../../src/io/checkpoint.ts';
import {
  applyLayout,
  current,
  findLayout,
  type Layout,
  type Shapes,
  viewCheckpoint,
} from '../../src/io/layouts/index.ts';
import { goldenPath, readJson, valueOrMessage } from './support.ts';

type Tower = { num_hidden_layers: number; hidden_size: number; intermediate_size: number };
type Text = Tower & { vocab_size: number; max_position_embeddings: number };
type Vision = Tower & { patch_size: number; image_size: number };

/** Names and shapes of a transformers CLIPModel, from its config. */
function clipShapes(c: {
  text_config: Text;
  vision_config: Vision;
  projection_dim: number;
}): Map<string, readonly number[]> {
  const { text_config: t, vision_config: v } = c;
  const all = new Map<string, readonly number[]>([['logit_scale', []]]);
  const norm = (path: string, size: number) =>
    ['weight', 'bias'].forEach((part) => void all.set(`${path}.${part}`, [size]));
  const linear = (path: string, to: number, from: number) =>
    void all.set(`${path}.weight`, [to, from]).set(`${path}.bias`, [to]);
  for (const [prefix, tower] of [
    ['text_model', t],
    ['vision_model', v],
  ] as const) {
    const { hidden_size: d, intermediate_size: ff } = tower;
    for (let i = 0; i < tower.num_hidden_layers; i++) {
      const layer = `${prefix}.encoder.layers.${i}`;
      norm(`${layer}.layer_norm1`, d);
      norm(`${layer}.layer_norm2`, d);
      for (const part of ['q_proj', 'k_proj', 'v_proj', 'out_proj']) linear(`${layer}.self_attn.${part}`, d, d);
      linear(`${layer}.mlp.fc1`, ff, d);
      linear(`${layer}.mlp.fc2`, d, ff);
    }
  }
  all.set('text_model.embeddings.token_embedding.weight', [t.vocab_size, t.hidden_size]);
  all.set('text_model.embeddings.position_embedding.weight', [t.max_position_embeddings, t.hidden_size]);
  norm('text_model.final_layer_norm', t.hidden_size);
  all.set('vision_model.embeddings.class_embedding', [v.hidden_size]);
  all.set('vision_model.embeddings.patch_embedding.weight', [v.hidden_size, 3, v.patch_size, v.patch_size]);
  all.set('vision_model.embeddings.position_embedding.weight', [(v.image_size / v.patch_size) ** 2 + 1, v.hidden_size]);
  norm('vision_model.pre_layrnorm', v.hidden_size);
  norm('vision_model.post_layernorm', v.hidden_size);
  all.set('text_projection.weight', [c.projection_dim, t.hidden_size]);
  all.set('visual_projection.weight', [c.projection_dim, v.hidden_size]);
  return all;
}

const sorted = <T>(map: ReadonlyMap<string, T>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1));
const shapesOf = (views: ReadonlyMap<string, { shape: readonly number[] }>) =>
  new Map([...views].map(([path, { shape }]) => [path, shape]));

async function viewGolden(name: string) {
  const checkpoint = await openCheckpoint(goldenPath(name));
  await checkpoint.close();
  return { checkpoint, ...(await viewCheckpoint(checkpoint)) };
}

test.each(['clip', 'clip-gelu'])("%s: today's names are kept", async (name) => {
  const { layout, views, unexpected, config } = await viewGolden(name);
  expect([layout.name, unexpected]).toEqual(['transformers', []]);
  expect(sorted(shapesOf(views))).toEqual(sorted(clipShapes(config as Parameters<typeof clipShapes>[0])));
});

describe.each([
  ['clip-openai', 'openai-clip', ['context_length', 'input_resolution', 'vocab_size']],
  ['clip-open-clip', 'open-clip', []],
])('%s', (name, layoutName, ignored) => {
  test('every tensor of a CLIPModel once, nothing unexpected', async () => {
    const got = await viewGolden(name);
    expect([got.layout.name, got.unexpected, got.ignored.sort()]).toEqual([layoutName, [], ignored]);
    expect(sorted(shapesOf(got.views))).toEqual(sorted(clipShapes(got.config as Parameters<typeof clipShapes>[0])));
    const used = new Set([...got.views.values()].map((view) => view.tensor));
    expect(used.size + ignored.length).toBe(got.checkpoint.tensors.size);
  });

  test('rows of the fused attention weights, and transposed projections', async () => {
    const { views } = await viewGolden(name);
    const rows = (part: string) => views.get(`vision_model.encoder.layers.1.self_attn.${part}`);
    const width = rows('q_proj.weight')!.shape[0]!;
    const tensor = 'visual.transformer.resblocks.1.attn.in_proj_weight';
    expect(rows('q_proj.weight')).toEqual({ tensor, shape: [width, width], rows: [0, width] });
    expect(rows('k_proj.weight')).toEqual({ tensor, shape: [width, width], rows: [width, 2 * width] });
    expect(rows('v_proj.weight')).toEqual({ tensor, shape: [width, width], rows: [2 * width, 3 * width] });
    expect(rows('v_proj.bias')).toEqual({
      tensor: tensor.replace('weight', 'bias'),
      shape: [width],
      rows: [2 * width, 3 * width],
    });
    expect(views.get('visual_projection.weight')).toMatchObject({ tensor: 'visual.proj', transpose: true });
    expect(views.get('text_projection.weight')).toMatchObject({ tensor: 'text_projection', transpose: true });
    expect(views.get('vision_model.pre_layrnorm.bias')).toEqual({ tensor: 'visual.ln_pre.bias', shape: [width] });
  });
});

test('openai-clip: the config comes from the shapes', async () => {
  const { config } = await viewGolden('clip-openai');
  const shared = { hidden_act: 'quick_gelu', layer_norm_eps: 1e-5, projection_dim: 24 };
  expect(config).toEqual({
    model_type: 'clip',
    projection_dim: 24,
    text_config: {
      model_type: 'clip_text_model',
      ...shared,
      hidden_size: 128,
      intermediate_size: 512,
      num_attention_heads: 2,
      num_hidden_layers: 1,
      vocab_size: 60,
      max_position_embeddings: 16,
      eos_token_id: 2,
    },
    vision_config: {
      model_type: 'clip_vision_model',
      ...shared,
      hidden_size: 64,
      intermediate_size: 256,
      num_attention_heads: 1,
      num_hidden_layers: 2,
      patch_size: 8,
      image_size: 16,
      num_channels: 3,
    },
  });
});

test('open-clip: the config comes from open_clip_config.json', async () => {
  const { config } = await viewGolden('clip-open-clip');
  expect(config).toMatchObject({
    projection_dim: 16,
    text_config: { hidden_act: 'gelu', hidden_size: 24, num_attention_heads: 3, vocab_size: 50, eos_token_id: 2 },
    vision_config: { hidden_act: 'gelu', hidden_size: 32, num_attention_heads: 4, image_size: 16 },
  });
});

test('towers alone: with and without the prefix, the same paths', async () => {
  const old = await viewGolden('clip-text');
  const today = await viewGolden('clip-text-gelu');
  expect([old.layout.name, today.layout.name]).toEqual(['transformers-v4-towers', 'transformers']);
  expect(sorted(shapesOf(old.views))).toEqual(sorted(shapesOf(today.views)));
  expect(old.views.get('final_layer_norm.bias')!.tensor).toBe('text_model.final_layer_norm.bias');
  expect(old.config).toBe(old.checkpoint.config);

  const vision = await viewGolden('clip-vision');
  const prefixed = new Map(
    [...vision.checkpoint.tensors].map(([name, { info }]) => [`vision_model.${name}`, info.shape]),
  );
  prefixed.set('vision_model.embeddings.position_ids', [1, 17]);
  const seen = applyLayout(findLayout(prefixed), prefixed);
  expect([seen.unexpected, seen.ignored]).toEqual([[], ['vision_model.embeddings.position_ids']]);
  expect(sorted(shapesOf(seen.views))).toEqual(sorted(shapesOf(vision.views)));
});

test('siglip: both towers keep their prefixes, one alone loses it', async () => {
  const { checkpoint, layout, views } = await viewGolden('siglip');
  expect([layout.name, views.size]).toEqual(['transformers', checkpoint.tensors.size]);
  const tower = new Map(
    [...checkpoint.tensors]
      .filter(([name]) => name.startsWith('vision_model.'))
      .map(([name, { info }]) => [name, info.shape]),
  );
  const alone = applyLayout(findLayout(tower), tower);
  expect([findLayout(tower).name, alone.unexpected]).toEqual(['transformers-v4-towers', []]);
  expect(alone.views.get('head.probe')).toEqual({ tensor: 'vision_model.head.probe', shape: [1, 1, 32] });
});

test('old buffers are no weights', () => {
  const shapes: Shapes = new Map([
    ['text_model.embeddings.position_ids', [1, 77]],
    ['a.rotary_emb.inv_freq', [4]],
    ['a.weight', [1]],
  ]);
  expect(applyLayout(current, shapes)).toEqual({
    views: new Map([['a.weight', { tensor: 'a.weight', shape: [1] }]]),
    unexpected: [],
    ignored: ['text_model.embeddings.position_ids', 'a.rotary_emb.inv_freq'],
  });
});

describe('the mechanism', () => {
  const layout = (rules: Layout['rules'], more: Partial<Layout> = {}): Layout => ({
    name: 'test',
    detect: () => true,
    rules,
    ...more,
  });
  const apply = (rules: Layout['rules'], shapes: Record<string, number[]>) =>
    applyLayout(layout(rules), new Map(Object.entries(shapes)));

  test('stars stand for one part or for the rest; the first rule counts; dots are dots', () => {
    const rules = [
      { from: 'a.*.x', to: 'first.*' },
      { from: 'a.**', to: 'b.**' },
      { from: '*.c.*', to: '*/*' },
    ];
    const { views, unexpected } = apply(rules, { 'a.1.x': [1], 'a.1.y.z': [1], 'p.c.q': [1], 'pXc.q': [1] });
    expect([[...views.keys()], unexpected]).toEqual([['first.1', 'b.1.y.z', 'p/q'], ['pXc.q']]);
  });

  test('rows, transpose and reshape together', () => {
    const rule = {
      from: 'w',
      to: ['a', 'b'],
      transpose: true,
      reshape: ([n, m]: readonly number[]) => [n!, m!, 1, 1],
    } as const;
    expect(apply([rule], { w: [6, 4] }).views).toEqual(
      new Map([
        ['a', { tensor: 'w', shape: [4, 3, 1, 1], rows: [0, 3], transpose: true }],
        ['b', { tensor: 'w', shape: [4, 3, 1, 1], rows: [3, 6], transpose: true }],
      ]),
    );
  });

  test('what does not fit is an error', () => {
    expect(() => apply([{ from: '*', to: 'same' }], { a: [1], b: [1] })).toThrow('[test] both a and b stand for same');
    expect(() => apply([{ from: 'w', to: ['a', 'b', 'c'] }], { w: [4, 2] })).toThrow(
      '[test] w can not be cut in 3: got shape [4,2]',
    );
    expect(() => apply([{ from: 'w', to: ['a', 'b'] }], { w: [] })).toThrow('can not be cut in 2: got shape []');
    expect(() => apply([{ from: 'w', to: 'a', transpose: true }], { w: [4] })).toThrow(
      '[test] w: got shape [4], want a matrix',
    );
    expect(() => apply([{ from: 'w', to: 'a', reshape: () => [3] }], { w: [2] })).toThrow(
      '[test] w: got [2], want [3]',
    );
  });
});

describe('a CLIP that is none of the known ones is refused', () => {
  const file = readJson(goldenPath('clip-open-clip/open_clip_config.json'));
  const changed = (section: string, values: object) => {
    const copy = structuredClone(file);
    Object.assign(section === 'model_cfg' ? copy.model_cfg : copy.model_cfg[section], values);
    return copy;
  };
  const cases: [string, Record<string, unknown> | undefined, string][] = [
    ['no config file', undefined, '[open-clip] no open_clip_config.json beside the weights'],
    [
      'another text tower',
      changed('text_cfg', { hf_model_name: 'xlm-roberta-base' }),
      'hf_model_name: "xlm-roberta-base" is not supported',
    ],
    [
      'a ResNet',
      changed('vision_cfg', { layers: [3, 4, 6, 3] }),
      '[open_clip_config.json] layers: got [3,4,6,3], want an integer > 0',
    ],
    ['attention pooling', changed('vision_cfg', { pool_type: 'map' }), 'pool_type: "map" is not supported'],
    ['a bad ratio', changed('vision_cfg', { mlp_ratio: '4' }), 'mlp_ratio: got "4", want a number > 0'],
    ['no model_cfg', {}, 'no section model_cfg'],
  ];
  test.each(cases)('%s', async (_, config, want) => {
    const checkpoint = await openCheckpoint(goldenPath('clip-open-clip'));
    await checkpoint.close();
    expect((await valueOrMessage(() => viewCheckpoint({ ...checkpoint, json: async () => config }))).message).toContain(
      want,
    );
  });

  test('defaults may be written out, and are used when absent', async () => {
    const checkpoint = await openCheckpoint(goldenPath('clip-open-clip'));
    await checkpoint.close();
    const view = (config: Record<string, unknown>) => viewCheckpoint({ ...checkpoint, json: async () => config });
    const more = changed('vision_cfg', { pool_type: 'tok', attentional_pool: false, patch_dropout: 0.5 });
    expect((await view(more)).config).toEqual((await view(file)).config);
    const least = await view({ model_cfg: { embed_dim: 512, quick_gelu: true, vision_cfg: {}, text_cfg: {} } });
    expect(least.config).toMatchObject({
      text_config: {
        hidden_size: 512,
        num_attention_heads: 8,
        num_hidden_layers: 12,
        vocab_size: 49408,
        hidden_act: 'quick_gelu',
      },
      vision_config: {
        hidden_size: 768,
        num_attention_heads: 12,
        patch_size: 16,
        image_size: 224,
        intermediate_size: 3072,
      },
    });
  });

  test("openai/CLIP's ResNets", async () => {
    const shapes = new Map([
      ['visual.conv1.weight', [32, 3, 3, 3]],
      ['input_resolution', []],
      ['visual.layer1.0.conv1.weight', [1]],
    ]);
    expect(() => findLayout(shapes).config!(shapes, undefined)).toThrow(
      '[openai-clip] a CLIP with a ResNet for pictures',
    );
  });
});
