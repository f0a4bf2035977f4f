// What must stay true of the source itself; docs/architecture.md says why.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { addedProducts } from './products.ts';

const walk = (folder: string): string[] =>
  readdirSync(folder).flatMap((name) => {
    const file = `${folder}/${name}`;
    return statSync(file).isDirectory() ? walk(file) : [file];
  });
const text = new Map([...walk('src'), ...walk('shaders')].map((file) => [file, readFileSync(file, 'utf8')]));
const sources = [...text.keys()].filter((f) => /\.(ts|js)$/.test(f) && !f.endsWith('.d.ts'));
const shaders = [...text.keys()].filter((f) => f.endsWith('.wgsl'));

/** Files of this repository that a file imports at run time; with types also those that it only takes types of. */
function imports(file: string, types = false): string[] {
  const code = text.get(file)!.replace(/\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*$/gm, '');
  const from = /(?:^|\n)\s*(?:import|export)\s(type\b)?[^;'"]*?from\s*['"](\.[^'"]+)['"]/g;
  const statements = [...code.matchAll(from)].filter(([, type]) => types || !type).map(([, , to]) => ['', to]);
  const calls = code.matchAll(/\bimport\(\s*['"](\.[^'"]+)['"]/g);
  const bare = code.matchAll(/(?:^|\n)\s*import\s*['"](\.[^'"]+)['"]/g);
  return [...statements, ...calls, ...bare].map(([, to]) => path.posix.join(path.posix.dirname(file), to!));
}

describe('rooms', () => {
  const ORDER = ['gpu', 'tensor', 'exec', 'ops', 'io', 'nn', 'models', 'tasks', 'train', 'world', 'serve', 'cli'];
  const roomOf = (file: string) => /^src\/([^/]+)\//.exec(file)?.[1];

  it('are the known ones', () => {
    const known = [...ORDER, 'build']; // build: runs before there is anything to run, imported by no room
    expect(sources.map(roomOf).filter((room) => room !== undefined && !known.includes(room))).toEqual([]);
  });
  it('import one way', () => {
    const wrong = sources.flatMap((file) => {
      const from = roomOf(file);
      if (!from || from === 'build') return []; // src/index.ts and other doors import what they like
      const allowed = (to: string) =>
        to.startsWith('shaders/') ||
        (to.startsWith('src/') && ORDER.indexOf(roomOf(to)!) >= 0 && ORDER.indexOf(roomOf(to)!) <= ORDER.indexOf(from));
      return imports(file)
        .filter((to) => !allowed(to))
        .map((to) => `${file} -> ${to}`);
    });
    expect(wrong).toEqual([]);
  });
  /** Circles of files, by what each is said to import. */
  function circles(of: (file: string) => string[]): string[] {
    const done = new Set<string>();
    const found: string[] = [];
    const visit = (file: string, trail: string[]): void => {
      if (trail.includes(file)) found.push([...trail.slice(trail.indexOf(file)), file].join(' -> '));
      if (done.has(file) || trail.includes(file) || !text.has(file)) return;
      for (const to of of(file)) visit(to, [...trail, file]);
      done.add(file);
    };
    for (const file of sources) visit(file, []);
    return found;
  }
  it('have no circle of imports', () => {
    expect(circles((file) => imports(file))).toEqual([]);
  });
  it('have none of types either, but for a thing and its maker', () => {
    const known = [
      'src/tensor/tensor.ts -> src/tensor/fluent.ts', // a tensor's methods are the ops, which take tensors
      'src/tensor/tensor.ts -> src/tensor/op.ts', // a tensor is a node: it names its op, which makes tensors
      ...['cache-disk', 'cache-page'].map((name) => `src/io/cache.ts -> src/io/${name}.ts`), // loaded where they are needed
      'src/io/hash.ts -> src/io/hash-page.ts', // likewise
    ];
    const other = (file: string) => imports(file, true).filter((to) => !known.includes(`${file} -> ${to}`));
    expect(circles(other)).toEqual([]);
    const stale = known.filter((edge) => !imports(edge.split(' -> ')[0]!, true).includes(edge.split(' -> ')[1]!));
    expect(stale).toEqual([]);
  });
  it('see imports as they are', () => {
    expect(imports('src/exec/run.ts')).toContain('src/gpu/device.ts');
    expect(imports('src/exec/run.ts')).not.toContain('src/gpu/host.ts'); // its type only
    expect(imports('src/ops/index.ts')).toContain('src/ops/methods.ts'); // export *
  });
  it('name files that exist', () => {
    const missing = sources
      .filter((f) => roomOf(f) !== 'build')
      .flatMap((file) =>
        imports(file)
          .filter((to) => !text.has(to))
          .map((to) => `${file} -> ${to}`),
      );
    expect(missing).toEqual([]);
  });
});

describe('shaders', () => {
  const users = (shader: string) => sources.filter((file) => imports(file).includes(shader));

  it('of the library are in the library', () => {
    const library = shaders.filter((s) => s.startsWith('shaders/lib/'));
    expect(library.length).toBeGreaterThan(0);
    for (const shader of library) expect([shader, ...users(shader)]).toEqual([shader, 'src/gpu/library.ts']);
  });
  it('belong to one op file each, and its name or something in it begins with theirs', () => {
    for (const shader of shaders.filter((s) => !s.startsWith('shaders/lib/'))) {
      const [user, ...others] = users(shader);
      expect([shader, user, others]).toEqual([shader, expect.stringMatching(/^src\/ops\/[^/]+\.ts$/), []]);
      const name = path.basename(shader, '.wgsl').split('-')[0]!;
      const inFile = new RegExp(`(const|function|name:) '?${name}\\b`).test(text.get(user!)!);
      expect([shader, path.basename(user!, '.ts').startsWith(name) || inFile]).toEqual([shader, true]);
    }
  });
  it('are the only WGSL, but for what exec/fuse.ts writes', () => {
    const wgsl =
      /@compute|@workgroup_size|@group\(|@binding\(|var<(storage|uniform|workgroup)|->\s*(vec\d?[fiu]|f32|u32|i32)\b/;
    const found = sources.filter((file) => wgsl.test(text.get(file)!.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')));
    expect(found).toEqual(['src/exec/fuse.ts']);
  });
  it('sum long rows in the same segments', () => {
    const segment = (file: string) =>
      /const (?:ROW_)?SEGMENT: u32 = (\d+)/.exec(text.get(`shaders/${file}.wgsl`)!)?.[1];
    expect(['softmax', 'standardize'].map(segment)).toEqual([segment('reduce')!, segment('reduce')!]);
  });
  it('add no product without fma', () => {
    const library = shaders
      .filter((s) => s.startsWith('shaders/lib/'))
      .map((s) => text.get(s)!)
      .join('\n');
    const found = shaders.flatMap((s) =>
      addedProducts(text.get(s)!, s.startsWith('shaders/lib/') ? '' : library).map((at) => `${s} ${at}`),
    );
    expect(found).toEqual([]);
  });
  it('call no transcendental function of the driver where main can reach it', () => {
    // stubs `fn exp_(x: V) -> V { return exp(x); }` are replaced by the library's function
    const builtin = /(?<![\w.])(exp|exp2|log|log2|pow|sin|cos|tan|tanh|asin|acos|atan|atan2|sinh|cosh|inverseSqrt)\(/;
    const stub = /^fn (\w+_)\(/;
    const found = shaders.flatMap((s) =>
      text
        .get(s)!
        .split('\n')
        .flatMap((line, i) => {
          const code = line.replace(/\/\/.*/, '');
          return builtin.test(code) && !stub.test(code) ? [`${s}:${i + 1} ${line.trim()}`] : [];
        }),
    );
    expect(found).toEqual([]);
  });
  it('have locals in lib/storage.wgsl that no binding is called', () => {
    // its functions are renamed and read the binding itself: a local of that name would hide it
    const bindings = shaders.flatMap((s) =>
      [...text.get(s)!.matchAll(/@binding\(\d+\) var<[^>]*> (\w+)/g)].map((m) => m[1]!),
    );
    const locals = [...text.get('shaders/lib/storage.wgsl')!.matchAll(/\b(?:let|var) (\w+)/g)].map((m) => m[1]!);
    expect(locals.length).toBeGreaterThan(0);
    expect(locals.filter((name) => bindings.includes(name) || /^x\d+$/.test(name))).toEqual([]);
  });
});

describe('the lint of products', () => {
  const found = (statement: string) =>
    addedProducts(`alias V = vec4f;
      struct Params { n: u32, s: f32 }
      @group(0) @binding(0) var<storage, read_write> a: array<f32>;
      @group(0) @binding(1) var<uniform> p: Params;
      fn f(x: V, y: V, i: u32, j: u32) { ${statement} }`).length > 0;
  it('finds them in float code', () => {
    for (const s of [
      'let v = x * y + x;',
      'let v = x - y * 2.0;',
      'var v = x; v += (x * y);',
      'let v = -(x * y) + x;',
      'let v = p.s * f32(i) - 1.0;',
      'a[i * 4u + j] = a[i] * a[j] + p.s;',
      'for (var k = 0u; k < j; k++) { a[k] -= a[i] * p.s; }',
      'if (i > j) { a[0] = max(p.s * p.s + 1.0, 0.0); }',
    ]) {
      expect([s, found(s)]).toEqual([s, true]);
    }
  });
  it('and not in integer code, nor where nothing is added', () => {
    for (const s of [
      'let v = fma(x, y, x);',
      'let v = (x + y) * x;',
      'let k = i * 4u + j;',
      'let k = p.n * i - 1u;',
      'var k = i; k += max(i, j) * 2u;',
      'a[i * p.n + j] = p.s;',
      'let n = i + 1u; let k = n * n + j;',
      'let k = bitcast<VU>(x) * 2u + VU(i);'.replaceAll('VU', 'vec4u'),
      'let v = x * y * x;',
    ]) {
      expect([s, found(s)]).toEqual([s, false]);
    }
  });
});

describe('files', () => {
  it('of src have at most 400 lines', () => {
    const long = [...text].filter(([file, code]) => /\.(ts|js|wgsl)$/.test(file) && code.split('\n').length > 400);
    expect(long.map(([file]) => file)).toEqual([]);
  });
  it('of the library import node: only when it is needed', () => {
    const eager = sources.filter(
      (f) => !/^src\/(serve|cli|build)\//.test(f) && /^import (?!type)[^;]*from 'node:/m.test(text.get(f)!),
    );
    expect(eager).toEqual([]);
  });
  it('of tests run all of them', () => {
    const tests = walk('tests').filter((f) => f.endsWith('.test.ts') && f !== 'tests/house.test.ts');
    const parked = tests.filter((f) =>
      /\b(it|test|describe)\.(only|todo)\b|\b(xit|fit)\(/.test(readFileSync(f, 'utf8')),
    );
    expect(parked).toEqual([]);
  });
});
