"""Make the weights that come with the package again, each with its card: `make weights`.

Trains by the recipe of the same name, going on where it stopped, then measures. The
classifier, whose features the distances are in, is made by `python -m ddpm_lite.quality.classifier`.
"""

import hashlib
import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from ddpm_lite import ddim, digits, nearest_ratio
from ddpm_lite.images.grids import grid, write_png
from ddpm_lite.quality.classifier import load_classifier
from ddpm_lite.quality.evaluation import evaluate_samples, real_floor
from ddpm_lite.runs.checkpoints import about, load
from ddpm_lite.runs.cli import main as ddpm_lite
from ddpm_lite.runs.many import codelength, draw
from ddpm_lite.runs.run import Run
from ddpm_lite.system.files import WEIGHTS, written_aside
from torch import Tensor

NAME = "digits"
RUNS = Path(__file__).parents[1] / "_build" / "weights"
SAMPLERS: dict[str, dict[str, Any]] = {
    "ddim, 100 steps, eta 0": {"steps": 100, "eta": 0.0},
    "ddim, 100 steps, eta 1": {"steps": 100, "eta": 1.0},
}


def make() -> dict[str, Any]:
    """Train, measure, and put weights, card and picture in their places."""
    RUNS.mkdir(parents=True, exist_ok=True)
    os.chdir(RUNS)
    ddpm_lite(["train", NAME, "--out", f"runs/{NAME}"])
    run = Run(f"runs/{NAME}")
    network, diffusion = load(run.weights)
    train, _ = digits("train")
    test, _ = digits("test")
    n, shape = len(train), (1, 8, 8)
    samples = {
        how: draw(diffusion, network, n, shape, ddim, **options).clamp(-1, 1)
        for how, options in SAMPLERS.items()
    }
    noted = about(run.weights)["about"]
    card = {
        name: noted[name]
        for name in ("command", "seed", "device", "torch", "date", "step")
    }
    card |= {
        "seconds": round(sum(row["seconds"] for row in run.rows())),
        "parameters": sum(p.numel() for p in network.parameters()),
        "bits_per_dim": {
            "test": asdict(codelength(diffusion, network, test)),
            "train": asdict(codelength(diffusion, network, train[: len(test)])),
        },
        "frechet_distance": distances(samples, train),
        "nearest_ratio": {
            how: nearest_ratio(x, train, test) for how, x in samples.items()
        },
        "sha256": hashlib.sha256(run.weights.read_bytes()).hexdigest(),
    }
    with written_aside(WEIGHTS / f"{NAME}.safetensors") as aside:
        shutil.copy(run.weights, aside)
    with written_aside(WEIGHTS / f"{NAME}.png") as aside:
        write_png(aside, grid(next(iter(samples.values()))[:64], scale=4))
    with written_aside(WEIGHTS / f"{NAME}.json") as aside:
        aside.write_text(json.dumps(card, indent=2) + "\n")
    return card


def distances(samples: dict[str, Tensor], train: Tensor) -> dict[str, Any]:
    """Halves of the samples against halves of the real images, and real against real."""
    net = load_classifier()
    half = len(train) // 2
    floor = real_floor(train, half, net.features, split="train")
    found: dict[str, Any] = {
        "samples": half,
        "reference": half,
        "split": "train",
        "features": "DigitsClassifier",
        "repeats": floor.repeats,
        "real against real": {"mean": floor.mean, "std": floor.std},
    }
    for how, x in samples.items():
        generator = torch.Generator().manual_seed(0)
        scores = []
        for _ in range(floor.repeats):
            some, real = (
                y[torch.randperm(len(y), generator=generator)[:half]]
                for y in (x, train)
            )
            scores.append(
                evaluate_samples(
                    some, real, net.features, split="train"
                ).frechet
            )
        every = torch.tensor(scores, dtype=torch.float64)
        found[how] = {"mean": every.mean().item(), "std": every.std().item()}
    return found


if __name__ == "__main__":
    print(json.dumps(make(), indent=2))
