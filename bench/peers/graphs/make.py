"""Makes the ONNX graphs that onnxruntime runs: one for each line of ../../cases.json, as exporters write them.

    python -m venv venv && venv/bin/pip install onnx==1.23.2 && venv/bin/python make.py

Weights that a model would hold fixed (convolutions, CLIP) are initialisers whose data is given when the session is made,
under the location 'NAME'; everything else is an input. So the files stay small.
"""
import json
import math

from onnx import TensorProto

from diffusion import unet_level, unet_step, vae_decode
from parts import FLOAT, HERE, Graph, attend, dense, norm


def matmul(g, M, K, N):
    g("MatMul", g.input("x0", [M, K]), g.input("x1", [K, N]), output="y")
    return [M, N]


def linear(g, M, K, N):
    g("Gemm", g.input("x0", [M, K]), g.input("x1", [N, K]), g.input("x2", [N]), transB=1, output="y")
    return [M, N]


def conv(k):
    def make(g, B, C, H, W, O):
        x, w = g.input("x0", [B, C, H, W]), g.weight("x1", [O, C, k, k])
        g("Conv", x, w, kernel_shape=[k, k], pads=[k // 2] * 4, output="y")
        return [B, O, H, W]

    return make


def attention(g, H, L, D):
    attend(g, *(g.input(f"x{i}", [1, H, L, D]) for i in range(3)), D, output="y")
    return [1, H, L, D]


def attention_fused(g, H, L, D):
    """The operator of onnxruntime's own, as its model optimizer writes it: [B, L, H D] in and out."""
    q, k, v = (g.input(f"x{i}", [1, L, H * D]) for i in range(3))
    g("MultiHeadAttention", q, k, v, domain="com.microsoft", num_heads=H, output="y")
    return [1, L, H * D]


def softmax(g, R, C):
    g("Softmax", g.input("x0", [R, C]), axis=-1, output="y")
    return [R, C]


def layer_norm(g, R, C):
    g("LayerNormalization", g.input("x0", [R, C]), g.input("x1", [C]), g.input("x2", [C]), epsilon=1e-5, output="y")
    return [R, C]


def group_norm_silu(g, B, C, H, W):
    """As torch exports it: groups as channels of an instance norm."""
    x, w, b = g.input("x0", [B, C, H, W]), g.input("x1", [C]), g.input("x2", [C])
    rows = g("Reshape", x, g.constant([B, 32, -1]))
    one, zero = g.constant([1.0] * 32, FLOAT), g.constant([0.0] * 32, FLOAT)
    y = g("Reshape", g("InstanceNormalization", rows, one, zero, epsilon=1e-5), g.constant([B, C, H, W]))
    channels = g.constant([C, 1, 1])
    z = g("Add", g("Mul", y, g("Reshape", w, channels)), g("Reshape", b, channels))
    g("Mul", z, g("Sigmoid", z), output="y")
    return [B, C, H, W]


def rms_norm(g, R, C):
    """onnxruntime's own operator, which its model builder writes for LLaMA."""
    g("SimplifiedLayerNormalization", g.input("x0", [R, C]), g.input("x1", [C]), epsilon=1e-5, axis=-1, output="y")
    return [R, C]


def chain(g, R, C):
    x, a, b, c = g.input("x0", [R, C]), g.input("x1", [C]), g.input("x2", [C]), g.input("x3", [R, C])
    g("Mul", g("Gelu", g("Add", g("Mul", x, a), b)), c, output="y")
    return [R, C]


def sum_last(g, R, C):
    g("ReduceSum", g.input("x0", [R, C]), g.constant([-1]), keepdims=0, output="y")
    return [R]


def sum_all(g, R, C):
    g("ReduceSum", g.input("x0", [R, C]), g.constant([0, 1]), keepdims=0, output="y")
    return []


def transpose(g, R, C):
    g("Transpose", g.input("x0", [R, C]), perm=[1, 0], output="y")
    return [C, R]


def heads(g, L, H, D):
    g("Transpose", g.input("x0", [L, H, D]), perm=[1, 0, 2], output="y")
    return [H, L, D]


def embedding(g, V, D, N):
    g("Gather", g.input("x0", [V, D]), g.input("x1", [N], TensorProto.INT32), axis=0, output="y")
    return [N, D]


def encoder(g, x, prefix, L, D, H, causal):
    triangle = [-1e9 if j > i else 0.0 for i in range(L) for j in range(L)]
    mask = g.constant(triangle, FLOAT, [1, 1, L, L]) if causal else None
    split, join = g.constant([0, 0, H, D // H]), g.constant([0, 0, D])
    slope = g.constant([1.702], FLOAT, [])
    for i in range(12):
        layer = f"{prefix}.encoder.layers.{i}"
        n = norm(g, x, f"{layer}.layer_norm1", D)
        parts = (g("Reshape", dense(g, n, f"{layer}.self_attn.{p}_proj", D, D), split) for p in "qkv")
        q, k, v = (g("Transpose", part, perm=[0, 2, 1, 3]) for part in parts)
        a = g("Reshape", g("Transpose", attend(g, q, k, v, D // H, mask), perm=[0, 2, 1, 3]), join)
        x = g("Add", x, dense(g, a, f"{layer}.self_attn.out_proj", D, D))
        h = dense(g, norm(g, x, f"{layer}.layer_norm2", D), f"{layer}.mlp.fc1", D, 4 * D)
        h = g("Mul", h, g("Sigmoid", g("Mul", h, slope)))
        x = g("Add", x, dense(g, h, f"{layer}.mlp.fc2", 4 * D, D))
    return x


def clip_text(g, B):
    ids = g.input("x0", [B, 77], TensorProto.INT32)
    at = "text_model"
    x = g("Gather", g.weight(f"{at}.embeddings.token_embedding.weight", [49408, 512]), ids, axis=0)
    x = g("Add", x, g.weight(f"{at}.embeddings.position_embedding.weight", [77, 512]))
    x = norm(g, encoder(g, x, at, 77, 512, 8, True), f"{at}.final_layer_norm", 512)
    rows = g("Add", g("ArgMax", ids, axis=-1, keepdims=0), g.constant([77 * b for b in range(B)]))
    x = g("Gather", g("Reshape", x, g.constant([B * 77, 512])), rows, axis=0)
    g("MatMul", x, g.weight("text_projection.weight", [512, 512]), output="y")
    return [B, 512]


def clip_image(g, B):
    at = "vision_model"
    pixels = g.input("x0", [B, 3, 224, 224])
    patches = g.weight(f"{at}.embeddings.patch_embedding.weight", [768, 3, 32, 32])
    x = g("Conv", pixels, patches, kernel_shape=[32, 32], strides=[32, 32])
    x = g("Transpose", g("Reshape", x, g.constant([B, 768, 49])), perm=[0, 2, 1])
    first = g("Expand", g.weight(f"{at}.embeddings.class_embedding", [768]), g.constant([B, 1, 768]))
    x = g("Concat", first, x, axis=1)
    x = g("Add", x, g.weight(f"{at}.embeddings.position_embedding.weight", [50, 768]))
    x = encoder(g, norm(g, x, f"{at}.pre_layrnorm", 768), at, 50, 768, 12, False)
    x = norm(g, g("Gather", x, g.constant([0], shape=[]), axis=1), f"{at}.post_layernorm", 768)
    g("MatMul", x, g.weight("visual_projection.weight", [768, 512]), output="y")
    return [B, 512]


def turns(start, end, half):
    """Cosines and sines of rotary positions."""
    angles = [t / 10_000 ** (i / half) for t in range(start, end) for i in range(half)]
    return [math.cos(a) for a in angles], [math.sin(a) for a in angles]


def rotate(g, x, half, cos, sin):
    a = g("Slice", x, g.constant([0]), g.constant([half]), g.constant([-1]))
    b = g("Slice", x, g.constant([half]), g.constant([2 * half]), g.constant([-1]))
    other = g("Concat", g("Neg", b), a, axis=-1)
    return g("Add", g("Mul", x, cos), g("Mul", other, sin))


def heads_apart(g, L, S, H, shared, d):
    """Attention as torch exports it, of projections [1, L, ...]."""
    half = d // 2
    tables = [[v for t in range(L) for v in table[t * half : (t + 1) * half] * 2] for table in turns(S - L, S, half)]
    cos, sin = (g.constant(table, FLOAT, [L, d]) for table in tables)
    split = lambda x, count: g("Transpose", g("Reshape", x, g.constant([1, L, count, d])), perm=[0, 2, 1, 3])
    repeat = lambda x: g("Reshape", g("Expand", g("Unsqueeze", x, g.constant([2])),
                                      g.constant([1, shared, H // shared, S, d])), g.constant([1, H, S, d]))
    mask = [-1e9 if j > i + S - L else 0.0 for i in range(L) for j in range(S)]

    def attention(q, k, v):
        k, v = rotate(g, split(k, shared), half, cos, sin), split(v, shared)
        if S > L:
            kept = [g.keep(name, [1, shared, S, d]) for name in ("k", "v")]
            past = [g.input(f"x{i}", [1, shared, S - L, d]) for i in (1, 2)]
            k, v = (g("Concat", old, new, axis=2, output=name) for old, new, name in zip(past, (k, v), kept))
        q = rotate(g, split(q, H), half, cos, sin)
        a = attend(g, q, repeat(k), repeat(v), d, g.constant(mask, FLOAT, [1, 1, L, S]) if L > 1 else None)
        return g("Reshape", g("Transpose", a, perm=[0, 2, 1, 3]), g.constant([1, L, H * d]))

    return attention


def heads_together(g, L, S, H, shared, d):
    """The operator of onnxruntime's own, as its model builder writes it."""
    tables = [g.constant(table, FLOAT, [S, d // 2]) for table in turns(0, S, d // 2)]
    seen, total = (g.constant([n], TensorProto.INT32, shape) for n, shape in ((S - 1, [1]), (S, [])))

    def attention(q, k, v):
        kept = [g.keep(name, [1, shared, S, d]) for name in ("k", "v")]
        past = [g.input(f"x{i}", [1, shared, S - L, d]) for i in (1, 2)] if S > L else ["", ""]
        return g("GroupQueryAttention", q, k, v, *past, seen, total, *tables, domain="com.microsoft",
                 num_heads=H, kv_num_heads=shared, do_rotary=1, more=kept)

    return attention


def llama_block(attention_of):
    """The last L of S tokens through a layer and the norm behind it."""
    def make(g, L, S, D, F, H, shared):
        d, at = D // H, "model.layers.0"
        attention = attention_of(g, L, S, H, shared, d)
        linear = lambda x, name, K, N: dense(g, x, f"{at}.{name}", K, N, bias=False)
        rms = lambda x, name, **last: g("SimplifiedLayerNormalization", x, g.weight(f"{name}.weight", [D]),
                                        epsilon=1e-5, axis=-1, **last)
        x = g.input("x0", [1, L, D])
        n = rms(x, f"{at}.input_layernorm")
        parts = (linear(n, f"self_attn.{p}_proj", D, (H if p == "q" else shared) * d) for p in "qkv")
        x = g("Add", x, linear(attention(*parts), "self_attn.o_proj", D, D))
        n = rms(x, f"{at}.post_attention_layernorm")
        gate = linear(n, "mlp.gate_proj", D, F)
        h = g("Mul", g("Mul", gate, g("Sigmoid", gate)), linear(n, "mlp.up_proj", D, F))
        rms(g("Add", x, linear(h, "mlp.down_proj", F, D)), "model.norm", output="y")
        return [1, L, D]

    return make


KERNELS = {
    "gemm": [matmul], "gemv": [matmul], "linear": [linear], "conv3x3": [conv(3)], "conv1x1": [conv(1)],
    "attention": [attention, attention_fused], "softmax": [softmax], "layer_norm": [layer_norm],
    "group_norm_silu": [group_norm_silu], "rms_norm": [rms_norm],
    "chain": [chain], "sum_last": [sum_last], "sum_all": [sum_all], "transpose": [transpose], "heads": [heads],
    "embedding": [embedding], "clip_text": [clip_text], "clip_image": [clip_image],
    "llama_block": [llama_block(heads_apart), llama_block(heads_together)],
    "unet_level": [unet_level(False), unet_level(True)], "unet_step": [unet_step(False), unet_step(True)],
    "vae_decode": [vae_decode("tessera", False), vae_decode("tessera", True)],
    "sd_vae_decode": [vae_decode("stable", False), vae_decode("stable", True)],
}


def identity(g, kind):
    """Brings a tensor to the device, or, read back, waits for all that was sent there before."""
    g("Identity", g.input("x0", None, kind), output="y")


for case in json.loads((HERE / "../../cases.json").read_text()):
    for form, make in zip(("", "-fused"), KERNELS[case["kernel"]]):
        graph = Graph()
        shape = make(graph, *case["dims"])
        graph.save(f"{case['kernel']}-{'x'.join(map(str, case['dims']))}{form}", shape)
for name, kind in (("float32", FLOAT), ("int32", TensorProto.INT32)):
    graph = Graph()
    identity(graph, kind)
    graph.save(f"identity-{name}", None, kind)
