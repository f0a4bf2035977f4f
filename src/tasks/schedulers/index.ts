// Schedulers by the names that configs and command lines have for them.
import { UserError } from '../../io/error.ts';
import { DDIMScheduler } from './ddim.ts';
import { DDIMInverseScheduler } from './ddim-inverse.ts';
import { DPMSolverMultistepScheduler } from './dpm-solver.ts';
import { EulerDiscreteScheduler } from './euler.ts';
import { EulerAncestralDiscreteScheduler } from './euler-ancestral.ts';
import { LCMScheduler } from './lcm.ts';
import { PNDMScheduler } from './pndm.ts';
import type { Scheduler } from './scheduler.ts';

export { readSchedulerConfig, Scheduler, type StepOptions, type StepOutput } from './scheduler.ts';
export {
  DDIMInverseScheduler,
  DDIMScheduler,
  DPMSolverMultistepScheduler,
  EulerAncestralDiscreteScheduler,
  EulerDiscreteScheduler,
  LCMScheduler,
  PNDMScheduler,
};

const CLASSES = {
  DDIMScheduler,
  DDIMInverseScheduler,
  PNDMScheduler,
  EulerDiscreteScheduler,
  EulerAncestralDiscreteScheduler,
  DPMSolverMultistepScheduler,
  LCMScheduler,
};

/** The scheduler that a scheduler_config.json asks for by its `_class_name`. */
export function schedulerOf(config: object, where = 'scheduler_config.json'): Scheduler {
  const { _class_name: name } = config as { _class_name?: unknown };
  if (typeof name === 'string' && Object.hasOwn(CLASSES, name))
    return new CLASSES[name as keyof typeof CLASSES](config);
  const got = name === undefined ? 'no _class_name' : `_class_name ${JSON.stringify(name)}`;
  throw new UserError(`[${where}] ${got}: want one of ${Object.keys(CLASSES).join(', ')}`);
}

const NAMED: Record<string, (config: object) => Scheduler> = {
  ddim: (c) => new DDIMScheduler(c),
  pndm: (c) => new PNDMScheduler({ ...c, skip_prk_steps: true }),
  euler: (c) => new EulerDiscreteScheduler(c),
  'euler-a': (c) => new EulerAncestralDiscreteScheduler(c),
  'dpm++': (c) => new DPMSolverMultistepScheduler(c),
  'dpm++-karras': (c) => new DPMSolverMultistepScheduler({ ...c, use_karras_sigmas: true }),
  lcm: (c) => new LCMScheduler(c),
};

/** The short names of schedulers. */
export const SCHEDULERS: readonly string[] = Object.keys(NAMED);

/** A scheduler by its short name, with the noise that the model was trained on: the config of the one it came with. */
export function schedulerNamed(name: string, config: object): Scheduler {
  if (Object.hasOwn(NAMED, name)) return NAMED[name]!(config);
  throw new UserError(`[scheduler] got ${JSON.stringify(name)}, want one of ${SCHEDULERS.join(', ')}`);
}
