"""Models that are sick on purpose, each in one place, and what the doctor says of them: "sick".

    python -m ddpm_lite.experiments.sick [--seeds 0 1 2] [--others 3 4 5] [--out FOLDER]

Small networks are trained on 8x8 digits as those of the studies are, some of them narrower and half
as long, but for one fault; a fault of sampling breaks a healthy network afterwards. Beside them
stand healthy ones, of other seeds, objectives, schedules and widths, which the doctor must not
accuse. Weights and findings go into files of their own, so that a run that stops goes on.
"""

import base64
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from torch import Tensor

from ddpm_lite._shapes import Time
from ddpm_lite.blocks import Attention
from ddpm_lite.diffusion import GaussianDiffusion
from ddpm_lite.experiments.results import kept, write
from ddpm_lite.experiments.studies import CLASSES, SAMPLES, images
from ddpm_lite.guidance import guided
from ddpm_lite.images.data import to_model_range
from ddpm_lite.images.sets import load_images
from ddpm_lite.quality.evaluation import evaluate_samples
from ddpm_lite.runs.checkpoints import load, shipped
from ddpm_lite.runs.doctor import as_json, diagnose, oracle_through
from ddpm_lite.runs.recipes import DiffusionConfig
from ddpm_lite.samplers import ddim, ddpm, sample
from ddpm_lite.schedule import NoiseSchedule, cosine_schedule, linear_schedule, spaced_times
from ddpm_lite.system.files import written_aside
from ddpm_lite.training import TrainConfig, train
from ddpm_lite.unet import UNet, UNetConfig

__all__ = ["CASES", "HEALTHY", "TRAINED", "UNTESTED", "Case", "Trained"]

LEVELS = 17


# What is broken in the forward process that a network is trained with.


class OffByOne(GaussianDiffusion):
    """The network is told t - 1, as an array that counts from 0 would have it."""

    def _ask(self, model: Any, xt: Tensor, t: Time, x0_prev: Tensor | None) -> Tensor:
        return super()._ask(lambda x, told: model(x, told - 1), xt, t, x0_prev)


class VarianceForDeviation(GaussianDiffusion):
    """The noise is multiplied by 1 - alpha_bar_t, without the root."""

    def _q_sample(self, x0: Tensor, t: Time, eps: Tensor) -> Tensor:
        return self.sqrt_alpha_bar.at(t, x0) * x0 + self.one_minus_alpha_bar.at(t, x0) * eps


class UnitRange(GaussianDiffusion):
    """The images lie in [0, 1]."""

    def _q_sample(self, x0: Tensor, t: Time, eps: Tensor) -> Tensor:
        return super()._q_sample((x0 + 1) / 2, t, eps)


class NoRootOnImage(GaussianDiffusion):
    """The image is multiplied by alpha_bar_t, without the root."""

    def _q_sample(self, x0: Tensor, t: Time, eps: Tensor) -> Tensor:
        alpha_bar = self.sqrt_alpha_bar.at(t, x0) ** 2
        return alpha_bar * x0 + self.sqrt_one_minus_alpha_bar.at(t, x0) * eps


class AnotherTime(GaussianDiffusion):
    """The network is told a t that was drawn anew."""

    def _ask(self, model: Any, xt: Tensor, t: Time, x0_prev: Tensor | None) -> Tensor:
        anew = torch.randint(1, self.T + 1, (len(xt),), device=xt.device)
        return super()._ask(model, xt, anew, x0_prev)


class UniformNoise(GaussianDiffusion):
    """The noise is `rand`, and not `randn`."""

    def p_losses(self, model: Any, x0: Tensor, t: Time, *given: Any, **more: Any) -> Tensor:
        return super().p_losses(model, x0, t, torch.rand_like(x0), *given[1:], **more)


# What is broken in the network.


class OtherAxis(Attention):
    """The softmax runs over the pixels that look, and not over those that are looked at."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.flatten(2) for part in self.qkv(self.norm(x)).chunk(3, dim=1))
        weights = (q.transpose(1, 2) @ k / q.shape[1] ** 0.5).softmax(dim=1)  # dim=2 is right
        return x + self.out((v @ weights.transpose(1, 2)).view_as(x))


def other_axis(network: UNet) -> None:
    """Break every attention of a network with one head."""
    for module in network.modules():
        if isinstance(module, Attention):
            module.__class__ = OtherAxis


def overflow(network: UNet) -> None:
    """Gradients in float16, of a loss times 2^18, and nobody looks whether they are finite."""
    for parameter in network.parameters():
        parameter.register_hook(lambda g: (g * 2.0**18).half().float() / 2.0**18)


def heaped(network: UNet) -> None:
    """Gradients that nobody sets to zero: each step adds its own to those of all steps before."""

    def add(gradient: Tensor, heap: Tensor) -> Tensor:
        return heap.add_(gradient).clone()

    for parameter in network.parameters():
        parameter.register_hook(partial(add, heap=torch.zeros_like(parameter)))


@dataclass(frozen=True)
class Trained:
    """One network: how it is trained, and what is broken meanwhile.

    Args:
        title: of the row.
        diffusion, network, training: as in a recipe.
        q: the class whose forward process it is trained with; it is sampled by the right one.
        schedule: in place of the diffusion's.
        broken: done to the fresh network.
        labelled: train with labels.
        slow: the average takes 1 / 10,000 of the weights at each step, from the first on.
    """

    title: str
    diffusion: DiffusionConfig = field(default_factory=lambda: DiffusionConfig(T=200))
    network: UNetConfig = field(default_factory=lambda: UNetConfig(width=16, blocks=1))
    training: TrainConfig = field(default_factory=lambda: TrainConfig(steps=1000, decay=True))
    q: type[GaussianDiffusion] = GaussianDiffusion
    schedule: Callable[[], NoiseSchedule] | None = None
    broken: Callable[[UNet], None] | None = None
    labelled: bool = False
    slow: bool = False

    def right(self) -> GaussianDiffusion:
        """The diffusion as it should be, with which the network is sampled."""
        diffusion = self.diffusion.make(LEVELS)
        return replace(diffusion, schedule=self.schedule()) if self.schedule else diffusion

    def fresh(self) -> UNet:
        """The network before training."""
        classes = CLASSES + 1 if self.labelled else None
        network = self.network.make(8, 1, self.right(), classes)
        if self.broken is not None:
            self.broken(network)
        return network


def weights(one: Trained, seed: int) -> dict[str, Any]:
    """Train one network: its "raw" weights, their "average", and the "loss" of every step."""
    set_ = images("digits")  # which may draw: its classifier is made anew at the first call
    torch.manual_seed(seed)
    right = one.right()
    diffusion = one.q(right.schedule, **right.config)
    network = one.fresh()
    slow = {name: x.clone() for name, x in network.state_dict().items()}
    losses, average = [], slow
    try:
        given = set_.labels if one.labelled else None
        training = replace(one.training, seed=seed)
        for step in train(network, diffusion, set_.train, training, labels=given):
            losses.append(step.loss)
            average = step.ema.module.state_dict()  # type: ignore[union-attr]
            if one.slow:
                for name, x in network.state_dict().items():
                    slow[name].lerp_(x, 1e-4)
    except FloatingPointError:
        pass  # that is the fault, and the weights show it
    return {
        "raw": network.state_dict(),
        "average": slow if one.slow else average,
        "loss": torch.stack(losses),
    }


def kept_weights(name: str, one: Trained, seed: int, folder: Path) -> dict[str, Any]:
    """The weights of one network and seed, trained where they are not there yet."""
    file = folder / "sick" / f"{name}-{seed}.pt"
    if not file.exists():
        found = weights(one, seed)
        file.parent.mkdir(parents=True, exist_ok=True)
        with written_aside(file) as aside:
            torch.save(found, aside)
        print(f"{name}, seed {seed}, loss {found['loss'][-100:].mean():.4f}", flush=True)
    return torch.load(file, weights_only=True)


def of(found: dict[str, Any], one: Trained, which: str = "average") -> UNet:
    """The network with weights that `kept_weights` holds, in eval mode."""
    network = one.fresh()
    network.load_state_dict(found[which])
    return network.eval()


plain = Trained("eps, linear schedule")
small = replace(
    plain,
    network=replace(plain.network, width=8),
    training=replace(plain.training, steps=500),
)
TRAINED: dict[str, Trained] = {
    "plain": plain,
    "off-by-one": replace(plain, title="t off by one", q=OffByOne),
    "variance": replace(plain, title="variance for deviation", q=VarianceForDeviation),
    "unit-range": replace(plain, title="data in [0, 1]", q=UnitRange),
    "constant-rate": replace(
        plain, title="no decay of the rate", training=replace(plain.training, decay=False),
        slow=True,
    ),
    "short": replace(
        small, title="short chain, betas not rescaled", schedule=lambda: linear_schedule(100)
    ),
    "cosine": replace(
        plain, title="eps, cosine schedule", diffusion=DiffusionConfig("cosine", 200)
    ),
    "dropout": replace(
        small, title="eps, dropout 0.3", network=replace(small.network, dropout=0.3)
    ),
    "labels": replace(small, title="labels never hidden", labelled=True),
    "overflow": replace(plain, title="gradients overflow", broken=overflow),
    "rate": replace(
        plain, title="learning rate 0.1",
        training=replace(plain.training, lr=0.1, decay=False, steps=200),
    ),
    "image-root": replace(small, title="no root on the image's factor", q=NoRootOnImage),
    "another-time": replace(small, title="a t drawn anew for the network", q=AnotherTime),
    "heaped": replace(small, title="gradients never set to zero", broken=heaped),
    "uniform-noise": replace(small, title="noise from rand", q=UniformNoise),
}  # fmt: skip
HEALTHY: dict[str, Trained] = {
    "v-cosine": replace(
        small, title="v, cosine schedule", diffusion=DiffusionConfig("cosine", 200, objective="v")
    ),
    "x0-linear": replace(
        small, title="x0, linear schedule", diffusion=DiffusionConfig(T=200, objective="x0")
    ),
    "eps-sigmoid": replace(
        small, title="eps, sigmoid schedule", diffusion=DiffusionConfig("sigmoid", 200)
    ),
    "eps-linear-1000": replace(small, title="eps, T = 1000", diffusion=DiffusionConfig()),
    "hidden-labels": replace(
        small, title="eps, labels hidden in a fifth",
        training=replace(small.training, drop_label=0.2), labelled=True,
    ),
}  # fmt: skip

WELL = ("cosine", "dropout")  # of the trained, those that are healthy when they are used rightly


# How a network is then used, and what is broken there.

Sampler = Callable[[GaussianDiffusion, Any, tuple[int, ...]], Tensor]


def fifty(diffusion: GaussianDiffusion, model: Any, shape: tuple[int, ...]) -> Tensor:
    """Fifty steps of DDIM, as the studies take."""
    return sample(diffusion, model, shape, ddim, steps=50)


def unclipped(diffusion: GaussianDiffusion, model: Any, shape: tuple[int, ...]) -> Tensor:
    """The same, and x0_hat may be anything."""
    return sample(diffusion, model, shape, ddim, steps=50, clip=False)


def every_step(diffusion: GaussianDiffusion, model: Any, shape: tuple[int, ...]) -> Tensor:
    """Algorithm 2."""
    return sample(diffusion, model, shape, ddpm)


def ten(diffusion: GaussianDiffusion, model: Any, shape: tuple[int, ...]) -> Tensor:
    """Ten steps of Algorithm 2."""
    return sample(diffusion.subsequence(spaced_times(diffusion.T, 10)), model, shape, ddpm)


def wrong_sigma(diffusion: GaussianDiffusion, model: Any, shape: tuple[int, ...]) -> Tensor:
    """Twenty steps of DDIM with eta = 1 and the beta of a step in the place of its beta_tilde.

    Where 1 - alpha_bar_s - sigma^2 is negative the clamp makes it 0, and nobody sees it.
    """
    chain = diffusion.subsequence(spaced_times(diffusion.T, 20))
    alpha_bar, x = chain.schedule.alpha_bar.tolist(), torch.randn(shape)
    for t in range(chain.T, 0, -1):
        with torch.no_grad():
            out = chain.p_mean_variance(model, x, t)
        sigma2 = 1 - alpha_bar[t] / alpha_bar[t - 1]
        rest = max(0.0, 1 - alpha_bar[t - 1] - sigma2)
        x = alpha_bar[t - 1] ** 0.5 * out.x0_hat + rest**0.5 * out.eps_hat
        x = x + sigma2**0.5 * torch.randn(shape)
    return x


@dataclass(frozen=True)
class Case:
    """One symptom: whose weights, how they are used, and which test tells.

    Args:
        title: the fault.
        of: the network of `TRAINED`.
        tells: the name of the finding that should be sick; None for a healthy one.
        which: of its weights.
        diffusion: what is changed of the diffusion for sampling.
        data: what the images were, of those in [-1, 1].
        sampler: of the samples, and of the oracle's.
        steps, clip: of that sampler, as the doctor is told.
        training: left in training mode.
        broken: done to the trained network.
        scale: of guidance.
    """

    title: str
    of: str = "plain"
    tells: str | None = None
    which: Literal["raw", "average"] = "average"
    diffusion: dict[str, Any] = field(default_factory=dict)
    data: Callable[[Tensor], Tensor] | None = None
    sampler: Sampler = fifty
    steps: int | None = 50
    clip: bool = True
    training: bool = False
    broken: Callable[[UNet], None] | None = None
    scale: float | None = None


CASES: dict[str, Case] = {
    "healthy": Case("none: the healthy model"),
    "unit-range": Case(
        "images in [0, 1]", "unit-range", "range", data=lambda x: (x + 1) / 2
    ),
    "off-by-one": Case("trained with t - 1, sampled with t", "off-by-one", "clock"),
    "variance": Case("trained with noise times its variance", "variance", "calibration"),
    "last-weights": Case("no average of the weights", "constant-rate", "average", "raw"),
    "early-average": Case("an average that remembers its start", "constant-rate", "average"),
    "short": Case(
        "linear betas of T = 1000, cut to T = 100", "short", "terminal SNR",
        sampler=every_step, steps=None,
    ),
    "no-signal": Case(
        "eps, no signal at T, no clipping", "cosine", "first guess", sampler=unclipped, clip=False
    ),
    "beta-tilde": Case(
        "beta_tilde on a chain of ten steps", "plain", "contrast",
        diffusion={"variance": "beta_tilde"}, sampler=ten, steps=10,
    ),
    "dropout": Case(
        "no eval before sampling", "dropout", "the same answer twice", training=True
    ),
    "other-axis": Case(
        "softmax over the other axis", "plain", "attention", broken=other_axis
    ),
    "labels": Case("guidance, and no label ever hidden", "labels", "no label", scale=4.0),
    "overflow": Case("gradients overflow in float16", "overflow", "finite weights"),
    "rate": Case("learning rate of 0.1", "rate", "loss by t"),
    "other-schedule": Case(
        "trained with linear, sampled with cosine", "plain", "noise level",
        diffusion={"schedule": cosine_schedule(200)},
    ),
    "sigma": Case(
        "a DDIM sigma too large, hidden by a clamp", "plain", "images come back",
        sampler=wrong_sigma, steps=20,
    ),
}  # fmt: skip


# Faults for which the doctor has no test of their own: what does it say all the same?
UNTESTED: dict[str, Case] = {
    name: Case(TRAINED[name].title, name)
    for name in ("image-root", "another-time", "heaped", "uniform-noise")
}


def examine(case: Case, found: dict[str, Any], one: Trained, seed: int) -> dict[str, Any]:
    """What the loss, the samples and the doctor say of one case.

    Returns:
        "loss", the mean over the last 100 steps of training, None where it is no number; "frechet",
        of 500 samples, None where these are no numbers; "grid", sixteen of them, a byte a pixel, in
        base64; "findings", of the doctor.
    """
    set_ = images("digits")
    diffusion = replace(one.right(), **case.diffusion)
    network = of(found, one, case.which).train(case.training)
    if case.broken is not None:
        case.broken(network)
    labels = set_.labels if one.labelled else None
    x0, test = (x if case.data is None else case.data(x) for x in (set_.train, set_.test))
    findings = diagnose(
        x0, network, diffusion, test=test if labels is None else None,
        raw=of(found, one, "raw"), labels=labels, steps=case.steps, clip=case.clip, seed=seed,
    )  # fmt: skip
    torch.manual_seed(seed)
    findings += oracle_through(
        partial(case.sampler, diffusion),
        diffusion.schedule,
        set_.train,
        objective=diffusion.objective,
    )
    loss = found["loss"][-100:].mean().item()
    said: dict[str, Any] = {
        "loss": loss if math.isfinite(loss) else None,
        "findings": as_json(findings),
    }
    count = SAMPLES["digits"]
    model: Any = network
    if one.labelled:
        asked = torch.arange(count, device="cpu") % CLASSES
        model = guided(network, asked, 1.0 if case.scale is None else case.scale)
    x = case.sampler(diffusion, model, (count, 1, 8, 8))
    good = bool(x.isfinite().all())
    x = x.nan_to_num(-1.0).clamp(-1, 1)
    judge = set_.judge
    scores = evaluate_samples(x, set_.train, judge.features, judge.head, split="train", groups=5)
    said["frechet"] = scores.frechet if good else None
    grey = ((x[:16] + 1) / 2 * 255).round().byte()
    said["grid"] = base64.b64encode(grey.numpy().tobytes()).decode()
    return said | {"date": date.today().isoformat()}


def check_up(found: dict[str, Any], one: Trained, seed: int) -> dict[str, Any]:
    """What the doctor says of a healthy network: "findings"."""
    set_ = images("digits")
    labels = set_.labels if one.labelled else None
    findings = diagnose(
        set_.train, of(found, one), one.right(), test=set_.test if labels is None else None,
        raw=of(found, one, "raw"), labels=labels, steps=50, seed=seed,
    )  # fmt: skip
    torch.manual_seed(seed)
    right = one.right()
    findings += oracle_through(
        partial(fifty, right), right.schedule, set_.train, objective=right.objective
    )
    return {"findings": as_json(findings), "date": date.today().isoformat()}


def check_up_shipped(name: str) -> dict[str, Any]:
    """The same of weights that come with the package, on 2,000 images of their set."""
    network, diffusion = load(name)
    data = {"fashion": "fashion_mnist"}.get(name, name)
    sets = [load_images(data, split) for split in ("train", "test")]
    x0, test = (to_model_range(s.images[:2000].long(), s.levels) for s in sets)
    known = [s.labels[:2000] if network.classes else None for s in sets]  # type: ignore[index]
    findings = diagnose(
        x0, network, diffusion, test=test, labels=known[0], test_labels=known[1], steps=50,
        images=128,
    )  # fmt: skip
    torch.manual_seed(0)
    findings += oracle_through(
        partial(fifty, diffusion), diffusion.schedule, x0, objective=diffusion.objective
    )
    return {"findings": as_json(findings), "date": date.today().isoformat()}


def sick_names(found: dict[str, Any]) -> list[str]:
    """The names of what is sick in what `examine` or `check_up` found."""
    return [f["name"] for f in found["findings"] if f["verdict"] == "sick"]


def short(found: dict[str, Any]) -> dict[str, Any]:
    """What a table keeps: of each finding its name, verdict and number."""
    findings = [{k: f[k] for k in ("name", "verdict", "measured")} for f in found["findings"]]
    return found | {"findings": findings}


def main(
    seeds: tuple[int, ...] = (0, 1, 2),
    others: tuple[int, ...] = (3, 4, 5),
    out: Path = Path("results"),
) -> None:
    """Train and examine the sick and the healthy, and put the table together.

    Args:
        seeds: of the sick: each is trained once for each.
        others: of the healthy.
        out: where results go; what is there already is not made again.
    """
    torch.set_num_threads(1)
    folder = out / "sick"
    table: dict[str, Any] = {
        "command": "python -m ddpm_lite.experiments.sick",
        "seeds": list(seeds),
        "others": list(others),
        "device": "CPU, one thread",
        "torch": torch.__version__,
        "date": date.today().isoformat(),
        "data": f"digits, 8x8; {SAMPLES['digits']} samples",
        "steps": plain.training.steps,
        "sick": {},
        "untested": {},
        "healthy": {},
    }  # fmt: skip
    cases = [("sick", *item) for item in CASES.items()]
    cases += [("untested", *item) for item in UNTESTED.items()]
    for part, name, case in cases:
        row: dict[str, Any] = {"title": case.title, "tells": case.tells, "seeds": {}}
        table[part][name] = row
        for seed in seeds:
            one = TRAINED[case.of]

            def look(case: Case = case, one: Trained = one, seed: int = seed) -> dict[str, Any]:
                return examine(case, kept_weights(case.of, one, seed, out), one, seed)

            file = folder / f"case-{name}-{seed}.json"
            row["seeds"][str(seed)] = short(kept(file, look, f"{name}, seed {seed}"))
    for seed in others:
        for name, one in HEALTHY.items():

            def visit(name: str = name, one: Trained = one, seed: int = seed) -> dict[str, Any]:
                return check_up(kept_weights(f"healthy-{name}", one, seed, out), one, seed)

            file = folder / f"healthy-{name}-{seed}.json"
            said = kept(file, visit, f"healthy {name}, seed {seed}")
            table["healthy"][f"{one.title}, seed {seed}"] = short(said)
    for seed in seeds:
        for name in WELL:
            one = TRAINED[name]

            def again(name: str = name, one: Trained = one, seed: int = seed) -> dict[str, Any]:
                return check_up(kept_weights(name, one, seed, out), one, seed)

            said = kept(folder / f"well-{name}-{seed}.json", again, f"{name} as it should be")
            table["healthy"][f"{one.title}, seed {seed}"] = short(said)
    for name in shipped():
        file = folder / f"shipped-{name}.json"
        said = kept(file, partial(check_up_shipped, name), f"shipped {name}")
        table["healthy"][f"shipped: {name}"] = short(said)
    write(out / "sick.json", table, indent=1)


if __name__ == "__main__":
    tyro.cli(main)
