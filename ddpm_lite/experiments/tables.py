"""The rows behind the book's tables: what each trains, and the ways in which it is then used.

`ddpm_lite.experiments.studies` runs them. All rows of a table are trained alike, but for what the
row is about, on 8x8 digits; those of "fashion" on Fashion-MNIST at 28x28.
"""

from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, get_args

from ddpm_lite.diffusion import Variance
from ddpm_lite.experiments.ablations import Part
from ddpm_lite.quality.classifier import Data
from ddpm_lite.runs.recipes import RECIPES, DiffusionConfig
from ddpm_lite.training import TrainConfig
from ddpm_lite.unet import UNetConfig

__all__ = ["STUDIES", "Classes", "Study", "Way"]

Classes = Literal["even", "free"]
Solver = Literal["ddim", "heun", "heun-eps", "dpm-solver"]


class Way(NamedTuple):
    """How the trained network is used: its variance, the steps, the label's pull."""

    variance: Variance = "beta"
    steps: int | None = None
    """Of DDIM; all steps of the ancestral sampler when None."""
    scale: float | None = None
    """Of classifier-free guidance, for a network with labels."""
    averaged: bool = True
    """By the averaged weights, or by those of the last step."""
    bits: bool = True
    """Measure the bound of the test images too."""
    eta: float | None = 0.0
    """Of DDIM; None for the ancestral sampler, by `variance`, on the chain of so many steps."""
    solver: Solver = "ddim"
    """Of the flow, where eta is 0; "heun-eps" takes the mean of eps, in place of x_0."""
    classes: Classes | None = None
    """Measure against as many real images of the same classes too: "even" asks for 50 of each
    class, "free" for labels as they fall."""


@dataclass(frozen=True)
class Study:
    """One row: what is trained, and the ways in which it is then used.

    Args:
        title: of the row.
        ways: a name for each.
        diffusion, network, training: as in a recipe.
        lacks: a part of the network that is taken out before training.
        labelled: train with the images' labels, of which `training.drop_label` are hidden.
        data: the set.
        weights: name of a shipped network that is used as it is: nothing is trained, and seeds
            are of its samples alone.
    """

    title: str
    ways: dict[str, Way]
    diffusion: DiffusionConfig = field(default_factory=lambda: DiffusionConfig(T=200))
    network: UNetConfig = field(default_factory=lambda: UNetConfig(width=16, blocks=1))
    training: TrainConfig = field(default_factory=lambda: TrainConfig(steps=1000, decay=True))
    lacks: Part | None = None
    labelled: bool = False
    data: Data = "digits"
    weights: str | None = None


def _table2() -> dict[str, Study]:
    """What is predicted, by which loss, with which variance: Ho et al. (2020), Table 2."""
    rows = {}
    for objective in ("mu", "eps", "x0", "v"):
        for weight, loss in (("variational", "L"), ("none", "mse")):
            for variance in ("beta", "beta_tilde", "learned"):
                if loss == "mse" and variance == "beta_tilde":
                    continue  # this loss does not know the fixed variance: trained once for both
                ways = {variance: Way(variance)}
                if loss == "mse" and variance == "beta":
                    ways |= {"beta_tilde": Way("beta_tilde")}
                diffusion = DiffusionConfig(T=200, objective=objective, variance=variance)
                training = TrainConfig(steps=1000, decay=True, weight=weight)  # type: ignore[arg-type]
                title = f"{objective}, {loss}, {variance}"
                rows[f"{objective}-{loss}-{variance}"] = Study(
                    title, ways, diffusion, training=training
                )
    return rows


def _blocks() -> dict[str, Study]:
    """The network with a part taken out, or another in its place."""
    fast = {"averaged": Way(steps=50, bits=False)}
    whole = Study("whole", fast | {"not averaged": Way(steps=50, averaged=False, bits=False)})
    width16 = whole.network
    rows = {"whole": whole}
    for part in get_args(Part):
        rows[f"no-{part}"] = replace(whole, title=f"without {part}", ways=fast, lacks=part)
    others = {
        "attention-8": ("attention at 8x8 too", replace(width16, attention=(8,))),
        "linear-8": ("linear attention at 8x8", replace(width16, linear_attention=(8,))),
        "note": ("NoteBlock", replace(width16, block="note")),
        "convnext": ("ConvNeXt block", replace(width16, block="convnext")),
        "two-blocks": ("two blocks a level", replace(width16, blocks=2)),
    }
    for name, (title, network) in others.items():
        rows[name] = replace(whole, title=title, ways=fast, network=network)
    return rows


def _after() -> dict[str, Study]:
    """What came after DDPM, each beside the same baseline."""
    cosine = DiffusionConfig(schedule="cosine", T=200)
    every = {f"ddim {n}": Way(steps=n, bits=False) for n in (5, 10, 20, 50, 100)}
    base = Study("cosine schedule", {"all steps": Way()} | every, cosine)
    one = {"all steps": Way()}
    labels = {f"scale {s:g}": Way(steps=50, scale=s, bits=False) for s in (0, 1, 2, 4)}
    min_snr = replace(base.training, weight="min_snr")
    return {
        "linear": replace(base, title="linear schedule", diffusion=DiffusionConfig(T=200)),
        "cosine": base,
        "learned": Study(
            "learned variance, hybrid loss",
            {"all steps": Way("learned")},
            replace(cosine, variance="learned"),
        ),
        "v": Study("v", one, replace(cosine, objective="v")),
        "min-snr": Study("min-SNR weight", one, cosine, training=min_snr),
        "self-condition": Study("self-conditioning", one, replace(cosine, self_condition=True)),
        "labels": Study(
            "labels",
            labels,
            cosine,
            training=replace(base.training, drop_label=0.1),
            labelled=True,
        ),
    }


def _calls() -> dict[str, Study]:
    """With fresh noise or without, at equally many calls of the network."""
    ways = {}
    for n in (5, 10, 20, 50, 100, 200):
        ways[f"eta 0, {n}"] = Way(steps=n, bits=False, classes="free")
        ways[f"eta 1, {n}"] = Way(steps=n, bits=False, eta=1.0, classes="free")
        ways[f"beta, {n}"] = Way(steps=n, bits=False, eta=None, classes="free")
    return {"cosine": Study("cosine schedule", ways, _after()["cosine"].diffusion)}


def _solvers() -> dict[str, Study]:
    """The flow by solvers of first and second order, at equally many calls or one fewer.

    On the cosine schedule and on the line of flow matching, both with the same budget. Between the
    row of each stands one that changes the schedule alone, and one with v in place of u.
    """
    ways = {}
    for n in (5, 10, 20, 50):
        one = Way(steps=n, bits=False, classes="free")
        ways[f"ddim, {n}"] = one
        ways[f"eta 1, {n}"] = one._replace(eta=1.0)
        ways[f"dpm-solver, {n}"] = one._replace(solver="dpm-solver")
        # Of 2 n - 1 calls in n steps.
        ways[f"heun, {n}"] = one._replace(steps=(n + 1) // 2, solver="heun")
    eps = {
        f"heun-eps, {n}": ways[f"heun, {n}"]._replace(solver="heun-eps") for n in (5, 10, 20, 50)
    }
    cosine, line = (DiffusionConfig(s, T=200, objective="v") for s in ("cosine", "line"))
    return {
        "cosine": Study("eps, cosine schedule", ways | eps, replace(cosine, objective="eps")),
        "v-cosine": Study("v, cosine schedule", ways, cosine),
        "v-line": Study("v, line", ways, line),
        "flow": Study("u, line: flow matching", ways, replace(line, objective="u")),
    }


def _guidance() -> dict[str, Study]:
    """How hard to pull towards the label, by how many labels were hidden in training."""
    fast = Way(steps=50, bits=False, classes="even")
    ways = {"scale 0": fast._replace(scale=0.0, classes="free")}  # it sees no label: as they fall
    ways |= {f"scale {s}": fast._replace(scale=float(s)) for s in (1, 2, 4)}
    ways |= {f"scale {s}, free": ways[f"scale {s}"]._replace(classes="free") for s in (1, 2)}
    labels, rows = _after()["labels"], {}
    for hidden in (0.1, 0.3, 0.5):
        training = replace(labels.training, drop_label=hidden)
        title = f"{hidden:.0%} of the labels hidden"
        rows[f"drop-{hidden}"] = replace(labels, title=title, ways=ways, training=training)
    return rows


def _rates() -> dict[str, Study]:
    """Rows of Table 2 with a third and with three times the learning rate, or four times as long.

    The rows as they are, at 0.002, stand in "table2".
    """
    rows, table2 = {}, _table2()
    for name in ("mu-L-beta", "eps-L-beta", "eps-mse-beta", "mu-mse-beta"):
        row = table2[name]
        for lr in (0.0007, 0.006):
            training = replace(row.training, lr=lr)
            rows[f"{name}-{lr}"] = replace(row, title=f"{row.title}, {lr}", training=training)
    row = table2["mu-L-beta"]
    rows["mu-L-beta-4000"] = replace(
        row, title=f"{row.title}, 4000 steps", training=replace(row.training, steps=4000)
    )
    return rows


def _fashion() -> dict[str, Study]:
    """Does what holds at 8x8 hold at 28x28? The shipped network, on a twelfth of its budget."""
    recipe = RECIPES["fashion"][1]
    even = Way(steps=50, bits=False, scale=1.0, classes="even")
    one = {"scale 1": even}
    scales = {f"scale {s}": even._replace(scale=float(s)) for s in (1, 2, 4)}
    noise = {f"eta 1, {n}": even._replace(steps=n, eta=1.0) for n in (10, 20, 50)}
    solvers = {}
    for n in (5, 10, 20, 50):
        solvers[f"ddim, {n}"] = even._replace(steps=n)
        solvers[f"dpm-solver, {n}"] = even._replace(steps=n, solver="dpm-solver")
        solvers[f"heun, {n}"] = even._replace(steps=(n + 1) // 2, solver="heun")
    del solvers["ddim, 50"]  # it is "scale 1"
    training = replace(recipe.training, steps=1000, precision="float32")
    base = Study(
        "v, cosine schedule", one, recipe.diffusion, recipe.network, training,
        labelled=True, data="fashion_mnist",
    )  # fmt: skip
    rows = {"v-cosine": replace(base, ways=scales | noise | solvers)}
    rows["v-cosine-0.3"] = replace(
        base,
        title="v, cosine schedule, 30% of the labels hidden",
        ways=scales,
        training=replace(training, drop_label=0.3),
    )
    others = (
        ("eps", "cosine"),
        ("x0", "cosine"),
        ("v", "linear"),
        ("eps", "linear"),
        ("u", "line"),
    )
    for objective, schedule in others:
        rows[f"{objective}-{schedule}"] = replace(
            base,
            title=f"{objective}, {schedule} schedule",
            diffusion=DiffusionConfig(schedule, objective=objective),  # type: ignore[arg-type]
        )
    flow = rows["u-line"]
    rows["u-line"] = replace(flow, title="u, line: flow matching", ways=one | solvers)
    title = "v, cosine schedule, without attention"
    rows["no-attention"] = replace(base, title=title, lacks="attention")
    title = f"v, cosine schedule, as shipped: {recipe.training.steps:,} steps"
    rows["shipped"] = replace(
        base, title=title, ways=scales, training=recipe.training, weights="fashion"
    )
    return rows


STUDIES: dict[str, dict[str, Study]] = {
    "table2": _table2(),
    "blocks": _blocks(),
    "after": _after(),
    "calls": _calls(),
    "solvers": _solvers(),
    "guidance": _guidance(),
    "rates": _rates(),
    "fashion": _fashion(),
}
