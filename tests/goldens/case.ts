// Runs one golden case on the default device: everything that the reference gave is compared or named as missing.
import { run, Tensor, tensor } from '../../src/index.ts';
import { clip } from './clip.ts';
import { compare, type Row } from './compare.ts';
import type { Family, Method, Outputs } from './family.ts';
import type { CaseFiles } from './files.ts';
import { type Call, readGolden, readTensors, type Value, type Values } from './golden.ts';
import { processors } from './processors.ts';
import { siglip } from './siglip.ts';
import { tokenizers } from './tokenizers.ts';

/** Every reference class that is known. */
const FAMILIES = new Map<string, Family>(Object.entries({ ...clip, ...siglip, ...processors, ...tokenizers }));

export type Missing = { call: string; output: string; why: string };
export type Report = { case: string; outputs: Row[]; missing: Missing[] };

export const isKnown = (name: string): boolean => FAMILIES.has(name);

export async function runCase(files: CaseFiles): Promise<Report> {
  const golden = await readGolden(files);
  const family = FAMILIES.get(golden.class);
  if (!family) return allMissing(files.name, golden.calls, `no class ${golden.class} here`);
  const report: Report = { case: files.name, outputs: [], missing: [] };
  const tensors = await readTensors(files);
  let model: unknown;
  try {
    model = await family.load(files);
    for (const call of golden.calls) {
      const part = await runCall(family, model, call, tensors).catch((error: Error) => missingOf(call, error.message));
      report.outputs.push(...part.outputs);
      report.missing.push(...part.missing);
    }
  } catch (error) {
    return allMissing(files.name, golden.calls, (error as Error).message);
  } finally {
    (model as Partial<Disposable> | undefined)?.[Symbol.dispose]?.();
  }
  return report.outputs.length + report.missing.length > 0 ? report : allMissing(files.name, [], 'no calls');
}

/** What a case that cannot be run leaves open: each of its outputs, or the case itself. */
export function allMissing(name: string, calls: readonly Call[], why: string): Report {
  const missing = calls.flatMap((call) => missingOf(call, why).missing);
  return { case: name, outputs: [], missing: missing.length > 0 ? missing : [{ call: '', output: '', why }] };
}

type Part = Omit<Report, 'case'>;

function missingOf(call: Call, why: string): Part {
  const outputs = Object.keys(call.outputs);
  return { outputs: [], missing: (outputs.length > 0 ? outputs : ['']).map((output) => ({ call: call.name, output, why })) };
}

async function runCall(family: Family, model: unknown, call: Call, tensors: (name: string) => Values | undefined): Promise<Part> {
  const names = call.method.split(/\s*,\s*/);
  const methods = names.map((name) => (Object.hasOwn(family.methods, name) ? family.methods[name] : undefined));
  const unknown = names.filter((_, i) => !methods[i]).map((name) => `no method ${name} here`);
  const known = methods.filter((method) => method !== undefined);
  const problems = unknown.length > 0 ? unknown : misfits(known, call);
  if (Object.keys(call.outputs).length === 0) problems.push('the call names no outputs');
  if (problems.length > 0) return missingOf(call, problems.join('; '));

  const inputs = Object.fromEntries(call.inputs.map((name) => [name, toTensor(tensors(`${call.name}/in/${name}`), name)]));
  const given: Outputs = {};
  for (const { run } of known) Object.assign(given, await run(model, inputs as never, call.args));
  const wanted = Object.entries(call.outputs).map(([output, wanted]) => {
    return { output, wanted, got: given[output], want: wanted.value ?? tensors(`${call.name}/out/${output}`) };
  });
  await run(wanted.map(({ got }) => got).filter((got) => got instanceof Tensor)); // in one plan
  const part: Part = { outputs: [], missing: [] };
  for (const { output, wanted: limits, got, want } of wanted) {
    const missing = (why: string) => part.missing.push({ call: call.name, output, why });
    if (got === undefined) missing(`no output ${output} of ${call.method} here`);
    else if (want === undefined) missing('not in golden.safetensors');
    else part.outputs.push({ call: call.name, output, ...(await compare(await toValue(got), want, limits)) });
  }
  return part;
}

/** What the methods do not know, or lack. */
function misfits(methods: readonly Method<unknown>[], call: Call): string[] {
  const inputs = methods.flatMap(({ inputs = [] }) => inputs);
  const takes = new Set(inputs.map((name) => name.replace('?', '')));
  const args = Object.assign({}, ...methods.map(({ args }) => args));
  return [
    ...call.inputs.filter((name) => !takes.has(name)).map((name) => `no input ${name} of ${call.method} here`),
    ...inputs.filter((name) => !name.endsWith('?') && !call.inputs.includes(name)).map((name) => `no input ${name} in the case`),
    ...Object.entries(call.args)
      .filter(([name, value]) => !(Object.hasOwn(args, name) && args[name](value)))
      .map(([name, value]) => `no argument ${name} = ${JSON.stringify(value)} of ${call.method} here`),
  ];
}

function toTensor(values: Values | undefined, name: string): Tensor {
  if (!values) throw new Error(`input ${name} is not in golden.safetensors`);
  return tensor(values.data, values.shape);
}

async function toValue(got: Tensor | Value): Promise<Value> {
  if (!(got instanceof Tensor)) return got;
  const data = await got.data();
  if (data instanceof Uint16Array) throw new Error('half-precision bits: want numbers');
  return { shape: got.shape, data };
}
