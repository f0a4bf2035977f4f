// Reverse-mode gradients as more graph: nodes are added for what is wanted and nothing else.
import { checkTensorList, checkTensors } from './check.ts';
import { isFloat, isQuantised } from './dtype.ts';
import type { Saved } from './op.ts';
import { show } from './shape.ts';
import type { Tensor } from './tensor.ts';

/** The nodes between `wanted` and the loss, parents first, and a test for lying there. */
function between(loss: Tensor, wanted: ReadonlySet<Tensor>) {
  const leads = new Map<Tensor, boolean>();
  const order: Tensor[] = [];
  const stack = [loss];
  while (stack.length > 0) {
    const t = stack.at(-1)!;
    const open = leads.has(t) ? [] : t.inputs.filter((x) => !leads.has(x));
    if (open.length > 0) {
      stack.push(...open);
      continue;
    }
    stack.pop();
    if (leads.has(t)) continue;
    const inside = isFloat(t.dtype) && t.inputs.some((x) => leads.get(x)); // comparisons and indices have no slope
    leads.set(t, inside || wanted.has(t));
    if (inside) order.push(t);
  }
  const lost =
    [...wanted].some((x) => !leads.has(x)) && [...leads.keys()].find((t) => t.base.computed && !wanted.has(t));
  if (lost)
    throw new Error(`[grad] ${lost} was computed and has forgotten its parents: call grad before data() or realize()`);
  return { order, leads: (x: Tensor) => leads.get(x) === true };
}

/** What the op's `saves` names; reading anything else is a mistake in the op and throws. */
function saved(t: Tensor): Saved {
  const { name, saves = [] } = t.op!;
  const refuse = (what: string) => {
    throw new Error(`[${name}] backward reads ${what}, which is not in its saves: [${saves.join(', ')}]`);
  };
  let shared: unknown;
  return {
    attrs: t.attrs,
    once: <T>(make: () => T) => (shared ??= make()) as T,
    x: new Proxy(t.inputs as Tensor[], {
      get: (x, key) => (saves.includes(Number(String(key))) ? x[Number(String(key))] : refuse(`x[${String(key)}]`)),
    }),
    get y() {
      return saves.includes('y') ? t : (refuse('y') as never);
    },
  };
}

/**
 * d loss / d x for each wanted x, of its shape; zeros where loss does not depend on it. `loss` has one element. What
 * was computed before (`data()`, `realize()`) has forgotten its parents: ask for gradients first. Throws where that hides one.
 */
export function grad(loss: Tensor, wanted: readonly Tensor[]): Tensor[] {
  checkTensors('grad', { loss });
  checkTensorList('grad', 'wanted', wanted);
  if (loss.size !== 1) throw new RangeError(`[grad] loss: got shape ${show(loss.shape)}, want one element`);
  const frozen = wanted.find((x) => isQuantised(x.dtype));
  if (frozen) throw new TypeError(`[grad] ${frozen} is quantised and frozen: load it as f32, or train an adapter`);
  const gradients = new Map<Tensor, Tensor>([[loss, loss.ones_like()]]);
  const { order, leads } = between(loss, new Set(wanted));
  for (const t of order.reverse()) {
    const dy = gradients.get(t);
    if (!dy) continue;
    const { name, backward } = t.op!;
    const context = saved(t);
    t.inputs.forEach((x, i) => {
      if (!leads(x)) return;
      const rule = backward?.[i];
      if (!rule) throw new Error(`[${name}] is not differentiable in input ${i}`);
      const dx = rule(dy, context).to(x.dtype);
      if (show(dx.shape) !== show(x.shape)) {
        throw new Error(`[${name}] backward of input ${i}: got ${show(dx.shape)}, want ${show(x.shape)}`);
      }
      const sum = gradients.get(x);
      gradients.set(x, sum ? sum.add(dx) : dx);
    });
  }
  return wanted.map((x) => gradients.get(x) ?? x.zeros_like());
}
