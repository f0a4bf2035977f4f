"""The vision tower of tessera-llava in training: it is tessera-clip's, goes on learning what CLIP learns, and is given back to it."""
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoTokenizer

from captions import caption
from clip import contrast
from clip_model import Clip

CLIP = Path(__file__).parent / '../tessera-clip'


def bare(tower, name):
    """`name` of a CLIPModel's weight as `tower` has it: transformers 5 leaves the prefix out."""
    prefix = 'vision_model.'
    return name if next(iter(tower.state_dict())).startswith(prefix) else name.removeprefix(prefix)


class Eye(nn.Module):
    """`tower` (of a LlavaForConditionalGeneration) gets the weights of tessera-clip; `layers` of it are what is seen."""

    def __init__(self, tower, layers, concepts):
        super().__init__()
        self.tower, self.layers, self.concepts = tower, layers, concepts
        weights = {k: v.float() for k, v in load_file(CLIP / 'model.safetensors').items()}
        tower.load_state_dict({bare(tower, k): v for k, v in weights.items() if k.startswith('vision_model.')})
        clip = Clip(json.loads((CLIP / 'config.json').read_text()))
        clip.load_state_dict(weights)
        self.projection, self.scale = clip.visual_projection, clip.logit_scale.exp().item()
        self.text = [clip.eval().requires_grad_(False).text]  # in a list: no part of what learns
        self.projection.requires_grad_(True)
        self.tokenizer = AutoTokenizer.from_pretrained(CLIP)

    def forward(self, pixels):
        """([n, 65, width of the layers], [n, 128]): what the language model is given, and the picture among texts."""
        with torch.autocast(pixels.device.type, torch.bfloat16):
            out = self.tower(pixels, output_hidden_states=True)
            whole = self.projection(out.pooler_output)
        return torch.cat([out.hidden_states[layer] for layer in self.layers], -1), nn.functional.normalize(whole.float(), dim=-1)

    def against(self, whole, texts):
        """CLIP's loss: the first text is the first picture's, and so on; those beyond are wrong answers only."""
        ids = self.tokenizer(texts, padding=True, return_tensors='pt').input_ids
        return contrast(self.scale * whole @ self.text[0](ids).to(whole.device).T)

    def texts_of(self, chosen, backgrounds, places, rng):
        """Captions of single things, then of the concepts that are not among them."""
        rest = [c for c in range(len(self.concepts)) if c not in set(chosen)]
        told = [*zip(chosen, backgrounds, places), *((c, None, None) for c in rest)]
        return [caption(self.concepts[c], rng, b, p) for c, b, p in told]

    def give_back(self, folder):
        """tessera-clip with what was learned, its text tower untouched, to `folder`."""
        file = CLIP / 'model.safetensors'
        weights = load_file(file)
        mine = self.tower.state_dict()
        for name in weights:
            if name.startswith('vision_model.'):
                weights[name] = mine[bare(self.tower, name)].half().cpu().contiguous()
        weights['visual_projection.weight'] = self.projection.weight.detach().half().cpu()
        folder.mkdir(parents=True, exist_ok=True)
        for other in CLIP.iterdir():
            (folder / other.name).write_bytes(other.read_bytes())
        save_file(weights, folder / 'model.safetensors', metadata={'format': 'pt'})
