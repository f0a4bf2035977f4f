// A tensor larger than a binding may be: its kernel gets the buffer as several bindings, and its accessors choose among them.
import { library } from './library.ts';
import { codeOf, elementOf, type Shader } from './shader.ts';

const MOST = 4; // pieces that shaders/lib/pieces.wgsl knows
const ELEMENTS: Record<string, { size: number; component?: string }> = {
  ...{ f32: { size: 4 }, u32: { size: 4 }, i32: { size: 4 }, vec2u: { size: 8, component: 'u32' } },
  ...{
    vec4f: { size: 16, component: 'f32' },
    vec4u: { size: 16, component: 'u32' },
    vec4i: { size: 16, component: 'i32' },
  },
};

/** How many pieces of `bytes` a tensor is bound in. */
export const piecesOf = (nbytes: number, bytes: number): number => Math.ceil(nbytes / bytes);

/** The shader with bindings in several pieces of `bytes` each; `counts` has how many, by name. */
export function inPieces(shader: Shader, counts: Record<string, number>, bytes: number): Shader {
  const parts = new Map(shader.declarations);
  const bindings = [...shader.bindings];
  let next = 1 + Math.max(...bindings.map((b) => b.binding));
  for (const [name, count] of Object.entries(counts)) {
    const own = bindings.find((b) => b.name === name);
    const accessors = [...parts].filter(([part]) => part.startsWith(`${name}_`));
    if (!own || count > MOST || accessors.length === 0) {
      throw new RangeError(`[${shader.name}] a tensor of ${count} bindings of ${bytes} bytes: split the tensor`);
    }
    const declaration = parts.get(name)!;
    const element = elementOf(shader, name);
    for (const [part, text] of accessors) parts.set(part, called(text, name, count));
    const { size, component } = ELEMENTS[element]!;
    const kinds = own.type === 'storage' ? ['load', 'store'] : ['load'];
    const functions = kinds.flatMap((kind) => [2, 3, 4].slice(0, count - 1).map((n) => `${kind}_${n}`));
    if (own.type === 'storage' && component) functions.push('with');
    for (const kind of functions) {
      const text = library[`piece_${kind}`]!.replace(/\bpiece_(load|store|with)/g, `${name}_$1`)
        .replace(/\bpiece_(\d)\b/g, (_, k: string) => (k === '0' ? name : `${name}_${k}`))
        .replace(/\bPieceElement\b/g, element)
        .replace(/\bPieceComponent\b/g, component ?? '')
        .replace(/\bPIECE_SIZE\b/g, `${bytes / size}u`);
      parts.set(`${name}_${kind}`, text);
    }
    for (let piece = 1; piece < count; piece++) {
      const other = `${name}_${piece}`;
      const text = declaration
        .replace(/\bbinding\(\d+\)/, `binding(${next})`)
        .replace(new RegExp(`\\b${name}(?=\\s*:)`), other);
      parts.set(other, text);
      bindings.push({ ...own, name: other, binding: next++, of: { name, piece } });
    }
  }
  return { ...shader, code: codeOf(shader.enables, parts.values()), bindings, declarations: parts };
}

/** An accessor with calls in the place of `name[i]`, `name[i] = v;` and `name[i][k] = v;`. */
function called(text: string, name: string, count: number): string {
  const inner = (part: string) => called(part, name, count);
  const start = new RegExp(`\\b${name}\\[`).exec(text);
  if (!start) return text;
  let end = start.index + start[0].length;
  for (let depth = 1; depth > 0; end++) depth += text[end] === '[' ? 1 : text[end] === ']' ? -1 : 0;
  const [before, index, after] = [
    text.slice(0, start.index),
    inner(text.slice(start.index + start[0].length, end - 1)),
    text.slice(end),
  ];
  const one = /^\[([^\]]*)\]=(?!=)([^;]*);/.exec(after);
  if (one) {
    const [all, k, v] = one as unknown as [string, string, string];
    const four = `${name}_with(${name}_load_${count}(${index}),${k},${inner(v)})`;
    return `${before}${name}_store_${count}(${index},${four});${inner(after.slice(all.length))}`;
  }
  const value = /^=(?!=)([^;]*);/.exec(after);
  if (!value) return `${before}${name}_load_${count}(${index})${inner(after)}`;
  return `${before}${name}_store_${count}(${index},${inner(value[1]!)});${inner(after.slice(value[0].length))}`;
}
