"""The U-Net of the paper, at any width: the network that looks at x_t and t.

The wiring is that of Ho et al. (2020), Appendix B: ResNet blocks of GroupNorm, Swish and
3x3 convolutions, two per resolution on the way down and three on the way up, the time
embedding added inside each block, self-attention at chosen resolutions and in the middle.
"""

import math

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad, scaled_dot_product_attention, silu

__all__ = ["UNet", "time_embedding"]


def time_embedding(t: Int[Tensor, " B"], width: int) -> Float[Tensor, "B width"]:
    """Sines and cosines of t at width / 2 frequencies from 1 down to 1 / 10000, [B, width].

    Vaswani et al. (2017), Section 3.5, in the spacing of the DDPM code.
    """
    half = width // 2
    frequencies = torch.exp(-math.log(10000) / (half - 1) * torch.arange(half, device=t.device))
    angles = t[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def zero_init(layer: nn.Module) -> nn.Module:
    """Start a layer at zero, so that the block around it starts as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def group_norm(channels: int) -> nn.GroupNorm:
    """32 groups at the paper's widths; at least four channels a group below them."""
    return nn.GroupNorm(math.gcd(32, channels // 4), channels, eps=1e-6)


class ResBlock(nn.Module):
    """Two 3x3 convolutions around the time embedding, and a shortcut past both."""

    def __init__(self, in_channels: int, out_channels: int, time_width: int, dropout: float):
        super().__init__()
        self.norm1 = group_norm(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.time = nn.Linear(time_width, out_channels)
        self.norm2 = group_norm(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = zero_init(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)

    def forward(
        self, x: Float[Tensor, "B C H W"], temb: Float[Tensor, "B width"]
    ) -> Float[Tensor, "B out H W"]:
        h = self.conv1(silu(self.norm1(x)))
        h = h + rearrange(self.time(silu(temb)), "b c -> b c 1 1")
        h = self.conv2(self.dropout(silu(self.norm2(h))))
        return self.shortcut(x) + h


class Attention(nn.Module):
    """Every pixel looks at every other: softmax(q k^T / sqrt(C)) v, added to the input."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = group_norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = zero_init(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        q, k, v = rearrange(self.qkv(self.norm(x)), "b (three c) h w -> three b (h w) c", three=3)
        h = scaled_dot_product_attention(q, k, v)
        return x + self.out(rearrange(h, "b (h w) c -> b c h w", h=x.shape[2]))


class Downsample(nn.Module):
    """Halve height and width with a strided convolution, padded below and on the right."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H//2 W//2"]:
        return self.conv(pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Double height and width by repeating pixels, then smooth with a convolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C 2*H 2*W"]:
        return self.conv(interpolate(x, scale_factor=2.0, mode="nearest"))


class Block(nn.Module):
    """A ResBlock, followed by self-attention at the resolutions that have it."""

    def __init__(
        self, in_channels: int, out_channels: int, time_width: int, dropout: float, attention: bool
    ):
        super().__init__()
        self.res = ResBlock(in_channels, out_channels, time_width, dropout)
        self.attn = Attention(out_channels) if attention else nn.Identity()

    def forward(
        self, x: Float[Tensor, "B C H W"], temb: Float[Tensor, "B width"]
    ) -> Float[Tensor, "B out H W"]:
        return self.attn(self.res(x, temb))


class UNet(nn.Module):
    """eps_theta(x_t, t): images [B, C, size, size] and t [B] in, [B, C, size, size] out.

    Args:
        size: height and width of the images; halved between levels.
        channels: of the images.
        width: channels of the first level.
        mults: one factor per level, on width.
        attention: the resolutions with self-attention after each block; the middle has it always.
        blocks: ResBlocks per level on the way down, one more on the way up.
        dropout: inside each ResBlock.

    The paper's CIFAR-10 network is UNet(32, 3, 128, (1, 2, 2, 2), (16,), dropout=0.1), with
    35.7 million parameters (Ho et al., 2020, Appendix B).

    Raises:
        ValueError: a size that cannot be halved often enough, a width that is not a multiple
            of 4, no level at all; in `forward`, images of another shape.
    """

    def __init__(
        self,
        size: int,
        channels: int = 1,
        width: int = 32,
        mults: tuple[int, ...] = (1, 2),
        attention: tuple[int, ...] = (),
        blocks: int = 2,
        dropout: float = 0.0,
    ):
        super().__init__()
        if not mults:
            raise ValueError("mults must name at least one level, got ()")
        if width < 4 or width % 4:
            raise ValueError(f"width must be a positive multiple of 4, got {width}")
        halvings = len(mults) - 1
        if size < 1 or size % 2**halvings:
            raise ValueError(
                f"size must be a multiple of {2**halvings}, to be halved {halvings} times, "
                f"got {size}"
            )
        self.size, self.channels, self.width = size, channels, width
        time = 4 * width
        self.time = nn.Sequential(nn.Linear(width, time), nn.SiLU(), nn.Linear(time, time))
        self.conv_in = nn.Conv2d(channels, width, 3, padding=1)

        levels = [(width * m, size // 2**level) for level, m in enumerate(mults)]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        now, skips = width, [width]  # channels now, and of all that the way up will meet again
        for level, (out, resolution) in enumerate(levels):
            if level > 0:
                self.down.append(Downsample(now))
                skips.append(now)
            for _ in range(blocks):
                self.down.append(Block(now, out, time, dropout, resolution in attention))
                now = out
                skips.append(now)
        self.middle_in = Block(now, now, time, dropout, attention=True)
        self.middle_out = ResBlock(now, now, time, dropout)
        for level, (out, resolution) in reversed(list(enumerate(levels))):
            for _ in range(blocks + 1):
                channels_in = now + skips.pop()
                self.up.append(Block(channels_in, out, time, dropout, resolution in attention))
                now = out
            if level > 0:
                self.up.append(Upsample(now))
        self.norm_out = group_norm(now)
        self.conv_out = zero_init(nn.Conv2d(now, channels, 3, padding=1))

    def forward(
        self, xt: Float[Tensor, "B C H W"], t: Int[Tensor, " B"]
    ) -> Float[Tensor, "B C H W"]:
        expected = (self.channels, self.size, self.size)
        if xt.shape[1:] != expected:
            raise ValueError(f"expected images of shape {expected}, got {tuple(xt.shape[1:])}")
        temb = self.time(time_embedding(t, self.width).to(xt.dtype))
        h = self.conv_in(xt)
        skips = [h]
        for layer in self.down:
            h = layer(h) if isinstance(layer, Downsample) else layer(h, temb)
            skips.append(h)
        h = self.middle_out(self.middle_in(h, temb), temb)
        for layer in self.up:
            if isinstance(layer, Upsample):
                h = layer(h)
            else:
                h = layer(torch.cat([h, skips.pop()], dim=1), temb)
        return self.conv_out(silu(self.norm_out(h)))
