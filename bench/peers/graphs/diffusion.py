"""Parts of diffusion models, as torch exports those of diffusers; `fused`: with onnxruntime's own operator for attention."""
import json
from collections import namedtuple

from parts import FLOAT, HERE, attend, dense, norm

Picture = namedtuple("Picture", "x B C H W")
TOKENS = 77


class Blocks:
    def __init__(self, g, fused, groups, eps, heads=1, context=0, time=0):
        """`context` and `time`: their widths; `time` is given as blocks are told it, activated."""
        self.g, self.fused, self.groups, self.eps, self.heads = g, fused, groups, eps, heads
        self.context, self.time = context, time

    def silu(self, x):
        return self.g("Mul", x, self.g("Sigmoid", x))

    def add(self, p, x, **last):
        return p._replace(x=self.g("Add", p.x, x, **last))

    def conv(self, p, name, to, k=3, stride=1, **last):
        w, b = self.g.weight(f"{name}.weight", [to, p.C, k, k]), self.g.weight(f"{name}.bias", [to])
        x = self.g("Conv", p.x, w, b, kernel_shape=[k, k], pads=[k // 2] * 4, strides=[stride] * 2, **last)
        return Picture(x, p.B, to, -(-p.H // stride), -(-p.W // stride))

    def group(self, p, name, eps=None):
        """Groups as channels of an instance norm."""
        g, channels = self.g, [p.C, 1, 1]
        one, zero = (g.constant([v] * self.groups, FLOAT) for v in (1.0, 0.0))
        rows = g("Reshape", p.x, g.constant([p.B, self.groups, -1]))
        y = g("Reshape", g("InstanceNormalization", rows, one, zero, epsilon=eps or self.eps), g.constant(list(p[1:])))
        w, b = (g("Reshape", g.weight(f"{name}.{part}", [p.C]), g.constant(channels)) for part in ("weight", "bias"))
        return p._replace(x=g("Add", g("Mul", y, w), b))

    def activated(self, p, name):
        return p._replace(x=self.silu(self.group(p, name).x))

    def resnet(self, p, name, to, temb=None):
        h = self.conv(self.activated(p, f"{name}.norm1"), f"{name}.conv1", to)
        if temb:
            time = dense(self.g, temb, f"{name}.time_emb_proj", self.time, to)
            h = self.add(h, self.g("Reshape", time, self.g.constant([-1, to, 1, 1])))
        h = self.conv(self.activated(h, f"{name}.norm2"), f"{name}.conv2", to)
        return self.add(p if p.C == to else self.conv(p, f"{name}.conv_shortcut", to, 1), h.x)

    def downsample(self, p, name):
        return self.conv(p, f"{name}.conv", p.C, stride=2)

    def upsample(self, p, name):
        x = self.g("Resize", p.x, "", self.g.constant([1.0, 1.0, 2.0, 2.0], FLOAT), mode="nearest",
                   coordinate_transformation_mode="asymmetric", nearest_mode="floor")
        return self.conv(Picture(x, p.B, p.C, 2 * p.H, 2 * p.W), f"{name}.conv", p.C)

    def tokens(self, p):
        return self.g("Transpose", self.g("Reshape", p.x, self.g.constant([p.B, p.C, p.H * p.W])), perm=[0, 2, 1])

    def pixels(self, t, p):
        return p._replace(x=self.g("Reshape", self.g("Transpose", t, perm=[0, 2, 1]), self.g.constant(list(p[1:]))))

    def attention(self, p, name, y, seen, width, bias=False):
        """Of the tokens y of a picture, on what is `seen`."""
        g, heads, d = self.g, self.heads, p.C // self.heads
        q = dense(g, y, f"{name}.to_q", p.C, p.C, bias)
        k, v = (dense(g, seen, f"{name}.to_{part}", width, p.C, bias) for part in "kv")
        if self.fused:
            a = g("MultiHeadAttention", q, k, v, domain="com.microsoft", num_heads=heads)
        else:
            split = lambda t: g("Transpose", g("Reshape", t, g.constant([p.B, -1, heads, d])), perm=[0, 2, 1, 3])
            a = g("Transpose", attend(g, split(q), split(k), split(v), d), perm=[0, 2, 1, 3])
            a = g("Reshape", a, g.constant([p.B, -1, p.C]))
        return dense(g, a, f"{name}.to_out.0", p.C, p.C)

    def transformer(self, p, name, context, **last):
        g, C, at = self.g, p.C, f"{name}.transformer_blocks.0"
        t = self.tokens(self.conv(self.group(p, f"{name}.norm", 1e-6), f"{name}.proj_in", C, 1))
        n = norm(g, t, f"{at}.norm1", C)
        t = g("Add", t, self.attention(p, f"{at}.attn1", n, n, C))
        t = g("Add", t, self.attention(p, f"{at}.attn2", norm(g, t, f"{at}.norm2", C), context, self.context))
        both = dense(g, norm(g, t, f"{at}.norm3", C), f"{at}.ff.net.0.proj", C, 8 * C)
        a, gate = (g("Slice", both, *(g.constant([v]) for v in (start, start + 4 * C, -1))) for start in (0, 4 * C))
        t = g("Add", t, dense(g, g("Mul", a, g("Gelu", gate)), f"{at}.ff.net.2", 4 * C, C))
        return self.add(p, self.conv(self.pixels(t, p), f"{name}.proj_out", C, 1).x, **last)


def unet_level(fused):
    """A ResNet block and a transformer block of Stable Diffusion 1.5."""
    def make(g, C, H, W):
        b = Blocks(g, fused, 32, 1e-5, heads=8, context=768, time=1280)
        p = Picture(g.input("x0", [1, C, H, W]), 1, C, H, W)
        temb, context = g.input("x1", [1, b.time]), g.input("x2", [1, TOKENS, b.context])
        b.transformer(b.resnet(p, "resnet", C, temb), "attention", context, output="y")
        return [1, C, H, W]

    return make


def config_of(part):
    return json.loads((HERE / f"../../../weights/tessera-diffusion/{part}/config.json").read_text())


def unet_step(fused):
    """The whole U-Net of tessera-diffusion; the time is given as sinusoids."""
    def make(g, B, H, W):
        c = config_of("unet")
        channels, width, layers = c["block_out_channels"], c["cross_attention_dim"], c["layers_per_block"]
        first, last, time = channels[0], len(channels) - 1, 4 * channels[0]
        b = Blocks(g, fused, c["norm_num_groups"], c["norm_eps"], c["attention_head_dim"], width, time)
        p = Picture(g.input("x0", [B, c["in_channels"], H, W]), B, c["in_channels"], H, W)
        temb, context = g.input("x1", [1, first]), g.input("x2", [B, TOKENS, width])
        temb = b.silu(dense(g, temb, "time_embedding.linear_1", first, time))
        temb = b.silu(dense(g, temb, "time_embedding.linear_2", time, time))

        def layer(p, at, j, to, attends):
            p = b.resnet(p, f"{at}.resnets.{j}", to, temb)
            return b.transformer(p, f"{at}.attentions.{j}", context) if attends else p

        p = b.conv(p, "conv_in", first)
        states = [p]
        for i, (to, kind) in enumerate(zip(channels, c["down_block_types"])):
            for j in range(layers):
                p = layer(p, f"down_blocks.{i}", j, to, "CrossAttn" in kind)
                states.append(p)
            if i < last:
                p = b.downsample(p, f"down_blocks.{i}.downsamplers.0")
                states.append(p)
        p = layer(p, "mid_block", 0, p.C, True)
        p = layer(p, "mid_block", 1, p.C, False)
        for i, (to, kind) in enumerate(zip(reversed(channels), c["up_block_types"])):
            for j in range(layers + 1):
                skip = states.pop()
                p = p._replace(x=g("Concat", p.x, skip.x, axis=1), C=p.C + skip.C)
                p = layer(p, f"up_blocks.{i}", j, to, "CrossAttn" in kind)
            if i < last:
                p = b.upsample(p, f"up_blocks.{i}.upsamplers.0")
        b.conv(b.activated(p, "conv_norm_out"), "conv_out", c["out_channels"], output="y")
        return [B, c["out_channels"], H, W]

    return make


STABLE = {"block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "latent_channels": 4, "norm_num_groups": 32}


def vae_decode(whose, fused):
    """The decoder of an autoencoder: tessera-diffusion's or Stable Diffusion's."""
    def make(g, H, W):
        c = STABLE if whose == "stable" else config_of("vae")
        channels, Z = list(reversed(c["block_out_channels"])), c["latent_channels"]
        b = Blocks(g, fused, c["norm_num_groups"], 1e-6)
        p = b.conv(Picture(g.input("x0", [1, Z, H, W]), 1, Z, H, W), "post_quant_conv", Z, 1)
        p = b.conv(p, "decoder.conv_in", channels[0])
        mid, attention = "decoder.mid_block.resnets", "decoder.mid_block.attentions.0"
        p = b.resnet(p, f"{mid}.0", p.C)
        t = b.tokens(b.group(p, f"{attention}.group_norm"))
        p = b.add(p, b.pixels(b.attention(p, attention, t, t, p.C, bias=True), p).x)
        p = b.resnet(p, f"{mid}.1", p.C)
        for i, to in enumerate(channels):
            for j in range(c["layers_per_block"] + 1):
                p = b.resnet(p, f"decoder.up_blocks.{i}.resnets.{j}", to)
            if i < len(channels) - 1:
                p = b.upsample(p, f"decoder.up_blocks.{i}.upsamplers.0")
        p = b.conv(b.activated(p, "decoder.conv_norm_out"), "decoder.conv_out", 3, output="y")
        return list(p[1:])

    return make
