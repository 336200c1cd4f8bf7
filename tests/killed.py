"""Run by test_run.py: train into a folder, and be killed, again and again.

    python -m tests.killed FOLDER KILLS     at random moments
    python -m tests.killed FOLDER           right before each change to the disk, FOLDER/1 and on

A fork for each attempt, so that torch is imported once; then one that is left to end.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch

from ddpm_lite import GaussianDiffusion, TrainConfig, UNet, digits, linear_schedule
from ddpm_lite.runs.run import Run

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


def at_every_change(folder: Path) -> None:
    n, status = 0, 9
    while status:
        n += 1
        child = os.fork()
        if child == 0:
            die_before_change(n, folder / str(n))
            go_short(folder / str(n))
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        go_short(folder / str(n))


if __name__ == "__main__":
    torch.set_num_threads(1)
    if len(sys.argv) == 2:
        at_every_change(Path(sys.argv[1]))
        sys.exit()
    folder, kills = Path(sys.argv[1]), int(sys.argv[2])
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
