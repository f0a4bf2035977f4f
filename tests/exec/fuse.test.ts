import { describe, expect, it } from 'vitest';
import type { TraceEvent } from '../../src/exec/trace.ts';
import { arange, defaultDevice, formatTrace, run, setTrace, type Tensor, tensor } from '../../src/index.ts';
import { randomNd, upload } from '../ops/harness.ts';

type Build = (x: Tensor, y: Tensor, cut: (t: Tensor) => Promise<Tensor>) => Promise<Tensor>;

/** The values of a computation as one graph, and with every intermediate result forced to memory. */
async function both(build: Build, shape = [6, 12]) {
  const inputs = () => [upload(randomNd(shape, 1)), upload(randomNd(shape, 2))] as const;
  const fused = await build(...inputs(), async (t) => t);
  const apart = await build(...inputs(), (t) => t.realize());
  return [await fused.data(), await apart.data()];
}

const BUILDS: Record<string, Build> = {
  'a chain': async (x, y, cut) => {
    const a = await cut(x.add(y));
    const b = await cut(a.tanh());
    return b.mul(await cut(a.maximum(0.5)));
  },
  'a chain with comparisons and integers': async (x, y, cut) => {
    const hit = await cut(x.gt(y));
    const n = await cut(hit.to('i32').add(3).mul(x.floor().to('i32')));
    return hit.where(n.to('f32'), y);
  },
  'broadcast operands': async (x, y, cut) => {
    const row = await cut(x.slice(0, 1, 2).mul(3));
    const column = await cut(y.slice(1, 2, 3).exp());
    return row.div(column).sub(x);
  },
  'views between': async (x, y, cut) => {
    const a = await cut(x.add(y));
    const b = await cut(a.reshape([12, 6]).mul(2));
    return b.add(await cut(a.neg()).then((t) => t.transpose(0, 1)));
  },
  'generated indices': async (x, y, cut) => {
    const seen = await cut(arange(12).le(arange(6).unsqueeze(-1)));
    return seen.where(x, y).add(arange(12, 'f32'));
  },
  'an epilogue of a product': async (x, y, cut) => {
    const products = await cut(x.matmul(y.transpose(0, 1)));
    const shifted = await cut(products.add(x.slice(1, 0, 6)));
    return shifted.relu().mul(0.5);
  },
  'an epilogue of a norm, with the sum used twice': async (x, y, cut) => {
    const h = await cut(x.add(y));
    const normed = await cut(h.layer_norm());
    return (await cut(normed.mul(y.slice(0, 0, 1)))).add(h);
  },
  'a prologue of a sum': async (x, y, cut) => {
    const products = await cut(x.mul(y));
    return (await cut(products.sub(y.slice(0, 0, 1)))).sum(-1);
  },
  'prologues of rows that begin anywhere': async (x, y, cut) => {
    const products = await cut(x.slice(1, 0, 11).mul(y.slice(1, 1)));
    const column = await cut(x.slice(1, 3, 4).mul(y.slice(1, 0, 11)));
    return (await cut(products.sum(-1))).add(await cut(column.max(-1)));
  },
  'a prologue that turns rows to columns': async (x, y, cut) => (await cut(x.mul(y))).square().sum(0),
  'a prologue behind a product': async (x, y, cut) =>
    (await cut((await cut(x.matmul(y.transpose(0, 1)))).mul(2))).sum(-1),
  'a prologue in f16': async (x, y, cut) =>
    (await cut((await cut(x.to('f16').mul(y.to('f16')))).square())).to('f32').sum(-1),
  'a prologue with numbers': async (x, _, cut) => (await cut(x.mul(3).add(arange(12, 'f32')))).min(),
  'more operands than a kernel can bind': async (x, y, cut) => {
    let sum = x;
    for (let k = 0; k < 12; k++) sum = await cut(sum.add(await y.mul(k).realize()));
    return sum;
  },
  'a value that many read': async (x, y, cut) => {
    const a = await cut(x.exp());
    const parts = [a.add(1), a.neg(), a.sum(-1, true), a.matmul(y.transpose(0, 1)).sum(-1, true)];
    return parts.reduce((p, q) => p.mul(q));
  },
  'numbers of one element': async (x, y, cut) => {
    const scale = await cut(x.sum().mul(0.01));
    return (await cut(y.mean())).add(scale).expand([3]);
  },
};

describe('fusion changes no value', () => {
  for (const [name, build] of Object.entries(BUILDS)) {
    it(name, async () => {
      const { capabilities } = await defaultDevice();
      const [fused, apart] = await both(build);
      if (capabilities.software) expect(fused).toEqual(apart);
      else for (const [i, v] of fused!.entries()) expect(v).toBeCloseTo(apart![i]!, 4); // GPUs may fuse a product and a sum
    });
  }
});

describe('fusion saves kernels', () => {
  const dispatches = async (outputs: Tensor[]) => {
    const { counters } = await defaultDevice();
    const before = counters.dispatches;
    await run(outputs);
    return counters.dispatches - before;
  };
  const x = () => upload(randomNd([6, 12], 1));

  it('a chain is one', async () => {
    expect(await dispatches([x().mul(2).add(1).tanh().gt(0).to('f32').sub(0.5)])).toBe(1);
  });
  it('a chain that is read twice by one chain is one', async () => {
    const a = x().exp();
    expect(await dispatches([a.add(a.neg())])).toBe(1);
  });
  it('a chain behind a product is part of it', async () => {
    const a = x();
    expect(await dispatches([a.matmul(a.transpose(0, 1)).add(1).gelu().reshape([36]).mul(2)])).toBe(1);
  });
  it('but not if the product is wanted too', async () => {
    const a = x();
    const product = a.matmul(a.transpose(0, 1));
    expect(await dispatches([product, product.add(1)])).toBe(2);
  });
  it('a chain before a reduction is part of it', async () => {
    expect(await dispatches([x().mul(2).exp().sum(-1)])).toBe(1);
    expect(await dispatches([x().sum(0)])).toBe(1); // columns become rows as they are read
  });
  it('but not if others read it, or the reduction reads it twice', async () => {
    const a = x().exp();
    expect(await dispatches([a.sum(-1), a.neg()])).toBe(3);
    expect(
      await dispatches([
        upload(randomNd([2, 5000], 1))
          .exp()
          .max(-1),
      ]),
    ).toBe(3);
  });
  it('an intermediate that is wanted is stored', async () => {
    const a = x().add(1);
    const b = a.mul(2);
    expect(await dispatches([a, b])).toBe(2);
    expect(b.op).toBeNull();
  });
});

describe('trace', () => {
  it('names what was fused', async () => {
    const events: TraceEvent[] = [];
    setTrace((event) => events.push(event));
    try {
      const a = tensor([
        [1, 2],
        [3, 4],
      ]);
      const y = a.matmul(a).add(1).relu();
      await y.data();
    } finally {
      setTrace(undefined);
    }
    expect(events.map((e) => (e.type === 'plan' ? `${e.nodes} nodes` : e.label))).toEqual([
      '3 nodes',
      'matmul+add+relu f32 [2, 2]',
    ]);
    expect(formatTrace(events[0]!)).toMatch(/^plan: 3 nodes, new/);
    expect(formatTrace(events[1]!)).toMatch(
      /^ *\d+ us +[\d.]+ GB\/s [\d.]+ GFLOP\/s {2}1x1x1 +matmul\+add\+relu f32 \[2, 2\]$/,
    );
  });
});

it('a value of f16 is rounded inside a chain as if it had been stored', async () => {
  const x = tensor(Float32Array.of(1.0001, 3.0003, -0.1, 70000));
  const half = x.to('f16');
  const fused = await half.mul(3).to('f32').add(0).data();
  const stored = await half.mul(3).realize();
  expect(await stored.to('f32').add(0).data()).toEqual(fused);
  expect(fused.slice(0, 2)).toEqual(Float32Array.of(3, 9));
});
