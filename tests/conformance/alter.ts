// A deliberate change of a kernel, to see that the suite notices it.
import matmul from '../../shaders/matmul.wgsl';
import reduce from '../../shaders/reduce.wgsl';
import softmax from '../../shaders/softmax.wgsl';
import type { ShaderSource } from '../../src/gpu/shader.ts';

/** WGSL to put in the place of declarations, by shader and name. */
export type Alteration = Record<string, Record<string, string>>;

const SHADERS: Record<string, ShaderSource> = { matmul, reduce, softmax };

/** Changes shaders for the rest of this program's life. */
export function alter(change: Alteration): void {
  for (const [shader, declarations] of Object.entries(change)) {
    for (const [name, text] of Object.entries(declarations)) {
      const own = SHADERS[shader]?.declarations;
      if (own?.[name] === undefined) throw new Error(`[alter] no declaration ${name} in ${shader}`);
      own[name] = text;
    }
  }
}
