"""One question of the training loss, to drag: what the network sees, should say, and does say."""

from typing import Any, cast

import numpy as np
import torch
import traitlets
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from ddpm_lite import plots
from ddpm_lite.diffusion import GaussianDiffusion
from ddpm_lite.forward import Objective
from ddpm_lite.images.data import digits, from_model_range, to_model_range
from ddpm_lite.oracle import Oracle
from ddpm_lite.schedule import linear_schedule
from ddpm_lite.widgets.base import Widget, esm
from ddpm_lite.widgets.noise import normals

__all__ = ["Denoising"]

LEVELS = 17  # grey levels of the digits
SCALE = {"eps": 2.0, "x0": 1.0, "v": 2.0}  # what is drawn as white; its negative is black
SYMBOL = {"eps": "ε", "x0": "$x_0$", "v": "v"}


class Denoising(Widget):
    """Drag t; see x_t, the target, the best prediction, its error, and what each loss makes of it.

    The prediction is the `Oracle` of a finite set of images, computed in the browser: no network
    has a smaller loss on that set. The schedule is the paper's, sigma_t^2 is beta_t.

    Args:
        images: the finite set, [N, 1, H, W] in [-1, 1] with 17 levels; a third of the training
            digits when not given.
        pictures: name -> image [1, 1, H, W] to choose as x_0; three digits of the set and two
            that were held out when not given.
        settings: the first values of `t`, `objective`, `picture`, `seed`.

    Raises:
        traitlets.TraitError: a setting out of its range.
        ValueError: no images or pictures, or one of another shape.
    """

    _esm = esm("denoising.js")
    t = traitlets.Int(250, min=1, max=1000).tag(sync=True)
    objective = traitlets.Enum(["eps", "x0", "v"], "eps").tag(sync=True)
    picture = traitlets.Unicode().tag(sync=True)
    seed = traitlets.Int(0, min=0, max=2**31 - 1).tag(sync=True)
    _names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    _size = traitlets.List(traitlets.Int()).tag(sync=True)  # height, width
    _pixels = traitlets.Bytes().tag(sync=True)  # the pictures, then the set

    def __init__(
        self,
        images: Float[Tensor, "N 1 H W"] | None = None,
        pictures: dict[str, Float[Tensor, "1 1 H W"]] | None = None,
        **settings: Any,
    ):
        if images is None:
            images = digits()[0][::3]
        if images.ndim != 4 or len(images) == 0 or images.shape[1] != 1:
            raise ValueError(f"images must have shape (N, 1, H, W), got {tuple(images.shape)}")
        if pictures is None:
            pictures = _some_digits()
        if not pictures:
            raise ValueError("pictures must name at least one image, got none")
        for name, image in pictures.items():
            if image.shape != images[:1].shape:
                raise ValueError(
                    f"picture {name!r} must have shape {tuple(images[:1].shape)}, "
                    f"got {tuple(image.shape)}"
                )
        every = torch.cat([*pictures.values(), images])
        settings.setdefault("picture", next(iter(pictures)))
        super().__init__(
            _names=list(pictures),
            _size=list(images.shape[2:]),
            _pixels=from_model_range(every, LEVELS).byte().numpy().tobytes(),
            **settings,
        )

    @traitlets.validate("picture")
    def _known(self, proposal: Any) -> str:
        if proposal["value"] not in self._names:
            raise traitlets.TraitError(
                f"picture must be one of {', '.join(self._names)}, got {proposal['value']!r}"
            )
        return proposal["value"]

    @property
    def diffusion(self) -> GaussianDiffusion:
        """The process that the widget shows: the paper's schedule, the chosen objective."""
        return GaussianDiffusion(linear_schedule(), cast(Objective, self.objective), levels=LEVELS)

    @property
    def images(self) -> Float[Tensor, "N 1 H W"]:
        """The finite set, in float64."""
        return self._every()[len(self._names) :]

    @property
    def x0(self) -> Float[Tensor, "1 1 H W"]:
        """The picture chosen, in float64."""
        return self._every()[self._names.index(self.picture)][None]

    @property
    def eps(self) -> Float[Tensor, "1 1 H W"]:
        """The noise, in float64."""
        return torch.from_numpy(normals(self.seed, self.x0.numel())).view(self.x0.shape)

    @property
    def xt(self) -> Float[Tensor, "1 1 H W"]:
        """What a network would see."""
        return self.diffusion.q_sample(self.x0, self.t, self.eps)

    @property
    def target(self) -> Float[Tensor, "1 1 H W"]:
        """What it should say."""
        d = self.diffusion
        return d.target(d.objective, self.x0, self.xt, self.eps, self.t)

    @property
    def prediction(self) -> Float[Tensor, "1 1 H W"]:
        """What the oracle of the set says."""
        return self._answer(self.xt, self.t)

    def errors(self, times: list[int]) -> list[float]:
        """The mean squared error of the prediction at each t, for this picture and noise."""
        answer, d = self._answer, self.diffusion
        return [d.p_losses(answer, self.x0, t, self.eps).item() for t in times]

    def still(self) -> Figure:
        """Input, target, prediction, error; weights and errors over t, at the present settings."""
        figure, (seen, wanted, said, off, weights, errors) = plots.panels(6)
        scale, symbol = SCALE[self.objective], SYMBOL[self.objective]
        plots.image(seen, self.xt[0], f"the input $x_t$ at t = {self.t}")
        plots.image(wanted, self.target[0] / scale, f"the target {symbol}")
        plots.image(said, self.prediction[0] / scale, "the prediction")
        plots.image(off, (self.prediction - self.target)[0] / scale, "the error")
        steps = np.arange(1, 1001)
        d = self.diffusion
        both = {"of L": d.loss_weight("variational"), "of $L_{simple}$": d.loss_weight("simple")}
        curves = {name: w[1:] for name, w in both.items()}
        plots.lines(weights, steps, curves, "step t", "weight", yscale="log")
        times = [1, *range(20, 1001, 20)]
        curve = {"squared error": self.errors(times)}
        plots.lines(errors, times, curve, "step t", "squared error")
        errors.set_yscale("symlog", linthresh=1e-3)
        for ax in (weights, errors):
            ax.axvline(self.t, color=plots.COLORS[1], linestyle="--", linewidth=1.2)
        return figure

    def _every(self) -> Tensor:
        flat = np.frombuffer(self._pixels, np.uint8).astype(np.int64)
        x = to_model_range(torch.from_numpy(flat), LEVELS, torch.float64)
        return x.view(-1, 1, *self._size)

    def _answer(self, xt: Tensor, t: int | Tensor) -> Tensor:
        t = int(t)
        d = self.diffusion
        return d.convert(Oracle(d.schedule, self.images)(xt, t), xt, t, "eps", d.objective)


def _some_digits() -> dict[str, Tensor]:
    (own, labels), (other, other_labels) = digits(), digits("test")
    inside = {f"a {labels[i]} of the set": own[i : i + 1] for i in (3, 6, 12)}
    outside = {f"a {other_labels[i]} held out": other[i : i + 1] for i in (0, 1)}
    return inside | outside
