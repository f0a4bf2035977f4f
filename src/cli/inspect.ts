// tessera inspect: what is in a weights file or a model folder, from its headers alone.
import process from 'node:process';
import type { Command } from 'commander';
import { type Checkpoint, openCheckpoint } from '../io/checkpoint.ts';
import { findLayout } from '../io/layouts/index.ts';
import { count as elements } from '../io/safetensors.ts';
import { type HubOptions, hubOf, withHub } from './options.ts';
import { print, printJson } from './output.ts';
import { size, table } from './table.ts';
import { paint, terminalOf } from './terminal.ts';
import { visible } from './text.ts';

type Options = HubOptions & { json?: boolean; filter?: string };

export function addInspect(program: Command): void {
  const command = program
    .command('inspect')
    .description('What is in a safetensors file or a model folder? (reads headers only, sharded ones too)')
    .argument('<model>', 'a .safetensors file, a folder, or an id of the Hugging Face hub')
    .option('--filter <text>', 'only tensors with this in their name')
    .option('--json', 'print one JSON document and nothing else');
  withHub(command)
    .addHelpText(
      'after',
      `
Examples:
  tessera inspect model.safetensors
  tessera inspect ./clip-vit-base-patch32 --filter self_attn
  tessera inspect ./llava-1.5-7b --json
  tessera inspect openai/clip-vit-large-patch14 --revision main`,
    )
    .action(inspect);
}

async function inspect(path: string, { json, filter, ...options }: Options): Promise<void> {
  const checkpoint = await openCheckpoint(path, hubOf(options));
  try {
    const summary = describe(checkpoint, filter?.toLowerCase());
    if (json) printJson({ command: 'inspect', path, ...summary });
    else printSummary(summary);
  } finally {
    await checkpoint.close();
  }
}

type Group = { tensors: number; parameters: number; bytes: number };
type Row = { name: string; dtype: string; shape: number[]; parameters: number; bytes: number; file: string };
type Summary = {
  name: string;
  model_type: string | null;
  architectures: string[];
  layout: string;
  files: { name: string; bytes: number; tensors: number }[];
  totals: Group;
  dtypes: Record<string, Group>;
  metadata: Record<string, string>;
  /** Tensors that a shard holds and the index does not name. */
  unexpected: string[];
  filter: string | null;
  tensors: Row[];
};

function describe({ name, config, tensors, metadata, unexpected }: Checkpoint, filter: string | undefined): Summary {
  const all: Row[] = [...tensors.values()].map(({ info, source }) => ({
    name: info.name,
    dtype: info.dtype,
    shape: info.shape,
    parameters: elements(info.shape),
    bytes: info.end - info.begin,
    file: source.name,
  }));
  const sources = new Set([...tensors.values()].map(({ source }) => source));
  const total = (rows: readonly Row[]): Group => ({
    tensors: rows.length,
    parameters: rows.reduce((n, row) => n + row.parameters, 0),
    bytes: rows.reduce((n, row) => n + row.bytes, 0),
  });
  const dtypes = [...new Set(all.map(({ dtype }) => dtype))].sort();
  const { model_type, architectures } = config ?? {};
  const byName = new Intl.Collator('en', { numeric: true });
  return {
    name,
    model_type: typeof model_type === 'string' ? model_type : null,
    architectures: Array.isArray(architectures) ? architectures.map(String) : [],
    layout: findLayout(new Map(all.map((row) => [row.name, row.shape]))).name,
    files: [...sources].map((source) => ({
      name: source.name,
      bytes: source.size,
      tensors: all.filter(({ file }) => file === source.name).length,
    })),
    totals: total(all),
    dtypes: Object.fromEntries(dtypes.map((dtype) => [dtype, total(all.filter((row) => row.dtype === dtype))])),
    metadata: Object.fromEntries(metadata),
    unexpected,
    filter: filter ?? null,
    tensors: all
      .filter((row) => !filter || row.name.toLowerCase().includes(filter))
      .sort((a, b) => byName.compare(a.name, b.name)),
  };
}

function printSummary(summary: Summary): void {
  const terminal = terminalOf(process.stdout, process.env);
  const { tensors: list, totals, filter } = summary;
  const row = ({ name, dtype, shape, bytes }: Row) => [visible(name), dtype, `[${shape.join(', ')}]`, size(bytes)];
  for (const line of table(list.map(row), 3)) print(line);
  if (list.length > 0) print('');
  const line = (name: string, text: string) =>
    text && print(`${paint(terminal, 'bold', name.padEnd(10))}  ${visible(text)}`);
  line('name', summary.name);
  line('model', [summary.model_type, ...summary.architectures].filter(Boolean).join(', '));
  line('layout', summary.layout);
  const several = summary.files.length > 1 ? `${summary.files.length} files, ` : '';
  line(
    'tensors',
    `${several}${totals.tensors} tensors${filter === null ? '' : `, ${list.length} with '${filter}' in their name`}`,
  );
  line('parameters', `${totals.parameters.toLocaleString('en')}, ${size(totals.bytes)}`);
  const dtypes = Object.entries(summary.dtypes);
  line('dtypes', dtypes.map(([dtype, group]) => `${dtype} ${group.tensors} tensors ${size(group.bytes)}`).join(', '));
  line(
    'metadata',
    Object.entries(summary.metadata)
      .map(([key, value]) => `${key}: ${value}`)
      .join(', '),
  );
  line('not in the index', summary.unexpected.join(', '));
}
