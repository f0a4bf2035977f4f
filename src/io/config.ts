// Settings of config.json, merged over what transformers takes where a config is silent.
import { UserError } from './error.ts';
import { isObject } from './json.ts';

type Setting = number | string | boolean | undefined;

const kind = (value: unknown) => (value === null ? 'null' : Array.isArray(value) ? 'a list' : JSON.stringify(value));

/**
 * `defaults` with the values of `given` in their place; null counts as absent and other fields are left alone. Throws a
 * UserError for a value of another type, or a size that is not a whole number of at least 0.
 */
export function settings<T extends Record<string, Setting>>(where: string, defaults: T, ...given: unknown[]): T {
  const result: Record<string, Setting> = { ...defaults };
  for (const config of given) {
    if (config === undefined || config === null) continue;
    if (!isObject(config)) throw new UserError(`[${where}] got ${kind(config)}, want an object`);
    for (const name in defaults) {
      const value = config[name];
      if (value === undefined || value === null) continue;
      const want = defaults[name] === undefined ? 'number' : typeof defaults[name];
      const whole = defaults[name] === undefined || Number.isInteger(defaults[name]);
      const fits =
        typeof value === want &&
        (want !== 'number' || (whole ? Number.isSafeInteger(value) && (value as number) >= 0 : (value as number) > 0));
      if (!fits)
        throw new UserError(
          `[${where}] ${name}: got ${kind(value)}, want ${whole && want === 'number' ? 'a whole number' : `a ${want}`}`,
        );
      result[name] = value as Setting;
    }
  }
  return result as T;
}

/** A list of sizes of a config: whole numbers of at least 1, at least one of them. */
export function sizes(name: string, value: unknown): number[] {
  const fits = (n: unknown) => Number.isSafeInteger(n) && (n as number) > 0;
  if (Array.isArray(value) && value.length > 0 && value.every(fits)) return value;
  throw new UserError(`[config] ${name}: got ${JSON.stringify(value)}, want a list of whole numbers above 0`);
}

/** What a config says of each of some levels: one value for all, or one for each; `otherwise` where it is silent. */
export function perLevel<T extends number | boolean>(name: string, value: unknown, levels: number, otherwise: T): T[] {
  const given = value ?? otherwise;
  const list = Array.isArray(given) ? given : new Array(levels).fill(given);
  const fits = (one: unknown) => typeof one === typeof otherwise && (typeof one !== 'number' || one > 0);
  if (list.length === levels && list.every(fits)) return list;
  throw new UserError(
    `[config] ${name}: got ${JSON.stringify(value)}, want a ${typeof otherwise}, or a list of ${levels}`,
  );
}
