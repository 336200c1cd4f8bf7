"""Images as a picture to look at: a grid, written as PNG."""

from pathlib import Path

import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from ddpm_lite._doors import door
from ddpm_lite.images.data import from_model_range

__all__ = ["grid", "write_png"]


@door
def grid(
    images: Float[Tensor, "N C H W"], columns: int | None = None, scale: int = 1
) -> UInt8[Tensor, "height width C"]:
    """Images in [-1, 1] in rows, a dark line between them, as bytes [height, width, C].

    Args:
        images: grey or colour, C = 1 or 3.
        columns: as nearly square as can be, when not given.
        scale: each pixel becomes a square of this many.

    Raises:
        ValueError: no images, channels other than 1 or 3, or a number below 1.
    """
    if len(images) == 0 or images.shape[1] not in (1, 3):
        raise ValueError(f"images must be [N, 1 or 3, H, W] with N >= 1, got {tuple(images.shape)}")
    columns = columns or max(1, round(len(images) ** 0.5))
    for name, value in (("columns", columns), ("scale", scale)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    bytes_ = from_model_range(images.detach().cpu()).to(torch.uint8)
    bytes_ = bytes_.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    missing = -len(bytes_) % columns
    bytes_ = torch.cat([bytes_, bytes_.new_zeros(missing, *bytes_.shape[1:])])
    lined = torch.nn.functional.pad(bytes_, (0, 1, 0, 1))
    rows = rearrange(lined, "(r k) c h w -> (r h) (k w) c", k=columns)
    return rows[:-1, :-1]  # no line after the last


def write_png(path: Path, pixels: UInt8[Tensor, "height width C"]) -> None:
    """Write bytes [height, width, C] as PNG, grey where C is 1."""
    from PIL import Image  # slow to import, and not every use writes pictures

    Image.fromarray(pixels.squeeze(2).numpy()).save(path, "PNG")
