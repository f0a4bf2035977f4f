// POST /v1/embeddings: texts to rows of length 1.
import { setImmediate } from 'node:timers/promises';
import type { CreateEmbeddingResponse, EmbeddingCreateParams } from 'openai/resources/embeddings';
import { checkFields, never, oneOf, type Rules, text, wrong } from './fields.ts';
import type { Exchange } from './http.ts';

const MOST = 2048; // texts, as OpenAI has it

const AT_ONCE = 64; // texts that are counted before others have their turn

const FIELDS: Rules<Required<EmbeddingCreateParams>> = {
  model: text,
  input: {
    want: `a text, or a list of 1 to ${MOST}`,
    holds: (v) => {
      const texts = [v].flat();
      return texts.length > 0 && texts.length <= MOST && texts.every((one) => typeof one === 'string' && one !== '');
    },
  },
  encoding_format: oneOf('float', 'base64'),
  ...{ dimensions: never, user: text },
};

export async function embeddings({ body, signal, turns, reply, modelOf }: Exchange): Promise<void> {
  const request = checkFields<EmbeddingCreateParams>(body, FIELDS as Rules<EmbeddingCreateParams>, ['model', 'input']);
  const { task } = modelOf('embeddings', request.model);
  const texts = [request.input].flat() as string[];
  let prompt_tokens = 0;
  for (const [i, one] of texts.entries()) {
    const { count, most } = task.lengthOf!(one);
    if (count > most) throw wrong(`input[${i}]`, `${count} tokens or more`, `at most ${most}, which this model reads`);
    prompt_tokens += count;
    if (i % AT_ONCE === 0) await setImmediate(); // others have their turn
  }
  using _ = await turns.take(signal);
  const { shape, data } = await task(texts, { normalize: true, signal });
  const row = (i: number) => data.subarray(i * shape[1], (i + 1) * shape[1]);
  // clients ask for base64 to save bytes: little-endian f32
  const encode = (values: Float32Array) =>
    request.encoding_format === 'base64'
      ? Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('base64')
      : Array.from(values);
  reply.json({
    object: 'list',
    model: request.model,
    data: texts.map((_, index) => ({ object: 'embedding', index, embedding: encode(row(index)) as number[] })),
    usage: { prompt_tokens, total_tokens: prompt_tokens },
  } satisfies CreateEmbeddingResponse);
}
