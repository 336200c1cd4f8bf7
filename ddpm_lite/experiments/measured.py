"""What the shipped digits model does, measured at length: the table "shipped".

    python -m ddpm_lite.experiments.measured [--out FOLDER]

Its codelength, rate and distortion by t, the Fréchet distance of its samples by how many there are
and in whose features, how far luck moves it from seed to seed, and how near samples lie to the
training images. Each part goes into a file of its own, with its date, so that a run that stops goes
on.
"""

from collections.abc import Callable
from datetime import date
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor

from ddpm_lite.batches import derive_seed
from ddpm_lite.bound import elbo
from ddpm_lite.experiments.results import kept, write
from ddpm_lite.images.data import digits
from ddpm_lite.quality.classifier import DigitsClassifier, load_classifier, train_classifier
from ddpm_lite.quality.metrics import frechet_distance, moments, nearest_distance, nearest_ratio
from ddpm_lite.runs.checkpoints import load
from ddpm_lite.runs.many import draw
from ddpm_lite.samplers import ddim

__all__ = ["PARTS", "feature_networks"]

SEED, REPEATS, LUCK = 0, 10, 12
TIMES = [1, 2, 5, 10, 20, 35, 50, 75, *range(101, 1000, 50), 1000]
SAMPLERS: dict[str, dict[str, Any]] = {
    "100 steps": {"steps": 100},
    "100 steps, eta 1": {"steps": 100, "eta": 1.0},
    "10 steps": {"steps": 10},
    "5 steps": {"steps": 5},
}
Features = Callable[[Tensor], Tensor]


def feature_networks() -> dict[str, Features]:
    """Images [B, 1, 8, 8] to features [B, 64], four ways to look at a digit."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(SEED)
        untrained = DigitsClassifier().eval()
    return {
        "classifier": load_classifier().features,
        "the same, another seed": train_classifier(seed=1).features,
        "the same, untrained": untrained.features,
        "pixels": lambda x: x.flatten(1),
    }


def split_evenly(split: str) -> Tensor:
    """299 images of a split, from all over it: the files keep similar images together."""
    x0 = digits(split)[0]
    return x0 if split == "test" else x0[::5][:299]


def bound() -> dict[str, Any]:
    """Bits per dimension, and rate and distortion at some t, of held-out and of training images."""
    network, diffusion = load("digits")
    found: dict[str, Any] = {"t": TIMES}
    rows = torch.tensor(TIMES) - 1
    for split in ("test", "train"):
        parts = []
        for number, some in enumerate(split_evenly(split).split(8)):  # as `codelength` does
            generator = torch.Generator().manual_seed(derive_seed(SEED, number, 0))
            parts.append(elbo(diffusion, network, some, chunk=256, generator=generator))
        total = torch.cat([p.bits_per_dim for p in parts]).double()
        rate = torch.cat([p.rate for p in parts]).double().mean(0)
        mse = torch.cat([p.mse for p in parts]).double().mean(0)
        distortion = mse.sqrt() * (parts[0].levels - 1) / 2  # as `ELBO.distortion`, of all images
        found[split] = {
            "bits": total.mean().item(),
            "standard_error": (total.std() / len(total) ** 0.5).item(),
            "images": len(total),
            "rate": rate[rows].tolist(),
            "distortion": distortion[rows].tolist(),
        }
    return found


@cache
def drawn(name: str, n: int) -> Tensor:
    """Samples of the shipped model by one of `SAMPLERS`."""
    network, diffusion = load("digits")
    return draw(diffusion, network, n, (1, 8, 8), ddim, seed=SEED, **SAMPLERS[name]).clamp(-1, 1)


@torch.no_grad()
def by_samples() -> dict[str, Any]:
    """The Fréchet distance to 749 training images of so many samples, and of real images."""
    features = load_classifier().features
    real, made = features(digits("train")[0]), features(drawn("100 steps", 2000))
    reference = len(real) // 2
    found: dict[str, Any] = {"reference": reference, "repeats": REPEATS, "features": "classifier"}
    for name, top in (("model", 1600), ("real", reference)):
        counts = [n for n in (100, 150, 200, 300, 400, 600, 749, 1100, 1600) if n <= top]
        rows = [_distances(None if name == "real" else made, real, n, reference) for n in counts]
        found[name] = {"samples": counts, **_summary(rows)}
    return found


@torch.no_grad()
def by_features() -> dict[str, Any]:
    """The Fréchet distance of 600 samples to 898 training images, for each sampler and network."""
    train, found = digits("train")[0], {}
    with torch.enable_grad():
        networks = feature_networks()
    for name, features in networks.items():
        real = features(train)
        rows = {"real": _distances(None, real, 600, 898)}
        for how in SAMPLERS:
            n = 2000 if how == "100 steps" else 749
            rows[how] = _distances(features(drawn(how, n)), real, 600, 898)
        found[name] = dict(zip(rows, _each(list(rows.values())), strict=True))
    return {"samples": 600, "reference": 898, "repeats": REPEATS, "features": found}


def _distances(made: Tensor | None, real: Tensor, n: int, reference: int) -> Tensor:
    """Of n rows of `made`, or of `real`, to as many other rows of `real`, drawn anew each time."""
    generator = torch.Generator().manual_seed(SEED)
    found = []
    for _ in range(REPEATS):
        order = torch.randperm(len(real), generator=generator)
        others, held = order[:reference], order[reference : reference + n]
        if made is None:
            some = real[held]
        else:
            some = made[torch.randperm(len(made), generator=generator)[:n]]
        found.append(frechet_distance(*moments(some), *moments(real[others])))
    return torch.tensor(found, dtype=torch.float64)


def _each(rows: list[Tensor]) -> list[dict[str, float]]:
    return [{"mean": row.mean().item(), "std": row.std().item()} for row in rows]


def _summary(rows: list[Tensor]) -> dict[str, list[float]]:
    return {key: [row[key] for row in _each(rows)] for key in ("mean", "std")}


@torch.no_grad()
def luck() -> dict[str, Any]:
    """Twelve times, the Fréchet distance of 200 samples by 50 steps of DDIM to 1,298 images.

    Each seed draws other samples of the same network. "real": the other 200 training images, held
    against the same 1,298.
    """
    network, diffusion = load("digits")
    features, seeds, size = load_classifier().features, range(LUCK), 200
    real = features(digits("train")[0])
    found: dict[str, list[float]] = {"model": [], "real": []}
    for seed in seeds:
        x = draw(diffusion, network, size, (1, 8, 8), ddim, steps=50, seed=seed).clamp(-1, 1)
        order = torch.randperm(len(real), generator=torch.Generator().manual_seed(seed))
        others = moments(real[order[size:]])
        for name, some in (("model", features(x)), ("real", real[order[:size]])):
            found[name].append(float(frechet_distance(*moments(some), *others)))
    sizes = {"samples": size, "reference": len(real) - size}
    return sizes | {"steps": 50, "seeds": list(seeds)} | found


def nearest() -> dict[str, Any]:
    """How near 749 samples lie to their nearest training image, beside the held-out images."""
    train, test, x = digits("train")[0], digits("test")[0], drawn("100 steps", 2000)[:749]
    found: dict[str, Any] = {"ratio": nearest_ratio(x, train, test)}
    for name, images in (("samples", x), ("held_out", test)):
        distance = nearest_distance(images, train)
        found[name] = {
            "images": len(images),
            "median": distance.median().item(),
            "least": distance.min().item(),
        }
    return found


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "bound": bound,
    "by_samples": by_samples,
    "by_features": by_features,
    "luck": luck,
    "nearest": nearest,
}


def _dated(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    return measure() | {"date": date.today().isoformat()}


def main(out: Path = Path("results")) -> None:
    """Measure what is not measured yet, and put the table together.

    Args:
        out: where results go; what is there already is not made again.
    """
    table: dict[str, Any] = {
        "command": "python -m ddpm_lite.experiments.measured",
        "seed": SEED,
        "device": f"CPU, threads: {torch.get_num_threads()}",
        "torch": torch.__version__,
        "date": date.today().isoformat(),
        "weights": "digits",
    }
    for name, measure in PARTS.items():
        file = out / "shipped" / f"{name}.json"
        table[name] = kept(file, partial(_dated, measure), name)
    write(out / "shipped.json", table, indent=1)


if __name__ == "__main__":
    tyro.cli(main)
