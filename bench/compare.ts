// The suites that time calls: kernels, models, and both beside the peers.
import { existsSync } from 'node:fs';
import { cases } from './cases.ts';
import { type PeerName, SIDES, type SideName } from './engine.ts';
import { measure, type Row } from './harness.ts';
import { PROBES, type Probe } from './probes.ts';
import { summary, table } from './report.ts';
import { Side } from './sides.ts';

export type Comparison = { adapter: string; ceilings: Record<Probe, number>; rows: Row[] };
export type Wanted = {
  suite: 'kernels' | 'models' | 'peers';
  filter: string;
  adapter: string;
  quick: boolean;
  /** Rows of another run to show beside these. */
  old: readonly Row[] | undefined;
};

export const PEERS_MISSING = '[bench] the peers are not installed: npm ci --prefix bench/peers';
export const peersInstalled = (folder: string): boolean => existsSync(`${folder}/@jax-js/jax`);

/** Runs the rows of a suite, saying and keeping each; `bundles` is where side.mjs lies. */
export async function compare(
  { suite, filter, adapter, quick, old }: Wanted,
  bundles: string,
  say: (text: string) => void,
  keep: (found: Comparison) => Promise<void>,
): Promise<Comparison> {
  const peers = suite === 'peers' ? (SIDES.slice(1) as PeerName[]) : [];
  const sides = new Sides(bundles);
  try {
    const ours = await sides.open('tessera', adapter);
    const ceilings = await measureCeilings(ours);
    say(`${suite} on ${ours.adapter}`);
    for (const [name, unit] of Object.entries(PROBES))
      say(`  ${name} ${ceilings[name as Probe].toPrecision(3)} ${unit}`);
    const { head, line } = table(peers, old);
    say(head());
    const rows: Row[] = [];
    for (const c of cases(suite, filter)) {
      const { ready, notes } = await sides.all(['tessera', ...peers], ours.adapter);
      const row = await measure(c, ready, quick);
      Object.assign(row.notes, notes);
      for (const name of peers) row.peers[name] ??= null;
      rows.push(row);
      say(line(row));
      await keep({ adapter: ours.adapter, ceilings, rows });
    }
    const mean = summary(rows);
    if (mean) say(mean);
    return { adapter: ours.adapter, ceilings, rows };
  } finally {
    sides.close();
  }
}

/** The processes, started when they are needed and again after they ended. */
class Sides {
  readonly #open = new Map<SideName, Side>();
  readonly #bundles: string;

  constructor(bundles: string) {
    this.#bundles = bundles;
  }

  async open(name: SideName, adapter: string): Promise<Side> {
    const known = this.#open.get(name);
    if (known?.isOpen) return known;
    const side = await Side.open(name, adapter, this.#bundles);
    this.#open.set(name, side);
    return side;
  }

  /** Those that can be had, and why the others cannot. */
  async all(names: readonly SideName[], adapter: string) {
    const ready: Side[] = [];
    const notes: Row['notes'] = {};
    for (const name of names) {
      try {
        ready.push(await this.open(name, adapter));
      } catch (error) {
        notes[name] = (error as Error).message.split('\n')[0]!;
      }
    }
    return { ready, notes };
  }

  close(): void {
    for (const side of this.#open.values()) side.close();
  }
}

/** The best of some samples of each probe. */
async function measureCeilings(ours: Side): Promise<Record<Probe, number>> {
  const best = {} as Record<Probe, number>;
  for (const probe of Object.keys(PROBES) as Probe[]) {
    const samples: number[] = [];
    for (let i = 0; i < 5; i++) samples.push(await ours.ask<number>({ ask: 'probe', probe }));
    best[probe] = probe === 'copy' || probe === 'fma' ? Math.max(...samples) : Math.min(...samples);
  }
  return best;
}
