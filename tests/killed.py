"""Run by test_runs.py: train into a folder, and be killed at random moments, again and again.

    python -m tests.killed FOLDER KILLS

A fork for each attempt, so that torch is imported once; then one that is left to end.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from ddpm_lite import GaussianDiffusion, TrainConfig, UNet, digits, linear_schedule
from ddpm_lite.runs.run import Run

CONFIG = TrainConfig(steps=60, batch=8, warmup=5, decay=True, flip=True, ema_decay=0.9)


def go(folder: Path) -> None:
    torch.manual_seed(0)
    data, _ = digits()
    network = UNet(8, 1, 8, dropout=0.2)
    run = Run(folder, every=3, keep=2, log_every=5)
    for _ in run.train(network, GaussianDiffusion(linear_schedule()), data[:64], CONFIG):
        pass


if __name__ == "__main__":
    torch.set_num_threads(1)
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
