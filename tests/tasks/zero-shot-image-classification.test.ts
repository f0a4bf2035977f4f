// Zero-shot classification on tiny random models: what it says is what the model says, whatever is beside it in the call.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { defaultDevice, setTrace, tensor } from '../../src/index.ts';
import { AutoModel, AutoProcessor, AutoTokenizer } from '../../src/tasks/auto.ts';
import { load_image } from '../../src/tasks/load-image.ts';
import { pipeline } from '../../src/tasks/pipeline.ts';
import { sentences } from '../../src/tasks/sentences.ts';
import { promptOf, type ZeroShotImageClassifier } from '../../src/tasks/zero-shot-image-classification.ts';
import { golden, pictures, tinyFolder, withNumber } from './support.ts';

const LABELS = ['a cat', 'dog', 'the very long name of some thing', 'b'];
const TASK = 'zero-shot-image-classification';

describe.each(['clip', 'siglip'] as const)('%s', (family) => {
  const folder = tinyFolder(family);
  let classify: ZeroShotImageClassifier;
  beforeAll(async () => {
    classify = await pipeline(TASK, folder);
  });
  afterAll(() => classify.dispose());

  test('gives the probabilities of model.forward', async () => {
    const model = await AutoModel.from_pretrained(folder);
    const tokenizer = await AutoTokenizer.from_pretrained(folder);
    const processor = await AutoProcessor.from_pretrained(folder);
    const isClip = family === 'clip';
    const texts = LABELS.map((label) => `so ${label}`);
    const padding = isClip ? ('longest' as const) : ('max_length' as const);
    const words = tokenizer(texts, { padding, truncation: true, max_length: 16 });
    if (!isClip) expect(words.input_ids.every((row) => row.length === 16 && row.includes(1))).toBe(true);
    const inputs = { input_ids: tensor(words.input_ids, { dtype: 'i32' }), ...(await processor(pictures)) };
    const { logits_per_image } = model.forward(inputs);
    const want = await (isClip ? logits_per_image.softmax(-1) : logits_per_image.sigmoid()).tolist();

    const got = await classify(pictures, LABELS, { hypothesis_template: 'so {}' });
    const score = (of: (typeof got)[0]) => LABELS.map((label) => of.find((one) => one.label === label)!.score);
    expect(got.map(score)).toEqual(want);
    for (const of of got) expect(of).toEqual([...of].sort((a, b) => b.score - a.score));
    model.dispose();
  });

  test('a score depends neither on the other pictures nor on the order of labels', async () => {
    const together = await classify(pictures, LABELS, { batch_size: 3 });
    for (const [i, picture] of pictures.entries()) expect(await classify(picture, LABELS)).toEqual(together[i]);
    const again = await pipeline(TASK, folder);
    expect(await again(pictures, [...LABELS].reverse())).toEqual(together);
    again.dispose();
    if (family === 'siglip')
      expect((await classify(pictures[0]!, ['dog']))[0]).toEqual(together[0]!.find((o) => o.label === 'dog'));
    else expect(together[0]!.reduce((sum, { score }) => sum + score, 0)).toBeCloseTo(1, 5);
  });

  test('an abort stops what runs', async () => {
    const labels = ['one cat', 'one dog'];
    for (const what of ['texts', 'pictures']) {
      const stop = new AbortController();
      let dispatches = 0;
      setTrace(({ type }) => {
        if (type !== 'dispatch') return;
        dispatches++;
        stop.abort(new Error(what));
      });
      const work = classify(pictures[0]!, labels, { signal: stop.signal }).finally(() => setTrace(undefined));
      await expect(work).rejects.toThrow(what);
      expect(dispatches).toBe(1);
      await classify(pictures[0]!, labels); // whose texts it knows from now on
    }
  });

  test('keeps nothing on the device but its weights', async () => {
    const { pool } = await defaultDevice();
    const round = async (letter: string) => {
      await classify(pictures, [`${letter} cat`, `${letter} dog`]);
      await classify(pictures[0]!, [`${letter} thing`]);
      return pool.stats.live;
    };
    const live = await round('u'); // plans keep their places
    expect([await round('v'), await round('w')]).toEqual([live, live]);
    const another = await pipeline(TASK, folder);
    expect(pool.stats.live).toBeGreaterThan(live);
    another.dispose();
    expect(pool.stats.live).toBe(live);
  });

  test('f16 weights give nearly the same', async () => {
    const half = await pipeline(TASK, folder, { dtype: 'f16' });
    const [got, want] = [await half(pictures[0]!, LABELS), await classify(pictures[0]!, LABELS)];
    for (const { label, score } of want) expect(got.find((one) => one.label === label)!.score).toBeCloseTo(score, 2);
    half.dispose();
  });
});

test('labels too long for the model are cut, their end kept', async () => {
  const classify = await pipeline(TASK, tinyFolder('clip'));
  const long = (tail: string) => `${'x'.repeat(40)} ${tail}`;
  const [a, b] = await classify(pictures[0]!, [long('one'), long('two')]);
  expect(a!.score).toBe(0.5);
  expect(b!.score).toBe(0.5);
  classify.dispose();
});

test('of a long text only as much is looked at as the model takes', async () => {
  const folder = golden('tokenizer-clip');
  const idsOf = await sentences(folder, 'clip', {});
  const tokenizer = await AutoTokenizer.from_pretrained(folder);
  const texts = [
    'a photo of a cat, ',
    'abcdefghij',
    '  two  rooms\n',
    '樱桃',
    'ab '.repeat(60) + 'longer'.repeat(900),
  ].map((part) => part.repeat(Math.ceil(6000 / part.length)));
  const want = tokenizer(texts, { truncation: true, max_length: 77, padding: true }).input_ids;
  expect(await idsOf(texts).tolist()).toEqual(want);
  const start = performance.now();
  idsOf(['a photo of a cat '.repeat(60_000), 'abcdefghij'.repeat(100_000)]);
  expect(performance.now() - start).toBeLessThan(4000);
});

test('SigLIP hears neither case nor punctuation', async () => {
  const classify = await pipeline(TASK, tinyFolder('siglip'));
  const [a, b] = await classify(pictures[0]!, ['a cat', 'A  "Cat"!'], { hypothesis_template: '{}' });
  expect(a!.score).toBe(b!.score);
  classify.dispose();
});

test('takes pictures in every form', async () => {
  const bytes = new Uint8Array(readFileSync(pictures[0]!));
  const pixels = await load_image(pictures[0]!);
  const data = `data:image/png;base64,${Buffer.from(bytes).toString('base64')}`;
  const file = pathToFileURL(pictures[0]!);
  const clamped = { ...pixels, data: new Uint8ClampedArray(pixels.data) };
  for (const form of [bytes, bytes.buffer, new Blob([bytes]), data, new URL(data), file, file.href, pixels, clamped])
    expect(await load_image(form)).toEqual(pixels);
  const rgba = { width: 1, height: 1, data: new Uint8ClampedArray([1, 2, 3, 4]), colorSpace: 'srgb' } as ImageData;
  expect(await load_image(rgba)).toEqual({ width: 1, height: 1, channels: 4, data: new Uint8Array([1, 2, 3, 4]) });
});

test('a file without end is refused, wherever it comes from', async () => {
  const server = createServer((_, response) => {
    const more = () => {
      while (response.write(new Uint8Array(1 << 20)));
    };
    response.on('drain', more);
    more();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  try {
    for (const endless of [`http://127.0.0.1:${port}/x.png`, '/dev/zero'])
      await expect(load_image(endless)).rejects.toThrow('too large for a picture: got more than 256 MiB');
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test('broken weights are an error, not a score', async () => {
  const broken: ['clip' | 'siglip', string, number, string][] = [
    ['clip', 'visual_projection.weight', Number.NaN, 'every label: the logit is NaN, want a number'],
    ['siglip', 'logit_scale', 200, 'Infinity, want a number'], // whose sigmoid is 1
  ];
  for (const [family, tensor, value, want] of broken) {
    const weights = { 'model.safetensors': withNumber(family, tensor, value) };
    using classify = await pipeline(TASK, tinyFolder(family, weights));
    const error = await classify([await load_image(pictures[0]!)], LABELS).catch((thrown) => thrown);
    expect(error.message).toMatch(/^\[zero-shot-image-classification\] image, /);
    expect(error.message).toContain(want);
    expect(error.name).toBe('Error'); // no mistake in what was asked
  }
});

test("takes the card's template, else transformers'", async () => {
  expect(promptOf('# x\n\n**Prompt to use:** `a drawing of X`, where X is a thing')).toBe('a drawing of {}');
  expect(promptOf('Prompt to use: `a {} X`')).toBe('a {} X');
  expect(promptOf('no `prompt to use: X` here')).toBeUndefined();
  expect(promptOf(undefined)).toBeUndefined();
  const card = { 'README.md': '**Prompt to use:** `so X`' };
  const [own, plain] = [await pipeline(TASK, tinyFolder('clip', card)), await pipeline(TASK, tinyFolder('clip'))];
  expect([own.hypothesis_template, plain.hypothesis_template]).toEqual(['so {}', 'This is a photo of {}.']);
  expect(await own(pictures[0]!, LABELS)).toEqual(await plain(pictures[0]!, LABELS, { hypothesis_template: 'so {}' }));
  own.dispose();
  plain.dispose();
});

test('reports progress, and stops when asked', async () => {
  const seen: string[] = [];
  const classify = await pipeline(TASK, tinyFolder('clip'), { progress_callback: ({ status }) => seen.push(status) });
  expect([seen[0], seen.at(-1)]).toEqual(['initiate', 'ready']);
  expect(seen.filter((status) => status === 'initiate')).toHaveLength(1);
  const signal = AbortSignal.abort(new Error('enough'));
  await expect(classify(pictures, LABELS, { signal })).rejects.toThrow('enough');
  await expect(pipeline(TASK, tinyFolder('clip'), { signal })).rejects.toThrow('enough');
  classify.dispose();
});

test('says what is wrong', async () => {
  const classify = await pipeline(TASK, tinyFolder('clip'));
  const message = async (work: Promise<unknown>) => {
    const error = await work.then(
      () => undefined,
      (thrown) => thrown,
    );
    expect(error?.name).toBe('UserError');
    return error.message;
  };
  expect(await message(classify(pictures, []))).toMatchInlineSnapshot(
    `"[zero-shot-image-classification] no labels: want at least one, such as "a cat""`,
  );
  expect(await message(classify(pictures, ['a', ' ']))).toMatchInlineSnapshot(
    `"[zero-shot-image-classification] label 2: got " ", want a text"`,
  );
  expect(await message(classify(pictures, ['a'], { hypothesis_template: 'x' }))).toMatchInlineSnapshot(
    `"[zero-shot-image-classification] hypothesis_template: got "x", want {} where the label goes"`,
  );
  expect(await message(classify(pictures, ['a'], { batch_size: 0 }))).toMatchInlineSnapshot(
    `"[zero-shot-image-classification] batch_size: got 0, want a whole number from 1"`,
  );
  expect(await message(classify(undefined as never, ['a']))).toMatchInlineSnapshot(
    `"[image] not a picture: got undefined, want a path, an address, the bytes of a file, a Blob, ImageData or pixels { width, height, channels, data }"`,
  );
  expect(await message(classify(Promise.resolve(pictures[0]) as never, ['a']))).toContain(
    'got an object of class Promise',
  );
  const pixels = { width: 2, height: 2, channels: 3, data: new Uint8Array(12) };
  expect(await message(classify([pixels, { ...pixels, width: 3 }], ['a']))).toMatchInlineSnapshot(
    `"[picture 2] pixels: got 12 bytes for width 3, height 2, channels 3; want width * height * channels bytes, and 1 to 4 channels"`,
  );
  for (const wrong of [{ channels: 5 }, { channels: 0 }, { width: 2.5 }, { height: -2 }, { channels: Number.NaN }])
    expect(await message(classify({ ...pixels, ...wrong }, ['a']))).toContain('[image] pixels: got 12 bytes');
  expect(await message(classify(pictures[0]!, undefined as never))).toMatchInlineSnapshot(
    `"[zero-shot-image-classification] labels: got undefined, want a list of texts, such as ["a cat", "a dog"]"`,
  );
  expect(await message(classify(pictures[0]!, 'a cat' as never))).toContain('labels: got "a cat", want a list');
  expect(await message(classify([pixels, new Uint8Array(9)], ['a']))).toContain(
    '[picture 2] cannot be read as a picture',
  );
  const line = { width: 500_000, height: 1, channels: 3, data: new Uint8Array(1_500_000) };
  expect(await classify([pixels, line], ['a'])).toHaveLength(2); // only what the crop keeps is resized
  expect(await message(classify('no.png', ['a']))).toMatchInlineSnapshot(`"[no.png] no such file: want a picture"`);
  classify.dispose();
  const without = (file: string) => {
    const folder = tinyFolder('clip');
    const hide = { open: async (name: string) => (name === file ? undefined : folder.open(name)) };
    const text = async (name: string) => (name === file ? undefined : folder.text(name));
    return { ...folder, ...hide, text };
  };
  expect(await message(pipeline(TASK, without('tokenizer.json')))).toMatchInlineSnapshot(
    `"[tiny-clip] no tokenizer: got none of these files, want tokenizer.json, or vocab.json and merges.txt"`,
  );
  expect(await message(pipeline(TASK, without('preprocessor_config.json')))).toMatchInlineSnapshot(
    `"[tiny-clip] no preprocessor_config.json: want it beside the weights"`,
  );
  expect(await message(pipeline(TASK, without('config.json')))).toMatchInlineSnapshot(
    `"[tiny-clip] not a model that can be used here: got no config.json, want one of clip, siglip"`,
  );
  const other = tinyFolder('clip', { 'config.json': '{"model_type": "bert"}' });
  expect(await message(pipeline(TASK, other))).toMatchInlineSnapshot(
    `"[tiny-clip] not a model that can be used here: got model_type "bert", want one of clip, siglip"`,
  );
  expect(await message(pipeline('chess' as never))).toMatchInlineSnapshot(
    `"[pipeline] unknown task: got 'chess', want one of image-feature-extraction, image-text-to-text, text-generation, text-to-image, zero-shot-image-classification"`,
  );
});
