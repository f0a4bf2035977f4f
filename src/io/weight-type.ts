// How weights are kept: a type for all of them, or by module.
import { describe } from '../tensor/check.ts';
import { isQuantised } from '../tensor/dtype.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Checkpoint } from './checkpoint.ts';
import { UserError } from './error.ts';
import { isObject } from './json.ts';

export const WEIGHT_TYPES = ['f32', 'f16', 'q8', 'q4'] as const;
export type WeightType = (typeof WEIGHT_TYPES)[number];

/**
 * One type, or one for each module: `{ 'model.layers.*': 'q4', lm_head: 'q8', default: 'f16' }`. The first that holds a
 * weight counts; `*` stands for any text. q8 and q4 are for the matrices of `linear` and `embedding`; the rest is f32. Tables of
 * embeddings that are not named are q8 at least: they are most of what q4 costs a small model in quality, and few bytes of a large one.
 */
export type WeightTypes = WeightType | { [module: string]: WeightType };

const isType = (value: unknown): value is WeightType => (WEIGHT_TYPES as readonly unknown[]).includes(value);
const holds = (module: string, path: string): boolean =>
  new RegExp(
    `^${module
      .split('*')
      .map((text) => text.replace(/[^\w]/g, '\\$&'))
      .join('.*')}($|\\.)`,
  ).test(path);

export function checkWeightTypes(types: unknown): void {
  if (types === undefined || isType(types)) return;
  const [module, type] = isObject(types) ? (Object.entries(types).find(([, value]) => !isType(value)) ?? []) : [];
  if (isObject(types) && module === undefined) return;
  const got = module === undefined ? describe(types) : `${describe(type)} for ${module}`;
  const want = "'f32', 'f16', 'q8' or 'q4', or these by module, as in { lm_head: 'q8', default: 'q4' }";
  throw new UserError(`[from_pretrained] dtype: got ${got}, want ${want}`);
}

/** How a weight is used: as the matrix of products, as a table of rows (which may be that too), or in another way. */
export type WeightUse = 'product' | 'table' | 'other';

/** What a model asked for: tensors to fill, and everything that does not fit. */
export type Requests = {
  wanted: Map<string, Tensor>;
  /** Those of them that only `linear` and `embedding` read: they may be quantised. */
  matrices: Map<Tensor, WeightUse>;
  missing: string[];
  misshaped: string[];
};

/** The type of a weight where `type` is asked for, of it by name (`isNamed`) or of all. */
export const typeFor = (type: WeightType, use: WeightUse, isNamed = false): WeightType => {
  if (use === 'table' && type === 'q4' && !isNamed) return 'q8';
  return isQuantised(type) && use === 'other' ? 'f32' : type;
};

/** The type of a weight by its path and use. */
export function typeOf(types: WeightTypes, path: string, use: WeightUse): WeightType {
  const entries = typeof types === 'string' ? [] : Object.entries(types);
  const [, found] = entries.find(([module]) => module !== 'default' && holds(module, path)) ?? [];
  const type = found ?? (typeof types === 'string' ? types : (types.default ?? 'f32'));
  return typeFor(type, use, found !== undefined);
}

/** Throws where a module is named that holds no weight: it is another model's, or misspelt. */
export function checkModules(types: WeightTypes, paths: Iterable<string>): void {
  if (typeof types === 'string') return;
  const all = [...paths];
  const idle = Object.keys(types).find((module) => module !== 'default' && !all.some((path) => holds(module, path)));
  if (idle === undefined) return;
  const few = [...new Set(all.map((path) => path.split('.')[0]))].slice(0, 5).join(', ');
  throw new UserError(`[from_pretrained] dtype: no weight is in '${idle}'; the names begin with ${few}`);
}

/** Throws for weights that someone else packed into integers. fp8 is read: its tensors are floats with scales beside them. */
export function checkPacking({ name, config, tensors }: Checkpoint): void {
  const quantization = config?.quantization_config;
  const method = isObject(quantization) ? quantization.quant_method : undefined;
  const packed = [...tensors.keys()].find((tensor) => /\.(qweight|absmax|quant_state\..*)$/.test(tensor));
  const known = method === undefined || (typeof method === 'string' && /fp8|compressed-tensors/.test(method));
  if (known && packed === undefined) return;
  const by = known ? `it holds ${packed}` : `quant_method ${JSON.stringify(method)}`;
  throw new UserError(
    `[${name}] quantised by another library (${by}), whose packing is not read here. Want the model before that, in ` +
      "bf16, f16 or f32: dtype 'q4' or 'q8' quantises it while it loads.",
  );
}
