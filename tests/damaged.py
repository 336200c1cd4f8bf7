"""Damaged files: cut short, a bit flipped, something else in their place; the kind `files`.

Each file is damaged in a copy of its folder, and then used as a reader would: loaded, or gone on
from. A damaged file may be refused or gone round; what comes out must be what came out before. In
the end the whole file is put back, and all must be well again, or something was lost.

Not tried are bits that nobody could know to be wrong: those of a file that this package did not
write and that carries no checksum, such as labels in parquet and weights of 0.1.
"""

import gzip
import json
import random
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ddpm_lite import GaussianDiffusion, TrainConfig, UNet, linear_schedule
from ddpm_lite.images.sets import load_images
from ddpm_lite.runs.checkpoints import load, load_state, save_model, save_state
from ddpm_lite.runs.cli import main
from ddpm_lite.runs.run import Run
from tests.killed import same
from tests.outcomes import Fate, TooLong, at_most, contents, digest, in_words, told
from tests.pictures import encode, idx, parquet, save
from tests.pictures import random as pixels

DIFFUSION = GaussianDiffusion(linear_schedule(10))
DATA = torch.linspace(-1, 1, 16 * 64).view(16, 1, 8, 8)
PNG = encode(pixels(8, 8, seed=9))


class Victim(NamedTuple):
    """The files to damage, alike, in a folder; and what is then done with it, to what end."""

    files: tuple[str, ...]
    use: Callable[[Path], Any]
    flips: bool = True  # whether a flipped bit could be known


def trained(folder: Path, steps: int) -> list[Any]:
    torch.manual_seed(0)
    network = UNet(8, 1, 4, (1,), blocks=1)
    config = TrainConfig(steps=steps, batch=8, warmup=1, ema_decay=0.9)
    run = Run(folder, every=3, keep=2, log_every=2)
    for _ in run.train(network, DIFFUSION, DATA, config):
        pass
    rows = [[row["step"], row["loss"], row["lr"]] for row in run.rows()]
    return [numbers(folder / "model.safetensors"), rows]


def numbers(path: Path) -> list[Any]:
    network, diffusion = load(path)
    weights = {name: digest(x) for name, x in network.state_dict().items()}
    return [network.config, diffusion.config, digest(diffusion.schedule.beta), weights]


def said(path: Path) -> str:
    with redirect_stdout(StringIO()) as out:
        main(["info", str(path)])
    return out.getvalue()


def seen(path: Path) -> str:
    return digest(load_images(path).images)


def labelled(path: Path) -> list[Any]:
    found = load_images(path)
    assert found.labels is not None
    return [digest(found.images), found.labels.tolist()]


def on(folder: Path) -> list[Any]:
    return trained(folder / "run", 8)


VICTIMS = {
    "weights": Victim(("w.safetensors",), lambda at: numbers(at / "w.safetensors")),
    "info": Victim(("w.safetensors",), lambda at: said(at / "w.safetensors")),
    "old weights": Victim(("old.safetensors",), lambda at: numbers(at / "old.safetensors"), False),
    "last state": Victim(("run/state-00000006.pt",), on),
    "all states": Victim(("run/state-00000003.pt", "run/state-00000006.pt"), on),
    "run's weights": Victim(("run/model.safetensors",), on),
    "log": Victim(("run/log.jsonl",), on),
    "lock": Victim(("run/.lock",), on),
    "picture": Victim(("pictures/1.png",), lambda at: seen(at / "pictures")),
    "idx images": Victim(("idx/train-images-idx3-ubyte.gz",), lambda at: labelled(at / "idx")),
    "idx labels": Victim(("idx/train-labels-idx1-ubyte.gz",), lambda at: labelled(at / "idx")),
    "parquet": Victim(("table.parquet",), lambda at: seen(at / "table.parquet")),
}


def make(folder: Path) -> None:
    """The files, all whole."""
    torch.manual_seed(0)
    network = UNet(8, 1, 4, (1,), blocks=1)
    save_model(folder / "w.safetensors", network, DIFFUSION, {"step": 3})
    without_checksum(folder / "w.safetensors", folder / "old.safetensors")
    trained(folder / "run", 6)
    for i in range(3):
        save(folder / "pictures" / f"{i}.png", pixels(24, 24, seed=i))
    (folder / "idx").mkdir()
    for name, values in (("images-idx3", pixels(3, 8, 8)), ("labels-idx1", pixels(3) % 10)):
        path = folder / "idx" / f"train-{name}-ubyte.gz"
        path.write_bytes(gzip.compress(idx(values), mtime=0))
    parquet(folder / "table.parquet", [pixels(24, 24, seed=i) for i in range(3)], [0, 1, 2])


def without_checksum(path: Path, to: Path, **changes: Any) -> None:
    """As 0.1 wrote it, or a stranger: other words in its header, and no checksum."""
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"].pop("checksum", None)
    header["__metadata__"] |= changes
    text = json.dumps(header).encode()
    to.write_bytes(len(text).to_bytes(8, "little") + text + data[end:])


Damage = Callable[[Path], object]


def damages(whole: bytes, flips: bool, rng: random.Random, n: int) -> Iterator[tuple[str, Damage]]:
    """What may happen to any file, n times each where a number decides."""
    size = len(whole)
    for length in {0, 1, 8, size // 2, size - 1, *(rng.randrange(max(size, 1)) for _ in range(n))}:
        yield f"cut to {length} of {size} bytes", cut(whole[:length])
    flips = flips and size > 0
    n_flips = n if flips else 0
    places = [rng.randrange(min(size, 400)) for _ in range(n_flips)]
    places += [rng.randrange(size) for _ in range(n_flips)]
    places += [size - 1 - rng.randrange(min(size, 100)) for _ in range(n_flips // 4)]
    for place in places:
        bit = rng.randrange(8)
        flipped = bytearray(whole)
        flipped[place] ^= 1 << bit
        yield f"bit {bit} of byte {place} of {size} flipped", cut(bytes(flipped))
    noise = random.Random(0).randbytes(size)
    for name, data in (
        ("zeros", bytes(size)), ("noise", noise), ("a picture", PNG), ("JSON", b"{}\n"),
        ("a list in JSON", b"[]\n"), ("nested JSON", b"[" * 100_000), ("a word", b"damaged\n"),
        ("a page of a portal", b"<!DOCTYPE html><html><body>Sign in</body></html>"),
        ("a header of 2**62 bytes", (2**62).to_bytes(8, "little") + whole[8:]),
        ("itself twice", whole + whole), ("zeros after it", whole + bytes(4096)),
        ("other ends of lines", whole.replace(b"\n", b"\r\n")),
        ("itself without its first byte", whole[1:]),
    ):  # fmt: skip
        if flips or name != "other ends of lines":
            yield f"{name} in its place", cut(data)
    if whole[:4] != PNG[:4]:  # a picture that is not there is none of the set
        yield "taken away", Path.unlink
        yield "a folder in its place", lambda path: (path.unlink(), path.mkdir())
    yield "a link to nothing in its place", lambda path: (path.unlink(), path.symlink_to("none"))


def cut(data: bytes) -> Damage:
    return lambda path: path.write_bytes(data)


ABSURD = (-1, 10**12, 0.5, "x", [], {}, float("nan"))  # no setting of a network or a chain


def strange_headers(path: Path) -> Iterator[tuple[str, Damage]]:
    """Weights that say absurd things of themselves."""
    network, diffusion = load(path)
    for said in ("", "float16", "int8", "nn.Module", "x"):
        yield f"type = {said!r} in its header", changed(type=said)
    for part, config in (("network", network.config), ("diffusion", diffusion.config)):
        for value in (None, 3, [], "x", {}):
            yield f"{part} = {value!r} in its header", changed(**{part: json.dumps(value)})
        yield f"{part} = nested JSON in its header", changed(**{part: "[" * 100_000})
        for name, old in config.items():
            for value in ABSURD:
                if value in ([], 0.5) and (isinstance(old, tuple) or name == "dropout"):
                    continue  # a good one
                if (name in ("size", "levels") and value == 10**12) or (
                    name == "first_variance" and value in (0.5, 10**12)
                ):
                    continue  # too large for most, and no fault of the weights
                said = json.dumps({**config, name: value})
                yield f"{part}'s {name} = {value!r} in its header", changed(**{part: said})


def changed(**metadata: str) -> Damage:
    return lambda path: without_checksum(path, path, **metadata)


def strange_states(path: Path) -> Iterator[tuple[str, Damage]]:
    """States that are whole, and hold something else."""
    for name in load_state(path):
        for value in (None, 3, "x", {}, [], torch.full((2,), float("nan"))):
            told = "NaN" if isinstance(value, torch.Tensor) else repr(value)
            if name != "log" or value is not None:
                yield f"its {name} = {told}", holding(name, value)


def holding(name: str, value: Any) -> Damage:
    return lambda path: save_state(path, {**load_state(path), name: value})


def fate(victim: Victim, damage: Damage, good: Path, expected: Any) -> tuple[str, str]:
    """What came of using the files once they were damaged, and in which words."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "copy"
        shutil.copytree(good, folder)
        for file in victim.files:
            damage(folder / file)
        names = [Path(file).name for file in victim.files]
        result, words = outcome(victim, folder, names, expected)
        if result == "right":
            return result, words
        for file in victim.files:  # put back, all must be well
            path = folder / file
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            shutil.copy(good / file, path)
        if result in ("refused", "raw"):
            with warnings.catch_warnings(record=True):
                try:
                    well = same(victim.use(folder), expected)
                except Exception as error:
                    return "lost", f"{words}; and then {error!r}"
            others = contents(good).keys() - contents(folder).keys()
            if (not well and not told_of_rows(words)) or (others and "state" not in str(others)):
                return "lost", f"{words}; and then another end, without {others or 'words'}"
        return result, words


def told_of_rows(words: str) -> bool:
    """Rows of a log that were damaged do not come back: the run has gone on without them."""
    return "log.jsonl" in words


def outcome(victim: Victim, folder: Path, names: list[str], expected: Any) -> tuple[str, str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with at_most(20):
                found = victim.use(folder)
        except TooLong as error:
            return "raw", str(error)
        except SystemExit as end:  # of the command line, which tells the error itself
            error = end.__context__ or end
            return ("refused" if in_words(error, *names) else "raw"), str(end)
        except Exception as error:
            spoken = in_words(error, *names, str(folder / "run"))
            return ("refused" if spoken else "raw"), repr(error)
    if same(found, expected):
        return "right", ""
    words = "; ".join(str(warning.message) for warning in caught)
    return ("refused" if told(caught, *names) else "silent"), words


def tries(seed: int, every: bool) -> Iterator[Fate]:
    rng, n = random.Random(seed), 24 if every else 4
    with tempfile.TemporaryDirectory() as name:
        good = Path(name)
        make(good)
        for kind, victim in VICTIMS.items():
            with tempfile.TemporaryDirectory() as other:
                shutil.copytree(good, Path(other) / "copy")
                expected = victim.use(Path(other) / "copy")
            first = good / victim.files[0]
            found = list(damages(first.read_bytes(), victim.flips, rng, n))
            if kind == "old weights":
                found += strange_headers(first)
            if kind == "last state":
                found += strange_states(first)
            if not every:
                found = rng.sample(found, 3)
            for what, damage in found:
                yield Fate("files", f"{kind}: {what}", *fate(victim, damage, good, expected))
