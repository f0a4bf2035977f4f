// tessera plan: what a model takes of a device, from its config.json alone.
import process from 'node:process';
import type { Command } from 'commander';
import { WEIGHT_TYPES } from '../io/weight-type.ts';
import { type MemoryPlan, plan } from '../tasks/plan.ts';
import { clipOf } from './classifier.ts';
import { count, type HubOptions, hubOf, side, withHub } from './options.ts';
import { print, printJson } from './output.ts';
import { size, table } from './table.ts';
import { paint, terminalOf } from './terminal.ts';

type Options = HubOptions & {
  model?: string;
  batchSize: number;
  width?: number;
  height?: number;
  depth: number;
  json?: boolean;
};

/** What the figures leave out. */
const LEFT_OUT = 'Left out: optional tensors, which a checkpoint may hold and its config.json does not name.';

export function addPlan(program: Command): void {
  const command = program
    .command('plan')
    .description(
      'What would a model or a diffusers pipeline take of a device? (from its configs; no device is asked for, no weights are read)',
    )
    .option(
      '--model <model>',
      'a folder with a config.json or a model_index.json, or an id of the Hugging Face hub (default: the shipped tessera-clip)',
    )
    .option('--batch-size <n>', 'texts and pictures in one pass', count, 1)
    .option('--width <pixels>', "of a pipeline's pictures (default: as its U-Net was trained)", side)
    .option('--height <pixels>', 'likewise', side)
    .option('--depth <n>', 'how many parts of a name make a module', count, 1)
    .option('--json', 'print one JSON document and nothing else');
  withHub(command)
    .addHelpText(
      'after',
      `
Examples:
  tessera plan --model openai/clip-vit-large-patch14
  tessera plan --model ./clip-vit-base-patch32 --batch-size 16 --depth 4
  tessera plan --model stable-diffusion-v1-5/stable-diffusion-v1-5 --width 768 --height 512 --depth 2
  tessera plan --json`,
    )
    .action(planCommand);
}

async function planCommand({ model, batchSize, width, height, depth, json, ...options }: Options): Promise<void> {
  const path = await clipOf(model);
  const found = await plan(path, { ...hubOf(options), batch_size: batchSize, width, height, depth });
  if (json) printJson({ command: 'plan', path, batch_size: batchSize, depth, ...found });
  else printPlan(found);
}

function printPlan({ model_type, weights, passes, activations, total_bytes }: MemoryPlan): void {
  const terminal = terminalOf(process.stdout, process.env);
  const bytes = (of: MemoryPlan['total_bytes']) => WEIGHT_TYPES.map((dtype) => size(of[dtype]));
  const parameters = (n: number) => n.toLocaleString('en');
  const one = size(activations.bytes);
  const [head, ...rows] = table([
    [model_type, 'parameters', ...WEIGHT_TYPES],
    ...weights.modules.map((of) => [of.name, parameters(of.parameters), ...bytes(of.bytes)]),
    ['weights', parameters(weights.parameters), ...bytes(weights.bytes)],
    ['activations', '', ...WEIGHT_TYPES.map(() => one)],
    ['total', '', ...bytes(total_bytes)],
  ]);
  print(paint(terminal, 'bold', head!));
  for (const row of rows.slice(0, -3)) print(row);
  print('');
  for (const row of rows.slice(-3)) print(row);
  print('');
  for (const { name, inputs, bytes, dispatches, flops } of passes) {
    const shapes = Object.entries(inputs).map(([input, shape]) => `${input} [${shape.join(', ')}]`);
    const work = `${Number((flops / 1e9).toPrecision(3))} GFLOP in ${dispatches} kernels, ${size(bytes)}`;
    print(`One pass of ${name && `${name}, `}${shapes.join(' and ')}: ${work}.`);
  }
  print(`Activations are f32 in any${passes.length > 1 ? '; these run one after the other, and share memory' : ''}.`);
  print(LEFT_OUT);
}
