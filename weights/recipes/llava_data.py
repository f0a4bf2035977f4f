"""Lessons of tessera-llava: pictures, and turns of a conversation packed so that a picture is read once for all of them."""
import json
import random
import subprocess
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from captions import COLOURS
from pictures import SIZE

HERE = Path(__file__).parent
TOGETHER = 0.15  # the share of conversations whose later turns see the earlier ones, as in a chat
NOISY, NOISE = 0.3, 0.15  # the share of questions in which words are swapped for others, and how many of their words
COLUMNS = 65  # tokens of a picture


class Lessons:
    """What scenes.js gives: (pictures uint8 [n, 64, 64, 3], questions) one after another."""

    def __init__(self, **options):
        command = ['node', str(HERE / 'scenes.js'), json.dumps(options)]
        self.pipe = subprocess.Popen(command, stdout=subprocess.PIPE).stdout

    def take(self, n):
        for _ in range(n):
            line = json.loads(self.pipe.readline())
            count = line.get('pictures', 1)
            pixels = np.frombuffer(self.pipe.read(count * SIZE * SIZE * 3), np.uint8).reshape(count, SIZE, SIZE, 3)
            yield pixels, line['questions'], line.get('scenes', [])


WHAT = ['what is in the picture?', 'what does this picture show?', 'what can you see?', 'what is this?', 'what do you see?']
PLACED = {'on the left', 'on the right', 'at the top', 'at the bottom', 'in the middle'}


def about_single(concept, other, background, place, rng: random.Random):
    """Questions about a picture of one big thing; its background and place are known of some pictures only."""
    phrase, name = concept['phrase'], concept['name']
    turns = [(rng.choice(WHAT), phrase)]
    asked = rng.choice([phrase, other['phrase']])
    turns.append((rng.choice(['is there {}?', 'do you see {}?', 'does the picture show {}?']).format(asked),
                  'yes' if asked == phrase else 'no'))
    if background:
        turns.append((rng.choice(['what colour is the background?', 'which colour does the background have?']), background))
    if place:
        turns.append((rng.choice(['where is the {}?', 'where can you see the {}?']).format(name), place))
    if background and place:
        article = 'an' if background[0] in 'aeiou' else 'a'
        first, _, rest = phrase.partition(' ')
        big = f'the big {rest}' if first == 'the' else f'a big {rest}' if first in ('a', 'an') else f'big {phrase}'
        turns.append((rng.choice(['describe the picture.', 'describe this picture.', 'describe it.']),
                      f'{big} {place} on {article} {background} background'))
    return turns


class Packer:
    """Turns to rows of tokens. In a row all turns see the pictures, but (mostly) not one another: each is a question of its own."""

    def __init__(self, tokenizer, concepts):
        self.tokenizer, self.known = tokenizer, {}
        self.bos, self.eos, self.pad, self.image = (
            getattr(tokenizer, f'{n}_token_id') for n in ('bos', 'eos', 'pad', 'image'))
        self.start = [self.bos, *self.ids('user: ')]  # before a picture
        facts = ' '.join([c['phrase'] + ' ' + c['name'] for c in concepts] + list(COLOURS) + list(PLACED))
        facts += ' small big first second how many animal plant food drink building vehicle object'
        self.facts = set(self.ids(' ' + facts)) | set(self.ids(facts))

    def ids(self, text):
        if text not in self.known:
            self.known[text] = self.tokenizer.encode(text, add_special_tokens=False)
        return self.known[text]

    def noisy(self, ids, rng):
        """Words that are no fact give way to any token: questions are then understood by what remains of them."""
        return [rng.randrange(4, len(self.tokenizer)) if i not in self.facts and rng.random() < NOISE else i for i in ids]

    def row(self, pictures, turns, rng):
        """(ids, positions, segment, is answer): turn k is segment k + 1; 0 is seen by all."""
        start = [self.bos]
        if pictures:
            start = self.start + ([self.image] * COLUMNS + self.ids('\n')) * pictures
        ids, segments, answers, positions = list(start), [0] * len(start), [False] * len(start), list(range(len(start)))
        together = rng.random() < TOGETHER
        turns = turns[:rng.randint(1, 6)] if together else turns
        for k, (question, answer) in enumerate(turns):
            # the first turn comes after a line break where there is a picture
            asked = self.ids(question if pictures and (not together or k == 0) else 'user: ' + question)
            if rng.random() < NOISY:
                asked = self.noisy(asked, rng)
            asked = asked + self.ids(' assistant:')
            said = self.ids(' ' + answer) + [self.eos]
            first = len(ids) if together else len(start)
            ids += asked + said
            positions += range(first, first + len(asked) + len(said))
            segments += [0 if together else k + 1] * (len(asked) + len(said))
            answers += [False] * len(asked) + [True] * len(said)
        return ids, positions, segments, answers

    def batch(self, rows):
        """Tensors of rows side by side: ids, positions, what may be seen [b, 1, n, n], targets (-100 where none)."""
        n = max(len(r[0]) for r in rows)
        n += -n % 8
        fill = [self.pad, 0, -1, False]
        ids, positions, segments, answers = (
            torch.tensor([r[k] + [fill[k]] * (n - len(r[0])) for r in rows]) for k in range(4))
        seen = (segments.unsqueeze(1) == 0) | (segments.unsqueeze(1) == segments.unsqueeze(2))
        seen &= torch.ones(n, n, dtype=torch.bool).tril()
        targets = torch.full_like(ids, -100)
        targets[:, :-1] = torch.where(answers[:, 1:], ids[:, 1:], -100)
        return ids, positions, torch.where(seen.unsqueeze(1), 0.0, -1e9), targets


def to_pixels(pictures, gen):
    """uint8 [n, 64, 64, 3] to [n, 3, 64, 64] in 0..1, with a little noise."""
    rgb = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    noise = 0.03 * torch.rand(len(rgb), 1, 1, 1, generator=gen)
    return (rgb + noise * torch.randn(rgb.shape, generator=gen)).clamp(0, 1)


class Names:
    """What stands at each token of a picture, in words: the projector is taught to say it with the embeddings of these words."""

    def __init__(self, packer, concepts):
        self.order = {name: i for i, name in enumerate([c['name'] for c in concepts] + [f'behind {c}' for c in COLOURS])}
        # row i: the words of name i, each with the same share
        self.words = torch.zeros(len(self.order), len(packer.tokenizer))
        for name, i in self.order.items():
            ids = [k for word in name.removeprefix('behind ').split(' ') if word != 'and' for k in packer.ids(' ' + word)]
            self.words[i, ids] = 1 / len(ids)

    def of_scene(self, scene, rng):
        """[65]: -1 where it is a matter of taste; the class token stands for any of the things."""
        x = torch.arange(8) * 8 + 4
        found = torch.full((8, 8), self.order['behind ' + scene['background']])
        for t in scene['things']:
            inside = [(x > t[k] - 4) & (x < t[k] + t['side'] + 4) for k in 'yx']
            found[inside[0].unsqueeze(1) & inside[1]] = -1
        for t in scene['things']:
            rim = t['side'] / 5
            inside = [(x > t[k] + rim) & (x < t[k] + t['side'] - rim) for k in 'yx']
            found[inside[0].unsqueeze(1) & inside[1]] = self.order[t['name']]
        return torch.cat([torch.tensor([self.order[rng.choice(scene['things'])['name']]]), found.flatten()])

    def of_single(self, concept, alpha, background):
        covered = F.avg_pool2d(alpha, 8).flatten()
        behind = self.order['behind ' + background] if background else -1
        found = torch.where(covered > 0.5, concept, torch.where(covered < 0.02, behind, -1))
        return torch.cat([torch.tensor([concept]), found])
