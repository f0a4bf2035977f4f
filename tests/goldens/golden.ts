// What a case was run on and what came out: golden.json with golden.safetensors, and cases.json of a tokenizer.
import { readHeader } from '../../src/io/safetensors.ts';
import { fromBytes } from '../../src/io/source.ts';
import { type CaseFiles, readJson } from './files.ts';

/** Elements in row-major order. */
export type Values = { shape: readonly number[]; data: Float32Array | Int32Array | Uint32Array | Uint8Array };
/** A float or integer array, a text, or a list of texts. */
export type Value = Values | string | string[];

/** `value`: what a text file states. Without it the output is a tensor of golden.safetensors. */
export type Wanted = { f32_error: number; scale: number; value?: Value };
export type Call = {
  name: string;
  /** Of the class; several, separated by commas, were called one after the other. */
  method: string;
  inputs: string[];
  args: Record<string, unknown>;
  outputs: Record<string, Wanted>;
};
export type Golden = { name: string; class: string; calls: Call[] };

/** The calls of a case. A tokenizer's are `text` for each text, and for each batch what its name says: `longest`, `max_length`. */
export async function readGolden(files: CaseFiles): Promise<Golden> {
  const golden = await readJson<{ class: string; calls?: Partial<Call>[] }>(files, 'golden.json');
  if (!golden) throw new Error(`[${files.name}] no golden.json`);
  const texts = await readJson<TextCases>(files, 'cases.json');
  const silent = { name: '', method: '', inputs: [], args: {}, outputs: {} };
  const calls = (golden.calls ?? []).map((call) => ({ ...silent, ...call }));
  return { name: files.name, class: golden.class, calls: [...calls, ...(texts ? textCalls(texts) : [])] };
}

/** What stands for a case whose files say nothing. */
export const noGolden = (name: string): Golden => ({ name, class: '', calls: [] });

type Texts = Record<string, unknown>;
type TextCases = { cases?: Texts[]; batch?: Record<string, Texts> } & Record<string, unknown>;

/** Other lists of cases, and which of their fields are given; the rest is what came out. */
const GIVEN: Record<string, readonly string[]> = {
  prompts: ['template', 'image', 'messages'],
  tokens: ['text'],
  labels: ['template', 'messages'],
  resolutions: ['size', 'pinpoints'],
  unpad: ['size', 'grid'],
};

function textCalls({ cases = [], batch = {}, ...lists }: TextCases): Call[] {
  const call = (name: string, method: string, args: Record<string, unknown>, results: Texts): Call => {
    const exact = (got: unknown): Wanted => ({ f32_error: 0, scale: 0, value: toValue(got) });
    const outputs = Object.entries(results).map(([output, got]) => [output, exact(got)]);
    return { name, method, inputs: [], args, outputs: Object.fromEntries(outputs) };
  };
  const single = cases.map(({ text, ...results }, i) => call(`cases.${i}`, 'text', { text }, results));
  const batches = Object.entries(batch).map(([name, { texts, ...results }]) => {
    const [, method = name, length] = /^(.+?)(?:_(\d+))?$/.exec(name) ?? [];
    return call(`batch.${name}`, method, { texts, ...(length && { length: Number(length) }) }, results);
  });
  const others = Object.entries(lists).flatMap(([name, list]) =>
    (Array.isArray(list) ? (list as Texts[]) : []).map((one, i) => {
      const part = (isGiven: boolean) =>
        Object.fromEntries(Object.entries(one).filter(([key]) => (GIVEN[name]?.includes(key) ?? false) === isGiven));
      return call(`${name}.${i}`, name, part(true), part(false));
    }),
  );
  return [...single, ...batches, ...others];
}

/** Integers, nested or not, as an array; texts as they are; anything else as its JSON, which nothing equals by chance. */
function toValue(json: unknown): Value {
  if (typeof json === 'string') return json;
  if (!Array.isArray(json)) return JSON.stringify(json);
  const items = json.flat(Number.POSITIVE_INFINITY);
  if (items.length > 0 && items.every((item) => typeof item === 'string')) return items;
  if (items.every((item) => Number.isInteger(item))) return integers(json);
  return JSON.stringify(json);
}

/** A list of integers [n], or of lists [b, n]; lists of different lengths have those as their shape, like nothing else. */
export function integers(list: readonly (number | readonly number[])[]): Values {
  const data = Int32Array.from(list.flat());
  const lengths = list.map((row) => (typeof row === 'number' ? 0 : row.length));
  if (list.every((row) => typeof row === 'number')) return { shape: [list.length], data };
  return { shape: new Set(lengths).size === 1 ? [list.length, lengths[0]!] : [list.length, -1, ...lengths], data };
}

const ARRAYS = { F32: Float32Array, I32: Int32Array, U8: Uint8Array, BOOL: Uint8Array } as const;

/** A tensor by its name, or undefined. */
export type Tensors = (name: string) => Values | undefined;

/** Reads `<call>/in/<argument>` and `<call>/out/<name>`. */
export async function readTensors(files: CaseFiles): Promise<Tensors> {
  const bytes = await files.read('golden.safetensors');
  if (!bytes) return () => undefined;
  const { tensors } = await readHeader(fromBytes(bytes, 'golden.safetensors'));
  return (name) => {
    const info = tensors.get(name);
    if (!info) return undefined;
    const Typed = ARRAYS[info.dtype as keyof typeof ARRAYS];
    if (!Typed)
      throw new Error(`[golden.safetensors] ${name} is ${info.dtype}: want one of ${Object.keys(ARRAYS).join(' ')}`);
    return { shape: info.shape, data: new Typed(bytes.slice(info.begin, info.end).buffer) };
  };
}
