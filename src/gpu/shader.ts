// A kernel is a valid WGSL file; a variant of it replaces whole top-level declarations by name, and nothing else.
import { library } from './library.ts';

/** `of`: the binding of which it is a later piece. */
export type Binding = {
  name: string;
  binding: number;
  type: GPUBufferBindingType;
  of?: { name: string; piece: number };
};
export type StructLayout = { size: number; fields: Record<string, { offset: number; type: 'f32' | 'i32' | 'u32' }> };

/** A .wgsl file as data: declarations by name (comments gone), bindings, the layout of `Params`. */
export type ShaderSource = {
  name: string;
  enables: string[];
  declarations: Record<string, string>;
  bindings: Binding[];
  params: StructLayout | null;
};

/**
 * What a variant changes: an alias's type, a const's value, or the function whose body a function takes. A function of
 * the library that reads or writes a buffer names it in brackets: `x_quad: 'f16_quad(x)'`.
 */
export type Specialisation = Record<string, string | number>;

/**
 * What exec/fuse.ts adds: declarations and bindings, and a family of functions to call; and the binding whose values they
 * give instead. Nothing else adds WGSL.
 */
export type Extra = {
  declarations: Record<string, string>;
  bindings: Binding[];
  family: Record<string, string>;
  instead?: string | undefined;
};
const NONE: Extra = { declarations: {}, bindings: [], family: {} };

export type Shader = {
  name: string;
  code: string;
  bindings: Binding[];
  /** What the code is made of. */
  enables: string[];
  declarations: ReadonlyMap<string, string>;
};

const IDENTIFIER = /[A-Za-z_]\w*/g;

function replacement(source: ShaderSource, name: string, value: string | number): string {
  const old = source.declarations[name];
  if (old === undefined) {
    throw new Error(`[${source.name}] no declaration '${name}'; it has ${Object.keys(source.declarations).join(', ')}`);
  }
  if (old.startsWith('alias')) return `alias ${name}=${value};`;
  if (old.startsWith('const')) return `${old.slice(0, old.indexOf('='))}=${literal(old, value)};`;
  const [, from, buffer] = /^(\w+)(?:\((\w+)\))?$/.exec(String(value)) ?? [];
  const body = library[from!] ?? source.declarations[from!];
  if (!old.includes('fn ') || !body?.includes('fn ')) {
    throw new Error(`[${source.name}] '${name}' cannot become '${value}': there is no function of that name`);
  }
  return buffer ? accessor(name, from!, buffer) : rename(body, from!, name);
}

const rename = (text: string, from: string, to: string) => text.replace(new RegExp(`\\b${from}\\b`), to);

/** A function of shaders/lib/storage.wgsl under another name, reading or writing `buffer`. */
export const accessor = (name: string, from: string, buffer: string): string =>
  rename(library[from]!, from, name).replace(/\bsrc_\w+\b/g, buffer);

const literal = (old: string, value: string | number) =>
  /:\s*u32/.test(old) ? `${value}u` : /:\s*f32/.test(old) && Number.isInteger(value) ? `${value}.0` : `${value}`;

/**
 * The WGSL of one variant. Functions that the library knows are taken from there, and what `main` does not reach is
 * left out.
 */
export function specialise(source: ShaderSource, changes: Specialisation = {}, extra: Extra = NONE): Shader {
  const own: Record<string, string> = { ...source.declarations };
  for (const name in own) if (own[name]!.startsWith('fn ')) own[name] = library[name] ?? own[name]!;
  for (const name in changes) own[name] = replacement(source, name, changes[name]!);
  Object.assign(own, extra.declarations);
  if (extra.instead !== undefined) delete own[extra.instead];

  const reached = new Map<string, string>();
  const pending = ['main'];
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    const text = own[name] ?? library[name] ?? extra.family[name];
    if (text === undefined || reached.has(name)) continue;
    reached.set(name, text);
    pending.push(...(text.match(IDENTIFIER) ?? []));
  }
  const enables = source.enables.filter((line) => needs(line, reached));
  const bindings = [...source.bindings, ...extra.bindings].filter((b) => reached.has(b.name));
  return { name: source.name, code: codeOf(enables, reached.values()), bindings, enables, declarations: reached };
}

export const codeOf = (enables: Iterable<string>, declarations: Iterable<string>): string =>
  [...enables, ...declarations].join('\n');

/** The type of the elements of a buffer, through its alias. */
export function elementOf({ declarations }: Shader, binding: string): string {
  const [, type] = /array<(\w+)>/.exec(declarations.get(binding)!) ?? [];
  return /^alias \w+=(.*);/.exec(declarations.get(type!) ?? '')?.[1] ?? type!;
}

/** Only a variant that calls what a language feature brings asks for it. */
const needs = (enable: string, reached: ReadonlyMap<string, string>) =>
  !enable.includes('subgroups') || [...reached.values()].some((text) => /\bsubgroup\w+\(/.test(text));

/** Writes named numbers (or arrays of them, tightly packed) into a struct at its reflected offsets. */
export function pack(
  shader: string,
  layout: StructLayout,
  values: Record<string, number | readonly number[]>,
  into: DataView,
  at = 0,
): void {
  for (const name in values) {
    const field = layout.fields[name];
    if (!field) throw new Error(`[${shader}] Params has no '${name}'; it has ${Object.keys(layout.fields).join(', ')}`);
    const value = values[name]!;
    const list = typeof value === 'number' ? [value] : value;
    list.forEach((v, i) => {
      const offset = at + field.offset + 4 * i;
      if (field.type === 'f32') into.setFloat32(offset, v, true);
      else into.setUint32(offset, v >>> 0, true);
    });
  }
  for (const name in layout.fields) {
    if (values[name] === undefined) throw new Error(`[${shader}] Params.${name} was not given`);
  }
}
