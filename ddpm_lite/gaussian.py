"""What the bound is made of: a divergence of Gaussians, a density, and the mass of a grey level."""

import torch
from einops import reduce
from torch import Tensor
from torch.special import log_ndtr

from ddpm_lite._doors import door
from ddpm_lite._shapes import Images, PerImage

__all__ = ["decoder_nll", "gaussian_kl", "gaussian_nll"]


@door
def gaussian_kl(
    mean_q: Images,
    variance_q: Tensor,
    mean_p: Images | float,
    variance_p: Tensor | float,
) -> PerImage:
    """KL(N(mean_q, variance_q) || N(mean_p, variance_p)) in nats, summed over dimensions, [B].

    Per dimension (r - 1 - log r + (mean_q - mean_p)^2 / variance_p) / 2, r = variance_q /
    variance_p. The bound is made of these. Eq. {eq}`eq-gaussian-kl`.

    Args:
        mean_q, mean_p: [B, ...].
        variance_q, variance_p: positive, broadcast against the means.
    """
    # r - 1 and log r nearly cancel for like variances: both start from variance_q - variance_p.
    excess = (variance_q - variance_p) / variance_p
    kl = (excess - excess.log1p() + (mean_q - mean_p) ** 2 / variance_p) / 2
    return reduce(kl, "b ... -> b", "sum")


@door
def gaussian_nll(x: Images, mean: Images, variance: Tensor) -> PerImage:
    """-log N(x; mean, variance) in nats, summed over dimensions, [B]."""
    nll = ((x - mean) ** 2 / variance + (2 * torch.pi * variance).log()) / 2
    return reduce(nll, "b ... -> b", "sum")


@door
def decoder_nll(x0: Images, mean: Images, variance: Tensor, levels: int = 256) -> PerImage:
    """-log of the mass that N(mean, variance) gives to the grey level of x0, summed, [B] nats.

    [-1, 1] is cut into `levels` bins, each reaching half-way to its neighbours; the first and
    the last reach to infinity, so the bins' masses sum to one.
    Eq. {eq}`eq-decoder`; Ho et al. (2020), Eq. 13.

    Args:
        x0: [B, ...], grey levels mapped to [-1, 1].
        mean: [B, ...].
        variance: positive, broadcast against the mean.
        levels: how many grey levels there are; 256 for bytes.
    """
    if levels < 2:
        raise ValueError(f"levels must be at least 2, got {levels}")
    # In float64 where there is one: in float32 the masses of far bins lose their digits. Of the T
    # terms of the bound only one is computed so.
    dtype = torch.float32 if x0.device.type == "mps" else torch.float64
    last = levels - 1
    level = ((x0.to(dtype) + 1) * (last / 2)).round()  # neighbours then share their edge exactly
    mean, sigma = mean.to(dtype), variance.to(dtype).sqrt()
    inf = torch.inf  # torch.where() passes no gradient to the side not taken
    # (delta_+ - mu) / sigma and (delta_- - mu) / sigma; delta is x0 +- 1/last, 1/255 for bytes.
    above = torch.where(level >= last, inf, ((2 * level + 1) / last - 1 - mean) / sigma)
    below = torch.where(level <= 0, -inf, ((2 * level - 1) / last - 1 - mean) / sigma)
    # Phi(above) - Phi(below) is 1 - 1 in the right tail; the mirrored bin lies in the left one.
    mirror = above + below > 0
    above, below = torch.where(mirror, -below, above), torch.where(mirror, -above, below)
    # log(Phi(above) - Phi(below)), Eq. 13, without the cancellation.
    top = log_ndtr(above)
    log_mass = top + torch.log(-torch.expm1(log_ndtr(below) - top))
    return -reduce(log_mass, "b ... -> b", "sum").to(x0.dtype)
