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
WORTH = {'yes-no': 2, 'where': 2, 'compare': 2}  # answers of one word that decides
ORDER = ['left', 'right', 'top', 'bottom', 'middle']  # of things in lists


class Lessons:
    """What scenes.js gives: (pictures uint8 [n, 64, 64, 3], questions) one after another."""

    def __init__(self, **options):
        command = ['node', str(HERE / 'scenes.js'), json.dumps(options)]
        self.pipe = subprocess.Popen(command, stdout=subprocess.PIPE, pipesize=1 << 20).stdout  # it draws ahead

    def take(self, n):
        for _ in range(n):
            line = json.loads(self.pipe.readline())
            count = line.get('pictures', 1)
            pixels = np.frombuffer(self.pipe.read(count * SIZE * SIZE * 3), np.uint8).reshape(count, SIZE, SIZE, 3)
            yield pixels, line['questions'], line.get('scenes', []), [line[k] for k in ('caption', 'wrong') if k in line]


WHAT = ['what is in the picture?', 'what does this picture show?', 'what can you see?', 'what is this?', 'what do you see?']
PLACED = {'on the left', 'on the right', 'at the top', 'at the bottom', 'in the middle'}
BY_NAME, BY_PLACE = 0, 2  # the heads that look for what a question names, and for what an answer is about to name
NOWHERE = [0]  # where they look for what is not there
BEHIND = 9  # instead of the rank of a place


def about_single(concept, other, background, place, rng: random.Random):
    """Questions about a picture of one big thing; its background and place are known of some pictures only."""
    phrase, name = concept['phrase'], concept['name']
    turns = [('all', rng.choice(WHAT), phrase)]
    asked = rng.choice([phrase, other['phrase']])
    turns.append(('yes-no', rng.choice(['is there {}?', 'do you see {}?', 'does the picture show {}?']).format(asked),
                  'yes' if asked == phrase else 'no'))
    if background:
        turns.append(('colour', rng.choice(['what colour is the background?', 'which colour does the background have?']), background))
    if place:
        turns.append(('where', rng.choice(['where is the {}?', 'where can you see the {}?']).format(name), place))
    if background and place:
        article = 'an' if background[0] in 'aeiou' else 'a'
        first, _, rest = phrase.partition(' ')
        big = f'the big {rest}' if first == 'the' else f'a big {rest}' if first in ('a', 'an') else f'big {phrase}'
        turns.append(('caption', rng.choice(['describe the picture.', 'describe this picture.', 'describe it.']),
                      f'{big} {place} on {article} {background} background'))
    return turns


def found_in(ids, part, start=0):
    """Where `part` ends in `ids`, or None."""
    return next((i + len(part) for i in range(start, len(ids) - len(part) + 1) if ids[i:i + len(part)] == part), None)


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
        self.placed = {self.ids(f' {place}')[0] for place in ORDER}

    def ids(self, text):
        if text not in self.known:
            self.known[text] = self.tokenizer.encode(text, add_special_tokens=False)
        return self.known[text]

    def noisy(self, ids, rng):
        """Words that are no fact give way to any token, or go: questions are then understood by what remains of them."""
        kept = [i for i in ids if i in self.facts or rng.random() > NOISE / 2]
        return [rng.randrange(4, len(self.tokenizer)) if i not in self.facts and rng.random() < NOISE else i for i in kept]

    def names_of(self, concept):
        """The words that name it in questions and in answers."""
        first, _, rest = concept['phrase'].partition(' ')
        return [self.ids(' ' + (rest if first in ('a', 'an', 'the') else concept['phrase'])), self.ids(' ' + concept['name'])]

    def looks(self, kind, asked, answer, said, shown):
        """[(head, token, columns)] of a turn: what of the picture a token has to look at. `shown` is [(concept, place's rank,
        columns)] in the order of lists; answers are foretold by the token before."""
        out, first = [], len(asked)
        last = max((i for i, token in enumerate(asked) if token in self.facts), default=0)
        about_behind = bool(found_in(asked, self.ids(' background')))
        if kind == 'yes-no' and answer == 'no' and not self.placed & set(asked):
            out.append((BY_NAME, last, NOWHERE))
        elif kind in ('where', 'size', 'yes-no', 'compare'):
            named = {}  # by where it ends and how long it is: of `dog` and `hot dog` the longer is meant
            for concept, rank, columns in shown:
                for name in self.names_of(concept):
                    end = found_in(asked, name)
                    if end and (rank == BEHIND) == about_behind:
                        named.setdefault((end, len(name)), set()).update(columns)
            if named:
                key = max(named)
                columns = sorted(named[key])
                out.append((BY_NAME, key[0] - 1, columns))
                if kind in ('where', 'size'):  # else that head looks at another thing, and its place is answered
                    out += [(BY_PLACE, first + k - 1, columns) for k in range(len(said) - 1)]
        if kind in ('what', 'all', 'caption'):
            at = 0
            for concept, rank, columns in shown:
                if rank == BEHIND:
                    continue
                end = found_in(said, self.names_of(concept)[0], at)
                if end is None:
                    continue
                end += 3 if kind == 'caption' else 0  # ` on the left`
                out += [(BY_PLACE, first + k - 1, columns) for k in range(at, end)]
                at = end
        return out

    def row(self, pictures, turns, rng, shown=(), clean=False):
        """(ids, positions, segment, is answer, looks): turn k is segment k + 1; 0 is seen by all. `shown`: things of each picture,
        [(concept, rank, patches)]. `clean`: nothing is swapped, and no turn sees another."""
        start = [self.bos]
        if pictures:
            start = self.start + ([self.image] * COLUMNS + self.ids('\n')) * pictures
        firsts = [i for i, token in enumerate(start) if token == self.image][::COLUMNS]
        things = [(c, rank, [first + 1 + p for p in patches])
                  for first, one in zip(firsts, shown) for c, rank, patches in sorted(one, key=lambda t: t[1])]
        ids, segments, answers, positions, looks = list(start), [0] * len(start), [0.0] * len(start), list(range(len(start))), []
        together = not clean and rng.random() < TOGETHER
        turns = turns[:rng.randint(1, 6)] if together else turns
        for k, (kind, question, answer) in enumerate(turns):
            # the first turn comes after a line break where there is a picture
            asked = self.ids(question if pictures and (not together or k == 0) else 'user: ' + question)
            if not clean and rng.random() < NOISY:
                asked = self.noisy(asked, rng)
            asked = asked + self.ids(' assistant:')
            said = self.ids(' ' + answer) + [self.eos]
            looks += [(head, len(ids) + token, columns) for head, token, columns in self.looks(kind, asked, answer, said, things)]
            first = len(ids) if together else len(start)
            ids += asked + said
            positions += range(first, first + len(asked) + len(said))
            segments += [0 if together else k + 1] * (len(asked) + len(said))
            weight = WORTH.get(kind, 1)
            answers += [0.0] * len(asked) + [weight] * (len(said) - 1) + [0.2 * weight]
        return ids, positions, segments, answers, looks

    def batch(self, rows):
        """Tensors of rows side by side: ids, positions, what may be seen [b, 1, n, n], targets (-100 where none) and their weights,
        then (rows, heads, tokens) of the looks and their columns [m, n]."""
        n = max(len(r[0]) for r in rows)
        n += -n % 8
        fill = [self.pad, 0, -1, 0.0]
        ids, positions, segments, answers = (
            torch.tensor([r[k] + [fill[k]] * (n - len(r[0])) for r in rows]) for k in range(4))
        seen = (segments.unsqueeze(1) == 0) | (segments.unsqueeze(1) == segments.unsqueeze(2))
        seen &= torch.ones(n, n, dtype=torch.bool).tril()
        targets = torch.full_like(ids, -100)
        targets[:, :-1] = torch.where(answers[:, 1:] > 0, ids[:, 1:], -100)
        looks = [(i, *look) for i, r in enumerate(rows) for look in r[4]]
        columns = torch.zeros(len(looks), n)
        for row, (_, _, _, at) in zip(columns, looks):
            row[at] = 1
        points = tuple(torch.tensor([look[k] for look in looks], dtype=torch.long) for k in range(3))
        return ids, positions, torch.where(seen.unsqueeze(1), 0.0, -1e9), targets, answers.roll(-1, 1), points, columns


def to_pixels(pictures, gen):
    """uint8 [n, 64, 64, 3] to [n, 3, 64, 64] in 0..1, with a little noise."""
    rgb = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    noise = 0.03 * torch.rand(len(rgb), 1, 1, 1, generator=gen)
    return (rgb + noise * torch.randn(rgb.shape, generator=gen)).clamp(0, 1)


class Names:
    """What stands at each token of a picture, in words: pictures are taught to say it with the embeddings of these words."""

    def __init__(self, packer, concepts):
        self.concepts = concepts
        self.order = {name: i for i, name in enumerate([c['name'] for c in concepts] + [f'behind {c}' for c in COLOURS])}
        # row i: the words of name i, each with the same share
        self.words = torch.zeros(len(self.order), len(packer.tokenizer))
        for name, i in self.order.items():
            ids = [k for word in name.removeprefix('behind ').split(' ') if word != 'and' for k in packer.ids(' ' + word)]
            self.words[i, ids] = 1 / len(ids)
        # a row for each size and place, the last for none
        self.more = torch.zeros(11, len(packer.tokenizer))
        for i, size in enumerate(['small', 'big']):
            for j, place in enumerate(ORDER):
                self.more[5 * i + j, packer.ids(f' {size}') + packer.ids(f' {place}')] = 1 / 2

    def of_scene(self, scene, rng):
        """([65] names, [65] sizes and places): -1 where it is a matter of taste; the class token stands for any of the things."""
        found = torch.full((8, 8), self.order['behind ' + scene['background']] if 'background' in scene else -1)
        more = torch.full((8, 8), 10)
        for t in scene['things']:
            found[self.inside(t, -4)] = -1
        for t in scene['things']:
            at = self.inside(t, t['side'] / 5)
            found[at] = self.order[t['name']]
            if 'place' in t:
                more[at] = 5 * (t['size'] == 'big') + ORDER.index(t['place'])
        first = torch.tensor([self.order[rng.choice(scene['things'])['name']]])
        return torch.cat([first, found.flatten()]), torch.cat([torch.tensor([10]), more.flatten()])

    def inside(self, thing, rim):
        """[8, 8]: the patches whose middle is in it, without its rim."""
        x = torch.arange(8) * 8 + 4
        rows, columns = ((x > thing[k] + rim) & (x < thing[k] + thing['side'] - rim) for k in 'yx')
        return rows.unsqueeze(1) & columns

    def shown(self, scene):
        """[(concept, rank of its place, patches)] for Packer.row; the background is the last."""
        things, free = [], torch.ones(8, 8, dtype=torch.bool)
        for t in scene['things']:
            patches = self.inside(t, t['side'] / 5).flatten().nonzero().flatten().tolist()
            things.append((self.concepts[self.order[t['name']]], ORDER.index(t['place']), patches))
            free &= ~self.inside(t, -4)
        behind = {'phrase': scene['background'], 'name': scene['background']}
        return [*things, (behind, BEHIND, free.flatten().nonzero().flatten().tolist())]

    def of_single(self, concept, alpha, background):
        covered = F.avg_pool2d(alpha, 8).flatten()
        behind = self.order['behind ' + background] if background else -1
        found = torch.where(covered > 0.5, concept, torch.where(covered < 0.02, behind, -1))
        return torch.cat([torch.tensor([concept]), found]), torch.full((COLUMNS,), 10)
