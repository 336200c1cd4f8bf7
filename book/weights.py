"""Make weights that come with the package again, each with its card: `make weights`.

    python book/weights.py [digits] [fashion]

Trains by the recipe of the same name and measures, going on where it stopped. The classifiers, whose
features the distances are in, are made by `python -m ddpm_lite.quality.classifier`.
"""

import hashlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ddpm_lite import ddim, nearest_ratio
from ddpm_lite.experiments import matched
from ddpm_lite.experiments.results import kept
from ddpm_lite.images.data import to_model_range
from ddpm_lite.images.grids import grid, write_png
from ddpm_lite.images.sets import load_images
from ddpm_lite.quality.classifier import load_classifier
from ddpm_lite.quality.evaluation import evaluate_samples, real_floor
from ddpm_lite.runs.checkpoints import about, load, save_model
from ddpm_lite.runs.cli import main as ddpm_lite
from ddpm_lite.runs.many import codelength, draw
from ddpm_lite.runs.recipes import RECIPES
from ddpm_lite.runs.run import Run
from ddpm_lite.samplers import ddpm
from ddpm_lite.system.files import WEIGHTS, written_aside
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

RUNS = Path(__file__).parents[1] / "_build" / "weights"
PIECE = 1500  # samples drawn between saves
NOTED = "command", "seed", "device", "torch", "date", "step"


@dataclass(frozen=True)
class Sampling:
    """A way of sampling: what draws, with which options, how many."""

    sampler: Callable[..., Any]
    samples: int
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """How a model is measured.

    Args:
        ways: of sampling; the first fills the picture.
        bits: the first so many images of each split have their bits counted.
        store: the type of the weights in the file.
    """

    ways: dict[str, Sampling]
    bits: int
    store: torch.dtype | None = None


PLANS = {
    "digits": Plan(
        {
            f"ddim, 100 steps, eta {eta}": Sampling(
                ddim, 1498, {"steps": 100, "eta": float(eta)}
            )
            for eta in (0, 1)
        },
        bits=299,
    ),
    "fashion": Plan(
        {
            "ddim, 50 steps, eta 0": Sampling(ddim, 10_000, {"steps": 50}),
            "ddpm, 1000 steps": Sampling(ddpm, 1000),
        },
        bits=200,
        store=torch.float16,
    ),
}


def make(name: str) -> dict[str, Any]:
    """Train, measure, and put weights, card and picture in their places."""
    RUNS.mkdir(parents=True, exist_ok=True)
    os.chdir(RUNS)
    plan, data = PLANS[name], RECIPES[name][1].data
    ddpm_lite(["train", name, "--out", f"runs/{name}"])
    run, made = Run(f"runs/{name}"), Path(f"{name}.safetensors")
    noted = about(run.weights)["about"]
    save_model(made, *load(run.weights), noted, store=plan.store)
    network, diffusion = load(f"./{made}")  # as it is shipped, rounded
    shipped = WEIGHTS / made.name
    # The metadata, a checksum in it, come in any order: equal ones are not written again.
    if not (shipped.exists() and _metadata(shipped) == _metadata(made)):
        with written_aside(shipped) as aside:
            aside.write_bytes(made.read_bytes())
    train, test = (load_images(data, split) for split in ("train", "test"))
    shown = {
        s.split: to_model_range(s.images.long(), s.levels)
        for s in (train, test)
    }
    labelled = network.classes is not None
    assert train.labels is not None

    def bits(split: str, labels: Tensor | None) -> dict[str, Any]:
        told = labels[: plan.bits] if labels is not None and labelled else None
        x0 = shown[split][: plan.bits]
        found = asdict(
            codelength(diffusion, network, x0, labels=told, progress=True)
        )
        return {
            what: value for what, value in found.items() if what != "by_class"
        }

    parts = Path("parts") / name
    card = {what: noted[what] for what in NOTED}
    rows = run.rows()
    card["seconds"] = round(sum(row["seconds"] for row in rows))
    card["log"] = {
        what: [row[what] for row in rows] for what in ("step", "loss")
    }
    card["parameters"] = sum(p.numel() for p in network.parameters())
    card["bits_per_dim"] = {
        s.split: kept(
            parts / f"{s.split}.json", partial(bits, s.split, s.labels), s.split
        )
        for s in (test, train)
    }
    samples = {
        how: _samples(
            diffusion,
            network,
            way,
            tuple(shown["train"].shape[1:]),
            parts / how,
        )
        for how, way in plan.ways.items()
    }
    distances = labelled_distances if labelled else halves
    card["frechet_distance"] = distances(
        samples, shown["train"], train.labels, data
    )
    card["nearest_ratio"] = {
        how: nearest_ratio(x, shown["train"], shown["test"])
        for how, x in samples.items()
    }
    card["sha256"] = hashlib.sha256(shipped.read_bytes()).hexdigest()
    first = next(iter(samples.values()))
    # With labels, which follow one another, each of ten columns is a class.
    picture = (
        grid(first[:80], columns=10, scale=2)
        if labelled
        else grid(first[:64], scale=4)
    )
    with written_aside(WEIGHTS / f"{name}.png") as aside:
        write_png(aside, picture)
    with written_aside(WEIGHTS / f"{name}.json") as aside:
        aside.write_text(json.dumps(card, indent=2) + "\n")
    return card


def _metadata(file: Path) -> dict[str, str]:
    with safe_open(file, "pt") as weights:
        return dict(weights.metadata())


def _samples(
    diffusion: Any,
    network: Any,
    way: Sampling,
    shape: tuple[int, ...],
    folder: Path,
) -> Tensor:
    """All samples of a way, each class in turn; what the folder holds is not drawn again."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces = []
    for number, first in enumerate(range(0, way.samples, PIECE)):
        rows = torch.arange(first, min(first + PIECE, way.samples))
        file = folder / f"{number:03d}.safetensors"
        if not file.exists():
            labels = (
                None
                if network.classes is None
                else rows % (network.classes - 1)
            )
            x = draw(
                diffusion, network, len(rows), shape, way.sampler,
                seed=number, labels=labels, progress=True, **way.options,
            )  # fmt: skip
            with written_aside(file) as aside:
                save_file({"x": x.clamp(-1, 1)}, aside)
        pieces.append(load_file(file)["x"])
    return torch.cat(pieces)


def labelled_distances(
    samples: dict[str, Tensor], train: Tensor, labels: Tensor, data: Any
) -> dict[str, Any]:
    """Samples against as many real images, as many of each class on both sides; real against real."""
    net = load_classifier(data=data)

    def seen(x: Tensor) -> Tensor:
        with torch.inference_mode():
            return torch.cat([net.features(some) for some in x.split(1000)])

    real = seen(train)
    found: dict[str, Any] = {
        "split": "train",
        "features": type(net).__name__,
        "classes": "equally many of each",
        "repeats": matched.REPEATS,
    }
    for how, x in samples.items():
        found[how] = {
            "samples": len(x),
            "reference": len(x),
            "mean": matched.distance(seen(x), real, labels, "even"),
            "real against real": matched.floor(real, labels, len(x), "even"),
        }
    return found


def halves(
    samples: dict[str, Tensor], train: Tensor, _: Tensor, data: Any
) -> dict[str, Any]:
    """Halves of the samples against halves of the real images, and real against real."""
    net = load_classifier(data=data)
    half = len(train) // 2
    floor = real_floor(train, half, net.features, split="train")
    found: dict[str, Any] = {
        "samples": half,
        "reference": half,
        "split": "train",
        "features": type(net).__name__,
        "repeats": floor.repeats,
        "real against real": {"mean": floor.mean, "std": floor.std},
    }
    for how, x in samples.items():
        generator = torch.Generator().manual_seed(0)
        scores = []
        for _repeat in range(floor.repeats):
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
    for name in sys.argv[1:] or PLANS:
        print(json.dumps(make(name), indent=2))
