"""IDX files: the format of MNIST and its family since 1998 (LeCun, Cortes and Burges).

A file is the bytes 0, 0, the type (8, unsigned bytes) and the number of axes; the size of each
axis, four bytes, the highest first; and the values, the last axis fastest. Often gzipped.
"""

import gzip
import math
import os
import re
import zlib
from io import BufferedIOBase
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ddpm_lite.images.sources import HUB, check_all_read, files_below
from ddpm_lite.system.machine import memory

__all__ = ["CLASSES", "INSTALLED", "idx_files", "read_idx", "read_split"]

# Where a package of the system puts a set: Debian's dataset-fashion-mnist.
INSTALLED = {"fashion_mnist": Path("/usr/share/datasets/fashion-mnist")}
CLASSES = {
    "fashion_mnist": (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
        "Ankle boot",
    ),
}  # fmt: skip
NAME = re.compile(r"(.+?)[-_.](images|labels)[-_.]idx\d[-_.]ubyte(\.gz)?", re.I)
AXES = {"images": 3, "labels": 1}
UNSIGNED_BYTES = 8

Split = dict[str, Path]


def idx_files(name: str) -> dict[str, Split]:
    """For each split the files of its images and its labels; none where there are no such files.

    Args:
        name: a set that the system has installed, or a folder, with all that lie in it. The part
            that MNIST calls t10k is the split "test".

    Raises:
        ValueError: a split that has not one file of images and one of labels; something else in
            the folder that may hold images.
    """
    if name in HUB and name not in INSTALLED:  # a name goes before a folder
        return {}
    root = INSTALLED.get(name, Path(os.path.expanduser(name))).absolute()
    if not root.is_dir():
        return {}
    found = files_below(root, lambda names: [n for n in names if NAME.fullmatch(n)])
    splits: dict[str, Split] = {}
    for path in found:
        part, what = NAME.fullmatch(path.name).group(1, 2)  # type: ignore[union-attr]
        split = splits.setdefault({"t10k": "test"}.get(part.lower(), part.lower()), {})
        if what.lower() in split:
            raise ValueError(f"{split[what.lower()]} and {path} are of one split: take one away")
        split[what.lower()] = path
    for split in splits.values():
        if len(split) < len(AXES):
            (there,) = split.values()
            lacks = "labels" if "images" in split else "images"
            name = re.sub("images(.idx)3|labels(.idx)1", _other, there.name, flags=re.I)
            raise ValueError(f"{there} needs its {lacks} beside it, and {name} is not there")
    if found:
        check_all_read(root, {"all": found})
    return splits


def read_split(
    files: Split,
) -> tuple[UInt8[np.ndarray, "N H W"], UInt8[np.ndarray, " N"]]:
    """The images of a split and their labels.

    Raises:
        ValueError: as `read_idx`; not as many labels as images; no image.
        MemoryError: more than this machine's memory holds.
    """
    images, labels = (read_idx(files[what], axes) for what, axes in AXES.items())
    if not images.size:
        raise ValueError(f"{files['images']} must hold images, got the shape {images.shape}")
    if len(images) != len(labels):
        raise ValueError(
            f"{files['images']} has {len(images)} images, and {files['labels']} {len(labels)} "
            "labels"
        )
    return images, labels


def read_idx(path: Path, axes: int) -> UInt8[np.ndarray, "..."]:
    """An array of bytes with so many axes, from a file that may be gzipped.

    Raises:
        ValueError: another format, other axes, or not as many values as its head says.
        MemoryError: more values than this machine's memory holds.
        OSError: the file cannot be opened.
    """
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if not zipped:
                return _read(raw, path, axes)
            with gzip.GzipFile(fileobj=raw) as unzipped:
                return _read(unzipped, path, axes)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is cut short or damaged ({error})") from error
    except OSError as error:  # a link to nothing, say
        raise OSError(f"{path} cannot be read: {error.strerror or error}") from error


def _other(found: re.Match[str]) -> str:
    """images-idx3 for labels-idx1, and the other way round."""
    return f"labels{found[1]}1" if found[1] else f"images{found[2]}3"


def _read(file: BufferedIOBase, path: Path, axes: int) -> UInt8[np.ndarray, "..."]:
    magic = bytes([0, 0, UNSIGNED_BYTES, axes])
    if (got := file.read(4)) != magic:
        raise ValueError(
            f"{path} must begin with {magic.hex(' ')}, as an IDX file of unsigned bytes with "
            f"{axes} axes does, got {got.hex(' ') or 'an empty file'}"
        )
    head = file.read(4 * axes)
    sizes = tuple(np.frombuffer(head[: len(head) // 4 * 4], ">u4").tolist())
    if len(sizes) < axes:
        raise ValueError(f"{path} is cut short: its head must have {4 + 4 * axes} bytes")
    count = math.prod(sizes)
    if count > memory():
        raise MemoryError(
            f"{path} says that it holds {count / 1e9:.0f} GB, and there are {memory() / 1e9:.0f} GB"
        )
    values = file.read(count + 1)
    if len(values) != count:
        found = "more" if len(values) > count else len(values)
        raise ValueError(f"{path} must hold {count} values, by its head, got {found}")
    return np.frombuffer(values, np.uint8).reshape(sizes)
