"""What may be typed by mistake: each setting of each command at its edges; the kind `commands`.

The settings are read off the commands' own signatures, which the command line is made from. Each
value is typed into a command that is right and does little, in a folder of its own. It is silent if
the command runs and

- the value is of another kind than the setting: a word or a half for a whole number;
- or it is a number that no setting can mean: below zero, NaN, or infinite;
- or what it names is not there, or is of another kind;
- or no value of the setting changed anything that reached the work: network, chain, images,
  settings of the training, the arguments of sampling and of measuring, the files that were made.

It is refused where it ends in one message that names the setting or the value: one of the
package's own, or one of the system's about a path. A file that was there before and is
not what it was, is lost.
"""

import inspect
import random
import resource
import shutil
import tempfile
import types
import typing
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict, fields, is_dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin
from unittest.mock import patch

import torch
from torch import Tensor, nn

from ddpm_lite import GaussianDiffusion, UNet, linear_schedule
from ddpm_lite.images.sets import load_images
from ddpm_lite.runs import commands
from ddpm_lite.runs.checkpoints import save_model
from ddpm_lite.runs.cli import main
from ddpm_lite.runs.recipes import RECIPES
from tests.outcomes import Fate, TooLong, at_most, contents, digest, in_words
from tests.pictures import random as pixels
from tests.pictures import save

SECONDS = 4.0  # a command that has begun its work by then may be right
MEMORY = 24 * 2**30  # of addresses: what asks for more is told so by the system
WEIGHTS = "small.safetensors"
# Right commands that do little: their first words, and their settings.
BASES: dict[str, tuple[list[str], dict[str, list[str]]]] = {
    "train": (
        ["train", "digits"],
        {"out": ["new"], "width": ["8"], "mults": ["1"], "T": ["5"], "batch": ["4"],
         "steps": ["2"], "sampler_steps": ["1"]},
    ),
    "sample": (["sample"], {"weights": [WEIGHTS], "out": ["new.png"], "samples": ["2"],
                            "steps": ["2"]}),
    "sample by ddim": (["sample"], {"weights": [WEIGHTS], "out": ["new"], "samples": ["2"],
                                    "sampler": ["ddim"], "steps": ["2"]}),
    "evaluate": (["evaluate"], {"weights": [WEIGHTS], "out": ["new.json"], "images": ["2"]}),
    "evaluate samples": (
        ["evaluate"],
        {"weights": [WEIGHTS], "out": ["new.json"], "images": ["2"], "samples": ["10"],
         "sampler": ["ddim"], "steps": ["1"]},
    ),
    "doctor": (["doctor"], {"weights": [WEIGHTS], "out": ["new.json"], "images": ["2"]}),
    "info": (["info"], {"weights": [WEIGHTS]}),
    "export": (["export"], {"weights": [WEIGHTS], "out": ["new.js"]}),
}  # fmt: skip
BASES_OUT = {words[0]: given.get("out", [""])[0] for words, given in reversed(BASES.values())}
# An infinite number that does mean something.
INFINITE = {"clip_norm": "no clipping"}
LONG = "n" * 300
# What these change is not here: samples that lie in the place, a library that is not installed.
ELSEWHERE = {"replace", "tensorboard"}


class Setting(NamedTuple):
    """By its name in Python: the types it may have, and whether it stands without a name."""

    name: str
    kinds: tuple[Any, ...]
    positional: bool
    default: Any

    @property
    def option(self) -> str:
        return f"--{self.name.replace('_', '-')}"


def settings(command: Callable[..., Any]) -> list[Setting]:
    """All that a command can be given; the parts of a recipe, each by its own name."""
    found: list[Setting] = []
    hints = typing.get_type_hints(command, include_extras=True)
    for name, parameter in inspect.signature(command).parameters.items():
        if name == "recipe":
            found += parts(RECIPES["digits"][1])
            continue
        hint = hints[name]
        marks = get_args(hint)[1:] if get_origin(hint) is typing.Annotated else ()
        positional = any("ositional" in repr(mark) for mark in marks)
        hint = get_args(hint)[0] if marks else hint
        found.append(Setting(name, kinds_of(hint), positional, parameter.default))
    return found


def parts(recipe: Any) -> Iterator[Setting]:
    hints = typing.get_type_hints(type(recipe))
    for field in fields(recipe):
        value = getattr(recipe, field.name)
        if is_dataclass(value):
            yield from parts(value)
        else:
            yield Setting(field.name, kinds_of(hints[field.name]), False, value)


def kinds_of(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if isinstance(hint, types.UnionType) else (hint,)


class Try(NamedTuple):
    """Words in a setting's place, and whether they can be right; None where both will do."""

    words: list[str]
    right: bool | None


def edges(setting: Setting) -> Iterator[Try]:
    """What may be typed for a setting, by its types."""
    kinds = setting.kinds
    several = any(get_origin(kind) is tuple for kind in kinds)
    words = {str, Path} & set(kinds)
    if bool in kinds:
        flag, no = setting.option, f"--no-{setting.option[2:]}"
        if types.NoneType not in kinds:
            yield from (Try([flag], None), Try([no], None), Try([flag, "3"], False))
            yield Try([flag, "True"], False)
            return
        yield from (Try([flag, word], None) for word in ("True", "False", "None"))
        yield from (Try([flag, word], False) for word in ("1", "yes", "", "x"))
        return
    lead = [] if setting.positional else [setting.option]
    yield Try([*lead, ""], False)
    if not setting.positional and not several:
        yield Try(lead, False)  # nothing after it
    if not words:
        yield Try([*lead, "x"], False)
        for word in ("nan", "-inf", "-1"):
            yield Try([*lead, word], False)
        yield Try([*lead, "inf"], None if setting.name in INFINITE else False)
        for word in ("0.5", "1e3"):
            yield Try([*lead, word], None if float in kinds else False)
        for word in ("0", "1", "2", "3", "1000000000000", "9" * 30):
            yield Try([*lead, word], None if numbers(kinds) else False)
        yield Try([*lead, "1e300"], None if float in kinds else False)
    if several:
        yield Try([*lead, "1", "-1"], False)
        yield Try([*lead, "1", "1"], None)
        if setting.default != ():
            yield Try(lead, None)
    for kind in kinds:
        if get_origin(kind) is Literal:
            for word in get_args(kind):
                yield Try([*lead, word], None)
                yield Try([*lead, word.upper()], False)
    if words:
        out = setting.name == "out"
        place = out or setting.name in ("weights", "data")
        for word in ("nowhere", "not/there"):
            yield Try([*lead, word], None if out or not place else False)
        for word in ("digits", "file.txt", "file.txt/in", "folder", WEIGHTS, f"{WEIGHTS}/in",
                     "pictures", "run", "old.png", "old.json", "old.js", "loop"):  # fmt: skip
            yield Try([*lead, word], None)
        for word in ("3", "-1", "--", "~", ".", "..", "a b", "é漢字", "a\nb", "[a]*?", "%s{0}",
                     "</script>", "CON", "a.png", "a.b/c.json", "c.js", ".js", ".png", LONG,
                     "n\0n", "\udcff"):  # fmt: skip
            yield Try([*lead, word], None)


def numbers(kinds: tuple[Any, ...]) -> bool:
    return bool({int, float} & set(kinds)) or any(get_origin(kind) is tuple for kind in kinds)


def make(folder: Path) -> None:
    """What lies there beforehand."""
    diffusion = GaussianDiffusion(linear_schedule(20, 5e-3, 0.5), levels=17)
    torch.manual_seed(0)
    save_model(folder / WEIGHTS, UNet(8, 1, 8, (1,)), diffusion, {"data": "digits"})
    for name in ("file.txt", "folder/file.txt", "old.png", "old.json", "old.js"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("mine")
    for i in range(4):
        save(folder / "pictures" / f"{i}.png", pixels(8, 8, seed=i))
    (folder / "run").mkdir()
    shutil.copy(folder / WEIGHTS, folder / "run" / "model.safetensors")
    (folder / "loop").symlink_to("loop")
    for name in ("digits", folder / "pictures"):  # what that imports is no part of anybody's time
        load_images(name)


def described(x: Any) -> Any:
    """What reached the work, so that two can be compared."""
    if isinstance(x, Tensor):
        return digest(x)
    if isinstance(x, UNet):
        return [x.config, repr(x)]
    if isinstance(x, nn.Module):
        return type(x).__name__
    if isinstance(x, GaussianDiffusion):
        return [x.config, x.times[-1], digest(x.schedule.beta)]
    if isinstance(x, commands.Run):
        return [x.every, x.keep, x.log_every]
    if is_dataclass(x) and not isinstance(x, type):
        return described(asdict(x))
    if isinstance(x, Mapping):
        return {name: described(value) for name, value in x.items() if name != "command"}
    if isinstance(x, (tuple, list)):
        return [described(value) for value in x]
    return getattr(x, "__name__", None) or repr(x)


@contextmanager
def watched() -> Iterator[list[Any]]:
    """A list of all that reaches the work, as it comes."""
    reached: list[Any] = []
    names = ("draw", "codelength", "evaluate_samples", "export_model", "load_images", "diagnose")
    work = [(commands, name) for name in names] + [(commands.Run, "train")]
    with ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for where, name in work:
            stack.enter_context(
                patch.object(where, name, noting(reached, name, getattr(where, name)))
            )
        yield reached


def noting(reached: list[Any], name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def noted(*args: Any, **keywords: Any) -> Any:
        reached.append([name, described(args), described(keywords)])
        return real(*args, **keywords)

    return noted


@contextmanager
def little_memory() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


class Done(NamedTuple):
    """How a command ended; what had reached the work."""

    fate: str
    words: str
    reached: Any


def typed(words: list[str], named: list[str], value: str, good: Path) -> Done:
    """Run a command among the good files; what came of it, if it could be right."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "here"
        shutil.copytree(good, folder, symlinks=True)
        before = contents(folder)
        shown = StringIO()
        with chdir(folder), watched() as reached, little_memory():
            fate, told = "right", ""
            if value and "\0" not in value:
                named = [*named, str(Path(value).expanduser().absolute())]
            try:
                with redirect_stdout(shown), redirect_stderr(shown), at_most(SECONDS):
                    main(words)
            except TooLong as error:
                begun = any(each[0] != "load_images" for each in reached)
                fate, told = "right" if begun else "raw", str(error)
            except SystemExit as end:
                fate, told = ended(end, shown.getvalue(), named)
            except BaseException as error:
                fate, told = "raw", repr(error)
        after = contents(folder)
        kind = Path(BASES_OUT[words[0]]).suffix  # which is there to be replaced, where it is asked
        asked = {file for file in words if kind and file.endswith(kind)}
        gone = [file for file in before if after.get(file) != before[file] and file not in asked]
        if gone:
            return Done("lost", f"{gone}; {told}", None)
        made = sorted(after.keys() - before.keys())
        screen = shown.getvalue() if words[0] == "info" else ""
        return Done(fate, told, [reached, made, screen])


def ended(end: SystemExit, shown: str, named: list[str]) -> tuple[str, str]:
    if not end.code:
        return "right", ""
    if isinstance(end.code, int):  # the words were not understood: that was shown
        told = " ".join(shown.replace("│", " ").split())
        return ("refused" if any(name in told for name in named) else "raw"), told
    error, told = end.__context__, str(end.code)
    spoken = error is None or in_words(error) or getattr(error, "filename", None) is not None
    spoken = spoken and any(name in told for name in named)
    return ("refused" if spoken else "raw"), told


def tries(seed: int, every: bool) -> Iterator[Fate]:
    """Every setting of every command; or a few values of a few, too few to know a dead one by."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        good = Path(name)
        make(good)
        asked = [
            (base, setting)
            for base, (words, _) in BASES.items()
            for setting in settings(getattr(commands, words[0]))
        ]
        plain: dict[str, Any] = {}
        for base, setting in asked if every else rng.sample(asked, 4):
            if base not in plain:
                plain[base] = typed(command(base), [], "", good)
                assert plain[base].fate == "right", plain[base]
            values = list(edges(setting))
            values = values if every else rng.sample(values, min(6, len(values)))
            yield from tried(base, setting, values, plain[base].reached if every else None, good)


def command(base: str, setting: Setting | None = None, words: list[str] | None = None) -> list[str]:
    """The right command; with these words in the place of a setting."""
    first, rest = BASES[base]
    given = {name: values for name, values in rest.items() if not setting or name != setting.name}
    where = {s.name: s for s in settings(getattr(commands, first[0]))}
    line = list(first)
    for name, values in given.items():
        line += values if where[name].positional else [where[name].option, *values]
    return [*line[:1], *(words or []), *line[1:]] if setting and setting.positional else [
        *line, *(words or [])]  # fmt: skip


def tried(base: str, setting: Setting, values: list[Try], plain: Any, good: Path) -> Iterator[Fate]:
    """What came of each value; `plain` is what reaches the work without any, if that is known."""
    found: list[tuple[list[str], Done]] = []
    for words, right in values:
        line = command(base, setting, words)
        value = words[-1] if words else setting.name
        shown = repr(value)[1:-1] if len(value) > 1 else repr(value)
        shown = shown if value else "ends in an empty word"  # which shows where
        named = [setting.option, setting.name, shown, f"got {value}", f"options: {value}"]
        done = typed(line, named, value, good)
        if done.fate == "right" and right is False:
            done = Done("silent", "it ran", done.reached)
        if done.fate == "right":
            found.append((line, done))
        else:
            yield Fate("commands", shell(line), done.fate, done.words)
    usual = {str(setting.default), *BASES[base][1].get(setting.name, [])}
    usual |= {"digits"} if setting.name == "data" else set()  # as the weights themselves say
    others = [done for line, done in found if line[-1] not in usual]
    dead = others and plain is not None and all(done.reached == plain for done in others)
    dead = dead and setting.name not in ELSEWHERE
    for line, done in found:
        words = f"no value of {setting.option} changes anything" if dead else done.words
        yield Fate("commands", shell(line), "silent" if dead else "right", words)


def shell(words: list[str]) -> str:
    shown = " ".join(word if word.isprintable() and word.split() == [word] else repr(word)
                     for word in words)  # fmt: skip
    return f"ddpm-lite {shown}".replace(LONG, "n...n")
