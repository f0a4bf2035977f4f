// tessera-llava asked about the first of the held-out scenes, in any runtime.
import { memoryFolder } from '../../src/io/source.ts';
import { pipeline } from '../../src/tasks/pipeline.ts';
import { openWorld, type Question, questioned, render } from '../../src/world/index.ts';
import { reader } from '../world/files.ts';

/** `said` is what the model answered. */
export type Asked = Question & { said: string };

const FILES = [
  'config.json',
  'generation_config.json',
  'model.safetensors',
  'tokenizer.json',
  'tokenizer_config.json',
  'processor_config.json',
  'chat_template.jinja',
];

export async function main({ root, scenes }: { root: string; scenes: number }): Promise<Asked[]> {
  const read = reader(root);
  const [world, tests] = await Promise.all([
    openWorld((file) => read(`world/${file}`)),
    read('world/tests.json').then((bytes) => JSON.parse(new TextDecoder().decode(bytes))),
  ]);
  const { seed, split } = tests.conversations;
  const model = await Promise.all(FILES.map(async (name) => [name, await read(`tessera-llava/${name}`)] as const));
  using look = await pipeline('image-text-to-text', memoryFolder(model, 'tessera-llava'));
  const asked: Asked[] = [];
  for (let index = 0; index < scenes; index++) {
    const { scene, questions } = questioned(world, { seed, index, split });
    const image = render(world, scene);
    using session = look.session(); // each prompt is new from behind the picture on
    for (const one of questions) {
      const content = [{ type: 'image', image } as const, { type: 'text', text: one.question } as const];
      for await (const _ of session.stream([{ role: 'user', content }])) {
        // the whole answer stands in `last`
      }
      asked.push({ ...one, said: session.last!.text.trim() });
    }
  }
  return asked;
}
