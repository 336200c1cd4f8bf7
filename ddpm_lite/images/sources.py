"""Where sets of images come from: the Hugging Face hub, a folder, or parquet files.

All are opened by the library `datasets`; here it is told what to open, and its failures are told
in the reader's terms.
"""

import glob
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

__all__ = ["HUB", "image_column", "open_hub", "open_path"]

HUB = {  # name: its repository on the hub
    "mnist": "ylecun/mnist",
    "fashion_mnist": "zalando-datasets/fashion_mnist",
    "cifar10": "uoft-cs/cifar10",
}
NAMES = ", ".join(["digits", *HUB])
SPLIT = "(train|validation|valid|val|test)"


def open_hub(name: str, progress: bool) -> Mapping[str, Any]:
    """The splits of a set of the hub, from the cache where they are in it.

    Raises:
        ImportError: the extra "data" is missing.
        OSError: the hub could not be reached.
    """
    library = _library()
    try:
        return _load_dataset(library, progress, HUB[name])
    except Exception as error:  # a network fails in many ways, each with a class of its own
        raise OSError(
            f"{name} could not be loaded from the Hugging Face hub ({reason(error)}). Try again "
            "with a network, or set HF_HOME to a folder whose cache has it, or download the "
            f"parquet files of huggingface.co/datasets/{HUB[name]} and give their folder's path"
        ) from error


def open_path(name: str, progress: bool) -> Mapping[str, Any]:
    """The splits of a folder of images, of a parquet file, or of a folder of those.

    Raises:
        ImportError: the extra "data" is missing.
        FileNotFoundError: no such path, or no images there.
        ValueError: neither a path nor the name of a set, a file of another kind, one that cannot
            be read, or splits side by side with something else.
    """
    path = Path(os.path.expanduser(name)).absolute()
    if not path.exists():
        if re.search(r"[./\\~]", name):
            raise FileNotFoundError(f"no folder or file {path}; sets by name are {NAMES}")
        raise ValueError(
            f"unknown set {name!r}: the names are {NAMES}; or give the path of a folder of "
            "images, of a parquet file, or of a folder of those"
        )
    if path.is_file() and path.suffix != ".parquet":
        raise ValueError(f"{path} is neither a folder nor a .parquet file")
    library = _library()
    reader, more = "parquet", {}
    parts = {"train": [path]} if path.is_file() else _parquet_files(path)
    if not parts:
        reader, parts = "imagefolder", _image_folders(path)
        more = {"drop_labels": not _are_classes(parts)}
    files = {
        split: [glob.escape(str(p)) + ("/**" if p.is_dir() else "") for p in paths]
        for split, paths in parts.items()
    }
    try:
        return _load_dataset(library, progress, reader, data_files=files, **more)
    except Exception as error:  # its message does not name what was read, and at times no cause
        cause = error.__cause__ or error
        raise ValueError(f"{path} could not be read ({reason(cause)})") from error


def image_column(rows: Any, name: str) -> tuple[str, Any]:
    """The first column of images, and the rows with its images left as bytes or path.

    Raises:
        ValueError: there is none.
    """
    library = _library()
    for column, feature in rows.features.items():
        stored = isinstance(feature, dict) and "bytes" in feature
        if stored or isinstance(feature, library.Image):
            return column, rows.cast_column(column, library.Image(decode=False))
    raise ValueError(
        f"{name} has no column of images, that is of bytes and path; its columns are "
        f"{', '.join(rows.features)}"
    )


def reason(error: BaseException) -> str:
    """What went wrong, in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _library() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise ImportError(
            'this needs the library datasets: pip install "ddpm-lite[data]"'
        ) from error
    return datasets


def _load_dataset(library: Any, progress: bool, *args: Any, **keywords: Any) -> Any:
    """Every call of the library's, so that a test can stand in for the hub."""
    with nullcontext() if progress else _quiet(library):
        return library.load_dataset(*args, **keywords)


@contextmanager
def _quiet(library: Any) -> Iterator[None]:
    import huggingface_hub

    bars = [u for u in (library, huggingface_hub) if not u.utils.are_progress_bars_disabled()]
    for shown in bars:
        shown.utils.disable_progress_bars()
    try:
        yield
    finally:
        for shown in bars:
            shown.utils.enable_progress_bars()


# The library finds splits and classes by itself too. But there one file with "test" in its name
# hides all others, and the names of splits can pass for classes. Here splits are all or nothing.


def _parquet_files(root: Path) -> dict[str, list[Path]]:
    parts: dict[str, list[Path]] = {}
    others: list[Path] = []
    for folder, _, names in _walk(root):
        for path in [Path(folder, n) for n in names if n.endswith(".parquet")]:
            found = re.fullmatch(SPLIT + r"([-_]\d.*)?", path.stem)
            if not found and path.parent != root:
                found = re.fullmatch(SPLIT, path.parent.name)
            (parts.setdefault(found[1], []) if found else others).append(path)
    _check_alone(parts, others, root)
    return {"train": others} if others else parts


def _image_folders(root: Path) -> dict[str, list[Path]]:
    if not any(_images(names) for _, _, names in _walk(root)):
        raise FileNotFoundError(f"no images in {root}")
    _, folders, names = next(_walk(root))
    parts = {n: [root / n] for n in folders if re.fullmatch(SPLIT, n)}
    others = [root / n for n in folders + _images(names) if n not in parts]
    _check_alone(parts, others, root)
    return parts or {"train": [root]}


def _are_classes(parts: Mapping[str, list[Path]]) -> bool:
    """Whether the folders that hold images are at one depth below their split, and differ."""
    names, depths = set(), set()
    for (root,) in parts.values():
        for folder, _, files in _walk(root):
            if _images(files):
                names.add(Path(folder).name)
                depths.add(len(Path(folder).relative_to(root).parts))
    return len(names) > 1 and len(depths) == 1 and 0 not in depths


def _images(names: list[str]) -> list[str]:
    from PIL import Image

    known = tuple(Image.registered_extensions())
    return [n for n in names if n.lower().endswith(known)]


def _check_alone(parts: Mapping[str, Any], others: list[Path], root: Path) -> None:
    if parts and others:
        raise ValueError(
            f"{root} has splits ({', '.join(parts)}) side by side with others, such as "
            f"{others[0].relative_to(root)}; keep one kind, or give the path of a split alone"
        )


def _walk(root: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Folders and files in order, without those that the library passes over too."""
    for folder, inner, names in os.walk(root, onerror=_raise):
        inner[:] = sorted(n for n in inner if not n.startswith((".", "__")))
        yield folder, inner, sorted(n for n in names if not n.startswith("."))


def _raise(error: OSError) -> None:
    raise error
