"""IDX files: the format itself, written here byte by byte, and the ways in which it goes wrong."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ddpm_lite import load_images
from ddpm_lite.images import idx
from tests.pictures import encode, random
from tests.pictures import idx as idx_bytes

PACKAGE = "the images of Debian's dataset-fashion-mnist are not installed here"


def write(folder: Path, part: str = "train", n: int = 5, ending: str = "") -> np.ndarray:
    """A split of n images, 4 high and 6 wide, with the labels 0, 1, 2, 0, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = random(n, 4, 6, seed=n)
    labels = np.arange(n, dtype=np.uint8) % 3
    for name, values in (("images-idx3", pixels), ("labels-idx1", labels)):
        data = idx_bytes(values)
        path = folder / f"{part}-{name}-ubyte{ending}"
        path.write_bytes(gzip.compress(data) if ending else data)
    return pixels


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_folder(tmp_path: Path, ending: str) -> None:
    for part, split, n in (("train", "train", 5), ("t10k", "test", 3)):
        pixels = write(tmp_path, part, n, ending)
        found = load_images(tmp_path, split)
        assert found.images.dtype == torch.uint8
        assert (found.images.numpy() == pixels[:, None]).all()
        assert found.labels.tolist() == [i % 3 for i in range(n)]
        assert (found.levels, found.classes, found.split) == (256, None, split)
    assert load_images(tmp_path, size=4, channels=3).images.shape == (5, 3, 4, 4)
    with pytest.raises(ValueError, match="has no split 'val'; it has test, train"):
        load_images(tmp_path, "val")


def test_files_of_another_spelling_and_below(tmp_path: Path) -> None:
    pixels = write(tmp_path / "MNIST" / "raw", "train")
    for path in (tmp_path / "MNIST" / "raw").iterdir():
        path.rename(path.with_name(path.name.replace("-idx", ".idx").replace("train", "Train")))
    assert (load_images(tmp_path).images.numpy() == pixels[:, None]).all()


def test_the_system_goes_before_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idx, "INSTALLED", {"fashion_mnist": tmp_path})
    pixels = write(tmp_path)
    found = load_images("fashion_mnist")
    assert (found.images.numpy() == pixels[:, None]).all()
    assert (found.classes[0], len(found.classes)) == ("T-shirt/top", 10)


def test_a_name_goes_before_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pixels = write(tmp_path / "mnist")
    assert idx.idx_files("mnist") == {}
    assert (load_images("./mnist").images.numpy() == pixels[:, None]).all()


@pytest.mark.skipif(not idx.INSTALLED["fashion_mnist"].exists(), reason=PACKAGE)
def test_fashion_mnist_as_installed() -> None:
    found = load_images("fashion_mnist", "test")
    assert found.images.shape == (10_000, 1, 28, 28)
    assert found.labels.bincount().tolist() == [1000] * 10
    # Xiao et al. (2017): boots fill their picture; sandals, of straps, leave most of it black.
    ink = [found.images[found.labels == i].float().mean().item() for i in range(10)]
    names = [found.classes[i] for i in np.argsort(ink)]
    assert names[0] == "Sandal"
    assert names[-1] in ("Pullover", "Coat")


def cut(data: bytes) -> bytes:
    return data[:-1]


def longer(data: bytes) -> bytes:
    return data + b"\0"


def images(folder: Path, change: Callable[[bytes], bytes], ending: str = "") -> None:
    path = folder / f"train-images-idx3-ubyte{ending}"
    path.write_bytes(change(path.read_bytes()))


def other(name: str, values: np.ndarray, type_: int = 8) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(idx_bytes(values, type_))


IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
FLOATS = 0x0D


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: images(f, cut), "images-idx3-ubyte must hold 120 values, by its head, got 119"),
        (lambda f: images(f, longer), "must hold 120 values, by its head, got more"),
        (lambda f: images(f, lambda d: d[:9]), "is cut short: its head must have 16 bytes"),
        (lambda f: images(f, lambda _: b""), "must begin with 00 00 08 03.* got an empty file"),
        (
            lambda f: images(f, lambda d: b"PK" + d),
            "must begin with 00 00 08 03.*, got 50 4b 00 00",
        ),
        (other(IMAGES, np.zeros((5, 4, 6), ">f4"), FLOATS), "got 00 00 0d 03"),
        (other(IMAGES, random(5, 24)), "images-idx3-ubyte must begin with .* got 00 00 08 02"),
        (other(IMAGES, random(0, 4, 6)), r"must hold images, got the shape \(0, 4, 6\)"),
        (other(LABELS, random(4)), "has 5 images, and .*labels-idx1-ubyte 4 labels"),
        (
            lambda f: (f / LABELS).unlink(),
            "images-idx3-ubyte needs its labels beside it, and train-labels-idx1-ubyte is not",
        ),
        (
            lambda f: (f / IMAGES).unlink(),
            "labels-idx1-ubyte needs its images beside it, and train-images-idx3-ubyte is not",
        ),
        (lambda f: write(f, ending=".gz"), "are of one split: take one away"),
        (lambda f: (f / "a.png").write_bytes(encode(random(4, 6))), "holds a.png beside"),
        (lambda f: (f / "more.zip").write_bytes(b"PK"), "holds more.zip beside"),
    ],
)
def test_what_is_wrong(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    write(tmp_path)
    damage(tmp_path)
    with pytest.raises(ValueError, match=message):
        load_images(tmp_path)


@pytest.mark.parametrize("where", [1, 2, 10, 40, -9, -1])
def test_a_damaged_gzip(tmp_path: Path, where: int) -> None:
    write(tmp_path, ending=".gz")
    images(
        tmp_path, lambda d: d[:where] if where < 0 else d[:where] + b"\xff" + d[where + 1 :], ".gz"
    )
    with pytest.raises(ValueError, match=r"images-idx3-ubyte\.gz (is cut short or|must)"):
        load_images(tmp_path)


def test_a_head_that_promises_too_much(tmp_path: Path) -> None:
    write(tmp_path)
    huge = struct.pack(">4B3I", 0, 0, 8, 3, 2**32 - 1, 2**16, 2**16)
    images(tmp_path, lambda _: huge)
    with pytest.raises(MemoryError, match="says that it holds 18446744069 GB"):
        load_images(tmp_path)


def test_a_single_file(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(ValueError, match="of IDX files give their folder"):
        load_images(tmp_path / IMAGES)


def test_other_files_are_named(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "LICENSE").write_text("MIT")
    with pytest.warns(UserWarning, match="left out, as no images, LICENSE"):
        load_images(tmp_path)
