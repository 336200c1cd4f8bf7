"""A sampler to take apart while it draws: in the browser, or on PyTorch where there is a kernel."""

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import torch
import traitlets
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from ddpm_lite import plots
from ddpm_lite.diffusion import GaussianDiffusion, Variance, device_of
from ddpm_lite.guidance import guided
from ddpm_lite.images.grids import grid
from ddpm_lite.runs.checkpoints import load
from ddpm_lite.samplers import ddim, ddpm
from ddpm_lite.schedule import spaced_times
from ddpm_lite.unet import UNet
from ddpm_lite.widgets.base import HERE, Widget, esm, style
from ddpm_lite.widgets.noise import normals

__all__ = ["Frame", "Sampler", "walk"]


class Frame(NamedTuple):
    """What a chain is at t: x_t, and what the network makes of it; at 0 the image itself."""

    t: int
    xt: Float[Tensor, "B C H W"]
    x0_hat: Float[Tensor, "B C H W"]
    eps_hat: Float[Tensor, "B C H W"]


class LabelledFrame(NamedTuple):
    """The same of a network with classes, and the noise that it sees with the label and without.

    Neither of the two is clipped.
    """

    t: int
    xt: Float[Tensor, "B C H W"]
    x0_hat: Float[Tensor, "B C H W"]
    eps_hat: Float[Tensor, "B C H W"]
    eps_label: Float[Tensor, "B C H W"]
    eps_none: Float[Tensor, "B C H W"]


def step_noise(seed: int, i: int, shape: tuple[int, ...]) -> Float[Tensor, "*D"]:
    """The noise of step i, in float64, the same as in a browser; 0 is what a chain begins with."""
    n = math.prod(shape)
    return torch.from_numpy(normals((seed + 0x9E3779B1 * i) % 2**32, n)).view(shape)


def stops(T: int, steps: int, first: int) -> list[int]:
    """The times at which a chain stops that begins at `first`, with its share of all the steps."""
    return spaced_times(first, max(1, math.ceil(steps * first / T)))


def walk(
    model: UNet,
    diffusion: GaussianDiffusion,
    images: int,
    *,
    sampler: str = "ddim",
    steps: int = 50,
    eta: float = 0.0,
    variance: Variance = "beta",
    clip: bool = True,
    seed: int = 0,
    drawing: Float[Tensor, "C H W"] | None = None,
    t_start: int | None = None,
    label: int | None = None,
    scale: float = 1.0,
) -> Iterator[Frame | LabelledFrame]:
    """`ddpm` or `ddim` with the browser's noise and every eps_hat; the last frame is at t = 0.

    Args:
        model: a `UNet`, on the device where sampling is to happen; with classes, the frames are
            `LabelledFrame`s.
        diffusion: with the whole chain.
        images: how many chains, each with its own noise.
        sampler, steps, eta, variance, clip: as for the samplers; "ddpm" too takes `steps`.
        seed: of all the noise.
        drawing: in [-1, 1]; noised to t_start, it is where the chains begin.
        t_start: in 1..T.
        label, scale: of a network with classes, as for `guided`; the last class when not given.
    """
    shape = (images, model.channels, model.size, model.size)
    first = diffusion.T if drawing is None or t_start is None else t_start
    times = stops(diffusion.T, steps, first)
    # Step i leaves the chain's i-th stop; 0 is what the chain begins with.
    number = {first: 0} | {t: i for i, t in enumerate([0, *times[:-1]], start=1)}

    def noise(t: int) -> Tensor:
        return step_noise(seed, number[t], shape).to(device_of(model), torch.float32)

    labels = _labels(model, images, label)
    ask = model if labels is None else guided(model, labels, scale)
    x = noise(first)
    if drawing is not None:
        x = diffusion.q_sample(drawing.to(x).expand(shape), first, x)
    options: dict[str, Any] = {"clip": clip, "start": x, "t_start": first, "noise": noise}
    if sampler == "ddpm":
        chain = replace(diffusion, variance=variance).subsequence(times)
        walk = ddpm(chain, ask, shape, **options)
    else:
        walk = ddim(diffusion, ask, shape, steps=times, eta=eta, **options)
    t = first
    for step in walk:
        frame = Frame(t, x, step.x0_hat, step.eps_hat)
        if labels is None:
            yield frame
        else:
            yield LabelledFrame(*frame, *_apart(model, diffusion, x, t, labels))
        t, x = step.t, step.xt
    none = torch.zeros_like(x)
    last = Frame(0, x, x, none)
    yield last if labels is None else LabelledFrame(*last, none, none)


def _labels(model: UNet, images: int, label: int | None) -> Tensor | None:
    """The label of each image; None for a network without classes."""
    if model.classes is None:
        if label is not None:
            raise ValueError(f"a label needs a network with classes, got {label} for one without")
        return None
    return torch.full((images,), model.classes - 1 if label is None else label)


@torch.no_grad()
def _apart(
    model: UNet, diffusion: GaussianDiffusion, x: Tensor, t: int, labels: Tensor
) -> tuple[Tensor, ...]:
    """eps_hat of x_t with the labels, and without."""
    labels = labels.to(device_of(model))
    twice = torch.cat([labels, torch.full_like(labels, model.classes - 1)])  # type: ignore[operator]
    said = model(torch.cat([x, x]), torch.full_like(twice, t), labels=twice)
    if model.learned_variance:
        said = said.chunk(2, dim=1)[0]
    return tuple(
        diffusion.convert(output, x, t, diffusion.objective, "eps") for output in said.chunk(2)
    )


class Sampler(Widget):
    """Draw by DDPM or DDIM and take it apart: pause, step, scrub; begin with a drawing of yours.

    On a published page the shipped digits network runs in the browser, loaded when the reader asks
    for it. In a notebook with a kernel, any eps-network runs on PyTorch, on the GPU if there is
    one. The same seed draws the same images in both, up to the weights' rounding to float16.

    Args:
        model, diffusion: what to sample from; the digits network of the book when not given, on
            the GPU if there is one. A model of your own stays on its device.
        settings: the first values of `sampler` ("ddpm" or "ddim"), `steps`, `eta`, `variance`
            ("beta" or "beta_tilde"), `clip`, `seed`, `images` (1, 4, 9 or 16), `start` ("noise" or
            "drawing"), `t_start`, and `drawing`, the pad's pixels in [-1, 1], row by row.

    Raises:
        traitlets.TraitError: a setting out of its range.
        ValueError: a model without its diffusion, or one of a kind that the chain here does not
            know.
    """

    _esm = esm("sampler.js")
    _css = style + (HERE / "sampler.css").read_text(encoding="utf-8")
    sampler = traitlets.Enum(["ddpm", "ddim"], "ddim").tag(sync=True)
    steps = traitlets.Int(50, min=1).tag(sync=True)
    eta = traitlets.Float(0.0, min=0.0, max=1.0).tag(sync=True)
    variance = traitlets.Enum(["beta", "beta_tilde"], "beta").tag(sync=True)
    clip = traitlets.Bool(True).tag(sync=True)
    seed = traitlets.Int(0, min=0, max=2**31 - 1).tag(sync=True)
    images = traitlets.Enum([1, 4, 9, 16], 4).tag(sync=True)
    start = traitlets.Enum(["noise", "drawing"], "noise").tag(sync=True)
    t_start = traitlets.Int(500, min=1).tag(sync=True)
    drawing = traitlets.List(traitlets.Float(min=-1.0, max=1.0)).tag(sync=True)
    _name = traitlets.Unicode().tag(sync=True)  # of what a page without a kernel loads
    _T = traitlets.Int().tag(sync=True)
    _shape = traitlets.List(traitlets.Int()).tag(sync=True)  # channels, height, width
    shipped = "digits"
    """The weights of the package that are sampled from where no others are given."""

    def __init__(
        self,
        model: UNet | None = None,
        diffusion: GaussianDiffusion | None = None,
        **settings: Any,
    ):
        if (model is None) != (diffusion is None):
            given, missing = ("model", "diffusion") if diffusion is None else ("diffusion", "model")
            raise ValueError(f"a {given} needs its {missing}, got None")
        name = ""
        if model is None or diffusion is None:
            name, (model, diffusion) = self.shipped, load(self.shipped)
            model = model.to("cuda" if torch.cuda.is_available() else "cpu")
        if model.channels not in (1, 3):
            raise ValueError(f"images must have 1 or 3 channels, got {model.channels}")
        self._suits(model, diffusion, settings)
        if diffusion.times[-1] != diffusion.T:
            raise ValueError(f"give the whole chain, not {diffusion.T} of {diffusion.times[-1]}")
        self.model, self.diffusion = model, diffusion
        self._under_way: tuple[str, Iterator[Frame | LabelledFrame]] | None = None
        shape = [model.channels, model.size, model.size]
        settings.setdefault("drawing", [-1.0] * math.prod(shape))
        for key, value in (("steps", 50), ("t_start", max(1, diffusion.T // 2))):
            settings.setdefault(key, min(value, diffusion.T))
        super().__init__(_name=name, _T=diffusion.T, _shape=shape, **settings)
        self.on_msg(self._answer)

    def _suits(self, model: UNet, diffusion: GaussianDiffusion, settings: dict[str, Any]) -> None:
        """Refuse what the chain here does not know."""
        if diffusion.variance == "learned" or diffusion.self_condition or model.classes:
            raise ValueError("the network must be without learned variance, x0_hat and labels")

    @traitlets.validate("steps", "t_start")
    def _within(self, proposal: Any) -> int:
        name, value = proposal["trait"].name, proposal["value"]
        if value > self.diffusion.T:
            raise traitlets.TraitError(f"{name} must lie in 1..{self.diffusion.T}, got {value}")
        return value

    @traitlets.validate("drawing")
    def _whole(self, proposal: Any) -> list[float]:
        count = self.model.channels * self.model.size**2
        if len(proposal["value"]) != count:
            raise traitlets.TraitError(
                f"drawing must hold {count} numbers, got {len(proposal['value'])}"
            )
        return proposal["value"]

    def walk(self) -> Iterator[Frame | LabelledFrame]:
        """The chain at the present settings, on PyTorch: a frame at each stop, the last at 0."""
        return self._walk()

    def _walk(self, **asked: Any) -> Iterator[Frame | LabelledFrame]:
        drawing = torch.tensor(self.drawing).view(self._shape) if self.start == "drawing" else None
        settings = {key: getattr(self, key) for key in ("sampler", "steps", "eta", "variance")}
        return walk(
            self.model, self.diffusion, self.images, **settings,
            clip=self.clip, seed=self.seed, drawing=drawing, t_start=self.t_start, **asked,
        )  # fmt: skip

    def still(self) -> Figure:
        """x_t, x0_hat and eps_hat halfway, and the samples, at the present settings."""
        frames = list(self.walk())
        half, end = frames[len(frames) // 2], frames[-1]
        figure, axes = plots.panels(4)
        for ax, images, title in zip(
            axes,
            (half.xt, half.x0_hat, half.eps_hat, end.xt),
            (f"$x_t$ at t = {half.t}", r"the guess $\hat{x}_0$", r"the noise $\hat{\varepsilon}$",
             "the samples"),
            strict=True,
        ):  # fmt: skip
            plots.image(ax, grid(images).movedim(-1, 0) / 127.5 - 1, title)
        return figure

    def _answer(self, _: Any, asked: dict[str, Any], buffers: Any) -> None:
        """What the browser asks of a kernel: to begin a chain, or to go on for some milliseconds.

        The answers are those of the browser's own engine, `ddpm_lite/javascript/engine/`.
        """
        try:
            told, data = self._begin(asked) if asked["do"] == "begin" else self._next(asked)
        except Exception as error:  # whatever it was, the reader is told, and nothing waits
            told, data = {"error": f"{type(error).__name__}: {error}"}, []
        self.send(told | {"id": asked["id"]}, data)

    def _asked(self, message: dict[str, Any]) -> Iterator[Frame | LabelledFrame]:
        return self.walk()

    def _begin(self, asked: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        self._under_way = asked["chain"], self._asked(asked)
        first = self.t_start if self.start == "drawing" else self.diffusion.T
        times = [0, *stops(self.diffusion.T, self.steps, first)][::-1]
        alpha_bar = self.diffusion.schedule.alpha_bar[times].tolist()
        device = device_of(self.model)
        place = torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"
        told = {"times": times, "alphaBar": alpha_bar, "shape": [self.images, *self._shape]}
        return told | {"where": f"by PyTorch on {place}"}, []

    def _next(self, asked: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        if self._under_way is None or self._under_way[0] != asked["chain"]:
            return {"error": "another view of this widget took over; press the button again"}, []
        begun, times, data = time.perf_counter(), [], []
        while True:
            frame = next(self._under_way[1])
            times.append(frame.t)
            data.append(torch.stack(frame[1:]).float().cpu().numpy().tobytes())
            spent = (time.perf_counter() - begun) * 1000
            if frame.t == 0 or spent >= asked["ms"]:
                break
        steps = len(times) - (times[-1] == 0)
        return {"frames": times, "done": times[-1] == 0, "ms": spent, "steps": steps}, data
