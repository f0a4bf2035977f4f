// A group of elementwise nodes as one WGSL function of the flat index: bindings, loads, and calls of functions that a
// family of shaders/ names. No arithmetic is written here, and no other module writes WGSL.
import {
  accessor,
  type Binding,
  codeOf,
  type Extra,
  elementOf,
  type Shader,
  type StructLayout,
} from '../gpu/shader.ts';
import type { DType } from '../tensor/dtype.ts';
import { collapse } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { type Group, isGenerator } from './group.ts';
import { type Param, storageForm } from './kernel.ts';

/** What a group adds to its kernel. */
export type Chain = {
  extra: Extra;
  bindings: Record<string, Tensor>;
  layout: StructLayout;
  params: Record<string, Param>;
};

const REGISTER: Record<DType, string> = { f32: 'V', f16: 'V', bool: 'V', i32: 'VI', u32: 'VU', q8: 'V', q4: 'V' };
/** The form of a family's function for a type: abs_ is abs_i32 of integers. */
const formOf = (fn: string, dtype: DType) =>
  dtype === 'i32' || dtype === 'u32' ? `${fn.replace(/_$/, '')}_${dtype}` : fn;

/** Numbers that the chain reads from a uniform struct of its own: vectors first, so that nothing needs padding. */
class ChainParams {
  readonly #fields: { name: string; type: 'vec4u' | 'vec2u' | 'u32' | 'f32' | 'i32'; value: Param }[] = [];

  add(type: 'vec4u' | 'vec2u' | 'u32' | 'f32' | 'i32', value: Param): string {
    const name = `n${this.#fields.length}`;
    this.#fields.push({ name, type, value });
    return `c.${name}`;
  }

  finish() {
    const bytes = { vec4u: 16, vec2u: 8, u32: 4, i32: 4, f32: 4 };
    const ordered = [...this.#fields].sort((a, b) => bytes[b.type] - bytes[a.type]);
    const layout: StructLayout = { size: 0, fields: {} };
    for (const { name, type } of ordered) {
      layout.fields[name] = { offset: layout.size, type: type === 'f32' ? 'f32' : type === 'i32' ? 'i32' : 'u32' };
      layout.size += bytes[type];
    }
    layout.size = Math.ceil(layout.size / 16) * 16;
    const text = `struct Chain{${ordered.map((f) => `${f.name}:${f.type}`).join(',')}}`;
    return { layout, text, params: Object.fromEntries(ordered.map((f) => [f.name, f.value])) };
  }
}

/** The place of quad i in a strided operand, as calls of shaders/lib/index.wgsl. */
function place(params: ChainParams, size: number[], stride: number[], offset: number): (i: string) => string {
  const u32 = (v: number) => params.add('u32', v);
  const pad = (list: number[], to: number, fill: number) => [
    ...new Array<number>(to - list.length).fill(fill),
    ...list,
  ];
  if (size.length === 1) {
    if (stride[0] === 1 && offset === 0) return (i) => i;
    const args = `${u32(stride[0]!)},${u32(offset)}`;
    return (i) => `strided1(${i},${args})`;
  }
  if (size.length === 2) {
    const args = `${u32(size[1]!)},${params.add('vec2u', stride)},${u32(offset)}`;
    return (i) => `strided2(${i},${args})`;
  }
  if (size.length === 3) {
    const args = `${params.add('vec2u', size.slice(1))},${params.add('vec4u', [...stride, offset])}`;
    return (i) => `strided3(${i},${args})`;
  }
  if (size.length > 8)
    throw new RangeError(`[fuse] a view of ${size.length} dimensions: at most 8 can be read at once`);
  const rank = size.length <= 4 ? 4 : 8;
  const vectors = [pad(size, rank, 1), pad(stride, rank, 0)].flatMap((list) =>
    Array.from({ length: rank / 4 }, (_, k) => params.add('vec4u', list.slice(4 * k, 4 * k + 4))),
  );
  const args = `${vectors.join(',')},${u32(offset)}`;
  return (i) => `strided${rank}(${i},${args})`;
}

/** `first` is a line that the expression needs before it. */
type Load = { first?: string; quad: string; aligned: boolean };

/** Four indices of a generator, which is made in place from them and never stored. */
function indices(params: ChainParams, t: Tensor): string {
  const { size, stride } = collapse(t.shape, t.layout.strides);
  const at = place(params, size, stride, t.layout.offset);
  return `vec4u(${['i', 'i+1u', 'i+2u', 'i+3u'].map((i) => at(i)).join(',')})`;
}

/**
 * How four elements from i on are read. `row`: the kernel's quads never cross a multiple of it, and start at multiples
 * of four if it is one. `columns`: the length of its rows; operands with one value for each are read by the column alone.
 */
function load(params: ChainParams, name: string, t: Tensor, row: number, columns?: number): Load {
  const type = REGISTER[t.dtype] === 'V' ? 'vec4f' : REGISTER[t.dtype] === 'VI' ? 'vec4i' : 'vec4u';
  const { size, stride } = collapse(t.shape, t.layout.strides);
  const { offset } = t.layout;
  const inner = size.at(-1)!;
  const step = stride.at(-1)!;
  const within = (inner % 4 === 0 && row % 4 === 0) || inner % row === 0; // a quad stays in a row of the view
  const perColumn = within && size.length === 2 && stride[0] === 0 && inner === columns;
  const at = perColumn ? place(params, [inner], [step], offset) : place(params, size, stride, offset);
  const i = perColumn ? 'column' : 'i';
  const together = within || size.length === 1;
  if (together && step === 0) return { quad: `${type}(${name}_at(${at(i)}))`, aligned: false };
  if (together && step === 1) {
    const quads = row % 4 === 0 && offset % 4 === 0 && stride.every((s, d) => d === stride.length - 1 || s % 4 === 0);
    return { quad: `${name}_quad(${at(i)})`, aligned: quads && (size.length === 1 || inner % 4 === 0) };
  }
  if (together) {
    const places = ['', `+${name}_step`, `+2u*${name}_step`, `+3u*${name}_step`].map(
      (k) => `${name}_at(${name}_place${k})`,
    );
    const first = `let ${name}_place=${at(i)};let ${name}_step=${params.add('u32', step)};`;
    return { first, quad: `${type}(${places.join(',')})`, aligned: false };
  }
  const each = [i, `${i}+1u`, `${i}+2u`, `${i}+3u`].map((k) => `${name}_at(${at(k)})`);
  return { quad: `${type}(${each.join(',')})`, aligned: false };
}

/**
 * Writes the group as `fn value(i)`, or as `fn epilogue(v, i, column)` of the kernel that makes `group.producer`, or its prologue as
 * the accessors of binding `reads`. `firstBinding` is the number the first added binding takes.
 */
export function writeChain(group: Group, row: number, firstBinding: number, reads?: string): Chain {
  const declarations: Record<string, string> = {};
  const bindings: Binding[] = [];
  const tensors: Record<string, Tensor> = {};
  const params = new ChainParams();
  const family: Record<string, string> = {};
  const lines: string[] = [];
  const names = new Map<Tensor, string>();

  const bind = (name: string, type: GPUBufferBindingType, declaration: string) => {
    const binding = firstBinding + bindings.length;
    bindings.push({ name, binding, type });
    declarations[name] = `@group(0) @binding(${binding}) ${declaration}`;
  };
  const add = (t: Tensor, text: string) => {
    const name = `v${names.size}`;
    lines.push(`let ${name}=${text};`);
    names.set(t, name);
  };
  const call = (t: Tensor) => {
    const { shader, fn } = t.op!.map!;
    const dtype = t.inputs.at(-1)?.dtype ?? t.dtype;
    const form = formOf(fn, dtype);
    if (!shader.declarations[form]) throw new TypeError(`[${t.op!.name}] has no form for ${dtype}`);
    Object.assign(family, shader.declarations);
    return form;
  };
  const { root, members, leaves } = group.prologue ?? group;
  const columns = (group.producer ?? root).shape.at(-1);
  for (const t of leaves) {
    if (t.base === group.producer) {
      names.set(t, 'v');
    } else if (t.base.scalar !== null) {
      const field = params.add(t.dtype === 'i32' ? 'i32' : t.dtype === 'u32' ? 'u32' : 'f32', t.base);
      const value = `${REGISTER[t.dtype]}(${field})`;
      add(t, t.dtype === 'f16' ? `f16_round(${value})` : value);
    } else if (isGenerator(t.base)) {
      add(t, `${call(t.base)}(${indices(params, t)})`);
    } else {
      const name = `x${bindings.length}`;
      const { first, quad, aligned } = load(params, name, t, row, columns);
      const form = storageForm(t.dtype, aligned);
      bind(name, 'read-only-storage', `var<storage,read> ${name}:array<${form.alias}>;`);
      tensors[name] = t;
      for (const kind of ['at', 'quad']) {
        declarations[`${name}_${kind}`] = accessor(`${name}_${kind}`, `${form.accessors}_${kind}`, name);
      }
      if (first) lines.push(first);
      add(t, quad);
    }
  }
  for (const t of members) {
    const args = isGenerator(t) ? indices(params, t) : t.inputs.map((x) => names.get(x) ?? names.get(x.base)).join(',');
    const value = `${call(t)}(${args})`;
    add(t, t.dtype === 'f16' && (t !== root || reads) ? `f16_round(${value})` : value); // as if it had been stored
  }
  if (!group.producer && lines.some((line) => /\bcolumn\b/.test(line))) {
    lines.unshift(`let column=i%${params.add('u32', columns!)};`); // once for all that are read by it
  }
  const { layout, text, params: values } = params.finish();
  if (layout.size > 0) {
    bind('c', 'uniform', 'var<uniform> c:Chain;');
    declarations.Chain = text;
  }
  const type = { V: 'vec4f', VI: 'vec4i', VU: 'vec4u' }[REGISTER[root.dtype]];
  const name = reads ? `${reads}_quad` : group.producer ? 'epilogue' : 'value';
  declarations[name] =
    `fn ${name}(${group.producer ? 'v:vec4f,i:u32,column:u32' : 'i:u32'})->${type}{${lines.join('')}return ${names.get(root)};}`;
  if (reads) declarations[`${reads}_at`] = `fn ${reads}_at(i:u32)->f32{return ${name}(i).x;}`;
  return { extra: { declarations, bindings, family, instead: reads }, bindings: tensors, layout, params: values };
}

/** A kernel as part of a joint one: its shader, and the tensor behind each of its bindings. */
type Piece = { shader: Shader; tensors: Readonly<Record<string, Tensor>>; groups: number };
/** Which binding of which piece each binding of a joint kernel is. */
export type Joined = { shader: Shader; from: ReadonlyMap<string, { piece: number; name: string }> };

const ENTRY = /^@compute @workgroup_size\(([^)]*)\)\s?fn main\(([^)]*(?:\([^)]*\)[^)]*)*)\)\{/;
const ARGUMENT = /@builtin\((\w+)\)\s?(\w+):(\w+)/g;
const NAMES = /(?<![.\w])[A-Za-z_]\w*/g; // not of fields, nor of the components of vectors

/** Threads of a workgroup along each dimension. */
export function workgroupOf({ declarations }: Shader): string {
  const [, sizes] = ENTRY.exec(declarations.get('main')!)!;
  const number = (name: string) => /=(\d+)u?;/.exec(declarations.get(name) ?? '')?.[1] ?? name;
  return sizes!
    .split(',')
    .map((size) => number(size.trim()))
    .join();
}

/** Gives the declarations of a kernel other names where `rename` says so. */
function renamed(text: string, rename: ReadonlyMap<string, string>): string {
  const isStruct = text.startsWith('struct');
  return text.replace(NAMES, (name, at: number) => {
    const isField = isStruct && text[at + name.length] === ':';
    return isField ? name : (rename.get(name) ?? name);
  });
}

/**
 * Several kernels as one: side by side, the workgroups of each behind those of the one before, or (`stacked`) one after the
 * other in each thread. What is the same in them is there once.
 */
export function writeJoint(pieces: readonly Piece[], stacked: boolean): Joined {
  const all = new Map<string, string>(); // declarations of the joint kernel
  const bindings: Binding[] = [];
  const from = new Map<string, { piece: number; name: string }>();
  const buffers: { tensor: Tensor; element: string; name: string }[] = [];
  const calls: string[] = [];
  const builtins = new Map<string, string>([
    ['workgroup_id', 'vec3u'],
    ['num_workgroups', 'vec3u'],
  ]);
  let start = 0;
  for (const [k, { shader, tensors, groups }] of pieces.entries()) {
    const rename = new Map<string, string>();
    const known = new Set<string>(); // the same there already
    for (const { name, type } of shader.bindings) {
      const element = elementOf(shader, name);
      const other = buffers.find((b) => b.tensor === tensors[name]?.base && b.element === element);
      if (other) {
        if (other.name !== name) rename.set(name, other.name);
        known.add(name);
        continue;
      }
      const own = k === 0 ? name : `${name}_${k}`;
      const binding = { name: own, binding: bindings.length, type };
      if (own !== name) rename.set(name, own);
      bindings.push(binding);
      from.set(own, { piece: k, name });
      if (tensors[name]) buffers.push({ tensor: tensors[name].base, element, name: own });
    }
    // others keep their names where the same text, of the same things, is there already
    const isSame = (name: string, text: string) =>
      name !== 'main' && all.get(name) === text && !(text.match(NAMES) ?? []).some((n) => rename.has(n));
    for (let changed = k > 0; changed; ) {
      changed = false;
      for (const [name, text] of shader.declarations) {
        if (rename.has(name) || known.has(name) || isSame(name, text)) continue;
        rename.set(name, `${name}_${k}`);
        changed = true;
      }
    }
    rename.set('main', `main_${k}`);
    for (const [name, text] of shader.declarations) {
      if (known.has(name)) continue;
      const entry = ENTRY.exec(text);
      const own = rename.get(name) ?? name;
      if (!entry) {
        const at = bindings.find((b) => b.name === own)?.binding;
        const placed = at === undefined ? text : text.replace(/@binding\(\d+\)/, `@binding(${at})`);
        all.set(own, renamed(placed, rename));
        continue;
      }
      const args = [...entry[2]!.matchAll(ARGUMENT)];
      for (const [, builtin, , type] of args) builtins.set(builtin!, type!);
      const plain = `fn main(${args.map(([, , arg, type]) => `${arg}:${type}`).join(',')}){${text.slice(entry[0].length)}`;
      all.set(own, renamed(plain, rename));
      const of: Record<string, string> = stacked
        ? {}
        : { workgroup_id: `vec3u(group-${start}u,0u,0u)`, num_workgroups: `vec3u(${groups}u,1u,num_workgroups.z)` };
      const call = `${own}(${args.map(([, builtin]) => of[builtin!] ?? builtin!).join(',')});`;
      calls.push(stacked ? call : `if(group<${start + groups}u){${call}return;}`);
    }
    start += groups;
  }
  const size = workgroupOf(pieces[0]!.shader);
  const given = [...builtins].map(([builtin, type]) => `@builtin(${builtin}) ${builtin}:${type}`).join(',');
  const group = stacked ? '' : 'let group=workgroup_id.x+workgroup_id.y*num_workgroups.x;';
  all.set('main', `@compute @workgroup_size(${size}) fn main(${given}){${group}${calls.join('')}}`);
  const enables = [...new Set(pieces.flatMap(({ shader }) => shader.enables))];
  const shader = {
    name: pieces.map(({ shader }) => shader.name).join('|'),
    code: codeOf(enables, all.values()),
    bindings,
    enables,
    declarations: all,
  };
  return { shader, from };
}
