"""The variational bound, term by term: how many nats a model needs for an image."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange, reduce
from jaxtyping import Float, Int
from torch import Tensor

from ddpm_lite._doors import door
from ddpm_lite._shapes import Images, PerImage
from ddpm_lite.diffusion import GaussianDiffusion, Model, Prediction
from ddpm_lite.gaussian import gaussian_kl, gaussian_nll

__all__ = ["ELBO", "Estimate", "elbo", "elbo_along_path", "elbo_estimate", "prior_kl"]


@dataclass(frozen=True)
class ELBO:
    """Every term of the bound, in nats per image, summed over the image's dimensions.

    The name is the field's; like the paper's L, the values are the negative of the evidence lower
    bound, so that less is better and `total` bounds -log p_theta(x_0) from above in expectation.
    """

    prior: PerImage
    """L_T, the divergence of q(x_T | x_0) from the standard normal."""
    kl: Float[Tensor, "B later"]
    """L_{t-1} for t = 2..T: column t - 2 belongs to step t."""
    decoder: PerImage
    """L_0 = -log p_theta(x_0 | x_1)."""
    mse: Float[Tensor, "B T"]
    """The mean squared error of x0_hat(x_t, t), for t = 1..T, in the model's range [-1, 1]."""
    dims: int
    """Numbers in one image."""
    levels: int = 256
    """Grey levels, the unit of `distortion`; 256 where the diffusion has none."""

    @property
    def total(self) -> PerImage:
        """L_T + sum of L_{t-1} + L_0 in nats. Eq. {eq}`eq-bound-terms`; Ho et al. (2020), Eq. 5."""
        return self.prior + self.kl.sum(1) + self.decoder

    @property
    def bits_per_dim(self) -> PerImage:
        """L in bits per dimension: nats / (log(2) dims). Eq. {eq}`eq-bits-per-dim`."""
        return self.total / (math.log(2) * self.dims)

    @property
    def rate(self) -> Float[Tensor, "B T"]:
        """Bits per dimension that a receiver needs who stops at x_t, t = 1..T.

        L_T and every L_{s-1} with s > t. Eq. {eq}`eq-rate`; Ho et al. (2020), Section 4.3, Table 4
        and Figure 5.
        """
        later = torch.cat([self.kl, torch.zeros_like(self.prior[:, None])], dim=1)
        later = later.flip(1).cumsum(1).flip(1)
        return (self.prior[:, None] + later) / (math.log(2) * self.dims)

    @property
    def distortion(self) -> Float[Tensor, "B T"]:
        """Root mean squared error of x0_hat(x_t, t) for t = 1..T, in grey levels.

        Eq. {eq}`eq-distortion`; Ho et al. (2020), Section 4.3, Table 4 and Figure 5.
        """
        return self.mse.sqrt() * (self.levels - 1) / 2


@dataclass(frozen=True)
class Estimate:
    """The bound from a few t: unbiased, with the standard error of each image's figure."""

    total: PerImage
    """L in nats."""
    standard_error: PerImage
    """Of `total`, over the draws of t and of the noise, in nats."""
    dims: int
    """Numbers in one image."""

    @property
    def bits_per_dim(self) -> PerImage:
        """L in bits per dimension: nats / (log(2) dims). Eq. {eq}`eq-bits-per-dim`."""
        return self.total / (math.log(2) * self.dims)


@door
@torch.no_grad()
def elbo(
    diffusion: GaussianDiffusion,
    model: Model,
    x0: Images,
    *,
    clip: bool = True,
    chunk: int = 64,
    generator: torch.Generator | None = None,
) -> ELBO:
    """L_T, every L_{t-1} and L_0 of each image. Eq. {eq}`eq-bound-terms`; Ho et al. (2020), Eq. 5.

    Each term is evaluated at one x_t drawn from q(x_t | x_0), afresh for every image and t, so
    each is unbiased. All pairs of an image and a t stand in one long row, of which the model sees
    `chunk` at a time: many t of one image, or many images at one t. Bring the model in eval mode.

    Args:
        diffusion: q, p_theta and the decoder's grey levels.
        model: `(xt, t) -> output`, on the device of x0.
        x0: [B, ...] in [-1, 1].
        clip: hold x0_hat in [-1, 1], as the paper's evaluation does.
        chunk: pairs of an image and a t that the model sees at once; this bounds the memory.
        generator: where the noise comes from, on the device of x0.

    Raises:
        ValueError: chunk < 1, no images, images that are not finite, or not on the levels.
    """
    _check_batch(diffusion, x0, chunk)
    B, T = len(x0), diffusion.T
    rows = _Rows(diffusion, model, x0, clip, chunk, generator)
    prior = prior_kl(diffusion, x0)  # L_T
    image = torch.arange(B, device=x0.device)
    # L_0.
    decoder, mse = rows.evaluate(rows.decoder, image, 1)
    later = torch.arange(2, T + 1, device=x0.device).repeat_interleave(B)  # 2 for each image, 3, ..
    # L_{t-1} for t = 2..T.
    kl, mse_later = rows.evaluate(diffusion.kl, image.repeat(T - 1), later)
    return ELBO(
        prior,
        rearrange(kl, "(t b) -> b t", b=B),
        decoder,
        rearrange(torch.cat([mse, mse_later]), "(t b) -> b t", b=B),
        x0[0].numel(),
        diffusion.levels or 256,
    )


@door
@torch.no_grad()
def elbo_estimate(
    diffusion: GaussianDiffusion,
    model: Model,
    x0: Images,
    samples: int = 16,
    *,
    proposal: Float[Tensor, " later"] | None = None,
    clip: bool = True,
    chunk: int = 64,
    generator: torch.Generator | None = None,
) -> Estimate:
    """The bound of each image from a few t: unbiased, with its standard error.

    L_0, the largest term, is always evaluated, at samples / 4 draws of x_1 and at least two. The
    sum over t = 2..T is the mean of L_{t-1} / proposal_t over `samples` draws of t.

    Args:
        samples: draws of t, with replacement.
        proposal: [T - 1] probabilities, up to a factor, of drawing t = 2..T; even by default.
            Nearly proportional to L_{t-1} is best: Nichol and Dhariwal (2021), Section 3.3.
        diffusion, model, x0, clip, chunk, generator: as for `elbo`.

    Raises:
        ValueError: samples < 2, or a proposal that is not T - 1 positive numbers.
    """
    if samples < 2:
        raise ValueError(f"samples must be at least 2, for a standard error, got {samples}")
    _check_batch(diffusion, x0, chunk)
    B, T = len(x0), diffusion.T
    rows = _Rows(diffusion, model, x0, clip, chunk, generator)
    proposal = torch.ones(T - 1, device="cpu") if proposal is None else proposal
    if proposal.shape != (T - 1,) or not bool((proposal > 0).all()):
        raise ValueError(
            f"proposal must be {T - 1} positive numbers, for t = 2..{T}, got {proposal.tolist()}"
        )
    prior = prior_kl(diffusion, x0)
    image = torch.arange(B, device=x0.device)
    again = image.repeat_interleave(max(2, samples // 4))
    decoder = rows.evaluate(rows.decoder, again, 1)[0].view(B, -1)
    total, variance = prior + decoder.mean(1), decoder.var(1) / decoder.shape[1]
    if T > 1:
        chance = (proposal / proposal.sum()).to(x0)
        drawn = torch.multinomial(chance, B * samples, replacement=True, generator=generator)
        again = image.repeat_interleave(samples)
        kl = rows.evaluate(diffusion.kl, again, drawn + 2)[0]
        kl = (kl / chance[drawn]).view(B, -1)
        total, variance = total + kl.mean(1), variance + kl.var(1) / samples
    return Estimate(total, variance.sqrt(), x0[0].numel())


@door
@torch.no_grad()
def elbo_along_path(
    diffusion: GaussianDiffusion,
    model: Model,
    x0: Images,
    *,
    clip: bool = True,
) -> PerImage:
    """The bound in the form it is born in, along one path x_1..x_T of the chain, in nats, [B].

    -log p(x_T) - sum over t of log p_theta(x_{t-1} | x_t) / q(x_t | x_{t-1}). Its expectation, the
    L of Eqs. {eq}`eq-bound` and {eq}`eq-bound-path`, is that of `elbo(...).total`. Each log-ratio
    spreads more than the divergence of Eq. {eq}`eq-bound-terms` that takes its place; in their sum
    along one path, where neighbours share an x_t, much of that cancels. Ho et al. (2020), Eq. 3,
    with the mass of x_0's grey level, Eq. 13, in the place of p_theta(x_0 | x_1).

    Args:
        diffusion, model, x0, clip: as for `elbo`; the model sees all images at once.
    """
    _check_batch(diffusion, x0, chunk=1)
    total = torch.zeros(len(x0), dtype=x0.dtype, device=x0.device)
    x_prev = x0
    for t in range(1, diffusion.T + 1):
        xt = diffusion.q_step(x_prev, t)
        beta = diffusion.schedule.beta[t]
        total -= gaussian_nll(xt, (1 - beta).sqrt().to(x0) * x_prev, beta.to(x0))
        out = diffusion.p_mean_variance(model, xt, t, clip)
        if t == 1:
            total += diffusion.decoder(out, x0)
        else:
            total += gaussian_nll(x_prev, out.mean, out.variance)
        x_prev = xt
    return total + gaussian_nll(x_prev, torch.zeros_like(x_prev), torch.ones_like(total[0]))


@door
@torch.no_grad()
def prior_kl(diffusion: GaussianDiffusion, x0: Images) -> PerImage:
    """L_T = KL(q(x_T | x_0) || N(0, I)) in nats, [B]; no network has a part in it.

    Eq. {eq}`eq-prior-kl`; Ho et al. (2020), Eq. 5 and Section 3.1.

    Raises:
        ValueError: images that are not finite.
    """
    mean, variance = diffusion.q_mean_variance(x0, diffusion.T)
    return gaussian_kl(mean, variance, torch.zeros_like(mean), torch.ones_like(variance))


# L_{t-1} or L_0 in nats, [N], of a prediction, its x_0, x_t and t.
Term = Callable[[Prediction, Tensor, Tensor, Any], Tensor]


@dataclass(frozen=True)
class _Rows:
    """Images and how their terms are evaluated: pairs of an image and a t in one long row."""

    diffusion: GaussianDiffusion
    model: Model
    x0: Tensor
    clip: bool
    chunk: int
    generator: torch.Generator | None

    def decoder(self, out: Prediction, x0: Tensor, *_: Any) -> Tensor:
        """L_0, as a term."""
        return self.diffusion.decoder(out, x0)

    def evaluate(
        self, term: Term, image: Int[Tensor, " N"], t: int | Int[Tensor, " N"]
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
        """The term and the mean squared error of x0_hat for each pair, at an x_t drawn for it."""
        terms, errors = [self.x0.new_empty(0)], [self.x0.new_empty(0)]
        for first in range(0, len(image), self.chunk):
            now = slice(first, first + self.chunk)
            x0 = self.x0.index_select(0, image[now])
            s = t if isinstance(t, int) else t[now]
            eps = torch.randn(x0.shape, generator=self.generator, dtype=x0.dtype, device=x0.device)
            xt = self.diffusion.q_sample(x0, s, eps)
            out = self.diffusion.p_mean_variance(self.model, xt, s, self.clip)
            terms.append(term(out, x0, xt, s))
            errors.append(reduce((x0 - out.x0_hat) ** 2, "b ... -> b", "mean"))
        return torch.cat(terms), torch.cat(errors)


def _check_batch(diffusion: GaussianDiffusion, x0: Tensor, chunk: int) -> None:
    if len(x0) == 0:
        raise ValueError("x0 must hold at least one image, got none")
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}")
    if diffusion.levels is not None:
        _check_on_levels(x0, diffusion.levels)


def _check_on_levels(x0: Tensor, levels: int) -> None:
    """Bits are counted for grey levels; between two of them the decoder has no answer."""
    level = (x0.double() + 1) / 2 * (levels - 1)
    off = (level - level.round().clamp(0, levels - 1)).abs()
    if bool((off > 0.05 + torch.finfo(x0.dtype).eps * levels).any()):
        where = off.argmax()
        raise ValueError(
            f"x0 must lie on the {levels} grey levels of the diffusion, got "
            f"{x0.flatten()[where]:.4f}, level {level.flatten()[where]:.2f}. Data of other levels "
            "need a diffusion with levels=..., and data that have none levels=None"
        )
