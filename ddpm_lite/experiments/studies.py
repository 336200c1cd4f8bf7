"""Small experiments behind the book's tables: each row is trained and measured by one command.

    python -m ddpm_lite.experiments.studies [TABLE[/ROW] ...] [--seeds 0 1 2]
        [--processes 2] [--out FOLDER]

The rows stand in `ddpm_lite.experiments.tables`. Every result goes into a file of its own, so that
a run that stops goes on; tables are put together at the end.
"""

import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
import tyro
from torch import Tensor, nn

from ddpm_lite.batches import derive_seed
from ddpm_lite.diffusion import GaussianDiffusion
from ddpm_lite.experiments import matched
from ddpm_lite.experiments.ablations import without
from ddpm_lite.experiments.results import write
from ddpm_lite.experiments.tables import STUDIES, Study, Way
from ddpm_lite.flow.solvers import dpm_solver, heun
from ddpm_lite.guidance import guided
from ddpm_lite.images.data import to_model_range
from ddpm_lite.images.sets import load_images
from ddpm_lite.quality.classifier import Classifier, Data, load_classifier
from ddpm_lite.quality.evaluation import real_floor
from ddpm_lite.quality.metrics import frechet_distance, inception_score, moments
from ddpm_lite.runs.checkpoints import load
from ddpm_lite.runs.many import codelength
from ddpm_lite.samplers import ddim, ddpm, sample
from ddpm_lite.schedule import spaced_times
from ddpm_lite.training import train

__all__ = ["STUDIES", "Study", "Way", "run"]

CLASSES = 10
SAMPLES = {"digits": 500, "fashion_mnist": 500}
REFERENCE = 10_000  # training images that samples are held against, where there are more
PART = 100  # images that a network sees at once: of 28x28, many more at a time take thrice as long


class Images(NamedTuple):
    """A set as the studies see it, in [-1, 1], with the classifier that judges samples of it."""

    train: Tensor
    labels: Tensor
    test: Tensor
    levels: int
    judge: Classifier


def run(study: Study, seed: int, device: str = "cpu") -> dict[str, Any]:
    """Train one row from its seed and measure it in every way.

    Returns:
        "loss", the mean over the last 100 steps; "held_out", the same loss on the test images, or
        None for one that has no like there; "parameters"; and "ways", for each its "frechet",
        "inception_score" and "bits". What is no longer finite is {"unstable": why}. Where shipped
        weights are used as they are, both losses are None.
    """
    diffusion = study.diffusion.make(images(study.data).levels)
    found: dict[str, Any] = {"loss": None, "held_out": None}
    network: nn.Module
    average: nn.Module
    if study.weights:
        network, diffusion = load(study.weights)
        average = network.to(device)
    else:
        try:
            network, average, found = _trained(study, diffusion, seed, device)
        except FloatingPointError as error:
            return {"unstable": str(error)}
    found["parameters"] = sum(p.numel() for p in network.parameters())
    ways = {}
    for name, way in study.ways.items():
        used = average if way.averaged else network.eval()
        ways[name] = _measure(study, diffusion, used, way, seed)
    return found | {"ways": ways}


@cache
def images(data: Data) -> Images:
    """The set of a study; asked for again, it is not read again."""
    train, test = load_images(data, "train"), load_images(data, "test")
    x0, held_out = (to_model_range(s.images.long(), s.levels) for s in (train, test))
    assert train.labels is not None
    return Images(x0, train.labels, held_out, train.levels, load_classifier(data=data))


@cache
def _seen(of_set: Images) -> Tensor:
    """What the classifier of a set sees in the images that samples are held against."""
    parts = of_set.train[:REFERENCE].split(PART)
    with torch.inference_mode():
        return torch.cat([of_set.judge.features(x) for x in parts])


def _network(study: Study, diffusion: GaussianDiffusion) -> nn.Module:
    size = images(study.data).train.shape[-1]
    network = study.network.make(size, 1, diffusion, CLASSES + 1 if study.labelled else None)
    return without(network, study.lacks) if study.lacks else network


def _trained(
    study: Study, diffusion: GaussianDiffusion, seed: int, device: str
) -> tuple[nn.Module, nn.Module, dict[str, Any]]:
    """The network of the last step, the averaged one, and its losses."""
    x0, labels = images(study.data)[:2]
    torch.manual_seed(seed)
    network = _network(study, diffusion).to(device)
    losses = []
    training = replace(study.training, seed=seed)
    given = labels if study.labelled else None
    for step in train(network, diffusion, x0, training, labels=given):
        losses.append(step.loss)
    average: Any = step.ema.module
    average.eval()
    found = {
        "loss": torch.stack(losses[-100:]).mean().item(),
        "held_out": None if study.labelled else _held_out(study, diffusion, average),
    }
    return network, average, found


def _held_out(study: Study, diffusion: GaussianDiffusion, network: nn.Module) -> float:
    """The training loss on test images, ten draws of each, the same for every row."""
    x0 = images(study.data).test.repeat(10, 1, 1, 1)
    generator = torch.Generator().manual_seed(0)
    t = torch.randint(1, diffusion.T + 1, (len(x0),), generator=generator, device="cpu")
    eps = torch.randn(x0.shape, generator=generator, device="cpu")
    device = next(network.parameters()).device
    with torch.no_grad():
        x0, t, eps = (x.to(device) for x in (x0, t, eps))
        return diffusion.p_losses(network, x0, t, eps, condition=False).mean().item()


def _measure(
    study: Study, diffusion: GaussianDiffusion, network: nn.Module, way: Way, seed: int
) -> dict[str, Any]:
    of_set = images(study.data)
    train, labels, test, _, judge = of_set
    real, labels = _seen(of_set), labels[:REFERENCE]
    config = diffusion.config | {"variance": way.variance}
    used = GaussianDiffusion(diffusion.schedule, **config)
    asked = matched.labels_for(labels, SAMPLES[study.data], way.classes or "even", seed)
    x = _drawn(used, network, way, tuple(train.shape[1:]), asked, seed)
    if not x.isfinite().all():
        return {"unstable": "samples that are not finite"}
    x = x.cpu().clamp(-1, 1)
    with torch.inference_mode():
        seen = judge.features(x)
        said = judge.head(seen)
    found: dict[str, Any] = {
        "frechet": frechet_distance(*moments(seen), *moments(real)),
        "inception_score": inception_score(said, groups=5)[0],
    }
    if way.classes:
        found["matched"] = matched.distance(seen, real, labels, way.classes)
    if way.scale is not None:
        found["right_class"] = (said.argmax(1) == asked).float().mean().item()
    if way.bits:
        found["bits"] = asdict(codelength(used, network, test, chunk=256, seed=seed))
    return found


class _InParts(nn.Module):
    """A network that sees `PART` images at a time."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        self.classes = getattr(network, "classes", None)
        self.learned_variance = getattr(network, "learned_variance", False)

    def forward(self, xt: Tensor, *more: Tensor | None, **told: Tensor) -> Tensor:
        found = []
        for start in range(0, len(xt), PART):
            rows = slice(start, start + PART)
            given = [None if x is None else x[rows] for x in more]  # of x0_hat there may be none
            found.append(self.network(xt[rows], *given, **{k: x[rows] for k, x in told.items()}))
        return torch.cat(found)


def _drawn(
    diffusion: GaussianDiffusion,
    network: nn.Module,
    way: Way,
    shape: tuple[int, ...],
    asked: Tensor,
    seed: int,
) -> Tensor:
    """The row's samples; the start x_T is the same in every way."""
    device = next(network.parameters()).device
    model: Callable[..., Tensor] = _InParts(network)
    if way.scale is not None:
        model = guided(model, asked.to(device), way.scale)
    how: dict[str, Any] = {"device": device}
    how["generator"] = torch.Generator(device).manual_seed(derive_seed(seed, 0, 1))
    size = (len(asked), *shape)
    if way.steps is None:
        return sample(diffusion, model, size, ddpm, **how)
    if way.eta is None:
        chain = diffusion.subsequence(spaced_times(diffusion.T, way.steps))
        return sample(chain, model, size, ddpm, **how)
    how["steps"] = way.steps
    if way.solver == "dpm-solver":
        return sample(diffusion, model, size, dpm_solver, **how)
    if way.solver in ("heun", "heun-eps"):
        average = "x0" if way.solver == "heun" else "eps"
        return sample(diffusion, model, size, heun, average=average, **how)
    return sample(diffusion, model, size, ddim, eta=way.eta, **how)


def _job(table: str, row: str, seed: int, file: Path, device: str) -> str:
    if device == "cpu":
        torch.set_num_threads(1)  # several rows at a time use the cores better
    found = run(STUDIES[table][row], seed, device)
    write(file, found)
    return f"{table}/{row}, seed {seed}"


def floor(table: str) -> dict[str, Any]:
    """Real images against other real images, as many as a row's samples.

    Where rows are measured against as many real images of the same classes, so are these.
    """
    data = next(iter(STUDIES[table].values())).data
    of_set, size = images(data), SAMPLES[data]
    real, labels = of_set.train[:REFERENCE], of_set.labels[:REFERENCE]
    net, rest = of_set.judge, len(real) - size
    found = asdict(real_floor(real, size, net.features, split="train", reference=rest, repeats=20))
    classes = {way.classes for study in STUDIES[table].values() for way in study.ways.values()}
    for how in sorted(classes - {None}):  # type: ignore[type-var]
        found[how] = matched.floor(_seen(of_set), labels, size, how)  # type: ignore[arg-type,index]
    return found


def collect(table: str, folder: Path, device: str) -> dict[str, Any]:
    """All that the folder holds of a table, with how it was made."""
    rows = {}
    for name, study in STUDIES[table].items():
        files = {int(f.stem.rpartition("-")[2]): f for f in folder.glob(f"{table}/{name}-?.json")}
        seeds = {
            str(seed): json.loads(files[seed].read_text(encoding="utf-8")) for seed in sorted(files)
        }
        if seeds:
            rows[name] = {"title": study.title, "seeds": seeds}
    first = next(iter(STUDIES[table].values()))
    of, real = first.data, images(first.data).train
    size, reference = real.shape[-1], min(len(real), REFERENCE)
    return {
        "command": f"python -m ddpm_lite.experiments.studies {table}",
        "device": device if device != "cpu" else "CPU, one thread a row",
        "torch": torch.__version__,
        "date": date.today().isoformat(),
        "data": f"{of}, {size}x{size}; {SAMPLES[of]} samples against {reference} training images",
        "steps": first.training.steps,
        "batch": first.training.batch,
        "T": first.diffusion.T,
        "samples": SAMPLES[of],
        "floor": floor(table),
        "rows": rows,
    }


def main(
    names: Annotated[tuple[str, ...], tyro.conf.Positional] = (),
    seeds: tuple[int, ...] = (0, 1, 2),
    processes: int = 2,
    out: Path = Path("results"),
    device: str = "cpu",
) -> None:
    """Train and measure the rows of the book's tables, and put the tables together.

    Args:
        names: tables, or single rows as TABLE/ROW; everything when not given. The table "fashion"
            needs Fashion-MNIST, from Debian's package or the hub.
        seeds: each row is trained once for each.
        processes: rows at a time.
        out: where results go; what is there already is not made again.
        device: where to train.
    """
    wanted = []
    for name in names or STUDIES:
        table, _, row = name.partition("/")
        if table not in STUDIES or (row and row not in STUDIES[table]):
            rows = STUDIES.get(table, STUDIES)
            raise ValueError(f"names must be among {', '.join(rows)}, got {name!r}")
        wanted += [(table, r) for r in STUDIES[table] if r == row or not row]
    jobs = []
    for seed in seeds:
        for table, row in wanted:
            file = out / table / f"{row}-{seed}.json"
            if not file.exists():
                jobs.append((table, row, seed, file, device))
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(processes) as pool:
        for done in as_completed([pool.submit(_job, *job) for job in jobs]):
            print(done.result(), flush=True)
    for table in dict(wanted):
        write(out / f"{table}.json", collect(table, out, device), indent=1)


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except ValueError as error:
        sys.exit(str(error))
