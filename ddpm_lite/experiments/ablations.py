"""The U-Net taken apart: its layers one by one, and without a part, to see what it is good for."""

from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ddpm_lite.blocks import (
    Attention,
    ConvNeXtBlock,
    Downsample,
    LinearAttention,
    SpaceToDepth,
    Upsample,
)
from ddpm_lite.unet import Block, UNet

__all__ = ["Part", "layout", "without"]

Part = Literal["time", "skips", "attention", "normalisation"]


def layout(network: UNet) -> tuple[list[tuple[str, int, int]], dict[int, int]]:
    """The layers in the order in which an image meets them, and the skips between them.

    Works on the device "meta" too, where a network has shapes and no numbers.

    Returns:
        for each layer its kind, the channels and the side of what it hands on; and the place of
        each block on the way up -> that of the layer whose features it receives too.
    """
    down = [network.conv_in, *network.down]
    up = [network.middle_in, network.middle_out, *network.up, network.conv_out]
    layers: list[tuple[str, int, int]] = []

    def note(layer: nn.Module, _: Any, out: Tensor) -> None:
        layers.append((_kind(layer), *out.shape[1:3]))

    hooks = [layer.register_forward_hook(note) for layer in down + up]
    device = network.conv_in.weight.device
    x = torch.empty(1, network.channels, network.size, network.size, device=device)
    with torch.no_grad():
        network(x, torch.ones(1, dtype=torch.long, device=device))
    for hook in hooks:
        hook.remove()
    all_kept = network.keeps_resampled
    kept = [i for i, layer in enumerate(down) if i == 0 or all_kept or isinstance(layer, Block)]
    first = len(down) + 2  # on the way up, behind the two blocks of the middle
    joined = [i for i, layer in enumerate(network.up, first) if isinstance(layer, Block)]
    return layers, dict(zip(joined, reversed(kept), strict=True))


def _kind(layer: nn.Module) -> str:
    if isinstance(layer, Block):
        return "block" if isinstance(layer.attn, nn.Identity) else "block and attention"
    if isinstance(layer, nn.Conv2d):
        return "convolution"
    return "down or up" if isinstance(layer, Downsample | SpaceToDepth | Upsample) else "block"


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
