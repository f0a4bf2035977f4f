// One side of a comparison, in a process of its own: what it does is asked for by messages (harness.ts).
import type { Device } from '../src/gpu/device.ts';
import { caseOf } from './cases.ts';
import { setsOf } from './data.ts';
import type { Engine, SideName, Work } from './engine.ts';
import type { DType, Generating } from './generating.ts';
import { open as openOurs } from './ours.ts';
import { type Probe, probes } from './probes.ts';

export type Request =
  | { ask: 'open'; side: SideName; adapter: string }
  | { ask: 'prepare'; kernel: string; dims: number[] }
  | { ask: 'sample'; calls: number }
  | { ask: 'probe'; probe: Probe }
  | { ask: 'result' }
  | { ask: 'dispatches' }
  | { ask: 'release' }
  | { ask: 'own' }
  | { ask: 'load'; dtype: DType; model: string | undefined }
  | { ask: 'generate'; dtype: DType; answer?: number };

async function openSide(side: SideName, adapter: string): Promise<Engine> {
  if (side === 'jax-js') return (await import('./peers/jax.ts')).open(adapter);
  if (side === 'tfjs') return (await import('./peers/tfjs.ts')).open(adapter);
  if (side === 'onnxruntime') return (await import('./peers/onnx.ts')).open(adapter);
  const ours = await openOurs(adapter);
  device = ours.device;
  probe = probes(device);
  return ours;
}

let engine: Engine;
let device: Device | undefined; // of our side
const models = new Map<DType, Generating>();
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
    case 'dispatches': {
      const { counters } = device!;
      const before = counters.dispatches;
      await work!.call(0);
      return counters.dispatches - before;
    }
    case 'own':
      return (await import('./generating.ts')).ownShare(device!);
    case 'load': {
      const { generating } = await import('./generating.ts');
      const model = await generating(device!, request.model, request.dtype);
      models.set(request.dtype, model);
      return { weights: model.weights, cache: model.cache };
    }
    case 'generate':
      return models.get(request.dtype)!.round(request.answer);
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
