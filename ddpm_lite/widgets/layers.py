"""What the layers of a U-Net hold and where its middle looks, for pictures at several t."""

import math
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from ddpm_lite.blocks import Attention
from ddpm_lite.diffusion import GaussianDiffusion
from ddpm_lite.unet import Block, UNet

__all__ = ["Inside", "attention_weights", "look_inside"]


class Inside(NamedTuple):
    """What a U-Net saw, said and held, for each picture and time."""

    times: list[int]
    xt: Float[Tensor, "B S C H W"]
    eps_hat: Float[Tensor, "B S C H W"]
    attention: Float[Tensor, "B S N N"]
    """Of the middle: row n says how cell n looks at all cells. Mean over heads."""
    features: dict[str, Tensor]
    """Of the last layer of each kind and resolution: [B, S, channels, h, w]."""


def attention_weights(layer: Attention, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B a N N"]:
    """softmax(q k^T / sqrt(d)) over the pixels looked at, for each head; x is the layer's input."""
    shape = "b (three a d) h w -> three b a (h w) d"
    q, k, _ = rearrange(layer.qkv(layer.norm(x)), shape, three=3, a=layer.heads)
    return (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)


@torch.no_grad()
def look_inside(
    network: UNet,
    diffusion: GaussianDiffusion,
    x0: Float[Tensor, "B C H W"],
    times: list[int],
    seed: int = 0,
) -> Inside:
    """Show the network x0 under one noise at several times, and keep what its layers make of it.

    Args:
        network, diffusion: trained together; the network is run once, in the mode it is in.
        x0: [B, C, H, W] in [-1, 1].
        times: in 1..T.
        seed: of the noise, one image for each of x0.
    """
    B, S = len(x0), len(times)
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(seed))
    x0, eps = (values.repeat_interleave(S, dim=0) for values in (x0, eps))
    t = torch.tensor(times).repeat(B)
    xt = diffusion.q_sample(x0, t, eps)
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, __: Any, out: Tensor) -> None:
            seen[f"{name}, {out.shape[2]}x{out.shape[3]}"] = out.unflatten(0, (B, S))

        return hook

    def look(layer: Attention, given: tuple[Tensor]) -> None:
        weights = attention_weights(layer, given[0]).mean(dim=1)
        seen["attention"] = weights.unflatten(0, (B, S))

    layers: list[tuple[str, nn.Module]] = [("first convolution", network.conv_in)]
    layers += [("way down", m) for m in network.down if isinstance(m, Block)]
    layers += [("middle", network.middle_out)]
    layers += [("way up", m) for m in network.up if isinstance(m, Block)]
    with ExitStack() as hooks:
        for name, module in layers:
            hooks.enter_context(module.register_forward_hook(keep(name)))
        middle: Any = network.middle_in.attn
        hooks.enter_context(middle.register_forward_pre_hook(look))
        eps_hat = diffusion.p_mean_variance(network, xt, t, clip=False).eps_hat
    attention = seen.pop("attention")
    xt, eps_hat = (values.unflatten(0, (B, S)) for values in (xt, eps_hat))
    return Inside(list(times), xt, eps_hat, attention, seen)
