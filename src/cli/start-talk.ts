// The second part of tessera start: the shipped LLaVA describes scenes that it has never seen and answers questions about them.
import process from 'node:process';
import type { Pixels } from '../io/pixels.ts';
import type { ImageTextGenerator } from '../tasks/image-text-to-text.ts';
import type { DeviceOptions } from './options.ts';
import { print } from './output.ts';
import { seconds } from './table.ts';
import { beside, paint, roomBeside, type Terminal } from './terminal.ts';
import { visible, wrap } from './text.ts';
import { readQuestions } from './world.ts';

const SCENES = 3;
/** Kinds of questions that are asked about each scene, the description first. */
const KINDS = ['caption', 'what', 'colour', 'count'];

type Turn = { question: string; answer: string; truth: string; right: boolean };
export type Talk = {
  score: { asked: number; right: number };
  scenes: { picture: string; turns: Turn[] }[];
  time_ms: number;
};

/** What it says. */
export async function talk(task: ImageTextGenerator, { json }: DeviceOptions, terminal: Terminal): Promise<Talk> {
  const result: Talk = { score: { asked: 0, right: 0 }, scenes: [], time_ms: 0 };
  const say = json ? () => {} : print;
  say('\ntessera-llava, which ships too, looks at scenes that it has never seen, describes them and answers:');
  const start = performance.now();
  for (const { picture, image, questions } of await readQuestions(SCENES)) {
    const turns: Turn[] = [];
    using session = task.session();
    for (const kind of KINDS) {
      const { question, answer: truth } = questions.find((one) => one.kind === kind)!;
      const answer = await answerTo(session, image, question);
      turns.push({ question, answer, truth, right: answer === truth });
    }
    result.scenes.push({ picture, turns });
    const text = turns.flatMap((turn) => lines(turn, terminal));
    if (!json) say(`\n${await beside(image, text, terminal)}`);
  }
  result.time_ms = Math.round(performance.now() - start);
  const turns = result.scenes.flatMap((scene) => scene.turns);
  result.score = { asked: turns.length, right: turns.filter(({ right }) => right).length };
  const { asked, right } = result.score;
  say(`\n${paint(terminal, 'bold', `${right} of ${asked} right, to the letter`)}, in ${seconds(result.time_ms)}.`);
  say('Yours: tessera describe drawing.png, tessera ask drawing.png "what is on the left?", tessera chat');
  return result;
}

/** What it answers to a question about a picture. */
export async function answerTo(
  session: ReturnType<ImageTextGenerator['session']>,
  image: Pixels,
  question: string,
): Promise<string> {
  const content = [
    { type: 'image' as const, image },
    { type: 'text' as const, text: question },
  ];
  for await (const _ of session.stream([{ role: 'user', content }]));
  return session.last!.text.trim();
}

const lines = ({ question, answer, truth, right }: Turn, terminal: Terminal): string[] => {
  const room = roomBeside(terminal, process.stdout.columns) - 2;
  const said = wrap(visible(answer), right ? room - '  right'.length : room);
  if (right) said.push(`${said.pop()}  ${paint(terminal, 'green', 'right')}`);
  else said.push(...wrap(`it is: ${truth}`, room).map((part) => paint(terminal, 'red', part)));
  return [paint(terminal, 'dim', question), ...said.map((line) => `  ${line}`)];
};
