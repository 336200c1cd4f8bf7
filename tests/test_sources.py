"""Where images come from: splits found or refused, and what went wrong told in plain terms."""

import builtins
import os
import re
import socket
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from ddpm_lite import load_images
from ddpm_lite.images import sources
from tests.pictures import offline, parquet, random, save, stand_in
from tests.systems import not_on_windows

__all__ = ["offline", "stand_in"]


@pytest.fixture(autouse=True)
def no_network(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: socket.socket, address: Any) -> None:
        raise AssertionError(f"a test went for the network: {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def like(path: Path | str) -> str:
    """A path as a message writes it here, to be searched for."""
    return re.escape(str(Path(path)))


def found(path: Path) -> dict[str, int]:
    return {split: len(rows) for split, rows in sources.open_path(str(path), False).items()}


def test_a_folder_without_splits_is_train(offline: Path) -> None:
    for i, name in enumerate(["a.png", "test_1.png", "my-train-ride.png", "val.PNG"]):
        save(offline / name, random(4, 4, seed=i))
    assert found(offline) == {"train": 4}  # a name with "test" in it is no split


def test_folders_named_as_splits_are_splits(offline: Path) -> None:
    for i, name in enumerate(["train/a", "train/b", "test/a", "val/deep/a", "val/deep/b"]):
        save(offline / f"{name}.png", random(4, 4, seed=i))
    save(offline / "__MACOSX" / "a.png", random(4, 4))
    (offline / "README.txt").write_text("no image, so nothing beside the splits")
    with pytest.warns(UserWarning, match=r"left out, as no images, README.txt$"):
        assert found(offline) == {"train": 2, "test": 1, "val": 2}


def test_capitals_in_a_name_s_end(offline: Path) -> None:
    save(offline / "A.PNG", random(4, 4))
    assert found(offline) == {"train": 1}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["Train", "TEST"], {"train": 1, "test": 1}),
        (["Validation", "train"], {"validation": 1, "train": 1}),
        (["training", "tested", "a-test"], {"train": 3}),  # of three, not one is another's twin
    ],
)
def test_capitals_make_no_other_split(
    offline: Path, names: list[str], expected: dict[str, int]
) -> None:
    for i, name in enumerate(names):
        save(offline / "images" / name / "a.png", random(4, 4, seed=i))
        parquet(offline / "files" / f"{name}.parquet", random(1, 4, 4, seed=i))
        parquet(offline / "folders" / name / "0.parquet", random(1, 4, 4, seed=i))
    for folder in ("images", "files", "folders"):
        assert found(offline / folder) == expected


def test_a_split_twice_is_refused(offline: Path) -> None:
    for i, name in enumerate(["Train", "train", "test"]):
        save(offline / "images" / name / "a.png", random(4, 4, seed=i))
        parquet(offline / "files" / f"{name}.parquet", random(1, 4, 4, seed=i))
    for folder in ("images", "files"):
        with pytest.raises(ValueError, match="each split once, got Train, test, train, which"):
            found(offline / folder)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("mnist_train", "mnist_test"),
        ("training", "testing"),
        ("Train-set", "test-set"),
        ("mnist.val-00000-of-00001", "mnist.Train-00001-of-00002"),
        ("training", "evaluation"),
    ],
)
def test_names_that_may_be_meant_as_splits_are_refused(offline: Path, one: str, two: str) -> None:
    says = rf"has ({one} and {two}|{two} and {one}), which may be meant as splits and are not taken"
    for i, name in enumerate([one, two]):
        save(offline / "images" / name / "a.png", random(4, 4, seed=i))
        save(offline / "deep" / "cat" / name / "a.png", random(4, 4, seed=i))
        save(offline / "in split" / "train" / name / "a.png", random(4, 4, seed=i))
        parquet(offline / "files" / f"{name}.parquet", random(1, 4, 4, seed=i))
        parquet(offline / "folders" / name / "0.parquet", random(1, 4, 4, seed=i))
    for folder in ("images", "deep", "in split", "files", "folders"):
        with pytest.raises(ValueError, match=says):
            found(offline / folder)
    assert found(offline / "images" / one) == {"train": 1}  # the way out that it names


def test_splits_below_the_top_are_no_classes(offline: Path) -> None:
    for i, name in enumerate(["train", "test"]):
        save(offline / "images" / name / f"{i}.png", random(4, 4, seed=i))
        (offline / f"notes_{name}").mkdir()  # without images: no split
    with pytest.raises(ValueError, match=r"images has test and train, which may be meant"):
        load_images(offline)
    assert found(offline / "images") == {"train": 1, "test": 1}


def test_folders_of_one_name_are_two_classes(offline: Path) -> None:
    for i, name in enumerate(["x/cat", "x/dog", "y/cat"]):
        save(offline / name / "a.png", random(4, 4, seed=i))
    assert load_images(offline).labels.tolist() == [0, 1, 2]
    for i, name in enumerate(["train/cat", "train/dog", "test/dog"]):
        save(offline / "split" / name / "a.png", random(4, 4, seed=i))
    assert load_images(offline / "split", "test").labels.tolist() == [1]  # but each split has both


def test_a_split_without_images(offline: Path) -> None:
    save(offline / "train" / "a.png", random(4, 4))
    (offline / "val").mkdir()
    with pytest.raises(FileNotFoundError, match=rf"no images in the split 'val' of {offline}"):
        load_images(offline, "val")
    assert len(load_images(offline).images) == 1


def test_folders_named_nearly_so_are_classes(offline: Path) -> None:
    for i, name in enumerate(["trains/a", "test tubes/a", "valley/a"]):
        save(offline / "images" / f"{name}.png", random(4, 4, seed=i))
        parquet(offline / "tables" / f"{name}.parquet", random(1, 4, 4, seed=i))
    assert found(offline / "images") == found(offline / "tables") == {"train": 3}
    assert load_images(offline / "images").labels.tolist() == [0, 1, 2]


def test_what_is_hidden_is_passed_over_in_the_folder_but_not_above_it(offline: Path) -> None:
    root = offline / ".hidden" / "__odd [1] *"
    for i, name in enumerate(["a", ".a", ".thumbs/a", "__MACOSX/a"]):
        save(root / f"{name}.png", random(4, 4, seed=i))
    (root / ".train").mkdir()
    (root / "notes.txt").write_text("not an image")
    for name in (".old.parquet", "parts.parquet.txt"):
        (root / name).write_text("not a table")
    with pytest.warns(UserWarning, match=r"as no images, notes.txt, parts.parquet.txt$"):
        assert found(root) == {"train": 1}


def test_hidden_folders_are_no_classes(offline: Path) -> None:
    for name in ("train/a", "test/a"):
        save(offline / f"{name}.png", random(4, 4))
    (offline / "train" / ".thumbs").mkdir()
    assert load_images(offline).labels is None  # the splits would pass for two classes


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["one", "latest", "test_set"], {"train": 3}),
        (["train", "test"], {"train": 1, "test": 1}),
        (
            ["data/train-00000-of-00002", "data/train-00001-of-00002-ab12", "data/test_0"],
            {"test": 1, "train": 2},
        ),
        (["plain_text/train/0000", "plain_text/train/0001", "plain_text/validation/0000"],
         {"train": 2, "validation": 1}),
    ],
)  # fmt: skip
def test_splits_of_parquet_files(offline: Path, names: list[str], expected: Any) -> None:
    for i, name in enumerate(names):
        parquet(offline / "set" / f"{name}.parquet", random(1, 4, 4, seed=i))
    assert found(offline / "set") == expected


def test_a_folder_s_own_name_is_no_split(offline: Path) -> None:
    parquet(offline / "test" / "0000.parquet", random(2, 4, 4))
    assert found(offline / "test") == {"train": 2}
    assert found(offline / "test" / "0000.parquet") == {"train": 2}


def test_files_of_a_split_come_in_order(offline: Path) -> None:
    pixels = random(5, 4, 4)
    for i in (3, 0, 4, 1, 2):
        parquet(offline / f"train-{i:05}-of-00005.parquet", pixels[i : i + 1])
    assert (load_images(offline).images[:, 0].numpy() == pixels).all()


@pytest.mark.parametrize("name", ["set [1]", "what?", "a*b"])
def test_signs_of_a_pattern_in_a_path_are_only_signs(offline: Path, name: str) -> None:
    parquet(offline / name / "train.parquet", random(2, 4, 4))
    assert found(offline / name) == {"train": 2}


def test_splits_beside_something_else_are_refused(offline: Path) -> None:
    for name in ("a/train/1", "a/raw/1", "b/test/1", "b/2"):
        save(offline / f"{name}.png", random(4, 4))
    parquet(offline / "c" / "test.parquet", random(1, 4, 4))
    parquet(offline / "c" / "x" / "rest.parquet", random(1, 4, 4))
    message = r"has splits \({}\) side by side with others, such as {}; .* path of a split"
    for folder, part, other in (("a", "train", "raw"), ("b", "test", "2.png"),
                                ("c", "test", "x/rest.parquet")):  # fmt: skip
        with pytest.raises(ValueError, match=message.format(part, like(other))):
            sources.open_path(str(offline / folder), False)
    assert found(offline / "a" / "train") == {"train": 1}  # the way out that it names


def test_no_such_thing(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(offline)
    names = "digits, mnist, fashion_mnist, cifar10"
    with pytest.raises(ValueError, match=f"unknown set 'minst': the names are {names}; or .* path"):
        load_images("minst")
    for path in ("./minst", "no/where", "images.parquet", "~no-such-user/images"):
        where = offline / path  # in full, so that a wrong working folder shows
        with pytest.raises(FileNotFoundError, match=f"file {like(where)}; sets .* are {names}"):
            load_images(path)
    with pytest.raises(ValueError, match="unknown set 'mnist'"):
        load_images(Path("mnist"))  # a Path is never a name
    save(offline / "flowers" / "a.png", random(4, 4))
    assert load_images("flowers").name == "flowers"  # a folder, with or without a slash
    for home in ("HOME", "USERPROFILE"):  # the second is that of Windows
        monkeypatch.setenv(home, str(offline))
    assert len(load_images("~/flowers").images) == 1
    single = save(offline / "one.png", random(4, 4))
    with pytest.raises(ValueError, match=r"one.png is neither a folder nor a .parquet file"):
        load_images(single)


def test_a_folder_with_no_images(offline: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"no images in {like(offline)}"):
        load_images(offline)
    (offline / "x").mkdir()
    (offline / "x" / "readme.txt").write_text("none")
    save(offline / ".cache" / "a.png", random(4, 4))
    with pytest.raises(FileNotFoundError, match=f"no images in {like(offline)}"):
        load_images(offline)


def test_a_folder_that_cannot_be_opened(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(offline / "a" / "0.png", random(4, 4))
    save(offline / "b" / "0.png", random(4, 4))
    real = os.scandir

    def locked(path: Any) -> Any:
        if str(path).endswith("b"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", locked)
    with pytest.raises(PermissionError, match=r"denied: '.*b'"):
        load_images(offline)


def test_parquet_that_is_none(offline: Path) -> None:
    (offline / "a.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(ValueError, match=r"a.parquet could not be read \(ArrowInvalid: ") as info:
        load_images(offline / "a.parquet")
    assert isinstance(info.value.__cause__, pyarrow.ArrowInvalid)


def test_parquet_without_images(offline: Path) -> None:
    table = pyarrow.table({"text": ["a"], "label": [1], "point": [{"x": 1}]})
    pyarrow.parquet.write_table(table, offline / "a.parquet")
    with pytest.raises(ValueError, match=r"a.parquet has no column .* are text, label, point"):
        load_images(offline / "a.parquet")


def test_an_unknown_split(offline: Path) -> None:
    for split in ("train", "test"):
        save(offline / split / "a.png", random(4, 4))
    with pytest.raises(ValueError, match=r"has no split 'val'; it has test, train"):
        load_images(offline, "val")
    with pytest.raises(ValueError, match="split must be train, test or all, got 'val'"):
        load_images("digits", "val")


def test_the_hub_out_of_reach(offline: Path) -> None:
    message = r"mnist could not be loaded .*huggingface.co/datasets/ylecun/mnist and give"
    with pytest.raises(OSError, match=message) as info:
        load_images("mnist")
    assert isinstance(info.value.__cause__, ConnectionError)
    assert str(info.value.__cause__) in str(info.value)


@pytest.mark.parametrize("where", ["mnist", "."])
def test_a_missing_extra(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "datasets":
            raise ModuleNotFoundError("No module named 'datasets'")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r'pip install "ddpm-lite\[data\]"'):
        load_images(where)
    assert load_images("digits").levels == 17  # which needs none


@pytest.mark.parametrize("progress", [False, True])
def test_bars_only_when_asked_for(
    offline: Path, capfd: pytest.CaptureFixture[str], progress: bool
) -> None:
    import datasets
    import huggingface_hub

    shown: list[bool] = []
    libraries = (datasets, huggingface_hub)

    class Watched:
        utils, Image = datasets.utils, datasets.Image

        @staticmethod
        def load_dataset() -> None:
            shown.extend(not x.utils.are_progress_bars_disabled() for x in libraries)
            raise ValueError("in the midst of it")

    with pytest.raises(ValueError, match="in the midst"):
        sources._load_dataset(Watched, progress)
    assert shown == [progress, progress]
    assert not any(x.utils.are_progress_bars_disabled() for x in libraries)  # as they were

    path = parquet(offline / "a.parquet", random(3, 4, 4))
    capfd.readouterr()
    load_images(path, progress=progress)
    out, err = capfd.readouterr()
    assert out == ""
    assert ("decoding" in err and "Generating" in err) == progress
    assert progress or err == ""


@pytest.mark.parametrize("ending", ["avif", "qoi", "mpo", "webp", "png"])
def test_every_kind_that_pillow_reads_is_read(offline: Path, ending: str) -> None:
    for name in ("ant/0", "cat/1", "dog/2"):
        save(offline / f"{name}.png", random(8, 8, 3))
    other = offline / "bee" / f"0.{ending}"
    other.parent.mkdir()
    kind = {"qoi": "PNG", "mpo": "JPEG", "avif": "PNG"}.get(ending, ending.upper())
    Image.fromarray(random(8, 8, 3)).save(other, kind)  # told by content, not by name
    found = load_images(offline)
    assert len(found.images) == 4
    assert found.labels.tolist() == [0, 1, 2, 3]  # the bee is the second


@pytest.mark.parametrize(
    "name",
    [
        "b.heic",
        "b.SVG",
        "a/b.zip",
        "b.tar.gz",
        "metadata.csv",
        "a/metadata.jsonl",
        "b.npz",
        "b.jxl",
    ],
)
def test_what_may_hold_images_is_not_left_out(offline: Path, name: str) -> None:
    save(offline / "a" / "0.png", random(4, 4))
    (offline / name).write_bytes(b"not looked at")
    with pytest.raises(ValueError, match=f"holds {like(name)} beside what can be read: unpack"):
        load_images(offline)
    parquet(offline / "c" / "0.parquet", random(1, 4, 4))
    (offline / "a" / "0.png").rename(offline / "c" / "0.png")
    (offline / name).unlink()
    with pytest.raises(ValueError, match=f"holds {like('c/0.png')} beside what can be read"):
        load_images(offline)


def test_other_files_are_named(offline: Path) -> None:
    save(offline / "0.png", random(4, 4))
    for i in range(6):
        (offline / f"{i}.txt").write_text("a caption")
    with pytest.warns(UserWarning, match=r"as no images, 0.txt, 1.txt, .*, 4.txt and 1 more"):
        assert found(offline) == {"train": 1}
    only = offline / "only"
    only.mkdir()
    (only / "images.zip").write_bytes(b"packed")
    with pytest.raises(ValueError, match=r"holds images\.zip beside"):
        load_images(only)


@not_on_windows("links need a right there")
def test_links_are_followed_and_broken_ones_named(offline: Path) -> None:
    save(offline / "elsewhere" / "0.png", random(4, 4))
    save(offline / "set" / "ant" / "0.png", random(4, 4))
    (offline / "set" / "bee").symlink_to(offline / "elsewhere")
    assert load_images(offline / "set").labels.tolist() == [0, 1]
    link = offline / "set" / "ant" / "1.png"
    link.symlink_to(offline / "gone.png")
    with pytest.raises(ValueError, match=r"1 of 3 images cannot be read: .*ant/1.png \(FileNotF"):
        load_images(offline / "set")
    link.unlink()
    link = offline / "set" / "cat"
    link.symlink_to(offline / "gone")
    with pytest.raises(ValueError, match="holds cat beside what can be read"):
        load_images(offline / "set")
    link.unlink()
    link.symlink_to(offline)
    with pytest.raises(ValueError, match="cat is a link to a folder that it lies in"):
        load_images(offline / "set")


def test_images_come_in_the_order_of_their_paths(offline: Path) -> None:
    names = ["b.png", "a/z.png", "a.png", "c/a.png", "a-b/c.png"]
    for i, name in enumerate(names):
        save(offline / name, random(4, 4, seed=i))
    order = [names.index(name) for name in sorted(names)]
    images = load_images(offline).images[:, 0].numpy()
    assert all((images[i] == random(4, 4, seed=seed)).all() for i, seed in enumerate(order))
