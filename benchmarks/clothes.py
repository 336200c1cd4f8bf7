"""A thousand clothes drawn by the browser, beside as many drawn by PyTorch.

    python benchmarks/clothes.py [samples]

The shipped 28x28 network draws in headless Chromium, without a GPU: as many of each class, 25 steps
of DDIM, scale 1. PyTorch draws the same from the same noise, with the weights that the page has,
and from three seeds of its own, with the weights as they were trained. Each set is held against
training images by the Fréchet distance, in the features of our classifier of clothes.

The browser draws ten at a time, for half an hour or more. Each ten go into a file of their own
under `_build/clothes`: a run that is stopped goes on. What comes out is in benchmarks/clothes.json.
"""

import json
import os
import platform
import statistics
import sys
from datetime import date
from pathlib import Path
from typing import Any

import torch
from browser import draw, opened, visit
from torch import Tensor

from ddpm_lite import UNet, ddim, load, sample
from ddpm_lite.experiments.studies import REFERENCE, images
from ddpm_lite.guidance import guided
from ddpm_lite.quality.evaluation import evaluate_samples, real_floor
from ddpm_lite.runs.export import float16_weights
from ddpm_lite.widgets.sampler import step_noise

HERE = Path(__file__).parent
PIECES = HERE.parent / "_build" / "clothes"
AT_ONCE, CLASSES, STEPS, SCALE = 10, 10, 25, 1.0
SEEDS = (1, 2, 3)
SIDE = (1, 28, 28)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    if count < 1 or count % (AT_ONCE * CLASSES):
        sys.exit(f"samples must be a multiple of {AT_ONCE * CLASSES}, got {count}")
    version = by_browser(count // AT_ONCE)
    drawn = torch.cat([torch.load(piece(i)) for i in range(count // AT_ONCE)])
    found = compared(drawn, count)
    found = {
        "command": f"python benchmarks/clothes.py {count}",
        "device": f"{platform.machine()}, {os.cpu_count()} cores, CPU",
        "browser": f"Chromium {version}",
        "torch": torch.__version__,
        "date": date.today().isoformat(),
        "samples": f"{count}, as many of each class; DDIM, {STEPS} steps, scale {SCALE:g}",
    } | found
    (HERE / "clothes.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=2))


def piece(i: int) -> Path:
    return PIECES / f"{i:03}.pt"


def by_browser(pieces: int) -> str:
    """Draw the pieces that are not there; returns the browser's version."""
    PIECES.mkdir(parents=True, exist_ok=True)
    with opened("fashion") as (browser, address):
        page = visit(browser, address)
        for i in range(pieces):
            if piece(i).exists():
                continue
            options = {"steps": STEPS, "images": AT_ONCE, "seed": i}
            options |= {"label": i % CLASSES, "scale": SCALE}
            end = torch.tensor(draw(page, "fashion", True, options)[-1])
            aside = piece(i).with_suffix(".tmp")
            torch.save(end.view(5, AT_ONCE, *SIDE)[0], aside)
            aside.replace(piece(i))
            print(f"{i + 1} of {pieces}", flush=True)
        return browser.version


def compared(drawn: Tensor, count: int) -> dict[str, Any]:
    """The Fréchet distance of each set of samples."""
    network, diffusion = load("fashion")
    network.eval()
    told = images("fashion_mnist")
    judge = told.judge.features
    order = torch.randperm(len(told.train), generator=torch.Generator().manual_seed(0))
    real = told.train[order[:REFERENCE]]
    labels = torch.arange(count) // AT_ONCE % CLASSES

    def by_pytorch(model: UNet, start: Tensor) -> Tensor:
        made = []
        for x, asked in zip(start.split(100), labels.split(100), strict=True):
            ask = guided(model, asked, SCALE)
            made.append(sample(diffusion, ask, tuple(x.shape), ddim, steps=STEPS, start=x))
        return torch.cat(made)

    def distance(x: Tensor) -> float:
        return round(evaluate_samples(x.clamp(-1, 1), real, judge, split="train").frechet, 3)

    pieces = range(count // AT_ONCE)
    noise = torch.cat([step_noise(i, 0, (AT_ONCE, *SIDE)) for i in pieces]).float()
    same = by_pytorch(float16_weights(network), noise)
    others = []
    for seed in SEEDS:
        generator = torch.Generator().manual_seed(seed)
        others.append(distance(by_pytorch(network, torch.randn(noise.shape, generator=generator))))
    some = told.train[order[: 2 * REFERENCE]]
    floor = real_floor(some, count, judge, split="train", reference=REFERENCE)
    return {
        "reference": f"{len(real)} training images; features of {type(told.judge).__name__}",
        "frechet": {
            "the browser": distance(drawn),
            "PyTorch, the same noise and weights": distance(same),
            "PyTorch, seeds " + ", ".join(map(str, SEEDS)): others,
            "their standard deviation": round(statistics.stdev(others), 3),
            "real images": [round(floor.mean, 3), round(floor.std, 3)],
        },
        "largest difference of a pixel from the same noise": float((drawn - same).abs().max()),
    }


if __name__ == "__main__":
    main()
