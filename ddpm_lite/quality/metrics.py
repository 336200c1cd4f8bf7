"""How far apart two sets of features or images are: Fréchet distance, Inception Score, neighbours.

`evaluation.py` has what turns images into features and says what the numbers hang on.
"""

import math

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ddpm_lite._doors import door

__all__ = ["frechet_distance", "inception_score", "moments", "nearest_distance", "nearest_ratio"]


@door
def moments(
    features: Float[Tensor, "N F"],
) -> tuple[Float64[Tensor, " F"], Float64[Tensor, "F F"]]:
    """The mean [F] and the unbiased covariance [F, F] of features [N, F], in float64 on the CPU.

    Raises:
        TypeError: not floating point.
        ValueError: not [N, F], fewer than two rows, or values that are not finite.
    """
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"features must be [N, F] with N >= 2, got {tuple(features.shape)}")
    _check_finite("features", features)
    features = _double(features)
    mean = features.mean(0)
    apart = features - mean
    return mean, apart.T @ apart / (len(features) - 1)


@door
def frechet_distance(
    mean_a: Float[Tensor, " F"],
    cov_a: Float[Tensor, "F F"],
    mean_b: Float[Tensor, " F"],
    cov_b: Float[Tensor, "F F"],
) -> float:
    """The squared Fréchet distance of two Gaussians; FID, where the features are Inception's.

    sum (mean_a - mean_b)^2 + tr(cov_a + cov_b - 2 (cov_a cov_b)^(1/2)), in float64, in the squared
    unit of the features. Eq. {eq}`eq-frechet`; Heusel et al. (2017), Eq. 6; Dowson and Landau
    (1982).

    Raises:
        TypeError: not floating point.
        ValueError: shapes that do not fit, values that are not finite, or a matrix that is no
            covariance: not symmetric, or with a negative eigenvalue.
    """
    size = mean_a.numel()
    given = {"mean_a": mean_a, "cov_a": cov_a, "mean_b": mean_b, "cov_b": cov_b}
    for name, values in given.items():
        shape = (size,) if name.startswith("mean") else (size, size)
        if values.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {tuple(values.shape)}")
        _check_finite(name, values)
    a, b = _factor("cov_a", cov_a), _factor("cov_b", cov_b)
    # cov_a cov_b = a a^T b b^T has the eigenvalues of C C^T with C = a^T b, and zeros. Their square
    # roots are the singular values of C: no root is taken of what round-off made negative.
    cross = torch.linalg.svdvals(a.T @ b).sum()
    apart = (_double(mean_a) - _double(mean_b)).square().sum()
    spread = _double(cov_a).trace() + _double(cov_b).trace() - 2 * cross
    return max(0.0, (apart + spread).item())  # round-off aside, it is never negative


@door
def inception_score(logits: Float[Tensor, "N K"], groups: int = 10) -> tuple[float, float]:
    """exp(E[KL(p(y | x) || p(y))]), between 1 and K: its mean and standard deviation over groups.

    p(y | x) is the softmax of a row of logits [N, K], and p(y) its mean over the rows of a group.
    The rows are dealt to the groups at random, always in the same way. Small groups score low.
    One group has no deviation: it is NaN. Eq. {eq}`eq-inception-score`; Salimans et al. (2016),
    Section 4.

    Raises:
        TypeError: not floating point.
        ValueError: not [N, K], groups outside 1..N, or values that are not finite.
    """
    if logits.ndim != 2:
        raise ValueError(f"logits must be [N, K], got {tuple(logits.shape)}")
    if not 1 <= groups <= len(logits):
        raise ValueError(f"groups must lie in 1..{len(logits)}, got {groups}")
    _check_finite("logits", logits)
    order = torch.randperm(len(logits), generator=torch.Generator().manual_seed(0), device="cpu")
    log_p = _double(logits).log_softmax(1)[order]
    scores = []
    for log_p_yx in log_p.tensor_split(groups):
        log_p_y = log_p_yx.logsumexp(0) - math.log(len(log_p_yx))
        kl = (log_p_yx.exp() * (log_p_yx - log_p_y)).sum(1)
        scores.append(kl.mean().exp())
    score = torch.stack(scores)
    return score.mean().item(), score.std().item() if groups > 1 else math.nan


@door
def nearest_distance(
    images: Float[Tensor, "N *D"], train: Float[Tensor, "M *D"], batch: int = 512
) -> Float[Tensor, " N"]:
    """The Euclidean distance of each image [N, ...] to its nearest in train [M, ...], [N].

    A copy is at distance 0 exactly. Holds batch x batch distances at a time.

    Raises:
        TypeError: not floating point.
        ValueError: none to compare, unlike shapes, values that are not finite, or batch < 1.
    """
    if batch < 1:
        raise ValueError(f"batch must be at least 1, got {batch}")
    for name, x in (("images", images), ("train", train)):
        if not len(x):
            raise ValueError(f"{name} must hold at least one image, got none")
        _check_finite(name, x)
    if images.shape[1:] != train.shape[1:]:
        raise ValueError(
            f"images and train must be of one shape, got {tuple(images.shape[1:])} and "
            f"{tuple(train.shape[1:])}"
        )
    exact = "donot_use_mm_for_euclid_dist"  # products of matrices would move a copy away from 0
    nearest = []
    for some in images.flatten(1).split(batch):
        best = torch.full_like(some[:, 0], torch.inf)
        for others in train.flatten(1).split(batch):
            best = best.minimum(torch.cdist(some, others.to(some), compute_mode=exact).amin(1))
        nearest.append(best)
    return torch.cat(nearest)


@door
def nearest_ratio(
    samples: Float[Tensor, "N *D"],
    train: Float[Tensor, "M *D"],
    held_out: Float[Tensor, "K *D"],
    batch: int = 512,
) -> float:
    """The median distance of samples to their nearest in train, over that of held-out images.

    About 1 for a model that draws new images. Well below 1, its samples lie nearer to the training
    images than new images do: a sign of memory. The median overlooks copies as long as they are
    fewer than half; `nearest_distance` shows each of them.

    Raises:
        TypeError: not floating point.
        ValueError: as `nearest_distance`; or half of the held-out images are in train.
    """
    new = nearest_distance(held_out, train, batch).median().item()
    if not new > 0:
        raise ValueError("held_out must not be part of train, got a median distance of 0")
    return nearest_distance(samples, train, batch).median().item() / new


def _factor(name: str, cov: Tensor) -> Float64[Tensor, "F R"]:
    """A matrix a with a a^T = cov, of as many columns as cov's rank, round-off left out."""
    relative = len(cov) * torch.finfo(cov.dtype).eps  # of the digits that the matrix came with
    cov = _double(cov)
    values, vectors = torch.linalg.eigh((cov + cov.T) / 2)
    noise = relative * values.abs().max().item()
    skew, least = (cov - cov.T).abs().max().item(), values[0].item()
    if skew > 10 * noise:
        raise ValueError(f"{name} must be symmetric, got entries that differ by {skew:.3g}")
    if least < -10 * noise:
        raise ValueError(f"{name} must have no negative eigenvalue, got {least:.3g}")
    kept = values > noise
    return vectors[:, kept] * values[kept].sqrt()


def _double(x: Tensor) -> Tensor:
    return x.detach().cpu().double()


def _check_finite(name: str, x: Tensor) -> None:
    if not x.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {x.dtype}")
    if bad := int((~x.isfinite()).sum()):
        raise ValueError(f"{name} must be finite, got {bad} NaN or infinite values")
