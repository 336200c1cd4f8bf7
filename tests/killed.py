"""Train into a folder, and be killed, again and again; the kind `kills` of `faults.py`.

    python -m tests.killed FOLDER KILLS         at random moments
    python -m tests.killed FOLDER every         right before each change to a file, in FOLDER/1 on
    python -m tests.killed FOLDER every [N ...]   before the n-th alone; for 5-2, in FOLDER/5-2,
                                                  the fifth, then the second of what goes on

A fork for each attempt, so that torch is imported once; then one that is left to end.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddpm_lite import GaussianDiffusion, TrainConfig, UNet, digits, linear_schedule
from ddpm_lite.runs.checkpoints import about, load, load_state
from ddpm_lite.runs.run import Run
from tests.outcomes import Fate

CONFIG = TrainConfig(steps=60, batch=8, warmup=5, decay=True, flip=True, ema_decay=0.9)


# Enough for every kind of write: rows between states, a state that is dropped, an end off the beat.
SHORT = TrainConfig(steps=7, batch=8, warmup=1, ema_decay=0.9)
BEAT = {"every": 3, "keep": 1, "log_every": 2}


def go(folder: Path) -> None:
    torch.manual_seed(0)
    data, _ = digits()
    network = UNet(8, 1, 8, dropout=0.2)
    run = Run(folder, every=3, keep=2, log_every=5)
    for _ in run.train(network, GaussianDiffusion(linear_schedule()), data[:64], CONFIG):
        pass


def at_random(folder: Path, kills: int) -> None:
    rng, done = random.Random(0), 0
    while done < kills:
        child = os.fork()
        if child == 0:
            go(folder)
            os._exit(0)
        time.sleep(rng.uniform(0.0, 0.6))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            done += 1
        else:  # it had ended by itself: begin again, there is nothing left to kill
            for path in folder.glob("*"):
                path.unlink()
    go(folder)


def go_short(folder: Path) -> None:
    torch.manual_seed(0)
    network, diffusion = UNet(8, 1, 4, (1,), blocks=1), GaussianDiffusion(linear_schedule())
    data = torch.linspace(-1, 1, 16 * 64).view(16, 1, 8, 8)
    for _ in Run(folder, **BEAT).train(network, diffusion, data, SHORT):
        pass


def die_before_change(n: int, folder: Path) -> None:
    """From here on, end this process right before its n-th change to a file in the folder."""
    left = n

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event not in ("open", "os.rename", "os.remove"):
            return
        changes = event != "open" or arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if changes and str(folder) in str(arguments[0]):
            left -= 1
            if left == 0:
                os._exit(9)

    sys.addaudithook(look)


def forked(work: Callable[[], None]) -> int:
    """Do it in a process of its own; how that ended."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def at_changes(folder: Path, kills: list[int]) -> int:
    """Be killed before so manieth a change, in one command after the other; then end.

    Returns how the last of those that were to be killed ended: 0 where there was no such change.
    """
    for n in kills:

        def work(n: int = n) -> None:
            die_before_change(n, folder)
            go_short(folder)

        status = forked(work)
    forked(lambda: go_short(folder))
    return status


def at_every_change(folder: Path) -> None:
    n = 1
    while at_changes(folder / str(n), [n]):
        n += 1


def same(one: Any, two: Any) -> bool:
    """Bit for bit, through nested dicts and lists."""
    if type(one) is not type(two):
        return False
    if isinstance(one, Tensor):
        return torch.equal(one, two)
    if isinstance(one, Mapping):
        return one.keys() == two.keys() and all(same(one[k], two[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(two) and all(map(same, one, two))
    return one == two


def short_end(folder: Path) -> dict[str, Any]:
    """All that a short run leaves, but for the times in its log."""
    states = sorted(folder.glob("state-*.pt"))
    weights = folder / "model.safetensors"
    return {
        "states": [path.name for path in states],
        "last": load_state(states[-1]),
        "weights": dict(load(weights)[0].state_dict()),
        "about": about(weights),
        "log": [[row["step"], row["loss"]] for row in Run(folder, **BEAT).rows()],
    }


def tries(seed: int, every: bool) -> Iterator[Fate]:
    """Killed before each change to a file, and, each time, before a change of the next attempt."""
    chooser = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        some = [str(n) for n in sorted(chooser.sample(range(1, 25), 2))]
        twice = [f"{n}-{chooser.randint(1, 25)}" for n in range(1, 25)]
        asked = [*([] if every else some), *(twice if every else twice[:1])]
        for words in [["every"]] * every + [["every", *asked]]:
            subprocess.run(
                [sys.executable, "-m", "tests.killed", name, *words],
                cwd=Path(__file__).parents[1], check=True, capture_output=True,
            )  # fmt: skip
        whole = Path(tempfile.mkdtemp(dir=folder))
        forked(lambda: go_short(whole))
        expected = short_end(whole)
        for ended in sorted(folder.iterdir()):
            if ended == whole:
                continue
            what = f"python -m tests.killed FOLDER every {ended.name}"
            try:
                found = short_end(ended)
            except Exception as error:  # something is not there, or cannot be read
                yield Fate("kills", what, "lost", repr(error))
                continue
            other = [name for name in expected if not same(found[name], expected[name])]
            yield Fate("kills", what, "silent" if other else "right", ", ".join(other))


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, words = Path(sys.argv[1]), sys.argv[2:]
    if words[0] == "every":  # what a first step imports, each fork then has
        with tempfile.TemporaryDirectory() as name:
            go_short(Path(name))
    if words == ["every"]:
        at_every_change(folder)
    elif words[0] == "every":
        for name in words[1:]:
            at_changes(folder / name, [int(n) for n in name.split("-")])
    else:
        at_random(folder, int(words[0]))
