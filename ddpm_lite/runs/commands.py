"""What the command line does: train, sample, evaluate, doctor, export, info.

The first three alone or under torchrun.
"""

import copy
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from torch import Tensor
from tqdm import tqdm

from ddpm_lite._version import __version__
from ddpm_lite.images.data import to_model_range
from ddpm_lite.images.grids import grid, write_png
from ddpm_lite.images.sets import ImageSet, load_images
from ddpm_lite.images.sources import HUB
from ddpm_lite.quality.classifier import load_classifier
from ddpm_lite.quality.evaluation import evaluate_samples
from ddpm_lite.quality.inception import Inception
from ddpm_lite.runs.beforehand import (
    GROUPS,
    check_classes,
    check_counts,
    check_file,
    check_images,
    check_pictures,
    check_scale,
    check_training,
    labels_of,
    pick_labels,
    pick_sampler,
    pictures,
)
from ddpm_lite.runs.checkpoints import about, load, load_state, shipped
from ddpm_lite.runs.doctor import as_json, diagnose, report
from ddpm_lite.runs.export import export_model
from ddpm_lite.runs.many import codelength, draw
from ddpm_lite.runs.recipes import RECIPES, Recipe
from ddpm_lite.runs.run import Run
from ddpm_lite.samplers import ddim
from ddpm_lite.system.files import written_aside
from ddpm_lite.system.processes import joined, rank

__all__ = ["doctor", "evaluate", "export", "info", "sample", "train"]

said = "ddpm-lite"  # the command as it was typed, for what is written: `cli.main` sets it
Weights = Annotated[str, tyro.conf.Positional]
Features = Literal["digits", "fashion_mnist", "inception"]
# Not --n: torchrun would take that for one of its own.
Samples = Annotated[int, tyro.conf.arg(aliases=["--n"])]
FEW = 5000  # images that the doctor looks at
Device = Annotated[str | None, tyro.conf.arg(help="Such as cpu; a GPU where there is one.")]


def train(
    recipe: Recipe,
    out: Path,
    keep: int = 2,
    sampler_steps: int | None = None,
    tensorboard: bool = False,
    device: Device = None,
) -> None:
    """Train by a recipe; the same command again goes on where it stopped.

    Into the folder go model.safetensors, the averaged weights to sample from; state-*.pt, to go
    on from; log.jsonl; and grids of samples. For several GPUs of one machine:
    torchrun --nproc-per-node=8 -m ddpm_lite train ho2020 --out runs/cifar10

    With a drop label above 0 the network is told the class of each image, and that share of the
    labels is hidden from it, for guidance.

    Args:
        recipe: what to train, on what, for how long; each of its settings can be changed.
        out: the folder of the run; on a mounted drive it outlives the machine.
        keep: how many of the last states to keep.
        sampler_steps: DDIM steps of the grids; 50 by default, or T where that is fewer.
        tensorboard: write the loss and the grids for TensorBoard too.
    """
    grid_steps = check_training(recipe, out, sampler_steps)
    run = Run(out, every=recipe.every, keep=keep)
    run.check_weights()
    make_writer = _tensorboard() if tensorboard else None
    with joined(device) as here:
        data = _images(recipe.data, "train", recipe.size, recipe.channels)
        torch.manual_seed(recipe.training.seed)
        network, diffusion = recipe.make(data)
        network.to(here)
        in_turn = pick_labels(network, None, 64)
        note = _note(here, recipe.training.seed) | {"data": recipe.data}
        note |= {"split": "train", "size": recipe.size, "channels": recipe.channels}
        writer = make_writer(out / "tensorboard") if make_writer else None
        if network.classes is not None:
            note |= {"classes": data.classes or [str(i) for i in range(network.classes - 1)]}
        steps = run.train(network, diffusion, data, recipe.training, note)
        total = recipe.training.steps
        bar = tqdm(total=total, initial=run.step, unit="step", disable=rank() > 0)
        first = next(steps, None)
        before = run.step if first is None else first.step - 1
        if before and rank() == 0:
            what = "goes on from" if first else "has nothing left to do: it is at"
            bar.write(f"{out} {what} step {before} of {total}", file=sys.stderr)
        for step in chain([first] if first else [], steps):
            bar.update(step.step - bar.n)
            if step.step % run.log_every == 0 and rank() == 0:
                row = run.rows()[-1]
                speed = f"{row['images_per_second']:.0f}"
                bar.set_postfix(loss=f"{row['loss']:.4f}", images_per_s=speed)
                if writer:
                    writer.add_scalar("loss", row["loss"], step.step)
            if step.step % recipe.sample_every == 0 or step.step == total:
                bar.set_description("drawing samples")
                average: Any = step.ema.module
                shape = tuple(data.images.shape[1:])
                x = draw(
                    diffusion, average.eval(), 64, shape, ddim, steps=grid_steps, labels=in_turn
                )
                if rank() == 0:
                    _write_grid(out / f"samples-{step.step:08d}.png", x)
                if writer:
                    writer.add_image("samples", grid(x), step.step, dataformats="HWC")
                bar.set_description()
        bar.close()
    if writer:
        writer.close()


def sample(
    weights: Weights,
    out: Path,
    samples: Samples = 64,
    sampler: Literal["ddpm", "ddim"] = "ddpm",
    steps: int | None = None,
    eta: float | None = None,
    clip: bool = True,
    label: str | None = None,
    scale: float | None = None,
    seed: int = 0,
    batch: int = 256,
    replace: bool = False,
    device: Device = None,
) -> None:
    """Draw samples into one picture, or into a folder of pictures.

    Args:
        weights: a file of weights, the folder of a run, or the name of shipped weights.
        out: a name that ends in .png for one grid, else a folder for a file each.
        samples: how many.
        sampler: ancestral sampling, or DDIM.
        steps: of the sampler, evenly spaced; all by default, 50 for ddim.
        eta: of ddim: 0, its default, adds no noise, 1 as much as ddpm.
        clip: hold each estimate of the image in [-1, 1].
        label: of all samples, by name or number, for weights with classes; each in turn by default.
        scale: of the guidance towards it: 1, its default, asks for the label alone, 2 or 4 go past
            it, and 0 leaves it out.
        seed: the same seed draws the same samples, whatever the batch and however many processes.
        batch: samples drawn at once.
        replace: take away the samples that lie in that folder already; a grid is written over.
    """
    check_counts(1, samples=samples, batch=batch)
    check_counts(0, seed=seed)
    check_scale(scale)
    one_picture = check_pictures(out, replace)
    with joined(device) as here:
        path = _file(weights)
        network, diffusion = load(path)
        check_classes(network, label=label, scale=scale)
        labels = pick_labels(network, _classes(path), samples, label)
        how = pick_sampler(diffusion, sampler, steps, eta)
        shape = (network.channels, network.size, network.size)
        x = draw(
            how.diffusion, network.to(here), samples, shape, how.sampler,
            batch=batch, seed=seed, progress=True, clip=clip,
            labels=labels, scale=1.0 if scale is None else scale, **how.options,
        )  # fmt: skip
        if rank() > 0:
            return
        if one_picture:
            out.parent.mkdir(parents=True, exist_ok=True)
            _write_grid(out, x)
        else:
            out.mkdir(parents=True, exist_ok=True)
            for old in pictures(out):
                old.unlink()
            for i, image in enumerate(x):
                with written_aside(out / f"{i:06d}.png") as aside:
                    write_png(aside, grid(image[None]))
        print(f"{samples} samples in {out}")


def evaluate(
    weights: Weights,
    data: str | None = None,
    split: str = "test",
    images: int | None = None,
    samples: int = 0,
    reference: str | None = None,
    features: Features | None = None,
    sampler: Literal["ddpm", "ddim"] = "ddpm",
    steps: int | None = None,
    eta: float | None = None,
    scale: float | None = None,
    seed: int = 0,
    batch: int = 256,
    out: Path | None = None,
    device: Device = None,
) -> None:
    """Measure a model: bits per dimension term by term, and the quality of its samples.

    The bits are told and written before the samples are drawn. Weights with classes are told the
    label of each image, their bits are told by class too, and samples are drawn of each class in
    the share that it has in the reference.

    Args:
        weights: a file of weights, the folder of a run, or the name of shipped weights.
        data: the images to measure on; those that the model was trained on when not given.
        split: of the images whose bits are counted.
        images: count the bits of so many alone, evenly spread over the set; of all by default.
        samples: how many samples to draw for the Fréchet distance; none by default.
        reference: the split that the samples are held against; train by default.
        features: whose features the distance is between: those of a small classifier of digits or
            of Fashion-MNIST for these, else inception's.
        sampler: ancestral sampling, or DDIM.
        steps: of the sampler, evenly spaced; all by default, 50 for ddim.
        eta: of ddim: 0, its default, adds no noise, 1 as much as ddpm.
        scale: of the guidance, for samples of weights with classes: 1 by default.
        seed: of the noise.
        batch: images and samples at once.
        out: a file for the figures, such as figures.json.
    """
    check_counts(1, batch=batch)
    check_counts(2, images=images)
    check_counts(0, seed=seed, samples=samples)
    if samples:
        check_counts(GROUPS, samples=samples)
    elif given := _given(
        reference=reference, features=features, steps=steps, eta=eta, scale=scale,
        sampler=None if sampler == "ddpm" else sampler,
    ):  # fmt: skip
        raise ValueError(f"{given} is about samples, and none are drawn: give --samples too")
    check_scale(scale)
    if out:
        _check_ending(out, ".json")
        check_file(out)
    path, name, how_shown = _trained_on(weights, data)
    with joined(device) as here:
        network, diffusion = load(path)
        network = network.to(here)
        shown = _images(name, split, *how_shown)
        check_images(network, diffusion, shown)
        classes = _classes(path)
        told = labels_of(network, classes, shown)
        how = pick_sampler(diffusion, sampler, steps, eta)
        if samples:
            real = _images(name, reference or "train", *how_shown)
            check_images(network, diffusion, real)
            of_real = labels_of(network, classes, real)
            check_classes(network, scale=scale)
            own: Features = name if name in ("digits", "fashion_mnist") else "inception"  # type: ignore[assignment]
            judge = _judge(features or own, real, here)
        some = _spread(len(shown.images), images)
        x0 = to_model_range(shown.images[some].long(), shown.levels)
        found: dict[str, Any] = {"weights": weights, "data": name, "split": split}
        found |= _note(here, seed)
        told = None if told is None else told[some]
        bits = codelength(
            diffusion, network, x0, chunk=batch, seed=seed, progress=True, labels=told
        )
        found["bits_per_dim"] = says = asdict(bits)
        by_class = says.pop("by_class", {})
        if by_class:
            names = [*(classes or map(str, range((network.classes or 1) - 1))), "no label"]
            says["by_class"] = {names[label]: value for label, value in by_class.items()}
        each = "".join(f"\n  {x}: {value:.4f}" for x, value in says.get("by_class", {}).items())
        _tell(f"{name}, {split}: {bits}{each}", found, out)
        if not samples:
            return
        labels = None
        if of_real is not None:  # as many of each class, in proportion
            rows = torch.arange(samples, device="cpu") * len(of_real) // samples
            labels = of_real.sort().values[rows]
        drawn = draw(
            how.diffusion, network, samples, tuple(x0.shape[1:]), how.sampler,
            batch=batch, seed=seed, progress=True, labels=labels,
            scale=1.0 if scale is None else scale, **how.options,
        )  # fmt: skip
        scores = evaluate_samples(
            drawn.clamp(-1, 1),
            to_model_range(real.images.long(), real.levels),
            judge.features,
            judge.head,
            split=f"{name} {real.split}",
            groups=GROUPS,
            batch=batch,
            device=here,
        )
        found["samples"] = asdict(scores) | {"sampler": sampler, "steps": how.steps}
        _tell(str(scores), found, out)


def doctor(
    weights: Weights,
    data: str | None = None,
    held_out: str | None = None,
    steps: int | None = None,
    images: int = 256,
    seed: int = 0,
    out: Path | None = None,
) -> None:
    """Say what is healthy in a model whose samples look wrong, what is not, and what to try.

    Each test says healthy, sick or unknown, with the number that it has measured and what was
    expected. Of a run's folder the weights of the last step are held against their average too.
    A minute on a CPU for small images.

    Args:
        weights: a file of weights, the folder of a run, or the name of shipped weights.
        data: the images that the model was trained on, where the weights do not say.
        held_out: the split of them that it was not trained on; test by default, where the set is
            one by name.
        steps: of the sampler whose samples look wrong; all by default.
        images: how many noised images each number is a mean over, 256 at most.
        seed: of the noise, and of the images where there are more than 5000.
        out: a file for the findings, such as findings.json.
    """
    check_counts(2, images=images)
    check_counts(0, seed=seed)
    check_counts(1, steps=steps)
    if out:
        _check_ending(out, ".json")
        check_file(out)
    path, name, how_shown = _trained_on(weights, data)
    network, diffusion = load(path)
    shown = _images(name, "train", *how_shown)
    check_images(network, diffusion, shown)
    sets = [shown]
    if held_out or name == "digits" or name in HUB:
        sets.append(_images(name, held_out or "test", *how_shown))
        check_images(network, diffusion, sets[1])
    few = [_spread(len(s.images), FEW) for s in sets]
    x0 = [to_model_range(s.images[f].long(), s.levels) for s, f in zip(sets, few, strict=True)]
    told = [labels_of(network, _classes(path), s) for s in sets]
    labels = [None if one is None else one[f] for one, f in zip(told, few, strict=True)]
    findings = diagnose(
        x0[0], network, diffusion, raw=_last(path, network), labels=labels[0],
        test=x0[1] if len(x0) > 1 else None, test_labels=labels[1] if len(x0) > 1 else None,
        steps=steps, images=images, seed=seed,
    )  # fmt: skip
    found: dict[str, Any] = {"weights": weights, "data": name} | _note(torch.device("cpu"), seed)
    found["findings"] = as_json(findings)
    _tell(report(findings), found, out)


def export(weights: Weights, out: Path, name: str | None = None) -> None:
    """Write a network as one script that draws on a web page, without a server.

    Args:
        weights: a file of weights, the folder of a run, or the name of shipped weights.
        out: the script to write, such as digits.js.
        name: what a page calls it; that of the script by default.
    """
    _check_ending(out, ".js")
    check_file(out)
    size = export_model(_file(weights), out, name or out.stem)
    print(f"{out}, {size:,} bytes: a page has it as ddpmModels[{json.dumps(name or out.stem)}]")


def info(weights: Annotated[str | None, tyro.conf.Positional] = None) -> None:
    """Say what a file of weights holds; without one, what this machine and this package have.

    Args:
        weights: a file of weights, the folder of a run, or the name of shipped weights.
    """
    if weights is None:
        gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        rows = {
            "ddpm-lite": __version__,
            "torch": torch.__version__,
            "device": ", ".join(gpus) or f"CPU, {torch.get_num_threads()} threads",
            "weights": ", ".join(shipped()) or "none",
            "recipes": ", ".join(RECIPES),
        }
        print("\n".join(f"{name:10} {value}" for name, value in rows.items()))
        return
    path = _file(weights)
    network, _ = load(path)
    says = about(path) | {"parameters": sum(p.numel() for p in network.parameters())}
    if network.classes is not None:  # the last is no label: a set of three classes has four
        says["labels"] = network.classes - 1
    print(json.dumps(says, indent=2))


def _last(path: str | Path, network: Any) -> Any:
    """The network of a run with the weights of its last step, where the run has kept them."""
    folder = Path(path).parent
    states = Run(folder).states() if Path(path).name == "model.safetensors" else []
    if not states:
        return None
    twin = copy.deepcopy(network)
    try:
        twin.load_state_dict(load_state(states[-1])["model"])
    except (KeyError, RuntimeError) as error:
        raise ValueError(f"{states[-1]} is of another network than {path}: {error}") from error
    return twin


def _check_ending(out: Path, ending: str) -> None:
    """Of a file that is written over: what another name holds is not taken for it."""
    if out.suffix.lower() != ending:
        raise ValueError(f"out must end in {ending}, got {out}")


def _given(**settings: Any) -> str:
    """The first of these that was given, by its name."""
    return next((name for name, value in settings.items() if value is not None), "")


def _judge(features: Features, real: ImageSet, device: torch.device) -> Any:
    """The network of the distance, once it has seen two of the images."""
    judge: Any = Inception() if features == "inception" else load_classifier(data=features)
    judge = judge.to(device)
    judge.features(to_model_range(real.images[:2].long(), real.levels).to(device))
    return judge


def _tell(line: str, found: dict[str, Any], out: Path | None) -> None:
    """Print a result as it comes, and write all there are."""
    if rank() > 0:
        return
    print(line, flush=True)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        with written_aside(out) as aside:
            aside.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _trained_on(
    weights: str, data: str | None
) -> tuple[str | Path, str, tuple[int | None, int | None]]:
    """The file, the name of its images unless others are given, and their size and channels."""
    path = _file(weights)
    noted = about(path)["about"]
    name = data or noted.get("data") or "digits"
    return path, name, (noted.get("size"), noted.get("channels"))


def _spread(n: int, some: int | None) -> Tensor:
    """Which images to take: folders come class by class, so the first would be of one."""
    some = min(some or n, n)
    return torch.arange(some, device="cpu") * n // some


def _images(name: str, split: str, size: int | None, channels: int | None) -> ImageSet:
    return load_images(name, split, size=size, channels=channels, progress=rank() == 0)


def _file(weights: str) -> str | Path:
    """A run's folder stands for the weights in it; but a name of ours goes before a folder's."""
    if not Path(weights).is_dir():
        return weights
    if weights in shipped():
        hint = f"{weights} are the weights that come along; for the folder write ./{weights}"
        print(hint, file=sys.stderr)
        return weights
    return Path(weights) / "model.safetensors"


def _classes(path: str | Path) -> list[str] | None:
    """What the classes are called, where the weights say."""
    names = about(path)["about"].get("classes")
    good = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return names if good else None


def _note(device: torch.device, seed: int) -> dict[str, Any]:
    """Where a result is from: enough to make it again."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu()
    return {
        "command": said,
        "seed": seed,
        "device": name,
        "torch": torch.__version__,
        "date": date.today().isoformat(),
    }


def _cpu() -> str:
    return f"CPU, {torch.get_num_threads()} threads"


def _write_grid(path: Path, x: Tensor) -> None:
    scale = max(1, 64 // x.shape[-1]) if x.shape[-1] < 32 else 1
    with written_aside(path) as aside:
        write_png(aside, grid(x, scale=scale))


def _tensorboard() -> Callable[[Path], Any] | None:
    """What makes a writer, in the process that writes."""
    if int(os.environ.get("RANK", 0)) > 0:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError('TensorBoard is missing: pip install "ddpm-lite[tensorboard]"') from error
    return SummaryWriter
