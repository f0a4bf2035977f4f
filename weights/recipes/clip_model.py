"""CLIP in plain torch with the parameter names of transformers' CLIPModel, and the Muon optimiser."""
import math

import torch
import torch.nn.functional as F
from torch import nn


def quick_gelu(x):
    return x * torch.sigmoid(1.702 * x)


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x, causal):
        projections = self.q_proj, self.k_proj, self.v_proj
        q, k, v = (p(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in projections)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return self.out_proj(y.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        width, inner = c['hidden_size'], c['intermediate_size']
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.self_attn = Attention(width, c['num_attention_heads'])
        self.mlp = nn.ModuleDict({'fc1': nn.Linear(width, inner), 'fc2': nn.Linear(inner, width)})

    def forward(self, x, causal):
        x = x + self.self_attn(self.layer_norm1(x), causal)
        return x + self.mlp['fc2'](quick_gelu(self.mlp['fc1'](self.layer_norm2(x))))


class Encoder(nn.Module):
    def __init__(self, c, causal):
        super().__init__()
        self.causal = causal
        self.layers = nn.ModuleList(Layer(c) for _ in range(c['num_hidden_layers']))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x, self.causal)
        return x


class TextModel(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embeddings = nn.ModuleDict({
            'token_embedding': nn.Embedding(c['vocab_size'], c['hidden_size']),
            'position_embedding': nn.Embedding(c['max_position_embeddings'], c['hidden_size'])})
        self.encoder = Encoder(c, causal=True)
        self.final_layer_norm = nn.LayerNorm(c['hidden_size'])
        self.end = c['eos_token_id']

    def forward(self, ids):
        x = self.embeddings['token_embedding'](ids) + self.embeddings['position_embedding'].weight[:ids.shape[1]]
        x = self.final_layer_norm(self.encoder(x))
        return x[torch.arange(len(ids), device=ids.device), (ids == self.end).int().argmax(-1)]  # the first end token


class VisionEmbeddings(nn.Module):
    def __init__(self, c):
        super().__init__()
        width, patch = c['hidden_size'], c['patch_size']
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.patch_embedding = nn.Conv2d(3, width, patch, patch, bias=False)
        self.position_embedding = nn.Embedding((c['image_size'] // patch) ** 2 + 1, width)

    def forward(self, pixels, keep=None):
        """[b, 1 + patches, width]; `keep` [b, k] leaves only these patches (training is faster that way)."""
        position = self.position_embedding.weight
        x = self.patch_embedding(pixels).flatten(2).transpose(1, 2) + position[1:]
        if keep is not None:
            x = x.gather(1, keep.unsqueeze(-1).expand(-1, -1, x.shape[-1]))
        return torch.cat([(self.class_embedding + position[0]).expand(len(x), 1, -1), x], 1)


class VisionModel(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embeddings = VisionEmbeddings(c)
        self.pre_layrnorm = nn.LayerNorm(c['hidden_size'])
        self.encoder = Encoder(c, causal=False)
        self.post_layernorm = nn.LayerNorm(c['hidden_size'])

    def forward(self, pixels, keep=None):
        return self.post_layernorm(self.encoder(self.pre_layrnorm(self.embeddings(pixels, keep)))[:, 0])


class Clip(nn.Module):
    """`config` is the dictionary of config.json: text_config, vision_config, projection_dim."""

    def __init__(self, config):
        super().__init__()
        self.text_model, self.vision_model = TextModel(config['text_config']), VisionModel(config['vision_config'])
        size = config['projection_dim']
        self.visual_projection = nn.Linear(config['vision_config']['hidden_size'], size, bias=False)
        self.text_projection = nn.Linear(config['text_config']['hidden_size'], size, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        for name, p in self.named_parameters():
            if 'embedding' in name and 'patch' not in name:
                nn.init.normal_(p, std=0.02)
            elif p.ndim >= 2:
                deep = 'out_proj' in name or 'fc2' in name
                nn.init.normal_(p, std=p[0].numel() ** -0.5 * (0.3 if deep else 1))
            elif name.endswith('bias'):
                nn.init.zeros_(p)
        table = self.vision_model.embeddings.position_embedding.weight
        side = int((len(table) - 1) ** 0.5)
        table.data[1:] = 0.5 * waves(side, table.shape[1])  # from nothing, places take hundreds of steps to matter
        nn.init.normal_(self.vision_model.embeddings.class_embedding, std=0.5)

    def picture(self, pixels, keep=None):
        return F.normalize(self.visual_projection(self.vision_model(pixels, keep)), dim=-1)

    def text(self, ids):
        return F.normalize(self.text_projection(self.text_model(ids)), dim=-1)


def waves(side, width):
    """Sines and cosines of row and column, [side * side, width]; wavelengths from 2 pi to 200 pi patches."""
    place = torch.arange(side).float()
    angle = place.unsqueeze(1) / 100 ** torch.linspace(0, 1, width // 4)
    one = torch.cat([angle.sin(), angle.cos()], 1)
    return torch.cat([one.repeat_interleave(side, 0), one.repeat(side, 1)], 1)


class Muon(torch.optim.Optimizer):
    """Momentum made orthogonal by five Newton-Schulz steps (Keller Jordan, 2024); equal shapes go together.

    Kernels of convolutions [out, in, h, w] are matrices [out, in * h * w]."""

    def __init__(self, params, lr, momentum=0.95, weight_decay=0.1):
        super().__init__(params, {'lr': lr, 'momentum': momentum, 'weight_decay': weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            shapes = {}
            for p in group['params']:
                shapes.setdefault(p.shape, []).append(p)
            for shape, params in shapes.items():
                for p in params:
                    m = self.state[p].setdefault('momentum', torch.zeros_like(p))
                    m.lerp_(p.grad, 1 - group['momentum'])
                update = torch.stack([p.grad.lerp(self.state[p]['momentum'], group['momentum']) for p in params])
                matrices = update.flatten(2)
                update = orthogonal(matrices).view_as(update) * max(1, matrices.shape[1] / matrices.shape[2]) ** 0.5
                for p, u in zip(params, update):
                    p.mul_(1 - group['lr'] * group['weight_decay']).sub_(u, alpha=group['lr'])


def orthogonal(g):
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = g.shape[-2] > g.shape[-1]
    x = g.mT if tall else g
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        s = x @ x.mT
        x = a * x + (b * s + c * s @ s) @ x
    return x.mT if tall else x
