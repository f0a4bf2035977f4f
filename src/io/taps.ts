// Looking inside a model: what passes through a part of it, noted by the layers as they are called. A model's file knows
// nothing of it, and where nobody looks a layer asks one number.
import { isRecording } from '../exec/compile.ts';
import { watchAttention } from '../ops/watch.ts';
import { describe } from '../tensor/check.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { UserError } from './error.ts';

type Layer = (x: Tensor) => Tensor;

/** What a part of a model did in its last forward pass. Nothing is computed before it is asked for; afterwards it is yours. */
export type Tap = Disposable & {
  /** What its first layer got. */
  readonly input: Tensor;
  /** What its last layer gave; of a block that begins with a norm, as those of transformers, what comes after it gets. */
  readonly output: Tensor;
  /** softmax(q k^T) of each attention in it, f32 [B, heads, L, S]. */
  readonly attentions: readonly Tensor[];
  /** Looks no more. */
  close(): void;
};

type Seen = { path: string; isNorm: boolean; x: Tensor; y: Tensor };
type Notes = { seen: Seen[]; after: Tensor | undefined; attentions: Tensor[] };

let looking = 0; // taps of all models
let at: { taps: Taps; path: string } | undefined; // the layer that was called last

watchAttention({
  get isWanted() {
    return looking > 0 && !isRecording();
  },
  note: (p) => at?.taps.attention(at.path, p),
});

const isIn = (path: string, part: string) => path === part || path.startsWith(`${part}.`);

/** The taps of one model. */
export class Taps {
  readonly #paths = new Set<string>();
  readonly #open = new Map<Notes, string>();

  /** The layer of a path; it notes what passes through it. */
  layer(path: string, isNorm: boolean, layer: Layer): Layer {
    this.#paths.add(path);
    return (x) => {
      const y = layer(x);
      if (looking > 0 && !isRecording()) this.#note({ path, isNorm, x, y });
      return y;
    };
  }

  #note(now: Seen): void {
    at = { taps: this, path: now.path };
    for (const [notes, part] of this.#open) {
      if (!isIn(now.path, part)) {
        if (notes.seen.length > 0) notes.after ??= now.x;
      } else {
        if (notes.seen[0]?.path === now.path) Object.assign(notes, { seen: [], after: undefined, attentions: [] });
        notes.seen.push(now);
      }
    }
  }

  /** An attention belongs to what holds the layer that was called before it. */
  attention(path: string, p: Tensor): void {
    const holder = path.slice(0, Math.max(0, path.lastIndexOf('.')));
    for (const [notes, part] of this.#open) if (isIn(holder, part)) notes.attentions.push(p);
  }

  readonly tap = (name: string): Tap => {
    if (![...this.#paths].some((path) => isIn(path, name))) throw new UserError(`[tap] ${this.#unknown(name)}`);
    const notes: Notes = { seen: [], after: undefined, attentions: [] };
    this.#open.set(notes, name);
    looking++;
    const close = () => {
      if (this.#open.delete(notes)) looking--;
    };
    const noted = () => {
      if (notes.seen.length === 0) throw new Error(`[tap] ${name}: nothing has passed through it; call forward first`);
      return notes.seen;
    };
    return {
      get input() {
        return noted()[0]!.x;
      },
      get output() {
        const [first, last] = [noted()[0]!, noted().at(-1)!];
        return first.isNorm && first !== last && notes.after ? notes.after : last.y;
      },
      get attentions() {
        return noted() && notes.attentions;
      },
      close,
      [Symbol.dispose]: close,
    };
  };

  /** What there is instead. */
  #unknown(name: string): string {
    const parts = String(name).split('.');
    let known = '';
    while (
      parts.length > 0 &&
      [...this.#paths].some((path) => isIn(path, known ? `${known}.${parts[0]}` : parts[0]!))
    ) {
      known = known ? `${known}.${parts.shift()}` : parts.shift()!;
    }
    const start = known ? known.length + 1 : 0;
    const below = [...this.#paths].filter((path) => known === '' || isIn(path, known));
    const next = [...new Set(below.map((path) => path.slice(start).split('.')[0]!))];
    const few = next.length > 6 ? `${next.slice(0, 6).join(', ')}, ...` : next.join(', ');
    return `name: got ${describe(name)}, want ${known ? `${known} and one of ` : 'a path that begins with '}${few}`;
  }
}
