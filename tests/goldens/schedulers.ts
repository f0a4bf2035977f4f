// Schedulers of diffusers, run with models that are formulas of the sample x and the timestep t.
import { cos, run, sin, stack, type Tensor, tensor } from '../../src/index.ts';
import { alphasCumprod } from '../../src/tasks/schedulers/alphas.ts';
import { schedulerOf } from '../../src/tasks/schedulers/index.ts';
import { type Family, family, method } from './family.ts';

type Value = Tensor | number;
type Args = Record<string, unknown>;

const PATTERN = /\s*(\d+(?:\.\d+)?(?:e[+-]?\d+)?|[a-z]+|[-+*/()])/y;

/** The value of a formula with + - * /, sin and cos: numbers in float64 until a tensor is among them. */
function evaluate(text: string, names: Record<string, Value>): Value {
  const tokens: string[] = [];
  PATTERN.lastIndex = 0;
  for (let found = PATTERN.exec(text); found; found = PATTERN.exec(text)) tokens.push(found[1]!);
  let at = 0;
  const apply = (op: string, a: Value, b: Value): Value => {
    if (typeof a === 'number' && typeof b === 'number') {
      return op === '+' ? a + b : op === '-' ? a - b : op === '*' ? a * b : a / b;
    }
    const x = typeof a === 'number' ? tensor(a) : a;
    return op === '+' ? x.add(b) : op === '-' ? x.sub(b) : op === '*' ? x.mul(b) : x.div(b);
  };
  const chain = (ops: string[], part: () => Value): Value => {
    let value = part();
    while (ops.includes(tokens[at]!)) {
      const op = tokens[at++]!;
      value = apply(op, value, part());
    }
    return value;
  };
  const sum = (): Value => chain(['+', '-'], () => chain(['*', '/'], factor));
  const inside = (): Value => {
    if (tokens[at++] !== '(') throw new Error(`a formula that is not known: ${text}`);
    const value = sum();
    if (tokens[at++] !== ')') throw new Error(`a formula that is not known: ${text}`);
    return value;
  };
  const factor = (): Value => {
    const token = tokens[at++] ?? '';
    if (token === '-') return apply('*', factor(), -1);
    if (token === '(') {
      at--;
      return inside();
    }
    if (token === 'sin' || token === 'cos') {
      const v = inside();
      if (typeof v === 'number') return Math[token](v);
      return token === 'sin' ? sin(v) : cos(v);
    }
    if (token in names) return names[token]!;
    if (/^\d/.test(token)) return Number(token);
    throw new Error(`a formula that is not known: ${text}`);
  };
  const value = sum();
  if (at !== tokens.length) throw new Error(`a formula that is not known: ${text}`);
  return value;
}

const isObject = (value: unknown) => typeof value === 'object' && value !== null;
const isText = (value: unknown) => typeof value === 'string';
const isNumber = (value: unknown) => typeof value === 'number';
const schedulerIn = ({ scheduler, config }: Args) => schedulerOf({ ...(config as object), _class_name: scheduler });

const numbers = (values: readonly number[]) => tensor(Float32Array.from(values), [values.length]);

type Noising = Record<'sample' | 'noise' | 'timesteps', Tensor>;
const noising = (name: 'add_noise' | 'get_velocity', output: string) =>
  method({
    inputs: ['sample', 'noise', 'timesteps'],
    args: { scheduler: isText, config: isObject, num_inference_steps: isNumber },
    async run(_: object, { sample, noise, timesteps }: Noising, args) {
      const scheduler = schedulerIn(args);
      if (args.num_inference_steps !== undefined) scheduler.set_timesteps(args.num_inference_steps as number);
      return { [output]: scheduler[name](sample, noise, [...(await timesteps.data())]) };
    },
  });

export const schedulers: Record<string, Family> = {
  'diffusers.schedulers': family(async () => ({}), {
    'set_timesteps, scale_model_input, step': method({
      inputs: ['sample', 'noise?'],
      args: { scheduler: isText, config: isObject, num_inference_steps: isNumber, model: isText, eta: isNumber },
      async run(_: object, inputs: { sample: Tensor; noise?: Tensor }, args) {
        const scheduler = schedulerIn(args);
        scheduler.set_timesteps(args.num_inference_steps as number);
        const steps: Record<'samples' | 'pred_original_samples', Tensor[]> = { samples: [], pred_original_samples: [] };
        let sample = inputs.sample.mul(scheduler.init_noise_sigma);
        let denoised: Tensor | undefined;
        for (const [i, t] of scheduler.timesteps.entries()) {
          const x = scheduler.scale_model_input(sample, t);
          const output = evaluate(args.model as string, { x, t }) as Tensor;
          const noise = scheduler.takes_noise(i, args) ? inputs.noise?.select(0, i) : undefined;
          const step = scheduler.step(output, t, sample, { eta: args.eta as number | undefined, noise });
          await run([...Object.values(step), ...scheduler.history.filter((h) => h !== undefined)]);
          sample = step.prev_sample;
          steps.samples.push(sample);
          steps.pred_original_samples.push(step.pred_original_sample);
          denoised = step.denoised;
        }
        return {
          timesteps: numbers(scheduler.timesteps),
          sigmas: numbers(scheduler.sigmas),
          init_noise_sigma: tensor(scheduler.init_noise_sigma),
          samples: stack(steps.samples),
          pred_original_samples: stack(steps.pred_original_samples),
          denoised_last: denoised,
        };
      },
    }),
    add_noise: noising('add_noise', 'noisy'),
    get_velocity: noising('get_velocity', 'velocity'),
    alphas_cumprod: method({
      inputs: ['indices'],
      args: { config: isObject, scheduler: (value) => value === null },
      async run(_: object, { indices }: { indices: Tensor }, { config }) {
        const table = alphasCumprod({
          trained_betas: null,
          rescale_betas_zero_snr: false,
          ...(config as object),
        } as never);
        return { values: numbers([...(await indices.data())].map((i) => table[i]!)) };
      },
    }),
  }),
};
