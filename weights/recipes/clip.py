"""tessera-clip: `python clip.py DRAWINGS OUT` trains, exports, scores and writes the model card.

DRAWINGS is the output of render.js; scenes come from scenes.js. `--resume FOLDER` starts from an exported folder (its f16
weights alone are enough), `--score-only` measures one again. A GPU is used where there is one; checkpoints go to OUT/../clip.pt.
"""
import argparse
import json
import random
import time
from copy import deepcopy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
import torch.nn.functional as F

from captions import PROMPT, caption, corpus
from clip_model import Clip, Muon
from clip_score import score
from pictures import SIZE, Drawings, Scenes, normalise, singles
from tokenizer import build

SEED = 20240
BATCH, SCENES = 64, 40  # single things, scenes
MUON_LR, ADAM_LR = 0.02, 2e-3
AGAIN = 0.4  # weights that were trained before take smaller steps
MASKED, KEPT = 0.94, 0.35  # the part of training that sees some of the patches, and how many of them
PLAIN = 0.6  # the share of single things that fill the frame on white
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
    """Indices of the patches to keep: random, with a leaning towards the things."""
    covered = F.avg_pool2d(alpha, 8).flatten(1) > 0.02
    rank = torch.rand(covered.shape, generator=gen) + 0.5 * covered
    return rank.topk(int(rank.shape[1] * share), dim=1).indices


def contrast(logits):
    """Picture i belongs to text i; texts beyond the pictures are wrong answers only."""
    truth = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, truth, label_smoothing=0.05) +
            F.cross_entropy(logits.T[:len(logits)], truth, label_smoothing=0.05)) / 2


class Progress:
    """How much of the training is done, by steps or by the clock (of all runs, where a checkpoint went on)."""

    def __init__(self, steps, minutes, spent):
        self.steps, self.seconds, self.start = steps, minutes and 60 * minutes, time.time() - spent

    @property
    def spent(self):
        return time.time() - self.start

    def at(self, step):
        return self.spent / self.seconds if self.seconds else step / self.steps


def train(model, tokenizer, concepts, drawings, steps, minutes, checkpoint, pace):
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    model.to(device).train()
    matrices = [p for n, p in model.named_parameters() if 'encoder' in n and p.ndim == 2]
    by_muon = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in by_muon]
    optimisers = [Muon(matrices, MUON_LR), torch.optim.AdamW(rest, ADAM_LR, betas=(0.9, 0.98), weight_decay=0.02)]
    bases = [pace * MUON_LR, pace * ADAM_LR]
    rng, gen, scene_gen = random.Random(SEED), torch.Generator().manual_seed(SEED), torch.Generator().manual_seed(SEED + 1)
    step, spent, averages, before = 0, 0, [0, 0], 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=False)
        step, spent = before, _ = state['step'], state['spent']
        model.load_state_dict(state['model'])
        for o, s in zip(optimisers, state['optimisers']):
            o.load_state_dict(s)
        rng.setstate(state['rng'])
        gen.set_state(state['gen'])
        scene_gen.set_state(state['scene_gen'])
    scenes = Scenes(dict(seed=SEED, split='seen', first=step * SCENES))
    progress = Progress(steps, minutes, spent)
    threads, another = ThreadPoolExecutor(2), deepcopy(tokenizer)  # one tokenizer does not serve two threads
    torch.set_num_threads(1)

    def learn(rgb, alpha, texts, tokenizer, weight, masks, gen):
        """(loss, gradients) of pictures against texts; the first text is the first picture's, and so on."""
        keep = keep_patches(alpha, KEPT, gen).to(device) if masks else None
        ids = tokenizer(texts, padding=True, return_tensors='pt').input_ids.to(device)
        seen = model.picture(normalise(rgb).to(device), keep)
        loss = contrast(model.logit_scale.exp() * seen @ model.text(ids).T)
        return loss.item(), torch.autograd.grad(weight * loss, list(model.parameters()), allow_unused=True)

    def things(masks):
        """Every concept once: the first BATCH with a picture, the others as wrong answers only."""
        order = rng.sample(range(len(concepts)), len(concepts))
        chosen = [drawings.pick(c, rng) for c in order[:BATCH]]
        rgb, alpha, backgrounds, places = singles(drawings.rgba(chosen), drawings.black[chosen], rng, gen, PLAIN)
        blank = [None] * (len(order) - BATCH)
        texts = [caption(concepts[c], rng, b, p) for c, b, p in zip(order, backgrounds + blank, places + blank)]
        return learn(rgb, alpha, texts, tokenizer, 1, masks, gen)

    def places(masks):
        rgb, alpha, right, wrong = scenes.take(SCENES, scene_gen)
        return learn(rgb, alpha, right + wrong, another, 0.5, masks, scene_gen)

    while (done := progress.at(step)) < 1:
        rate = min(1, (step + 1) / 50, (1 - done) / 0.5)
        for o, base in zip(optimisers, bases):
            for group in o.param_groups:
                group['lr'] = base * rate
        masks = done < MASKED
        # side by side: on a crowded machine two threads of their own lose less than two that share each operation
        parts = list(threads.map(lambda part: part(masks), (things, places)))
        for p, *grads in zip(model.parameters(), *(grads for _, grads in parts)):
            p.grad = sum(g for g in grads if g is not None)
        torch.nn.utils.clip_grad_norm_(rest, 1.0)
        for o in optimisers:
            o.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=4.6052)
        step += 1
        share = max(0.02, 1 / (step - before))
        averages = [a + share * (loss - a) for a, (loss, _) in zip(averages, parts)]
        if step % 50 == 0:
            print(f'step {step}, {100 * done:.1f} %, loss {averages[0]:.3f} {averages[1]:.3f}, {progress.spent:.0f} s', flush=True)
        if step % 100 == 0:
            draft = checkpoint.with_suffix('.draft')
            torch.save(dict(step=step, spent=progress.spent, model=model.state_dict(), rng=rng.getstate(),
                            gen=gen.get_state(), scene_gen=scene_gen.get_state(), optimisers=[o.state_dict() for o in optimisers]), draft)
            draft.replace(checkpoint)
    print(f'{step} steps in {progress.spent:.0f} s', flush=True)
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
    parser.add_argument('--steps', type=int, default=4000)
    parser.add_argument('--minutes', type=float, help='train by the clock, not by steps')
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
        train(model, tokenizer, concepts, Drawings(args.drawings), args.steps, args.minutes, args.out.parent / 'clip.pt',
              AGAIN if args.resume else 1)
        export(model, config, args.out)
    score(args.out, args.drawings, concepts, PROMPT, SEED, args.expected)


if __name__ == '__main__':
    main()
