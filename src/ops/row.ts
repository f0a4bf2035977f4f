// Ops that work along the last dimension, a row in each thread.
import type { Dispatch, kernel } from '../exec/kernel.ts';
import type { Capabilities } from '../gpu/device.ts';
import type { Specialisation } from '../gpu/shader.ts';
import { checkTensors } from '../tensor/check.ts';
import { isFloat } from '../tensor/dtype.ts';
import { axis } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Threads of a workgroup: few on software adapters, so that a hundred rows fill more than one core. */
export const rowThreads = ({ software }: Capabilities): number => (software ? 16 : 64);

/** Whether a row is read many quads to a pass: faster on SwiftShader alone, and so much longer to compile that little work is too short for it. */
export const longPasses = ({ size }: Tensor, { software, subgroupSize }: Capabilities): string =>
  String(software && subgroupSize === 4 && size >= 2 ** 17);

const LANES = { LANES: 8, past: 'past_of_lanes', segment: 'segment_of_lanes' };

/**
 * One dispatch of a kernel with Params { rows, cols, ... } over the rows of x. One that has `shared` forms gives eight lanes
 * a row on GPUs, whose loads want neighbours; they are what changes beside LANES.
 */
export function overRows(
  run: ReturnType<typeof kernel>,
  [x, y]: readonly [Tensor, Tensor],
  capabilities: Capabilities,
  {
    params = {},
    changes = {},
    shared,
  }: Partial<Record<'changes' | 'shared', Specialisation>> & {
    params?: Record<string, number>;
  } = {},
): Dispatch {
  const cols = x.shape.at(-1)!;
  const rows = x.size / cols;
  const WG = rowThreads(capabilities);
  const lanes: Partial<typeof LANES> = shared && !capabilities.software ? { ...LANES, ...shared } : {};
  const threads = rows * (lanes.LANES ?? 1);
  const aligned = cols % 4 !== 0 ? [] : y.shape.at(-1) === cols ? ['x', 'y'] : ['x'];
  return run(
    { x, y },
    {
      params: { rows, cols, ...params },
      groups: Math.ceil(threads / WG),
      aligned,
      changes: { ...changes, ...lanes, WG },
    },
  );
}

export function checkFloat(name: string, x: Tensor): void {
  checkTensors(name, { x });
  if (!isFloat(x.dtype)) throw new TypeError(`[${name}] x: got ${x.dtype}, want f32 or f16; call .to('f32')`);
}

/** Applies a function of contiguous rows along `dim`. */
export function alongRows(name: string, x: Tensor, dim: number, f: (rows: Tensor) => Tensor): Tensor {
  checkFloat(name, x);
  const d = axis(name, dim, x.rank);
  const last = x.rank - 1;
  return d === last ? f(x.contiguous()) : f(x.transpose(d, last).contiguous()).transpose(d, last);
}
