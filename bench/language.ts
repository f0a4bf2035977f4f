// npm run bench -- language: a language model as it is kept, its prompts and its tokens, and our own share of a step.
import { DTYPES, type DType, type Held, type Own, SIZES, type Times } from './generating.ts';
import { median, spread } from './harness.ts';
import { Side } from './sides.ts';

const ROUNDS = 5;
const WARM = 4; // tokens of a first answer, which compiles

export type LanguageRow = {
  kernel: 'llama_prefill' | 'llama_decode' | 'llama_own';
  shape: string;
  dtype: DType;
  /** Of a token; for `llama_own` the processor's time that is not WebGPU's. */
  ours_us: number;
  peers: Record<string, never>;
  ratio: null;
  spread: { tessera: number };
  tokens_per_second?: number;
  first_token_ms?: number;
  weights_mb?: number;
  cache_mb?: number;
  dispatches?: { per_layer: number; rest: number };
};

export type Language = { adapter: string; rows: LanguageRow[] };

/** Types take turns in each round, another first each time, and what is known is kept after each. `model`: a folder; else random weights. */
export async function language(
  bundles: string,
  adapter: string,
  { model, filter, quick }: { model: string | undefined; filter: string; quick: boolean },
  keep: (found: Language) => Promise<void>,
): Promise<Language> {
  const wanted = DTYPES.filter((dtype) => new RegExp(filter).test(`llama ${dtype}`));
  const side = await Side.open('tessera', adapter, bundles);
  try {
    const own = await side.ask<Own>({ ask: 'own' });
    const held = new Map<DType, Held>();
    const times = new Map<DType, Times[]>();
    for (const dtype of wanted) held.set(dtype, await side.ask<Held>({ ask: 'load', dtype, model }));
    for (const dtype of wanted) await side.ask({ ask: 'generate', dtype, answer: WARM });
    const row = (kernel: LanguageRow['kernel'], shape: string, dtype: DType, us: number[]) => {
      const figures = { ours_us: median(us), peers: {}, ratio: null, spread: { tessera: spread(us) } } as const;
      return { kernel, shape, dtype, ...figures, tokens_per_second: 1e6 / median(us) };
    };
    const rowsOf = (dtype: DType): LanguageRow[] => {
      const [first, step] = [times.get(dtype)!.map((t) => t.first_us), times.get(dtype)!.map((t) => t.step_us)];
      const { weights, cache } = held.get(dtype)!;
      const { prompt, answer } = SIZES;
      const prefill = row(
        'llama_prefill',
        `${prompt}`,
        dtype,
        first.map((us) => us / prompt),
      );
      return [
        { ...prefill, first_token_ms: median(first) / 1e3 },
        {
          ...row('llama_decode', `${prompt}+${answer}`, dtype, step),
          weights_mb: weights / 1e6,
          cache_mb: cache / 1e6,
        },
      ];
    };
    const { layers, step_us, per_layer, rest } = own;
    const { tokens_per_second: _, ...share } = row('llama_own', `${layers} layers`, 'f32', step_us);
    const found = (): Language => ({
      adapter: side.adapter,
      rows: [...wanted.flatMap(rowsOf), { ...share, dispatches: { per_layer, rest } }],
    });
    for (let r = 0; r < (quick ? 1 : ROUNDS); r++) {
      for (let t = 0; t < wanted.length; t++) {
        const dtype = wanted[(r + t) % wanted.length]!;
        times.set(dtype, [...(times.get(dtype) ?? []), await side.ask<Times>({ ask: 'generate', dtype })]);
      }
      await keep(found());
    }
    return found();
  } finally {
    side.close();
  }
}

export function languageLine(row: LanguageRow): string {
  const { kernel, shape, dtype, ours_us, tokens_per_second, first_token_ms, weights_mb, cache_mb, dispatches } = row;
  const parts = [`${kernel} ${shape} ${dtype}:`];
  if (tokens_per_second) parts.push(`${tokens_per_second.toFixed(1)} tokens/s`);
  if (first_token_ms) parts.push(`(${first_token_ms.toFixed(0)} ms to the first)`);
  if (weights_mb) parts.push(`(${weights_mb.toFixed(0)} MB of weights, ${cache_mb!.toFixed(0)} MB of cache)`);
  if (dispatches) {
    parts.push(`${(ours_us / 1e3).toFixed(3)} ms of the processor for a step are our own;`);
    parts.push(`${dispatches.per_layer} dispatches a layer and ${dispatches.rest} for the rest`);
  }
  return parts.join(' ');
}
