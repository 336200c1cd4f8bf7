"""Recipes that work: a network, a diffusion and a training that go together, each by its name."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ddpm_lite.diffusion import GaussianDiffusion, Variance
from ddpm_lite.forward import Objective
from ddpm_lite.images.sets import ImageSet, resizing
from ddpm_lite.images.sources import at_odd_depth
from ddpm_lite.schedule import (
    NoiseSchedule,
    cosine_schedule,
    line_schedule,
    linear_schedule,
    sigmoid_schedule,
)
from ddpm_lite.training import TrainConfig
from ddpm_lite.unet import UNet, UNetConfig

__all__ = ["RECIPES", "DiffusionConfig", "Recipe", "number_of_classes"]


@dataclass(frozen=True)
class DiffusionConfig:
    """The diffusion.

    Args:
        schedule: of the betas: linear is the paper's, line that of flow matching.
        T: the number of steps.
        beta_start: the first beta of a linear schedule.
        beta_end: its last. Both belong to 1000 steps: another T rescales them.
        objective: what the network predicts.
        variance: of the reverse step.
        self_condition: the network is also given its last guess at the image.
    """

    schedule: Literal["linear", "cosine", "sigmoid", "line"] = "linear"
    T: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 0.02
    objective: Objective = "eps"
    variance: Variance = "beta"
    self_condition: bool = False

    def __post_init__(self) -> None:
        if self.T < 1:
            raise ValueError(f"T must be at least 1, got {self.T}")
        for name, usual in (("beta_start", 1e-4), ("beta_end", 0.02)):
            value = getattr(self, name)
            if self.schedule != "linear" and value != usual:
                raise ValueError(
                    f"{name} is of a linear schedule: it does nothing to a {self.schedule} one, "
                    f"got {value}"
                )
        if self.schedule == "line" and self.objective == "eps":
            raise ValueError(
                "at the end of a line schedule the noise says nothing of x_0: objective must be v, "
                "x0, mu or u, got 'eps'"
            )

    def make(self, levels: int) -> GaussianDiffusion:
        """The diffusion for images of so many grey levels."""
        return GaussianDiffusion(
            self._schedule(),
            self.objective,
            self.variance,
            self_condition=self.self_condition,
            levels=levels,
        )

    def _schedule(self) -> NoiseSchedule:
        if self.schedule == "cosine":
            return cosine_schedule(self.T)
        if self.schedule == "sigmoid":
            return sigmoid_schedule(self.T)
        if self.schedule == "line":
            return line_schedule(self.T)
        thousand = linear_schedule(1000, self.beta_start, self.beta_end)
        return thousand if self.T == 1000 else thousand.rescaled(self.T)


@dataclass(frozen=True)
class Recipe:
    """Which images, which network, which diffusion, how long.

    Args:
        data: digits, mnist, fashion_mnist, cifar10; a folder of images or of IDX files; or parquet
            files.
        size: crop and resize the images to this height and width.
        network: the U-Net.
        diffusion: the diffusion.
        training: how to train.
        every: steps between states to go on from.
        sample_every: steps between grids of samples.
        channels: 1 makes all images grey, 3 gives all of them colours; by default as they are.
    """

    data: str = "digits"
    size: int | None = None
    network: UNetConfig = field(default_factory=UNetConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    training: TrainConfig = field(default_factory=TrainConfig)
    every: int = 1000
    sample_every: int = 1000
    channels: int | None = None

    def __post_init__(self) -> None:
        for name in ("size", "every", "sample_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.channels not in (None, 1, 3):
            raise ValueError(f"channels must be 1 or 3, got {self.channels}")

    def make(self, data: ImageSet) -> tuple[UNet, GaussianDiffusion]:
        """A network with fresh weights for these images, and their diffusion.

        Where training hides labels, the network has one class more than the images, for no label.

        Raises:
            ValueError: labels are to be hidden and there are none, as `number_of_classes` says;
                images that are not square, or whose size the network cannot halve.
        """
        diffusion = self.diffusion.make(data.levels)
        channels, height, width = data.images.shape[1:]
        if height != width:
            raise ValueError(
                f"images must be square, but those of {data.name} are {width} x {height}; "
                + resizing(min(height, width))
            )
        classes = number_of_classes(data) + 1 if self.training.drop_label else None
        return self.network.make(height, channels, diffusion, classes), diffusion


def number_of_classes(data: ImageSet) -> int:
    """How many classes a set has.

    Raises:
        ValueError: it has no labels, fewer than two classes, or an image without a label.
    """
    if data.labels is None:
        root = Path(data.name).expanduser()
        if root.is_dir() and (odd := at_odd_depth(root)):
            raise ValueError(
                f"folders of images are classes where all lie at one depth, and in {data.name} "
                f"these do not: {odd}; take them out, put them into a class, or train without "
                "labels (--drop-label 0)"
            )
        raise ValueError(
            f"drop_label is of images with labels, and those of {data.name} have none: of a "
            "folder, put the images of each class into a folder of their own, all at one depth"
        )
    if (missing := (data.labels < 0).nonzero()).numel():
        raise ValueError(
            f"each image of {data.name} needs a label, and image {int(missing[0])} has none"
        )
    classes = len(data.classes) if data.classes else int(data.labels.max()) + 1
    if classes < 2:
        raise ValueError(f"{data.name} must have two classes or more, got {classes}")
    return classes


PAPER = Recipe(
    data="cifar10",
    network=UNetConfig(width=128, mults=(1, 2, 2, 2), attention=(16,), dropout=0.1),
    training=TrainConfig(
        steps=800_000, batch=128, lr=2e-4, warmup=5000, ema_decay=0.9999, flip=True
    ),
    every=5000,
    sample_every=10_000,
)
RECIPES: dict[str, tuple[str, Recipe]] = {
    "digits": (
        "8x8 digits that need no download; a CPU will do. The shipped model.",
        Recipe(
            network=UNetConfig(width=20, dropout=0.1),
            diffusion=DiffusionConfig(schedule="cosine"),
            training=TrainConfig(steps=5000, decay=True),
        ),
    ),
    "fashion": (
        "28x28 Fashion-MNIST with its ten labels; two hours of one CPU core. A shipped model too.",
        Recipe(
            data="fashion_mnist",
            network=UNetConfig(width=16, mults=(1, 2, 4), attention=(7,)),
            diffusion=DiffusionConfig(schedule="cosine", objective="v"),
            training=TrainConfig(
                steps=12_000, warmup=200, decay=True, drop_label=0.1, precision="bfloat16"
            ),
            every=250,
            sample_every=2000,
        ),
    ),
    "ho2020": ("The paper's CIFAR-10 run: 35.7M parameters, 800,000 steps of 128 images.", PAPER),
    "ho2020-short": (
        "The paper's CIFAR-10 network for 50,000 steps of 256 images.",
        replace(PAPER, training=replace(PAPER.training, steps=50_000, batch=256)),
    ),
}
