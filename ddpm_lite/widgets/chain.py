"""The reverse chain to scrub: x_t, the guess x0_hat and the noise eps_hat, from noise to image."""

import functools
from typing import Any, NamedTuple

import numpy as np
import torch
import traitlets
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from ddpm_lite import plots
from ddpm_lite.diffusion import GaussianDiffusion, Model, device_of
from ddpm_lite.runs.checkpoints import load
from ddpm_lite.samplers import ddpm
from ddpm_lite.schedule import spaced_times
from ddpm_lite.widgets.base import Widget, esm

__all__ = ["Recording", "ReverseChain", "record"]

MOST = 220_000  # bytes of a recording: a page holds them as text, a third longer


class Recording(NamedTuple):
    """What a reverse chain was at some of its times, the first of them T and the last 0.

    At each, x_t = sqrt(alpha_bar_t) x0_hat + sqrt(1 - alpha_bar_t) eps_hat. At 0 the guess is the
    image itself and no noise is left.
    """

    times: list[int]
    alpha_bar: list[float]
    xt: Float[Tensor, "S B C H W"]
    x0_hat: Float[Tensor, "S B C H W"]
    eps_hat: Float[Tensor, "S B C H W"]


def record(
    model: Model,
    diffusion: GaussianDiffusion,
    shape: tuple[int, int, int, int],
    stops: int = 50,
    *,
    clip: bool = True,
    seed: int = 0,
) -> Recording:
    """Run `ddpm` once, and keep what the chain was at `stops` evenly spaced times and at 0.

    Args:
        model, diffusion, clip: as for `ddpm`.
        shape: [B, C, H, W] of the samples.
        stops: how many times to keep, 0 not counted.
        seed: of all the noise.

    Raises:
        ValueError: stops outside 1..T.
    """
    places = [0, *spaced_times(diffusion.T, stops)]
    times = [diffusion.times[place] for place in places]
    device = device_of(model)
    generator = torch.Generator(device).manual_seed(seed)
    t, xt = times[-1], torch.randn(shape, generator=generator, device=device)
    kept = []
    for step in ddpm(diffusion, model, shape, clip=clip, start=xt, generator=generator):
        if t in times:
            kept.append((xt, step.x0_hat, step.eps_hat))
        t, xt = step.t, step.xt
    kept.append((xt, xt, torch.zeros_like(xt)))
    frames = (torch.stack(values).cpu() for values in zip(*kept, strict=True))
    alpha_bar = diffusion.schedule.alpha_bar[places].flip(0).tolist()
    return Recording(times[::-1], alpha_bar, *frames)


@functools.cache
def _digits(chains: int, stops: int, clip: bool, seed: int) -> Recording:
    """Of the book's own network: the same every time, so it walks once in a session."""
    return record(*load("digits"), (chains, 1, 8, 8), stops, clip=clip, seed=seed)


class ReverseChain(Widget):
    """Scrub a reverse chain from noise to image: x_t, the guess x0_hat, and the noise eps_hat.

    A browser has no network to ask, so Algorithm 2 is run when the widget is made, and kept at
    some of its times in eight bits a pixel. What is computed from that, the browser computes. In a
    notebook `stop` and `chain` are traits to read, set and observe.

    Args:
        model, diffusion: whose chains to record; the digits network of the book when not given.
        shape: [B, C, H, W] of the samples, grey or in colours.
        stops: how many times to keep, 0 not counted.
        clip: hold x0_hat in [-1, 1].
        seed: of the noise.
        settings: the first values of `stop`, from 0 (all noise) to `stops`, and `chain`, from 0.

    Raises:
        traitlets.TraitError: a setting out of its range.
        ValueError: a model without its diffusion, or a recording too large for a page.
    """

    _esm = esm("chain.js")
    stop = traitlets.Int(0, min=0).tag(sync=True)
    chain = traitlets.Int(0, min=0).tag(sync=True)
    _times = traitlets.List(traitlets.Int()).tag(sync=True)
    _alpha_bar = traitlets.List(traitlets.Float()).tag(sync=True)
    _limits = traitlets.List(traitlets.Float()).tag(sync=True)
    _shape = traitlets.List(traitlets.Int()).tag(sync=True)
    _frames = traitlets.Bytes().tag(sync=True)

    def __init__(
        self,
        model: Model | None = None,
        diffusion: GaussianDiffusion | None = None,
        shape: tuple[int, int, int, int] = (4, 1, 8, 8),
        stops: int = 50,
        *,
        clip: bool = True,
        seed: int = 0,
        **settings: Any,
    ):
        if (model is None) != (diffusion is None):
            given, missing = ("model", "diffusion") if diffusion is None else ("diffusion", "model")
            raise ValueError(f"a {given} needs its {missing}, got None")
        B, C, H, W = shape
        if C not in (1, 3):
            raise ValueError(f"images must have 1 or 3 channels to be shown, got {C}")
        if (size := 3 * (stops + 1) * B * C * H * W) > MOST:
            raise ValueError(
                f"a recording of {size:,} bytes is more than {MOST:,}: take fewer chains or stops"
            )
        if model is not None and diffusion is not None:
            recording = record(model, diffusion, shape, stops, clip=clip, seed=seed)
        elif (C, H, W) == (1, 8, 8):
            recording = _digits(B, stops, clip, seed)
        else:
            raise ValueError(f"the digits network makes images of (1, 8, 8), got {(C, H, W)}")
        limits, frames = [], b""
        for values in recording[2:]:
            limit = max(1.0, values.abs().max().item())
            limits.append(limit)
            frames += pack(values.movedim(2, -1), limit)  # as the browser draws: colours last
        super().__init__(
            _times=recording.times,
            _alpha_bar=recording.alpha_bar,
            _limits=limits,
            _shape=[stops + 1, B, H, W, C],
            _frames=frames,
            **settings,
        )

    @traitlets.validate("stop", "chain")
    def _within(self, proposal: Any) -> int:
        name, value = proposal["trait"].name, proposal["value"]
        count = self._shape[0 if name == "stop" else 1]
        if value >= count:
            raise traitlets.TraitError(f"{name} must lie in 0..{count - 1}, got {value}")
        return value

    @property
    def recording(self) -> Recording:
        """What the browser has: the recording, to eight bits."""
        parts = np.frombuffer(self._frames, np.uint8).reshape(3, *self._shape)
        frames = [
            unpack(part, limit).movedim(-1, 2)
            for part, limit in zip(parts, self._limits, strict=True)
        ]
        return Recording(self._times, self._alpha_bar, *frames)

    def still(self) -> Figure:
        """x_t, x0_hat, eps_hat and both curves, at the present settings."""
        r, i, b = self.recording, self.stop, self.chain
        figure, (noisy, guess, noise, curves) = plots.panels(4)
        plots.image(noisy, r.xt[i, b], f"$x_t$ at t = {r.times[i]} of {r.times[0]}")
        plots.image(guess, r.x0_hat[i, b], r"the guess $\hat{x}_0$")
        plots.image(noise, r.eps_hat[i, b], r"the noise $\hat{\varepsilon}$")
        distances = {
            "$x_t$": from_end(r.xt[:, b], r.xt[-1, b]),
            r"$\hat{x}_0$": from_end(r.x0_hat[:, b], r.xt[-1, b]),
        }
        plots.lines(curves, r.times, distances, "step t", "off the end", xlim=(r.times[0], 0))
        curves.axvline(r.times[i], color=plots.INK, linestyle="--", linewidth=1.2)
        return figure


def pack(values: Float[Tensor, "*D"], limit: float) -> bytes:
    """-limit..limit in the 256 steps of a byte, the first axis slowest."""
    return ((values / limit + 1) * 127.5).round().clamp(0, 255).byte().numpy().tobytes()


def unpack(stored: np.ndarray, limit: float) -> Float[Tensor, "*D"]:
    """What `pack` took, to limit / 255."""
    return (torch.tensor(stored.astype(np.float64)) / 127.5 - 1) * limit


def from_end(values: Float[Tensor, "S *D"], end: Float[Tensor, "*D"]) -> Float[Tensor, " S"]:
    """The root mean square by which each of S images is off the end of the chain."""
    return (values - end).flatten(1).square().mean(1).sqrt()
