"""Networks from elsewhere: an adapter for those that count t from 0, and diffusers' weights.

Here t runs over 1..T, as in the paper; in most code it runs over 0..T-1. `ZeroBased` is the one
place where the two meet.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ddpm_lite.blocks import Downsample, Upsample
from ddpm_lite.unet import UNet

__all__ = ["ZeroBased", "load_diffusers"]

FILE = "diffusion_pytorch_model"  # .safetensors, or .fp16.safetensors and the like
# What decides the wiring in the config.json of google/ddpm-cifar10-32. None may also be absent.
CIFAR10 = {
    "in_channels": 3,
    "out_channels": 3,
    "sample_size": 32,
    "block_out_channels": [128, 256, 256, 256],
    "layers_per_block": 2,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
    "norm_eps": 1e-6,
    "norm_num_groups": 32,
    "attn_norm_num_groups": None,
    "attention_head_dim": None,
    "act_fn": "silu",
    "center_input_sample": False,
    "downsample_padding": 0,
    "mid_block_scale_factor": 1,
    "time_embedding_type": "positional",
    "flip_sin_to_cos": False,
    "freq_shift": 1,
}
# Our layers, and theirs: at both ends, and inside each block.
ENDS = {
    "conv_in": "conv_in",
    "time.0": "time_embedding.linear_1",
    "time.2": "time_embedding.linear_2",
    "norm_out": "conv_norm_out",
    "conv_out": "conv_out",
}
PARTS = {
    "norm1": ["norm1"],
    "conv1": ["conv1"],
    "time": ["time_emb_proj"],
    "norm2": ["norm2"],
    "conv2": ["conv2"],
    "shortcut": ["conv_shortcut"],
    "norm": ["group_norm"],
    "qkv": ["to_q", "to_k", "to_v"],
    "out": ["to_out.0"],
    "conv": ["conv"],
}
# Of attention in older files, the one on the hub among them.
OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


class ZeroBased(nn.Module):
    """A model in paper time, t in 1..T, from a network that counts t from 0: it is given t - 1.

    The network is any callable `(xt, t, ...)`; where it returns an object that holds the tensor
    as `.sample`, as those of diffusers do, the tensor is taken out.

    Raises:
        TypeError: what the network returned is neither.
    """

    def __init__(self, model: Callable[..., Any]):
        super().__init__()
        self.model = model

    @property
    def recordable(self) -> bool:
        """As of the network within: see `ddpm_lite.system.replay`."""
        return getattr(self.model, "recordable", False)

    def forward(
        self, xt: Float[Tensor, "B *D"], t: Int[Tensor, " B"], *args: Any, **kwargs: Any
    ) -> Float[Tensor, "B *E"]:
        out = self.model(xt, t - 1, *args, **kwargs)
        out = getattr(out, "sample", out)
        if not isinstance(out, Tensor):
            raise TypeError(
                f"the model must return a tensor, or one in .sample, got {type(out).__name__}"
            )
        return out


def load_diffusers(source: str | Path | Mapping[str, Tensor]) -> ZeroBased:
    """The paper's CIFAR-10 network with weights trained in diffusers, in eval mode, on the CPU.

    Those of a `UNet2DModel` with the configuration of google/ddpm-cifar10-32, a conversion of
    the weights of Ho et al. (2020). It was trained with t from 0, so it comes in `ZeroBased`.

    Args:
        source: a folder with diffusion_pytorch_model.safetensors, or one variant of it such as
            .fp16.safetensors, and perhaps config.json; a pipeline's folder, with all that in
            unet/; a .safetensors file; or a state dict.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file of another format, several variants, another configuration, or weights
            that are missing, left over or of another shape.
    """
    state = source if isinstance(source, Mapping) else _read(Path(source))
    state = {_new_name(name): tensor for name, tensor in state.items()}
    network = UNet.ho2020()
    names = _names(network)
    expected = {part for parts in names.values() for part in parts}
    _refuse("missing from the state dict", sorted(expected - state.keys()))
    _refuse("unexpected in the state dict", sorted(state.keys() - expected))
    ours = network.state_dict()
    for name, parts in names.items():
        rows = ours[name].shape[0] // len(parts)
        for part, like in zip(parts, ours[name].split(rows), strict=True):
            # Their q, k and v are matrices, ours together a 1x1 convolution.
            if state[part].squeeze().shape != like.squeeze().shape:
                shape, got = tuple(like.squeeze().shape), tuple(state[part].shape)
                raise ValueError(f"{part} must have shape {shape}, got {got}")
        ours[name] = torch.cat([state[part] for part in parts]).view_as(ours[name])
    network.load_state_dict(ours)
    return ZeroBased(network).eval()


def _read(path: Path) -> Mapping[str, Tensor]:
    from safetensors.torch import load_file

    if path.is_dir():
        inner = path / "unet"
        path = inner if inner.is_dir() and not any(path.glob(f"{FILE}*")) else path
        config = path / "config.json"
        if config.exists():
            _check_config(json.loads(config.read_text(encoding="utf-8")))
        path = _pick(path)
    if path.suffix != ".safetensors":
        raise ValueError(
            f"expected a folder or a .safetensors file, got {path}: other formats are pickles, "
            "which run code when they are opened; save as safetensors"
        )
    if not path.exists():
        raise FileNotFoundError(f"no weights at {path}")
    return load_file(path)


def _pick(folder: Path) -> Path:
    """The weights in a folder: the plain file, or else the only variant."""
    plain = folder / f"{FILE}.safetensors"
    variants = sorted(folder.glob(f"{FILE}*.safetensors"))
    if plain in variants:
        return plain
    if len(variants) > 1:
        names = ", ".join(path.name for path in variants)
        raise ValueError(f"{folder} has several weights, {names}: give the path of one")
    pickles = sorted(folder.glob(f"{FILE}*.bin"))
    return next(iter(variants or pickles), plain)


def _check_config(config: Mapping[str, Any]) -> None:
    for key, expected in CIFAR10.items():
        if config.get(key) != expected:
            got = repr(config[key]) if key in config else "nothing"
            raise ValueError(f"config.json: {key} must be {expected!r}, got {got}")


def _refuse(what: str, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        raise ValueError(f"{what}: {', '.join(names[:5])}{more}")


def _new_name(name: str) -> str:
    return ".".join(OLD_NAMES.get(part, part) for part in name.split("."))


def _names(network: UNet) -> dict[str, list[str]]:
    """Each parameter of ours, with the one or, for q, k and v, the three of theirs."""
    layers = {ours: [theirs] for ours, theirs in ENDS.items()}
    for ours, theirs in _blocks(network):
        for part, names in PARTS.items():
            layers[f"{ours}.{part}"] = [f"{theirs}.{name}" for name in names]
    pairs = {
        f"{ours}.{kind}": [f"{name}.{kind}" for name in theirs]
        for ours, theirs in layers.items()
        for kind in ("weight", "bias")
    }
    # Not every block has a shortcut or attention: keep what is there.
    return {name: pairs[name] for name in network.state_dict()}


def _blocks(network: UNet) -> Iterator[tuple[str, str]]:
    """Where our residual blocks, attention and resampling stand, and where theirs do.

    Ours stand in a row; theirs are counted within each level, which ends where the size changes.
    """
    yield "middle_in.res", "mid_block.resnets.0"
    yield "middle_in.attn", "mid_block.attentions.0"
    yield "middle_out", "mid_block.resnets.1"
    for way, layers in (("down", network.down), ("up", network.up)):
        level = count = 0
        for i, layer in enumerate(layers):
            if isinstance(layer, (Downsample, Upsample)):
                yield f"{way}.{i}", f"{way}_blocks.{level}.{way}samplers.0"
                level, count = level + 1, 0
            else:
                yield f"{way}.{i}.res", f"{way}_blocks.{level}.resnets.{count}"
                yield f"{way}.{i}.attn", f"{way}_blocks.{level}.attentions.{count}"
                count += 1
