"""The U-Net: the network that looks at x_t and t, as the paper wires it or as the note does.

The paper's wiring is Ho et al. (2020), Appendix B: two residual blocks per resolution on the
way down and three on the way up, self-attention at chosen resolutions and in the middle, and a
skip from everything on the way down. The note's keeps no skip where the resolution changes.
"""

from collections.abc import Callable
from dataclasses import KW_ONLY, asdict, dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.compiler import is_compiling

from ddpm_lite._doors import check_kinds, door
from ddpm_lite.blocks import (
    Attention,
    ConvNeXtBlock,
    Downsample,
    Embedding,
    Fourier,
    LinearAttention,
    NoteBlock,
    ResBlock,
    SpaceToDepth,
    Upsample,
    Wiring,
    group_norm,
    sines_and_cosines,
    time_embedding,
    zero_init,
)

__all__ = ["BlockName", "TimeName", "UNet", "UNetConfig", "time_embedding"]

BlockName = Literal["resnet", "note", "convnext"]
TimeName = Literal["sinusoidal", "learned", "random"]
CHOICES = {"wiring": get_args(Wiring), "block": get_args(BlockName), "time": get_args(TimeName)}
BLOCKS = {"resnet": ResBlock, "note": NoteBlock, "convnext": ConvNeXtBlock}
Layers = nn.ModuleList
Levels = list[tuple[int, int]]  # channels and resolution, the largest images first
Make = Callable[[int, int, int | None], nn.Module]  # a Block: channels in and out, resolution


class Block(nn.Module):
    """A residual block, followed by attention at the resolutions that have it."""

    def __init__(self, res: nn.Module, attn: nn.Module):
        super().__init__()
        self.res, self.attn = res, attn

    def forward(self, x: Float[Tensor, "B C H W"], temb: Embedding) -> Float[Tensor, "B out H W"]:
        return self.attn(self.res(x, temb))


# Each way down fills `layers` and returns the channels of all that the way up will meet again.


def paper_down(layers: Layers, now: int, levels: Levels, blocks: int, make: Make) -> list[int]:
    skips = [now]
    for level, (out, resolution) in enumerate(levels):
        if level > 0:
            layers.append(Downsample(now))
            skips.append(now)
        for _ in range(blocks):
            layers.append(make(now, out, resolution))
            now = out
            skips.append(now)
    return skips


def paper_up(layers: Layers, skips: list[int], levels: Levels, blocks: int, make: Make) -> None:
    now = levels[-1][0]
    for level, (out, resolution) in reversed(list(enumerate(levels))):
        for _ in range(blocks + 1):
            layers.append(make(now + skips.pop(), out, resolution))
            now = out
        if level > 0:
            layers.append(Upsample(now))


def note_down(layers: Layers, now: int, levels: Levels, blocks: int, make: Make) -> list[int]:
    skips = [now]
    for level, (out, resolution) in enumerate(levels, start=1):
        for i in range(1, blocks + 1):
            layers.append(make(now, now, resolution if i == blocks else None))
            skips.append(now)
        last = level == len(levels)
        layers.append(nn.Conv2d(now, out, 3, padding=1) if last else SpaceToDepth(now, out))
        now = out
    return skips


def note_up(layers: Layers, skips: list[int], levels: Levels, blocks: int, make: Make) -> None:
    for level, (now, resolution) in reversed(list(enumerate(levels))):
        out = skips[-1]  # what this level began with on the way down
        for i in range(1, blocks + 1):
            layers.append(make(now + skips.pop(), now, resolution if i == blocks else None))
        layers.append(Upsample(now, out) if level > 0 else nn.Conv2d(now, out, 3, padding=1))
    layers.append(make(out + skips.pop(), out, None))


@dataclass(frozen=True)
class UNetConfig:
    """How a U-Net is built: what one chooses, whatever the images are.

    Args:
        width: channels of the first level.
        mults: one factor on width for each level.
        attention: the resolutions with self-attention; the middle always has it.
        blocks: residual blocks per level on the way down; one more on the way up in the paper's
            wiring.
        dropout: inside each residual block.
        wiring: the paper's, or the reading note's.
        block: resnet, the paper's; note, weight-standardised; or convnext.
        linear_attention: the resolutions with linear attention.
        heads: of all attention.
        head_width: channels of a head; all channels / heads when not given.
        time: sinusoidal, or Fourier features that are learned or random.
    """

    width: int = 32
    mults: tuple[int, ...] = (1, 2)
    attention: tuple[int, ...] = ()
    blocks: int = 2
    dropout: float = 0.0
    _: KW_ONLY
    wiring: Wiring = "paper"
    block: BlockName = "resnet"
    linear_attention: tuple[int, ...] = ()
    heads: int = 1
    head_width: int | None = None
    time: TimeName = "sinusoidal"

    def levels(self, size: int) -> Levels:
        """Channels and resolution of each level, for images of this height and width.

        Raises:
            TypeError: a setting of another kind.
            ValueError: settings that make no network: a width that groups do not divide, an
                unknown name, a number below one, a dropout outside [0, 1), a size that cannot be
                halved often enough, a resolution that no level has.
        """
        check_kinds(self)
        if not self.mults or min(self.mults) < 1:
            raise ValueError(
                f"mults must name at least one level, each at least 1, got {self.mults}"
            )
        groups = 8 if self.block == "note" else 4
        if self.width < groups or self.width % groups:
            raise ValueError(f"width must be a positive multiple of {groups}, got {self.width}")
        for name, allowed in CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
        at_least_one(blocks=self.blocks, heads=self.heads, head_width=self.head_width)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {self.dropout}")
        halvings = len(self.mults) - 1
        if size < 1 or size % 2**halvings:
            raise ValueError(
                f"size must be a multiple of {2**halvings}, to be halved {halvings} times, such as "
                f"{max(size >> halvings, 1) << halvings}, got {size}"
            )
        levels = [(self.width * m, size // 2**level) for level, m in enumerate(self.mults)]
        resolutions = [resolution for _, resolution in levels]
        for name in ("attention", "linear_attention"):
            for resolution in getattr(self, name):
                if resolution not in resolutions:
                    raise ValueError(
                        f"{name} must name heights of {resolutions}, which images of "
                        f"{size} x {size} have on their way down, got {resolution}"
                    )
        if both := set(self.attention) & set(self.linear_attention):
            raise ValueError(f"attention at {min(both)} must be full or linear, got both")
        return levels

    def make(self, size: int, channels: int, diffusion: Any, classes: int | None = None) -> "UNet":
        """The network for such images, with what a `GaussianDiffusion` asks of it."""
        return UNet(
            size,
            channels,
            **asdict(self),
            classes=classes,
            self_condition=diffusion.self_condition,
            learned_variance=diffusion.variance == "learned",
        )


class UNet(nn.Module):
    """eps_theta(x_t, t): images [B, channels, size, size] and t [B] in, images out.

    Args:
        size: height and width of the images; halved between levels.
        channels: of the images.
        chosen, settings: as for `UNetConfig`, by place or by name.
        self_condition: `forward` takes x0_hat too, Chen et al. (2022), Section 3.2.
        learned_variance: twice the channels come out, Nichol and Dhariwal (2021), Eq. 15.
        out_channels: of what comes out; those of the images when not given.
        classes: `forward` takes labels in 0..classes - 1 too, added to the time embedding.

    Raises:
        TypeError: a setting of another name or kind.
        ValueError: as for `UNetConfig.levels`; heads that do not divide the channels; in
            `forward`, images, t, x0_hat or labels of another shape, or inputs the network was not
            made for.
    """

    recordable = True
    """It launches the same whatever images, t and labels are: see `ddpm_lite.system.replay`."""

    @door
    def __init__(
        self,
        size: int,
        channels: int = 1,
        *chosen: Any,
        self_condition: bool = False,
        learned_variance: bool = False,
        out_channels: int | None = None,
        classes: int | None = None,
        **settings: Any,
    ):
        super().__init__()
        self.settings = c = UNetConfig(*chosen, **settings)
        levels = c.levels(size)
        at_least_one(channels=channels, out_channels=out_channels, classes=classes)
        asked: dict[str, Any] = {
            "self_condition": self_condition,
            "learned_variance": learned_variance,
        }
        asked |= {"out_channels": out_channels, "classes": classes}
        self.config: dict[str, Any] = {"size": size, "channels": channels, **asdict(c), **asked}
        """The arguments of this network, with which another like it can be made."""
        self.size, self.channels, self.width, self.classes = size, channels, c.width, classes
        self.self_condition, self.learned_variance = self_condition, learned_variance
        paper, temb = c.wiring == "paper", 4 * c.width

        def attend(channels: int, resolution: int | None) -> nn.Module:
            if resolution in c.attention:
                return Attention(channels, c.heads, c.head_width, c.wiring)
            if resolution in c.linear_attention:
                return LinearAttention(channels, c.heads, c.head_width)
            return nn.Identity()

        def res(channels_in: int, channels_out: int) -> nn.Module:
            return BLOCKS[c.block](channels_in, channels_out, temb, c.dropout)

        def make(channels_in: int, channels_out: int, resolution: int | None) -> nn.Module:
            return Block(res(channels_in, channels_out), attend(channels_out, resolution))

        self.fourier = None
        if c.time != "sinusoidal":
            self.fourier = Fourier(c.width // 2, learned=c.time == "learned")
        features = c.width if self.fourier is None else c.width + 1
        act = nn.SiLU() if paper else nn.GELU()
        self.time = nn.Sequential(nn.Linear(features, temb), act, nn.Linear(temb, temb))
        self.labels = None if classes is None else nn.Embedding(classes, temb)

        kernel = 3 if paper else 7
        channels_in = channels * (2 if self_condition else 1)
        self.conv_in = nn.Conv2d(channels_in, c.width, kernel, padding=kernel // 2)
        self.keeps_resampled = paper  # as a skip: the wirings differ in nothing else in `forward`
        down, up = (paper_down, paper_up) if paper else (note_down, note_up)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        skips = down(self.down, c.width, levels, c.blocks, make)
        now = levels[-1][0]
        self.middle_in = Block(res(now, now), Attention(now, c.heads, c.head_width, c.wiring))
        self.middle_out = res(now, now)
        up(self.up, skips, levels, c.blocks, make)
        now = levels[0][0] if paper else c.width
        out = (out_channels or channels) * (2 if learned_variance else 1)
        self.norm_out = group_norm(now) if paper else nn.Identity()
        self.act_out = nn.SiLU() if paper else nn.Identity()
        kernel = 3 if paper else 1
        self.conv_out = zero_init(nn.Conv2d(now, out, kernel, padding=kernel // 2))

    @classmethod
    def ho2020(cls, **changes: Any) -> "UNet":
        """The paper's CIFAR-10 network, 35,746,307 parameters; arguments changed by name.

        Ho et al. (2020), Appendix B.
        """
        network = {"size": 32, "channels": 3, "width": 128, "mults": (1, 2, 2, 2)}
        return cls(**{**network, "attention": (16,), "dropout": 0.1, **changes})

    @classmethod
    def note(cls, size: int = 32, channels: int = 3, **changes: Any) -> "UNet":
        """The network the reading note prints, 35,711,107 parameters; arguments changed by name.

        Linear attention at every level, full attention in the middle.
        """
        mults = changes.get("mults", (1, 2, 4, 8))
        every = tuple(size // 2**level for level in range(len(mults)))
        network = {"width": 64, "mults": mults, "linear_attention": every, "heads": 4}
        network |= {"head_width": 32, "wiring": "note", "block": "note"}
        return cls(size, channels, **{**network, **changes})

    def forward(
        self,
        xt: Float[Tensor, "B C H W"],
        t: Int[Tensor, " B"],
        x0_hat: Float[Tensor, "B C H W"] | None = None,
        labels: Int[Tensor, " B"] | None = None,
    ) -> Float[Tensor, "B out H W"]:
        self._check(xt, t, x0_hat, labels)
        if self.self_condition:
            xt = torch.cat([torch.zeros_like(xt) if x0_hat is None else x0_hat, xt], dim=1)
        features = self.fourier(t) if self.fourier else sines_and_cosines(t, self.width)
        temb = self.time(features.to(self.conv_in.weight.dtype))
        if self.labels is not None:
            temb = temb + self.labels(labels)
        h = self.conv_in(xt)
        skips = [h]
        for layer in self.down:
            h = layer(h, temb) if isinstance(layer, Block) else layer(h)
            if isinstance(layer, Block) or self.keeps_resampled:
                skips.append(h)
        h = self.middle_out(self.middle_in(h, temb), temb)
        for layer in self.up:
            joins = isinstance(layer, Block)
            h = layer(torch.cat([h, skips.pop()], dim=1), temb) if joins else layer(h)
        return self.conv_out(self.act_out(self.norm_out(h)))

    def _check(self, xt: Tensor, t: Tensor, x0_hat: Tensor | None, labels: Tensor | None) -> None:
        expected = (self.channels, self.size, self.size)
        if xt.shape[1:] != expected:
            raise ValueError(
                f"expected images of shape {expected}, got {tuple(xt.shape[1:])}: square ones, of "
                f"the size and channels of the network; load_images(..., size={self.size}, "
                f"channels={self.channels}) makes them so"
            )
        rows = (len(xt),)
        shapes = (("t", t, rows), ("x0_hat", x0_hat, xt.shape), ("labels", labels, rows))
        for name, value, shape in shapes:
            if value is not None and value.shape != shape:
                raise ValueError(f"{name} must have shape {tuple(shape)}, got {tuple(value.shape)}")
        if x0_hat is not None and not self.self_condition:
            raise ValueError("x0_hat needs a network with self_condition=True, got one without")
        if labels is not None and self.classes is None:
            raise ValueError("labels need a network with classes, got one without")
        if self.classes is None:
            return
        if labels is None:
            raise ValueError(f"labels must lie in 0..{self.classes - 1}, got None")
        # Values are looked at on the CPU only: on an accelerator that would wait for the device.
        if labels.device.type == "cpu" and not is_compiling() and len(labels):
            bad = labels[(labels < 0) | (labels >= self.classes)].tolist()
            if bad:
                raise ValueError(f"labels must lie in 0..{self.classes - 1}, got {bad[0]}")


def at_least_one(**counts: int | None) -> None:
    """Refuse a count below one; None is none of these."""
    for name, count in counts.items():
        if count is not None and count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
