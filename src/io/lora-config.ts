// adapter_config.json as PEFT 0.21 writes it for LoRA: which modules, and by how much their deltas are scaled.
import { UserError } from './error.ts';
import { isObject } from './json.ts';

/** What the config says of a module by its path, or undefined where the adapter leaves it alone. */
export type LoraConfig = (path: string) => { r: number; scaling: number } | undefined;

/** Ways of training that need more than A, B and a factor. */
const OTHER = ['use_dora', 'use_qalora', 'use_bdlora', 'lora_bias', 'modules_to_save', 'layer_replication'];
const OTHERS = [...OTHER, 'target_parameters', 'trainable_token_indices', 'alora_invocation_tokens', 'arrow_config'];

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) > 0;
const isText = (value: unknown): value is string => typeof value === 'string';
const isEmpty = (value: unknown) => !value || value === 'none' || (Array.isArray(value) && value.length === 0);

function regex(where: string, name: string, text: string): RegExp {
  try {
    return new RegExp(text);
  } catch {
    throw new UserError(
      `[${where}] adapter_config.json, ${name}: got ${JSON.stringify(text)}, want a regular expression`,
    );
  }
}

/** Names of modules, of which a path may be the end, or one regular expression for whole paths. */
function matcher(where: string, name: string, value: unknown): (path: string) => boolean {
  if (value === 'all-linear') return (path) => !/(?:^|\.)lm_head$/.test(path); // the output layer is none of them
  if (isText(value)) {
    const whole = regex(where, name, `^(?:${value})$`);
    return (path) => whole.test(path);
  }
  if (Array.isArray(value) && value.every(isText)) {
    return (path) => value.some((end) => path === end || path.endsWith(`.${end}`));
  }
  const got = JSON.stringify(value) ?? 'nothing';
  throw new UserError(
    `[${where}] adapter_config.json, ${name}: got ${got}, want names of modules or a regular expression`,
  );
}

/** A number for the modules that a pattern names: `{ "layers.0.self_attn.q_proj": 8 }`; the first that fits, else `other`. */
function patterned(where: string, name: string, value: unknown, other: number): (path: string) => number {
  const entries = isObject(value) ? Object.entries(value) : [];
  const bad = entries.find(([, n]) => typeof n !== 'number' || !(n > 0));
  if (bad) throw new UserError(`[${where}] adapter_config.json, ${name}: got ${JSON.stringify(bad[1])}, want a number`);
  const rules = entries.map(([pattern, n]) => [regex(where, name, `^(?:.*\\.)?(?:${pattern})$`), n as number] as const);
  return (path) => rules.find(([rule]) => rule.test(path))?.[1] ?? other;
}

/** Throws a UserError where this is no LoRA, or one that needs more than matrices A and B. */
export function loraConfig(where: string, config: Record<string, unknown>): LoraConfig {
  const { peft_type, r, lora_alpha, bias } = config;
  if (peft_type !== 'LORA') {
    throw new UserError(`[${where}] adapter_config.json, peft_type: got ${JSON.stringify(peft_type)}, want "LORA"`);
  }
  const more = isEmpty(bias) ? OTHERS.find((name) => !isEmpty(config[name])) : 'bias';
  if (more) {
    const got = `${more} ${JSON.stringify(config[more])}`;
    throw new UserError(
      `[${where}] adapter_config.json: got ${got}, want an adapter of lora_A and lora_B alone; merge it in PEFT`,
    );
  }
  if (!isCount(r) || typeof lora_alpha !== 'number') {
    const got = `r ${JSON.stringify(r)}, lora_alpha ${JSON.stringify(lora_alpha)}`;
    throw new UserError(`[${where}] adapter_config.json: got ${got}, want a rank and a number`);
  }
  const targets = matcher(where, 'target_modules', config.target_modules);
  const excluded = isEmpty(config.exclude_modules)
    ? () => false
    : matcher(where, 'exclude_modules', config.exclude_modules);
  const layers = config.layers_to_transform;
  const list = isEmpty(layers) && layers !== 0 ? undefined : [layers].flat();
  const inLayers = (path: string) => !list || list.includes(Number(/\.(\d+)\./.exec(path)?.[1]));
  const rank = patterned(where, 'rank_pattern', config.rank_pattern, r);
  const alpha = patterned(where, 'alpha_pattern', config.alpha_pattern, lora_alpha);
  return (path) => {
    if (!targets(path) || excluded(path) || !inLayers(path)) return undefined;
    const own = rank(path);
    return { r: own, scaling: alpha(path) / (config.use_rslora ? Math.sqrt(own) : own) };
  };
}
