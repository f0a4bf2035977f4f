"""Pictures of single things: a drawing by a random training hand, bent, recoloured, on a random background."""
import json
import math
import random
import subprocess
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from captions import COLOURS

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)
SIZE = 64


# How often a hand is drawn from. Sets in colour 1; near copies of one another less; icons, of which there are eight, less still.
WEIGHTS = {
    'streamline-emojis': 2, 'fluent-emoji': 0.6, 'fluent-emoji-flat': 0.6, 'fluent-emoji-high-contrast': 0.5,
    'emojione-monotone': 0.4, 'game-icons': 0.5, 'icon-park': 0.4, 'tabler': 0.3, 'lucide': 0.3, 'hugeicons': 0.4,
    'mdi': 0.4, 'ph': 0.4, 'iconoir': 0.2,
}
COLOURED = ('twemoji', 'noto', 'noto-v1', 'fluent-emoji', 'fluent-emoji-flat', 'emojione', 'fxemoji', 'streamline-emojis')


class Drawings:
    """The output of render.js: `rgba` [n, 4, 64, 64] bytes with straight alpha, and what each drawing is."""

    def __init__(self, folder, without=()):
        self.rows = json.loads((Path(folder) / 'drawings.json').read_text())
        raw = np.fromfile(Path(folder) / 'drawings.rgba', np.uint8).reshape(len(self.rows), SIZE, SIZE, 4)
        self.raw = torch.from_numpy(raw)
        self.black = torch.tensor([row['hand'] not in COLOURED for row in self.rows])
        self.by_concept = {}
        for i, row in enumerate(self.rows):
            if row['hand'] not in without:
                self.by_concept.setdefault(row['concept'], {}).setdefault(row['hand'], []).append(i)

    def rgba(self, indices):
        """[b, 4, 64, 64] with premultiplied alpha in 0..1."""
        rgba = self.raw[indices].permute(0, 3, 1, 2).float() / 255
        return torch.cat([rgba[:, :3] * rgba[:, 3:], rgba[:, 3:]], 1)

    def pick(self, concept, rng: random.Random):
        """A drawing of the concept: a hand by its weight, then any pose and pen."""
        hands = self.by_concept[concept]
        names = sorted(hands)
        return rng.choice(hands[rng.choices(names, [WEIGHTS.get(name, 1) for name in names])[0]])

    def plain(self, hand):
        """(drawing indices, concepts) of one hand's main drawings, as drawn."""
        rows = [(i, r['concept']) for i, r in enumerate(self.rows)
                if r['hand'] == hand and r['main'] and r['style'] == 'plain']
        return [i for i, _ in rows], [c for _, c in rows]


class Scenes:
    """Pictures and captions from the project's own generator, by a Node process at the other end of a pipe."""

    def __init__(self, options):
        command = ['node', str(Path(__file__).parent / 'scenes.js'), json.dumps(options)]
        self.pipe = subprocess.Popen(command, stdout=subprocess.PIPE).stdout

    def raw(self, n):
        """n of (what scenes.js says, bytes [64, 64, 3])."""
        return [(json.loads(self.pipe.readline()),
                 np.frombuffer(self.pipe.read(SIZE * SIZE * 3), np.uint8).reshape(SIZE, SIZE, 3)) for _ in range(n)]

    def take(self, n, gen):
        """Pictures [n, 3, 64, 64] with a little noise, where their things are [n, 1, 64, 64], n right and some wrong captions."""
        lines, pixels = zip(*self.raw(n))
        rgb = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255
        noise = 0.03 * torch.rand(n, 1, 1, 1, generator=gen)
        alpha = torch.zeros(n, 1, SIZE, SIZE)
        for mask, line in zip(alpha, lines):
            for t in line['scene']['things']:
                mask[0, t['y']:t['y'] + t['side'], t['x']:t['x'] + t['side']] = 1
        rgb = (rgb + noise * torch.randn(rgb.shape, generator=gen)).clamp(0, 1)
        return rgb, alpha, [line['caption'] for line in lines], [line['wrong'] for line in lines if 'wrong' in line]


def on_white(rgba):
    return rgba[:, :3] + (1 - rgba[:, 3:])


def normalise(rgb):
    return (rgb - MEAN) / STD


def bent(rgba, scale, x, y, gen):
    """Drawings [b, 4, 64, 64] on pictures of that size, premultiplied: `scale` of a side, centres `x` and `y` in -1..1, turned a little, any side left."""
    b = len(rgba)
    turn = torch.randn(b, generator=gen) * math.radians(10)
    stretch, shear = ((2 * torch.rand(b, generator=gen) - 1) * most for most in (0.15, 0.12))
    stretch, flip = stretch.exp(), (torch.rand(b, generator=gen) < 0.5).float() * 2 - 1
    cos, sin = turn.cos(), turn.sin()
    # theta maps picture coordinates to drawing coordinates, so the scale is inverted
    a = torch.stack([torch.stack([cos * stretch * flip, (sin + shear) * flip], -1),
                     torch.stack([-sin, cos / stretch], -1)], -2) / scale.view(b, 1, 1)
    shift = -(a @ torch.stack([x, y], -1).unsqueeze(-1))
    grid = F.affine_grid(torch.cat([a, shift], -1), [b, 4, SIZE, SIZE], align_corners=False)
    return F.grid_sample(rgba, grid, align_corners=False)


def recoloured(thing, black, gen, plain=None):
    """(colour, alpha) of premultiplied drawings in other colours; those that are `plain` keep some of theirs."""
    b = len(thing)

    def rand(low, high, *shape):
        return torch.rand(b, *shape, generator=gen) * (high - low) + low

    colour, alpha = thing[:, :3], thing[:, 3:]
    # White of an icon becomes any colour, black any dark one.
    light, dark = rand(0, 1, 3, 1, 1) ** 0.5, rand(0, 0.4, 3, 1, 1) * (rand(0, 1, 1, 1, 1) < 0.5)
    colour = torch.where(black.view(b, 1, 1, 1), colour * (light - dark).clamp(min=0) + dark * alpha, colour)
    # Saturation (sometimes none), gain a channel, contrast; on premultiplied values, so black stays black.
    grey = colour.mean(1, keepdim=True)
    saturation = rand(0.4, 1.4, 1, 1, 1) * (rand(0, 1, 1, 1, 1) > 0.1)
    if plain is not None:
        saturation[plain] = saturation[plain].clamp(min=0.6)
    colour = grey + (colour - grey) * saturation
    colour = colour * rand(0.75, 1.2, 1, 1, 1) * rand(0.85, 1.15, 3, 1, 1)
    lift = rand(-0.1, 0.15, 1, 1, 1)
    return torch.minimum((colour + lift * alpha).clamp(min=0), alpha), alpha


def collage(drawings, concepts, rng: random.Random, gen: torch.Generator, count):
    """`count` pictures [n, 3, 64, 64] in 0..1 of one to four things anywhere, by any hand, on a colour without a name, and their
    scenes as scenes.js gives them, but for names of background, places and sizes."""
    scenes, chosen, where = [], [], []
    for i in range(count):
        things = []
        for _ in range(rng.choice([2, 3, 3, 4, 4, 4])):
            for _ in range(20):
                side = rng.randint(15, 26) if rng.random() < 0.75 else rng.randint(27, 36)
                x, y = (rng.randint(-1, SIZE + 1 - side) for _ in 'xy')
                if all(x >= t['x'] + t['side'] or t['x'] >= x + side or y >= t['y'] + t['side'] or t['y'] >= y + side for t in things):
                    concept = rng.randrange(len(concepts))
                    things.append(dict(name=concepts[concept]['name'], x=x, y=y, side=side))
                    chosen.append(drawings.pick(concept, rng))
                    where.append((i, side / SIZE, (2 * x + side) / SIZE - 1, (2 * y + side) / SIZE - 1))
                    break
        scenes.append(dict(things=things))
    at, scale, x, y = (torch.tensor(w) for w in zip(*where))
    colour, alpha = recoloured(bent(drawings.rgba(chosen), scale, x, y, gen), drawings.black[chosen], gen)
    ends = torch.rand(count, 3, 2, generator=gen)
    back = F.interpolate(ends, SIZE, mode='linear').unsqueeze(2).expand(-1, -1, SIZE, -1)
    back = torch.where(torch.rand(count, 1, 1, 1, generator=gen) < 0.7, ends[:, :, :1, None], back)
    clear = torch.ones(count, 1, SIZE, SIZE).index_add_(0, at, -alpha).clamp(min=0)
    rgb = torch.zeros(count, 3, SIZE, SIZE).index_add_(0, at, colour) + back * clear
    rgb = rgb + torch.randn(rgb.shape, generator=gen) * 0.03 * torch.rand(count, 1, 1, 1, generator=gen)
    return rgb.clamp(0, 1), scenes


def singles(rgba, black, rng: random.Random, gen: torch.Generator, plain_share=0.0):
    """Pictures [b, 3, 64, 64] in 0..1 of single things, with names of their backgrounds and places (or None).

    `plain_share` of them fill the frame on white, bent and recoloured a little only; icons in `black` get colours.
    """
    b = len(rgba)

    def rand(low, high, *shape):
        return torch.rand(b, *shape, generator=gen) * (high - low) + low

    scale = rand(0.5, 1.1)
    plain = rand(0, 1) < plain_share if plain_share else torch.zeros(b, dtype=torch.bool)
    scale = torch.where(plain, 0.85 + 0.4 * (scale - 0.5), scale)
    room = (1 - scale).clamp(min=0.06)
    x, y = rand(-1, 1) * room, rand(-1, 1) * room
    colour, alpha = recoloured(bent(rgba, scale, x, y, gen), black, gen, plain)

    # Background: white, a named colour, or a sweep between two random ones.
    names, back = [], torch.empty(b, 3, SIZE, SIZE)
    for i in range(b):
        kind = rng.random()
        kind *= 0.34 if plain[i] else 1
        if kind < 0.9:
            name = 'white' if kind < 0.45 else rng.choice(list(COLOURS))
            rgb = torch.tensor(COLOURS[name]) / 255 + (0 if kind < 0.35 else torch.randn(3, generator=gen) * 0.03)
            back[i] = rgb.view(3, 1, 1)
        else:
            name = None
            ends = torch.rand(2, 3, 1, 1, generator=gen)
            back[i] = torch.lerp(ends[0], ends[1], torch.linspace(0, 1, SIZE).view(1, 1, SIZE))
        names.append(name)
    rgb = (colour + back * (1 - alpha)).clamp(0, 1)

    # Texture is no truth: a share goes through a random filter (Xu et al. 2020, arXiv:2007.13003).
    strange = rand(0, 1) < 0.15
    if strange.any():
        kernel = torch.randn(3, 3, 3, 3, generator=gen) * 27 ** -0.5
        other = F.conv2d(F.pad(rgb[strange] - 0.5, (1, 1, 1, 1), mode='replicate'), kernel) + 0.5
        rgb[strange] = torch.lerp(rgb[strange], other, rand(0.2, 0.9)[strange].view(-1, 1, 1, 1)).clamp(0, 1)
    soft = rand(0, 1) < 0.2
    rgb[soft] = F.avg_pool2d(F.pad(rgb[soft], (1, 1, 1, 1), mode='replicate'), 3, 1)
    rgb = (rgb + torch.randn(rgb.shape, generator=gen) * 0.04 * (rand(0, 1, 1, 1, 1) < 0.3)).clamp(0, 1)
    return rgb, alpha, names, [place_of(px, py) for px, py in zip(x.tolist(), y.tolist())]


def place_of(x, y):
    """The word for a centre in -1..1, or None where it would be a matter of taste."""
    if max(abs(x), abs(y)) < 0.12:
        return 'in the middle'
    if abs(x) > 0.22 and abs(x) > 2 * abs(y):
        return 'on the left' if x < 0 else 'on the right'
    if abs(y) > 0.22 and abs(y) > 2 * abs(x):
        return 'at the top' if y < 0 else 'at the bottom'
    return None
