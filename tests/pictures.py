"""Random pictures, written to folders and to parquet files as the hub stores them."""

import json
import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

DIGITS = [str(i) for i in range(10)]
SCHEMAS = {  # name: column of images, names of the classes, shape of an image
    "mnist": ("image", DIGITS, (28, 28)),
    "fashion_mnist": ("image", ["T - shirt / top", "Trouser", "Pullover", "Dress"], (28, 28)),
    "cifar10": ("img", ["airplane", "automobile", "bird"], (32, 32, 3)),
}


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encode(pixels: np.ndarray, **options: Any) -> bytes:
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", **options)
    return buffer.getvalue()


def idx(values: np.ndarray, type_: int = 8) -> bytes:
    """As LeCun, Cortes and Burges describe their files: type, axes, sizes, values."""
    head = struct.pack(f">4B{values.ndim}I", 0, 0, type_, values.ndim, *values.shape)
    return head + values.tobytes()


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(pixels))
    return path


def parquet(
    path: Path,
    pixels: np.ndarray | list[np.ndarray],
    labels: list[int] | None = None,
    column: str = "image",
    names: list[str] = DIGITS,
) -> Path:
    """With the library's own features in the file's metadata, as on the hub."""
    import datasets

    path.parent.mkdir(parents=True, exist_ok=True)
    columns: dict[str, list[Any]] = {
        column: [{"bytes": encode(p), "path": f"{i}.png"} for i, p in enumerate(pixels)]
    }
    features: dict[str, Any] = {column: datasets.Image()}
    if labels is not None:
        columns["label"], features["label"] = labels, datasets.ClassLabel(names=names)
    table = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    table.to_parquet(path)
    return path


def hub(root: Path, name: str) -> dict[str, tuple[np.ndarray, list[int]]]:
    """A small set in the schema of `name`; what is in each split."""
    column, names, shape = SCHEMAS[name]
    parts = {}
    for split, count in (("train", 7), ("test", 3)):
        pixels = random(count, *shape, seed=count)
        labels = [(3 * i + count) % len(names) for i in range(count)]
        parquet(root / f"{split}-00000-of-00001.parquet", pixels, labels, column, names)
        parts[split] = pixels, labels
    return parts


def cached(home: Path, name: str) -> None:
    """Lay a small set where the library keeps it once it has come from the hub."""
    import datasets

    from ddpm_lite.images.sources import HUB

    parts = hub(home / "parquet", name)
    files = {split: str(home / "parquet" / f"{split}-*.parquet") for split in parts}
    cache = home / "datasets"
    made = datasets.load_dataset("parquet", data_files=files, cache_dir=str(cache))
    folder = Path(made["train"].cache_files[0]["filename"]).parent
    place = cache / HUB[name].replace("/", "___") / "plain_text" / "0.0.0" / ("0" * 40)
    place.parent.mkdir(parents=True)
    folder.rename(place)
    for split in parts:
        (place / f"parquet-{split}.arrow").rename(place / f"{name}-{split}.arrow")
    about = place / "dataset_info.json"
    says = json.loads(about.read_text())
    about.write_text(json.dumps(says | {"dataset_name": name, "config_name": "plain_text"}))


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No network, no set of the system's, and a cache of its own. Returns a folder for files."""
    monkeypatch.setattr("ddpm_lite.images.idx.INSTALLED", {})
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    import datasets
    import huggingface_hub

    # The libraries read the environment when they are imported, which may have been before.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache" / "datasets")
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def stand_in(offline: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Lets parquet files stand in for a set of the hub; returns what is in them."""
    from ddpm_lite.images import sources

    real = sources._load_dataset

    def answer(name: str) -> Any:
        root = offline / name
        parts = hub(root, name)

        def load(library: Any, progress: bool, repository: str) -> Any:
            assert repository == sources.HUB[name]
            files = {split: str(root / f"{split}-*.parquet") for split in parts}
            return real(library, progress, "parquet", data_files=files)

        monkeypatch.setattr(sources, "_load_dataset", load)
        return parts

    return answer
