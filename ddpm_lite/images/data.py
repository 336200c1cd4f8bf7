"""Images: real ones that need no download, and their scaling to [-1, 1] and back."""

import warnings

import torch
from jaxtyping import Float, Int, Integer, UInt8
from torch import Tensor

from ddpm_lite._doors import door

__all__ = ["digits", "from_model_range", "photograph", "to_model_range"]


@door
def to_model_range(
    values: Integer[Tensor, "*D"], levels: int = 256, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "*D"]:
    """Map the integers 0..levels - 1 onto [-1, 1]: x = 2 v / (levels - 1) - 1.

    Eq. {eq}`eq-model-range`; Ho et al. (2020), Section 3.3, with levels = 256. `from_model_range`
    undoes it exactly in float32 and float64; in bfloat16 up to 256 levels, in float16 up to 2048,
    for with more they cannot tell all of them apart.

    Raises:
        TypeError: values are not integers.
        ValueError: levels < 2, or a value outside 0..levels - 1.
    """
    if values.is_floating_point():
        raise TypeError(f"values must be integers, got {values.dtype}")
    _check_levels(levels)
    if values.numel():
        low, high = int(values.min()), int(values.max())  # bytes themselves know no 256
        if low < 0 or high >= levels:
            raise ValueError(f"values must lie in 0..{levels - 1}, got {low}..{high}")
    return scaled(values, levels, dtype)


def scaled(values: Tensor, levels: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """`to_model_range` without a look at the values, which on an accelerator would wait for it."""
    return 2 * values.to(dtype) / (levels - 1) - 1


@door
def from_model_range(x: Float[Tensor, "*D"], levels: int = 256) -> Int[Tensor, "*D"]:
    """Round [-1, 1] to the nearest of the integers 0..levels - 1; what lies outside is clamped.

    Raises:
        TypeError: x is not floating point.
        ValueError: levels < 2, or x holds NaN.
    """
    if not x.is_floating_point():
        raise TypeError(f"x must be floating point, got {x.dtype}")
    _check_levels(levels)
    if x.isnan().any():
        raise ValueError(f"x must hold numbers, got {int(x.isnan().sum())} NaN values")
    x = x if x.dtype == torch.float64 else x.float()
    return ((x.clamp(-1, 1) + 1) / 2 * (levels - 1)).round().long()


def warn_of_range(name: str, low: float, high: float) -> None:
    """Say so where images seem to lie in [0, 1], in place of [-1, 1]."""
    if 0 <= low < high:
        warnings.warn(
            f"{name} lie in {low:.2g}..{high:.2g}: images belong in [-1, 1]; of [0, 1] take "
            "2 x - 1",
            stacklevel=4,
        )


@door
def digits(split: str = "train") -> tuple[Float[Tensor, "N 1 8 8"], Int[Tensor, " N"]]:
    """Handwritten digits: images [N, 1, 8, 8] in [-1, 1] with 17 levels of grey, and labels [N].

    The 1,797 test images of the UCI set (Alpaydin and Kaynak, 1998) that scikit-learn ships.
    Every sixth is held out: "train" has 1,498, "test" has 299, "all" has both.

    Raises:
        ValueError: a split of another name.
    """
    levels, labels = digit_levels(split)
    return to_model_range(levels, levels=17), labels


def digit_levels(split: str) -> tuple[UInt8[Tensor, "N 1 8 8"], Int[Tensor, " N"]]:
    """`digits` as they are stored: levels of grey 0..16, and labels."""
    from sklearn.datasets import load_digits

    if split not in ("train", "test", "all"):
        raise ValueError(f"split must be train, test or all, got {split!r}")
    raw = load_digits()
    levels, labels = torch.from_numpy(raw.images).byte()[:, None], torch.from_numpy(raw.target)
    held_out = torch.arange(len(labels), device="cpu") % 6 == 5
    keep = {"train": ~held_out, "test": held_out, "all": torch.ones_like(held_out)}[split]
    return levels[keep], labels[keep].long()


@door
def photograph(size: int = 96) -> Float[Tensor, "1 3 size size"]:
    """A colour photograph of a flower, [1, 3, size, size] in [-1, 1] with 256 levels.

    "flower.jpg", which scikit-learn ships; by vultilion, CC BY 2.0. Its middle, shrunk.

    Raises:
        ValueError: size outside 1..427, the height of the original.
    """
    from sklearn.datasets import load_sample_image

    if not 1 <= size <= 427:
        raise ValueError(f"size must lie in 1..427, got {size}")
    pixels = torch.from_numpy(load_sample_image("flower.jpg").copy()).permute(2, 0, 1)[None]
    height, width = pixels.shape[-2:]
    left = (width - height) // 2
    square = pixels[..., left : left + height].float()
    small = torch.nn.functional.interpolate(square, (size, size), mode="bilinear", antialias=True)
    return to_model_range(small.round().long())


def _check_levels(levels: int) -> None:
    if levels < 2:
        raise ValueError(f"levels must be at least 2, got {levels}")
