"""Samples held against real images, in the features of a network.

The numbers hang on how many samples there are, on the images they are held against and on the
network that looks at both; so all three travel with them. The network is `load_classifier()` for
digits, `Inception()` for photographs, or one of your own.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ddpm_lite._doors import door
from ddpm_lite.images.data import warn_of_range
from ddpm_lite.quality.metrics import frechet_distance, inception_score, moments

__all__ = ["RealFloor", "SampleScores", "evaluate_samples", "real_floor"]

Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class SampleScores:
    """What `evaluate_samples` found, with all that the numbers hang on."""

    frechet: float
    """The squared Fréchet distance between features of samples and reference; 0 is best."""
    inception_score: float | None
    """Inception Score of the samples, more is better; None without a head."""
    inception_score_std: float | None
    """Its standard deviation over the groups; NaN for a single group."""
    groups: int
    """How many groups Inception Score is the mean of."""
    samples: int
    """How many samples; with fewer, the distance comes out larger."""
    reference: int
    """How many images they were held against."""
    split: str
    """Which images those were."""
    features: str
    """Whose features."""

    def __str__(self) -> str:
        score = ""
        if self.inception_score is not None:
            score = f"Inception Score {self.inception_score:.2f}"
            score += f" ± {self.inception_score_std:.2f}" if self.groups > 1 else ""
            score += f" in {self.groups} group{'s' if self.groups > 1 else ''}, "
        return (
            f"Fréchet distance {self.frechet:.4g}, {score}{self.samples} samples against "
            f"{self.reference} images of {self.split}, features of {self.features}"
        )


@door
def evaluate_samples(
    samples: Float[Tensor, "N C H W"],
    reference: Float[Tensor, "M C H W"],
    features: Network,
    head: Network | None = None,
    *,
    split: str,
    groups: int = 10,
    batch: int = 256,
    device: torch.device | str | None = None,
) -> SampleScores:
    """The Fréchet distance of samples to a reference, and the samples' Inception Score.

    Give it `net.features` and `net.head`, with `net = load_classifier()` for digits; with
    `net = Inception()` the distance is FID.

    Args:
        samples, reference: images in [-1, 1].
        features: a network, images to [B, F], in eval mode.
        head: from features to logits, [B, F] to [B, K]; without one there is no Inception Score.
        split: what the reference is, such as "train".
        groups: how many groups Inception Score is the mean of.
        batch: images that the network sees at once.
        device: where the network is; by default where its weights are, and of a function without
            any where the samples are.

    Raises:
        TypeError: images that are not floating point.
        ValueError: images of unlike or unfit shapes, outside [-1, 1] or fewer than two; a network
            in training mode or of another shape; no split; batch < 1; groups outside 1..N.
    """
    _check_images("samples", samples)
    _check_images("reference", reference)
    if samples.shape[1:] != reference.shape[1:]:
        raise ValueError(
            f"samples and reference must be of one shape, got {tuple(samples.shape[1:])} and "
            f"{tuple(reference.shape[1:])}"
        )
    _check_split(split)
    _check_network("features", features)
    _check_at_least("batch", batch, 1)
    if head is not None:
        _check_network("head", head)
        if not 1 <= groups <= len(samples):
            raise ValueError(f"groups must lie in 1..{len(samples)}, got {groups}")
    device = _place(features, samples) if device is None else device
    seen = _apply(features, samples, batch, device)
    real = _apply(features, reference, batch, device)
    score, deviation = None, None
    if head is not None:
        score, deviation = inception_score(_apply(head, seen, batch, device), groups)
    return SampleScores(
        frechet_distance(*moments(seen), *moments(real)),
        score,
        deviation,
        groups=groups,
        samples=len(samples),
        reference=len(reference),
        split=split,
        features=_name(features),
    )


@dataclass(frozen=True)
class RealFloor:
    """The Fréchet distance of real images to other real images, over random choices of both."""

    mean: float
    """Of the distances."""
    std: float
    """Of one such distance, not of their mean; the choices overlap, so it is rather too small."""
    samples: int
    """How many real images stood in for samples."""
    reference: int
    """How many others they were held against."""
    split: str
    """Which images both were drawn from."""
    repeats: int
    """How often."""
    features: str
    """Whose features."""

    def __str__(self) -> str:
        return (
            f"Fréchet distance {self.mean:.4g} ± {self.std:.2g} of {self.samples} real images "
            f"against {self.reference} others of {self.split}, in {self.repeats} draws, features "
            f"of {self.features}"
        )


@door
def real_floor(
    real: Float[Tensor, "N C H W"],
    samples: int,
    features: Network,
    *,
    split: str,
    reference: int | None = None,
    repeats: int = 10,
    seed: int = 0,
    batch: int = 256,
    device: torch.device | str | None = None,
) -> RealFloor:
    """What a perfect model would get: the Fréchet distance between disjoint sets of real images.

    It is not zero, since few images give a wrong covariance; the error falls about as one over
    their number, Chong and Forsyth (2020). So hold a model's distance against the floor for as
    many samples and as large a reference.

    Args:
        real: images in [-1, 1], at least samples + reference of them.
        samples: how many stand in for the model's.
        reference: how many they are held against; as many again when not given.
        repeats: how often both are drawn anew.
        seed: of the draws.
        features, split, batch, device: as for `evaluate_samples`.

    Raises:
        TypeError, ValueError: as `evaluate_samples`; also fewer than two samples, reference
            images or repeats, or fewer real images than both need.
    """
    _check_images("real", real)
    _check_split(split)
    _check_network("features", features)
    _check_at_least("batch", batch, 1)
    reference = samples if reference is None else reference
    for name, count in (("samples", samples), ("reference", reference), ("repeats", repeats)):
        _check_at_least(name, count, 2)
    if samples + reference > len(real):
        raise ValueError(
            f"samples + reference must be at most the {len(real)} real images, "
            f"got {samples} + {reference}"
        )
    seen = _apply(features, real, batch, _place(features, real) if device is None else device)
    generator = torch.Generator().manual_seed(seed)
    distances = torch.zeros(repeats, dtype=torch.float64, device="cpu")
    for i in range(repeats):
        order = torch.randperm(len(real), generator=generator, device="cpu")
        a, b = seen[order[:samples]], seen[order[samples : samples + reference]]
        distances[i] = frechet_distance(*moments(a), *moments(b))
    mean, std = distances.mean().item(), distances.std().item()
    return RealFloor(mean, std, samples, reference, split, repeats, _name(features))


def _apply(
    network: Network, x: Tensor, batch: int, device: torch.device | str
) -> Float[Tensor, "N F"]:
    """What the network makes of all of x, a batch at a time, on the CPU."""
    parts = []
    with torch.inference_mode():
        for some in x.split(batch):
            out = network(some.to(device))
            if out.ndim != 2 or len(out) != len(some):
                raise ValueError(
                    f"the network must return [B, F], got {tuple(out.shape)} for {len(some)} rows"
                )
            parts.append(out.cpu())
    return torch.cat(parts)


def _owner(network: Network) -> object:
    return getattr(network, "__self__", network)  # net, of a bound method such as net.features


def _place(network: Network, x: Tensor) -> torch.device:
    """Where the network's weights are; where x is, without any."""
    owner = _owner(network)
    weights = owner.parameters() if isinstance(owner, nn.Module) else iter(())
    return next((weight.device for weight in weights), x.device)


def _name(network: Network) -> str:
    owner = _owner(network)
    return getattr(owner, "__qualname__", type(owner).__name__)


def _check_network(name: str, network: Network) -> None:
    owner = _owner(network)
    if isinstance(owner, nn.Module) and owner.training:
        raise ValueError(f"{name} must come from a network in eval mode, got one in training mode")


def _check_images(name: str, x: Tensor) -> None:
    if not x.is_floating_point():
        raise TypeError(f"{name} must be floating point in [-1, 1], got {x.dtype}")
    if x.ndim != 4 or len(x) < 2 or not x.numel():
        raise ValueError(f"{name} must be [N, C, H, W] with N >= 2, got {tuple(x.shape)}")
    if not x.abs().max() <= 1 + 1e-3:  # more than rounding, and NaN
        low, high = x.min().item(), x.max().item()
        raise ValueError(f"{name} must lie in [-1, 1], got {low:.4g}..{high:.4g}")
    warn_of_range(name, x.min().item(), x.max().item())


def _check_split(split: str) -> None:
    if not split:
        raise ValueError(f"split must say what the reference is, such as 'train', got {split!r}")


def _check_at_least(name: str, count: int, least: int) -> None:
    if count < least:
        raise ValueError(f"{name} must be at least {least}, got {count}")
