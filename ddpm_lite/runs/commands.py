"""What the command line does: train, sample, evaluate, export, info; alone or under torchrun."""

import json
import os
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from torch import Tensor
from tqdm import tqdm

from ddpm_lite._version import __version__
from ddpm_lite.diffusion import GaussianDiffusion
from ddpm_lite.images.data import to_model_range
from ddpm_lite.images.grids import grid, write_png
from ddpm_lite.images.sets import ImageSet, load_images
from ddpm_lite.quality.classifier import load_classifier
from ddpm_lite.quality.evaluation import SampleScores, evaluate_samples
from ddpm_lite.quality.inception import Inception
from ddpm_lite.runs.checkpoints import about, load, shipped
from ddpm_lite.runs.export import export_model
from ddpm_lite.runs.many import codelength, draw
from ddpm_lite.runs.recipes import RECIPES, Recipe
from ddpm_lite.runs.run import Run
from ddpm_lite.samplers import ddim, ddpm
from ddpm_lite.schedule import spaced_times
from ddpm_lite.system.files import written_aside
from ddpm_lite.system.processes import joined, rank

__all__ = ["evaluate", "export", "info", "sample", "train"]

said = "ddpm-lite"  # the command as it was typed, for what is written: `cli.main` sets it
Weights = Annotated[str, tyro.conf.Positional]
Device = Annotated[str | None, tyro.conf.arg(help="Such as cpu; a GPU where there is one.")]


def train(
    recipe: Recipe,
    out: Path,
    keep: int = 2,
    sampler_steps: int = 50,
    tensorboard: bool = False,
    device: Device = None,
) -> None:
    """Train by a recipe; the same command again goes on where it stopped.

    Into the folder go model.safetensors, the averaged weights to sample from; state-*.pt, to go
    on from; log.jsonl; and grids of samples. For several GPUs of one machine:
    torchrun --nproc-per-node=8 -m ddpm_lite train ho2020 --out runs/cifar10

    Args:
        recipe: what to train, on what, for how long; each of its settings can be changed.
        out: the folder of the run; on a mounted drive it outlives the machine.
        keep: how many of the last states to keep.
        sampler_steps: DDIM steps of the grids.
        tensorboard: write the loss and the grids for TensorBoard too.
    """
    writer = _tensorboard(out) if tensorboard else None
    with joined(device) as here:
        data = _images(recipe.data, "train", recipe.size)
        diffusion = recipe.diffusion.make(data.levels)
        torch.manual_seed(recipe.training.seed)
        channels, size = data.images.shape[1:3]
        network = recipe.network.make(size, channels, diffusion).to(here)
        note = _note(here, recipe.training.seed) | {"data": recipe.data}
        note |= {"split": "train", "size": recipe.size}
        run = Run(out, every=recipe.every, keep=keep)
        steps = run.train(network, diffusion, data.images, recipe.training, note)
        total = recipe.training.steps
        bar = tqdm(total=total, initial=run.step, unit="step", disable=rank() > 0)
        for step in steps:
            bar.update()
            if step.step % run.log_every == 0 and rank() == 0:
                row = run.rows()[-1]
                speed = f"{row['images_per_second']:.0f}"
                bar.set_postfix(loss=f"{row['loss']:.4f}", images_per_s=speed)
                if writer:
                    writer.add_scalar("loss", row["loss"], step.step)
            if step.step % recipe.sample_every == 0 or step.step == total:
                average: Any = step.ema.module
                shape = tuple(data.images.shape[1:])
                x = draw(diffusion, average.eval(), 64, shape, ddim, steps=sampler_steps)
                if rank() == 0:
                    _write_grid(out / f"samples-{step.step:08d}.png", x)
                if writer:
                    writer.add_image("samples", grid(x), step.step, dataformats="HWC")
        bar.close()
    if writer:
        writer.close()


def sample(
    weights: Weights,
    out: Path,
    n: int = 64,
    sampler: Literal["ddpm", "ddim"] = "ddpm",
    steps: int | None = None,
    eta: float = 0.0,
    clip: bool = True,
    seed: int = 0,
    batch: int = 256,
    device: Device = None,
) -> None:
    """Draw samples into one picture, or into a folder of pictures.

    Args:
        weights: a file of weights, the folder of a run, or the name of shipped weights.
        out: a name that ends in .png for one grid, else a folder for a file each.
        n: how many samples.
        sampler: ancestral sampling, or DDIM.
        steps: of the sampler, evenly spaced; all by default, 50 for ddim.
        eta: of ddim: 0 adds no noise, 1 as much as ddpm.
        clip: hold each estimate of the image in [-1, 1].
        seed: the same seed draws the same samples, however many processes there are.
        batch: samples drawn at once.
    """
    with joined(device) as here:
        network, diffusion = load(_file(weights))
        options = _sampler(diffusion, sampler, steps, eta)
        shape = (network.channels, network.size, network.size)
        x = draw(
            options.diffusion, network.to(here), n, shape, options.sampler,
            batch=batch, seed=seed, progress=True, clip=clip, **options.more,
        )  # fmt: skip
        if rank() > 0:
            return
        if out.suffix == ".png":
            out.parent.mkdir(parents=True, exist_ok=True)
            _write_grid(out, x)
        else:
            out.mkdir(parents=True, exist_ok=True)
            for i, image in enumerate(x):
                with written_aside(out / f"{i:06d}.png") as aside:
                    write_png(aside, grid(image[None]))
        print(f"{n} samples in {out}")


def evaluate(
    weights: Weights,
    data: str | None = None,
    split: str = "test",
    images: int | None = None,
    samples: int = 0,
    reference: str = "train",
    features: Literal["digits", "inception"] | None = None,
    sampler: Literal["ddpm", "ddim"] = "ddpm",
    steps: int | None = None,
    eta: float = 0.0,
    seed: int = 0,
    batch: int = 256,
    out: Path | None = None,
    device: Device = None,
) -> None:
    """Measure a model: bits per dimension term by term, and the quality of its samples.

    Args:
        weights: a file of weights, the folder of a run, or the name of shipped weights.
        data: the images to measure on; those that the model was trained on when not given.
        split: of the images whose bits are counted.
        images: count the bits of the first so many alone; of all by default.
        samples: how many samples to draw for the Fréchet distance; none by default.
        reference: the split that the samples are held against.
        features: whose features the distance is between; digits for digits, else inception.
        sampler: ancestral sampling, or DDIM.
        steps: of the sampler, evenly spaced; all by default, 50 for ddim.
        eta: of ddim.
        seed: of the noise.
        batch: images and samples at once.
        out: a file for the figures, as JSON.
    """
    path = _file(weights)
    noted = about(path)["about"]
    name = data or noted.get("data") or "digits"
    with joined(device) as here:
        network, diffusion = load(path)
        network = network.to(here)
        shown = _images(name, split, noted.get("size"))
        x0 = to_model_range(shown.images[:images].long(), shown.levels)
        found: dict[str, Any] = {"weights": weights, "data": name, "split": split}
        found |= _note(here, seed)
        bits = codelength(diffusion, network, x0, chunk=batch, seed=seed, progress=True)
        found["bits_per_dim"] = asdict(bits)
        lines = [f"{name}, {split}: {bits}"]
        if samples:
            options = _sampler(diffusion, sampler, steps, eta)
            shape = tuple(x0.shape[1:])
            drawn = draw(
                options.diffusion, network, samples, shape, options.sampler,
                batch=batch, seed=seed, progress=True, **options.more,
            )  # fmt: skip
            scores = _quality(drawn, name, reference, noted.get("size"), features, batch, here)
            found["samples"] = asdict(scores) | {"sampler": sampler, "steps": options.steps}
            lines.append(str(scores))
        if rank() > 0:
            return
        print("\n".join(lines))
        if out:
            out.parent.mkdir(parents=True, exist_ok=True)
            with written_aside(out) as aside:
                aside.write_text(json.dumps(found, indent=2) + "\n")


def export(weights: Weights, out: Path, name: str | None = None) -> None:
    """Write a network as one script that draws on a web page, without a server.

    Args:
        weights: a file of weights, the folder of a run, or the name of shipped weights.
        out: the script to write, such as digits.js.
        name: what a page calls it; that of the script by default.
    """
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
    print(json.dumps(says, indent=2))


@dataclass(frozen=True)
class _Options:
    diffusion: GaussianDiffusion
    sampler: Any
    steps: int
    more: dict[str, Any]


def _sampler(diffusion: GaussianDiffusion, name: str, steps: int | None, eta: float) -> _Options:
    if name == "ddim":
        steps = steps or min(50, diffusion.T)
        return _Options(diffusion, ddim, steps, {"steps": steps, "eta": eta})
    if steps is not None:
        diffusion = diffusion.subsequence(spaced_times(diffusion.T, steps))
    return _Options(diffusion, ddpm, diffusion.T, {})


def _quality(
    drawn: Tensor,
    name: str,
    split: str,
    size: int | None,
    features: str | None,
    batch: int,
    device: torch.device,
) -> SampleScores:
    real = _images(name, split, size)
    features = features or ("digits" if name == "digits" else "inception")
    network = (load_classifier() if features == "digits" else Inception()).to(device)
    return evaluate_samples(
        drawn.clamp(-1, 1),
        to_model_range(real.images.long(), real.levels),
        network.features,
        network.head,
        split=f"{name} {split}",
        batch=batch,
        device=device,
    )


def _images(name: str, split: str, size: int | None) -> ImageSet:
    return load_images(name, split, size=size, progress=rank() == 0)


def _file(weights: str) -> str | Path:
    """A run's folder stands for the weights in it."""
    return Path(weights) / "model.safetensors" if Path(weights).is_dir() else weights


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


def _tensorboard(out: Path) -> Any:
    if int(os.environ.get("RANK", 0)) > 0:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError('TensorBoard is missing: pip install "ddpm-lite[tensorboard]"') from error
    return SummaryWriter(out / "tensorboard")
