"""The U-Net with one part taken out, to see what the part is good for."""

from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ddpm_lite.blocks import Attention, ConvNeXtBlock, LinearAttention
from ddpm_lite.unet import Block, UNet

__all__ = ["Part", "without"]

Part = Literal["time", "skips", "attention", "normalisation"]


class Nothing(nn.Module):
    """Zeros [B, width], whatever comes in."""

    def __init__(self, width: int):
        super().__init__()
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x), self.width)


def without(network: UNet, part: Part) -> UNet:
    """The network with a part taken out, in place; for training from the beginning.

    "time": every t looks alike to it. "skips": the way up sees zeros where the way down's
    features would stand. "attention": none anywhere. "normalisation": no GroupNorm.

    Raises:
        ValueError: another part.
    """
    match part:
        case "time":
            network.time = Nothing(4 * network.width)  # type: ignore[assignment]
        case "skips":
            _cut_skips(network)
        case "attention":
            for block in network.modules():
                if isinstance(block, Block) and isinstance(block.attn, Attention | LinearAttention):
                    block.attn = nn.Identity()
        case "normalisation":
            _replace(network, nn.GroupNorm)
        case _:
            raise ValueError(f"part must be one of {', '.join(get_args(Part))}, got {part!r}")
    return network


def _cut_skips(network: UNet) -> None:
    """Zeros in the channels that a block of the way up receives from the way down."""
    below = _channels(network.middle_out)
    for layer in network.up:
        if isinstance(layer, Block):
            layer.register_forward_pre_hook(partial(_silenced, below))
            below = _channels(layer.res)


def _silenced(own: int, _: nn.Module, given: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    x, temb = given
    return torch.cat([x[:, :own], torch.zeros_like(x[:, own:])], dim=1), temb


def _channels(block: nn.Module) -> int:
    last: Any = block.contract if isinstance(block, ConvNeXtBlock) else block.conv2
    return last.out_channels


def _replace(module: nn.Module, kind: type[nn.Module]) -> None:
    for name, child in module.named_children():
        if isinstance(child, kind):
            setattr(module, name, nn.Identity())
        else:
            _replace(child, kind)
