"""The two trainings of tessera-diffusion: the autoencoder on pictures, the UNet on what it makes of them."""
import time
from contextlib import contextmanager
from copy import deepcopy

import torch
import torch.nn.functional as F

from clip_model import Muon

VAE = dict(block_out_channels=(16, 32, 64), layers_per_block=1, down_block_types=('DownEncoderBlock2D',) * 3,
           up_block_types=('UpDecoderBlock2D',) * 3, latent_channels=4, norm_num_groups=4, sample_size=64, scaling_factor=1.0)
UNET = dict(sample_size=16, block_out_channels=(48, 96, 128), layers_per_block=1, cross_attention_dim=128,
            attention_head_dim=4, norm_num_groups=16,  # four heads: diffusers' name for it says something else
            down_block_types=('DownBlock2D', 'CrossAttnDownBlock2D', 'DownBlock2D'),
            up_block_types=('UpBlock2D', 'CrossAttnUpBlock2D', 'UpBlock2D'))
# A cosine ends in pure noise (beta 0.999), so that the background's colour is decided by the words; every scheduler has it.
SCHEDULER = dict(beta_schedule='squaredcos_cap_v2', prediction_type='v_prediction', timestep_spacing='trailing',
                 clip_sample=False, set_alpha_to_one=True, steps_offset=1)
VAE_BATCH, BATCH = 16, 32
NOISE = 1e-4  # weight of the autoencoder's KL divergence, a mean over latents: how much noise its decoder must bear
DRIFT = 0.03  # how far off the latents are that a decoder by itself learns from, as the UNet's will be
MUON_LR, ADAM_LR = 0.02, 2e-3
EMPTY = 0.1  # the share of prompts that are empty, for guidance
KNOWN = 5  # signal to noise ratio above which a picture teaches less (Hang et al. 2023, arXiv:2303.09556)


class Run:
    """A training by the clock, over several starts: optimisers, rates, checkpoints, averages of what is measured."""

    def __init__(self, model, minutes, checkpoint, pace, adam_only):
        matrices = [p for n, p in model.named_parameters() if p.ndim >= 2 and not any(a in n for a in adam_only)]
        by_muon = {id(p) for p in matrices}
        self.rest = [p for p in model.parameters() if id(p) not in by_muon]
        self.optimisers = [Muon(matrices, MUON_LR, weight_decay=0.02),
                           torch.optim.AdamW(self.rest, ADAM_LR, betas=(0.9, 0.98), weight_decay=0.01)]
        self.bases = [pace * MUON_LR, pace * ADAM_LR]
        self.model, self.average, self.checkpoint, self.seconds = model, deepcopy(model), checkpoint, 60 * minutes
        self.step, self.spent, self.loss = 0, 0, None
        if checkpoint.exists():
            state = torch.load(checkpoint, weights_only=True)
            model.load_state_dict(state['model'])
            self.average.load_state_dict(state['average'])
            for o, s in zip(self.optimisers, state['optimisers']):
                o.load_state_dict(s)
            self.step, self.spent = state['step'], state['spent']
        self.start = time.time() - self.spent

    def steps(self):
        """Yields a generator of random numbers for each step, until the time is up."""
        self.model.train()
        while (done := (time.time() - self.start) / self.seconds) < 1:
            rate = min(1, (self.step + 1) / 30, (1 - done) / 0.6)
            for o, base in zip(self.optimisers, self.bases):
                for group in o.param_groups:
                    group['lr'] = base * rate
            yield torch.Generator().manual_seed(1_000_003 * self.step + 17)
        print(f'{self.step} steps in {time.time() - self.start:.0f} s', flush=True)
        self.save()

    def learn(self, loss):
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.rest, 1.0)
        for o in self.optimisers:
            o.step()
            o.zero_grad()
        self.step += 1
        keep = min(0.995, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for a, p in zip(self.average.parameters(), self.model.parameters()):
                a.lerp_(p, 1 - keep)
        self.loss = loss.item() if self.loss is None else self.loss + 0.02 * (loss.item() - self.loss)
        if self.step % 50 == 0:
            print(f'step {self.step}, loss {self.loss:.4f}, {time.time() - self.start:.0f} of {self.seconds:.0f} s', flush=True)
        if self.step % 100 == 0:
            self.save()

    def save(self):
        draft = self.checkpoint.with_suffix('.draft')
        torch.save(dict(step=self.step, spent=time.time() - self.start, model=self.model.state_dict(),
                        average=self.average.state_dict(), optimisers=[o.state_dict() for o in self.optimisers]), draft)
        draft.replace(self.checkpoint)


def to_model(pixels):
    """Bytes [n, 64, 64, 3] as [n, 3, 64, 64] in -1..1."""
    return torch.as_tensor(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def train_vae(vae, pixels, minutes, checkpoint, pace):
    run = Run(vae, minutes, checkpoint, pace, ('conv_in', 'conv_out', 'quant'))
    for gen in run.steps():
        x = to_model(pixels[torch.randint(len(pixels), (VAE_BATCH,), generator=gen).numpy()])
        posterior = vae.encode(x).latent_dist
        y = vae.decode(posterior.sample(gen)).sample
        run.learn(F.l1_loss(y, x) + F.mse_loss(y, x) + NOISE * posterior.kl().mean() / posterior.mean[0].numel())
    vae.load_state_dict(run.average.state_dict())
    vae.eval()


@torch.no_grad()
def encode(vae, pixels):
    """Means of the latents, [n, 4, 16, 16]."""
    return torch.cat([vae.encode(to_model(pixels[i:i + 64])).latent_dist.mean for i in range(0, len(pixels), 64)])


@torch.no_grad()
def standardise(vae, pixels):
    """Latents get mean 0 and deviation 1 a channel, inside the 1x1 convolutions at both ends of them."""
    latents = encode(vae, pixels)
    mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    into, out = vae.quant_conv, vae.post_quant_conv
    out.bias += out.weight[:, :, 0, 0] @ mean
    out.weight *= std.view(1, -1, 1, 1)
    into.weight[:4] /= std.view(-1, 1, 1, 1)
    into.bias[:4] = (into.bias[:4] - mean) / std
    into.bias[4:] -= 2 * std.log()  # the other half is the logarithm of the variance


def train_decoder(vae, pixels, minutes, checkpoint, pace):
    """The decoder alone, for what the encoder settled on: closer pictures, the same latents."""
    run = Run(vae.decoder, minutes, checkpoint, pace, ('conv_in', 'conv_out'))
    for gen in run.steps():
        x = to_model(pixels[torch.randint(len(pixels), (VAE_BATCH,), generator=gen).numpy()])
        with torch.no_grad():
            z = vae.encode(x).latent_dist.mean
            z = vae.post_quant_conv(z + DRIFT * torch.randn(z.shape, generator=gen))
        y = vae.decoder(z)
        run.learn(F.l1_loss(y, x) + 4 * F.mse_loss(y, x))
    vae.decoder.load_state_dict(run.average.state_dict())
    vae.eval()


def train_unet(unet, latents, words, empty, alphas, minutes, checkpoint, pace):
    """`words` [n, 48, 128] are states of the text tower, `empty` [48, 128] those of no words, `alphas` [1000] cumulative."""
    run = Run(unet, minutes, checkpoint, pace, ('conv_in', 'conv_out', 'time_embedding'))
    for gen in run.steps():
        chosen = torch.randint(len(latents), (BATCH,), generator=gen)
        x, context = latents[chosen], words[chosen].float()
        context[torch.rand(BATCH, generator=gen) < EMPTY] = empty
        even = (torch.arange(BATCH) + torch.rand(BATCH, generator=gen)) / BATCH
        t = (even**0.75 * len(alphas)).long().clamp(max=len(alphas) - 1)  # what is drawn is decided early, in much noise
        a = alphas[t].view(-1, 1, 1, 1)
        noise = torch.randn(x.shape, generator=gen)
        noisy, v = a.sqrt() * x + (1 - a).sqrt() * noise, a.sqrt() * noise - (1 - a).sqrt() * x
        weight = (KNOWN * (1 - a) / a).clamp(max=1)
        run.learn((weight * (unet(noisy, t, context).sample - v) ** 2).mean())
    unet.load_state_dict(run.average.state_dict())
    unet.eval()
