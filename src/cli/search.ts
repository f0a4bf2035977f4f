// tessera search: the pictures of a folder that words describe best.
import process from 'node:process';
import type { Command } from 'commander';
import { UserError } from '../io/error.ts';
import { at, findPictures } from '../io/pictures.ts';
import { baseName } from '../io/source.ts';
import { load_image } from '../tasks/load-image.ts';
import { type Match, type Searcher, searcher } from '../tasks/search.ts';
import { CLIP, clipOf } from './classifier.ts';
import { type Loaded, withLoaded } from './loaded.ts';
import { count, type DeviceOptions, type HubOptions, withDevice, withHub } from './options.ts';
import { complain, print, printJson } from './output.ts';
import { countingBar } from './progress.ts';
import { seconds } from './table.ts';
import { beside, paint, type Terminal, terminalOf } from './terminal.ts';
import { visible } from './text.ts';

type Options = DeviceOptions & HubOptions & { model?: string; top: number; batchSize: number };

export function addSearch(program: Command): void {
  const command = program
    .command('search')
    .description('The pictures of a folder that words describe best (CLIP, SigLIP)')
    .argument('<folder>', 'PNG, JPEG and WebP files in it and in the folders inside it are searched')
    .argument('<words...>', 'what the picture shows')
    .option(...CLIP)
    .option('--top <n>', 'how many pictures to print', count, 5)
    .option('--batch-size <n>', 'pictures in one run', count, 8);
  withDevice(withHub(command))
    .addHelpText(
      'after',
      `
Each picture is embedded once; later searches embed what is new or changed (by size and time). What is known lies in the folder as
.tessera-search-MODEL, or in ~/.cache/tessera where the folder cannot be written. An interrupted search goes on where it was.
Files and folders that begin with a dot are left out. A score is the cosine between picture and words: compare it within one
search only. A picture that cannot be read is reported, the rest is searched, and the exit code is 2.

Examples:
  tessera search photos "a red car in the snow"
  tessera search photos a dog on a beach --top 20 --model openai/clip-vit-large-patch14
  tessera search drawings "an owl" --json`,
    )
    .action((folder: string, words: string[], options: Options) => search(folder, words.join(' '), options));
}

async function search(folder: string, words: string, options: Options): Promise<void> {
  if (words.trim() === '') throw new UserError(`[search] words: got ${JSON.stringify(words)}, want what to look for`);
  const failed: { picture: string; error: string }[] = [];
  const leaveOut = (picture: string, error: string) => {
    failed.push({ picture, error });
    complain(`error: ${error}`);
  };
  const files = await findPictures(folder, (picture, { message }) => leaveOut(picture, message));
  const total = files.length + failed.length;
  if (files.length === 0) throw new UserError(`[${folder}] no pictures: want PNG, JPEG or WebP files in it`);
  const model = await clipOf(options.model);
  const name = baseName(model);
  const work = async ({ task: search, about, where, load }: Loaded<Searcher>) => {
    const start = performance.now();
    const bar = await countingBar('embedding pictures');
    const { index, ...numbers } = await search
      .update(files, {
        batch_size: options.batchSize,
        on_error: (picture, message) => {
          bar.stop();
          leaveOut(at(folder, picture), message);
        },
        on_note: (message) => {
          bar.stop();
          complain(message);
        },
        on_progress: bar.at,
      })
      .finally(bar.stop);
    const time_ms = { load: Math.round(load), embed: Math.round(performance.now() - start) };
    const found = (await search(words, options.top)).map(({ picture, score }) => ({
      picture: at(folder, picture),
      score,
    }));
    const terminal = terminalOf(process.stdout, process.env);
    if (options.json) {
      printJson({ command: 'search', ...about, folder, words, index, ...numbers, time_ms, results: found, failed });
    } else {
      for (const match of found) print(await shown(match, terminal));
      const { pictures, embedded } = numbers;
      const news = embedded > 0 ? `, ${embedded} of them embedded in ${seconds(time_ms.embed)}` : '';
      if (terminal.colour) print(paint(terminal, 'dim', `${pictures} pictures${news}; ${visible(name)} on ${where}`));
    }
  };
  await withLoaded(model, options, (from, source) => searcher(folder, from, name, source), work);
  if (failed.length > 0) throw new UserError(`[search] left out ${failed.length} of ${total} pictures, see above`);
}

/** A line, beside the picture where the terminal shows pictures. */
async function shown({ picture, score }: Match, terminal: Terminal): Promise<string> {
  const line = [score.toFixed(3).padStart(6), paint(terminal, 'bold', visible(picture))];
  if (terminal.pictures === 'none') return line.join('  ');
  const image = await load_image(picture).catch(() => undefined); // it may have gone meanwhile
  return image ? `\n${await beside(image, line.reverse(), terminal)}` : line.join('  ');
}
