// Turns a .wgsl file into data at build time: its top-level declarations, bindings and the layout of Params.
// wgsl_reflect stays here, so that the bundle carries neither a parser nor hand-written offsets.
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { WgslReflect } from 'wgsl_reflect/wgsl_reflect.module.js';

const stripComments = (text) => text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/\/\/[^\n]*/g, '');
const compact = (text) =>
  text
    .replace(/\s+/g, ' ')
    .replace(/ ?([{}();,=:]) ?/g, '$1') // never around - : `a - -b` must not become `a--b`
    .trim();

/** Splits WGSL at depth 0 into [name, text] pairs, in order; directives (`enable x;`) are named by their text. */
function topLevel(source) {
  const text = stripComments(source);
  const found = [];
  let start = 0;
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '{' || text[i] === '(') depth++;
    if (text[i] === '}' || text[i] === ')') depth--;
    const ends = depth === 0 && (text[i] === ';' || text[i] === '}');
    if (!ends) continue;
    const declaration = compact(text.slice(start, i + 1));
    start = i + 1;
    if (declaration === ';') continue;
    const name = /(?:^|[ )])(?:alias|const|struct|fn|var(?:<[^>]*>)?)\s?(\w+)/.exec(declaration)?.[1];
    found.push([name ?? declaration, declaration]);
  }
  return found;
}

function structLayout(struct) {
  if (!struct) return null;
  const fields = {};
  for (const m of struct.members) {
    const scalar = m.type.format?.name ?? m.type.name; // vec4u has a format; array<vec4u, n> has a format too
    fields[m.name] = {
      offset: m.offset,
      type: /f32|vec\df/.test(scalar) ? 'f32' : /i32|vec\di/.test(scalar) ? 'i32' : 'u32',
    };
  }
  return { size: Math.ceil(struct.size / 16) * 16, fields };
}

/** A shader as data; see `ShaderSource` in src/gpu/shader.ts. */
export function parseShader(name, source) {
  const reflect = new WgslReflect(source);
  const all = topLevel(source);
  const bindings = [...reflect.storage, ...reflect.uniforms]
    .filter((b) => b.group === 0)
    .map((b) => ({
      name: b.name,
      binding: b.binding,
      type: b.resourceType === 0 ? 'uniform' : b.access === 'read_write' ? 'storage' : 'read-only-storage',
    }))
    .sort((a, b) => a.binding - b.binding);
  return {
    name,
    enables: all.filter(([, text]) => /^(enable|requires)/.test(text)).map(([, text]) => text),
    declarations: Object.fromEntries(all.filter(([, text]) => !/^(enable|requires)/.test(text))),
    bindings,
    params: structLayout(reflect.structs.find((s) => s.name === 'Params')),
  };
}

async function load(file) {
  const name = path.basename(file, '.wgsl');
  try {
    return `export default ${JSON.stringify(parseShader(name, await readFile(file, 'utf8')))};`;
  } catch (error) {
    throw new Error(`[wgsl] ${file} does not parse: ${error?.message ?? error}`);
  }
}

/** For esbuild. */
export const wgslPlugin = {
  name: 'wgsl',
  setup(build) {
    build.onLoad({ filter: /\.wgsl$/ }, async ({ path: file }) => ({ contents: await load(file), loader: 'js' }));
  },
};

/** For vite and vitest. */
export const wgslVite = {
  name: 'wgsl',
  enforce: 'pre',
  async load(id) {
    const file = id.split('?')[0];
    return file.endsWith('.wgsl') ? load(file) : null;
  },
};
