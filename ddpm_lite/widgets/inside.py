"""Inside a U-Net, over t: where its middle looks, and what some channels of its layers hold."""

import functools
import math
from typing import Any

import numpy as np
import torch
import traitlets
from einops import rearrange
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from ddpm_lite import plots
from ddpm_lite.diffusion import GaussianDiffusion
from ddpm_lite.images.data import digits
from ddpm_lite.runs.checkpoints import load
from ddpm_lite.schedule import spaced_times
from ddpm_lite.unet import UNet
from ddpm_lite.widgets.base import Widget, esm
from ddpm_lite.widgets.layers import Inside, look_inside

__all__ = ["InsideUNet"]

MOST = 220_000  # bytes of a recording: a page holds them as text, a third longer
MAPS = 8  # channels shown of a layer


@functools.cache
def _of_digits(stops: int, seed: int) -> tuple[Inside, list[str]]:
    """The book's own network on a few digits held out of its training: once in a session."""
    network, diffusion = load("digits")
    x0, labels = digits("test")
    places = [int((labels == label).nonzero()[0]) for label in (3, 0, 4)]
    inside = look_inside(network, diffusion, x0[places], _times(diffusion, stops), seed)
    return inside, [f"a {labels[place]}" for place in places]


class InsideUNet(Widget):
    """Scrub a U-Net through t: where its middle looks from a cell, and some of its feature maps.

    A browser has no network to ask, so the network is run when the widget is made, and kept in
    eight bits a value. In a notebook `stop`, `picture`, `layer` and `query` are traits.

    Args:
        network, diffusion, x0: whose layers to show on which pictures [B, 1, H, W]; the digits
            network of the book and three test digits when not given.
        stops: how many times to keep, evenly spaced, beside t = 1.
        seed: of the noise.
        settings: the first values of `stop`, from 0 (t = 1) to `stops`; `picture` and `layer`,
            from 0; and `query`, the cell that looks, from 0 row by row.

    Raises:
        traitlets.TraitError: a setting out of its range.
        ValueError: only some of network, diffusion and x0; pictures in colours; or a recording
            too large for a page.
    """

    _esm = esm("inside.js")
    stop = traitlets.Int(0, min=0).tag(sync=True)
    picture = traitlets.Int(0, min=0).tag(sync=True)
    layer = traitlets.Int(0, min=0).tag(sync=True)
    query = traitlets.Int(0, min=0).tag(sync=True)
    _times = traitlets.List(traitlets.Int()).tag(sync=True)
    _names = traitlets.List(traitlets.Unicode()).tag(sync=True)  # of the pictures
    _layers: Any = traitlets.List().tag(sync=True)  # name, maps, height, width
    _size = traitlets.List(traitlets.Int()).tag(sync=True)  # height, width of x_t
    _grid = traitlets.List(traitlets.Int()).tag(sync=True)  # height, width of the middle
    _limits = traitlets.List(traitlets.Float()).tag(sync=True)  # of x_t and eps_hat
    _pictures = traitlets.Bytes().tag(sync=True)  # x_t, then eps_hat
    _attention = traitlets.Bytes().tag(sync=True)
    _features = traitlets.Bytes().tag(sync=True)  # layer by layer

    def __init__(
        self,
        network: UNet | None = None,
        diffusion: GaussianDiffusion | None = None,
        x0: Float[Tensor, "B C H W"] | None = None,
        stops: int = 25,
        *,
        seed: int = 0,
        **settings: Any,
    ):
        given = {"network": network, "diffusion": diffusion, "x0": x0}
        if network is not None and diffusion is not None and x0 is not None:
            if x0.shape[1] != 1:
                raise ValueError(f"pictures must have one channel, got {x0.shape[1]}")
            inside = look_inside(network, diffusion, x0, _times(diffusion, stops), seed)
            names = [str(i + 1) for i in range(len(x0))]
        elif all(value is None for value in given.values()):
            inside, names = _of_digits(stops, seed)
        else:
            missing = next(name for name, value in given.items() if value is None)
            raise ValueError(f"network, diffusion and x0 belong together, got no {missing}")
        pictures = inside.xt, inside.eps_hat
        limits = [max(1.0, x.abs().max().item()) for x in pictures]
        shown = {name: most_varied(x, MAPS) for name, x in inside.features.items()}
        parts = [x / limit for x, limit in zip(pictures, limits, strict=True)]
        B, S = inside.attention.shape[:2]
        _, _, _, H, W = inside.xt.shape
        h, w = inside.features[next(n for n in shown if n.startswith("middle"))].shape[-2:]
        state = {
            "_pictures": b"".join(map(signed, parts)),
            "_attention": (255 * inside.attention).round().byte().numpy().tobytes(),
            "_features": b"".join(map(signed, shown.values())),
        }
        if (size := sum(map(len, state.values()))) > MOST:
            raise ValueError(
                f"a recording of {size:,} bytes is more than {MOST:,}: take fewer pictures or stops"
            )
        self._counts = {"stop": S, "picture": B, "layer": len(shown), "query": h * w}
        super().__init__(
            _times=inside.times,
            _names=names,
            _layers=[[name, *x.shape[2:]] for name, x in shown.items()],
            _size=[H, W],
            _grid=[h, w],
            _limits=limits,
            **state,
            **settings,
        )

    @traitlets.validate("stop", "picture", "layer", "query")
    def _within(self, proposal: Any) -> int:
        name, value = proposal["trait"].name, proposal["value"]
        if value >= self._counts[name]:
            last = self._counts[name] - 1
            raise traitlets.TraitError(f"{name} must lie in 0..{last}, got {value}")
        return value

    @property
    def inside(self) -> Inside:
        """What the browser has, to eight bits; a channel in multiples of its largest value."""
        B, S = self._counts["picture"], self._counts["stop"]
        pictures = unsigned(self._pictures).reshape(2, B, S, 1, *self._size)
        xt, eps_hat = pictures * torch.tensor(self._limits).view(2, 1, 1, 1, 1, 1)
        stored = torch.frombuffer(bytearray(self._attention), dtype=torch.uint8)
        attention = stored.double().view(B, S, self._counts["query"], -1) / 255
        sizes = [B * S * math.prod(shape) for _, *shape in self._layers]
        every = unsigned(self._features).split(sizes)
        features = {
            name: x.view(B, S, *shape)
            for (name, *shape), x in zip(self._layers, every, strict=True)
        }
        return Inside(self._times, xt, eps_hat, attention, features)

    def still(self) -> Figure:
        """x_t, where the cell looks, over how many cells, eps_hat and the maps of the layer."""
        r, i, b, n = self.inside, self.stop, self.picture, self.query
        weights = r.attention[b, i, n]
        figure, (seen, looks, spreads, noise, maps) = plots.panels(5)
        plots.image(seen, r.xt[b, i], f"$x_t$ at t = {r.times[i]}")
        plots.image(looks, (2 * weights / weights.max() - 1).view(1, *self._grid), "where it looks")
        for ax in (seen, looks):
            self._mark(ax)
        plots.image(noise, r.eps_hat[b, i] / 2, r"the noise $\hat{\varepsilon}$ that it names")
        curves = {"this cell": spread(r.attention[b, :, n])}
        curves["mean of all"] = spread(r.attention[b]).mean(1)
        plots.lines(spreads, r.times, curves, "step t", "cells looked at", ylim=(0, len(weights)))
        spreads.axvline(r.times[i], color=plots.INK, linestyle="--", linewidth=1.2)
        name = self._layers[self.layer][0]
        tiles = nn.functional.pad(r.features[name][b, i], (1, 1, 1, 1), value=1)
        mosaic = rearrange(tiles, "(r c) h w -> 1 (r h) (c w)", c=min(4, len(tiles)))
        plots.image(maps, mosaic, f"channels of: {name}")
        return figure

    def _mark(self, ax: Axes) -> None:
        """Outline the cell that looks, on a picture of any resolution."""
        row, column = divmod(self.query, self._grid[1])
        right, bottom = ax.get_xlim()[1] + 0.5, ax.get_ylim()[0] + 0.5
        width, height = right / self._grid[1], bottom / self._grid[0]
        corner = column * width - 0.5, row * height - 0.5
        outline = Rectangle(corner, width, height, fill=False, ec=plots.COLORS[1], lw=2)
        ax.add_patch(outline)


def _times(diffusion: GaussianDiffusion, stops: int) -> list[int]:
    return sorted({1, *spaced_times(diffusion.T, stops)})


def most_varied(x: Float[Tensor, "B S C h w"], count: int) -> Float[Tensor, "B S c h w"]:
    """The channels that vary most over pixels, by their share of energy, each scaled to [-1, 1]."""
    rows = x.movedim(2, 0).flatten(1)
    varied = x.var(dim=(-2, -1)).mean(dim=(0, 1)) / rows.square().mean(1).clamp(min=1e-12)
    chosen = varied.argsort(descending=True, stable=True)[:count].sort().values
    limits = rows.abs().amax(1).clamp(min=1e-12)[chosen]
    return x[:, :, chosen] / limits.view(-1, 1, 1)


def spread(weights: Float[Tensor, "*B N"]) -> Float[Tensor, "*B"]:
    """Over how many places the weights are spread: the exponential of their entropy, 1 to N."""
    shares = weights / weights.sum(-1, keepdim=True)
    return torch.special.entr(shares).sum(-1).exp()


def signed(values: Tensor) -> bytes:
    """-1..1 in the 256 steps of a byte, the first axis slowest."""
    return ((values + 1) * 127.5).round().clamp(0, 255).byte().numpy().tobytes()


def unsigned(stored: bytes) -> Tensor:
    """What `signed` took, to 1 / 255, in one row."""
    return torch.tensor(np.frombuffer(stored, np.uint8).astype(np.float64)) / 127.5 - 1
