"""Clothes on request: a network with classes, taken apart while guidance pulls it."""

from collections.abc import Iterator
from typing import Any

import traitlets
from matplotlib.figure import Figure

from ddpm_lite import plots
from ddpm_lite.diffusion import GaussianDiffusion
from ddpm_lite.images.grids import grid
from ddpm_lite.images.idx import CLASSES
from ddpm_lite.unet import UNet
from ddpm_lite.widgets.base import esm
from ddpm_lite.widgets.sampler import Frame, LabelledFrame, Sampler

__all__ = ["Clothes"]

LOUDER = 5  # so much the difference of the two noises is magnified, as in clothes_controls.js


class Clothes(Sampler):
    """Ask for a boot: a class, a guidance scale, and what the label changes at each step.

    On a published page the shipped 28x28 network runs in the browser, loaded when the reader asks
    for it. In a notebook with a kernel, any network with classes runs on PyTorch. x_t, the guess,
    the noise seen with the label and without, and their difference; scales 0, 1, 2 and 4 from one
    start; a drawing of yours that comes back as what you asked for. Eq. {eq}`eq-guidance`.

    Args:
        model, diffusion: a network with classes, the last of which stands for none, and its
            diffusion; the book's clothes when not given.
        names: of the classes but the last.
        settings: the first values of `label`, a class by its number or name, `scale`, and the
            settings of `Sampler`. One image is drawn at a time.

    Raises:
        traitlets.TraitError: a setting out of its range.
        ValueError: a model without its diffusion or without classes; a number of names that is not
            that of the classes; a name that none has.
    """

    _esm = esm("clothes.js")
    label = traitlets.Int(0, min=0).tag(sync=True)
    scale = traitlets.Float(2.0, min=0.0, max=8.0).tag(sync=True)
    _names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    shipped = "fashion"

    def __init__(
        self,
        model: UNet | None = None,
        diffusion: GaussianDiffusion | None = None,
        names: tuple[str, ...] | None = None,
        **settings: Any,
    ):
        if model is None:
            names = names or CLASSES["fashion_mnist"]
            settings.setdefault("label", len(names) - 1)
        elif model.classes and names is None:
            names = tuple(f"class {i}" for i in range(model.classes - 1))
        all_names = [*(names or ()), "anything"]
        if isinstance(asked := settings.get("label"), str):
            if asked not in all_names:
                raise ValueError(f"label must be one of {', '.join(all_names)}, got {asked!r}")
            settings["label"] = all_names.index(asked)
        if settings.setdefault("images", 1) != 1:
            raise ValueError(f"images must be 1, got {settings['images']}")
        settings.setdefault("steps", 25 if diffusion is None else min(25, diffusion.T))
        super().__init__(model, diffusion, _names=all_names, **settings)

    def _suits(self, model: UNet, diffusion: GaussianDiffusion, settings: dict[str, Any]) -> None:
        if model.classes is None:
            raise ValueError("the network must have classes, got one without")
        if len(settings["_names"]) != model.classes:
            raise ValueError(
                f"names must be {model.classes - 1}, one for each class but the last, got "
                f"{len(settings['_names']) - 1}"
            )
        if diffusion.variance == "learned" or diffusion.self_condition:
            raise ValueError("the network must be without learned variance and x0_hat")

    @traitlets.validate("label")
    def _known(self, proposal: Any) -> int:
        last = (self.model.classes or 0) - 1
        if proposal["value"] > last:
            raise traitlets.TraitError(f"label must lie in 0..{last}, got {proposal['value']}")
        return proposal["value"]

    def walk(self, scale: float | None = None) -> Iterator[Frame | LabelledFrame]:
        """The chain at the present settings, or at another scale; the last frame is at t = 0."""
        return self._walk(label=self.label, scale=self.scale if scale is None else scale)

    def still(self) -> Figure:
        """The parts of a step halfway, and the garment, at the present settings."""
        frames = list(self.walk())
        half, end = frames[len(frames) // 2], frames[-1]
        assert isinstance(half, LabelledFrame)  # for the type checker: the network has classes
        figure, axes = plots.panels(6)
        for ax, images, title in zip(
            axes,
            (half.xt, half.x0_hat, half.eps_label, half.eps_none,
             LOUDER * (half.eps_label - half.eps_none), end.xt),
            (f"$x_t$ at t = {half.t}", r"the guess $\hat{x}_0$",
             r"$\hat{\varepsilon}$ with the label", r"$\hat{\varepsilon}$ without",
             f"difference, {LOUDER} times", self._names[self.label]),
            strict=True,
        ):  # fmt: skip
            plots.image(ax, grid(images).movedim(-1, 0) / 127.5 - 1, title)
        return figure

    def _asked(self, message: dict[str, Any]) -> Iterator[Frame | LabelledFrame]:
        return self.walk(message.get("scale"))
