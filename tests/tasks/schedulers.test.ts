// Settings that the golden case has not, against values of diffusers in float64 (fixtures/schedulers.json); loops as one
// plan; what is wrong with a config or an argument, in words.
import { describe, expect, test } from 'vitest';
import { compile, cos, run, sin, type Tensor, tensor } from '../../src/index.ts';
import { memoryFolder } from '../../src/io/source.ts';
import {
  DDIMScheduler,
  EulerDiscreteScheduler,
  PNDMScheduler,
  readSchedulerConfig,
  SCHEDULERS,
  type Scheduler,
  schedulerNamed,
  schedulerOf,
} from '../../src/tasks/schedulers/index.ts';
import fixture from './fixtures/schedulers.json' with { type: 'json' };

const SHAPE = [2, 1, 2, 2];
type Case = (typeof fixture.cases)[number] & { step: object; set: { timesteps?: number[] } };
const cases = fixture.cases as unknown as Case[];

/** What the fixtures were made with. */
const model = (x: Tensor, t: number) =>
  sin(x.mul(1.3).add(t / 300))
    .mul(0.7)
    .add(0.1 * Math.cos(t / 50));
const noiseOf = (draw: number) =>
  tensor(Array.from({ length: 8 }, (_, k) => 1.2 * Math.sin(7 * draw + 3 * k + 1))).reshape(SHAPE);

/** Within a share of the largest. */
function expectNear(got: readonly number[], want: readonly number[], share: number): void {
  const limit = share * Math.max(...want.map(Math.abs));
  const off = want.flatMap((w, i) => (Math.abs(got[i]! - w) <= limit ? [] : [`${i}: got ${got[i]}, want ${w}`]));
  expect([got.length, off]).toEqual([want.length, []]);
}

function begun({ scheduler: _class_name, config, steps, set, begin }: Case): Scheduler {
  const scheduler = schedulerOf({ ...config, _class_name });
  scheduler.set_timesteps(set.timesteps ? undefined : steps, set);
  if (begin > 0) scheduler.set_begin_index(begin);
  return scheduler;
}

describe('as diffusers', () => {
  test.each(cases)('$name', async (c) => {
    const s = begun(c);
    expectNear(s.timesteps, c.timesteps, 1e-7);
    if (c.sigmas.length > 0) expectNear(s.sigmas, c.sigmas, 1e-7);
    expectNear([s.init_noise_sigma], [c.init_noise_sigma], 1e-7);
    let sample = tensor(c.sample).reshape(SHAPE);
    let draws = 0;
    for (let i = c.begin; i < s.timesteps.length; i++) {
      const t = s.timesteps[i]!;
      const output = model(s.scale_model_input(sample, t), t);
      const noise = s.takes_noise(i, c.step) ? noiseOf(draws++) : undefined;
      const { prev_sample } = s.step(output, t, sample, { ...c.step, noise });
      await run([prev_sample, ...s.history.filter((h) => h !== undefined)]);
      sample = prev_sample;
      expectNear([...(await sample.data())], c.samples[i - c.begin]!, 2e-5);
    }
  });
});

describe('a loop as one plan', () => {
  test.each(SCHEDULERS)('%s: compiled steps have the bits of step()', async (name) => {
    const make = () => {
      const s = schedulerNamed(name, {
        beta_start: 0.00085,
        beta_end: 0.012,
        beta_schedule: 'scaled_linear',
        steps_offset: 1,
      });
      s.set_timesteps(6);
      return s;
    };
    const one = make();
    const first = () => noiseOf(0).mul(one.init_noise_sigma);
    const options = { eta: name === 'ddim' ? 0.5 : 0 };
    let x = first();
    const want: number[][] = [];
    for (const [i, t] of one.timesteps.entries()) {
      const noise = one.takes_noise(i, options) ? noiseOf(i + 1) : undefined;
      const { prev_sample } = one.step(model(one.scale_model_input(x, t), t), t, x, { ...options, noise });
      await run([prev_sample, ...one.history.filter((h) => h !== undefined)]);
      x = prev_sample;
      want.push([...(await x.data())]);
    }

    const s = make();
    let names: string[] = [];
    let recordings = 0;
    const step = compile((...args: Tensor[]) => {
      recordings++;
      const a = Object.fromEntries(names.map((n, i) => [n, args[i]!]));
      const output = sin(s.scale(a).mul(1.3).add(a.t!)).mul(0.7).add(a.c!);
      return s.combine(a, output);
    });
    let sample = first();
    const got: number[][] = [];
    for (const [i, t] of s.timesteps.entries()) {
      const noise = s.takes_noise(i, options) ? noiseOf(i + 1) : undefined;
      const a = { ...s.inputs(i, sample, { ...options, noise }), t: t / 300, c: 0.1 * Math.cos(t / 50) };
      names = Object.keys(a);
      const result = await step(...Object.values(a));
      const old = s.accept(result, sample);
      expect(old).not.toContain(result.prev_sample);
      for (const tensor of old) tensor.dispose(); // what is read later must not be among them
      sample = result.prev_sample;
      got.push([...(await sample.data())]);
    }
    expect(recordings).toBe(1);
    expect(got).toEqual(want);
  });
});

describe('a config', () => {
  test('of another scheduler: what that left open is open here too', () => {
    const pndm = new PNDMScheduler({ beta_end: 0.012, skip_prk_steps: true, num_train_timesteps: 500 });
    const euler = EulerDiscreteScheduler.from_config(pndm.config);
    expect(euler.config).toMatchObject({ beta_end: 0.012, num_train_timesteps: 500, timestep_spacing: 'linspace' });
    expect(euler.config._class_name).toBe('EulerDiscreteScheduler');
    const changed = EulerDiscreteScheduler.from_config({
      ...pndm.config,
      timestep_spacing: 'trailing',
      steps_offset: 0,
    });
    expect(changed.config).toMatchObject({ timestep_spacing: 'trailing', steps_offset: 0 });
    const back = new PNDMScheduler({ ...new EulerDiscreteScheduler().config, steps_offset: 1 });
    expect(back.config).toMatchObject({ timestep_spacing: 'leading', steps_offset: 1 });
  });

  test('from a folder, with the infinity that Python writes', async () => {
    const text = '{"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity, "solver_order": 3}';
    const folder = memoryFolder([['scheduler/scheduler_config.json', text]], 'sd');
    const config = await readSchedulerConfig(folder.at('scheduler'));
    expect(schedulerOf(config).config).toMatchObject({ solver_order: 3 });
    expect((await DDIMScheduler.from_pretrained(folder.at('scheduler'))).config._class_name).toBe('DDIMScheduler');
    await expect(readSchedulerConfig(folder)).rejects.toThrow('[scheduler] no scheduler_config.json in sd');
  });

  test.each<[object, string]>([
    [
      { _class_name: 'HeunDiscreteScheduler' },
      `[here] _class_name "HeunDiscreteScheduler": want one of DDIMScheduler, `,
    ],
    [{}, '[here] no _class_name: want one of DDIMScheduler'],
    [
      { beta_schedule: 'sigmoid' },
      "beta_schedule: got 'sigmoid', want one of linear, scaled_linear, squaredcos_cap_v2",
    ],
    [{ beta_start: '0.1' }, "beta_start: got '0.1', want a number in (0, 1)"],
    [{ num_train_timesteps: 1 }, 'num_train_timesteps: got 1, want a whole number from 2'],
    [{ clip_sample: 'no' }, "clip_sample: got 'no', want true or false"],
    [{ trained_betas: [0.1, 2] }, 'trained_betas: got an array [0.1, 2], want a list of numbers in [0, 1)'],
    [{ trained_betas: [0.1, 0.2] }, 'trained_betas: got 2, want num_train_timesteps: 1000'],
    [{ use_beta_sigmas: true }, 'use_beta_sigmas: got true, which is not supported here'],
    [{ _class_name: 'PNDMScheduler', prediction_type: 'sample' }, "got 'sample', want epsilon or v_prediction"],
    [{ _class_name: 'DPMSolverMultistepScheduler', algorithm_type: 'dpmsolver' }, "want 'sigma_min'"],
    [
      { _class_name: 'DPMSolverMultistepScheduler', use_karras_sigmas: true, use_lu_lambdas: true },
      'want one of use_karras_sigmas',
    ],
  ])('%j', (config, message) => {
    const named =
      '_class_name' in config || Object.keys(config).length === 0
        ? config
        : { ...config, _class_name: 'DDIMScheduler' };
    expect(() => schedulerOf(named, 'here')).toThrow(message);
  });
  test('a short name', () => expect(() => schedulerNamed('heun', {})).toThrow('got "heun", want one of ddim, pndm'));
});

describe('a wrong argument', () => {
  const at = (n = 4, config: object = {}) => {
    const s = new DDIMScheduler(config);
    if (n > 0) s.set_timesteps(n);
    return s;
  };
  const x = noiseOf(0);
  test.each<[string, () => unknown, string]>([
    ['no steps', () => at(0).set_timesteps(0), 'num_inference_steps: got 0, want a whole number from 1 to 1000'],
    ['half a step', () => at(0).set_timesteps(2.5), 'got 2.5, want a whole number'],
    ['too many', () => at(0).set_timesteps(1001), 'got 1001, want a whole number from 1 to 1000'],
    ['no run', () => at(0).step(x, 1, x), 'timestep: got 1, want set_timesteps to be called first'],
    [
      'a timestep of another run',
      () => at(4).step(x, 3, x),
      'timestep: got 3, want one of an array [750, 500, 250, 0]',
    ],
    ['a place', () => at(4).inputs(4, x), 'step: got 4, want 0 to 3'],
    ['an eta', () => at(4).step(x, 750, x, { eta: 2 }), 'eta: got 2, want a number from 0 to 1'],
    [
      'another shape',
      () => at(4).step(x.reshape([4, 2]), 750, x),
      "model_output: got [4, 2], want the sample's [2, 1, 2, 2]",
    ],
    ['other noise', () => at(4).step(x, 750, x, { eta: 1, noise: tensor([1]) }), "noise: got [1], want the sample's"],
    ['no noise', () => at(4).inputs(0, x, { eta: 1 }), 'noise: got none, want a tensor'],
    ['no tensor', () => at(4).step([1] as never, 750, x), 'model_output: got an array [1], want a tensor'],
    [
      'rows',
      () => at(4).add_noise(x, x, [1, 2, 3]),
      'timesteps: got an array [1, 2, 3], want a number, or one for each of 2 rows',
    ],
    ['a tensor of timesteps', () => at(4).add_noise(x, x, tensor([1]) as never), '.data()'],
    ['a timestep between', () => at(4).add_noise(x, x, 1.5), 'timesteps: got 1.5, want whole numbers from 0 to 999'],
    ['unordered', () => new EulerDiscreteScheduler().set_timesteps(2, { timesteps: [1, 2] }), 'in descending order'],
    ['few for Runge-Kutta', () => new PNDMScheduler().set_timesteps(3), 'want at least 4, or skip_prk_steps: true'],
    [
      'noise of no picture',
      () => at(1, { rescale_betas_zero_snr: true, timestep_spacing: 'trailing' }).step(x, 999, x),
      'nothing is left of the picture at timestep 999 (rescale_betas_zero_snr), where epsilon says nothing',
    ],
    ['LCM', () => schedulerNamed('lcm', {}).set_timesteps(60), 'num_inference_steps: got 60, want at most 50'],
  ])('%s', (_, act, message) => {
    expect(act).toThrow(message);
  });
  test('rows of a batch have timesteps of their own', async () => {
    const s = at(4);
    const each = await s.add_noise(x, cos(x), [10, 900]).tolist();
    const [first, second] = await Promise.all([10, 900].map((t) => s.add_noise(x, cos(x), t).tolist()));
    expect(each).toEqual([(first as unknown[])[0], (second as unknown[])[1]]);
  });
});
