// tessera describe and tessera ask: what a model says about pictures, and where each word looked.
import process from 'node:process';
import type { Command } from 'commander';
import { UserError } from '../io/error.ts';
import { writeWhole } from '../io/write.ts';
import { attentionOf, type Looked } from '../tasks/attention.ts';
import type { ImageTextGenerator } from '../tasks/image-text-to-text.ts';
import type { Answer } from '../tasks/session.ts';
import { checkOutput, Pictures } from './files.ts';
import { shown, statsLine, type TextArguments, textOptions, withText } from './generate.ts';
import { heatmaps } from './heatmap.ts';
import type { Loaded } from './loaded.ts';
import { print, printJson, write } from './output.ts';
import { paint, terminalOf } from './terminal.ts';
import { visible } from './text.ts';
import { withSeer } from './writer.ts';

type Options = TextArguments & { attention?: string };

const DESCRIBE = 'describe the picture.';
const KINDS = ['.png', '.svg'];

export function addDescribe(program: Command): void {
  const command = program
    .command('describe')
    .description('Says what pictures show (LLaVA)')
    .argument('<pictures...>', 'PNG, JPEG or WebP files')
    .option('--attention <file>', 'also draw where each word looked, as .png or .svg (of one picture)')
    .addHelpText(
      'after',
      `
Examples:
  tessera describe drawing.png
  tessera describe drawing.png --attention words.svg
  tessera describe photo.jpg --model llava-hf/llava-1.5-7b-hf --dtype q4`,
    );
  withText(command).action((pictures: string[], options: Options) => look('describe', pictures, DESCRIBE, options));
}

export function addAsk(program: Command): void {
  const command = program
    .command('ask')
    .description('Answers a question about a picture (LLaVA)')
    .argument('<picture>', 'a PNG, JPEG or WebP file')
    .argument('<question>', 'what to answer')
    .option('--attention <file>', 'also draw where each word of the answer looked, as .png or .svg')
    .addHelpText(
      'after',
      `
Examples:
  tessera ask drawing.png "what is on the left?"
  tessera ask photo.jpg "What is the man doing?" --model llava-hf/llava-1.5-7b-hf --dtype q4`,
    );
  withText(command).action((picture: string, question: string, options: Options) =>
    look('ask', [picture], question, options),
  );
}

type Seen = Pick<Answer, 'text' | 'ids' | 'finish_reason' | 'stats'> & { picture: string } & Partial<Looked>;

async function look(command: string, pictures: readonly string[], question: string, options: Options): Promise<void> {
  const told = textOptions(options);
  const { attention, json } = options;
  if (question.trim() === '') throw new UserError(`[${command}] question: got nothing, want a text`);
  if (attention !== undefined) {
    if (pictures.length > 1) throw new UserError(`[${command}] --attention: got ${pictures.length} pictures, want one`);
    await checkOutput(attention, KINDS);
  }
  const given = new Pictures(pictures);
  const there = await given.there();
  const work = async ({ task, about, where }: Loaded<ImageTextGenerator>) => {
    const answers: Seen[] = [];
    for (const picture of there) {
      const head = pictures.length > 1 ? `${visible(picture)}: ` : '';
      const say = json ? () => {} : write;
      const found = await given.attempt(
        picture,
        answer(task, picture, question, told, attention !== undefined, head, say),
      );
      if (found) answers.push(found);
    }
    const [first] = answers;
    if (!first) return;
    const terminal = terminalOf(process.stdout, process.env);
    const { seen, words = [] } = first;
    if (attention !== undefined) {
      const bytes = await heatmaps(seen!, words, attention.endsWith('.svg'));
      await writeWhole(attention, (write) => write(bytes));
    }
    const { failed } = given;
    const rows = answers.map(({ seen: _, ...rest }) => rest);
    if (json) return printJson({ command, ...about, question, answers: rows, failed });
    if (attention !== undefined) print(`where each word looked: ${attention}, ${words.length} words in rows`);
    if (terminal.colour) print(paint(terminal, 'dim', `${statsLine(answers.at(-1)!.stats)}, ${where}`));
  };
  if (there.length > 0) await withSeer(options, work);
  given.end(command);
}

async function answer(
  task: ImageTextGenerator,
  picture: string,
  question: string,
  told: ReturnType<typeof textOptions>,
  withWords: boolean,
  head: string,
  say: (text: string) => void,
): Promise<Seen> {
  const content = [
    { type: 'image' as const, image: picture },
    { type: 'text' as const, text: question },
  ];
  using session = task.session();
  let before = head; // with the first word: there may be none
  for await (const piece of shown(session.stream([{ role: 'user', content }], told))) {
    say(before + piece);
    before = '';
  }
  say(`${before}\n`);
  const { text, ids, finish_reason, stats, prompt_ids } = session.last!;
  const looked = withWords && (await attentionOf(task, picture, prompt_ids, ids));
  return { picture, text: text.trim(), ids, finish_reason, stats, ...looked };
}
