// Embeddings are those of the whole model, of which only one tower is loaded.
import { describe, expect, test } from 'vitest';
import { AutoModel, AutoProcessor, AutoTokenizer, setTrace, tensor } from '../../src/index.ts';
import { embedder } from '../../src/tasks/embedder.ts';
import { pictures, tinyFolder } from './support.ts';

const TEXTS = ['a cat', 'the dog'];

describe.each(['clip', 'siglip'] as const)('%s', (family) => {
  const folder = tinyFolder(family);

  test('texts take the tower of texts alone, pictures that of pictures', async () => {
    using model = await AutoModel.from_pretrained(folder);
    const tokenizer = await AutoTokenizer.from_pretrained(folder);
    const padding = family === 'clip' ? 'longest' : 'max_length';
    const ids = tokenizer(TEXTS, { padding, truncation: true, max_length: 16 }).input_ids;
    const want = {
      texts: model.get_text_features({ input_ids: tensor(ids, { dtype: 'i32' }) }),
      pictures: model.get_image_features(await (await AutoProcessor.from_pretrained(folder))(pictures)),
    };
    const of = { texts: /^text_/, pictures: /^vis(ion|ual)_/ };
    for (const kind of ['texts', 'pictures'] as const) {
      using embed = await embedder(folder, kind);
      const { data, shape } = await embed({ texts: TEXTS, pictures }[kind]);
      expect(shape).toEqual(want[kind].shape);
      expect(data).toEqual(await want[kind].data());
      const loaded = [...model.named_parameters()].filter(([name]) => of[kind].test(name));
      const bytes = (all: Iterable<[string, { nbytes: number }]>) => [...all].reduce((n, [, t]) => n + t.nbytes, 0);
      expect(bytes(embed.model.named_parameters())).toBe(bytes(loaded));
      expect(embed.model.unused).toEqual([]);
    }
  });

  test('an abort stops what runs', async () => {
    using embed = await embedder(folder, 'texts');
    const stop = new AbortController();
    let dispatches = 0;
    setTrace(({ type }) => {
      if (type !== 'dispatch') return;
      dispatches++;
      stop.abort(new Error('enough'));
    });
    const work = embed(TEXTS, { signal: stop.signal }).finally(() => setTrace(undefined));
    await expect(work).rejects.toThrow('enough');
    expect(dispatches).toBe(1);
    expect((await embed(TEXTS)).inputs).toEqual(TEXTS);
  });
});
