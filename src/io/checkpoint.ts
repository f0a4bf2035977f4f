// A checkpoint: config.json and the tensors of one or many safetensors files, wherever they are.
import { UserError } from './error.ts';
import { isObject, parseObject } from './json.ts';
import { locate, lookUp, type ModelSource, type SourceOptions } from './locate.ts';
import { readHeader, type TensorInfo } from './safetensors.ts';
import { NOT_WEIGHTS } from './sniff.ts';
import { type ByteSource, plainPath } from './source.ts';

/** A tensor in a file: where its bytes are, and the file. */
export type CheckpointTensor = { info: TensorInfo; source: ByteSource };

export type Checkpoint = {
  name: string;
  /** config.json, when there is one. */
  config: Record<string, unknown> | undefined;
  tensors: Map<string, CheckpointTensor>;
  /** Tensors that a shard holds and the index does not name: not loaded. */
  unexpected: string[];
  /** The files' own notes (`__metadata__`). */
  metadata: Map<string, string>;
  /** Another file beside the weights, as text. */
  text(file: string): Promise<string | undefined>;
  /** Another file beside the weights, as a JSON object. */
  json(file: string): Promise<Record<string, unknown> | undefined>;
  /**
   * A checkpoint that belongs to this one, in a folder of this name or where the options say, or its config alone; it is closed
   * with it.
   */
  beside(name: string, isConfigOnly: boolean): Promise<Pick<Checkpoint, 'tensors' | 'config'> | undefined>;
  close(): Promise<void>;
};

/**
 * `variant`: 'fp16' takes model.fp16.safetensors. `file`: these weights and no other. `part`: of a file for a whole pipeline
 * what is this part's, such as unet, vae or text_encoder.
 */
export type CheckpointOptions = SourceOptions & {
  variant?: string;
  file?: string;
  part?: string;
  /** For the original LLaVA, whose files have no tower: the CLIP that they name. */
  vision_tower?: ModelSource | undefined;
};

/** Names under which libraries save weights, in order of preference; any other name is taken when it is the only one. */
const STEMS = ['model', 'diffusion_pytorch_model', 'open_clip_model', 'adapter_model', 'pytorch_lora_weights'];
const WEIGHTS = /\.safetensors$/;
const INDEX = /\.safetensors\.index(?:\.[\w-]+)?\.json$/;
const SHARD = /-\d{5}-of-\d{5}\.safetensors$/;
const PICKLES = /\.(?:bin|pt|pth|ckpt)$/;

/**
 * Opens a checkpoint: a path of a folder or of one .safetensors file, an id of the hub, a Folder, one File or Blob, or a
 * list of them.
 * Reads headers only. Throws a UserError for anything missing, damaged or not weights.
 */
export async function openCheckpoint(from: ModelSource, options: CheckpointOptions = {}): Promise<Checkpoint> {
  const { folder, file } = await locate(from, options);
  const chosen = file ?? options.file ?? chooseWeights(await folder.list(), folder.name, options.variant);
  const isOwn = ownsFolder(chosen, file);
  const sources: ByteSource[] = [];
  const others: Checkpoint[] = [];
  const beside: Checkpoint['beside'] = async (name, isConfigOnly) => {
    const given = name === 'vision_tower' ? options.vision_tower : undefined;
    const from =
      given === undefined
        ? folder.at(name)
        : await lookUp(given, { ...options, subfolder: undefined, revision: undefined });
    if (typeof from === 'object' && 'list' in from && (await from.list().catch(() => [])).length === 0)
      return undefined;
    if (isConfigOnly) {
      const text = await (await locate(from)).folder.text('config.json');
      return { tensors: new Map(), config: text === undefined ? undefined : parseObject(text, `${name}/config.json`) };
    }
    const opened = await openCheckpoint(from, {});
    others.push(opened);
    return opened;
  };
  const open = async (name: string, missing: string): Promise<ByteSource> => {
    const source = await folder.open(name);
    if (!source) throw new UserError(`[${folder.name}] no file ${name}: ${missing}`);
    sources.push(source);
    return source;
  };
  const json = async (name: string) => {
    const text = await folder.text(name);
    return text === undefined ? undefined : parseObject(text, name);
  };
  try {
    const contents = INDEX.test(chosen)
      ? await readShards(shardsOf(await json(chosen), chosen), chosen, open)
      : await readOne(await open(chosen, 'want the weights there'));
    return {
      name: isOwn ? folder.name : chosen,
      config: isOwn ? await json('config.json') : undefined,
      ...contents,
      text: (name) => folder.text(name),
      json,
      beside,
      close: async () => void (await Promise.all([...sources, ...others].map((one) => one.close?.()))),
    };
  } catch (error) {
    await Promise.all(sources.map((source) => source.close?.()));
    throw error;
  }
}

/** A file given alone speaks for its folder only under a name that says so: a download folder holds many models. */
function ownsFolder(chosen: string, file: string | undefined): boolean {
  return file === undefined || INDEX.test(chosen) || STEMS.some((stem) => chosen === `${stem}.safetensors`);
}

/** The weights file or index file among `files`. */
export function chooseWeights(files: readonly string[], where: string, variant?: string): string {
  const has = new Set(files);
  const middle = variant ? `.${variant}` : '';
  for (const stem of STEMS) {
    for (const name of [`${stem}${middle}.safetensors`, `${stem}.safetensors.index${middle}.json`]) {
      if (has.has(name)) return name;
    }
  }
  const indexes = files.filter((name) => INDEX.test(name));
  const whole = files.filter((name) => WEIGHTS.test(name) && !SHARD.test(name));
  const rest = [...indexes, ...whole].filter((name) => !variant || name.includes(`.${variant}.`));
  if (rest.length === 1) return rest[0]!;
  if (rest.length > 1) {
    throw new UserError(
      `[${where}] several weight files: ${few(rest)}. Give the one you mean, as a file or by its variant.`,
    );
  }
  const shards = files.filter((name) => SHARD.test(name));
  if (shards.length > 0) {
    throw new UserError(
      `[${where}] shards without an index: got ${few(shards)}, want model.safetensors.index.json too`,
    );
  }
  const pickles = files.filter((name) => PICKLES.test(name));
  if (pickles.length > 0) throw new UserError(`[${where}] only ${few(pickles)}: ${NOT_WEIGHTS['a zip archive']}`);
  if (has.has('model_index.json')) {
    throw new UserError(
      `[${where}] a diffusers pipeline, not one model: want one of its folders (unet, vae, text_encoder)`,
    );
  }
  const wanted = variant ? `weights of variant ${variant}` : 'model.safetensors or another .safetensors file';
  throw new UserError(`[${where}] no weights: got ${files.length ? few(files) : 'no files'}, want ${wanted}`);
}

const few = (names: readonly string[]): string =>
  names.length > 4 ? `${names.slice(0, 4).join(', ')} and ${names.length - 4} more` : names.join(', ');

type Contents = Pick<Checkpoint, 'tensors' | 'unexpected' | 'metadata'>;

async function readOne(source: ByteSource): Promise<Contents> {
  const { tensors, metadata } = await readHeader(source);
  return { tensors: new Map([...tensors].map(([name, info]) => [name, { info, source }])), unexpected: [], metadata };
}

/** `weight_map` of an index file: shard -> tensor names. */
function shardsOf(index: Record<string, unknown> | undefined, where: string): Map<string, string[]> {
  const map = index?.weight_map;
  if (!isObject(map)) throw new UserError(`[${where}] no weight_map: want {"weight_map": {tensor: file}}`);
  const shards = new Map<string, string[]>();
  for (const [tensor, file] of Object.entries(map)) {
    if (typeof file !== 'string') throw new UserError(`[${where}] weight_map of ${tensor}: got no file name`);
    plainPath(file, where);
    const names = shards.get(file);
    if (names) names.push(tensor);
    else shards.set(file, [tensor]);
  }
  return shards;
}

async function readShards(
  shards: Map<string, string[]>,
  index: string,
  open: (name: string, missing: string) => Promise<ByteSource>,
): Promise<Contents> {
  const tensors = new Map<string, CheckpointTensor>();
  const metadata = new Map<string, string>();
  const unexpected: string[] = [];
  for (const [file, names] of [...shards].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const source = await open(file, `a shard that ${index} names is missing. Get it too.`);
    const header = await readHeader(source);
    for (const name of names) {
      const info = header.tensors.get(name);
      if (!info) throw new UserError(`[${index}] tensor ${JSON.stringify(name)} is not in its shard ${file}`);
      tensors.set(name, { info, source });
      header.tensors.delete(name);
    }
    unexpected.push(...header.tensors.keys());
    for (const [key, value] of header.metadata) metadata.set(key, value);
  }
  return { tensors, unexpected, metadata };
}
