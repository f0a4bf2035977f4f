"""tessera-llava: `python llava.py DRAWINGS OUT` trains, exports, scores and writes the model card.

DRAWINGS is the output of render.js; scenes and questions come from scenes.js; the vision tower is ../tessera-clip's, frozen.
`--resume FOLDER` starts from an exported folder (its f16 weights alone are enough), `--score-only` measures one again.
A GPU is used where there is one; checkpoints go to OUT/../llava.pt.
"""
import argparse
import json
import random
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from transformers import AutoTokenizer, CLIPImageProcessor, GenerationConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

from clip import AGAIN, Progress
from clip_model import Muon
from llava_data import COLUMNS, Lessons, Names, Packer, about_single, to_pixels
from llava_score import LONGEST, score
from llava_words import TEMPLATE, build
from pictures import SIZE, Drawings, normalise, singles

SEED = 20247
LESSONS, SINGLES, SIGHTS = 16, 16, 96  # a step: scenes with their questions, single things, scenes to name things in
LAYERS = [-3, -1]  # of the tower: patches tell things apart best in the middle, the class token at the end
MUON_LR, ADAM_LR = 0.02, 2e-3
ATTENTION = {'vision_config': 'sdpa', 'text_config': 'eager'}  # on CPUs the others are slow with a mask
NAMING = 1  # the weight of what the projector says by itself
PLAIN = 0.6  # the share of single things that fill the frame on white
HERE = Path(__file__).parent
CLIP = HERE / '../tessera-clip'


def config_of(tokenizer):
    ids = {f'{name}_token_id': getattr(tokenizer, f'{name}_token_id') for name in ('bos', 'eos', 'pad')}
    text = dict(model_type='llama', hidden_size=256, intermediate_size=384, num_hidden_layers=3, num_attention_heads=4,
                num_key_value_heads=2, head_dim=64, vocab_size=len(tokenizer), max_position_embeddings=1024,
                tie_word_embeddings=True, **ids)
    vision = json.loads((CLIP / 'config.json').read_text())['vision_config']
    return LlavaConfig(vision_config=vision, text_config=text, image_token_index=tokenizer.image_token_id,
                       vision_feature_layer=LAYERS, vision_feature_select_strategy='full', image_seq_length=COLUMNS,
                       tie_word_embeddings=True)


def with_tower(model):
    """The tower of tessera-clip, unchanged and never trained."""
    tower, prefix = model.model.vision_tower, 'vision_model.'
    weights = {k: v.float() for k, v in load_file(CLIP / 'model.safetensors').items() if k.startswith(prefix)}
    bare = not next(iter(tower.state_dict())).startswith(prefix)  # as transformers has it since version 5
    tower.load_state_dict({k.removeprefix(prefix) if bare else k: v for k, v in weights.items()})
    return tower.requires_grad_(False).eval()


def initialise(model):
    for name, p in model.named_parameters():
        if not p.requires_grad:
            continue
        if 'embed_tokens' in name:
            torch.nn.init.normal_(p, std=0.05)
        elif p.ndim == 2:
            deep = 'o_proj' in name or 'down_proj' in name
            torch.nn.init.normal_(p, std=p.shape[1] ** -0.5 * (0.4 if deep else 1))
        elif 'bias' in name:
            torch.nn.init.zeros_(p)


@torch.no_grad()
def look(tower, pixels):
    """What the tower sees: [n, 65, 320]."""
    with torch.autocast(pixels.device.type, torch.bfloat16):
        states = tower(pixels, output_hidden_states=True).hidden_states
    return torch.cat([states[layer] for layer in LAYERS], -1)


def learn(model, rows, packer, features, names, found, device):
    """Mean cross-entropies with their graphs: of the answers, and of the words that the projector gives to `found` [n, 65]."""
    ids, positions, seen, targets = (t.to(device) for t in packer.batch(rows))
    with torch.autocast(device, torch.bfloat16):
        x = model.model.language_model.embed_tokens(ids)
        pictures = model.model.multi_modal_projector(features).to(x.dtype)
        x = x.masked_scatter((ids == packer.image).unsqueeze(-1), pictures)
        h = model.model.language_model(inputs_embeds=x, attention_mask=seen, position_ids=positions, use_cache=False)
        where = targets != -100
        logits = model.lm_head(h.last_hidden_state[where])
        known = found >= 0
        words = model.lm_head(model.model.language_model.norm(pictures[known]))
    spoken = F.cross_entropy(logits.float(), targets[where])
    return spoken, F.cross_entropy(words.float(), names.words[found[known]].to(device))


def name(model, features, packer, names, found, device):
    """The mean cross-entropy of words given to `found` by the projector, and by the first layer that reads what it says."""
    lm, known = model.model.language_model, found >= 0
    start = torch.tensor(packer.start).to(device)
    with torch.autocast(device, torch.bfloat16):
        pictures = model.model.multi_modal_projector(features)
        x = torch.cat([lm.embed_tokens(start).expand(len(pictures), -1, -1).to(pictures.dtype), pictures], 1)
        n = x.shape[1]
        positions = torch.arange(n, device=device).unsqueeze(0)
        mask = torch.full((n, n), -1e9, device=device).triu(1).expand(1, 1, n, n)
        read = lm.layers[0](x, attention_mask=mask, position_ids=positions, position_embeddings=lm.rotary_emb(x, positions))
        said = [model.lm_head(lm.norm(y[known])) for y in (pictures, read[:, len(start):])]
    truth = names.words[found[known]].to(device)
    return sum(F.cross_entropy(words.float(), truth) for words in said) / 2


def train(model, tower, tokenizer, concepts, drawings, steps, minutes, checkpoint, pace):
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    model.to(device).train()
    tower.eval()
    mine = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    matrices = [p for n, p in mine if p.ndim == 2 and 'embed' not in n]
    rest = [p for n, p in mine if p.ndim != 2 or 'embed' in n]
    optimisers = [Muon(matrices, MUON_LR), torch.optim.AdamW(rest, ADAM_LR, betas=(0.9, 0.98), weight_decay=0.01)]
    bases = [pace * MUON_LR, pace * ADAM_LR]
    rng, gen = random.Random(SEED), torch.Generator().manual_seed(SEED)
    step, spent, averages, before = 0, 0, [0] * 5, 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=False)
        step, spent = before, _ = state['step'], state['spent']
        model.load_state_dict(state['model'])
        for o, s in zip(optimisers, state['optimisers']):
            o.load_state_dict(s)
        rng.setstate(state['rng'])
        gen.set_state(state['gen'])
    progress, packer = Progress(steps, minutes, spent), Packer(tokenizer, concepts)
    names = Names(packer, concepts)
    lessons = Lessons(seed=SEED, split='seen', give='lessons', first=step * LESSONS)

    def scenes():
        rows, pictures, found = [], [], []
        for pixels, questions, shown in lessons.take(LESSONS):
            turns = [(q['question'], q['answer']) for q in questions]
            rng.shuffle(turns)
            rows.append(packer.row(len(pixels), turns, rng))
            pictures.append(pixels)
            found += [names.of_scene(scene, rng) for scene in shown]
        pixels = normalise(to_pixels(np.concatenate(pictures), gen)).to(device)
        return learn(model, rows, packer, look(tower, pixels), names, torch.stack(found), device)

    def things():
        chosen = rng.sample(range(len(concepts)), SINGLES)
        indices = [drawings.pick(c, rng) for c in chosen]
        rgb, alpha, backgrounds, places = singles(drawings.rgba(indices), drawings.black[indices], rng, gen, PLAIN)
        rows = [packer.row(1, about_single(concepts[c], rng.choice(concepts), b, p, rng), rng)
                for c, b, p in zip(chosen, backgrounds, places)]
        found = torch.stack([names.of_single(c, a, b) for c, a, b in zip(chosen, alpha, backgrounds)])
        return learn(model, rows, packer, look(tower, normalise(rgb).to(device)), names, found, device)

    sights = Lessons(seed=SEED + 2, split='seen', give='sights', first=step * SIGHTS)

    def sight():
        pictures, _, shown = zip(*sights.take(SIGHTS))
        found = torch.stack([names.of_scene(scene, rng) for (scene,) in shown])
        pixels = normalise(to_pixels(np.concatenate(pictures), gen)).to(device)
        return name(model, look(tower, pixels), packer, names, found, device)

    while (done := progress.at(step)) < 1:
        rate = min(1, (step + 1) / 50, (1 - done) / 0.6)
        for o, base in zip(optimisers, bases):
            for group in o.param_groups:
                group['lr'] = base * rate
        losses = []
        for part in (scenes, things):
            spoken, named = part()
            ((spoken + NAMING * named) / 2).backward()
            losses += [spoken.item(), named.item()]
        named = sight()
        named.backward()
        losses.append(named.item())
        torch.nn.utils.clip_grad_norm_(rest, 1.0)
        with torch.autocast(device, torch.bfloat16):
            optimisers[0].step()
        optimisers[1].step()
        for o in optimisers:
            o.zero_grad()
        step += 1
        share = max(0.02, 1 / (step - before))
        averages = [a + share * (loss - a) for a, loss in zip(averages, losses)]
        if step % 50 == 0:
            losses = ' '.join(f'{a:.3f}' for a in averages)
            print(f'step {step}, {100 * done:.1f} %, loss {losses}, {progress.spent:.0f} s', flush=True)
        if step % 100 == 0:
            draft = checkpoint.with_suffix('.draft')
            torch.save(dict(step=step, spent=progress.spent, model=model.state_dict(), rng=rng.getstate(), gen=gen.get_state(),
                            optimisers=[o.state_dict() for o in optimisers]), draft)
            draft.replace(checkpoint)
    print(f'{step} steps in {progress.spent:.0f} s', flush=True)
    return model.cpu().eval()


def export(model, tokenizer, folder):
    """The folder as transformers writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = {f'{name}_token_id': getattr(tokenizer, f'{name}_token_id') for name in ('bos', 'eos', 'pad')}
    model.generation_config = GenerationConfig(**ids, max_new_tokens=LONGEST)
    model.half().save_pretrained(folder)
    (folder / 'model.safetensors').chmod(0o644)
    images = CLIPImageProcessor.from_pretrained(CLIP)
    LlavaProcessor(images, tokenizer, patch_size=8, vision_feature_select_strategy='full', num_additional_image_tokens=1,
                   chat_template=TEMPLATE).save_pretrained(folder)


def said(count=1000):
    """What is asked and answered, to know its words."""
    for give in ('lessons', 'talk', 'pairs', 'exam'):
        for wording in ('seen', 'unseen'):
            for _, questions, _ in Lessons(seed=SEED, split='seen', give=give, wording=wording, count=count).take(count):
                yield from questions


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('drawings', type=Path)
    parser.add_argument('out', type=Path)
    parser.add_argument('--steps', type=int, default=2500)
    parser.add_argument('--minutes', type=float, help='train by the clock, not by steps')
    parser.add_argument('--resume', type=Path)
    parser.add_argument('--threads', type=int, default=0, help="CPU threads (default: torch's choice)")
    parser.add_argument('--score-only', action='store_true')
    parser.add_argument('--expected', type=Path, help='also write the answers about the first scenes to this file')
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    concepts = json.loads((HERE / '../world/concepts.json').read_text())
    if not args.score_only:
        torch.manual_seed(SEED)
        if args.resume:
            tokenizer = AutoTokenizer.from_pretrained(args.resume)
            model = LlavaForConditionalGeneration.from_pretrained(args.resume, dtype=torch.float32, attn_implementation=ATTENTION)
            tower = with_tower(model)
        else:
            tokenizer = build(concepts, said(), max_length=1024)
            model = LlavaForConditionalGeneration._from_config(config_of(tokenizer), attn_implementation=ATTENTION)
            tower = with_tower(model)
            initialise(model)
        print(f'{sum(p.numel() for p in model.parameters()):,} parameters, vocabulary {len(tokenizer)}', flush=True)
        model = train(model, tower, tokenizer, concepts, Drawings(args.drawings), args.steps, args.minutes,
                      args.out.parent / 'llava.pt', AGAIN if args.resume else 1)
        export(model, tokenizer, args.out)
    score(args.out, args.drawings, concepts, args.expected)


if __name__ == '__main__':
    main()
