// Shaders as they are, and the specialiser that makes variants of them.
import { readdirSync, readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { create } from 'webgpu';
import { parseShader } from '../../src/build/wgsl.js';
import { fold } from '../../src/exec/plan.ts';
import { pack, type ShaderSource, specialise } from '../../src/gpu/shader.ts';

const files = ['shaders', 'shaders/lib'].flatMap((folder) =>
  readdirSync(folder)
    .filter((f) => f.endsWith('.wgsl'))
    .map((f) => `${folder}/${f}`),
);
const kernels = files.filter((f) => !f.includes('/lib/'));

const SCALE = `
alias X = f32; // storage
const WG: u32 = 64;
const GAIN: f32 = 1;
struct Params { n: u32, shift: f32, from: array<vec4u, 2> }
@group(0) @binding(0) var<storage, read> x: array<X>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read> unused: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;
fn x_at(i: u32) -> f32 { return x[i]; }
fn f(v: f32) -> f32 { return v; }
fn twice(v: f32) -> f32 { return v + v; }
fn exp_(v: f32) -> f32 { return exp(v); }
fn other(i: u32) -> f32 { return unused[i]; }
@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u) { y[id.x] = f(x_at(id.x)) * GAIN + p.shift; }
`;
const scale = parseShader('scale', SCALE) as ShaderSource;

describe('specialise', () => {
  it('keeps what main reaches, and its bindings', () => {
    const { code, bindings } = specialise(scale);
    expect(bindings.map((b) => b.name)).toEqual(['x', 'y', 'p']);
    expect(code).not.toMatch(/twice|exp_|unused|storage\b.*\/\//);
  });
  it('replaces whole declarations by name', () => {
    const { code } = specialise(scale, { X: 'vec4f', WG: 32, GAIN: 2, f: 'twice', x_at: 'f32x4_at(x)' });
    expect(code).toContain('alias X=vec4f;');
    expect(code).toContain('const WG:u32=32u;');
    expect(code).toContain('const GAIN:f32=2.0;');
    expect(code).toContain('fn f(v:f32)-> f32{return v + v;}');
    expect(code).toContain('fn x_at(i:u32)-> f32{return x[i >> 2u][i & 3u];}');
  });
  it('takes stubs from the library, with what they need', () => {
    const { code } = specialise(scale, { f: 'exp_' });
    expect(code).toContain('exp_core_');
    expect(code).not.toMatch(/[^_]exp\(/);
  });
  const wrong = (changes: Record<string, string | number>) => expect(() => specialise(scale, changes));
  it('refuses what is not there', () => {
    wrong({ TILE: 4 }).toThrowErrorMatchingInlineSnapshot(
      `[Error: [scale] no declaration 'TILE'; it has X, WG, GAIN, Params, x, y, unused, p, x_at, f, twice, exp_, other, main]`,
    );
    wrong({ f: 'thrice' }).toThrowErrorMatchingInlineSnapshot(
      `[Error: [scale] 'f' cannot become 'thrice': there is no function of that name]`,
    );
    wrong({ f: 'WG' }).toThrowErrorMatchingInlineSnapshot(
      `[Error: [scale] 'f' cannot become 'WG': there is no function of that name]`,
    );
    wrong({ p: 'twice' }).toThrowErrorMatchingInlineSnapshot(
      `[Error: [scale] 'p' cannot become 'twice': there is no function of that name]`,
    );
  });
});

describe('pack', () => {
  const values = { n: 7, shift: -0.5, from: [1, 2, 3, 4, 5, 6, 7, 8] };
  it('puts numbers at their reflected places', () => {
    const bytes = new DataView(new ArrayBuffer(scale.params!.size));
    pack('scale', scale.params!, values, bytes);
    expect(scale.params!.size).toBe(48);
    expect([bytes.getUint32(0, true), bytes.getFloat32(4, true)]).toEqual([7, -0.5]);
    expect(values.from.map((_, i) => bytes.getUint32(16 + 4 * i, true))).toEqual(values.from);
  });
  it('refuses names that are missing or too many', () => {
    const bytes = new DataView(new ArrayBuffer(48));
    expect(() => pack('scale', scale.params!, { ...values, m: 1 }, bytes)).toThrowErrorMatchingInlineSnapshot(
      `[Error: [scale] Params has no 'm'; it has n, shift, from]`,
    );
    expect(() => pack('scale', scale.params!, { n: 1, shift: 0 }, bytes)).toThrowErrorMatchingInlineSnapshot(
      `[Error: [scale] Params.from was not given]`,
    );
  });
});

describe('parse', () => {
  it('of every file finds its declarations', () => {
    for (const file of files) {
      const source = readFileSync(file, 'utf8');
      const { declarations } = parseShader('x', source) as ShaderSource;
      const named = [...source.matchAll(/^(?:@[^\n]*? )?(?:alias|const|struct|fn) (\w+)/gm)].map((m) => m[1]!);
      expect(Object.keys(declarations)).toEqual(expect.arrayContaining(named));
    }
  });
});

describe('fold', () => {
  it('covers a count with two dimensions', () => {
    for (const count of [0, 1, 65535, 65536, 70001, 10_000_000]) {
      const [x, y, z] = fold(count);
      expect(x * y * z).toBeGreaterThanOrEqual(count);
      expect(Math.max(x, y)).toBeLessThanOrEqual(65535);
      expect(x * y - count).toBeLessThan(y + Number(count === 0));
    }
    expect(fold([2, 3, 4])).toEqual([2, 3, 4]);
  });
});

describe('every shader as it is', () => {
  let device: GPUDevice;
  const KEPT = globalThis as { nullBackend?: GPU };
  beforeAll(async () => {
    KEPT.nullBackend = create(['backend=null']); // without this reference the process dies when it is collected
    const adapter = (await KEPT.nullBackend.requestAdapter())!;
    const features = (['subgroups', 'shader-f16'] as GPUFeatureName[]).filter((f) => adapter.features.has(f));
    device = await adapter.requestDevice({ requiredFeatures: features });
  });
  const compile = async (file: string, entry: boolean) => {
    const module = device.createShaderModule({ code: readFileSync(file, 'utf8') });
    const { messages } = await module.getCompilationInfo();
    expect(messages.map((m) => `${file}:${m.lineNum} ${m.message}`)).toEqual([]);
    if (entry) await device.createComputePipelineAsync({ layout: 'auto', compute: { module, entryPoint: 'main' } });
  };
  it.each(files)('%s', (file) => compile(file, kernels.includes(file)));
  it('and a broken one does not', async () => {
    device.pushErrorScope('validation');
    const module = device.createShaderModule({ code: 'fn f() -> f32 { return 1u; }' });
    expect((await module.getCompilationInfo()).messages.length).toBe(1);
    expect(await device.popErrorScope()).not.toBeNull();
  });
});
