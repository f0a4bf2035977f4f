"""tessera-diffusion: `python diffusion.py OUT` trains, exports, scores and writes the model card.

OUT gets a folder of diffusers' StableDiffusionPipeline; its text encoder is ../tessera-clip's. `--resume FOLDER` starts from an
exported folder (its f16 weights alone are enough), `--score-only` measures one again. What can be made again - pictures, latents,
checkpoints - goes to OUT/../diffusion-work (delete it to start afresh).
"""
import argparse
import json
import os
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTokenizer

from diffusion_score import score
from diffusion_train import SCHEDULER, UNET, VAE, encode, standardise, train_decoder, train_unet, train_vae
from pictures import SIZE, Scenes

HERE = Path(__file__).parent
POOL = 10_000
AGAIN = 0.4  # weights that were trained before take smaller steps


def posters(spec, hands, seed, count, split='seen'):
    """(lines of scenes.js, pixels [count, 64, 64, 3])."""
    poster = dict(concepts=spec['concepts'], hands=hands)
    lines, pixels = zip(*Scenes(dict(seed=seed, split=split, count=count, poster=poster)).raw(count))
    return lines, np.stack(pixels)


def pool(spec, hands, work):
    """Pictures to train on and their captions; made once."""
    pixels, captions = (work / f'{"-".join(hands)}.{kind}' for kind in ('npy', 'json'))
    if not captions.exists():
        lines, drawn = posters(spec, hands, spec['seed'], POOL)
        np.save(pixels, drawn)
        captions.write_text(json.dumps([line['caption'] for line in lines]))
    return np.load(pixels), json.loads(captions.read_text())


@torch.no_grad()
def states(tower, tokenizer, texts):
    """Last hidden states of the text tower [n, 48, 128] in f16, as the pipeline makes them."""
    ids = tokenizer(texts, padding='max_length', truncation=True, return_tensors='pt').input_ids
    return torch.cat([tower(part).last_hidden_state.half() for part in ids.split(256)])


def export(folder, vae, unet, tower, tokenizer):
    """The folder as diffusers writes it, in f16."""
    parts = dict(vae=vae, unet=unet, text_encoder=tower)
    StableDiffusionPipeline(**{name: part.half() for name, part in parts.items()}, tokenizer=tokenizer, safety_checker=None,
                            scheduler=DDIMScheduler(**SCHEDULER), feature_extractor=None,
                            requires_safety_checker=False).save_pretrained(folder)
    for file in folder.rglob('*.safetensors'):
        file.chmod(0o644)
    theirs, ours = (load_file(at / 'model.safetensors') for at in (HERE / '../tessera-clip', folder / 'text_encoder'))
    assert all(torch.equal(theirs[name], t) for name, t in ours.items()), 'the text encoder is not tessera-clip\'s'
    for part in parts.values():
        part.float()


def train_autoencoder(vae, spec, work, minutes, decoder_minutes):
    """Both halves, then the decoder once more; each is made once."""
    whole, decoder = work / 'vae.pt', work / 'decoder.pt'
    if not whole.exists():
        by_all, _ = pool(spec, spec['vae_hands'], work)
        train_vae(vae, by_all, minutes, work / 'vae-run.pt', 1)
        standardise(vae, by_all[:2000])
        torch.save(vae.state_dict(), whole)
    vae.load_state_dict(torch.load(whole, weights_only=True))
    if not decoder.exists():
        by_all, _ = pool(spec, spec['vae_hands'], work)
        train_decoder(vae, by_all, decoder_minutes, work / 'decoder-run.pt', AGAIN)
        torch.save(vae.decoder.state_dict(), decoder)
    vae.decoder.load_state_dict(torch.load(decoder, weights_only=True))
    vae.eval()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path)
    parser.add_argument('--vae-minutes', type=float, default=14)
    parser.add_argument('--decoder-minutes', type=float, default=12)
    parser.add_argument('--minutes', type=float, default=60, help='of training the UNet, by the clock')
    parser.add_argument('--resume', type=Path)
    parser.add_argument('--export-only', action='store_true', help='only export the averages of the checkpoint, for a look')
    parser.add_argument('--score-only', action='store_true')
    parser.add_argument('--expected', type=Path, help='also write what was drawn and measured in a sample to this file')
    args = parser.parse_args()
    torch.set_num_threads(1)
    spec = json.loads((HERE / '../world/posters.json').read_text())
    torch.manual_seed(spec['seed'])
    work = args.out.parent / 'diffusion-work'
    work.mkdir(parents=True, exist_ok=True)
    if not args.score_only:
        source = args.resume
        vae = AutoencoderKL.from_pretrained(source / 'vae', torch_dtype=torch.float32) if source else AutoencoderKL(**VAE)
        unet = UNet2DConditionModel.from_pretrained(source / 'unet', torch_dtype=torch.float32) if source else UNet2DConditionModel(**UNET)
        print(*(f'{name}: {sum(p.numel() for p in m.parameters()):,} parameters' for name, m in (('vae', vae), ('unet', unet))), flush=True)
        tokenizer = CLIPTokenizer.from_pretrained(HERE / '../tessera-clip')
        tower = CLIPTextModel.from_pretrained(HERE / '../tessera-clip', dtype=torch.float32).eval()
        pixels, captions = pool(spec, spec['hands'], work)
        pace = AGAIN if args.resume else 1
        if not args.resume:
            train_autoencoder(vae, spec, work, args.vae_minutes, args.decoder_minutes)
        alphas = DDIMScheduler(**SCHEDULER).alphas_cumprod
        if args.export_only:
            unet.load_state_dict(torch.load(work / 'unet-run.pt', weights_only=True)['average'])
        else:
            latents = encode(vae, pixels)
            print(f'latents: mean {latents.mean():.3f}, deviation {latents.std():.3f}', flush=True)
            words = states(tower, tokenizer, captions)
            empty = states(tower, tokenizer, [''])[0].float()
            train_unet(unet, latents, words, empty, alphas, args.minutes, work / 'unet-run.pt', pace)
        export(args.out, vae, unet, tower, tokenizer)
    if not args.export_only:
        score(args.out, spec, posters, work, args.expected)


if __name__ == '__main__':
    main()
