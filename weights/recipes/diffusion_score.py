"""Scores of an exported tessera-diffusion by diffusers itself, and the model card. What is asked stands in ../world/posters.json."""
import json
import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import StableDiffusionPipeline
from PIL import Image
from torch import nn
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from captions import COLOURS, PROMPT
from diffusion_train import to_model
from pictures import Scenes

HERE = Path(__file__).parent
JUDGE_SEED, JUDGE_PICTURES, JUDGE_EPOCHS = 77, 8000, 10
JUDGE_HANDS = ['twemoji', 'noto', 'noto-v1', 'fluent-emoji-flat', 'emojione']
SAMPLE = 20  # pictures that are measured again by Tessera
EDGE = 3  # pixels of the border whose mean is the background's colour


def article(word):
    return ('an ' if word[0] in 'aeiou' else 'a ') + word


def asked(spec, phrases):
    """The test: [(concept, colour, prompt)]; every 60 of them name each concept once, always on another colour."""
    concepts, colours, tests = spec['concepts'], list(COLOURS), spec['tests']
    for i in range(tests['count']):
        name, colour = concepts[7 * i % len(concepts)], colours[(3 * i + i // len(concepts)) % len(colours)]
        yield name, colour, tests['prompt'].format(phrase=phrases[name], background=article(colour))


class Judge(nn.Module):
    """A plain network of convolutions; unlike tessera-clip it has never seen a word."""

    def __init__(self, classes):
        super().__init__()
        widths = [3, 32, 64, 128, 192]
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in zip(widths, widths[1:]))
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for b in widths[1:])
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x):
        x = F.avg_pool2d(x, 2)
        for layer, norm in zip(self.layers, self.norms):
            x = F.max_pool2d(F.relu(norm(layer(x))), 2)
        return self.head(x.mean((2, 3)))


def judge_of(spec, posters, file):
    """Trained once on posters of another seed by five hands; some are blurred, shifted and recoloured a little."""
    judge = Judge(len(spec['concepts']))
    if file.exists():
        judge.load_state_dict(torch.load(file, weights_only=True))
        return judge.eval()
    torch.manual_seed(JUDGE_SEED)
    rng = random.Random(JUDGE_SEED)
    x, names = singles(*posters(spec, JUDGE_HANDS, JUDGE_SEED, JUDGE_PICTURES))
    truth = torch.tensor([spec['concepts'].index(name) for name in names])
    optimiser = torch.optim.AdamW(judge.parameters(), 3e-3, weight_decay=0.05)
    steps = JUDGE_EPOCHS * (len(x) // 64)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, steps)
    for step in range(steps):
        chosen = torch.randint(len(x), (64,))
        pictures = x[chosen] * (0.9 + 0.2 * torch.rand(64, 3, 1, 1)) + 0.1 * torch.randn(64, 3, 1, 1)
        pictures = pictures.roll((rng.randint(-4, 4), rng.randint(-4, 4)), (2, 3))
        if step % 2:
            pictures = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode='replicate'), 3, 1)
        loss = F.cross_entropy(judge(pictures + 0.05 * torch.randn_like(pictures)), truth[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rate.step()
    torch.save(judge.state_dict(), file)
    return judge.eval()


def singles(lines, pixels):
    """Those of one thing: pictures in -1..1 and the names of their things."""
    kept = [i for i, line in enumerate(lines) if len(line['scene']['things']) == 1]
    return to_model(pixels[kept]), [lines[i]['scene']['things'][0]['name'] for i in kept]


def draw(pipe, prompts, spec):
    """Pictures [n, 3, 64, 64] in -1..1; picture i starts from torch's noise of seed + i."""
    tests, out = spec['tests'], []
    for first in range(0, len(prompts), 50):
        part = prompts[first:first + 50]
        seeds = [torch.Generator().manual_seed(tests['seed'] + first + i) for i in range(len(part))]
        drawn = pipe(part, num_inference_steps=tests['steps'], guidance_scale=tests['guidance_scale'], generator=seeds,
                     height=64, width=64, output_type='np').images
        out.append(to_model((drawn * 255).round()))
    return torch.cat(out)


def colour_of(pictures):
    """The names of the colours nearest to the means of the pictures' borders."""
    border = torch.ones(64, 64, dtype=torch.bool)
    border[EDGE:-EDGE, EDGE:-EDGE] = False
    means = ((pictures[:, :, border] + 1) * 127.5).mean(2)
    near = torch.cdist(means, torch.tensor(list(COLOURS.values())).float()).argmin(1)
    return [list(COLOURS)[i] for i in near]


def psnr(vae, pictures):
    """Mean decibels of a round trip, a picture at a time."""
    back = torch.cat([vae.decode(vae.encode(x).latent_dist.mean).sample for x in pictures.split(50)]).clamp(-1, 1)
    return (-10 * ((back - pictures) / 2).square().mean((1, 2, 3)).log10()).mean().item()


def bytes_of(pictures):
    return ((pictures + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def sheet(pictures, file, across=20):
    """The pictures on one sheet, to be looked at."""
    rows = len(pictures) // across
    grid = bytes_of(pictures)[:rows * across].reshape(rows, across, 64, 64, 3).transpose(0, 2, 1, 3, 4)
    Image.fromarray(grid.reshape(rows * 64, across * 64, 3)).save(file)


def score(folder, spec, posters, work, expected):
    """Measures `folder` and writes its README.md; pictures to look at go to `work`, what Tessera must find again to `expected`."""
    concepts = {c['name']: c['phrase'] for c in json.loads((HERE / '../world/concepts.json').read_text())}
    judge = judge_of(spec, posters, work / 'judge.pt')
    clip = AutoModel.from_pretrained(HERE / '../tessera-clip', dtype=torch.float32).eval()
    processor, tokenizer = (a.from_pretrained(HERE / '../tessera-clip') for a in (AutoImageProcessor, AutoTokenizer))
    words = tokenizer([PROMPT.format(concepts[name]) for name in spec['concepts']], padding=True, return_tensors='pt')
    pipe = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)

    @torch.no_grad()
    def seen(pictures):
        images = [Image.fromarray(p) for p in bytes_of(pictures)]
        return clip(**words, **processor(images, return_tensors='pt')).logits_per_image

    @torch.no_grad()
    def measure(pictures, names, colours=None):
        """Percent named right by the judge, by tessera-clip, and percent of colours right."""
        truth = torch.tensor([spec['concepts'].index(name) for name in names])
        rates = [(logits.argmax(1) == truth).float().mean().item() * 100 for logits in (judge(pictures), seen(pictures))]
        right = [a == b for a, b in zip(colour_of(pictures), colours or [])]
        return [*rates, 100 * np.mean(right) if right else None, len(names)]

    tests = spec['tests']
    names, colours, prompts = zip(*asked(spec, concepts))
    drawn = draw(pipe, list(prompts), spec)
    sheet(drawn, work / 'drawn.png')
    rows = [('**drawn from words**', measure(drawn, names, colours))]
    if expected:
        by_clip = [spec['concepts'][i] for i in seen(drawn[:SAMPLE]).argmax(1)]
        means = bytes_of(drawn[:SAMPLE]).mean((1, 2, 3)).round(2).tolist()
        asked_for = zip(prompts, names, colours, by_clip, colour_of(drawn), means)
        keys = ('prompt', 'name', 'background', 'named', 'seen_background', 'mean')
        pictures = [dict(zip(keys, one), seed=tests['seed'] + i) for i, one in enumerate(asked_for)]
    lines, pixels = posters(spec, spec['hands'], tests['seed'], 3 * tests['unseen'], 'unseen')
    lone = [line for line in lines if len(line['scene']['things']) == 1][:tests['unseen']]
    of = ([line['scene']['things'][0]['name'] for line in lone], [line['scene']['background'] for line in lone])
    told = [f'{concepts[n]} on {article(c)} background' for n, c in zip(*of)]
    drawn = draw(pipe, told, spec)
    sheet(drawn, work / 'unseen.png')
    rows.append(('the same, each thing on a colour where it never stood in training', measure(drawn, *of)))
    lines, pixels = posters(spec, spec['vae_hands'], tests['seed'], tests['pictures'], 'unseen')
    with torch.no_grad():
        vae_posters = psnr(pipe.vae, to_model(pixels))
        world = json.loads((HERE / '../world/tests.json').read_text())['scenes']
        scenes = np.stack([p for _, p in Scenes(dict(**world, detail='full')).raw(world['count'])])
        vae_scenes = psnr(pipe.vae, to_model(scenes))
        if expected:
            trips = [round(psnr(pipe.vae, to_model(scene[None])), 3) for scene in scenes[:SAMPLE]]
            expected.write_text(json.dumps(dict(pictures=pictures, scenes=trips), indent=1) + '\n')
        x, of = singles(lines, pixels)
        back = torch.cat([pipe.vae.decode(pipe.vae.encode(p).latent_dist.mean).sample for p in x.split(50)]).clamp(-1, 1)
    rows.append(('for comparison: the generator\'s own pictures', measure(x, of)))
    rows.append(('the same after a round trip through the autoencoder', measure(back, of)))
    percent = lambda v: '' if v is None else f'{v:.1f} %'
    table = '\n'.join(f'| {what} | {n} | {percent(a)} | {percent(b)} | {percent(c)} |' for what, (a, b, c, n) in rows)
    sizes = {name: sum(p.numel() for p in getattr(pipe, name).parameters()) for name in ('unet', 'vae', 'text_encoder')}
    facts = dict(
        SCORES=table, VAE_POSTERS=f'{vae_posters:.1f}', VAE_SCENES=f'{vae_scenes:.1f}', SEED=str(spec['seed']),
        **{name.upper(): f'{n:,}' for name, n in sizes.items()}, TOTAL=f'{sum(sizes.values()) / 1e6:.1f} million',
        CONCEPTS=str(len(spec['concepts'])), LIST=', '.join(spec['concepts']), STEPS=str(tests['steps']),
        GUIDANCE=str(tests['guidance_scale']), PROMPT=tests['prompt'].format(phrase='X', background='a C'),
        PICTURES=str(tests['pictures']), CHANCE=f"{100 / len(spec['concepts']):.1f}")
    card = (HERE / 'diffusion_card.md').read_text()
    for key, value in facts.items():
        card = card.replace('{' + key + '}', value)
    (folder / 'README.md').write_text(card)
    print(table, f'VAE: {vae_posters:.2f} dB on posters, {vae_scenes:.2f} dB on scenes', sep='\n', flush=True)
