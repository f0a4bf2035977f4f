"""The language model of tessera-llava in training: the layers of transformers' LLaMA run by hand, so that one head can be looked at."""
import torch
import torch.nn.functional as F


def norm(module, x):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + module.variance_epsilon) * module.weight.to(x.dtype)


def turned(x, cos, sin):
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat([-b, a], -1) * sin


def layer(module, x, cos, sin, seen, points=None):
    """One layer over x [b, n, d]; `seen` [b, 1, n, n] is added to scores. Returns what it says, and the scores
    [m, n] of `points` (rows, heads, tokens), after softmax."""
    attention, mlp = module.self_attn, module.mlp
    h = norm(module.input_layernorm, x)
    q, k, v = (p(h).unflatten(-1, (-1, 64)).transpose(1, 2) for p in (attention.q_proj, attention.k_proj, attention.v_proj))
    q, k = turned(q, cos, sin), turned(k, cos, sin)
    k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], 1) for t in (k, v))
    y = (q @ k.mT * 64 ** -0.5 + seen).softmax(-1) @ v  # on CPUs faster than torch's own
    x = x + attention.o_proj(y.transpose(1, 2).flatten(2))
    h = norm(module.post_attention_layernorm, x)
    x = x + mlp.down_proj(F.silu(mlp.gate_proj(h)) * mlp.up_proj(h))
    if points is None:
        return x, None
    rows, heads, tokens = points
    scores = torch.einsum('md,mnd->mn', q[rows, heads, tokens], k[rows, heads]).float() * 64 ** -0.5
    return x, (scores + seen[rows, 0, tokens].float()).softmax(-1)


def run(lm, x, positions, seen, depth=None, points=None, at=None):
    """States after each of the first `depth` layers, and the softmaxed scores of `points` in layer `at`."""
    cos, sin = (t.unsqueeze(1).to(x.dtype) for t in lm.rotary_emb(x, positions))
    states, looked = [], None
    for i, module in enumerate(lm.layers[:depth]):
        x, scores = layer(module, x, cos, sin, seen, points if i == at else None)
        states.append(x)
        looked = scores if i == at else looked
    return states, looked
