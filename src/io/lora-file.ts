// LoRA files and how their tensors are named: PEFT's, those of diffusers, and kohya's (sd-scripts).
import { halfToFloat } from '../exec/run.ts';
import type { Checkpoint } from './checkpoint.ts';
import { UserError } from './error.ts';
import { parseObject } from './json.ts';
import { locate, type ModelSource, type SourceOptions } from './locate.ts';
import { type LoraConfig, loraConfig } from './lora-config.ts';

const CONFIG = 'adapter_config.json';
const PEFT_FILE = 'adapter_model.safetensors';
const DIFFUSERS_FILE = 'pytorch_lora_weights.safetensors';
const METADATA = 'lora_adapter_metadata';

/** The two matrices of a module, [r, in] and [out, r], as the file names them. */
type Pair = { A?: string; B?: string; alpha?: string };
export type LoraFile = {
  /** Names by the path of the module. */
  pairs: ReadonlyMap<string, Pair>;
  /** Rank and scaling of a module; none where the adapter leaves it alone. */
  own: LoraConfig;
  /** Tensors for this model that are not of these modules. */
  unused(paths: Iterable<string>): string[];
  /** What is said where it has nothing for a model. */
  misfit: string;
};

/** The parts of a pipeline that a file may speak of, with kohya's names of them. */
const PARTS: Record<string, string[]> = { unet: ['lora_unet_'], text_encoder: ['lora_te_', 'lora_te1_'] };
const ROLES = { lora_A: 'A', lora_B: 'B', 'lora.down': 'A', 'lora.up': 'B', lora_down: 'A', lora_up: 'B' } as const;
const NAME = /^(.+)\.(?:(lora_[AB]|lora\.down|lora\.up|lora_down|lora_up)(?:\.\w+)?\.weight|(alpha))$/;
/** Diffusers before 0.17: `attn1.processor.to_q_lora.down.weight`. */
const PROCESSOR = /\.processor\.(\w+)_lora\.(down|up)\.weight$/;
const OTHERS = /\.(hada_w1_a|lokr_w1|lokr_w1_a|dora_scale|oft_blocks)$/;

/** A module, and which of its tensors this is. */
function parse(tensor: string): [module: string, role: keyof Pair] | undefined {
  const [, module, role, alpha] =
    NAME.exec(
      tensor.replace(
        PROCESSOR,
        (_, name: string, side: string) => `.${name.replace(/_out$/, '_out.0')}.lora_${side}.weight`,
      ),
    ) ?? [];
  if (!module) return undefined;
  return [module, alpha ? 'alpha' : ROLES[role as keyof typeof ROLES]];
}

/** The part of a pipeline that a name speaks of, and the rest of the name; kohya's rest has _ for every dot. */
function partOf(module: string): { part: string; rest: string; flat: boolean } | undefined {
  for (const [part, prefixes] of Object.entries(PARTS)) {
    if (module.startsWith(`${part}.`)) return { part, rest: module.slice(part.length + 1), flat: false };
    const prefix = prefixes.find((name) => module.startsWith(name));
    if (prefix) return { part, rest: module.slice(prefix.length), flat: true };
  }
  return undefined;
}

/** The parts of a pipeline that a file is for. Where it names none it is the U-Net's own, as diffusers once saved them. */
export function partsIn(tensors: Iterable<string>): string[] {
  const modules = [...tensors].flatMap((tensor) => parse(tensor)?.[0] ?? []);
  const named = new Set(modules.flatMap((module) => partOf(module)?.part ?? []));
  return named.size === 0 && modules.length > 0 ? ['unet'] : [...named];
}

async function numberIn({ tensors }: Checkpoint, name: string): Promise<number> {
  const { info, source } = tensors.get(name)!;
  const bytes = await source.read(info.begin, info.end - info.begin);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const read: Record<string, () => number> = {
    F64: () => view.getFloat64(0, true),
    F32: () => view.getFloat32(0, true),
    F16: () => halfToFloat(view.getUint16(0, true)),
    BF16: () => new Float32Array(Uint32Array.of(view.getUint16(0, true) << 16).buffer)[0]!,
    I64: () => Number(view.getBigInt64(0, true)),
  };
  const value = read[info.dtype]?.();
  if (value !== undefined && info.end - info.begin <= 8) return value;
  throw new UserError(`[${source.name}] ${name}: got ${info.dtype} [${info.shape}], want one number`);
}

/** The file of an adapter: the one given, else the one that its folder keeps under a known name. PEFT's has a config beside it. */
export async function fileOf(from: ModelSource, options: SourceOptions): Promise<{ file: string; isPeft: boolean }> {
  const { folder, file } = await locate(from, options);
  const names = file ? [] : await folder.list();
  const own = file ?? [PEFT_FILE, DIFFUSERS_FILE].find((name) => names.includes(name)) ?? PEFT_FILE;
  return { file: own, isPeft: own === PEFT_FILE };
}

/**
 * Reads the names of an adapter for a model whose modules have these paths. `part`: of the adapter of a pipeline, what is
 * for this model.
 */
export async function readLora(
  checkpoint: Checkpoint,
  paths: readonly string[],
  isPeft: boolean,
  part?: string,
): Promise<LoraFile> {
  const { name, tensors } = checkpoint;
  const config = isPeft ? await checkpoint.json(CONFIG) : undefined;
  if (isPeft && !config) throw new UserError(`[${name}] no ${CONFIG}: want it beside ${PEFT_FILE}, as PEFT saves them`);
  const other = [...tensors.keys()].find((tensor) => OTHERS.test(tensor));
  if (other) throw new UserError(`[${name}] holds ${other}: want a LoRA of two matrices (no LoHa, LoKr, DoRA or OFT)`);
  const flat = new Map(paths.map((path) => [path.replaceAll('.', '_'), path]));
  const pairs = new Map<string, Pair>();
  const mine = new Set<string>();
  for (const tensor of tensors.keys()) {
    const [module, role] = parse(tensor) ?? [];
    const of = module === undefined ? undefined : partOf(module);
    if (part !== undefined && of && of.part !== part) continue;
    mine.add(tensor);
    if (module === undefined) continue;
    const plain = (part !== undefined && of ? of.rest : module).replace(
      /^(?:base_model\.model\.)?(?:text_model[._])?/,
      '',
    );
    const path = of?.flat ? flat.get(plain) : plain;
    if (path === undefined) continue;
    pairs.set(path, { ...pairs.get(path), [role!]: tensor });
  }
  const own = config ? peft(name, config, pairs) : await scalings(checkpoint, pairs, part);
  const unused = (paths: Iterable<string>) => {
    const taken = new Set([...paths].flatMap((path) => Object.values(pairs.get(path) ?? {})));
    return [...mine].filter((tensor) => !taken.has(tensor));
  };
  const misfit = config
    ? `target_modules ${JSON.stringify(config.target_modules)} names no linear`
    : `none of its ${tensors.size} tensors is for a module of it`;
  return { pairs, own, unused, misfit };
}

/** What adapter_config.json says; of all linears those that the file has something for. */
function peft(name: string, config: Record<string, unknown>, pairs: ReadonlyMap<string, Pair>): LoraConfig {
  const own = loraConfig(name, config);
  return (path) => (config.target_modules === 'all-linear' && !pairs.get(path)?.A ? undefined : own(path));
}

/** Ranks are those of the matrices; alpha is what the file's header says, or a tensor beside them, or the rank. */
async function scalings(checkpoint: Checkpoint, pairs: ReadonlyMap<string, Pair>, part?: string): Promise<LoraConfig> {
  const { name, tensors } = checkpoint;
  const noted = checkpoint.metadata.get(METADATA);
  const own = Object.entries(noted === undefined ? {} : parseObject(noted, `${name}, ${METADATA}`)).flatMap(
    ([key, v]) =>
      part === undefined ? [[key, v]] : key.startsWith(`${part}.`) ? [[key.slice(part.length + 1), v]] : [],
  );
  const config =
    own.length > 0 ? loraConfig(name, { bias: 'none', peft_type: 'LORA', ...Object.fromEntries(own) }) : undefined;
  const found = new Map<string, { r: number; scaling: number }>();
  for (const [path, { A, alpha }] of pairs) {
    const r = A === undefined ? 1 : (tensors.get(A)!.info.shape[0] ?? 1);
    const given = alpha === undefined ? r : await numberIn(checkpoint, alpha);
    found.set(path, config?.(path) ?? { r, scaling: given / r });
  }
  return (path) => found.get(path);
}
