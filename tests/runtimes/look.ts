// tessera-llava in a page and in a worker of it, which take dist/ as a page would.
const FILES = ['config.json', 'generation_config.json', 'model.safetensors', 'tokenizer.json'];
const MORE = ['tokenizer_config.json', 'processor_config.json', 'chat_template.jinja'];

/** What was said, and in which pieces it came. */
export type Said = { text: string; pieces: string[] };

export async function main({ png, questions }: { png: string; questions: string[] }) {
  const address = '/dist/browser.js'; // not part of this bundle
  const { pipeline } = (await import(address)) as typeof import('../../src/index.ts');
  const files = await Promise.all(
    [...FILES, ...MORE].map(
      async (name) => new File([await (await fetch(`/weights/tessera-llava/${name}`)).blob()], name),
    ),
  );
  const ask = (text: string) => {
    const content = [{ type: 'image', image: png } as const, { type: 'text', text } as const];
    return [{ role: 'user', content }];
  };
  type Look = (input: ReturnType<typeof ask>, options: object) => Promise<{ generated_text: unknown }[]>;
  const say = async (look: Look, text: string, options: object = {}): Promise<Said> => {
    const pieces: string[] = [];
    const on_text = (piece: string) => pieces.push(piece);
    const [found] = await look(ask(text), { on_text, ...options });
    const { content } = (found!.generated_text as { content: string }[]).at(-1)!;
    return { text: content, pieces };
  };
  const all = async (look: Look) => {
    const said: Said[] = [];
    for (const question of questions) said.push(await say(look, question));
    return said;
  };
  const reasonOf = (work: Promise<unknown>) =>
    work.then(
      () => 'done',
      (reason) => reason,
    );

  const here = await pipeline('image-text-to-text', files);
  const page = await all(here as Look);
  here.dispose();

  const there = await pipeline('image-text-to-text', files, { worker: true });
  const look = there as Look;
  const worker = await all(look);
  const why = { why: 'enough' };
  const controller = new AbortController();
  const { signal } = controller;
  let heard = 0;
  const count = () => {
    heard++;
    controller.abort(why);
  };
  const aborted = (await reasonOf(say(look, questions[0]!, { signal, on_text: count }))) === why;
  const before = (await reasonOf(say(look, questions[0]!, { signal }))) === why;
  const oops = new RangeError('of the callback');
  const thrown = await reasonOf(
    say(look, questions[0]!, {
      on_text: () => {
        throw oops;
      },
    }),
  );
  const refused = String(await reasonOf(look([{ role: 'user', content: [{ type: 'image' } as never] }], {})));
  const again = await all(look);
  there.dispose();
  return { page, worker, again, aborted, before, heard, thrown: thrown === oops, refused };
}
