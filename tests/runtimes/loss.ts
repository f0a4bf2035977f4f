// A device that goes away at the worst moments. What was asked for fails as DeviceLost; the next call works.

import { type AdapterChoice, requestAdapter } from '../../src/gpu/host.ts';
import { compile, Device, setDevice, type Tensor, tensor, writeSafetensors } from '../../src/index.ts';
import { pretrained } from '../../src/io/pretrained.ts';

const SIZE = 64;
const values = Float32Array.from({ length: SIZE * SIZE }, (_, i) => ((i * 7919) % 251) / 251 - 0.5);

/** One linear layer, as small as a model can be. */
const Tiny = pretrained('Tiny', (w) => {
  const weight = w.get('weight', [SIZE, SIZE]);
  return { forward: (x: Tensor) => x.matmul(weight).softmax(-1) };
});
const FILES = [
  new File([JSON.stringify({ model_type: 'tiny' })], 'config.json'),
  new File(
    [writeSafetensors(new Map([['weight', { dtype: 'F32', shape: [SIZE, SIZE], data: values }]])) as BlobPart],
    'model.safetensors',
  ),
];

/** What a promise came to: 'done', or the name and message of its error. */
const outcome = (work: Promise<unknown>) =>
  work.then(
    () => 'done',
    (e: Error) => `${e.name}: ${e.message}`,
  );

export type Loss = Record<'forward' | 'readback' | 'load' | 'named' | 'disposed' | 'given', string> & {
  /** Whether the call after each loss gave what it gave before. */
  again: boolean[];
};

export async function main(choice: AdapterChoice): Promise<Loss> {
  let device = await setDevice(choice);
  const model = await Tiny.from_pretrained(FILES);
  const x = tensor(values, [SIZE, SIZE]);
  const forward = async () => [...(await model.forward(tensor(values, [SIZE, SIZE])).data())].join();
  const replayed = compile((x) => model.forward(x.mul(tensor([1]).exp())));
  const compiled = async () => [...(await (await replayed(tensor(values, [SIZE, SIZE]))).data())].join();
  const [want, wantCompiled] = [await forward(), await compiled()];
  const again: boolean[] = [];
  const lose = () => {
    device = model.device;
    device.gpu.destroy();
    return device.gpu.lost;
  };

  const y = model.forward(x);
  const running = y.realize().then(() => y.data());
  lose();
  const inForward = await outcome(running);
  again.push((await forward()) === want, (await compiled()) === wantCompiled);

  const z = await model.forward(tensor(values, [SIZE, SIZE])).realize();
  const reading = z.data();
  lose();
  const inReadback = await outcome(reading);
  again.push((await forward()) === want);

  let started = false;
  const loading = Tiny.from_pretrained(FILES, {
    progress_callback: ({ status }) => {
      if (status === 'initiate' && !started) {
        started = true;
        lose();
      }
    },
  });
  const inLoad = await outcome(loading);
  const other = await Tiny.from_pretrained(FILES);
  again.push(
    (await forward()) === want,
    [...(await other.forward(tensor(values, [SIZE, SIZE])).data())].join() === want,
  );

  const kept = await tensor([1, 2]).add(1).realize();
  await lose();
  const named = await outcome(kept.add(1).data());
  again.push((await forward()) === want, (await compiled()) === wantCompiled);

  const own = await Device.request(choice);
  const there = await Tiny.from_pretrained(FILES, { device: own });
  own.dispose();
  await own.gpu.lost;
  const disposed = await outcome(there.forward(tensor(values, [SIZE, SIZE])).data());

  const { adapter } = await requestAdapter(choice);
  const gpu = await adapter.requestDevice();
  const page = await Tiny.from_pretrained(FILES, { device: Device.from(gpu) });
  gpu.destroy();
  await gpu.lost;
  const given = await outcome(page.forward(tensor(values, [SIZE, SIZE])).data());
  return { forward: inForward, readback: inReadback, load: inLoad, named, disposed, given, again };
}
