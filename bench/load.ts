// npm run bench -- load: a checkpoint of 600 MB from disk to the device, beside reading its bytes.
import { fork } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { saveSafetensors, type TensorPlan } from '../src/io/safetensors.ts';
import { CLIPVisionModel } from '../src/models/clip.ts';
import { median, spread } from './harness.ts';
import type { Loads } from './loading.ts';
import { shapesOf } from './models.ts';

// The picture tower of CLIP L/14 in f16
const TOWER = { hidden_size: 1024, intermediate_size: 4096, num_hidden_layers: 24, num_attention_heads: 16 };
const CONFIG = { model_type: 'clip_vision_model', ...TOWER, image_size: 224, patch_size: 14, projection_dim: 768 };
const SHARDS = 3;
const ROUNDS = 5;

export type LoadRow = {
  kernel: 'load';
  shape: string;
  dtype: 'f16' | 'f32';
  ours_us: number;
  /** Reading the same files into memory, and nothing else. */
  read_us: number;
  ratio: number;
  gbps: number;
  /** Largest resident memory beyond the weights that had arrived, above what it was before. */
  peak_mb: number;
  spread: { tessera: number; read: number };
};

const size = (shape: readonly number[]) => shape.reduce((n, d) => n * d, 1);

/** Writes the checkpoint as `save_pretrained` would; gives its bytes. */
async function write(folder: string): Promise<number> {
  const shapes = [...shapesOf(CLIPVisionModel, CONFIG)];
  const total = 2 * shapes.reduce((n, [, shape]) => n + size(shape), 0);
  const shards: [string, readonly number[]][][] = Array.from({ length: SHARDS }, () => []);
  let at = 0;
  for (const entry of shapes) {
    shards[Math.min(SHARDS - 1, Math.floor((at / total) * SHARDS))]!.push(entry);
    at += 2 * size(entry[1]);
  }
  const weight_map: Record<string, string> = {};
  for (const [i, entries] of shards.entries()) {
    const file = `model-${String(i + 1).padStart(5, '0')}-of-${String(SHARDS).padStart(5, '0')}.safetensors`;
    const plans = entries.map(([name, shape]): [string, TensorPlan] => [name, { dtype: 'F16', shape }]);
    for (const [name] of entries) weight_map[name] = file;
    const shapeOf = new Map(entries);
    // halves between 2^-6 and 2^-5 of both signs
    const values = (n: number) =>
      Uint16Array.from({ length: n }, (_, k) => ((Math.imul(k, 0x9e3779b1) >>> 16) & 0x83ff) | 0x2400);
    await saveSafetensors(path.join(folder, file), plans, (name) => values(size(shapeOf.get(name)!)));
  }
  const index = { metadata: { total_size: total }, weight_map };
  await writeFile(path.join(folder, 'model.safetensors.index.json'), JSON.stringify(index));
  await writeFile(path.join(folder, 'config.json'), JSON.stringify(CONFIG));
  return total;
}

/** Loads in a process of its own. */
function inChild(bundles: string, ...args: string[]): Promise<Loads> {
  return new Promise((resolve, reject) => {
    const child = fork(`${bundles}/loading.mjs`, args, { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    let loads: Loads | undefined;
    let said = '';
    child.stderr!.on('data', (text) => {
      said = (said + text).slice(-2000);
    });
    child.on('message', (message) => {
      loads = message as Loads;
      child.kill('SIGKILL'); // nothing to save, and destructors of drivers may hang
    });
    child.on('exit', (code, signal) =>
      loads ? resolve(loads) : reject(new Error(`[bench] the loading process ended (${signal ?? code}): ${said}`)),
    );
  });
}

export async function load(
  bundles: string,
  adapter: string,
  quick: boolean,
): Promise<{ adapter: string; rows: LoadRow[] }> {
  const folder = await mkdtemp(path.join(tmpdir(), 'tessera-bench-'));
  try {
    const bytes = await write(folder);
    const rows: LoadRow[] = [];
    let name = '';
    for (const dtype of ['f16', 'f32'] as const) {
      const loads = await inChild(bundles, folder, adapter, dtype, String(quick ? 1 : ROUNDS));
      name = loads.adapter;
      const [ours_us, read_us] = [median(loads.load), median(loads.read)];
      rows.push({
        ...{ kernel: 'load', shape: `${Math.round(bytes / 1e6)} MB in ${SHARDS} files`, dtype },
        ...{ ours_us, read_us, ratio: read_us / ours_us, gbps: bytes / ours_us / 1e3, peak_mb: loads.peak / 1e6 },
        spread: { tessera: spread(loads.load), read: spread(loads.read) },
      });
    }
    return { adapter: name, rows };
  } finally {
    await rm(folder, { recursive: true });
  }
}

export function loadLine({ shape, dtype, ours_us, read_us, gbps, peak_mb }: LoadRow): string {
  const seconds = (us: number) => `${(us / 1e6).toFixed(2)} s`;
  return (
    `load ${shape}, F16, kept as ${dtype}: ${seconds(ours_us)} (${gbps.toFixed(2)} GB/s), read alone ${seconds(read_us)}, ` +
    `host memory beyond the weights at most ${peak_mb.toFixed(0)} MB`
  );
}
