"""The forward process to drag: t, the betas, T and the kind of schedule."""

from typing import Any

import numpy as np
import torch
import traitlets
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from ddpm_lite import plots
from ddpm_lite.diffusion import GaussianDiffusion
from ddpm_lite.images.data import digits, from_model_range, photograph, to_model_range
from ddpm_lite.schedule import NoiseSchedule, cosine_schedule, linear_schedule
from ddpm_lite.widgets.base import Widget, esm
from ddpm_lite.widgets.noise import normals

__all__ = ["ForwardProcess"]

LEVELS = {1: 17, 3: 256}  # grey levels of the digits, levels of a photograph


class ForwardProcess(Widget):
    """Drag t, beta_1, beta_T, T and the kind of schedule; see x_t, its pixels, alpha_bar and SNR.

    The browser computes everything, so the widget works on a static page too. In a notebook
    each setting is a trait to read, set and observe: `widget.t = 300`.

    Args:
        pictures: name -> image [1, C, H, W] in [-1, 1], grey with 17 levels or colour with 256;
            a digit and a flower when not given.
        settings: the first values of `t`, `T`, `beta_start`, `beta_end`, `kind`, `seed`.

    Raises:
        traitlets.TraitError: a setting out of its range.
        ValueError: no pictures, or one of another shape.
    """

    _esm = esm("forward.js")
    t = traitlets.Int(200, min=0).tag(sync=True)
    T = traitlets.Int(1000, min=1, max=1000).tag(sync=True)
    beta_start = traitlets.Float(1e-4, min=1e-5, max=0.98).tag(sync=True)
    beta_end = traitlets.Float(0.02, min=1e-5, max=0.98).tag(sync=True)
    kind = traitlets.Enum(["linear", "cosine"], "linear").tag(sync=True)
    seed = traitlets.Int(0, min=0, max=2**31 - 1).tag(sync=True)
    picture = traitlets.Unicode().tag(sync=True)
    _pictures = traitlets.List(traitlets.Dict()).tag(sync=True)
    _pixels = traitlets.Bytes().tag(sync=True)

    def __init__(
        self, pictures: dict[str, Float[Tensor, "1 _ _ _"]] | None = None, **settings: Any
    ):
        if pictures is None:
            pictures = {"digit": digits()[0][:1], "flower": photograph(96)}
        if not pictures:
            raise ValueError("pictures must name at least one image, got none")
        table, pixels = [], b""
        for name, image in pictures.items():
            if image.ndim != 4 or len(image) != 1 or image.shape[1] not in LEVELS:
                raise ValueError(
                    f"picture {name!r} must have shape (1, 1 or 3, H, W), got {tuple(image.shape)}"
                )
            _, channels, height, width = image.shape
            levels = LEVELS[channels]
            size = {"height": height, "width": width, "channels": channels}
            table.append({"name": name, "levels": levels, **size})
            pixels += from_model_range(image[0].permute(1, 2, 0), levels).byte().numpy().tobytes()
        settings.setdefault("picture", table[0]["name"])
        super().__init__(_pictures=table, _pixels=pixels, **settings)

    @traitlets.validate("picture")
    def _known(self, proposal: Any) -> str:
        names = [p["name"] for p in self._pictures]
        if proposal["value"] not in names:
            raise traitlets.TraitError(
                f"picture must be one of {', '.join(names)}, got {proposal['value']!r}"
            )
        return proposal["value"]

    @property
    def schedule(self) -> NoiseSchedule:
        """The schedule that the widget shows now."""
        if self.kind == "cosine":
            return cosine_schedule(self.T)
        return linear_schedule(self.T, self.beta_start, self.beta_end)

    @property
    def x0(self) -> Float[Tensor, "1 C H W"]:
        """The picture chosen, in float64."""
        start = 0
        for p in self._pictures:
            n = p["height"] * p["width"] * p["channels"]
            if p["name"] == self.picture:
                flat = np.frombuffer(self._pixels, np.uint8, n, start).astype(np.int64)
                x = to_model_range(torch.from_numpy(flat), p["levels"], torch.float64)
                return x.view(1, p["height"], p["width"], p["channels"]).permute(0, 3, 1, 2)
            start += n
        raise AssertionError("the validator admits known names only")

    @property
    def xt(self) -> Float[Tensor, "1 C H W"]:
        """x_t as the widget shows it, [1, C, H, W] in float64."""
        x0 = self.x0
        if self.t == 0:
            return x0
        # The browser draws its noise pixel by pixel, colours last.
        eps = torch.from_numpy(normals(self.seed, x0.numel()))
        eps = eps.view(1, *x0.shape[2:], -1).permute(0, 3, 1, 2)
        return GaussianDiffusion(self.schedule).q_sample(x0, min(self.t, self.T), eps)

    def still(self) -> Figure:
        """x_t, its pixels against N(0, 1), alpha_bar and the SNR, at the present settings."""
        figure, (picture, pixels, kept, ratio) = plots.panels(4)
        t, s = min(self.t, self.T), self.schedule
        steps = np.arange(s.T + 1)
        plots.image(picture, self.xt[0], f"$x_t$ at t = {t} of {s.T}")
        plots.histograms(pixels, {"$x_t$": self.xt.flatten()}, "pixel value", xlim=(-4, 4))
        pixels.legend_ = None  # there is no room for it
        pixels.set_title("its pixels; dashed, N(0, 1)", fontsize=10)
        plots.lines(kept, steps, {"alpha-bar": s.alpha_bar}, "step t", "alpha-bar")
        plots.lines(ratio, steps[1:], {"SNR": s.snr[1:]}, "step t", "SNR", yscale="log")
        for ax in (kept, ratio):
            ax.axvline(t, color=plots.COLORS[1], linestyle="--", linewidth=1.2)
        return figure
