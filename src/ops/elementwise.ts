// Elementwise ops: each is one function of shaders/elementwise.wgsl. Operands broadcast; numbers are operands whose value
// is a kernel parameter. Chains of them become one kernel (exec/fuse.ts).
import { checkDType, checkTensors } from '../tensor/check.ts';
import { DTYPES, type DType, holds, isFloat, isQuantised, plain, promote, QUANTISED } from '../tensor/dtype.ts';
import type { Backward, Op } from '../tensor/op.ts';
import { broadcastShapes } from '../tensor/shape.ts';
import { Tensor } from '../tensor/tensor.ts';
import { contiguous } from './contiguous.ts';
import { full, scalar } from './create.ts';
import { map } from './elementwise-family.ts';
import { quantise } from './quantise.ts';
import { expand } from './view.ts';

export type Operand = Tensor | number | boolean;

const toF32 = map('to', 'to_f32', [], [(dy, { attrs }) => to(dy, attrs.from)]);
const toI32 = map('to', 'to_i32', [], null);
const toU32 = map('to', 'to_u32', [], null);
const toBool = map('to', 'to_bool', [], null);
const CASTS = { f32: toF32, f16: toF32, i32: toI32, u32: toU32, bool: toBool };

/**
 * The same values in another type, itself if it is its own; floats are cut towards zero, as in PyTorch, and rounded to q8
 * and q4 as shaders/quantise.wgsl says.
 */
export function to(x: Tensor, dtype: DType): Tensor {
  checkTensors('to', { x });
  checkDType('to', dtype, [...DTYPES, ...QUANTISED]);
  if (isQuantised(dtype) && x.dtype !== dtype) return quantise(contiguous(to(x, 'f32')), dtype);
  return x.dtype === dtype ? x : CASTS[plain(dtype)]([x], { dtype, from: x.dtype });
}

/** In a register f32, f16 and bool are all floats. */
const register = (dtype: DType) => (dtype === 'i32' || dtype === 'u32' ? dtype : 'f32');

/**
 * How operands come to one type: `float`: integers become f32; `number`: booleans become i32, so that true + true is 2
 * (in PyTorch it is true); `any`: booleans stay.
 */
type Kind = 'float' | 'number' | 'any';

/** Operands, by name, in one type and shape; a number takes the type of the tensors, f32 where it would not fit. */
function align(name: string, given: Record<string, Operand>, kind: Kind): { x: Tensor[]; dtype: DType } {
  const operands = Object.values(given).map((o) => (typeof o === 'boolean' ? scalar(Number(o), 'bool') : o));
  const numbers = operands.filter((o) => typeof o === 'number');
  const tensors = operands.filter((o) => typeof o !== 'number');
  for (const [what, o] of Object.entries(given)) {
    if (typeof o !== 'number' && typeof o !== 'boolean') checkTensors(name, { [what]: o }, {}, ' or a number');
  }
  let dtype = tensors.map((t) => t.dtype).reduce(promote, 'bool' as DType);
  if (dtype === 'bool' && (kind === 'number' || numbers.length > 0)) dtype = 'i32';
  const exact = isFloat(dtype) || dtype === 'bool' || numbers.every((v) => Number.isInteger(v) && holds(dtype, v));
  if (tensors.length === 0 || !exact || (kind === 'float' && !isFloat(dtype))) dtype = 'f32';
  const x = operands.map((o) => {
    if (!(o instanceof Tensor)) return scalar(o, dtype === 'f16' ? 'f32' : dtype);
    return register(o.dtype) === register(dtype) ? o : to(o, dtype);
  });
  const shape = x.map((t) => t.shape).reduce((a, b) => broadcastShapes(name, a, b));
  return { x: x.map((t) => expand(t, shape)), dtype };
}

type Rule = { saves?: Op['saves']; backward: readonly (Backward | null)[] | null };

function unary(name: string, fn: string, { saves, backward }: Rule, float = true) {
  const node = map(name, fn, saves, backward);
  return (x: Tensor): Tensor => {
    const { x: inputs, dtype } = align(name, { x }, float ? 'float' : 'number');
    if (dtype === 'u32') throw new TypeError(`[${name}] x: got u32, want i32 or a float; call .to('i32')`);
    return node(inputs, { dtype });
  };
}

function binary(name: string, fn: string, { saves, backward }: Rule, float = false) {
  const node = map(name, fn, saves, backward);
  return (a: Operand, other: Operand): Tensor => {
    const { x, dtype } = align(name, { x: a, other }, float ? 'float' : 'number');
    return node(x, { dtype });
  };
}

function comparison(name: string) {
  const node = map(name, name, [], null, 'bool');
  return (x: Operand, other: Operand): Tensor => node(align(name, { x, other }, 'any').x);
}

export const add = binary('add', 'add', { backward: [(dy) => dy, (dy) => dy] });
export const sub = binary('sub', 'sub', { backward: [(dy) => dy, (dy) => neg(dy)] });
export const mul = binary('mul', 'mul', {
  saves: [0, 1],
  backward: [(dy, { x }) => mul(dy, x[1]!), (dy, { x }) => mul(dy, x[0]!)],
});
export const div = binary(
  'div',
  'div',
  { saves: [1, 'y'], backward: [(dy, { x }) => div(dy, x[1]!), (dy, { x, y }) => neg(div(mul(dy, y), x[1]!))] },
  true,
);
/** NaN where either is; where both are equal each gets half of the gradient. */
export const maximum = binary('maximum', 'maximum', {
  saves: [0, 1],
  backward: [(dy, { x }) => share(dy, gt(x[0]!, x[1]!), x), (dy, { x }) => share(dy, lt(x[0]!, x[1]!), x)],
});
export const minimum = binary('minimum', 'minimum', {
  saves: [0, 1],
  backward: [(dy, { x }) => share(dy, lt(x[0]!, x[1]!), x), (dy, { x }) => share(dy, gt(x[0]!, x[1]!), x)],
});
const share = (dy: Tensor, wins: Tensor, x: Tensor[]) => mul(dy, where(wins, 1, where(eq(x[0]!, x[1]!), 0.5, 0)));

export const eq = comparison('eq');
export const ne = comparison('ne');
export const lt = comparison('lt');
export const le = comparison('le');
export const gt = comparison('gt');
export const ge = comparison('ge');

const select = map(
  'where',
  'where_',
  [0],
  [null, (dy, { x }) => where(x[0]!, dy, 0), (dy, { x }) => where(x[0]!, 0, dy)],
);
/** a where the condition holds, b elsewhere. */
export function where(condition: Tensor, a: Operand, b: Operand): Tensor {
  checkTensors('where', { condition });
  const { x, dtype } = align('where', { a, b }, 'any');
  const shape = broadcastShapes('where', condition.shape, x[0]!.shape);
  return select(
    [to(condition, 'bool'), ...x].map((t) => expand(t, shape)),
    { dtype },
  );
}
/** x with `value` where the mask holds. */
export const masked_fill = (x: Tensor, mask: Tensor, value: number): Tensor => where(mask, value, x);

export const neg = unary('neg', 'neg', { backward: [(dy) => neg(dy)] }, false);
export const abs = unary('abs', 'abs_', { saves: [0], backward: [(dy, { x }) => mul(dy, sign(x[0]!))] }, false);
export const sign = unary('sign', 'sign_', { backward: [(dy) => mul(dy, 0)] });
export const floor = unary('floor', 'floor_', { backward: [(dy) => mul(dy, 0)] });
export const square = unary('square', 'square', { saves: [0], backward: [(dy, { x }) => mul(dy, mul(x[0]!, 2))] });
export const reciprocal = unary('reciprocal', 'reciprocal', {
  saves: ['y'],
  backward: [(dy, { y }) => neg(mul(dy, square(y)))],
});
export const sqrt = unary('sqrt', 'sqrt_', { saves: ['y'], backward: [(dy, { y }) => div(dy, mul(y, 2))] });
export const rsqrt = unary('rsqrt', 'rsqrt', {
  saves: ['y'],
  backward: [(dy, { y }) => mul(dy, mul(mul(square(y), y), -0.5))],
});

export const exp = unary('exp', 'exp_', { saves: ['y'], backward: [(dy, { y }) => mul(dy, y)] });
export const log = unary('log', 'log_', { saves: [0], backward: [(dy, { x }) => div(dy, x[0]!)] });
const power = binary(
  'pow',
  'pow_',
  {
    saves: [0, 1, 'y'],
    backward: [
      // n x^(n - 1), 0 where n is; y log x, 0 where x is and n is not below
      (dy, { x }) => where(eq(x[1]!, 0), 0, mul(dy, mul(x[1]!, pow(x[0]!, sub(x[1]!, 1))))),
      (dy, { x, y }) => mul(dy, where(mul(eq(x[0]!, 0), ge(x[1]!, 0)), 0, mul(y, log(x[0]!)))),
    ],
  },
  true,
);
/** x to a power, as torch.pow of floats: NaN for x < 0 unless the exponent is whole, 1 for exponent 0. Integers become f32. */
export const pow = (x: Operand, exponent: Operand): Tensor =>
  exponent === 2 && x instanceof Tensor ? square(x) : power(x, exponent);

export const sin = unary('sin', 'sin_', { saves: [0], backward: [(dy, { x }) => mul(dy, cos(x[0]!))] });
export const cos = unary('cos', 'cos_', { saves: [0], backward: [(dy, { x }) => neg(mul(dy, sin(x[0]!)))] });
export const tanh = unary('tanh', 'tanh_', {
  saves: ['y'],
  backward: [(dy, { y }) => mul(dy, sub(1, square(y)))],
});
/** d erf = 2 / sqrt(pi) exp(-x^2). */
export const erf = unary('erf', 'erf_', {
  saves: [0],
  backward: [(dy, { x }) => mul(dy, mul(exp(neg(square(x[0]!))), 2 / Math.sqrt(Math.PI)))],
});
export const sigmoid = unary('sigmoid', 'sigmoid_', {
  saves: ['y'],
  backward: [(dy, { y }) => mul(dy, mul(y, sub(1, y)))],
});

export const relu = unary('relu', 'relu', { saves: ['y'], backward: [(dy, { y }) => where(gt(y, 0), dy, 0)] });
/** d (x s) = s + x s (1 - s), where s = sigmoid(k x) and the second term has a factor k. */
const gated = (x: Tensor, k: number) => {
  const s = sigmoid(mul(x, k));
  return add(s, mul(mul(x, k), mul(s, sub(1, s))));
};
/** x sigmoid(x). */
export const silu = unary('silu', 'silu', { saves: [0], backward: [(dy, { x }) => mul(dy, gated(x[0]!, 1))] });
/** x sigmoid(1.702 x), as OpenAI's CLIP has it. */
export const quick_gelu = unary('quick_gelu', 'quick_gelu', {
  saves: [0],
  backward: [(dy, { x }) => mul(dy, gated(x[0]!, 1.702))],
});
/** x Phi(x), with erf. Its derivative is Phi(x) + x phi(x). */
const gelu_erf = unary('gelu', 'gelu', {
  saves: [0],
  backward: [
    (dy, { x }) => {
      const cdf = mul(add(erf(mul(x[0]!, Math.SQRT1_2)), 1), 0.5);
      const pdf = mul(exp(mul(square(x[0]!), -0.5)), 1 / Math.sqrt(2 * Math.PI));
      return mul(dy, add(cdf, mul(x[0]!, pdf)));
    },
  ],
});
/** x (1 + tanh(u)) / 2, u = sqrt(2 / pi) (x + 0.044715 x^3). */
const gelu_tanh = unary('gelu_tanh', 'gelu_tanh', {
  saves: [0],
  backward: [
    (dy, { x }) => {
      const c = Math.sqrt(2 / Math.PI);
      const squared = square(x[0]!);
      const t = tanh(mul(mul(x[0]!, c), add(mul(squared, 0.044715), 1)));
      const du = mul(add(mul(squared, 3 * 0.044715), 1), c);
      return mul(dy, mul(add(add(t, 1), mul(mul(x[0]!, sub(1, square(t))), du)), 0.5));
    },
  ],
});
/** Gaussian error linear unit, exact or with the tanh approximation (`torch.nn.functional.gelu`). */
export const gelu = (x: Tensor, approximate: 'none' | 'tanh' = 'none'): Tensor =>
  approximate === 'tanh' ? gelu_tanh(x) : gelu_erf(x);

const filledLike =
  (name: string, value: number) =>
  (x: Tensor): Tensor => {
    checkTensors(name, { x });
    return full(x.shape, value, x.dtype);
  };
export const zeros_like = filledLike('zeros_like', 0);
export const ones_like = filledLike('ones_like', 1);
