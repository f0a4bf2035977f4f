// tessera doctor: what this machine has to compute with, and whether it computes right.
import process from 'node:process';
import type { Command } from 'commander';
import type { AdapterDescription } from '../gpu/host.ts';
import { type CacheState, doctor, type Features, type Health } from '../tasks/doctor.ts';
import type { Check, SelfTestProgress } from '../tasks/self-test.ts';
import { adapterOption, version } from './options.ts';
import { print, printJson } from './output.ts';
import { size, table } from './table.ts';
import { paint, type Terminal, terminalOf } from './terminal.ts';
import { oneLine, visible } from './text.ts';

export function addDoctor(program: Command): void {
  program
    .command('doctor')
    .description('Which adapters are there, what can they do, and do the kernels compute right on one of them?')
    .addOption(adapterOption())
    .option('--json', 'print one JSON document and nothing else')
    .addHelpText(
      'after',
      `
Examples:
  tessera doctor
  tessera doctor --adapter software
  tessera doctor --json

Exit codes: 0 healthy, 1 something is off, 2 what was given is wrong.`,
    )
    .action(doctorCommand);
}

async function doctorCommand({ adapter, json }: { adapter: string; json?: boolean }): Promise<void> {
  const { isTTY } = process.stderr;
  const progress_callback: SelfTestProgress = ({ name, done, total }) =>
    process.stderr.write(`\r\x1b[Kself-test ${done + 1} of ${total}: ${name}`);
  const health = await doctor({ adapter, ...(isTTY && { progress_callback }) });
  if (isTTY) process.stderr.write('\r\x1b[K');
  if (json) printJson({ command: 'doctor', version: version(), ...health });
  else printHealth(health, terminalOf(process.stdout, process.env));
  if (health.healthy) return;
  const off = health.checks.filter(({ ok }) => !ok).map(({ name }) => name);
  throw new Error(`[doctor] not healthy: ${off.join(', ')} off; what was printed says what to do`);
}

function printHealth(health: Health, terminal: Terminal): void {
  const head = (text: string) => print(paint(terminal, 'bold', text));
  const lines = (rows: readonly (readonly string[])[], left: number) => {
    for (const row of table(rows, left)) print(`  ${row}`);
  };
  const versions = Object.entries(health.versions).map(([name, version]) => `${name} ${version}`);
  head(`tessera ${version()} in ${health.runtime}`);
  lines([['versions', versions.join(', ')], ...health.caches.map((one) => [`${one.name} in`, cacheText(one)])], 2);

  head('\nadapters');
  lines(health.adapters.map(adapterRow), 5);
  for (const text of health.missing) print(paint(terminal, 'dim', `  ${visible(oneLine(text))}`));

  const { adapter, features, limits } = health;
  if (adapter && features && limits) {
    head(`\n${visible(adapter.name)}`);
    lines(
      [
        ['vendor', visible([adapter.vendor, adapter.architecture].filter(Boolean).join(', '))],
        ['driver', visible(adapter.driver || 'not told')],
        ['backend', adapter.backend],
        ['subgroups', subgroups(features)],
        ['shader-f16', yes(features['shader-f16'])],
        ['timestamp-query', yes(features['timestamp-query'])],
        ['buffer', `at most ${size(limits.maxBufferSize)}`],
        ['binding', `at most ${size(limits.maxStorageBufferBindingSize)}; larger tensors are bound in pieces`],
        [
          'workgroup',
          `${limits.maxComputeInvocationsPerWorkgroup} threads, ${size(limits.maxComputeWorkgroupStorageSize)}`,
        ],
      ],
      2,
    );
  }

  head('\nself-test');
  const [title, ...rows] = table([['', 'error', 'bound'], ...health.checks.map(checkRow)]);
  print(paint(terminal, 'dim', `       ${title}`));
  for (const [i, row] of rows.entries()) {
    const isFine = health.checks[i]!.ok;
    print(`  ${paint(terminal, isFine ? 'green' : 'red', isFine ? 'ok ' : 'off')}  ${row}`);
  }
  for (const { name, message } of health.checks) if (message) print(`  ${name}: ${visible(oneLine(message))}`);

  if (health.advice.length > 0) head('\nwhat to do');
  for (const line of health.advice) print(`  ${visible(oneLine(line))}`);
  print(paint(terminal, health.healthy ? 'green' : 'red', health.healthy ? '\nhealthy' : '\nnot healthy'));
}

const yes = (has: boolean) => (has ? 'yes' : 'no');

function subgroups({ subgroups, subgroup_size: [least, most] }: Features): string {
  if (!subgroups) return 'no';
  if (most === 0) return 'yes, their size is not told';
  return least === most ? `yes, of ${most}` : `yes, of ${least} to ${most}`;
}

const adapterRow = ({ name, vendor, software, backend, driver }: AdapterDescription): string[] =>
  [name, vendor, software ? 'software' : 'GPU', backend, driver].map(visible);

const short = (value: number | null) => (value === null ? '-' : value === 0 ? '0' : value.toExponential(1));
const checkRow = ({ name, error, bound }: Check): string[] => [name, short(error), short(bound)];

function cacheText({ folder, writable, models, bytes, message }: CacheState): string {
  const holds = models === undefined ? '' : `: ${models} model${models === 1 ? '' : 's'}, ${size(bytes ?? 0)}`;
  return visible(`${folder ?? 'no folder'}${holds}${writable ? '' : `, cannot be written: ${message}`}`);
}
