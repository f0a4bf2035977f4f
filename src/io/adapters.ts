// LoRA adapters of a model (Hu et al. 2021, arXiv:2106.09685): y = x W^T + weight scaling (x A^T) B^T, for each active one;
// beside a convolution A is one of r channels and B one of 1 x 1. The names of methods are those of transformers, diffusers and PEFT.
// One rule for what changes them: a load, a merge and an unmerge wait until all earlier ones of the model are done; what acts at
// once (set, delete) is refused meanwhile.
import { rerecord } from '../exec/compile.ts';
import { assign, restoreBy, run } from '../exec/run.ts';
import { queue } from '../exec/serial.ts';
import type { Device } from '../gpu/device.ts';
import { scalar } from '../ops/create.ts';
import { checkOptions, describe } from '../tensor/check.ts';
import { isQuantised } from '../tensor/dtype.ts';
import { show } from '../tensor/shape.ts';
import { Tensor } from '../tensor/tensor.ts';
import { type CheckpointOptions, openCheckpoint } from './checkpoint.ts';
import { UserError } from './error.ts';
import type { TensorView } from './layouts/index.ts';
import { loadAll } from './load.ts';
import type { ModelSource } from './locate.ts';
import { fileOf, readLora } from './lora-file.ts';

/** What an adapter adds to the linear at a path, a [r, in], b [out, r], or to a convolution, a [r, in, kh, kw], b [out, r, 1, 1]. */
type Delta = { a: Tensor; b: Tensor; scaling: number };
type Adapter = { deltas: Map<string, Delta>; named: Map<string, Tensor>; unused: string[] };
type Scaled = { a: Tensor; b: Tensor; scale: Tensor };

export type LoadAdapter = Omit<CheckpointOptions, 'file'> & {
  signal?: AbortSignal | undefined;
  /** `false`: it is only loaded, and those that are active stay so. */
  active?: boolean | undefined;
};

/** What acts on the adapters within a turn of its own: at once. */
type Now = Pick<WithAdapters, 'load_adapter' | 'set_adapters' | 'delete_adapters'>;

/** What a model has for its adapters. */
export type WithAdapters = {
  /** Loads a folder or id of PEFT under a name. It becomes the active adapter. Gives the tensors that no module takes. */
  load_adapter(from: ModelSource, adapter_name?: string, options?: LoadAdapter): Promise<string[]>;
  /** These adapters, each with its weight (by default 1), and no others; an empty list for the model as it was. */
  set_adapters(adapter_names: string | readonly string[], weights?: number | readonly number[]): void;
  active_adapters(): string[];
  /** Those that `merge_adapter` added to the weights. */
  merged_adapters(): string[];
  /** The weights of the active ones, in their order. */
  adapter_weights(): number[];
  delete_adapters(adapter_names: string | readonly string[]): void;
  /** The tensors of an adapter by their names in its file: what may be trained. */
  get_adapter_state_dict(adapter_name?: string): ReadonlyMap<string, Tensor>;
  /**
   * Adds what the active adapters do to the weights themselves: no cost at each pass, until `unmerge_adapter`. Throws a
   * UserError for weights that are quantised, or those of two layers.
   */
  merge_adapter(): Promise<void>;
  /** The weights as they are in the checkpoint, to the bit, which is read again; the adapters act beside them. */
  unmerge_adapter(): Promise<void>;
  /**
   * A turn among the changes of the adapters, for what changes several models together. `what`: who has it, as others are told.
   * Throws a UserError where adapters are merged.
   */
  adapter_turn<T>(what: string, work: (now: Now) => Promise<T>): Promise<T>;
  /** Throws a UserError, as from `where`, while adapters are being changed or are merged. */
  check_adapters(where: string): void;
};

const listOf = <T>(one: T | readonly T[]): readonly T[] => (Array.isArray(one) ? one : [one]) as readonly T[];

export class Adapters {
  readonly #weights = new Map<string, Tensor>(); // [out, in, ...] by path
  readonly #tied = new Set<string>(); // paths whose weights are those of another layer
  readonly #loaded = new Map<string, Adapter>();
  #active: { name: string; weight: number }[] = [];
  #merged = false;
  readonly #turn = queue();
  /** Who changes something, and who waits for that. */
  readonly #under: string[] = [];
  readonly #scales = new Map<string, Tensor>();

  /**
   * Says that a linear or a convolution is at this path, perhaps with the weights of another layer (`isTied`); gives what the
   * active adapters add to it, at any time.
   */
  of(path: string, weight: Tensor, isTied: boolean): () => Scaled[] {
    this.#weights.set(path, weight);
    if (isTied) this.#tied.add(path);
    return () =>
      this.#merged ? [] : this.#deltas(path).map(({ a, b, scale }) => ({ a, b, scale: this.#scale(scale) }));
  }

  /** 0-d tensors, so that plans are the same for all weights. */
  #scale(value: number): Tensor {
    const known = this.#scales.get(`${value}`);
    if (known) return known;
    const made = scalar(value);
    this.#scales.set(`${value}`, made);
    return made;
  }

  #deltas(path: string) {
    return this.#active.flatMap(({ name, weight }) => {
      const delta = this.#loaded.get(name)!.deltas.get(path);
      return delta ? [{ ...delta, scale: weight * delta.scaling }] : [];
    });
  }

  /** The methods of a model on a device; `restore` brings back the weights that wait for it. */
  methods(name: string, device: () => Device, restore: () => Promise<void>): WithAdapters {
    const known = (where: string, adapter: string) => {
      const found = this.#loaded.get(adapter);
      if (found) return found;
      const all = [...this.#loaded.keys()].map((n) => `'${n}'`).join(', ') || 'none is loaded';
      throw new UserError(`[${where}] no adapter '${adapter}': ${all}`);
    };
    const separate = (where: string) => {
      if (this.#merged)
        throw new UserError(`[${where}] adapters are merged into the ${name}: call its unmerge_adapter() first`);
    };
    const check = (where: string) => {
      const [under] = this.#under;
      if (under) throw new UserError(`[${where}] ${under} is at work: await it first`);
      separate(where);
    };
    const turn = <T>(what: string, work: () => Promise<T>): Promise<T> => {
      this.#under.push(what);
      return this.#turn(() => work().finally(() => this.#under.shift()));
    };
    const activate = (active: { name: string; weight: number }[]) => {
      this.#active = active;
      this.#scales.clear();
      rerecord();
    };
    const merged = () => [...this.#weights].filter(([path]) => this.#deltas(path).length > 0);
    const merge = async (isMerged: boolean) => {
      const sums = merged().map(([path, w]) => {
        const add = (sum: Tensor, { a, b, scale }: { a: Tensor; b: Tensor; scale: number }) =>
          sum.add(b.flatten(1).matmul(a.flatten(1)).reshape(sum.shape).mul(scale));
        return [w, this.#deltas(path).reduce(add, w.to('f32')).to(w.dtype).contiguous()] as const;
      });
      await run(sums.map(([, sum]) => sum));
      for (const [w, sum] of sums) {
        assign(w, sum);
        restoreBy(w, again);
      }
      this.#merged = isMerged;
      rerecord();
    };
    const apart = async () => {
      for (const [, w] of merged()) restoreBy(w, restore);
      await restore();
    };
    const again = async () => {
      await apart();
      await merge(true);
    };
    const now: Now = {
      load_adapter: async (from, adapter_name = 'default', given = {}) => {
        checkOptions('load_adapter', given, "{ subfolder: 'style' }");
        const { active = true, ...options } = given;
        if (this.#loaded.has(adapter_name)) {
          throw new UserError(
            `[load_adapter] '${adapter_name}' is loaded: give it another name, or delete_adapters first`,
          );
        }
        const adapter = await this.#load(name, from, options, device);
        this.#loaded.set(adapter_name, adapter);
        if (active) activate([{ name: adapter_name, weight: 1 }]);
        return adapter.unused;
      },
      set_adapters: (adapter_names, weights = 1) => {
        const names = listOf(adapter_names);
        const list = typeof weights === 'number' ? names.map(() => weights) : weights;
        for (const adapter of names) known('set_adapters', adapter);
        if (list?.length !== names.length || !names.every((_, i) => Number.isFinite(list[i]))) {
          throw new UserError(
            `[set_adapters] weights: got ${describe(list)} for ${names.length} adapters, want a number for each`,
          );
        }
        activate(names.map((adapter, i) => ({ name: adapter, weight: list[i]! })));
      },
      delete_adapters: (adapter_names) => {
        const names = listOf(adapter_names);
        for (const adapter of names) known('delete_adapters', adapter);
        activate(this.#active.filter((active) => !names.includes(active.name)));
        for (const adapter of names) {
          for (const t of this.#loaded.get(adapter)!.named.values()) t.dispose();
          this.#loaded.delete(adapter);
        }
      },
    };
    const adapter_turn: WithAdapters['adapter_turn'] = (what, work) =>
      turn(what, async () => {
        separate(what);
        return work(now);
      });
    const mergeNow = async () => {
      const [shared] = merged().find(([path]) => this.#tied.has(path)) ?? [];
      if (shared !== undefined) {
        const got = `${shared} has the weights of another layer`;
        throw new UserError(`[merge_adapter] ${got}: merging would change that, too. Leave it unmerged`);
      }
      const packed = merged().find(([, w]) => isQuantised(w.dtype));
      if (packed) {
        const got = `${packed[0]} is ${packed[1].dtype}`;
        throw new UserError(
          `[merge_adapter] ${got}: merging would round the adapter away. Leave it unmerged, or load as f32`,
        );
      }
      await merge(this.#active.length > 0);
    };
    const unmergeNow = async () => {
      if (!this.#merged) return;
      await apart();
      this.#merged = false;
      rerecord();
    };
    return {
      load_adapter: (...args) => adapter_turn('load_adapter', () => now.load_adapter(...args)),
      set_adapters: (...args) => {
        check('set_adapters');
        now.set_adapters(...args);
      },
      delete_adapters: (...args) => {
        check('delete_adapters');
        now.delete_adapters(...args);
      },
      active_adapters: () => this.#active.map((active) => active.name),
      merged_adapters: () => (this.#merged ? this.#active.map((active) => active.name) : []),
      adapter_weights: () => this.#active.map((active) => active.weight),
      get_adapter_state_dict: (adapter_name = this.#active[0]?.name ?? 'default') =>
        known('get_adapter_state_dict', adapter_name).named,
      merge_adapter: () => adapter_turn('merge_adapter', mergeNow),
      unmerge_adapter: () => turn('unmerge_adapter', unmergeNow),
      adapter_turn,
      check_adapters: check,
    };
  }

  dispose(): void {
    for (const { named } of this.#loaded.values()) for (const t of named.values()) t.dispose();
  }

  async #load(model: string, from: ModelSource, options: LoadAdapter, device: () => Device): Promise<Adapter> {
    const { part } = options;
    const file = await fileOf(from, options);
    const checkpoint = await openCheckpoint(from, { ...options, ...file });
    try {
      const { name, tensors } = checkpoint;
      const { pairs, own, unused, misfit } = await readLora(checkpoint, [...this.#weights.keys()], file.isPeft, part);
      const adapter: Adapter = { deltas: new Map(), named: new Map(), unused: [] };
      const problems: string[] = [];
      const take = (path: string, role: 'A' | 'B', shape: readonly number[]): Tensor => {
        const tensor = pairs.get(path)?.[role];
        const got = tensor && tensors.get(tensor)!.info.shape;
        const t = new Tensor({ shape, dtype: 'f32' });
        if (!got) problems.push(`${path}.lora_${role} is missing`);
        else if (show(trimmed(got)) !== show(trimmed(shape))) {
          problems.push(`${tensor}: got ${show(got)}, want ${show(shape)}`);
        } else adapter.named.set(tensor, t);
        return t;
      };
      for (const [path, w] of this.#weights) {
        const { r, scaling } = own(path) ?? {};
        if (r === undefined) continue;
        const [out, ...inside] = w.shape as [number, ...number[]];
        const ones = inside.slice(1).map(() => 1);
        const [a, b] = [take(path, 'A', [r, ...inside]), take(path, 'B', [out, r, ...ones])];
        adapter.deltas.set(path, { a, b, scaling: scaling! });
      }
      if (adapter.deltas.size === 0) problems.push(misfit);
      if (problems.length > 0) {
        const few = `${problems.slice(0, 5).join('; ')}${problems.length > 5 ? '; ...' : ''}`;
        throw new UserError(`[${name}] the adapter does not fit ${model}: ${few}. Is it another model's?`);
      }
      adapter.unused = unused(adapter.deltas.keys());
      const views = new Map<string, TensorView>(
        [...adapter.named].map(([tensor, { shape }]) => [tensor, { tensor, shape }]),
      );
      const fill = async (source: typeof checkpoint, signal?: AbortSignal) => {
        const requests = { wanted: adapter.named, matrices: new Map(), missing: [], misshaped: [] };
        await loadAll(source, requests, views, await device().heir(), { signal, restore });
      };
      const restore = async () => {
        const again = await openCheckpoint(from, { ...options, ...file });
        await fill(again).finally(() => again.close());
      };
      await fill(checkpoint, options.signal);
      return adapter;
    } finally {
      await checkpoint.close();
    }
  }
}

/** A matrix may be kept as a convolution of 1 x 1. */
const trimmed = (shape: readonly number[]) => shape.filter((n, i) => i < 2 || n !== 1);
