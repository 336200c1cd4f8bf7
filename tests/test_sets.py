"""Any set of images in one tensor, pixel for pixel, and a name for each that does not fit."""

import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import compress, crc32

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from ddpm_lite import (
    GaussianDiffusion,
    TrainConfig,
    UNet,
    digits,
    from_model_range,
    linear_schedule,
    load_images,
    train,
)
from ddpm_lite.images.sets import resizing
from tests.pictures import SCHEMAS, encode, offline, parquet, random, save, stand_in

__all__ = ["offline", "stand_in"]


def first(pixels: np.ndarray) -> np.ndarray:
    """Channels first, as the package has them."""
    return pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)


@pytest.mark.parametrize("name", SCHEMAS)
def test_sets_by_name(stand_in: Callable[[str], Any], name: str) -> None:
    for split, (pixels, labels) in stand_in(name).items():
        found = load_images(name, split)
        assert found.images.dtype == torch.uint8
        assert (found.images.numpy() == first(pixels)).all()
        assert found.labels.tolist() == labels
        assert (found.levels, found.name, found.split) == (256, name, split)


@pytest.mark.parametrize("split", ["train", "test", "all"])
def test_digits(split: str) -> None:
    x, labels = digits(split)
    found = load_images("digits", split)
    assert torch.equal(found.images, from_model_range(x, 17).byte())
    assert torch.equal(found.labels, labels)
    assert (found.levels, found.name, found.split) == (17, "digits", split)
    larger = load_images("digits", split, size=13, channels=3).images
    assert larger.shape[1:] == (3, 13, 13)
    assert larger.max() <= 16  # still 17 levels


@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 3)])
def test_a_folder_with_classes(offline: Path, shape: tuple[int, ...]) -> None:
    pixels = random(6, *shape)
    names = ["dog/1", "cat/2", "dog/0", "ant/1", "ant/0", "cat/1"]
    for split in ("train", "test"):
        for name, p in zip(names, pixels if split == "train" else 255 - pixels, strict=True):
            save(offline / split / f"{name}.png", p)
    order = sorted(range(6), key=lambda i: names[i])
    for split, want in (("train", pixels), ("test", 255 - pixels)):
        found = load_images(offline, split)
        assert (found.images.numpy() == first(want)[order]).all()
        assert found.labels.tolist() == [0, 0, 1, 1, 2, 2]  # ant, cat, dog
        assert (found.name, found.split) == (str(offline), split)


def test_classes_are_those_of_all_splits(offline: Path) -> None:
    for i, name in enumerate(["test/cat/0", "train/cat/1", "train/dog/2", "val/dog/3"]):
        save(offline / f"{name}.png", random(4, 4, seed=i))
    assert load_images(offline).labels.tolist() == [0, 1]
    assert load_images(offline, "test").labels.tolist() == [0]
    assert load_images(offline, "val").labels.tolist() == [1]


@pytest.mark.parametrize(
    "names",
    [
        ["0", "1"], ["a/0", "a/1"], ["a/0", "b/c/1"], ["a/0", "1"],
        ["train/0", "test/1"], ["train/0", "train/a/1"], ["train/a/0", "test/1"],
    ],
)  # fmt: skip
def test_a_folder_without_classes(offline: Path, names: list[str]) -> None:
    for i, name in enumerate(names):
        save(offline / f"{name}.png", random(4, 4, seed=i))
    assert load_images(offline).labels is None


def test_parquet_without_the_library_s_metadata(offline: Path) -> None:
    pixels = random(3, 4, 5, 3)
    rows = [{"path": None, "bytes": encode(p)} for p in pixels]
    for label, want in (([2, None, 0], [2, -1, 0]), (["a", "b", "c"], None), ([1.5, 2, 3], None)):
        table = pyarrow.table({"text": ["x", "y", "z"], "picture": rows, "label": label})
        pyarrow.parquet.write_table(table, offline / "a.parquet")
        found = load_images(offline / "a.parquet")
        assert (found.images.numpy() == first(pixels)).all()
        assert (found.labels if want is None else found.labels.tolist()) == want


def test_the_first_column_of_images_counts(offline: Path) -> None:
    first_, second = ([{"path": None, "bytes": encode(random(4, 4, seed=s))}] for s in (1, 2))
    table = pyarrow.table({"photo": first_, "mask": second})
    pyarrow.parquet.write_table(table, offline / "a.parquet")
    assert (load_images(offline).images[0, 0].numpy() == random(4, 4, seed=1)).all()


def load_one(offline: Path, image: Image.Image, **options: Any) -> np.ndarray:
    name = f"{len(list(offline.iterdir()))}"
    (offline / name).mkdir()
    image.save(offline / name / "a.png", exif=image.getexif())
    return load_images(offline / name, **options).images[0].numpy()


def test_what_is_transparent_is_laid_on_white(offline: Path) -> None:
    rgba = random(6, 7, 4)
    got = load_one(offline, Image.fromarray(rgba, "RGBA"))
    share = rgba[..., 3:] / 255
    want = rgba[..., :3] * share + 255 * (1 - share)
    assert np.abs(got.transpose(1, 2, 0) - want).max() <= 1
    la = random(6, 7, 2)
    got = load_one(offline, Image.fromarray(la, "LA"))
    share = la[..., 1] / 255
    assert got.shape == (1, 6, 7)
    assert np.abs(got[0] - (la[..., 0] * share + 255 * (1 - share))).max() <= 1


def test_palettes_are_colour(offline: Path) -> None:
    index = random(6, 7) % 4
    palette = random(4, 3)
    image = Image.fromarray(index, "P")
    image.putpalette(palette.tobytes())
    assert (load_one(offline, image).transpose(1, 2, 0) == palette[index]).all()
    image.info["transparency"] = 2
    palette[2] = 255
    assert (load_one(offline, image).transpose(1, 2, 0) == palette[index]).all()


def test_black_and_white(offline: Path) -> None:
    bits = random(6, 7) > 127
    got = load_one(offline, Image.fromarray(bits))
    assert got.shape == (1, 6, 7)
    assert (got[0] == 255 * bits).all()


def test_channels(offline: Path) -> None:
    grey, colour = random(6, 7), random(6, 7, 3)
    got = load_one(offline, Image.fromarray(grey), channels=3)
    assert (got == grey).all()
    assert got.shape == (3, 6, 7)
    got = load_one(offline, Image.fromarray(colour), channels=1)
    luma = colour @ np.array([0.299, 0.587, 0.114])
    assert got.shape == (1, 6, 7)
    assert np.abs(got[0] - luma).max() <= 1


def test_an_upright_camera(offline: Path) -> None:
    pixels = random(6, 8, 3)
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = 6  # to be turned by a quarter, clockwise
    assert (load_one(offline, image).transpose(1, 2, 0) == np.rot90(pixels, -1)).all()


@pytest.mark.parametrize("shape", [(8, 13), (13, 8), (8, 8)])
def test_the_middle_square_is_kept_pixel_for_pixel(offline: Path, shape: tuple[int, int]) -> None:
    pixels = random(*shape)
    top, left = (n // 2 - 4 for n in shape)
    got = load_one(offline, Image.fromarray(pixels), size=8)
    assert (got[0] == pixels[top : top + 8, left : left + 8]).all()


@pytest.mark.parametrize("size", [3, 8, 16, 24, 40])
def test_resizing_agrees_with_torch(offline: Path, size: int) -> None:
    pixels = random(24, 36, 3)
    got = load_one(offline, Image.fromarray(pixels), size=size)
    square = torch.from_numpy(pixels[:, 6:30].transpose(2, 0, 1)).double()
    want = torch.nn.functional.interpolate(
        square[None], (size, size), mode="bilinear", antialias=True
    )[0]
    assert np.abs(got - want.numpy()).max() <= 1
    assert got.shape == (3, size, size)


def test_mixed_sizes(offline: Path) -> None:
    for i, shape in enumerate([(4, 6, 3), (4, 6, 3), (5, 9, 3), (9, 9, 3)]):
        save(offline / f"{i}.png", random(*shape))
    with pytest.raises(
        ValueError, match=r"size, but .*0.png is 6 x 4 and .*2.png is 9 x 5; size=4"
    ):
        load_images(offline)
    assert load_images(offline, size=4).images.shape == (4, 3, 4, 4)


def test_mixed_channels(offline: Path) -> None:
    for i, shape in enumerate([(4, 4), (4, 4), (4, 4, 3), (5, 5, 3)]):
        save(offline / f"{i}.png", random(*shape))
    with pytest.raises(ValueError, match=r"0.png is grey and .*2.png is in colour; channels=1 or"):
        load_images(offline, size=4)
    save(offline / "2.png", random(5, 4, 3))
    with pytest.raises(ValueError, match="of one size"):  # first, where both differ
        load_images(offline)
    for channels in (1, 3):
        found = load_images(offline, size=4, channels=channels)
        assert found.images.shape == (4, channels, 4, 4)


@pytest.mark.parametrize("count", [1, 5, 7])
def test_images_that_cannot_be_read_are_named(offline: Path, count: int) -> None:
    for i in range(20):
        save(offline / f"{i:02}.png", random(16, 16, 3, seed=i))
    whole = (offline / "00.png").read_bytes()
    for i in range(count):  # the first too, in turn: no image, an empty file, one cut short
        (offline / f"{2 * i:02}.png").write_bytes([b"no image at all", b"", whole[:400]][i % 3])
    with pytest.raises(ValueError, match=f"{count} of 20 images cannot be read: ") as info:
        load_images(offline)
    message = str(info.value)
    named = [i for i in range(20) if f"/{i:02}.png (" in message]
    assert named == [2 * i for i in range(min(count, 5))]
    assert message.endswith(", and 2 more") == ("more" in message) == (count == 7)
    assert "00.png (not an image of a known kind)" in message
    assert ("04.png (OSError: image file is truncated)" in message) == (count > 2)


def test_a_bad_row_is_named(offline: Path) -> None:
    rows: list[Any] = [{"bytes": encode(random(4, 4)), "path": "0.png"}] * 5
    rows[1] = {"bytes": b"broken", "path": "cat.png"}
    rows[2] = {"bytes": None, "path": None}
    rows[3] = {"bytes": None, "path": "/no/where.png"}
    rows[4] = None
    pyarrow.parquet.write_table(pyarrow.table({"image": rows}), offline / "a.parquet")
    with pytest.raises(ValueError, match="4 of 5") as info:
        load_images(offline)
    for part in (
        "row 1 (cat.png) (not an image of a known kind)",
        "row 2 (ValueError: no image)",
        "/no/where.png (FileNotFoundError",
        "row 4 (ValueError: no image)",
    ):
        assert part in str(info.value)


def test_more_than_eight_bits_are_refused(offline: Path) -> None:
    Image.fromarray(random(4, 4).astype(np.uint16) * 257).save(offline / "deep.png")
    Image.fromarray(random(4, 4).astype(np.float32)).save(offline / "real.tiff")
    with pytest.raises(ValueError, match=r"2 of 2 .*8 bits .* mode I;16\).*8 bits .* mode F\)"):
        load_images(offline)


@pytest.mark.parametrize(("kind", "numbers"), [(2, 3), (4, 2), (6, 4)])
def test_sixteen_bits_of_colour_are_not_cut_to_eight(
    kind: int, numbers: int, offline: Path
) -> None:
    """Pillow opens such a PNG as one of eight bits, and drops half of each number."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc32(name + data))

    row = b"\0" + bytes(range(4 * numbers * 2))  # four pixels, after the number of the filter
    (offline / "deep.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, kind, 0, 0, 0))
        + chunk(b"IDAT", compress(row * 4))
        + chunk(b"IEND", b"")
    )
    with pytest.raises(ValueError, match=r"deep\.png \(ValueError: 8 bits .* got 16"):
        load_images(offline)


@pytest.mark.usefixtures("as_a_reader")
@pytest.mark.parametrize("ending", ["gif", "png", "webp", "tiff"])
def test_several_images_in_one_file_are_refused(offline: Path, ending: str) -> None:
    frames = [Image.fromarray(random(8, 8, 3, seed=i)) for i in range(3)]
    path = offline / f"b.{ending}"
    frames[0].save(path)
    save(offline / "a.png", random(8, 8, 3))
    assert len(load_images(offline).images) == 2
    frames[0].save(path, save_all=True, append_images=frames[1:])
    says = rf"1 of 2 images cannot be read: {path} \(ValueError: one image is expected, got 3 fr"
    with pytest.raises(ValueError, match=says):
        load_images(offline)


def test_previews_are_no_second_image(offline: Path) -> None:
    """A telephone's .jpg is often of this kind."""
    one, two = (Image.fromarray(random(8, 8, 3, seed=i)) for i in range(2))
    one.save(offline / "a.mpo", save_all=True, append_images=[two])
    with Image.open(offline / "a.mpo") as image:
        assert (image.format, image.n_frames) == ("MPO", 2)  # type: ignore[attr-defined]
        expected = np.asarray(image.convert("RGB"))
    assert np.array_equal(load_images(offline).images[0].permute(1, 2, 0).numpy(), expected)


def test_bad_input(offline: Path) -> None:
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        load_images(offline, size=0)
    with pytest.raises(ValueError, match="channels must be 1 or 3, got 4"):
        load_images(offline, channels=4)


def test_images_are_held_once(offline: Path) -> None:
    # A plain image is small on disk and large in memory.
    path = parquet(offline / "a.parquet", [np.full((256, 256, 3), i, np.uint8) for i in range(60)])
    load_images(path, size=1)  # what is imported and cached at the first call does not count
    tracemalloc.start()
    found = load_images(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.images[:, 0, 0, 0].tolist() == list(range(60))
    assert peak < 1.25 * found.images.nbytes


def test_a_folder_is_trained_on(offline: Path) -> None:
    for i in range(12):
        save(offline / f"{i}.png", random(8, 8, 3, seed=i))
    found = load_images(offline)
    network = UNet(size=8, channels=3, width=8, mults=(1, 2))
    diffusion = GaussianDiffusion(linear_schedule(20), levels=found.levels)
    steps = list(train(network, diffusion, found.images, TrainConfig(steps=3, batch=4)))
    assert all(step.loss.isfinite() for step in steps)
    assert len(steps) == 3


def test_more_than_the_memory_holds(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ddpm_lite.images import sets

    for i in range(5):
        save(offline / f"{i}.png", random(8, 8, 3))
    assert sets.memory() > 1e8
    monkeypatch.setattr(sets, "memory", lambda: 5 * 192.0)
    assert len(load_images(offline).images) == 5
    monkeypatch.setattr(sets, "memory", lambda: 5 * 192.0 - 1)
    with pytest.raises(MemoryError, match=r"5 images of 8 x 8 need 0 GB .*\(--size\)"):
        load_images(offline)

    def decoded(*_: Any) -> None:
        raise AssertionError("an image was decoded")

    monkeypatch.setattr(sets, "_pixels", decoded)
    with pytest.raises(MemoryError, match="5 images of 100 x 100 need"):
        load_images(offline, size=100)


@pytest.mark.parametrize(("side", "size"), [(1, 1), (28, 16), (32, 32), (73, 64)])
def test_the_size_that_is_advised_can_be_halved(side: int, size: int) -> None:
    assert resizing(side).endswith(f"(--size {size})")
