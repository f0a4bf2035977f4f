// LoRA of a pipeline: one file for several of its models, under one name.
import { openCheckpoint } from '../../io/checkpoint.ts';
import { UserError } from '../../io/error.ts';
import type { ModelSource, SourceOptions } from '../../io/locate.ts';
import { fileOf, partsIn } from '../../io/lora-file.ts';
import type { Parts } from './parts.ts';

export type LoadLora = SourceOptions & { adapter_name?: string | undefined; signal?: AbortSignal | undefined };

const PARTS = ['unet', 'text_encoder'] as const;

/** Adapters by name, with the models that have them: the same for all pipelines of the same models. */
const known = new WeakMap<Parts, Map<string, (typeof PARTS)[number][]>>();

/** The methods of a pipeline for its adapters, by diffusers' names. */
export function loras(parts: Parts) {
  const loaded = known.get(parts) ?? new Map<string, (typeof PARTS)[number][]>();
  known.set(parts, loaded);
  return {
    /** Loads a file or folder (diffusers' or kohya's names) beside the weights, at full strength. Gives the tensors of it that nothing takes. */
    async load_lora_weights(from: ModelSource, options: LoadLora = {}): Promise<string[]> {
      const { adapter_name = `default_${loaded.size}`, ...source } = options;
      if (loaded.has(adapter_name))
        throw new UserError(`[load_lora_weights] '${adapter_name}' is loaded: give another name`);
      const checkpoint = await openCheckpoint(from, { ...source, ...(await fileOf(from, source)) });
      await checkpoint.close();
      const found = partsIn(checkpoint.tensors.keys());
      const wanted = PARTS.filter((part) => found.includes(part));
      if (wanted.length === 0) {
        const few = [...checkpoint.tensors.keys()].slice(0, 2).join(', ');
        throw new UserError(
          `[${checkpoint.name}] no LoRA of a Stable Diffusion: got ${few}, want unet... or lora_unet_...`,
        );
      }
      const done: (typeof PARTS)[number][] = [];
      const unused: string[] = [];
      try {
        for (const part of wanted) {
          const before = parts[part].active_adapters();
          unused.push(...(await parts[part].load_adapter(from, adapter_name, { ...source, part })));
          parts[part].set_adapters([...before, adapter_name]);
          done.push(part);
        }
      } catch (error) {
        for (const part of done) parts[part].delete_adapters(adapter_name);
        throw error;
      }
      loaded.set(adapter_name, done);
      return unused;
    },
    /** These adapters, each with its weight, and no others. */
    set_adapters(adapter_names: string | readonly string[], adapter_weights: number | readonly number[] = 1): void {
      const names = [adapter_names].flat() as string[];
      const weights = names.map((_, i) =>
        typeof adapter_weights === 'number' ? adapter_weights : adapter_weights[i]!,
      );
      const unknown = names.find((name) => !loaded.has(name));
      if (unknown !== undefined) {
        const all = [...loaded.keys()].map((name) => `'${name}'`).join(', ') || 'none is loaded';
        throw new UserError(`[set_adapters] no adapter '${unknown}': ${all}`);
      }
      for (const part of PARTS) {
        const own = names
          .map((name, i) => ({ name, weight: weights[i]! }))
          .filter(({ name }) => loaded.get(name)!.includes(part));
        parts[part].set_adapters(
          own.map(({ name }) => name),
          own.map(({ weight }) => weight),
        );
      }
    },
    active_adapters: (): string[] => [...new Set(PARTS.flatMap((part) => parts[part].active_adapters()))],
    unload_lora_weights(): void {
      for (const [name, used] of loaded) for (const part of used) parts[part].delete_adapters(name);
      loaded.clear();
    },
  };
}
