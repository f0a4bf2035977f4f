// Layouts: how a checkpoint with other tensor names is seen under the names of today's transformers. A layout is data; applying
// it reads no weights: the result says, for each path, which tensor, which of its rows, and whether to transpose.
import { UserError } from '../error.ts';
import { count } from '../safetensors.ts';

/** Names to shapes, all that a layout may look at. */
export type Shapes = ReadonlyMap<string, readonly number[]>;

/**
 * `from`: a name where `*` stands for one part between dots and `**` (at the end) for one or more; `to` takes them in the
 * same order. Several `to`: the rows are cut in equal parts, one for each. `transpose`: stored [in, out], wanted [out, in].
 * `reshape`: the wanted shape from the stored one.
 */
export type Rule = {
  from: string;
  to: string | readonly string[];
  transpose?: true;
  reshape?: (shape: readonly number[]) => readonly number[];
};

export type Layout = {
  name: string;
  /** `own`: the config.json. */
  detect(shapes: Shapes, own?: Record<string, unknown>): boolean;
  /** The first rule that matches a name counts. A name that none matches keeps itself when `rest` says so. */
  rules: readonly Rule[] | ((shapes: Shapes) => readonly Rule[]);
  rest?: 'keep';
  /** Names that are no weights: buffers, size scalars. */
  ignored?: readonly string[];
  /** Another config file that the layout needs, by name; without it the sizes come from the shapes. */
  config_file?: string;
  /**
   * A checkpoint of its own that belongs to the model: its folder, with which the names of its tensors begin. Where names
   * begin with `own` they are here, and it gives its config alone.
   */
  beside?: { folder: string; own: string };
  /** config.json as transformers would have it; `file` is `config_file`, or the config of what is `beside`, `own` its config.json. */
  config?(
    shapes: Shapes,
    file: Record<string, unknown> | undefined,
    own?: Record<string, unknown>,
  ): Record<string, unknown>;
};

/** One tensor as the model wants it: rows [begin, end) of the stored one (all when absent), then transposed, of `shape`. */
export type TensorView = {
  tensor: string;
  shape: readonly number[];
  rows?: readonly [number, number];
  transpose?: true;
};

/** `views`: path -> view. `unexpected`: stored names that the layout does not know. */
export type LayoutView = { views: Map<string, TensorView>; unexpected: string[]; ignored: string[] };

/** Buffers that older versions saved beside the weights; position ids are always 0, 1, 2, ... */
const BUFFERS = ['position_ids', '**.position_ids', '**.rotary_emb.inv_freq', '**.num_batches_tracked'];

/** Sees `shapes` through a layout. Throws a UserError when two tensors claim one path or a tensor can not be split. */
export function applyLayout(layout: Layout, shapes: Shapes): LayoutView {
  const ignored = [...(layout.ignored ?? []), ...BUFFERS].map((pattern) => matcher(pattern));
  const stated = typeof layout.rules === 'function' ? layout.rules(shapes) : layout.rules;
  const rules = stated.map((rule) => ({ ...rule, match: matcher(rule.from) }));
  const result: LayoutView = { views: new Map(), unexpected: [], ignored: [] };
  for (const [tensor, shape] of shapes) {
    if (ignored.some((match) => match(tensor))) {
      result.ignored.push(tensor);
      continue;
    }
    const found = first(rules, tensor);
    if (!found && layout.rest !== 'keep') {
      result.unexpected.push(tensor);
      continue;
    }
    const rule = found?.rule ?? { from: tensor, to: tensor };
    const targets = typeof rule.to === 'string' ? [rule.to] : rule.to;
    targets.forEach((target, i) => {
      const path = fill(target, found?.parts ?? []);
      const taken = result.views.get(path);
      if (taken) throw new UserError(`[${layout.name}] both ${taken.tensor} and ${tensor} stand for ${path}`);
      result.views.set(path, view(layout.name, rule, tensor, shape, i, targets.length));
    });
  }
  return result;
}

function view(
  where: string,
  rule: Rule,
  tensor: string,
  shape: readonly number[],
  part: number,
  parts: number,
): TensorView {
  const rows = (shape[0] ?? 0) / parts;
  if (parts > 1 && !(Number.isInteger(rows) && rows > 0)) {
    throw new UserError(`[${where}] ${tensor} can not be cut in ${parts}: got shape [${shape}]`);
  }
  let wanted = parts > 1 ? [rows, ...shape.slice(1)] : shape;
  if (rule.transpose) {
    if (shape.length !== 2) throw new UserError(`[${where}] ${tensor}: got shape [${shape}], want a matrix`);
    wanted = [wanted[1]!, wanted[0]!];
  }
  const stored = wanted;
  if (rule.reshape) wanted = rule.reshape(wanted);
  if (count(wanted) !== count(stored)) throw new UserError(`[${where}] ${tensor}: got [${stored}], want [${wanted}]`);
  return {
    tensor,
    shape: wanted,
    ...(parts > 1 && { rows: [part * rows, (part + 1) * rows] as const }),
    ...(rule.transpose && { transpose: true as const }),
  };
}

type Match = (name: string) => string[] | undefined;

function first<T extends Rule & { match: Match }>(
  rules: readonly T[],
  name: string,
): { rule: T; parts: string[] } | undefined {
  for (const rule of rules) {
    const parts = rule.match(name);
    if (parts) return { rule, parts };
  }
  return undefined;
}

/** What the stars of `pattern` stand for in a name, or undefined when it does not match. */
function matcher(pattern: string): Match {
  const source = pattern.split('.').map((part) => (part === '**' ? '(.+)' : part === '*' ? '([^.]+)' : literal(part)));
  const test = new RegExp(`^${source.join('\\.')}$`, 's');
  return (name) => test.exec(name)?.slice(1);
}

const literal = (text: string) => text.replace(/[^\w]/g, '\\$&');

function fill(target: string, parts: readonly string[]): string {
  let next = 0;
  return target.replace(/\*\*?/g, () => parts[next++]!);
}

/** How many different `*` the pattern has among the names: the number of layers. */
export function countLayers(shapes: Shapes, pattern: string): number {
  const match = matcher(pattern);
  return [...shapes.keys()].filter((name) => match(name)).length;
}

/** The shape of `name`; a UserError when it is not there. */
export function shapeOf(shapes: Shapes, name: string, where: string): readonly number[] {
  const shape = shapes.get(name);
  if (!shape) throw new UserError(`[${where}] no tensor ${name}`);
  return shape;
}
