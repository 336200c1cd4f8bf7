"""Where sets of images come from: the Hugging Face hub, a folder, or parquet files.

All are opened by the library `datasets`; here it is told what to open, and its failures are told
in the reader's terms.
"""

import glob
import mimetypes
import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

__all__ = [
    "HUB",
    "at_odd_depth",
    "check_all_read",
    "files_below",
    "image_column",
    "open_hub",
    "open_path",
]

HUB = {  # name: its repository on the hub
    "mnist": "ylecun/mnist",
    "fashion_mnist": "zalando-datasets/fashion_mnist",
    "cifar10": "uoft-cs/cifar10",
}
NAMES = ", ".join(["digits", *HUB])
NAMED = 5  # files are listed up to here
# What may hold images and is not opened: archives, arrays, and kinds that not every Pillow knows.
PACKED = (
    ".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar", ".npy", ".npz", ".pt",
    ".arrow", ".parquet", ".tfrecord", ".hdf5", ".mat", ".avif", ".heic", ".heif", ".jxl", ".qoi",
    ".webp", ".svg", ".dng", ".raw",
)  # fmt: skip
SPLIT = re.compile(r"(train|validation|valid|val|test)", re.I)
FILE = re.compile(rf"{SPLIT.pattern}([-_]\d.*)?", re.I)  # a split's, perhaps one of several
# What may be meant as a split's name: mnist_train, training, test-set.
NEARLY = re.compile(
    r"(?P<before>(.*[-_. ])?)(?P<split>train|val|test|dev|eval)(ing|id|idation|uation)?"
    r"(?P<after>([-_. ].*)?)",
    re.I,
)


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
            be read, splits side by side with something else, names that may be meant as splits
            and are not known as such, or images left out.
    """
    path = Path(os.path.expanduser(name)).absolute()
    if not path.exists():
        if re.search(r"[./\\~]", name):
            raise FileNotFoundError(f"no folder or file {path}; sets by name are {NAMES}")
        raise ValueError(
            f"unknown set {name!r}: the names are {NAMES}; or give the path of a folder of "
            "images, of a parquet file, or of a folder of those"
        )
    if path.is_file() and path.suffix.lower() != ".parquet":
        raise ValueError(
            f"{path} is neither a folder nor a .parquet file; of IDX files give their folder"
        )
    library = _library()
    parts = {"train": [path]} if path.is_file() else _parquet_files(path)
    if not parts:
        folders = _image_folders(path)
        images = {split: files_below(root, _images) for split, root in folders.items()}
        check_all_read(path, images)
        return _as_table(library, folders, images)
    if path.is_dir():
        check_all_read(path, parts)
    files = {split: [glob.escape(str(p)) for p in paths] for split, paths in parts.items()}
    try:
        return _load_dataset(library, progress, "parquet", data_files=files)
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


# The library finds splits, classes and images by itself too. But there one file with "test" in its
# name hides all others, the names of splits can pass for classes, and what it cannot open it leaves
# out in silence. Here splits are all or nothing, and what is found is what is read.


def _parquet_files(root: Path) -> dict[str, list[Path]]:
    parts: dict[str, list[Path]] = {}
    others: list[Path] = []
    for folder, _, names in _walk(root):
        for path in [Path(folder, n) for n in names if n.lower().endswith(".parquet")]:
            found = FILE.fullmatch(path.stem)
            if not found and path.parent != root:
                found = SPLIT.fullmatch(path.parent.name)
            (parts.setdefault(found[1], []) if found else others).append(path)
    _check_alone(parts, others, root)
    _check_meant([p.stem for p in others], root)
    _check_meant([p.parent.name for p in others if p.parent != root], root)
    return {"train": others} if others else _in_small_letters(parts, root)


def _image_folders(root: Path) -> dict[str, Path]:
    """The folder of each split."""
    images = files_below(root, _images)
    if not images:
        check_all_read(root, {})
        raise FileNotFoundError(f"no images in {root}")
    _, folders, names = next(_walk(root))
    parts = {n: root / n for n in folders if SPLIT.fullmatch(n)}
    others = [root / n for n in folders + _images(names) if n not in parts]
    _check_alone(parts, others, root)
    own = {path.parent for path in images}
    holding = own.union(*(folder.parents for folder in own))
    for split in parts.values() or [root]:
        for folder, inner, _ in _walk(split):
            _check_meant([n for n in inner if Path(folder, n) in holding], Path(folder))
    return _in_small_letters(parts, root) or {"train": root}


def _in_small_letters(parts: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """The parts by the names of their splits, whatever the letters they are written in."""
    small = {name.lower(): part for name, part in parts.items()}
    if len(small) < len(parts):
        raise ValueError(
            f"{root} must have each split once, got {', '.join(sorted(parts))}, which differ in "
            "capitals alone"
        )
    return small


def _check_meant(names: list[str], root: Path) -> None:
    """Refuse names that differ just as splits do, where they are not taken for splits."""
    seen: dict[str, tuple[str, str]] = {}
    for name in names:
        if found := NEARLY.fullmatch(name):
            rest = re.sub(r"\d+", "", found["before"] + "*" + found["after"]).lower()
            split = found["split"].lower()
            other, first = seen.setdefault(rest, (split, name))
            if other != split:
                raise ValueError(
                    f"{root} has {first} and {name}, which may be meant as splits and are not "
                    "taken for them: name them train and test right in the folder that you give, "
                    "or give the path of one alone"
                )


def at_odd_depth(root: Path) -> str:
    """The images that lie less deep or deeper than most, because of which folders are no classes.

    Nothing where all lie at one depth.
    """
    images = files_below(root, _images)
    depths = Counter(len(path.parts) for path in images)
    if len(depths) < 2:
        return ""
    usual = depths.most_common(1)[0][0]
    return _listed([path for path in images if len(path.parts) != usual], root)


def _as_table(
    library: Any, folders: Mapping[str, Path], images: Mapping[str, list[Path]]
) -> Mapping[str, Any]:
    """The images of each split as the library has them, by path; with their folders as labels.

    These are classes where they differ and lie at one depth below their split.
    """
    # x/cat is another class than y/cat: whether they are one, nobody here can tell.
    own = {s: [p.parent.relative_to(folders[s]).as_posix() for p in images[s]] for s in images}
    names = sorted({name for some in own.values() for name in some})
    depths = {len(Path(name).parts) for name in names}
    classes = len(names) > 1 and len(depths) == 1
    features: dict[str, Any] = {"image": library.Image()}
    if classes:
        features["label"] = library.ClassLabel(names=names)
    tables = {}
    for split, paths in images.items():
        columns: dict[str, list[Any]] = {"image": [str(path) for path in paths]}
        if classes:
            columns["label"] = [names.index(name) for name in own[split]]
        tables[split] = library.Dataset.from_dict(columns, library.Features(features))
    return tables


def _images(names: list[str]) -> list[str]:
    """Those that Pillow opens here; what its version cannot is found by `check_all_read`."""
    from PIL import Image

    kinds = Image.registered_extensions()
    known = tuple(end for end, kind in kinds.items() if kind in Image.OPEN or kind == "MPO")
    return [n for n in names if n.lower().endswith(known)]


def files_below(root: Path, some: Callable[[list[str]], list[str]]) -> list[Path]:
    """Such files of a folder and of all in it, in the order of their paths."""
    return sorted((Path(at, n) for at, _, names in _walk(root) for n in some(names)), key=str)


def check_all_read(root: Path, parts: Mapping[str, list[Path]]) -> None:
    """Hold what lies in a folder against what is read of it: nothing is left out in silence.

    Raises:
        ValueError: something that holds images, or says which count, and is not read.
    """
    read = {path for paths in parts.values() for path in paths}
    left = [path for path in files_below(root, list) if path not in read]
    data = [path for path in left if _holds_images(path)]
    if data:
        raise ValueError(
            f"{root} holds {_listed(data, root)} beside what can be read: unpack, convert or take "
            "away, for nothing is left out in silence"
        )
    if left and parts:
        warnings.warn(f"{root}: left out, as no images, {_listed(left, root)}", stacklevel=5)


def _holds_images(path: Path) -> bool:
    """Whether it is an image, many, a list of them, or a link to what may have been one."""
    kind = mimetypes.guess_type(path.name)[0] or ""
    ending = path.suffix.lower()
    lists = path.stem.lower() == "metadata" and ending in (".csv", ".jsonl", ".parquet")
    return kind.startswith("image/") or ending in PACKED or lists or not path.exists()


def _listed(paths: list[Path], root: Path) -> str:
    names = ", ".join(str(path.relative_to(root)) for path in paths[:NAMED])
    return names + f" and {len(paths) - NAMED} more" * (len(paths) > NAMED)


def _check_alone(parts: Mapping[str, Any], others: list[Path], root: Path) -> None:
    if parts and others:
        raise ValueError(
            f"{root} has splits ({', '.join(parts)}) side by side with others, such as "
            f"{others[0].relative_to(root)}; keep one kind, or give the path of a split alone"
        )


def _walk(root: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Folders and files in order, links followed, without what is hidden."""
    for folder, inner, names in os.walk(root, onerror=_raise, followlinks=True):
        inner[:] = sorted(n for n in inner if not n.startswith((".", "__")))
        for link in [Path(folder, n) for n in inner]:
            if link.is_symlink() and Path(folder).resolve().is_relative_to(link.resolve()):
                raise ValueError(f"{link} is a link to a folder that it lies in: take it away")
        yield folder, inner, sorted(n for n in names if not n.startswith("."))


def _raise(error: OSError) -> None:
    raise error
