// Which of the trained timesteps a run visits (arXiv:2305.08891, table 2), from the noisiest on.
import { linspace } from './alphas.ts';

/** To the nearest whole number, halves to the even one, as numpy rounds. */
export const rint = (v: number): number => {
  const down = Math.floor(v);
  return v - down === 0.5 ? down + (down % 2) : Math.round(v);
};

type Spacing = { num_train_timesteps: number; timestep_spacing: string; steps_offset: number };

/** `n` timesteps; those of linspace are not rounded. */
export function spaced({ num_train_timesteps: T, timestep_spacing, steps_offset }: Spacing, n: number): number[] {
  switch (timestep_spacing) {
    case 'leading':
      return Array.from({ length: n }, (_, i) => Math.floor(T / n) * (n - 1 - i) + steps_offset);
    case 'trailing':
      return Array.from({ length: n }, (_, i) => rint(T - i * (T / n)) - 1);
    default:
      return linspace(0, T - 1, n).reverse();
  }
}
