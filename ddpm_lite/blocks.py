"""What the U-Net is built from: time embeddings, residual blocks, attention, resampling.

Two wirings, a name for each: "paper" is Ho et al. (2020), Appendix B; "note" is the network of
the reading note this book follows, with weight-standardised convolutions, a scale and a shift
from the time embedding, and linear attention.
"""

import math
from typing import Literal

import torch
from einops import rearrange
from einops.layers.torch import Rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import gelu, interpolate, layer_norm, pad, silu
from torch.nn.functional import scaled_dot_product_attention as attend

from ddpm_lite._doors import door

__all__ = [
    "Attention", "ConvNeXtBlock", "Downsample", "Fourier", "LinearAttention", "NoteBlock",
    "ResBlock", "SpaceToDepth", "Upsample", "Wiring", "time_embedding",
]  # fmt: skip

Wiring = Literal["paper", "note"]
Embedding = Float[Tensor, "B width"]  # of t, as every block receives it


@door
def time_embedding(t: Int[Tensor, " B"], width: int) -> Float[Tensor, "B width"]:
    """Sines and cosines of t at width / 2 frequencies from 1 down to 1 / 10000, [B, width].

    Eq. {eq}`eq-time-embedding`; Vaswani et al. (2017), Section 3.5, in the spacing of the DDPM
    code.

    Raises:
        TypeError: t are no integers.
        ValueError: t below 0; width below 4 or odd.
    """
    if t.is_floating_point():
        raise TypeError(f"t must be integers, got {t.dtype}")
    if t.device.type == "cpu" and len(t) and int(t.min()) < 0:
        raise ValueError(f"t must not be negative, got {int(t.min())}")
    if width < 4 or width % 2:
        raise ValueError(f"width must be an even number, 4 or more, got {width}")
    return sines_and_cosines(t, width)


def sines_and_cosines(t: Int[Tensor, " B"], width: int) -> Float[Tensor, "B width"]:
    """`time_embedding` as the network asks for it, which has checked its own width."""
    half = width // 2
    frequencies = torch.exp(-math.log(10000) / (half - 1) * torch.arange(half, device=t.device))
    angles = t[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class Fourier(nn.Module):
    """[u, sin(2 pi w u), cos(2 pi w u)] of u = t / 1000 at random w, [B, 2 count + 1].

    The frequencies w are drawn from N(0, 16^2), once; they are saved with the weights, and
    trained only if `learned`. Tancik et al. (2020).
    """

    frequencies: Tensor

    def __init__(self, count: int, learned: bool = False):
        super().__init__()
        w = 16 * torch.randn(count)
        if learned:
            self.frequencies = nn.Parameter(w)
        else:
            self.register_buffer("frequencies", w)

    def forward(self, t: Int[Tensor, " B"]) -> Float[Tensor, "B features"]:
        u = t[:, None] / 1000
        angles = 2 * math.pi * self.frequencies * u
        return torch.cat([u, angles.sin(), angles.cos()], dim=1)


def zero_init(layer: nn.Module) -> nn.Module:
    """Start a layer at zero: a block that ends in it adds nothing to its input at first."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def group_norm(channels: int) -> nn.GroupNorm:
    """32 groups at the paper's widths; at least four channels a group below them."""
    return nn.GroupNorm(math.gcd(32, channels // 4), channels, eps=1e-6)


def channel_norm(channels: int) -> nn.Module:
    """Layer normalisation over the channels of each pixel, with a gain and no shift."""
    norm = nn.LayerNorm(channels, bias=False)
    return nn.Sequential(Rearrange("b c h w -> b h w c"), norm, Rearrange("b h w c -> b c h w"))


def shortcut(in_channels: int, out_channels: int) -> nn.Module:
    """The way past a block: the identity where the channels allow it."""
    return nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)


class ResBlock(nn.Module):
    """The paper's: two 3x3 convolutions around the time embedding, and a shortcut past both."""

    def __init__(self, in_channels: int, out_channels: int, time_width: int, dropout: float):
        super().__init__()
        self.norm1 = group_norm(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.time = nn.Linear(time_width, out_channels)
        self.norm2 = group_norm(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = zero_init(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        self.shortcut = shortcut(in_channels, out_channels)

    def forward(self, x: Float[Tensor, "B C H W"], temb: Embedding) -> Float[Tensor, "B out H W"]:
        h = self.conv1(silu(self.norm1(x)))
        h = h + rearrange(self.time(silu(temb)), "b c -> b c 1 1")
        h = self.conv2(self.dropout(silu(self.norm2(h))))
        return self.shortcut(x) + h


class StandardizedConv2d(nn.Conv2d):
    """A convolution whose filters have mean 0 and variance 1, Qiao et al. (2019)."""

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B out H W"]:
        # Of the weight, not of x: under autocast x is short and the weight is not.
        eps = 1e-5 if self.weight.dtype.itemsize >= 4 else 1e-3
        # Layer normalisation is this very formula, in one kernel: six times as fast.
        weight = layer_norm(self.weight, self.weight.shape[1:], eps=eps)
        return self._conv_forward(x, weight, self.bias)


class NoteBlock(nn.Module):
    """The note's: standardised 3x3 convolutions, scaled and shifted by the time embedding.

    silu(norm(conv(x)) * (scale + 1) + shift), then silu(norm(conv(.))), plus a shortcut; eight
    groups of channels to a norm. Qiao et al. (2019); Dhariwal and Nichol (2021), Section 3.1.
    """

    def __init__(self, in_channels: int, out_channels: int, time_width: int, dropout: float):
        super().__init__()
        self.time = nn.Linear(time_width, 2 * out_channels)
        self.conv1 = StandardizedConv2d(in_channels, out_channels, 3, padding=1)
        self.norm1 = nn.GroupNorm(8, out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = StandardizedConv2d(out_channels, out_channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(8, out_channels)
        self.shortcut = shortcut(in_channels, out_channels)

    def forward(self, x: Float[Tensor, "B C H W"], temb: Embedding) -> Float[Tensor, "B out H W"]:
        scale, shift = rearrange(self.time(silu(temb)), "b (two c) -> two b c 1 1", two=2)
        h = silu(self.norm1(self.conv1(x)) * (scale + 1) + shift)
        h = silu(self.norm2(self.conv2(self.dropout(h))))
        return self.shortcut(x) + h


class ConvNeXtBlock(nn.Module):
    """A 7x7 depthwise convolution, the time embedding, then two 1x1 around a GELU, 4 times as wide.

    Liu et al. (2022), Section 2.6 and Figure 4, normalised over the whole image and without
    their layer scale: the last convolution starts at zero instead.
    """

    def __init__(self, in_channels: int, out_channels: int, time_width: int, dropout: float):
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, 7, padding=3, groups=in_channels)
        self.time = nn.Linear(time_width, in_channels)
        self.norm = nn.GroupNorm(1, in_channels)
        self.expand = nn.Conv2d(in_channels, 4 * out_channels, 1)
        self.dropout = nn.Dropout(dropout)
        self.contract = zero_init(nn.Conv2d(4 * out_channels, out_channels, 1))
        self.shortcut = shortcut(in_channels, out_channels)

    def forward(self, x: Float[Tensor, "B C H W"], temb: Embedding) -> Float[Tensor, "B out H W"]:
        h = self.depthwise(x) + rearrange(self.time(silu(temb)), "b c -> b c 1 1")
        h = self.contract(self.dropout(gelu(self.expand(self.norm(h)))))
        return self.shortcut(x) + h


class Attention(nn.Module):
    """Every pixel looks at every other: softmax(q k^T / sqrt(d)) v in each head, plus the input.

    Eq. {eq}`eq-attention`; Vaswani et al. (2017), Eq. 1. The paper's wiring normalises groups and
    starts as the identity; the note's normalises channels, has no bias in q, k and v, and starts
    at random.
    The head width d is channels / heads when not given; ValueError if that is no integer.
    """

    def __init__(
        self, channels: int, heads: int = 1, head_width: int | None = None, wiring: Wiring = "paper"
    ):
        super().__init__()
        self.heads, paper = heads, wiring == "paper"
        inner = _inner_width(channels, heads, head_width)
        self.norm = group_norm(channels) if paper else channel_norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * inner, 1, bias=paper)
        out = nn.Conv2d(inner, channels, 1)
        self.out = zero_init(out) if paper else out

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        shape = "b (three heads d) h w -> three b heads (h w) d"
        qkv = rearrange(self.qkv(self.norm(x)), shape, three=3, heads=self.heads)
        # Kernels that never write the N x N weights down want the d numbers of a pixel in a row.
        q, k, v = qkv.contiguous()
        return x + self.out(rearrange(attend(q, k, v), "b a (h w) d -> b (a d) h w", h=x.shape[2]))


class LinearAttention(nn.Module):
    """Attention that never writes down which pixel looks at which: softmax(q) (softmax(k)^T v).

    q is normalised over its d features and k over the N pixels, so the d x d product of k and v
    can be taken first: time and memory grow with N, not with its square.
    Eq. {eq}`eq-linear-attention`; Shen et al. (2021), Section 3.2, scaled as in the note by
    1 / (N sqrt(d)). The heads are those of `Attention`.
    """

    def __init__(self, channels: int, heads: int = 4, head_width: int | None = 32):
        super().__init__()
        self.heads = heads
        inner = _inner_width(channels, heads, head_width)
        # 1x1 convolutions, as matrices on [B, N, C]: that is faster, and so are three than one.
        self.norm = nn.LayerNorm(channels, bias=False)
        self.q, self.k, self.v = (nn.Linear(channels, inner, bias=False) for _ in range(3))
        self.out = nn.Linear(inner, channels)
        self.norm_out = nn.LayerNorm(channels, bias=False)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        pixels = self.norm(rearrange(x, "b c h w -> b (h w) c"))
        # [B, N, heads, d] each.
        q, k, v = (f(pixels).unflatten(2, (self.heads, -1)) for f in (self.q, self.k, self.v))
        scale = 1 / (q.shape[1] * math.sqrt(q.shape[3]))
        context = scale * torch.einsum("b n h d, b n h e -> b h d e", k.softmax(dim=1), v)
        h = torch.einsum("b n h d, b h d e -> b n h e", q.softmax(dim=3), context)
        h = self.norm_out(self.out(h.flatten(2)))
        return x + rearrange(h, "b (h w) c -> b c h w", h=x.shape[2])


def _inner_width(channels: int, heads: int, head_width: int | None) -> int:
    if heads < 1 or (head_width is None and channels % heads):
        raise ValueError(f"heads must divide the {channels} channels, got {heads}")
    return channels if head_width is None else heads * head_width


class Downsample(nn.Module):
    """Halve height and width with a strided convolution, padded below and on the right."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H//2 W//2"]:
        return self.conv(pad(x, (0, 1, 0, 1)))


class SpaceToDepth(nn.Module):
    """Halve height and width by moving each 2x2 square into the channels, then mix those."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv = nn.Conv2d(4 * in_channels, out_channels, 1)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B out H//2 W//2"]:
        return self.conv(rearrange(x, "b c (h p) (w q) -> b (c p q) h w", p=2, q=2))


class Upsample(nn.Module):
    """Double height and width by repeating pixels, then smooth with a convolution."""

    def __init__(self, in_channels: int, out_channels: int | None = None):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels or in_channels, 3, padding=1)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B out 2*H 2*W"]:
        return self.conv(interpolate(x, scale_factor=2.0, mode="nearest"))
