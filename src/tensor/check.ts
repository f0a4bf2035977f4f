// What callers give, checked: a wrong argument is named, with what it is and what would do.
import { DTYPES, type DType, holds, RANGES } from './dtype.ts';
import { axis } from './shape.ts';
import { Tensor } from './tensor.ts';

const brief = (value: unknown, depth = 4): string => {
  if (Array.isArray(value)) {
    const first = depth > 0 ? value.slice(0, 8).map((one) => brief(one, depth - 1)) : [];
    return `[${[...first, ...(value.length > first.length ? ['...'] : [])].join(', ')}]`;
  }
  if (typeof value === 'string') return `'${value.length > 80 ? `${value.slice(0, 80)}...` : value}'`;
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value !== 'object' || value === null) return String(value);
  const name = value.constructor?.name ?? 'Object';
  return `${/^[AEIO]/.test(name) ? 'an' : 'a'} ${name === 'Object' ? 'object' : name}`;
};

/** A value in the words of an error: 'text', an array [1, 2], a Map. */
export const describe = (value: unknown): string =>
  value === undefined ? 'nothing' : Array.isArray(value) ? `an array ${brief(value)}` : brief(value);

/** Arguments that must be tensors, by name; `optional` ones if they are given. `also`: what else would do. */
export function checkTensors(where: string, needed: Arguments, optional: Arguments = {}, also = ''): void {
  const given = Object.entries(optional).filter(([, value]) => value !== undefined);
  for (const [name, value] of [...Object.entries(needed), ...given]) {
    if (value instanceof Tensor) continue;
    const how = Array.isArray(value) ? `: tensor(${brief(value)})` : '';
    throw new TypeError(`[${where}] ${name}: got ${describe(value)}, want a tensor${also}${how}`);
  }
}
type Arguments = Record<string, unknown>;

/** A dimension of x, counted from the front; -1 is the last. */
export function dimOf(where: string, x: Tensor, dim: number): number {
  checkTensors(where, { x });
  return axis(where, dim, x.rank);
}

/** An array of tensors. */
export function checkTensorList(where: string, name: string, list: unknown): void {
  if (!Array.isArray(list)) {
    const how = list instanceof Tensor ? ': [x, ...]' : '';
    throw new TypeError(`[${where}] ${name}: got ${describe(list)}, want an array of tensors${how}`);
  }
  const wrong = list.findIndex((t) => !(t instanceof Tensor));
  if (wrong >= 0) checkTensors(where, { [`${name}[${wrong}]`]: list[wrong] });
}

/** What is given by name, if anything is. */
export function checkOptions(where: string, options: unknown, example: string, name = 'options'): void {
  if (typeof options === 'object' && options !== null && !Array.isArray(options) && !(options instanceof Tensor))
    return;
  throw new TypeError(`[${where}] ${name}: got ${describe(options)}, want an object, as in ${example}`);
}

/** A function, if it is given. */
export function checkFunction(where: string, name: string, value: unknown): void {
  if (value === undefined || typeof value === 'function') return;
  throw new TypeError(`[${where}] ${name}: got ${describe(value)}, want a function`);
}

/** A signal, if it is given. */
export function checkSignal(where: string, signal: unknown): void {
  if (signal === undefined || signal instanceof AbortSignal) return;
  throw new TypeError(`[${where}] signal: got ${describe(signal)}, want an AbortSignal`);
}

/** A shape, an order, sizes: an array of whole numbers, none below `least`. */
export function checkList(where: string, name: string, list: unknown, least = Number.NEGATIVE_INFINITY): void {
  const what = `whole numbers${least === Number.NEGATIVE_INFINITY ? '' : ` from ${least} on`}`;
  if (!Array.isArray(list)) {
    const how = typeof list === 'number' ? `: [${list}, ...]` : '';
    throw new TypeError(`[${where}] ${name}: got ${describe(list)}, want an array of ${what}${how}`);
  }
  if (list.some((d) => !Number.isInteger(d) || d < least)) {
    throw new RangeError(`[${where}] ${name}: got ${brief(list)}, want ${what}`);
  }
}

export function checkNumber(where: string, name: string, value: unknown): void {
  if (typeof value !== 'number' && typeof value !== 'boolean') {
    throw new TypeError(`[${where}] ${name}: got ${describe(value)}, want a number`);
  }
}

/** A number that a type can hold: integers do not wrap around. */
export function checkHeld(where: string, name: string, value: number, dtype: DType): void {
  if (holds(dtype, value)) return;
  throw new RangeError(`[${where}] ${name}: got ${value}, want what ${dtype} holds, ${RANGES[dtype]!.join(' to ')}`);
}

export function checkDType(where: string, dtype: unknown, known: readonly DType[] = DTYPES): void {
  if (!(known as unknown[]).includes(dtype)) {
    const names = `${known.slice(0, -1).join(', ')} or ${known.at(-1)}`;
    throw new TypeError(`[${where}] dtype: got ${describe(dtype)}, want ${names}`);
  }
}
