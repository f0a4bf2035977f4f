// How things are timed and checked; docs/performance.md says why.
import { type Case, isModel } from './cases.ts';
import { values } from './data.ts';
import type { PeerName, SideName } from './engine.ts';
import type { Side } from './sides.ts';

const SAMPLE = 50e3; // us that a sample takes at least, so that waiting for the device does not count
const SLOW = 8e6; // us for one call, above which a side is timed once and takes no turns
const BEHIND = 4; // times the fastest peer's time, above which a peer is timed once too: it does not make the ratio
const PATIENCE = 15e6; // us for the rounds of one try; at least 3 rounds are done
const FULL = { rounds: 7, tries: 3 };
const QUICK = { rounds: 3, tries: 1 };
const SPREAD = 0.15; // of a median, above which it is unstable
export const TOLERANCE = 3e-4; // of the largest value expected
const CHECKED = 2000; // elements compared with float64

export type Row = {
  kernel: string;
  shape: string;
  dtype: 'f32';
  ours_us: number | null;
  peers: Partial<Record<PeerName, number | null>>;
  /** Time of the best peer by ours. */
  ratio: number | null;
  /** Half of the samples lie within this part of the median. */
  spread: Partial<Record<SideName, number>>;
  unstable: boolean;
  gflops?: number;
  gbps?: number;
  /** Percent of what the probes reached in the same rounds; `bound` is the one that limits. */
  percent_of_fma?: number;
  percent_of_copy?: number;
  bound?: 'compute' | 'memory';
  /** Of our side, in one call. */
  dispatches?: number;
  notes: Partial<Record<SideName, string>>;
};

const sorted = (x: readonly number[]) => [...x].sort((a, b) => a - b);
const quantile = (x: readonly number[], q: number) => {
  const s = sorted(x);
  const at = q * (s.length - 1);
  const below = Math.floor(at);
  return s[below]! + (at - below) * ((s[below + 1] ?? s[below]!) - s[below]!);
};
export const median = (x: readonly number[]): number => quantile(x, 0.5);
export const spread = (x: readonly number[]): number => (quantile(x, 0.75) - quantile(x, 0.25)) / median(x);

/** Largest deviation of some elements from float64, as part of the largest value. */
export function deviation(c: Case, y: Float32Array): number {
  const expected = c.expected!(...c.inputs.map((_, i) => values(c, i, 0)));
  const count = Math.min(CHECKED, y.length);
  let off = 0;
  let most = 0;
  for (let k = 0; k < count; k++) {
    const i = Math.floor(((k + 0.5) * y.length) / count);
    const want = expected(i);
    off = Math.max(off, Math.abs(y[i]! - want));
    most = Math.max(most, Math.abs(want));
    if (Number.isNaN(y[i])) return Number.NaN;
  }
  return off / most;
}

/** Largest difference of all elements, as part of the largest value. */
export function difference(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) return Number.NaN;
  let off = 0;
  let most = 0;
  for (let i = 0; i < a.length; i++) {
    off = Math.max(off, Math.abs(a[i]! - b[i]!));
    most = Math.max(most, Math.abs(a[i]!));
    if (Number.isNaN(b[i])) return Number.NaN;
  }
  return off / most;
}

/** Prepares and checks a case on each side; those that can go on, and why the others cannot. */
async function prepareAll(c: Case, sides: readonly Side[]) {
  const notes: Row['notes'] = {};
  const ready: Side[] = [];
  let ours: Float32Array | undefined;
  for (const side of sides) {
    try {
      await side.ask({ ask: 'prepare', kernel: c.kernel, dims: c.dims });
      const y = await side.ask<Float32Array>({ ask: 'result' });
      const off = Math.max(c.expected ? deviation(c, y) : 0, ours ? difference(ours, y) : 0);
      if (!(off <= TOLERANCE)) throw new Error(`wrong result, off by ${off.toExponential(1)} of the largest value`);
      if (!c.expected && !y.every(Number.isFinite)) throw new Error('wrong result, not finite');
      if (side.name === 'tessera') ours = y;
      ready.push(side);
    } catch (error) {
      notes[side.name] = (error as Error).message.split('\n')[0]!;
    }
  }
  return { ready, notes };
}

/** How many calls make a sample long enough; warms up on the way. */
async function callsFor(side: Side): Promise<{ calls: number; us: number }> {
  let calls = 1;
  for (;;) {
    const us = await side.ask<number>({ ask: 'sample', calls });
    if (us * calls >= 0.8 * SAMPLE || calls >= 2000) return { calls, us };
    calls = Math.min(2000, Math.max(2 * calls, Math.ceil(SAMPLE / us)));
  }
}

type Turn = { side: Side; calls: number; us: number };
type Samples = Map<SideName | 'copy' | 'fma', number[]>;

/** One try: rounds in which each side and the two probes take a turn, another first each time. */
async function rounds(turns: readonly Turn[], most: number): Promise<Samples> {
  const isPeer = ({ side }: Turn) => side.name !== 'tessera';
  const fastest = Math.min(...turns.filter(isPeer).map(({ us }) => us));
  const takesTurns = (turn: Turn) => turn.us < (isPeer(turn) ? Math.min(SLOW, BEHIND * fastest) : SLOW);
  const fast = turns.filter(takesTurns);
  const round = fast.reduce((sum, { calls, us }) => sum + calls * us, 0);
  const count = Math.max(3, Math.min(most, Math.floor(PATIENCE / round)));
  const ours = turns.find(({ side }) => side.name === 'tessera')!.side;
  const samples: Samples = new Map();
  const add = (name: SideName | 'copy' | 'fma', us: number) => samples.set(name, [...(samples.get(name) ?? []), us]);
  for (const turn of turns) if (!takesTurns(turn)) add(turn.side.name, turn.us);
  for (let r = 0; r < count; r++) {
    for (let t = 0; t < fast.length; t++) {
      const { side, calls } = fast[(r + t) % fast.length]!;
      add(side.name, await side.ask<number>({ ask: 'sample', calls }));
    }
    for (const probe of ['copy', 'fma'] as const) add(probe, await ours.ask<number>({ ask: 'probe', probe }));
  }
  return samples;
}

/** Times a case on all sides. Those that cannot, or give a wrong result, get null and a note. */
export async function measure(c: Case, sides: readonly Side[], quick = false): Promise<Row> {
  const { ready, notes } = await prepareAll(c, sides);
  const row: Row = {
    ...{ kernel: c.kernel, shape: c.shape, dtype: 'f32', ours_us: null },
    ...{ peers: {}, ratio: null, spread: {}, unstable: false, notes },
  };
  for (const { name } of sides) if (name !== 'tessera') row.peers[name] = null;
  try {
    if (isModel(c) && ready[0]?.name === 'tessera') row.dispatches = await ready[0].ask({ ask: 'dispatches' });
    if (ready[0]?.name === 'tessera') fill(row, c, await bestTry(ready, quick ? QUICK : FULL));
  } catch (error) {
    notes.tessera = (error as Error).message;
  }
  for (const side of sides) if (side.isOpen) await side.ask({ ask: 'release' }).catch(() => {});
  return row;
}

/** The steadiest of some tries. */
async function bestTry(ready: readonly Side[], { rounds: most, tries }: typeof FULL): Promise<Samples> {
  const turns = [];
  for (const side of ready) turns.push({ side, ...(await callsFor(side)) });
  let best: { samples: Samples; worst: number } | undefined;
  for (let t = 0; t < tries && (best?.worst ?? 1) > SPREAD; t++) {
    const samples = await rounds(turns, most);
    const worst = unsteadiness(samples);
    if (!best || worst < best.worst) best = { samples, worst };
  }
  return best!.samples;
}

/** The spread of the two that make the ratio. */
function unsteadiness(samples: Samples): number {
  const peers = [...samples].filter(([name]) => !['copy', 'fma', 'tessera'].includes(name)).map(([, x]) => x);
  const fastest = peers.sort((a, b) => median(a) - median(b))[0];
  return Math.max(spread(samples.get('tessera')!), fastest ? spread(fastest) : 0);
}

function fill(row: Row, c: Case, samples: Samples): void {
  for (const [name, x] of samples) {
    if (name === 'copy' || name === 'fma') continue;
    row.spread[name] = spread(x);
    if (name === 'tessera') row.ours_us = median(x);
    else row.peers[name] = median(x);
  }
  const us = row.ours_us!;
  const best = Math.min(...Object.values(row.peers).filter((t) => t !== null));
  if (Number.isFinite(best)) row.ratio = best / us;
  row.unstable = unsteadiness(samples) > SPREAD;
  const [copy, fma] = [median(samples.get('copy')!), median(samples.get('fma')!)];
  row.gbps = c.bytes / us / 1e3;
  row.percent_of_copy = (100 * row.gbps) / copy;
  if (c.flops > 0) {
    row.gflops = c.flops / us / 1e3;
    row.percent_of_fma = (100 * row.gflops) / fma;
  }
  row.bound = c.flops / fma > c.bytes / copy ? 'compute' : 'memory';
}
