// npm run real-size -- FOLDER: a Stable Diffusion of real width, in one step and one picture, against what `plan` said before.
// Exit code 0: the buffers made come within 10 % of the plan, and all values are finite; 1: they do not; 2: no folder.
import { existsSync } from 'node:fs';
import { Command, Option } from 'commander';
import { execute } from '../../src/cli/execute.ts';
import { adapterOption, side } from '../../src/cli/options.ts';
import { complain, print, printJson } from '../../src/cli/output.ts';
import {
  AutoencoderKL,
  CLIPTextModel,
  Generator,
  run,
  setDevice,
  type Tensor,
  tensor,
  UNet2DConditionModel,
} from '../../src/index.ts';
import { diskFolder, type Folder } from '../../src/io/source.ts';
import { WEIGHT_TYPES, type WeightType } from '../../src/io/weight-type.ts';
import { plan } from '../../src/tasks/plan.ts';
import { numel, type Shape } from '../../src/tensor/shape.ts';
import { count } from './buffers.ts';
import { writeModel } from './configs.ts';

const BOUND = 0.1;
const SIDES = [256];
const mb = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`;

/** How each model of a pipeline is loaded, and run on inputs of the shapes that the plan names. */
const noise = new Generator(1);
const PARTS = {
  text_encoder: async (from: Folder, dtype: WeightType) => {
    const model = await CLIPTextModel.from_pretrained(from, { dtype });
    const words = (shape: Shape) => tensor(new Int32Array(numel(shape)).fill(1), shape);
    return { model, run: ([ids]: Shape[]) => model.forward({ input_ids: words(ids!) }).last_hidden_state };
  },
  unet: async (from: Folder, dtype: WeightType) => {
    const model = await UNet2DConditionModel.from_pretrained(from, { dtype });
    const run = ([sample, context]: Shape[]) => {
      const encoder_hidden_states = noise.randn(context!);
      return model.forward({ sample: noise.randn(sample!), timestep: 500, encoder_hidden_states }).sample;
    };
    return { model, run };
  },
  vae: async (from: Folder, dtype: WeightType) => {
    const model = await AutoencoderKL.from_pretrained(from, { dtype });
    return { model, run: ([latents]: Shape[]) => model.decode(noise.randn(latents!)) };
  },
};

type Options = { side: number[]; adapter: string; dtype: WeightType; only?: string; json?: boolean };

/** The command line of it; gives its exit code. */
export function realSize(argv: readonly string[]): Promise<number> {
  const sides = (text: string, before: number[]) => [...(before === SIDES ? [] : before), side(text)];
  const program = new Command('npm run real-size --')
    .description('A Stable Diffusion of real width, in one step and one picture, against what `plan` said before.')
    .argument(
      '<folder>',
      'a diffusers folder; where there is none, SD 1.5 with random weights is written there (2.1 GB)',
    )
    .option('--side <n>', 'of the picture; several one after the other, each on a device of its own', sides, SIDES)
    .addOption(adapterOption().default('software'))
    .addOption(new Option('--dtype <type>', 'of the weights').choices(WEIGHT_TYPES).default('f16'))
    .addOption(new Option('--only <name>', 'one of its models').choices(Object.keys(PARTS)))
    .option('--json', 'the result as JSON, and nothing else on stdout')
    .action(compare);
  return execute(program, argv);
}

async function compare(folder: string, { side, json, ...options }: Options): Promise<void> {
  const say = json ? complain : print;
  if (!existsSync(`${folder}/model_index.json`)) {
    say(`writing ${folder}`);
    await writeModel(folder);
  }
  const results = [];
  for (const of of side) results.push(await measure(folder, { ...options, height: of, width: of, say }));
  if (json) printJson(results);
  const isFine = results.every(({ allFinite, ratio }) => allFinite && Math.abs(ratio - 1) < BOUND);
  if (!isFine) throw new Error(`[real-size] not finite, or more than ${100 * BOUND} % off the plan`);
}

export type Measuring = {
  height: number;
  width: number;
  dtype: WeightType;
  adapter: string;
  /** One model of the pipeline; without it all of them, one after the other. */
  only?: string | undefined;
  say?: (line: string) => void;
};

/** Loads the models of a pipeline and runs each once, as for one guided picture; `ratio`: bytes of all buffers made, to the plan. */
export async function measure(folder: string, { dtype, adapter, only, say = () => {}, ...size }: Measuring) {
  const { passes, weights, total_bytes } = await plan(folder, size);
  const module = weights.modules.find(({ name }) => name === only);
  const parts = passes.filter(({ name }) => !only || name === only);
  const planned = module ? module.bytes[dtype] + parts[0]!.bytes : total_bytes[dtype];
  say(`${size.width} x ${size.height}: planned ${mb(planned)}`);
  const device = await setDevice({ adapter });
  const made = count(device.gpu);
  const loaded = await Promise.all(
    parts.map(({ name }) => PARTS[name as keyof typeof PARTS](diskFolder(folder).at(name), dtype)),
  );
  say(`  loaded: ${mb(made.live)} in buffers, ${mb(made.sum)} made`);
  const results: Tensor[] = [];
  const seconds: Record<string, number> = {};
  for (const [i, { name, inputs }] of parts.entries()) {
    const start = performance.now();
    const y = loaded[i]!.run(Object.values(inputs));
    await run([y]);
    await device.idle();
    seconds[name] = (performance.now() - start) / 1e3;
    results.push(y);
    say(`  ${name}: ${seconds[name].toFixed(1)} s, ${mb(made.live)} in buffers, ${mb(made.sum)} made`);
  }
  const { sum } = made;
  const checks = await Promise.all(results.map((y) => y.mul(0).sum().item()));
  const allFinite = checks.every((v) => v === 0);
  const ratio = sum / planned;
  say(`  ${allFinite ? 'finite' : 'NOT FINITE'}; made ${mb(sum)} of ${mb(planned)}: x ${ratio.toFixed(3)}`);
  for (const { model } of loaded) model.dispose();
  device.dispose();
  return { size, dtype, planned, made: sum, ratio, allFinite, seconds };
}
