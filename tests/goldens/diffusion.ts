// Diffusion models of diffusers: the U-Net and the autoencoder.
import { AutoencoderKL, grad, UNet2DConditionModel } from '../../src/index.ts';
import { sinusoids } from '../../src/nn/timestep.ts';
import { type Family, family, method } from './family.ts';
import type { CaseFiles } from './files.ts';

type UNet = Awaited<ReturnType<typeof UNet2DConditionModel.from_pretrained>>;
type VAE = Awaited<ReturnType<typeof AutoencoderKL.from_pretrained>>;

/** Weights of a variant where a case has no others. */
const variant = async (files: CaseFiles) =>
  (await files.read('diffusion_pytorch_model.safetensors.index.fp16.json')) ? { variant: 'fp16' } : {};

const LOSS = 'mean((forward(sample, timestep, encoder_hidden_states) - target)^2)';

export const diffusion: Record<string, Family> = {
  UNet2DConditionModel: family(
    async (files) => UNet2DConditionModel.from_pretrained(await files.checkpoint(), await variant(files)),
    {
      forward: method({
        inputs: ['sample', 'timestep', 'encoder_hidden_states?', 'class_labels?', 'guidance_scale?'],
        args: { embedding_dim: Number.isInteger },
        async run(model: UNet, { timestep, guidance_scale, ...inputs }, { embedding_dim }) {
          const scales = guidance_scale && [...(await guidance_scale.data())].map((scale) => 1000 * (scale - 1));
          const timestep_cond = scales && sinusoids(scales, embedding_dim as number);
          const { sample } = model.forward({ ...inputs, timestep: [...(await timestep.data())], timestep_cond });
          return { sample, ...(timestep_cond && { timestep_cond }) };
        },
      }),
      'forward+backward': method({
        inputs: ['sample', 'timestep', 'encoder_hidden_states', 'target'],
        args: { loss: (value) => value === LOSS },
        async run(model: UNet, { sample, timestep, encoder_hidden_states, target }) {
          const inputs = { sample, timestep: [...(await timestep.data())], encoder_hidden_states };
          const { sample: prediction } = model.forward(inputs);
          const loss = prediction.sub(target).square().mean();
          const [grad_encoder_hidden_states, grad_sample] = grad(loss, [encoder_hidden_states, sample]);
          return { prediction, loss, grad_encoder_hidden_states, grad_sample };
        },
      }),
    },
  ),

  AutoencoderKL: family(async (files) => AutoencoderKL.from_pretrained(await files.checkpoint()), {
    encode: method({
      inputs: ['image', 'noise'],
      run(model: VAE, { image, noise }) {
        const { mean, logvar, sample } = model.encode(image);
        return { mean, logvar, sample: sample(noise) };
      },
    }),
    decode: method({
      inputs: ['latents'],
      run: (model: VAE, { latents }) => ({ image: model.decode(latents) }),
    }),
  }),
};
