"""tessera-clip from scratch: `python clip.py DRAWINGS OUT` trains, exports, scores and writes the model card.

DRAWINGS is the output of render.js. `--resume FOLDER` starts from an exported folder (its f16 weights alone are
enough), `--score-only` measures an exported folder again. A GPU is used where there is one; checkpoints go to
OUT/../clip.pt.
"""
import argparse
import json
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from captions import PROMPT, caption, corpus
from clip_model import Clip, Muon
from clip_score import score
from pictures import SIZE, Drawings, normalise, scenes
from tokenizer import build

SEED = 20240
BATCH = 64
MUON_LR, ADAM_LR = 0.02, 2e-3
MASKED = 0.9  # the part of training that sees half of the patches
PLAIN = {0: 0.0, 300: 0.6, 500: 0.85}  # from a step on, the share of pictures that fill the frame on white
HERE = Path(__file__).parent


def config_of(tokenizer):
    ids = {f'{name}_token_id': getattr(tokenizer, f'{name}_token_id') for name in ('bos', 'eos', 'pad')}
    text = dict(hidden_size=128, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4, projection_dim=128,
                vocab_size=len(tokenizer), max_position_embeddings=tokenizer.model_max_length,
                hidden_act='quick_gelu', **ids)
    vision = dict(hidden_size=160, intermediate_size=640, num_hidden_layers=5, num_attention_heads=5,
                  image_size=SIZE, patch_size=8, hidden_act='quick_gelu', projection_dim=128)
    return dict(text_config=text, vision_config=vision, projection_dim=128)


def keep_patches(alpha, share, gen):
    """Indices of the patches to keep: random, with a leaning towards the thing."""
    covered = F.avg_pool2d(alpha, 8).flatten(1) > 0.02
    rank = torch.rand(covered.shape, generator=gen) + 0.5 * covered
    return rank.topk(int(rank.shape[1] * share), dim=1).indices


def train(model, tokenizer, concepts, drawings, steps, checkpoint):
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    model.to(device).train()
    matrices = [p for n, p in model.named_parameters() if 'encoder' in n and p.ndim == 2]
    by_muon = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in by_muon]
    optimisers = [Muon(matrices, MUON_LR), torch.optim.AdamW(rest, ADAM_LR, betas=(0.9, 0.98), weight_decay=0.02)]
    bases = [MUON_LR, ADAM_LR]
    rng, gen, start = random.Random(SEED), torch.Generator().manual_seed(SEED), time.time()
    first, average = 0, None
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=False)
        first = state['step']
        model.load_state_dict(state['model'])
        for o, s in zip(optimisers, state['optimisers']):
            o.load_state_dict(s)
        rng.setstate(state['rng'])
        gen.set_state(state['gen'])
    for step in range(first, steps):
        rate = min(1, (step + 1) / 50, (steps - step) / (0.375 * steps))
        for o, base in zip(optimisers, bases):
            for group in o.param_groups:
                group['lr'] = base * rate
        # Every concept once a step: the first BATCH with a picture, the others as wrong answers only.
        order = rng.sample(range(len(concepts)), len(concepts))
        chosen = [drawings.pick(c, rng) for c in order[:BATCH]]
        plain = max(share for start, share in PLAIN.items() if step >= start)
        rgb, alpha, backgrounds, places = scenes(drawings.rgba[chosen], rng, gen, plain)
        blank = [None] * (len(order) - BATCH)
        texts = [caption(concepts[c], rng, b, p) for c, b, p in zip(order, backgrounds + blank, places + blank)]
        ids = tokenizer(texts, padding=True, return_tensors='pt').input_ids
        keep = keep_patches(alpha, 0.5, gen).to(device) if step < steps * MASKED else None
        logits = model.logit_scale.exp() * model.picture(normalise(rgb).to(device), keep) @ model.text(ids.to(device)).T
        truth = torch.arange(BATCH, device=device)
        loss = (F.cross_entropy(logits, truth, label_smoothing=0.05) +
                F.cross_entropy(logits.T[:BATCH], truth, label_smoothing=0.05)) / 2
        model.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(rest, 1.0)
        for o in optimisers:
            o.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=4.6052)
        average = loss.item() if average is None else 0.98 * average + 0.02 * loss.item()
        if step % 50 == 49:
            right = (logits.argmax(1) == truth).float().mean().item()
            spent = time.time() - start
            print(f'step {step + 1}/{steps} loss {average:.3f} batch R@1 {right:.3f} {spent:.0f} s', flush=True)
        if step % 100 == 99:
            torch.save(dict(step=step + 1, model=model.state_dict(), rng=rng.getstate(), gen=gen.get_state(),
                            optimisers=[o.state_dict() for o in optimisers]), checkpoint)
    model.cpu().eval()


def export(model, config, folder):
    """The folder as transformers writes it: config.json, model.safetensors (f16), preprocessor_config.json."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel
    theirs = CLIPModel(CLIPConfig(**config))
    theirs.load_state_dict(model.state_dict(), strict=False)
    missing = set(dict(theirs.named_parameters())) ^ set(dict(model.named_parameters()))
    assert not missing, missing
    theirs.half().save_pretrained(folder)
    (folder / 'model.safetensors').chmod(0o644)
    CLIPImageProcessor(size={'shortest_edge': SIZE}, crop_size={'height': SIZE, 'width': SIZE}).save_pretrained(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('drawings', type=Path)
    parser.add_argument('out', type=Path)
    parser.add_argument('--steps', type=int, default=2000)
    parser.add_argument('--resume', type=Path)
    parser.add_argument('--score-only', action='store_true')
    parser.add_argument('--expected', type=Path, help='also write the answers on the shipped pictures to this file')
    args = parser.parse_args()
    concepts = json.loads((HERE / '../world/concepts.json').read_text())
    if not args.score_only:
        torch.manual_seed(SEED)
        args.out.mkdir(parents=True, exist_ok=True)
        tokenizer = build(corpus(concepts), args.out, max_length=48)
        config = config_of(tokenizer)
        model = Clip(config)
        print(f'{sum(p.numel() for p in model.parameters()):,} parameters, vocabulary {len(tokenizer)}', flush=True)
        if args.resume:
            from safetensors.torch import load_file
            model.load_state_dict({k: v.float() for k, v in load_file(args.resume / 'model.safetensors').items()})
        train(model, tokenizer, concepts, Drawings(args.drawings), args.steps, args.out.parent / 'clip.pt')
        export(model, config, args.out)
    score(args.out, args.drawings, concepts, PROMPT, SEED, args.expected)


if __name__ == '__main__':
    main()
