// tessera embed: pictures or texts as rows of numbers.
import process from 'node:process';
import type { Command } from 'commander';
import { UserError } from '../io/error.ts';
import { npy } from '../io/npy.ts';
import { baseName } from '../io/source.ts';
import { writeWhole } from '../io/write.ts';
import { type Embedder, type Embeddings, embedder, type Kind } from '../tasks/embedder.ts';
import { checkPath } from '../tasks/load-image.ts';
import { CLIP, clipOf } from './classifier.ts';
import { checkOutput, readLines } from './files.ts';
import { type Loaded, withLoaded } from './loaded.ts';
import { count, type DeviceOptions, type HubOptions, many, withDevice, withHub } from './options.ts';
import { complain, print, printJson } from './output.ts';
import { countingBar } from './progress.ts';
import { seconds } from './table.ts';
import { paint, terminalOf } from './terminal.ts';
import { visible } from './text.ts';

type Options = DeviceOptions &
  HubOptions & {
    text?: string[];
    file?: string;
    textFile?: string;
    model?: string;
    output?: string;
    normalize?: boolean;
    batchSize: number;
  };

export function addEmbed(program: Command): void {
  const command = program
    .command('embed')
    .description('Pictures or texts as rows of numbers, near to each other where they mean the same (CLIP, SigLIP)')
    .argument('[pictures...]', 'PNG, JPEG or WebP files, or their addresses')
    .option('--file <list>', 'a text file that names pictures, one on each line')
    .option('--text <text>', 'a text in place of pictures; may be given many times', many)
    .option('--text-file <list>', 'a file of texts, one on each line')
    .option(...CLIP)
    .option('--output <file>', 'a .npy or .json file that takes the rows (default: JSON on stdout)')
    .option('--normalize', 'rows of length 1, whose products are cosines')
    .option('--batch-size <n>', 'inputs in one run', count, 8);
  withDevice(withHub(command))
    .addHelpText(
      'after',
      `
A .npy file holds float32 [rows, columns] for numpy.load. Which input each row is stands beside it: out.npy has out.npy.json,
with "inputs": [{ "input", "row" }]. A .json file has that and the rows one after the other in "data", as stdout has.
A picture that cannot be read has no row; it is reported, the rest is done, and the exit code is 2.

Examples:
  tessera embed *.jpg --normalize --output pictures.npy
  tessera embed --file pictures.txt --model openai/clip-vit-large-patch14 --output pictures.npy
  tessera embed --text "a cat" --text "a dog" --model ./siglip-base-patch16-224`,
    )
    .action(embed);
}

type Failed = { input: string; error: string };

async function embed(pictures: string[], options: Options): Promise<void> {
  if (options.output !== undefined) await checkOutput(options.output, ['.npy', '.json'], namesOf(options.output));
  const { kind, inputs } = await inputsOf(pictures, options);
  const failed: Failed[] = [];
  const leaveOut = (input: string, { message }: UserError, before = () => {}) => {
    before();
    failed.push({ input, error: message });
    complain(`error: ${message}`);
  };
  const report = inputs.length > 1 ? leaveOut : undefined; // else the only one is an error
  const there = kind === 'texts' ? inputs : await existing(inputs, report);
  const model = await clipOf(options.model);
  const work = async ({ task, about, where, load }: Loaded<Embedder>) => {
    const start = performance.now();
    const bar = await countingBar(`embedding ${kind}`);
    const found = await task(there, {
      normalize: options.normalize,
      batch_size: options.batchSize,
      on_progress: (done) => bar.at(done, there.length),
      on_error: report && ((input, error) => report(input, error, bar.stop)),
    }).finally(bar.stop);
    if (found.inputs.length === 0) return;
    const time_ms = { load: Math.round(load), embed: Math.round(performance.now() - start) };
    const more = { normalize: options.normalize === true, time_ms };
    await give(found, { command: 'embed', ...about, ...more }, failed, options);
    const terminal = terminalOf(process.stdout, process.env);
    if (terminal.colour && options.output !== undefined && !options.json) {
      const times = `loaded in ${seconds(load)}, embedded in ${seconds(time_ms.embed)}`;
      print(paint(terminal, 'dim', `${visible(baseName(model))} on ${where}, ${times}`));
    }
  };
  if (there.length > 0) await withLoaded(model, options, (from, source) => embedder(from, kind, source), work);
  if (failed.length > 0)
    throw new UserError(`[embed] left out ${failed.length} of ${inputs.length} ${kind}, see above`);
}

/** What was given to embed. */
async function inputsOf(
  pictures: string[],
  { text = [], file, textFile }: Options,
): Promise<{ kind: Kind; inputs: string[] }> {
  const hasPictures = pictures.length > 0 || file !== undefined;
  const hasTexts = text.length > 0 || textFile !== undefined;
  if (hasPictures === hasTexts) {
    const got = hasTexts
      ? 'pictures and texts: want one kind in one call'
      : 'nothing to embed: want pictures, --file, --text or --text-file';
    throw new UserError(`[embed] ${got}`);
  }
  const bad = text.findIndex((one) => one.trim() === '');
  if (bad >= 0) throw new UserError(`[embed] text ${bad + 1}: got ${JSON.stringify(text[bad])}, want a text`);
  if (hasTexts)
    return { kind: 'texts', inputs: [...text, ...(textFile === undefined ? [] : await readLines(textFile))] };
  return { kind: 'pictures', inputs: [...pictures, ...(file === undefined ? [] : await readLines(file))] };
}

/** The pictures that are there; what is missing is known before a model is loaded. */
async function existing(
  pictures: readonly string[],
  on_error?: (picture: string, error: UserError) => void,
): Promise<string[]> {
  const there: string[] = [];
  for (const picture of pictures) {
    try {
      await checkPath(picture);
      there.push(picture);
    } catch (error) {
      if (!on_error || !(error instanceof UserError)) throw error;
      on_error(picture, error);
    }
  }
  return there;
}

/** The file that says what the rows of a .npy file are. */
const namesOf = (output: string): string[] => (/\.npy$/i.test(output) ? [`${output}.json`] : []);

/** Writes or prints what was found. */
async function give(found: Embeddings, about: object, failed: Failed[], { output, json }: Options): Promise<void> {
  const { shape, data } = found;
  const inputs = found.inputs.map((input, row) => ({ input, row }));
  const document = { ...about, inputs, failed, shape };
  if (output === undefined) {
    for (const line of withData(document, data, shape[1])) print(line);
    return;
  }
  const encoder = new TextEncoder();
  const [names] = namesOf(output);
  await writeWhole(output, async (write) => {
    if (names === undefined) {
      for (const line of withData(document, data, shape[1])) await write(encoder.encode(`${line}\n`));
      return;
    }
    for (const bytes of npy(data, shape)) await write(bytes);
    await writeWhole(names, (write) => write(encoder.encode(`${JSON.stringify(document, null, 2)}\n`)));
  });
  if (json) printJson({ ...document, output });
  else {
    const beside = names === undefined ? '' : `; which input each row is: ${visible(names)}`;
    print(`${shape[0]} ${shape[0] === 1 ? 'row' : 'rows'} of ${shape[1]} in ${visible(output)}${beside}`);
  }
}

/** Lines of a JSON document with `data` in it, a row on each: many rows would be too long for one text. */
function* withData(document: object, data: Float32Array, columns: number): Generator<string> {
  yield `${JSON.stringify(document, null, 2).slice(0, -2)},\n  "data": [`;
  for (let at = 0; at < data.length; at += columns) {
    const row = Array.from(data.subarray(at, at + columns), (value) => Number(value.toPrecision(9))); // all that f32 holds
    yield `    ${row.join(', ')}${at + columns < data.length ? ',' : ''}`;
  }
  yield '  ]\n}';
}
