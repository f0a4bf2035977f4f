// Image processors of transformers, their Pillow versions: picture files in, pixel_values out.
import { AutoProcessor } from '../../src/tasks/auto.ts';
import { type Family, family, method } from './family.ts';
import { type CaseFiles, readJson } from './files.ts';

type Config = Record<string, unknown>;

/** The numbers of Pillow's filters are their places here. */
const FILTERS = ['nearest', 'lanczos', 'bilinear', 'bicubic', 'box', 'hamming'];

/** A filter's number, given as such, as a text, or by its name: 3, "3", "PILImageResampling.BICUBIC". */
function filterId(value: unknown): number {
  const name = String(value).split('.').at(-1)!.toLowerCase();
  return /^\d+$/.test(name) ? Number(name) : FILTERS.indexOf(name);
}

/** What a call may set anew; the processor itself says which values it takes. */
const FIELDS = ['size', 'crop_size', 'rescale_factor', 'image_mean', 'image_std'];
const FLAGS = ['do_resize', 'do_center_crop', 'do_rescale', 'do_normalize'];

const isNames = (value: unknown) => [value].flat().every((name) => typeof name === 'string');

async function load(files: CaseFiles): Promise<{ files: CaseFiles; config: Config }> {
  const config =
    (await readJson<Config>(files, 'preprocessor_config.json')) ??
    (await readJson<Config>(files, 'processor_config.json'));
  if (!config) throw new Error(`[${files.name}] no preprocessor_config.json`);
  return { files, config: (config.image_processor as Config | undefined) ?? config };
}

const pillow = family(load, {
  __call__: method({
    args: {
      image: isNames,
      images: isNames,
      resample: (value) => filterId(value) >= 0,
      do_convert_rgb: (value) => value === true,
      ...Object.fromEntries([...FIELDS, ...FLAGS].map((name) => [name, () => true])),
    },
    async run({ files, config }: { files: CaseFiles; config: Config }, _, { image, images = image, ...changed }) {
      if ('resample' in changed) changed.resample = filterId(changed.resample);
      const text = JSON.stringify({ ...config, ...changed });
      const processor = await AutoProcessor.from_pretrained([new File([text], 'preprocessor_config.json')]);
      const pictures = [images as string | string[]].flat().map(async (file) => {
        const bytes = await files.read(file);
        if (!bytes) throw new Error(`[${files.name}] no file ${file}`);
        return new File([bytes], file);
      });
      return processor(await Promise.all(pictures));
    },
  }),
});

export const processors: Record<string, Family> = {
  CLIPImageProcessorPil: pillow,
  SiglipImageProcessorPil: pillow,
};
