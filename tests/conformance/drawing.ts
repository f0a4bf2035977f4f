// tessera-diffusion as it ships, in the conformance table: one picture in two steps, from words to bytes.
import { StableDiffusionPipeline } from '../../src/index.ts';
import { backgroundOf } from '../background.ts';
import type { CaseFiles } from '../goldens/files.ts';
import { sha256 } from '../sha256.ts';
import type { Result } from './check.ts';

const BACKGROUND = 'red';

export async function drawing(files: CaseFiles): Promise<Result> {
  const row = { group: 'model', name: 'tessera-diffusion two steps picture', max_abs: null };
  try {
    using pipe = await StableDiffusionPipeline.from_pretrained(await files.checkpoint());
    const how = { num_inference_steps: 2, guidance_scale: 1, seed: 7 };
    const [picture] = (await pipe(`a drawing of a rabbit on a ${BACKGROUND} background`, how)).images;
    const seen = backgroundOf(picture!);
    const why = seen === BACKGROUND ? undefined : `the background is ${seen}, want ${BACKGROUND}`;
    return { ...row, ok: !why, sha256: await sha256(picture!.data), ...(why && { why }) };
  } catch (error) {
    return { ...row, ok: false, sha256: '', why: (error as Error).message };
  }
}
