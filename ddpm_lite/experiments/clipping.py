"""What the clip of x0_hat does, on four chains: the table "clipping".

    python -m ddpm_lite.experiments.clipping [--out FOLDER]

Networks trained with the cosine and with the linear schedule, three seeds each, and the shipped one
with three seeds of sampling. Each samples by all its steps and by a tenth of them, with x0_hat
clipped always and never; by a tenth of them also with the first guess clipped alone. Each network
has a file of its own, so that a run that stops goes on.
"""

import math
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from torch import Tensor, nn

from ddpm_lite.batches import derive_seed
from ddpm_lite.diffusion import GaussianDiffusion, Model
from ddpm_lite.experiments.results import kept, write
from ddpm_lite.images.data import digits
from ddpm_lite.oracle import Oracle
from ddpm_lite.quality.metrics import nearest_distance
from ddpm_lite.runs.checkpoints import load
from ddpm_lite.runs.recipes import DiffusionConfig
from ddpm_lite.samplers import ddpm, sample
from ddpm_lite.schedule import spaced_times
from ddpm_lite.training import TrainConfig, train
from ddpm_lite.unet import UNetConfig

__all__ = ["NETWORKS", "Plan", "by_chain", "error_factor", "floor", "measure"]

Clip = Literal["always", "never", "first"]
NETWORKS = "shipped", "cosine", "linear"
LEVELS, FLOOR_DRAWS = 17, 20


@dataclass(frozen=True)
class Plan:
    """How much of everything.

    Args:
        T: steps of a trained network's chain; the shipped one brings its own.
        short: steps of the shortened chain.
        samples: images a chain, and unseen digits a draw of the floor.
        seeds: of the training and the samples; the shipped network's are of its samples alone.
        network, training: of the networks that are trained here.
    """

    T: int = 1000
    short: int = 100
    samples: int = 50
    seeds: tuple[int, ...] = (0, 1, 2)
    network: UNetConfig = field(default_factory=lambda: UNetConfig(width=16, blocks=1))
    training: TrainConfig = field(default_factory=lambda: TrainConfig(steps=1000, decay=True))


def error_factor(diffusion: GaussianDiffusion) -> Tensor:
    """By what an error of eps_hat at t enters x_{t-1}, [T + 1]; entry 0 is zero.

    beta_t / (sqrt(alpha_t) sqrt(1 - alpha_bar_t)), the factor of eps_hat in mu_theta; Eq.
    {eq}`eq-mu-eps`; Ho et al. (2020), Eq. 11.
    """
    s = diffusion.schedule
    factor = s.beta / (s.alpha.sqrt() * (1 - s.alpha_bar).sqrt())
    factor[0] = 0  # 0 / 0
    return factor


def measure(name: str, seed: int, plan: Plan | None = None) -> dict[str, Any]:
    """Train, or load, one network, and sample with it by every chain.

    Returns:
        "error", the root mean square by which eps_hat at T misses the best answer for the training
        images; and "chains", for each "factor", the largest `error_factor`, and for each clip the
        "median" distance of the samples, held in [-1, 1] at the end, to the nearest training image,
        and "largest", the largest absolute pixel before that.
    """
    plan = plan or Plan()
    network, full = load("digits") if name == "shipped" else _trained(name, seed, plan)
    chains = {}
    for steps in (full.T, plan.short):
        chain = full if steps == full.T else full.subsequence(spaced_times(full.T, steps))
        clips: tuple[Clip, ...] = ("always", "never")
        if chain is not full:
            clips += ("first",)
        found: dict[str, Any] = {"factor": error_factor(chain).max().item()}
        for clip in clips:
            generator = torch.Generator().manual_seed(derive_seed(seed, 0, 1))
            x = drawn(chain, network, plan.samples, clip, generator)
            near = nearest_distance(x.clamp(-1, 1), digits("train")[0])
            found[clip] = {"median": near.median().item(), "largest": x.abs().max().item()}
        chains[str(steps)] = found
    return {"error": _error(network, full, seed), "chains": chains}


def drawn(
    chain: GaussianDiffusion, network: Model, n: int, clip: Clip, generator: torch.Generator
) -> Tensor:
    """n samples [n, 1, 8, 8] by Algorithm 2, with x0_hat clipped always, never or at T alone."""
    shape = (n, 1, 8, 8)
    if clip != "first":
        return sample(chain, network, shape, clip=clip == "always", generator=generator)
    first = next(ddpm(chain, network, shape, generator=generator))
    rest: dict[str, Any] = {"start": first.xt, "t_start": first.t, "generator": generator}
    return sample(chain, network, shape, clip=False, **rest)


def floor(samples: int) -> dict[str, Any]:
    """The same median distance of so many unseen digits, drawn again and again."""
    near = nearest_distance(digits("test")[0], digits("train")[0])
    generator = torch.Generator().manual_seed(0)
    picks = [torch.randperm(len(near), generator=generator)[:samples] for _ in range(FLOOR_DRAWS)]
    medians = torch.stack([near[pick].median() for pick in picks]).double()
    return {
        "samples": samples,
        "draws": FLOOR_DRAWS,
        "mean": medians.mean().item(),
        "std": medians.std().item(),
    }


def by_chain(table: dict[str, Any]) -> dict[str, dict[str, Tensor]]:
    """A stored table by chain, as "linear, 100": what was measured there, [seeds] each.

    "entered" is the error of eps_hat at T times the chain's factor: what is off in the x after it,
    where 1 is the size of the noise. "always", "never" and "first" are median distances, by clip;
    "largest" is the largest absolute pixel that was never clipped.
    """
    chains = {}
    for name, seeds in table["rows"].items():
        for steps in next(iter(seeds.values()))["chains"]:
            found: dict[str, list[float]] = {"entered": [], "largest": []}
            for run in seeds.values():
                chain = run["chains"][steps]
                found["entered"].append(run["error"] * chain["factor"])
                found["largest"].append(chain["never"]["largest"])
                for clip in chain.keys() - {"factor"}:
                    found.setdefault(clip, []).append(chain[clip]["median"])
            chains[f"{name}, {steps}"] = {key: torch.tensor(row) for key, row in found.items()}
    return chains


def _trained(name: str, seed: int, plan: Plan) -> tuple[nn.Module, GaussianDiffusion]:
    torch.manual_seed(seed)
    diffusion = DiffusionConfig(schedule=name, T=plan.T).make(LEVELS)  # type: ignore[arg-type]
    network = plan.network.make(8, 1, diffusion)
    training = TrainConfig(**{**vars(plan.training), "seed": seed})
    for step in train(network, diffusion, digits("train")[0], training):
        average: Any = step.ema.module
    return average.eval(), diffusion


@torch.no_grad()
def _error(network: nn.Module, diffusion: GaussianDiffusion, seed: int) -> float:
    """At T every x_T is noise, and the best answer is known: that of the training images."""
    generator = torch.Generator().manual_seed(derive_seed(seed, 0, 2))
    xt = torch.randn(1000, 1, 8, 8, generator=generator)
    t = torch.full((len(xt),), diffusion.T)
    best = Oracle(diffusion.schedule, digits("train")[0])(xt, t)
    return math.sqrt((network(xt, t) - best).square().mean().item())


def main(out: Path = Path("results")) -> None:
    """Measure what is not measured yet, and put the table together.

    Args:
        out: where results go; what is there already is not made again.
    """
    collect(out, Plan())


def collect(out: Path, plan: Plan) -> None:
    """The same by another plan, into a folder of its own."""
    table: dict[str, Any] = {
        "command": "python -m ddpm_lite.experiments.clipping",
        "seeds": list(plan.seeds),
        "device": f"CPU, threads: {torch.get_num_threads()}",
        "torch": torch.__version__,
        "date": date.today().isoformat(),
        "data": "digits, 8x8; the distance is to the nearest training image",
        "steps": plan.training.steps,
        "batch": plan.training.batch,
        "T": plan.T,
        "samples": plan.samples,
        "floor": floor(plan.samples),
    }
    rows: dict[str, Any] = {name: {} for name in NETWORKS}
    for seed in plan.seeds:
        for name in NETWORKS:
            file = out / "clipping" / f"{name}-{seed}.json"
            make = partial(measure, name, seed, plan)
            rows[name][str(seed)] = kept(file, make, f"{name}, seed {seed}")
    write(out / "clipping.json", table | {"rows": rows}, indent=1)


if __name__ == "__main__":
    tyro.cli(main)
