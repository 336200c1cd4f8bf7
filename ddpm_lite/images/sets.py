"""Any set of images for training: one uint8 tensor, from a name, a folder or parquet files."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from ddpm_lite.images.data import digit_levels
from ddpm_lite.images.idx import CLASSES, idx_files, read_split
from ddpm_lite.images.sources import HUB, image_column, open_hub, open_path, reason
from ddpm_lite.system.machine import memory

__all__ = ["ImageSet", "load_images"]

GREY = ("1", "L", "LA", "La")  # Pillow's modes without colour
PREVIEWS = ("MPO", "PSD")  # whose first frame is the picture, and the others previews or layers
NAMED = 5  # images that cannot be read are listed up to here

Row = tuple[str, Callable[[], Any]]  # where an image is from, and what opens it with Pillow


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images in memory, as `train` takes them.

    Args:
        images: grey levels 0..levels - 1, [N, C, H, W], C = 1 or 3.
        labels: the class of each, [N], -1 where it is missing; None for a set without classes.
        levels: 17 for digits, else 256; for `GaussianDiffusion(levels=...)`.
        name: the name or the path it was asked for by.
        split: "train", "test" or another.
        classes: what the labels 0, 1, ... are called; None where nobody says.
    """

    images: UInt8[Tensor, "N C H W"]
    labels: Int64[Tensor, " N"] | None
    levels: int
    name: str
    split: str
    classes: tuple[str, ...] | None = None


def load_images(
    name_or_path: str | Path,
    split: str = "train",
    *,
    size: int | None = None,
    channels: int | None = None,
    progress: bool = False,
) -> ImageSet:
    """Load a set: its images, uint8 [N, C, H, W], and where there are classes its labels, [N].

    - By name: "digits", which scikit-learn ships; "mnist", "fashion_mnist" and "cifar10", from
      the Hugging Face hub at the first call and from the cache on this machine afterwards.
      "fashion_mnist" is taken from Debian's package dataset-fashion-mnist where that is installed.
    - A folder of IDX files, as MNIST and its family come in, gzipped or not: for each split one
      of images and one of labels, such as train-images-idx3-ubyte.gz and
      train-labels-idx1-ubyte.gz. The part called t10k is "test".
    - A folder of images. Folders in it named train, validation, valid, val or test, in small
      letters or capitals, are its splits; names nearly so, training and testing, are refused.
      Any others, if two or more at one depth, are its classes, numbered in the order of their
      paths: x/cat is another than y/cat. What begins with a dot, and folders that begin with two
      underscores, are passed over; links are followed. Other files are named in a warning, and
      those that may hold images too, such as a .zip, in an error. A file of several frames or
      pages is refused; of .mpo and .psd the first is the picture, and the rest previews and
      layers.
    - A parquet file, or a folder of them, with images as the hub stores them (a column of bytes
      and path; the first counts) and perhaps integers in a column `label`. Splits are told by
      the files' names (train.parquet, test-00000-of-00001.parquet) or by their folders'
      (test/0000.parquet).

    A set without splits is "train". All but digits and IDX files need the extra "data".

    Args:
        name_or_path: a name goes before a folder of that name; write ./mnist for the folder.
        split: which part; digits also have "all".
        size: crop the middle square and resize it to size x size. Bilinear, antialiased: its
            weights are not negative, so no value leaves the range of its neighbours.
        channels: 1 (luma of ITU-R 601) or 3; by default as the images are, where a palette
            counts as colour. What is transparent is laid on white.
        progress: show bars.

    Raises:
        ImportError: the extra is missing.
        FileNotFoundError: no such path, or no images there or in the split.
        OSError: the hub could not be reached, or a folder not be opened.
        ValueError: size < 1 or channels other than 1 and 3; an unknown name or split; images
            that cannot be read, are several in one file, or are not alike in size or channels;
            names that may be meant as splits, and are not known as such; parquet that cannot be
            read or has no images; splits side by side with something else; IDX files that are
            damaged, without their labels, or with more or fewer of them.
        MemoryError: more images, or larger ones, than the machine's memory holds.
    """
    if size is not None and size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    if channels not in (None, 1, 3):
        raise ValueError(f"channels must be 1 or 3, got {channels}")
    name, levels = str(name_or_path), 256
    rows: Iterator[Row]
    labels: Tensor | None
    classes: tuple[str, ...] | None
    if name_or_path == "digits":
        levels, classes = 17, tuple("0123456789")
        raw, labels = digit_levels(split)
        rows, count = _arrays(raw[:, 0].numpy(), "digit"), len(raw)
    elif files := idx_files(name):
        pixels, which = read_split(_part(files, split, name))
        labels, classes = torch.tensor(which, dtype=torch.int64, device="cpu"), CLASSES.get(name)
        rows, count = _arrays(pixels, "image"), len(pixels)
    else:
        parts = (open_hub if name_or_path in HUB else open_path)(name, progress)
        if not len(_part(parts, split, name)):
            raise FileNotFoundError(f"no images in the split {split!r} of {name}")
        column, table = image_column(parts[split], name)
        labels, classes = _labels(table)
        rows, count = _rows(table.select_columns(column), column), len(table)
    if size is not None:
        _room(count, (channels or 1, size, size))  # before any image is decoded
    try:
        images = _stack(_bar(rows, count) if progress else rows, count, size, channels)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return ImageSet(images, labels, levels, name, split, classes)


def _part(parts: Mapping[str, Any], split: str, name: str) -> Any:
    if split not in parts:
        raise ValueError(f"{name} has no split {split!r}; it has {', '.join(parts)}")
    return parts[split]


def _bar(rows: Iterator[Row], count: int) -> Iterator[Row]:
    from tqdm.auto import tqdm  # brings notebook widgets along: only when asked for

    yield from tqdm(rows, desc="decoding", total=count)


def _arrays(values: UInt8[np.ndarray, "N H W"], what: str) -> Iterator[Row]:
    from PIL import Image

    for i, image in enumerate(values):
        yield f"{what} {i}", partial(Image.fromarray, image)


def _rows(table: Any, column: str) -> Iterator[Row]:
    for i, row in enumerate(table):
        stored = row[column] or {}
        data, path = stored.get("bytes"), stored.get("path")
        if data is None and path:
            yield path, partial(_open, path)
        else:
            yield f"row {i}" + (f" ({path})" if path else ""), partial(_open, data)


def _open(stored: str | bytes | None) -> Any:
    from PIL import Image

    if stored is None:
        raise ValueError("no image")
    return Image.open(stored if isinstance(stored, str) else BytesIO(stored))


def _labels(table: Any) -> tuple[Tensor | None, tuple[str, ...] | None]:
    """The labels of a table, and what its classes are called."""
    feature = table.features.get("label")
    if not str(getattr(feature, "dtype", "")).startswith(("int", "uint")):
        return None, None
    values = table.select_columns("label")[:]["label"]
    names = getattr(feature, "names", None)
    labels = torch.tensor([-1 if v is None else v for v in values], device="cpu")
    return labels, tuple(names) if names else None


def _stack(rows: Iterator[Row], count: int, size: int | None, channels: int | None) -> Tensor:
    """Decode into one array made beforehand, so that no second copy is held."""
    from PIL import UnidentifiedImageError

    images, first = np.empty(0, np.uint8), ""
    bad = []
    for i, (where, opened) in enumerate(rows):
        try:
            with opened() as image:
                pixels = _pixels(image, size, channels)
        except UnidentifiedImageError:
            bad.append(f"{where} (not an image of a known kind)")
            continue
        except Exception as error:  # a broken file can fail anywhere in a decoder
            bad.append(f"{where} ({reason(error)})")
            continue
        if not first:
            images, first = _room(count, pixels.shape), where
        if pixels.shape != images.shape[1:]:
            raise ValueError(_difference(first, images.shape[1:], where, pixels.shape))
        images[i] = pixels
    if bad:
        more = f", and {len(bad) - NAMED} more" * (len(bad) > NAMED)
        raise ValueError(
            f"{len(bad)} of {count} images cannot be read: {', '.join(bad[:NAMED])}{more}"
        )
    return torch.from_numpy(images)


def _room(count: int, shape: tuple[int, ...]) -> UInt8[np.ndarray, "N C H W"]:
    """An array for all the images, if this machine's memory is as large."""
    need = count * math.prod(shape)
    if need > memory():
        raise MemoryError(
            f"{count} images of {shape[2]} x {shape[1]} need {need / 1e9:.0f} GB of memory, and "
            f"there are {memory() / 1e9:.0f} GB; a smaller size takes less (--size)"
        )
    return np.empty((count, *shape), np.uint8)


def _pixels(image: Any, size: int | None, channels: int | None) -> UInt8[np.ndarray, "C H W"]:
    """An opened image as uint8 [C, H, W]."""
    from PIL import Image, ImageOps

    if image.mode[0] in "IF":
        raise ValueError(f"8 bits a channel are expected, got Pillow's mode {image.mode}")
    if any(
        ";16" in str(tile[3]) for tile in getattr(image, "tile", ())
    ):  # Pillow would drop half of each
        raise ValueError("8 bits a channel are expected, got 16")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format not in PREVIEWS:
        raise ValueError(f"one image is expected, got {frames} frames or pages")
    channels = channels or (1 if image.mode in GREY else 3)
    image = ImageOps.exif_transpose(image)  # a camera held upright says so only there
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("L" if channels == 1 else "RGB")
    if size:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(image.height, image.width, channels).transpose(2, 0, 1)


def resizing(side: int) -> str:
    """What to do about images of other sizes: a power of two can be halved at every level."""
    size = 1 << (side.bit_length() - 1)
    return f"size={size} crops and resizes all (--size {size})"


def _difference(first: str, shape: tuple[int, ...], where: str, other: tuple[int, ...]) -> str:
    if shape[1:] != other[1:]:
        return (
            f"images must be of one size, but {first} is {shape[2]} x {shape[1]} and {where} is "
            f"{other[2]} x {other[1]}; {resizing(min(*shape[1:], *other[1:]))}"
        )
    kinds = {1: "grey", 3: "in colour"}
    return (
        f"images must be all grey or all in colour, but {first} is {kinds[shape[0]]} and {where} "
        f"is {kinds[other[0]]}; channels=1 or channels=3 makes them alike (--channels 1 or "
        "--channels 3)"
    )
