import { it } from 'vitest';
import { CLIPModel, compile, Device, defaultDevice, full, grad, run, scalar, setDevice, tensor, trim, zeros, type Tensor } from '../src/index.ts';
const A = { adapter: process.env.TESSERA_ADAPTER ?? 'software' };
const show = async (name: string, f: () => Promise<unknown> | unknown) => {
  try { console.log('ZZ', name, '=>', JSON.stringify(await f(), (_, v) => ArrayBuffer.isView(v) ? [...(v as never as number[])] : v)); }
  catch (e) { console.log('ZZ', name, '=> THROWS', (e as Error).message.slice(0, 300)); }
};
const tick = async (n: number) => { for (let k = 0; k < n; k++) await Promise.resolve(); };
it('all', async () => {
  for (const n of [4, 8, 12, 16, 20, 30]) await show('trim race cached ' + n, async () => {
    const d = await setDevice(A);
    const f = () => tensor([1, 2, 3]).mul(1.25).softmax().add(7).exp();
    const want = [...await f().data()];
    const p = f().data(); await tick(n); const t = trim(d);
    const r = await Promise.allSettled([p, t, f().data()]);
    return r.map((x) => x.status === 'fulfilled' ? (x.value ? [...x.value as never as number[]].join() === want.join() : 'ok') : String(x.reason.message).slice(0, 150));
  });
  for (const n of [10, 20, 40]) await show('trim race new plan ' + n, async () => {
    const d = await setDevice(A);
    const f = () => tensor([1, 2, 3]).mul(1.25).softmax().add(n).exp();
    const p = f().data(); await tick(n); const t = trim(d);
    const r = await Promise.allSettled([p, t]);
    return r.map((x) => x.status === 'fulfilled' ? 'ok' : String(x.reason.message).slice(0, 150));
  });
  await show('dispose race silent', async () => {
    await setDevice(A);
    const mk = (s: number) => tensor(Float32Array.from({ length: 64 }, (_, i) => (i * s) % 7), [8, 8]);
    const want = await (await mk(3)).softmax().matmul(mk(5)).data();
    await setDevice(A);
    const w = await mk(3).realize(); const x = await mk(5).realize();
    const y = w.softmax().matmul(x);
    const p = y.data(); await tick(12); x.dispose();
    const got = await p;
    return [[...want].slice(0, 4), [...got].slice(0, 4)];
  });
  await show('tensor() cost', async () => {
    const a = new Float32Array(1 << 21).fill(1); const t0 = performance.now(); tensor(a); const t1 = performance.now(); a.slice(); return [t1 - t0, performance.now() - t1];
  });
  await show('dtype fp16', async () => CLIPModel.from_pretrained('weights/none', { dtype: 'fp16' as never }));
  await show('hub id', async () => CLIPModel.from_pretrained('openai/clip-vit-base-patch32'));
  await show('realize disposed', async () => { const x = await tensor([1]).add(1).realize(); x.dispose(); await x.realize(); return 'resolved'; });
  await show('dispose pending', async () => { const y = tensor([1]).add(1); y.dispose(); return y.data(); });
  await show('state and value the same', async () => {
    const step = compile((s: Tensor, v: Tensor) => s.overwrite(v, 0, 0));
    const s = await tensor([1, 2]).realize(), v = await tensor([3, 4]).realize();
    await step(s, v);
    const r = await step(v, v); return r.data();
  });
  await show('embedding grad bytes', async () => { const w = tensor(new Float32Array(3000 * 64), [3000, 64]); const ids = tensor(new Int32Array(77)); const d = await defaultDevice(); const b = d.pool.stats.liveBytes; const [g] = grad(ids.embedding(w).sum(), [w]); await g!.realize(); return (d.pool.stats.liveBytes - b) / 2 ** 20; });
  await show('slice fractional', async () => tensor([1, 2, 3, 4]).slice(0, 0.5, 2.5).data());
  await show('where method', async () => tensor([1, 2]).where(tensor([true, false]), tensor([9, 9])).data());
});
