// tessera invert: the latents that lead back to a picture. tessera vae: what the autoencoder alone does to one.
import type { Command } from 'commander';
import { lookUp } from '../io/locate.ts';
import type { Pixels } from '../io/pixels.ts';
import { saveSafetensors } from '../io/safetensors.ts';
import { AutoencoderKL } from '../models/autoencoder-kl.ts';
import { load_image } from '../tasks/load-image.ts';
import { Picture } from '../tasks/picture.ts';
import { shipped } from '../tasks/shipped.ts';
import { roundTrip } from '../tasks/stable-diffusion/pipelines.ts';
import { callOptions, type DiffusionArguments, sizeFor, VAE_TILING, withDiffusion, withPipeline } from './diffusion.ts';
import { checkOutput } from './files.ts';
import { LATENTS, NOTES } from './notes.ts';
import {
  type DeviceOptions,
  type HubOptions,
  hubOf,
  onDevice,
  provenance,
  side,
  withDevice,
  withHub,
} from './options.ts';
import { print, printJson } from './output.ts';
import { countingBar, loadingBar } from './progress.ts';
import { visible } from './text.ts';

export function addInvert(program: Command): void {
  const command = program
    .command('invert')
    .description('The noise that leads back to a picture (DDIM inversion), for tessera imagine --from')
    .argument('<picture>', 'a PNG, JPEG or WebP file, or its address')
    .argument('[prompt]', 'what it shows', '')
    .option('-o, --output <file>', 'the safetensors file', 'inverted.safetensors');
  withDiffusion(command)
    .addHelpText(
      'after',
      `
Without guidance (the default here) the way leads back; with the picture's own words it leads back best.

Example:
  tessera invert photo.png "a photo of a cat" -o cat.safetensors
  tessera imagine "a photo of a tiger" --from cat.safetensors --guidance 3 -o tiger.png`,
    )
    .action(invert);

  const vae = program.command('vae').description('What the autoencoder of a Stable Diffusion does to pictures');
  const roundTripCommand = vae
    .command('round-trip')
    .description('A picture to latents and back, and how near that is')
    .argument('<picture>', 'a PNG, JPEG or WebP file, or its address')
    .option('-o, --output <file>', 'the PNG file', 'out.png')
    .option('--model <model>', 'a diffusers folder or an id of the hub (default: the tessera-diffusion that ships)')
    .option(...VAE_TILING)
    .option('--width <n>', 'pixels, a multiple of 8', side)
    .option('--height <n>', 'pixels, a multiple of 8', side);
  withDevice(withHub(roundTripCommand)).action(roundTripAction);
}

async function invert(picture: string, prompt: string, options: DiffusionArguments): Promise<void> {
  await checkOutput(options.output, ['.safetensors']);
  const image = await load_image(picture);
  await withPipeline(options, async ({ task, about, load }) => {
    const start = performance.now();
    const bar = await countingBar('inverting');
    const size = sizeFor(image, task.components, options);
    const given = { ...callOptions(options, 0), ...size, image, guidance_scale: options.guidance ?? 1 };
    const callback_on_step_end = ({ step, steps }: { step: number; steps: number }) => bar.at(step, steps);
    const { latents, image_latents } = await task.invert(prompt, { ...given, callback_on_step_end }).finally(bar.stop);
    image_latents.dispose();
    const data = await latents.data();
    const { shape } = latents;
    const notes = JSON.stringify({ picture, prompt, steps: options.steps, model: options.model ?? null });
    await saveSafetensors(options.output, [[LATENTS, { dtype: 'F32', shape }]], () => data, [[NOTES, notes]]);
    latents.dispose();
    const time_ms = { load: Math.round(load), run: Math.round(performance.now() - start) };
    if (options.json)
      printJson({ command: 'invert', ...about, picture, prompt, shape, files: [options.output], time_ms });
    else print(visible(options.output));
  });
}

type RoundTrip = DeviceOptions &
  HubOptions &
  Pick<DiffusionArguments, 'model' | 'output' | 'vaeTiling' | 'width' | 'height'>;

async function roundTripAction(file: string, options: RoundTrip): Promise<void> {
  await checkOutput(options.output, ['.png']);
  const { vaeTiling = false } = options;
  const path = options.model ?? (await shipped('tessera-diffusion'));
  const { progress_callback, stop } = await loadingBar();
  const source = { ...hubOf(options), subfolder: options.subfolder ?? 'vae', progress_callback };
  try {
    const image = await load_image(file);
    const from = await lookUp(path, source);
    await onDevice(options, async (device) => {
      using vae = await AutoencoderKL.from_pretrained(from, { ...source, device, dtype: options.dtype });
      stop();
      vae.enable_tiling(vaeTiling);
      const { before, after } = await roundTrip(vae, image, options);
      const psnr = psnrOf(before, after);
      await new Picture(after, { command: 'vae round-trip', picture: file, options: { vaeTiling } }).save(
        options.output,
      );
      if (options.json)
        printJson({ command: 'vae round-trip', ...provenance(device, options), psnr, files: [options.output] });
      else print(`${visible(options.output)}  ${psnr.toFixed(2)} dB`);
    });
  } finally {
    stop();
  }
}

/** Peak signal to noise ratio of 8 bit pictures, in dB. */
function psnrOf(a: Pixels, b: Pixels): number {
  const mse = a.data.reduce((sum, v, i) => sum + (v - b.data[i]!) ** 2, 0) / a.data.length;
  return 10 * Math.log10(255 ** 2 / mse);
}
