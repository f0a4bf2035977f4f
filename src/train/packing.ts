// Questions about pictures as rows of tokens. A row has a picture once and many questions behind it, each of which sees the
// picture and itself, as if it were asked alone: reading a picture is most of the work.
import { IGNORE_INDEX } from '../io/conversation.ts';
import { UserError } from '../io/error.ts';
import type { Pixels } from '../io/pixels.ts';
import type { Pictures } from '../models/llava.ts';
import { tensor } from '../ops/create.ts';
import { visionPrompt } from '../tasks/image-text-to-text.ts';
import { type LlavaProcessor, pixelsOf } from '../tasks/llava-processor.ts';
import type { LlavaPicture } from '../tasks/llava-prompt.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** A picture, and what is asked and answered about it. */
export type PictureLesson = { image: Pixels; turns: readonly { question: string; answer: string }[] };

/** A packed batch: what the model is given, and of which places [n] the next token [n] is asked (-100: of none). */
export type Batch = Disposable & {
  input_ids: Tensor;
  position_ids: Tensor;
  attention_mask: Tensor;
  image_sizes: Pictures['image_sizes'];
  pixel_values: Tensor;
  places: Tensor;
  targets: Tensor;
};

/** Lengths are multiples of these, so that few shapes occur: each is a plan of its own. */
const LENGTH = 64;
const ANSWERS = 128;

type PackedRow = { ids: number[]; positions: number[]; segments: number[]; targets: number[] };

/** Lessons to batches, by the processor of the model and its chat template. */
export function packer(processor: LlavaProcessor, image_token: number) {
  const { tokenizer } = processor;
  const known = new Map<string, number[]>(); // questions come again
  const once = (name: string, encode: () => number[]) => {
    let ids = known.get(name);
    if (!ids) known.set(name, (ids = encode()));
    return ids;
  };

  /** Tokens up to the end of the picture, those of the question, and those of the answer. */
  function turn({ question, answer }: PictureLesson['turns'][number], picture: LlavaPicture) {
    const asked = {
      role: 'user',
      content: [{ type: 'image', image: '' } as const, { type: 'text', text: question } as const],
    };
    const { text } = visionPrompt([asked], processor);
    const whole = visionPrompt([asked, { role: 'assistant', content: answer }], processor, false).text;
    if (!whole.startsWith(text)) {
      throw new UserError(
        '[train] the chat template of the model changes a question once it is answered: cannot be trained',
      );
    }
    const ids = once(`${picture.tokens} ${text}`, () => processor.encode(text, [picture]));
    const all = once(`${picture.tokens} ${whole}`, () => processor.encode(whole.trimEnd(), [picture]));
    if (ids.some((id, i) => id !== all[i])) {
      throw new UserError('[train] the tokenizer of the model joins a question and its answer: cannot be trained');
    }
    const said = all.slice(ids.length);
    const { eos_token_id: eos } = tokenizer;
    if (eos !== undefined && said.at(-1) !== eos) said.push(eos);
    const end = ids.lastIndexOf(image_token) + 1;
    return { before: ids.slice(0, end), asked: ids.slice(end), said };
  }

  async function row({ image, turns }: PictureLesson) {
    const picture = await processor.prepare(image);
    const packed: PackedRow = { ids: [], positions: [], segments: [], targets: [] };
    for (const [k, one] of turns.entries()) {
      const { before, asked, said } = turn(one, picture);
      const start = before.length;
      if (k === 0) add(packed, before, 0, 0, 0);
      add(packed, [...asked, ...said], start, k + 1, asked.length);
    }
    return { picture, packed };
  }

  return async (lessons: readonly PictureLesson[]): Promise<Batch> => {
    const rows = await Promise.all(lessons.map(row));
    const L = roundUp(Math.max(...rows.map(({ packed }) => packed.ids.length)), LENGTH);
    const column = (name: keyof PackedRow, fill: number) =>
      rows.map(({ packed }) => [...packed[name], ...new Array<number>(L - packed[name].length).fill(fill)]);
    const i32 = (values: number[] | number[][]) => tensor(values, { dtype: 'i32' });
    const places: number[] = [];
    const targets: number[] = [];
    for (const [b, line] of column('targets', IGNORE_INDEX).entries()) {
      for (const [i, target] of line.entries()) {
        if (target === IGNORE_INDEX) continue;
        places.push(b * L + i);
        targets.push(target);
      }
    }
    const more = roundUp(places.length, ANSWERS) - places.length;
    const segments = i32(column('segments', -1));
    const [q, k] = [segments.unsqueeze(2), segments.unsqueeze(1)];
    const sees = k.eq(0).where(true, q.eq(k)).unsqueeze(1); // [B, 1, L, L]
    const { pixel_values, image_sizes } = pixelsOf(rows.map(({ picture }) => picture));
    const batch = {
      input_ids: i32(column('ids', tokenizer.pad_token_id ?? 0)),
      position_ids: i32(column('positions', 0)),
      pixel_values,
      places: i32([...places, ...new Array<number>(more).fill(0)]),
      targets: i32([...targets, ...new Array<number>(more).fill(IGNORE_INDEX)]),
    };
    const dispose = () => {
      for (const t of [segments, ...Object.values(batch)]) t.dispose();
    };
    return { ...batch, image_sizes, attention_mask: sees, [Symbol.dispose]: dispose };
  };
}

/** Tokens of a segment; from the place `first` of them on each is the answer that the one before asks for. */
function add(to: PackedRow, ids: readonly number[], position: number, segment: number, first: number): void {
  for (const [i, id] of ids.entries()) {
    to.ids.push(id);
    to.positions.push(position + i);
    to.segments.push(segment);
    to.targets.push(segment > 0 && i + 1 >= first && i + 1 < ids.length ? ids[i + 1]! : IGNORE_INDEX);
  }
}

const roundUp = (n: number, unit: number) => Math.ceil(Math.max(n, 1) / unit) * unit;
