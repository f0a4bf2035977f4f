"""tessera-llava: `python llava.py DRAWINGS OUT` trains, exports, scores and writes the model card.

DRAWINGS is the output of render.js; scenes and questions come from scenes.js. The vision tower is ../tessera-clip's: it goes on learning,
and tessera-clip with what it learned goes to OUT/../tessera-clip (llava_eye.py).
`--resume FOLDER` starts from an exported folder (its f16 weights alone are enough), `--score-only` measures one again.
A GPU is used where there is one; checkpoints go to OUT/../llava.pt.
"""
import argparse
import json
import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from transformers import AutoTokenizer, CLIPImageProcessor, GenerationConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

from clip import Progress
from clip_model import Muon
from llava_data import COLUMNS, Lessons, Names, Packer, about_single, to_pixels
from llava_eye import CLIP, Eye
from llava_lm import norm, run
from llava_score import LONGEST, score
from llava_words import TEMPLATE, build
from pictures import Drawings, collage, normalise, singles

SEED = 20247
LESSONS, SINGLES = 8, 10  # a step: scenes with their questions, single things
SIGHTS, GLANCES, COLLAGES = 80, 40, 64  # and scenes, single things, and things anywhere, that are only named
LAYERS = [-4, -3, -1]  # of the tower: patches tell things apart best in the middle, the class token at the end
MUON_LR, ADAM_LR = 0.02, 2e-3
AGAIN, WARM = 0.4, 20  # of these rates, for weights that were trained before; steps until they are whole
READ, LOOKS = 2, 1  # layers after which pictures say what stands where; the layer whose heads are told where to look
NAMING, LOOKING, MATCHING = 1, 0.5, 0.5  # weights of these, and of what CLIP learns, beside answers
PLAIN = 0.6  # the share of single things that fill the frame on white
HERE = Path(__file__).parent


def config_of(tokenizer):
    ids = {f'{name}_token_id': getattr(tokenizer, f'{name}_token_id') for name in ('bos', 'eos', 'pad')}
    text = dict(model_type='llama', hidden_size=256, intermediate_size=384, num_hidden_layers=3, num_attention_heads=4,
                num_key_value_heads=2, head_dim=64, vocab_size=len(tokenizer), max_position_embeddings=1024,
                tie_word_embeddings=True, **ids)
    vision = json.loads((CLIP / 'config.json').read_text())['vision_config']
    return LlavaConfig(vision_config=vision, text_config=text, image_token_index=tokenizer.image_token_id,
                       vision_feature_layer=LAYERS, vision_feature_select_strategy='full', image_seq_length=COLUMNS,
                       tie_word_embeddings=True)


def initialise(model):
    for name, p in model.named_parameters():
        if 'embed_tokens' in name:
            torch.nn.init.normal_(p, std=0.1)
        elif p.ndim == 2:
            deep = 'o_proj' in name or 'down_proj' in name
            torch.nn.init.normal_(p, std=p.shape[1] ** -0.5 * (0.4 if deep else 1))
        elif 'bias' in name:
            torch.nn.init.zeros_(p)


def widened(model):
    """A model that saw fewer layers of the tower sees LAYERS; what it makes of the new ones begins at zero."""
    before, width = model.config.vision_feature_layer, model.config.vision_config.hidden_size
    if before != LAYERS:
        first = model.model.multi_modal_projector.linear_1
        known = dict(zip(before, first.weight.data.split(width, 1)))
        first.weight = torch.nn.Parameter(torch.cat([known.get(i, torch.zeros(len(first.weight), width)) for i in LAYERS], 1))
        first.in_features = first.weight.shape[1]
        model.config.vision_feature_layer = model.model.config.vision_feature_layer = LAYERS
    return model


class Teacher:
    """The losses of a model: of its answers, of what pictures say by themselves, of where it looks."""

    def __init__(self, model, packer, names, device):
        self.model, self.packer, self.names, self.device = model, packer, names, device
        self.lm, self.projector, self.head = model.model.language_model, model.model.multi_modal_projector, model.lm_head

    def named(self, states, found, rng):
        """Mean cross-entropy of words given to `found` ([n, 65], [n, 65]) by pictures, in each of `states` [n, 65, 256]."""
        what, more = (t.to(self.device) for t in found)
        # one in eight of the patches with nothing on them
        asked = (what >= 0) & ((what < len(self.names.concepts)) | (torch.rand(what.shape, generator=rng).to(self.device) < 0.125))
        what, more = what[asked], more[asked]
        truth = self.names.words[what].to(self.device)
        placed = torch.where((more < 10).unsqueeze(1), 0.8 * truth + 0.2 * self.names.more[more].to(self.device), truth)
        losses = [F.cross_entropy(self.head(norm(self.lm.norm, x[asked])).float(), t) for x, t in zip(states, [truth, placed, placed])]
        return sum(losses) / 3

    def sights(self, features, found, rng):
        start = torch.tensor(self.packer.start).to(self.device)
        with torch.autocast(self.device, torch.bfloat16):
            pictures = self.projector(features)
            before = self.lm.embed_tokens(start).to(pictures.dtype)
            x = torch.cat([before.expand(len(pictures), -1, -1), pictures], 1)
            positions = torch.arange(x.shape[1], device=self.device).unsqueeze(0)
            seen = torch.full((x.shape[1], x.shape[1]), -1e9, dtype=x.dtype, device=self.device).triu(1)
            states, _ = run(self.lm, x, positions, seen, depth=READ)
            return self.named([pictures, *(s[:, len(start):] for s in states)], found, rng)

    def answers(self, rows, features, found, rng, judge=False):
        """(of answers, of names, of looks); or, to judge, whether each word of an answer would be said: [b, n], true where none is due."""
        ids, positions, seen, targets, weights, points, columns = self.packer.batch(rows)
        ids, positions, targets, weights, columns = (t.to(self.device) for t in (ids, positions, targets, weights, columns))
        with torch.autocast(self.device, torch.bfloat16):
            x = self.lm.embed_tokens(ids).bfloat16()
            pictures = self.projector(features).to(x.dtype)
            at = ids == self.packer.image
            x = x.masked_scatter(at.unsqueeze(-1), pictures)
            states, scores = run(self.lm, x, positions, seen.to(self.device, x.dtype), points=points, at=LOOKS)
            due = targets != -100
            logits = self.head(norm(self.lm.norm, states[-1][due])).float()
            if judge:
                right = torch.ones_like(due)
                right[due] = logits.argmax(-1) == targets[due]
                return right
            read = [pictures, *(s[at].view(pictures.shape) for s in states[:READ])]
            named = self.named(read, found, rng)
        weights = weights[due]
        spoken = (F.cross_entropy(logits, targets[due], reduction='none') * weights).sum() / weights.sum()
        looked = -((scores * columns).sum(-1) + 1e-5).log().mean()
        return spoken, named, looked


def exam(packer, count=60):
    """Scenes and pairs of trained combinations, but of another seed: rows, pictures, kinds of their turns."""
    for give in ('exam', 'pairs'):
        for pixels, questions, *_ in Lessons(seed=999, split='seen', give=give, count=count).take(count):
            turns = [(q['kind'], q['question'], q['answer']) for q in questions]
            yield packer.row(len(pixels), turns, random.Random(0), clean=True), pixels, [t[0] for t in turns]


@torch.no_grad()
def judge(teacher, eye, questions, gen):
    """{kind: percent right}: an answer is what the model would say if each of its words is the likeliest after those before it."""
    right = {}
    for part in (questions[:60], questions[60:]):
        rows, pixels, kinds = zip(*part)
        features, _ = eye(normalise(to_pixels(np.concatenate(pixels), gen)).to(teacher.device))
        words = teacher.answers(rows, features, None, None, judge=True).cpu()
        for row, told, asked in zip(rows, words, kinds):
            turn = torch.tensor(row[2])
            for k, kind in enumerate(asked):
                right.setdefault(kind, []).append(bool(told[:len(turn)][turn == k + 1].all()))
    return {kind: round(100 * sum(r) / len(r)) for kind, r in right.items()}


def train(model, eye, tokenizer, concepts, drawings, steps, minutes, checkpoint, pace, seed):
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    model.to(device).train()
    eye.to(device)
    mine = [*model.named_parameters(), *eye.projection.named_parameters('projection')]
    rest = [p for n, p in mine if p.ndim != 2 or 'embed' in n or n == 'projection.weight']
    others = {id(p) for p in rest}
    matrices = [p for _, p in mine if id(p) not in others]
    optimisers = [Muon(matrices, MUON_LR), torch.optim.AdamW(rest, ADAM_LR, betas=(0.9, 0.98), weight_decay=0.01)]
    bases = [pace * MUON_LR, pace * ADAM_LR]
    rng, gen = random.Random(seed), torch.Generator().manual_seed(seed)
    packer = Packer(tokenizer, concepts)
    names = Names(packer, concepts)
    teacher = Teacher(model, packer, names, device)
    questions = list(exam(packer))
    step, spent, averages, before = 0, 0, [0] * 6, 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=False)
        step, spent = before, _ = state['step'], state['spent']
        model.load_state_dict(state['model'])
        eye.projection.load_state_dict(state['projection'])
        for o, s in zip(optimisers, state['optimisers']):
            o.load_state_dict(s)
        rng.setstate(state['rng'])
        gen.set_state(state['gen'])
    progress = Progress(steps, minutes, spent)
    lessons = Lessons(seed=seed, split='seen', give='lessons', first=step * LESSONS)
    sights = Lessons(seed=seed + 2, split='seen', give='sights', least=3, first=step * SIGHTS)

    def stacked(found):
        return [torch.stack(part) for part in zip(*found)]

    def drawn(count):
        """`count` pictures of single things, with their concepts, names, backgrounds and places."""
        chosen = rng.sample(range(len(concepts)), count)
        indices = [drawings.pick(c, rng) for c in chosen]
        rgb, alpha, backgrounds, places = singles(drawings.rgba(indices), drawings.black[indices], rng, gen, PLAIN)
        found = [names.of_single(c, a, b) for c, a, b in zip(chosen, alpha, backgrounds)]
        return rgb, chosen, found, backgrounds, places

    def scenes():
        rows, pictures, found = [], [], []
        for pixels, asked, shown, _ in lessons.take(LESSONS):
            turns = [(q['kind'], q['question'], q['answer']) for q in asked]
            rng.shuffle(turns)
            rows.append(packer.row(len(pixels), turns, rng, [names.shown(scene) for scene in shown]))
            pictures.append(pixels)
            found += [names.of_scene(scene, rng) for scene in shown]
        features, _ = eye(normalise(to_pixels(np.concatenate(pictures), gen)).to(device))
        return teacher.answers(rows, features, stacked(found), gen)

    def things():
        rgb, chosen, found, backgrounds, places = drawn(SINGLES)
        rows = [packer.row(1, about_single(concepts[c], rng.choice(concepts), b, p, rng), rng,
                           [[(concepts[c], 0, (f[0][1:] == c).nonzero().flatten().tolist())]])
                for c, f, b, p in zip(chosen, found, backgrounds, places)]
        features, _ = eye(normalise(rgb).to(device))
        return teacher.answers(rows, features, stacked(found), gen)

    def sight():
        """(of names, of what CLIP learns)."""
        pictures, _, shown, texts = zip(*sights.take(SIGHTS))
        single, chosen, found, backgrounds, places = drawn(GLANCES)
        strewn, those = collage(drawings, concepts, rng, gen, COLLAGES)
        features, whole = eye(normalise(torch.cat([to_pixels(np.concatenate(pictures), gen), single, strewn])).to(device))
        known = [names.of_scene(s, rng) for s in (*(s for (s,) in shown), *those)]
        named = teacher.sights(features, stacked([*known[:SIGHTS], *found, *known[SIGHTS:]]), gen)
        right, wrong = zip(*texts)
        matched = eye.against(whole[:SIGHTS], right + wrong) / 2
        matched = matched + eye.against(whole[SIGHTS:SIGHTS + GLANCES], eye.texts_of(chosen, backgrounds, places, rng))
        return named, matched

    while (done := progress.at(step)) < 1:
        rate = min((step + 1) / WARM, 1 - done)
        for o, base in zip(optimisers, bases):
            for group in o.param_groups:
                group['lr'] = base * rate
        losses = []
        for part in (scenes, things):
            spoken, named, looked = part()
            ((spoken + NAMING * named + LOOKING * looked) / 2).backward()
            losses += [spoken.item(), looked.item()]
        named, matched = sight()
        (named + MATCHING * matched).backward()
        losses += [named.item(), matched.item()]
        torch.nn.utils.clip_grad_norm_(rest, 1.0)
        with torch.autocast(device, torch.bfloat16):
            optimisers[0].step()
        optimisers[1].step()
        for o in optimisers:
            o.zero_grad()
        step += 1
        share = max(0.02, 1 / (step - before))
        averages = [a + share * (loss - a) for a, loss in zip(averages, losses)]
        if step % 25 == 0:
            losses = ' '.join(f'{a:.3f}' for a in averages)
            print(f'step {step}, {100 * done:.1f} %, loss {losses}, {progress.spent:.0f} s', flush=True)
        if step % 100 == 0:
            print(judge(teacher, eye, questions, torch.Generator().manual_seed(SEED)), flush=True)
            draft = checkpoint.with_suffix('.draft')
            torch.save(dict(step=step, spent=progress.spent, model=model.state_dict(), projection=eye.projection.state_dict(), rng=rng.getstate(), gen=gen.get_state(),
                            optimisers=[o.state_dict() for o in optimisers]), draft)
            draft.replace(checkpoint)
    print(f'{step} steps in {progress.spent:.0f} s', flush=True)
    print(judge(teacher, eye, questions, torch.Generator().manual_seed(SEED)), flush=True)
    model.cpu().eval()
    eye.cpu()


def export(model, tokenizer, folder):
    """The folder as transformers writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = {f'{name}_token_id': getattr(tokenizer, f'{name}_token_id') for name in ('bos', 'eos', 'pad')}
    model.generation_config = GenerationConfig(**ids, max_new_tokens=LONGEST)
    for part in (model.config.text_config, model.config.vision_config):
        part.dtype = None  # they would keep that of training
    model.half().save_pretrained(folder)
    (folder / 'model.safetensors').chmod(0o644)
    images = CLIPImageProcessor.from_pretrained(CLIP)
    LlavaProcessor(images, tokenizer, patch_size=8, vision_feature_select_strategy='full', num_additional_image_tokens=1,
                   chat_template=TEMPLATE).save_pretrained(folder)


def said(count=1000):
    """What is asked and answered, to know its words."""
    for give in ('lessons', 'talk', 'pairs', 'exam'):
        for wording in ('seen', 'unseen'):
            for _, questions, *_ in Lessons(seed=SEED, split='seen', give=give, wording=wording, count=count).take(count):
                yield from questions


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('drawings', type=Path)
    parser.add_argument('out', type=Path)
    parser.add_argument('--steps', type=int, default=2500)
    parser.add_argument('--minutes', type=float, help='train by the clock, not by steps')
    parser.add_argument('--resume', type=Path)
    parser.add_argument('--seed', type=int, default=SEED, help='of lessons: another shows weights that go on other scenes')
    parser.add_argument('--threads', type=int, default=0, help="CPU threads (default: torch's choice)")
    parser.add_argument('--score-only', action='store_true')
    parser.add_argument('--expected', type=Path, help='also write the answers about the first scenes to this file')
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    concepts = json.loads((HERE / '../world/concepts.json').read_text())
    if not args.score_only:
        torch.manual_seed(args.seed)
        if args.resume:
            tokenizer = AutoTokenizer.from_pretrained(args.resume)
            model = LlavaForConditionalGeneration.from_pretrained(args.resume, dtype=torch.float32, attn_implementation='eager')
            widened(model)
        else:
            tokenizer = build(concepts, said(), max_length=1024)
            model = LlavaForConditionalGeneration._from_config(config_of(tokenizer), attn_implementation='eager')
            initialise(model)
        eye = Eye(model.model.vision_tower, LAYERS, concepts)
        print(f'{sum(p.numel() for p in model.parameters()):,} parameters, vocabulary {len(tokenizer)}', flush=True)
        train(model, eye, tokenizer, concepts, Drawings(args.drawings), args.steps, args.minutes, args.out.parent / 'llava.pt',
              AGAIN if args.resume else 1, args.seed)
        eye.give_back(args.out.parent / 'tessera-clip')
        export(model, tokenizer, args.out)
    score(args.out, args.drawings, concepts, args.expected)


if __name__ == '__main__':
    main()
