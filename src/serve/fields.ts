// What the fields of a request may be. A field of the API is acted on, or may only have the value that changes nothing.
import { isObject } from '../io/json.ts';
import { describe } from '../tensor/check.ts';
import { Refusal } from './refusal.ts';

export type Rule = {
  want: string;
  holds(value: unknown): boolean;
  /** The field is known, and not acted on. */
  unsupported?: boolean;
};
/** A rule for each field of T, so that none is forgotten. */
export type Rules<T> = Readonly<Record<keyof T, Rule>>;

export const text: Rule = { want: 'a text', holds: (v) => typeof v === 'string' };
export const flag: Rule = { want: 'true or false', holds: (v) => typeof v === 'boolean' };
export const object: Rule = { want: 'an object', holds: isObject };
export const list: Rule = { want: 'a list that is not empty', holds: (v) => Array.isArray(v) && v.length > 0 };
export const number = (want: string, holds: (v: number) => boolean): Rule => ({
  want,
  holds: (v) => typeof v === 'number' && Number.isFinite(v) && holds(v),
});
export const whole = (least: number): Rule =>
  number(`a whole number from ${least}`, (v) => Number.isSafeInteger(v) && v >= least);
export const oneOf = (...values: readonly (string | number | boolean)[]): Rule => ({
  want: values.map((v) => JSON.stringify(v)).join(' or '),
  holds: (v) => values.includes(v as string),
});

/** Not supported here: only what it is without being asked for. */
export const only = (...values: readonly (string | number | boolean)[]): Rule => ({
  ...oneOf(...values),
  unsupported: true,
});
export const never: Rule = { want: 'none', holds: () => false, unsupported: true };
export const empty: Rule = {
  want: 'none',
  holds: (v) => (Array.isArray(v) ? v.length === 0 : isObject(v) && Object.keys(v).length === 0),
  unsupported: true,
};

/**
 * An object of a request without what is null, which means the default. `at` is its path (`messages[0]`). Throws a Refusal
 * that names the first field that is unknown or against its rule.
 */
export function checkFields<T>(value: unknown, rules: Rules<T>, needed: readonly (keyof T & string)[], at = ''): T {
  if (!isObject(value)) throw wrong(at || 'body', value, 'an object');
  const given = Object.entries(value).filter(([, field]) => field !== null && field !== undefined);
  for (const [name, field] of given) {
    const param = at ? `${at}.${name}` : name;
    if (!Object.hasOwn(rules, name)) {
      throw new Refusal(400, `Unrecognized request argument: ${param.slice(0, 100)}`, { code: 'unknown_parameter' });
    }
    const rule = (rules as Record<string, Rule>)[name]!;
    if (!rule.holds(field)) throw wrong(param, field, rule.want, rule.unsupported);
  }
  const missing = needed.find((name) => (value[name] ?? null) === null);
  if (missing) throw wrong(at ? `${at}.${missing}` : missing, undefined, rules[missing].want);
  return Object.fromEntries(given) as T;
}

/** A value that a field cannot have. */
export function wrong(param: string, got: unknown, want: string, unsupported = false): Refusal {
  const message = `${param}: got ${describe(got)}, want ${want}${unsupported ? '; more is not supported here' : ''}`;
  return new Refusal(400, message, { param, code: unsupported ? 'unsupported_parameter' : 'invalid_value' });
}
