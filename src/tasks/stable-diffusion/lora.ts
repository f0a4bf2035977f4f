// LoRA of a pipeline: one file for several of its models, under one name.
import { openCheckpoint } from '../../io/checkpoint.ts';
import { UserError } from '../../io/error.ts';
import type { ModelSource, SourceOptions } from '../../io/locate.ts';
import { fileOf, partsIn } from '../../io/lora-file.ts';
import { describe } from '../../tensor/check.ts';
import { checkOpen, type Parts } from './parts.ts';

export type LoadLora = SourceOptions & { adapter_name?: string | undefined; signal?: AbortSignal | undefined };

const PARTS = ['unet', 'text_encoder'] as const;

type Part = (typeof PARTS)[number];
type Models = { [P in Part]: Pick<Parts[P], 'load_adapter' | 'set_adapters' | 'delete_adapters'> };

/** Adapters by name, with the models that have them: the same for all pipelines of the same models. */
const known = new WeakMap<Parts, Map<string, Part[]>>();

/**
 * The methods of a pipeline for its adapters, by diffusers' names. Each does what it says for all models, or nothing; what
 * takes time has a turn in all of them (io/adapters.ts).
 */
export function loras(parts: Parts) {
  const loaded = known.get(parts) ?? new Map<string, Part[]>();
  known.set(parts, loaded);
  const ready = (where: string) => {
    checkOpen(parts);
    for (const part of PARTS) parts[part].check_adapters(where);
  };
  const checkKnown = (where: string, names: readonly string[]) => {
    const unknown = names.find((name) => !loaded.has(name));
    if (unknown === undefined) return;
    const all = [...loaded.keys()].map((name) => `'${name}'`).join(', ') || 'none is loaded';
    throw new UserError(`[${where}] no adapter ${describe(unknown)}: ${all}`);
  };
  const remove = (names: readonly string[]) => {
    for (const name of names) {
      for (const part of loaded.get(name) ?? []) parts[part].delete_adapters(name);
      loaded.delete(name);
    }
  };
  const load = async (models: Models, from: ModelSource, options: LoadLora): Promise<string[]> => {
    checkOpen(parts);
    const { adapter_name = freeName(loaded), ...source } = options;
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
    const done: Part[] = [];
    const unused: string[] = [];
    try {
      for (const part of wanted) {
        unused.push(...(await models[part].load_adapter(from, adapter_name, { ...source, part, active: false })));
        done.push(part);
      }
    } catch (error) {
      for (const part of done) models[part].delete_adapters(adapter_name);
      throw error;
    }
    for (const part of done) {
      const { active_adapters, adapter_weights } = parts[part];
      models[part].set_adapters([...active_adapters(), adapter_name], [...adapter_weights(), 1]);
    }
    loaded.set(adapter_name, done);
    return unused;
  };
  return {
    /** Loads a file or folder (diffusers' or kohya's names) beside the weights, at full strength. Gives the tensors of it that nothing takes. */
    async load_lora_weights(from: ModelSource, options: LoadLora = {}): Promise<string[]> {
      checkOpen(parts);
      const what = 'load_lora_weights';
      return parts.unet.adapter_turn(what, (unet) =>
        parts.text_encoder.adapter_turn(what, (text_encoder) => load({ unet, text_encoder }, from, options)),
      );
    },
    /** These adapters, each with its weight, and no others. */
    set_adapters(adapter_names: string | readonly string[], adapter_weights: number | readonly number[] = 1): void {
      ready('set_adapters');
      const names = [adapter_names].flat() as string[];
      checkKnown('set_adapters', names);
      const weights = typeof adapter_weights === 'number' ? names.map(() => adapter_weights) : adapter_weights;
      if (!Array.isArray(weights) || weights.length !== names.length || !weights.every(Number.isFinite)) {
        throw new UserError(
          `[set_adapters] adapter_weights: got ${describe(adapter_weights)} for ${names.length} adapters, want a number for each`,
        );
      }
      for (const part of PARTS) {
        const own = names
          .map((name, i) => ({ name, weight: weights[i] as number }))
          .filter(({ name }) => loaded.get(name)!.includes(part));
        parts[part].set_adapters(
          own.map(({ name }) => name),
          own.map(({ weight }) => weight),
        );
      }
    },
    active_adapters: (): string[] => [...new Set(PARTS.flatMap((part) => parts[part].active_adapters()))],
    /** Takes adapters out of the models, and gives their memory back. */
    delete_adapters(adapter_names: string | readonly string[]): void {
      ready('delete_adapters');
      const names = [adapter_names].flat() as string[];
      checkKnown('delete_adapters', names);
      remove(names);
    },
    unload_lora_weights(): void {
      ready('unload_lora_weights');
      remove([...loaded.keys()]);
    },
  };
}

/** The first of diffusers' names for what is loaded without one: `default_0`, `default_1`, ... */
function freeName(loaded: ReadonlyMap<string, unknown>): string {
  for (let i = 0; ; i++) if (!loaded.has(`default_${i}`)) return `default_${i}`;
}
