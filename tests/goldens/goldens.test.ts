// The golden cases of this folder, and that the runner turns red when it should.
import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { readHeader } from '../../src/io/safetensors.ts';
import { fromBytes } from '../../src/io/source.ts';
import { RUNTIMES } from '../runtimes/launch.ts';
import { runCase } from './case.ts';
import { goldens } from './cli.ts';
import { compare, tolerance } from './compare.ts';
import { asFiles, openCase } from './files.ts';
import { integers } from './golden.ts';
import { caseText, isGood, type Report } from './report.ts';

const CASES = fileURLToPath(new URL('cases', import.meta.url));
const at = (...parts: string[]) => path.join(CASES, ...parts);
const readJson = (file: string) => JSON.parse(readFileSync(file, 'utf8'));
const count = (lists: object[]) => lists.reduce((n, list) => n + Object.keys(list).length, 0);

describe('every output is as the reference gave it', () => {
  // a whole pipeline compiles some hundred kernels
  test.each(readdirSync(CASES))('%s', { timeout: 300_000 }, async (name) => {
    const report = await runCase(openCase({ path: at(name) }));
    expect(report.missing).toEqual([]);
    expect(report.outputs.filter(({ ok }) => !ok)).toEqual([]);
    const { calls } = readJson(at(name, 'golden.json')) as { calls: { outputs: object }[] };
    const texts = readdirSync(at(name)).includes('cases.json') ? readJson(at(name, 'cases.json')) : {};
    const given: Record<string, number> = { prompts: 3, labels: 2, resolutions: 2, unpad: 2 }; // fields; of others one
    const rest = Object.entries(texts as Record<string, object>).reduce((n, [list, all]) => {
      return n + Object.values(all).reduce((m, one) => m + Object.keys(one).length - (given[list] ?? 1), 0);
    }, 0);
    expect(report.outputs.length).toBe(count(calls.map(({ outputs }) => outputs)) + rest);
  });
});

// biome-ignore lint/suspicious/noExplicitAny: parsed JSON, to be changed at will
type Change = (content: any) => void;

/** A case with one file changed: parsed JSON, or the bytes of any other; as a page has it. */
function altered(name: string, file: string, change: Change) {
  return asFiles(name, readdirSync(at(name)), async (wanted) => {
    const bytes = new Uint8Array(readFileSync(at(name, wanted)));
    if (wanted !== file) return bytes;
    const content = file.endsWith('.json') ? readJson(at(name, file)) : bytes;
    change(content);
    return content === bytes ? bytes : new TextEncoder().encode(JSON.stringify(content));
  });
}

const off = ({ outputs }: Report) => outputs.filter(({ ok }) => !ok).map(({ call, output }) => `${call}/${output}`);

describe('an altered expectation turns red', () => {
  test('a float by twice what is allowed, and no other', async () => {
    const whole = new Uint8Array(readFileSync(at('clip-text', 'golden.safetensors')));
    const { begin } = (await readHeader(fromBytes(whole))).tensors.get('text/out/pooler_output')!;
    const limits = readJson(at('clip-text', 'golden.json')).calls[0].outputs.pooler_output;
    const change: Change = (bytes) => {
      const view = new DataView(bytes.buffer);
      view.setFloat32(begin, view.getFloat32(begin, true) + 2 * tolerance(limits), true);
    };
    const report = await runCase(altered('clip-text', 'golden.safetensors', change));
    expect([off(report), report.missing, isGood(report)]).toEqual([['text/pooler_output'], [], false]);
    expect(caseText(report)).toMatch(/^clip-text: 2 ok, 1 off, 0 missing$/m);
    expect(caseText(report)).toMatch(/^ {2}OFF {2}text\/pooler_output .*\n +more than \d/m);
  });

  test('a smaller error of the reference', async () => {
    const strict: Change = ({ calls }) => Object.assign(calls[0].outputs.clip_skip_1, { f32_error: 0, scale: 0 });
    expect(off(await runCase(altered('clip-text', 'golden.json', strict)))).toEqual(['text/clip_skip_1']);
  });

  test('ids, tokens, texts and masks of a tokenizer', async () => {
    const report = await runCase(
      altered('tokenizer-clip', 'cases.json', ({ cases, batch }) => {
        cases[3].ids[1]++;
        cases[4].ids_without_special.push(7);
        cases[5].tokens[0] += 'x';
        cases[6].decoded += ' ';
        batch.longest.attention_mask[1][0] = 0;
      }),
    );
    const want = ['cases.3/ids', 'cases.4/ids_without_special', 'cases.5/tokens', 'cases.6/decoded'];
    expect(off(report)).toEqual([...want, 'batch.longest/attention_mask']);
  });

  const floats = (...values: number[]) => ({ shape: [values.length], data: Float32Array.from(values) });
  const limits = { f32_error: 1e-3, scale: 1 };
  test.each([
    ['equal', floats(1, 2), floats(1, 2), true],
    ['at the limit', floats(1), floats(1.016), true],
    ['past the limit', floats(1), floats(1.0161), false],
    ['no number', floats(Number.NaN), floats(1), false],
    ['no number in either', floats(Number.NaN), floats(Number.NaN), true],
    ['not finite', floats(Number.POSITIVE_INFINITY), floats(1), false],
    ['another shape', { ...floats(1, 2), shape: [2, 1] }, floats(1, 2), false],
    ['an integer by one', integers([1, 2]), integers([1, 3]), false],
    ['rows of other lengths', integers([[1], [2, 3]]), integers([[1, 2], [3]]), false],
    ['a number and a text', integers([1]), '[1,2]', false],
  ])('%s', async (_, got, want, ok) => {
    const row = await compare(got, want, limits);
    expect([row.ok, row.why === undefined]).toEqual([ok, ok]);
    expect(row.sha256).toMatch(/^[0-9a-f]{64}$/);
  });
});

describe('what is not known is missing, never passed', () => {
  const first =
    (change: Change): Change =>
    ({ calls }) =>
      change(calls[0]);
  test.each<[string, string, Change, string]>([
    ['a class', 'clip-text', (golden) => (golden.class = 'Nobody'), 'no class Nobody here'],
    ['a name of all objects', 'clip-text', (golden) => (golden.class = 'constructor'), 'no class constructor here'],
    ['a method', 'clip-text', first((call) => (call.method = 'backward')), 'no method backward here'],
    ['one of several', 'clip-openai', first((call) => (call.method += ', fit')), 'no method fit here'],
    ['an inherited name', 'clip-text', first((call) => (call.method = 'toString')), 'no method toString here'],
    ['an argument', 'clip-text', first((call) => (call.args.beam = 2)), 'no argument beam = 2 of forward here'],
    [
      "an argument's value",
      'clip-text',
      first((call) => (call.args.output_hidden_states = 'some')),
      'no argument output_hidden_states = "some" of forward here',
    ],
    ['an input', 'clip-text', first((call) => call.inputs.push('pixels')), 'no input pixels of forward here'],
    ['an input left out', 'clip-text', first((call) => (call.inputs = [])), 'no input input_ids in the case'],
    ['an input without values', 'clip-text', first((call) => (call.name = 'b')), 'input input_ids is not in golden'],
    ['no outputs', 'clip-text', first((call) => (call.outputs = {})), 'the call names no outputs'],
    ['no calls', 'clip-text', (golden) => (golden.calls = []), 'the case has no calls'],
    ['a filter', 'siglip-processor', first((call) => (call.args.resample = 'cubic')), 'no argument resample = "cubic"'],
    ['a picture', 'siglip-processor', first((call) => (call.args.image = 'x.png')), 'no file x.png'],
  ])('%s', async (_, name, change, why) => {
    const report = await runCase(altered(name, 'golden.json', change));
    expect(report.missing[0]?.why).toContain(why);
    expect(isGood(report)).toBe(false);
    expect(caseText(report)).toContain(`MISSING  ${report.missing[0]?.why}`);
    expect(off(report)).toEqual([]);
  });

  test('an output, beside those that are known', async () => {
    const extra = { f32_error: 1, scale: 1 };
    const more: Change = ({ calls }) => Object.assign(calls[0].outputs, { sum: extra, 'hidden_states.0': extra });
    const report = await runCase(altered('clip-text', 'golden.json', more));
    expect([report.outputs.length, off(report)]).toEqual([3, []]);
    expect(report.missing).toEqual([
      { call: 'text', output: 'sum', why: 'no output sum of forward here' },
      { call: 'text', output: 'hidden_states.0', why: 'not in golden.safetensors' },
    ]);
  });

  test('kinds of texts and of batches', async () => {
    const change: Change = ({ cases, batch }) => {
      cases[0].offsets = [];
      batch.shortest = batch.longest;
    };
    const { missing } = await runCase(altered('tokenizer-clip', 'cases.json', change));
    expect(missing).toEqual([
      { call: 'cases.0', output: 'offsets', why: 'no output offsets of text here' },
      { call: 'batch.shortest', output: 'ids', why: 'no method shortest here' },
      { call: 'batch.shortest', output: 'attention_mask', why: 'no method shortest here' },
    ]);
  });

  test('weights that do not fit', async () => {
    const change: Change = (config) => (config.num_hidden_layers = 9);
    const { outputs, missing } = await runCase(altered('clip-text', 'config.json', change));
    expect([outputs, missing.length]).toEqual([[], 3]);
    expect(missing[0]!.why).toContain('the checkpoint does not fit its config');
  });
});

describe('the command', () => {
  let folder: string;
  let errors = '';
  const run = async (...argv: string[]) => {
    let out = '';
    errors = '';
    const code = await goldens(argv, (text) => (out += text));
    return { code, out };
  };
  beforeAll(() => {
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
      errors += text;
      return true;
    });
    folder = mkdtempSync(path.join(tmpdir(), 'tessera-goldens-'));
    cpSync(at('clip-text'), path.join(folder, 'red'), { recursive: true });
    const golden = readJson(at('clip-text', 'golden.json'));
    golden.calls[0].outputs.pooler_output = { f32_error: 0, scale: 0 };
    writeFileSync(path.join(folder, 'red/golden.json'), JSON.stringify(golden));
  });
  afterAll(() => {
    vi.restoreAllMocks();
    rmSync(folder, { recursive: true, force: true });
  });

  const SAMPLE = [
    '--only',
    'clip-text',
    '--only',
    'llama-gqa',
    '--only',
    '*-processor',
    '--only',
    'tokenizer-*',
    '--json',
  ];
  let inNode = '';
  test.each(RUNTIMES)('%s gives the bits of Node', { timeout: 180_000 }, async (runtime) => {
    const { code, out } = await run(CASES, ...SAMPLE, '--runtime', runtime);
    expect(code).toBe(0);
    inNode ||= out;
    expect(out).toBe(inNode);
    const { cases } = JSON.parse(out) as { cases: Report[] };
    expect(cases.map((report) => report.case)).toEqual([
      'clip-processor',
      'clip-text',
      'llama-gqa',
      'siglip-processor',
      'tokenizer-clip',
      'tokenizer-llama',
      'tokenizer-llama-metaspace',
    ]);
    expect(cases[1]!.missing).toEqual([]);
    const keys = ['ok', 'max_abs', 'scale', 'f32_error', 'sha256'];
    expect(Object.keys(cases[1]!.outputs[0]!).sort()).toEqual(['call', 'output', ...keys].sort());
  });

  test('ends with 1 when an output is off', async () => {
    const { code, out } = await run(path.join(folder, 'red'));
    expect([code, out]).toEqual([
      1,
      expect.stringMatching(/OFF {2}text\/pooler_output[\s\S]*1 cases: 2 ok, 1 off, 0 missing$/),
    ]);
  });

  test('ends with 1 when nothing can run, damaged cases among them', async () => {
    cpSync(path.join(folder, 'red'), path.join(folder, 'torn'), { recursive: true });
    writeFileSync(path.join(folder, 'torn/golden.json'), '{');
    const { code, out } = await run(folder, '--adapter', 'none such', '--json');
    const { cases } = JSON.parse(out) as { cases: Report[] };
    expect([code, cases.map(({ outputs, missing }) => [outputs.length, missing.length])]).toEqual([
      1,
      [
        [0, 3],
        [0, 1],
      ],
    ]);
    expect(cases[0]!.missing[0]!.why).toContain("no WebGPU adapter: got none, want 'none such'");
  });

  test.each([
    [[], 'got 0 folders, want one'],
    [[CASES, '--runtime', 'perl'], 'no runtime perl'],
    [[CASES, '--fast'], "Unknown option '--fast'"],
    [[at('none')], 'no folder '],
    [[CASES, '--only', 'clip-tex?'], 'no golden case clip-tex? in '],
  ])('ends with 2 when there is nothing to run: %j', async (argv, message) => {
    expect(await run(...argv)).toEqual({ code: 2, out: '' });
    expect(errors).toContain(message);
    expect(errors).toContain('usage: npm run goldens');
  });

  test('starts in Node as it is', async () => {
    const start = (...argv: string[]) =>
      promisify(execFile)('node', [fileURLToPath(new URL('run.js', import.meta.url)), ...argv]);
    const { stdout, stderr } = await start(at('clip-text'), '--json');
    expect([JSON.parse(stdout).cases[0].outputs.length, stderr]).toEqual([3, '']);
    await expect(start(path.join(folder, 'red'))).rejects.toMatchObject({ code: 1 });
  });
});
