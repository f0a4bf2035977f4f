// One side of a comparison, in a process of its own: what it does is asked for by messages (harness.ts).
import { caseOf } from './cases.ts';
import { setsOf } from './data.ts';
import type { Engine, SideName, Work } from './engine.ts';
import { open as openOurs } from './ours.ts';
import { type Probe, probes } from './probes.ts';

export type Request =
  | { ask: 'open'; side: SideName; adapter: string }
  | { ask: 'prepare'; kernel: string; dims: number[] }
  | { ask: 'sample'; calls: number }
  | { ask: 'probe'; probe: Probe }
  | { ask: 'result' }
  | { ask: 'release' };

async function openSide(side: SideName, adapter: string): Promise<Engine> {
  if (side === 'jax-js') return (await import('./peers/jax.ts')).open(adapter);
  if (side === 'tfjs') return (await import('./peers/tfjs.ts')).open(adapter);
  if (side === 'onnxruntime') return (await import('./peers/onnx.ts')).open(adapter);
  const engine = await openOurs(adapter);
  probe = probes(engine.device);
  return engine;
}

let engine: Engine;
let work: Work | undefined;
let probe: ((name: Probe) => Promise<number>) | undefined;
let sets = 1;
let next = 0;

async function answer(request: Request): Promise<unknown> {
  switch (request.ask) {
    case 'open':
      engine = await openSide(request.side, request.adapter);
      return engine.adapter;
    case 'prepare': {
      const c = caseOf(request.kernel, request.dims);
      sets = setsOf(c);
      work = await engine.prepare(c, sets);
      return undefined;
    }
    case 'sample': {
      const start = performance.now();
      for (let i = 0; i < request.calls; i++) await work!.call(next++ % sets);
      await work!.wait();
      return (1e3 * (performance.now() - start)) / request.calls; // microseconds
    }
    case 'probe':
      return probe!(request.probe);
    case 'result':
      return work!.result();
    case 'release':
      work?.dispose();
      work = undefined;
      return undefined;
  }
}

process.on('message', async ({ id, request }: { id: number; request: Request }) => {
  try {
    process.send!({ id, value: await answer(request) });
  } catch (error) {
    process.send!({ id, error: (error as Error)?.message ?? String(error) });
  }
});
// the parent was ended: nobody is left to answer, and destructors of drivers may hang
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
