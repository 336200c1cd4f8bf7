"""Many images, shared out over however many processes there are: drawn, and measured.

What comes out does not depend on how many processes took part.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ddpm_lite._doors import door
from ddpm_lite.batches import derive_seed
from ddpm_lite.bound import elbo
from ddpm_lite.diffusion import GaussianDiffusion
from ddpm_lite.guidance import guided
from ddpm_lite.samplers import Noise, SampleStep, ddpm, sample
from ddpm_lite.system.processes import gather, rank, world

__all__ = ["Codelength", "CodelengthByClass", "codelength", "draw"]


@door
def draw(
    diffusion: GaussianDiffusion,
    network: nn.Module,
    n: int,
    shape: tuple[int, ...],
    sampler: Callable[..., Iterator[SampleStep]] = ddpm,
    *,
    batch: int = 256,
    seed: int = 0,
    progress: bool = False,
    labels: Int[Tensor, " labels"] | None = None,
    scale: float = 1.0,
    **options: Any,
) -> Float[Tensor, "n *D"]:
    """n samples, `[n, *shape]` on the CPU, in every process, of the network on its device.

    The noise of each comes from the seed and its own number, so that it is the same sample in any
    batch and any process, up to the arithmetic of batches of other sizes.

    Args:
        shape: of one image.
        sampler: `ddpm`, or `ddim` with its options; another must take `noise` and `progress` as
            they do.
        batch: how many at a time.
        progress: show a bar in the first process: of batches, or of the steps of its only one.
        labels: the class of each, for a network with classes; its last class is no label.
        scale: of the guidance towards them, as for `guided`.

    Raises:
        TypeError: an argument of another kind; labels for a network without classes.
        ValueError: n or batch below 1; not n labels, or without any a network that asks for them;
            as `guided` and the sampler.
    """
    if labels is not None and labels.shape != (n,):
        raise ValueError(f"labels must be {n}, one for each sample, got {tuple(labels.shape)}")
    device = next(network.parameters()).device
    parts = {}
    if by_steps := progress and n <= batch * world():
        options |= {"progress": rank() == 0}
    for number, rows in _shares(n, batch, progress and not by_steps, "drawing"):
        size, noise = (len(rows), *shape), _noise(seed, rows, shape, device)
        model: Any = network
        if labels is not None:
            model = guided(network, labels[rows.start : rows.stop].to(device), scale)
        x = sample(diffusion, model, size, sampler, noise=noise, **options)
        parts[number] = x.cpu()
    return _together(parts)


def _noise(seed: int, rows: range, shape: tuple[int, ...], device: torch.device) -> Noise:
    """What makes the noise of these samples, for each from a generator of its own."""
    each = [torch.Generator(device).manual_seed(derive_seed(seed, row, 0)) for row in rows]

    def noise(t: int) -> Tensor:
        z = torch.empty(len(each), *shape, device=device)
        for own, generator in zip(z, each, strict=True):
            own.normal_(generator=generator)
        return z

    return noise


@dataclass(frozen=True)
class Codelength:
    """The bound of a set of images, in bits per dimension, and what it is made of."""

    total: float
    """L, the mean over the images."""
    standard_error: float
    """Of `total`, over the images and the noise that each was given."""
    prior: float
    """L_T."""
    kl: float
    """The sum of L_{t-1} for t = 2..T."""
    decoder: float
    """L_0."""
    images: int
    """How many."""

    def __str__(self) -> str:
        return (
            f"{self.total:.4f} ± {self.standard_error:.4f} bits/dim over {self.images} images: "
            f"L_T {self.prior:.2e}, sum of L_(t-1) {self.kl:.4f}, L_0 {self.decoder:.4f}"
        )


@dataclass(frozen=True)
class CodelengthByClass(Codelength):
    """The same of images that were measured with their labels."""

    by_class: dict[int, float]
    """`total` of the images of each label."""


@door
def codelength(
    diffusion: GaussianDiffusion,
    network: nn.Module,
    x0: Float[Tensor, "N *D"],
    *,
    clip: bool = True,
    chunk: int = 64,
    seed: int = 0,
    progress: bool = False,
    labels: Int[Tensor, " labels"] | None = None,
) -> Codelength:
    """The mean of `elbo` over images, each at every t; the same in every process.

    Args:
        x0: [N, ...] in [-1, 1], on any device; at least two.
        clip, chunk: as for `elbo`.
        progress: show a bar of images, in the first process.
        labels: the class of each image, which a network with classes is told: the bound is then
            that of an image whose label is known, and comes by class too.

    Raises:
        TypeError: images that are no tensor, such as a set or a loader: `to_model_range` makes
            one of a set's images; labels for a network without classes.
        ValueError: fewer than two images, not as many labels, or as `elbo` and `guided`.
    """
    if len(x0) < 2:
        raise ValueError(f"x0 must hold at least two images, for a standard error, got {len(x0)}")
    if labels is not None and labels.shape != (len(x0),):
        raise ValueError(f"labels must be {len(x0)}, one an image, got {tuple(labels.shape)}")
    device = next(network.parameters()).device
    parts = {}
    # A few images with all their t fill a chunk many times over.
    for number, rows in _shares(len(x0), 8, progress, "bound"):
        generator = torch.Generator(device).manual_seed(derive_seed(seed, number, 0))
        here = slice(rows.start, rows.stop)
        images, model = x0[here].to(device), network
        none = torch.zeros(len(images), dtype=torch.long, device="cpu")
        own = none if labels is None else labels[here].cpu()
        sums = torch.empty(len(images), 4, dtype=torch.float64, device="cpu")
        for label in own.unique():
            if labels is not None:
                model = _told(network, int(label))
            some = own == label
            terms = elbo(
                diffusion, model, images[some.to(device)], clip=clip, chunk=chunk,
                generator=generator,
            )  # fmt: skip
            nats = torch.stack([terms.prior, terms.kl.sum(1), terms.decoder, terms.total], dim=1)
            sums[some] = (nats * (terms.bits_per_dim / terms.total)[:, None]).double().cpu()
        parts[number] = sums
    every = _together(parts)
    prior, kl, decoder, total = every.mean(0).tolist()
    error = (every[:, 3].std() / len(every) ** 0.5).item()
    whole = Codelength(total, error, prior, kl, decoder, len(every))
    if labels is None:
        return whole
    own = labels.cpu()
    by_class = {c: every[own == c, 3].mean().item() for c in own.unique().tolist()}
    return CodelengthByClass(**vars(whole), by_class=by_class)


def _told(network: Any, label: int) -> Any:
    """The network as a model of the images of one class."""

    def model(xt: Tensor, t: Tensor) -> Tensor:
        labels = torch.full((len(xt),), label, device=xt.device)
        return guided(network, labels)(xt, t)

    return model


def _shares(n: int, batch: int, progress: bool, what: str) -> Iterator[tuple[int, range]]:
    """The batches of this process: their numbers, and the rows of each."""
    for name, value in (("n", n), ("batch", batch)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    numbers: Any = range(rank(), -(-n // batch), world())
    if progress and rank() == 0:
        from tqdm.auto import tqdm  # brings notebook widgets along: only when asked for

        numbers = tqdm(numbers, desc=what)
    for number in numbers:
        yield number, range(number * batch, min(n, (number + 1) * batch))


def _together(parts: dict[int, Tensor]) -> Tensor:
    every: dict[int, Tensor] = {}
    for some in gather(parts):
        every |= some
    return torch.cat([every[number] for number in sorted(every)])
