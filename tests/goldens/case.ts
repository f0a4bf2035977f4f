// Runs one golden case on the default device: everything that the reference gave is compared or named as missing.
import { run, Tensor, tensor } from '../../src/index.ts';
import { clip } from './clip.ts';
import { compare, type Row } from './compare.ts';
import { diffusion } from './diffusion.ts';
import type { Family, Method, Outputs } from './family.ts';
import type { CaseFiles } from './files.ts';
import { type Call, noGolden, readGolden, readTensors, type Tensors, type Value, type Values } from './golden.ts';
import { llama } from './llama.ts';
import { llava } from './llava.ts';
import { llavaOriginal } from './llava-original.ts';
import { peft } from './peft.ts';
import { processors } from './processors.ts';
import { projector } from './projector.ts';
import { allMissing, type Missing, missingOf, type Report } from './report.ts';
import { schedulers } from './schedulers.ts';
import { siglip } from './siglip.ts';
import { stableDiffusion } from './stable-diffusion.ts';
import { tokenizers } from './tokenizers.ts';

/** Every reference class that is known. */
const FAMILIES = new Map<string, Family>(
  Object.entries({
    ...{ ...clip, ...siglip, ...llama, ...llava, ...llavaOriginal, ...peft, ...processors, ...tokenizers },
    ...{ ...diffusion, ...projector, ...schedulers, ...stableDiffusion },
  }),
);

/** `only`: the calls to run, by name; all by default. */
export async function runCase(files: CaseFiles, only?: readonly string[]): Promise<Report> {
  let golden = noGolden(files.name);
  let model: unknown;
  try {
    golden = await readGolden(files);
    const family = FAMILIES.get(golden.class);
    if (!family) throw new Error(`no class ${golden.class} here`);
    if (golden.calls.length === 0) throw new Error('the case has no calls');
    const tensors = await readTensors(files);
    model = await family.load(files);
    const report: Report = { case: golden.name, outputs: [], missing: [] };
    for (const call of golden.calls) {
      if (only && !only.includes(call.name)) continue;
      await runCall(family, model, call, tensors, report).catch((error: Error) => {
        report.missing.push(...missingOf(call, error.message));
      });
    }
    return report;
  } catch (error) {
    return allMissing(golden, (error as Error).message);
  } finally {
    (model as Partial<Disposable> | undefined)?.[Symbol.dispose]?.();
  }
}

/** Adds to the report, at the end and all at once. */
async function runCall(family: Family, model: unknown, call: Call, tensors: Tensors, report: Report): Promise<void> {
  const names = Object.hasOwn(family.methods, call.method) ? [call.method] : call.method.split(/\s*,\s*/);
  const methods = names.map((name) => (Object.hasOwn(family.methods, name) ? family.methods[name] : undefined));
  const unknown = names.filter((_, i) => !methods[i]).map((name) => `no method ${name} here`);
  const known = methods.filter((method) => method !== undefined);
  const problems = unknown.length > 0 ? unknown : misfits(known, call);
  if (Object.keys(call.outputs).length === 0) problems.push('the call names no outputs');
  if (problems.length > 0) throw new Error(problems.join('; '));

  const inputs = Object.fromEntries(
    call.inputs.map((name) => [name, toTensor(tensors(`${call.name}/in/${name}`), name)]),
  );
  const given: Outputs = {};
  for (const { run } of known)
    Object.assign(given, await run(model, inputs as never, call.args, Object.keys(call.outputs)));
  const wanted = Object.entries(call.outputs).map(([output, wanted]) => {
    return { output, wanted, got: given[output], want: wanted.value ?? tensors(`${call.name}/out/${output}`) };
  });
  await run(wanted.map(({ got }) => got).filter((got) => got instanceof Tensor)); // in one plan
  const rows: Row[] = [];
  const missing: Missing[] = [];
  for (const { output, wanted: limits, got, want } of wanted) {
    const why = got === undefined ? `no output ${output} of ${call.method} here` : 'not in golden.safetensors';
    if (got === undefined || want === undefined) missing.push({ call: call.name, output, why });
    else rows.push({ call: call.name, output, ...(await compare(await toValue(got), want, limits)) });
  }
  report.outputs.push(...rows);
  report.missing.push(...missing);
}

/** What the methods do not know, or lack. */
function misfits(methods: readonly Method<unknown>[], call: Call): string[] {
  const inputs = methods.flatMap(({ inputs = [] }) => inputs);
  const takes = new Set(inputs.map((name) => name.replace('?', '')));
  const args = Object.assign({}, ...methods.map(({ args }) => args));
  return [
    ...call.inputs
      .filter((name) => !takes.has(name) && !takes.has(name.replace(/\d+$/, '*')))
      .map((name) => `no input ${name} of ${call.method} here`),
    ...inputs
      .filter((name) => !name.endsWith('?') && !call.inputs.includes(name))
      .map((name) => `no input ${name} in the case`),
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
