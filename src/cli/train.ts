// tessera train: a part of a model learns the drawn world.
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { Command } from 'commander';
import { explain, UserError } from '../io/error.ts';
import { isObject, parseObject } from '../io/json.ts';
import { readHeader, writeSafetensors } from '../io/safetensors.ts';
import { saveModel } from '../io/save-model.ts';
import { fromBytes, statPath } from '../io/source.ts';
import { writeWhole } from '../io/write.ts';
import { IMAGE_TEXT_TO_TEXT } from '../tasks/auto.ts';
import { type ImageTextGenerator, imageTextToText } from '../tasks/image-text-to-text.ts';
import { ProjectorTraining } from '../train/projector.ts';
import { lesson } from '../world/index.ts';
import { curve } from './curve.ts';
import { openFolder } from './files.ts';
import { withLoaded } from './loaded.ts';
import {
  amount,
  count,
  type DeviceOptions,
  type HubOptions,
  hubOf,
  share,
  whole,
  withDevice,
  withHub,
} from './options.ts';
import { print, printJson } from './output.ts';
import { countingBar } from './progress.ts';
import { readWorld } from './world.ts';

/** What is the same from the first step to the last, and stands in checkpoints. */
const SETTINGS = { steps: 400, batchSize: 8, lr: 1e-3, warmup: 0.03, seed: 1, fresh: false };
type Settings = typeof SETTINGS;
type Options = DeviceOptions &
  HubOptions &
  Partial<Settings> & { model: string; out: string; resume?: boolean; saveEvery: number; whole?: boolean };
type Held = { step: number; loss: number };

const HELD_OUT = 16; // lessons about unseen scenes, whose loss is measured
const SHOWN = 10; // steps between lines

export function addTrain(program: Command): void {
  const train = program.command('train').description('Trains a part of a model on the drawn world.');
  const command = train
    .command('projector')
    .description("LLaVA's projector: the tower and the language model stay as they are")
    .requiredOption('--model <model>', 'a LLaVA folder, or its id on the Hugging Face hub')
    .requiredOption('--out <folder>', 'where the projector, checkpoints and the curve of the loss go')
    .option('--steps <n>', `steps to take (${SETTINGS.steps})`, count)
    .option('--batch-size <n>', `pictures of a step (${SETTINGS.batchSize})`, count)
    .option('--lr <rate>', `the highest learning rate (${SETTINGS.lr})`, amount)
    .option('--warmup <share>', `of the steps, over which the rate rises (${SETTINGS.warmup})`, share)
    .option('--seed <n>', `which scenes and questions (${SETTINGS.seed})`, whole(0))
    .option('--fresh', "begin with random weights, not with the model's")
    .option('--save-every <n>', 'steps between checkpoints', count, 50)
    .option('--resume', 'go on from the checkpoint in --out, to the same result as without a stop')
    .option('--whole', 'write all of the model to --out in the end, with the new projector in it')
    .addHelpText(
      'after',
      `
Examples:
  tessera train projector --model ./tessera-llava --out ./run --fresh --steps 400
  tessera train projector --model ./tessera-llava --out ./run --resume --whole`,
    );
  withDevice(withHub(command)).action(projector);
}

const file = ({ out }: Options, name: string) => path.join(out, name);
const CHECKPOINT = 'training.safetensors';

/** The settings of a training: as given, or those of the checkpoint that it goes on from. */
async function settle(options: Options): Promise<{ settings: Settings; bytes?: Uint8Array; held: Held[] }> {
  const at = file(options, CHECKPOINT);
  const found = await statPath(at);
  const given = Object.fromEntries(
    Object.keys(SETTINGS).flatMap((name) => {
      const value = options[name as keyof Settings];
      return value === undefined ? [] : [[name, value]];
    }),
  ) as Partial<Settings>;
  if (!options.resume) {
    if (found) throw new UserError(`[${at}] a training is there: --resume goes on with it; or another --out`);
    return { settings: { ...SETTINGS, ...given }, held: [] };
  }
  if (!found) throw new UserError(`[${at}] no checkpoint: want one to go on from, or no --resume`);
  const bytes = await explain(at, 'cannot be read', () => readFile(at));
  const { settings, held } = await notesOf(bytes, at);
  const other = Object.entries(given).find(([name, value]) => settings[name as keyof Settings] !== value);
  if (other) {
    const was = settings[other[0] as keyof Settings];
    throw new UserError(`[train] ${other[0]}: got ${other[1]}, and the checkpoint was made with ${was}: leave it out`);
  }
  return { settings, bytes, held };
}

const fits = (value: unknown, like: number | boolean): boolean =>
  typeof value === typeof like && (typeof value !== 'number' || (value >= 0 && Number.isFinite(value)));

/** What a checkpoint says of itself, which may come from anybody. */
async function notesOf(bytes: Uint8Array, at: string): Promise<{ settings: Settings; held: Held[] }> {
  const { metadata } = await readHeader(fromBytes(bytes, at));
  const { settings, held } = parseObject(metadata.get('training') ?? '{}', at);
  const isWhole =
    isObject(settings) &&
    Object.entries(SETTINGS).every(([name, value]) => fits(settings[name], value)) &&
    Array.isArray(held) &&
    held.every((one) => isObject(one) && fits(one.step, 0) && fits(one.loss, 0));
  if (!isWhole) throw new UserError(`[${at}] not a checkpoint of tessera train, or its notes are damaged`);
  return { settings: settings as Settings, held: held as Held[] };
}

async function projector(options: Options): Promise<void> {
  const { settings, bytes, held } = await settle(options);
  await openFolder(options.out);
  const open: Parameters<typeof withLoaded<ImageTextGenerator>>[2] = (from, { dtype, ...more }) =>
    imageTextToText(from, { ...more, dtype: { multi_modal_projector: 'f32', default: dtype as 'f32' } });
  await withLoaded(
    options.model,
    options,
    open,
    async ({ task, about, where }) => {
      using training = new ProjectorTraining(task, settings);
      if (bytes) await training.load(bytes);
      else if (settings.fresh) await training.reset(settings.seed);
      if (!options.json) print(`${task.model.name} on ${where}; ${sizeOf(training)} parameters learn`);
      await teach(training, settings, held, options);
      const values = await training.weights();
      if (options.whole) {
        const data = new Map([...values].map(([name, { data }]) => [name, data as Float32Array]));
        await saveModel(options.model, options.out, data, hubOf(options));
      }
      const { losses } = training;
      if (options.json) return printJson({ command: 'train projector', ...about, settings, losses, held_out: held });
      const [first, last] = [held[0], held.at(-1)];
      print(
        `loss of unseen scenes: ${first?.loss.toFixed(4)} before, ${last?.loss.toFixed(4)} after ${training.steps} steps`,
      );
      print(`in ${options.out}: projector.safetensors, loss.svg${options.whole ? ', and the model with it' : ''}`);
    },
    IMAGE_TEXT_TO_TEXT,
  );
}

const sizeOf = ({ params }: ProjectorTraining) =>
  [...params.values()].reduce((n, p) => n + p.size, 0).toLocaleString('en');

async function teach(training: ProjectorTraining, settings: Settings, held: Held[], options: Options): Promise<void> {
  const world = await readWorld();
  const { steps, batchSize, seed } = settings;
  const lessons = (first: number, n: number, split: 'seen' | 'unseen') =>
    Array.from({ length: n }, (_, i) => lesson(world, { seed, index: first + i, split }));
  const measure = async () => {
    held.push({ step: training.steps, loss: await training.loss(lessons(0, HELD_OUT, 'unseen')) });
  };
  const save = async () => {
    const weights = writeSafetensors(await training.weights(), [['format', 'pt']]);
    const whole = await training.save({ training: JSON.stringify({ settings, held }) });
    await writeWhole(file(options, 'projector.safetensors'), (write) => write(weights));
    const picture = curve(`Loss of ${options.model}'s projector`, training.losses, held);
    await writeWhole(file(options, 'loss.svg'), (write) => write(new TextEncoder().encode(picture)));
    await writeWhole(file(options, CHECKPOINT), (write) => write(whole));
  };
  const bar = await countingBar('step');
  if (held.length === 0) await measure();
  let since = performance.now();
  try {
    while (training.steps < steps) {
      bar.at(training.steps, steps);
      const loss = await training.step(lessons(training.steps * batchSize, batchSize, 'seen'));
      const { steps: done } = training;
      if (!options.json && (done % SHOWN === 0 || done === steps)) {
        const each = (performance.now() - since) / 1000 / (((done - 1) % SHOWN) + 1);
        bar.stop();
        print(`step ${done} of ${steps}  loss ${loss.toFixed(4)}  ${each.toFixed(2)} s a step`);
        since = performance.now();
      }
      if (done % options.saveEvery !== 0 && done !== steps) continue;
      await measure();
      await save();
    }
  } finally {
    bar.stop();
  }
}
