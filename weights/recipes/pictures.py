"""Pictures of single things: a drawing by a random training hand, bent, recoloured, on a random background."""
import json
import math
import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from captions import COLOURS

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)
SIZE = 64


class Drawings:
    """The output of render.js: `rgba` [n, 4, 64, 64] with premultiplied alpha in 0..1, and what each drawing is."""

    def __init__(self, folder):
        self.rows = json.loads((Path(folder) / 'drawings.json').read_text())
        raw = np.fromfile(Path(folder) / 'drawings.rgba', np.uint8).reshape(len(self.rows), SIZE, SIZE, 4)
        rgba = torch.from_numpy(raw.copy()).permute(0, 3, 1, 2).float() / 255
        self.rgba = torch.cat([rgba[:, :3] * rgba[:, 3:], rgba[:, 3:]], 1)
        self.by_concept = {}
        for i, row in enumerate(self.rows):
            self.by_concept.setdefault(row['concept'], {}).setdefault(row['hand'], []).append(i)

    def pick(self, concept, rng: random.Random):
        """A drawing of the concept: hands are equally likely, then poses and pens."""
        hands = self.by_concept[concept]
        return rng.choice(hands[rng.choice(sorted(hands))])

    def plain(self, hand):
        """(drawing indices, concepts) of one hand's main drawings, as drawn."""
        rows = [(i, r['concept']) for i, r in enumerate(self.rows)
                if r['hand'] == hand and r['main'] and r['style'] == 'plain']
        return [i for i, _ in rows], [c for _, c in rows]


def on_white(rgba):
    return rgba[:, :3] + (1 - rgba[:, 3:])


def normalise(rgb):
    return (rgb - MEAN) / STD


def scenes(rgba, rng: random.Random, gen: torch.Generator, plain_share=0.0):
    """Pictures [b, 3, 64, 64] in 0..1 of single things, with names of their backgrounds and places (or None).

    `plain_share` of them fill the frame on white, bent and recoloured a little only.
    """
    b = len(rgba)

    def rand(low, high, *shape):
        return torch.rand(b, *shape, generator=gen) * (high - low) + low

    # Size, bend, place. theta maps picture coordinates to drawing coordinates, so the scale is inverted.
    scale, turn = rand(0.5, 1.1), torch.randn(b, generator=gen) * math.radians(10)
    stretch, shear, flip = rand(-0.15, 0.15).exp(), rand(-0.12, 0.12), (rand(0, 1) < 0.5).float() * 2 - 1
    plain = rand(0, 1) < plain_share if plain_share else torch.zeros(b, dtype=torch.bool)
    scale = torch.where(plain, 0.85 + 0.4 * (scale - 0.5), scale)
    room = (1 - scale).clamp(min=0.06)
    x, y = rand(-1, 1) * room, rand(-1, 1) * room
    cos, sin = turn.cos(), turn.sin()
    a = torch.stack([torch.stack([cos * stretch * flip, (sin + shear) * flip], -1),
                     torch.stack([-sin, cos / stretch], -1)], -2) / scale.view(b, 1, 1)
    shift = -(a @ torch.stack([x, y], -1).unsqueeze(-1))
    grid = F.affine_grid(torch.cat([a, shift], -1), [b, 4, SIZE, SIZE], align_corners=False)
    thing = F.grid_sample(rgba, grid, align_corners=False)
    colour, alpha = thing[:, :3], thing[:, 3:]

    # Colours: saturation (sometimes none), gain a channel, contrast; on premultiplied values, so black stays black.
    grey = colour.mean(1, keepdim=True)
    saturation = rand(0.4, 1.4, 1, 1, 1) * (rand(0, 1, 1, 1, 1) > 0.1)
    saturation[plain] = saturation[plain].clamp(min=0.6)
    colour = grey + (colour - grey) * saturation
    colour = colour * rand(0.75, 1.2, 1, 1, 1) * rand(0.85, 1.15, 3, 1, 1)
    lift = rand(-0.1, 0.15, 1, 1, 1)
    colour = torch.minimum((colour + lift * alpha).clamp(min=0), alpha)

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
