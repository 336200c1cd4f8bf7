"""The best possible network, in closed form, where the data are a mixture or a finite set.

With it the bound, sampling and their failures can be studied exactly, with nothing trained.
"""

import math
from typing import NamedTuple

import torch
from einops import rearrange, reduce
from jaxtyping import Float, Float64, Int
from torch import Tensor

from ddpm_lite._doors import door
from ddpm_lite._shapes import Images, PerImage, PerTime
from ddpm_lite.schedule import NoiseSchedule

__all__ = ["Mixture", "Oracle", "marginal_bound", "oracle_bound", "reverse_marginals"]


class Mixture(NamedTuple):
    """A mixture of Gaussians for each sample, with independent dimensions."""

    weights: Float[Tensor, "B K"]
    means: Float[Tensor, "B K *D"]
    variances: Float[Tensor, "B K *D"]


class Oracle:
    """eps*(x_t, t) = E[eps | x_t], which no network can beat, for a mixture of Gaussians.

    Data are drawn as: component k with probability weights[k], then N(means[k], std[k]^2). With
    std 0, the default, that is the finite set `means` itself, each member as likely as the next.
    A model like any other: `(xt, t) -> eps_hat`. Divided by -sqrt(1 - alpha_bar_t), its answer is
    the score of q(x_t); Eq. {eq}`eq-score`; Vincent (2011).

    Args:
        schedule: the noise schedule that x_t was made with.
        means: [K, ...], one point of data space each, in its dtype and on its device.
        std: standard deviation of the components: a number, [K], or [K, ...].
        weights: [K] positive, up to a factor; even by default.

    Raises:
        ValueError: no components, a negative std, or shapes that do not fit.
    """

    @door
    def __init__(
        self,
        schedule: NoiseSchedule,
        means: Float[Tensor, "K *D"],
        std: float | Float[Tensor, "K *some"] = 0.0,
        weights: Float[Tensor, " K"] | None = None,
    ):
        if means.ndim == 0 or len(means) == 0:
            raise ValueError(f"means must hold K >= 1 components, got shape {tuple(means.shape)}")
        K = len(means)
        weights = torch.ones(K, device="cpu") if weights is None else weights
        if weights.shape != (K,) or not bool((weights > 0).all()):
            raise ValueError(f"weights must be {K} positive numbers, got {weights}")
        variance = torch.as_tensor(std, dtype=means.dtype, device=means.device) ** 2
        if variance.ndim == 1:
            variance = variance.view(-1, *[1] * (means.ndim - 1))
        try:
            variance = variance.expand(means.shape)
        except RuntimeError:
            raise ValueError(
                f"std must be a number, or fit the means' shape {tuple(means.shape)} from the "
                f"left, got shape {tuple(torch.as_tensor(std, device=means.device).shape)}"
            ) from None
        if not bool((torch.as_tensor(std, device=means.device) >= 0).all()):
            raise ValueError(f"std must not be negative, got {std}")
        self.schedule, self.shape = schedule, means.shape[1:]
        self.means, self.variance = means.flatten(1), variance.flatten(1)
        self.log_weights = (weights / weights.sum()).log().to(means)

    @door
    def __call__(self, xt: Images, t: int | Int[Tensor, " B"]) -> Images:
        """E[eps | x_t] = sqrt(1 - alpha_bar_t) sum over k of r_k (x_t - center_k) / variance_k.

        r_k is the probability that x_t came from component k, whose noised version has that
        center and variance. By Tweedie's formula it is -sqrt(1 - alpha_bar_t) times the score.
        """
        _, rest, off, variance = self._components(xt, t)
        r = self._log_joint(off, variance).softmax(1)
        eps = rest.sqrt() * reduce(r[..., None] * off / variance, "b k d -> b d", "sum")
        return eps.view(xt.shape).to(xt.dtype)

    @door
    def x0_hat(self, xt: Images, t: int | Int[Tensor, " B"]) -> Images:
        """E[x_0 | x_t], the best guess at the image in the mean square, [B, ...]."""
        alpha_bar, _, off, variance = self._components(xt, t)
        r = self._log_joint(off, variance).softmax(1)
        best = self.means + alpha_bar.sqrt() * self.variance / variance * off
        return reduce(r[..., None] * best, "b k d -> b d", "sum").view(xt.shape).to(xt.dtype)

    @door
    def q_reverse(self, xt: Images, t: int | Int[Tensor, " B"]) -> Mixture:
        """q(x_{t-1} | x_t) itself, x_0 not given: a mixture with the data's number of components.

        By Bayes' rule, q(x_t | x_{t-1}) q(x_{t-1}) / q(x_t). Eq. {eq}`eq-q-reverse`. Component k is
        pulled from its center towards x_t / sqrt(alpha_t), and weighs what x_t says it does.
        """
        _, _, off, variance = self._components(xt, t)
        r = self._log_joint(off, variance).softmax(1)
        times = self._times(xt, t)
        kept, fresh, alpha, beta = (
            table[times].view(-1, 1, 1).to(self.means)
            for table in (
                self.schedule.alpha_bar_prev,
                1 - self.schedule.alpha_bar_prev,
                self.schedule.alpha,
                self.schedule.beta,
            )
        )
        pull = (kept * self.variance + fresh) / variance  # variance of x_{t-1} over that of x_t
        means = kept.sqrt() * self.means + alpha.sqrt() * pull * off
        shape = len(xt), len(self.means), *self.shape
        parts = r, means.view(shape), (beta * pull).expand(means.shape).reshape(shape)
        return Mixture(*(part.to(xt.dtype) for part in parts))

    @door
    def log_density(self, xt: Images, t: int | Int[Tensor, " B"]) -> PerImage:
        """log q(x_t) in nats, [B]; t may be 0, for the data, unless std is 0."""
        _, _, off, variance = self._components(xt, t, least=0)
        return self._log_joint(off, variance).logsumexp(1).to(xt.dtype)

    @door
    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n *D"]:
        """n draws from the data's distribution, [n, ...]."""
        k = torch.multinomial(self.log_weights.exp(), n, replacement=True, generator=generator)
        noise = torch.randn(
            n, self.means.shape[1], generator=generator, dtype=self.means.dtype,
            device=self.means.device,
        )  # fmt: skip
        return (self.means[k] + self.variance[k].sqrt() * noise).view(n, *self.shape)

    def _components(
        self, xt: Tensor, t: int | Tensor, least: int = 1
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """alpha_bar and 1 - alpha_bar [B, 1], x_t less every center, every variance [B, K, D]."""
        if xt.shape[1:] != self.shape:
            raise ValueError(
                f"xt must have the shape of the data, {tuple(self.shape)}, after its first axis, "
                f"got {tuple(xt.shape)}"
            )
        alpha_bar = self.schedule.alpha_bar[self._times(xt, t, least)].view(-1, 1, 1)
        # 1 - alpha_bar in the schedule's float64: it is small for small t.
        alpha_bar, rest = alpha_bar.to(self.means), (1 - alpha_bar).to(self.means)
        centers = alpha_bar.sqrt() * self.means
        off = rearrange(xt.flatten(1), "b d -> b 1 d").to(self.means) - centers
        return alpha_bar, rest[:, 0], off, alpha_bar * self.variance + rest

    def _times(self, xt: Tensor, t: int | Tensor, least: int = 1) -> Tensor:
        """t of each x_t, on the CPU, where the schedule is."""
        times = torch.full((len(xt),), t, device="cpu") if isinstance(t, int) else t.cpu()
        if times.is_floating_point() or times.shape != (len(xt),):
            raise ValueError(
                f"t must be one integer, or one for each of {len(xt)} x_t, got "
                f"{tuple(times.shape)} of {times.dtype}"
            )
        if len(times) and not least <= int(times.min()) <= int(times.max()) <= self.schedule.T:
            got = int(times.min() if times.min() < least else times.max())
            raise ValueError(f"t must lie in {least}..{self.schedule.T}, got {got}")
        return times.long()

    def _log_joint(self, off: Tensor, variance: Tensor) -> Tensor:
        """log of weights_k N(x_t; center_k, variance_k), [B, K]."""
        log = -(off**2 / variance + (2 * math.pi * variance).log()) / 2
        return self.log_weights + reduce(log, "b k d -> b k", "sum")


@door
def reverse_marginals(
    schedule: NoiseSchedule, sigma2: PerTime, mean: float, std: float
) -> tuple[PerTime, PerTime]:
    """Mean and variance [T + 1] of p_theta(x_t), entry t, with the oracle for N(mean, std^2) data.

    One pixel. The oracle is linear in x_t, so every p_theta(x_t) of the unclipped reverse chain
    is Gaussian; entry 0 is the density that the chain gives to data, exactly.

    Args:
        schedule: of T steps.
        sigma2: [T + 1], the variance of each reverse step, entry 1 included; zero for a step
            without noise.
        mean, std: of the data.

    Raises:
        ValueError: variances that do not fit the schedule, or are negative.
    """
    _check_variances(schedule, sigma2, zero=True)
    m, v = [0.0], [1.0]
    alpha_bar, beta = schedule.alpha_bar.tolist(), schedule.beta.tolist()
    for t in range(schedule.T, 0, -1):
        a = alpha_bar[t]
        total = a * std**2 + 1 - a  # the variance of q(x_t)
        # mu_theta = (x_t - beta_t (x_t - sqrt(a) mean) / total) / sqrt(1 - beta_t)
        slope = (1 - beta[t] / total) / math.sqrt(1 - beta[t])
        offset = beta[t] * math.sqrt(a) * mean / total / math.sqrt(1 - beta[t])
        m.append(slope * m[-1] + offset)
        v.append(slope**2 * v[-1] + sigma2[t].item())
    means, variances = torch.tensor([m[::-1], v[::-1]], dtype=torch.float64, device="cpu")
    return means, variances


@door
def oracle_bound(
    schedule: NoiseSchedule, sigma2: PerTime, mean: float, std: float
) -> tuple[Float64[Tensor, ""], Float64[Tensor, " later"], Float64[Tensor, ""]]:
    """L_T, L_{t-1} for t = 2..T [T - 1], and L_0 with the oracle for N(mean, std^2) data, in nats.

    The expected terms of Eq. {eq}`eq-bound-terms`, exactly, over data and noise, for one pixel and
    the unclipped reverse chain; L_0 is a density's. Ho et al. (2020), Eq. 5.

    Args:
        schedule: of T steps.
        sigma2: [T + 1], the variance of each reverse step, entry 1 included.
        mean, std: of the data.

    Raises:
        ValueError: variances that do not fit the schedule, or are not positive.
    """
    _check_variances(schedule, sigma2, zero=False)
    a, later = schedule.alpha_bar, slice(2, None)
    error = std**2 * (1 - a) / (a * std**2 + 1 - a)  # the variance of x_0 given x_t
    prior = (a[-1] * (mean**2 + std**2 - 1) - (-a[-1]).log1p()) / 2
    decoder = ((2 * math.pi * sigma2[1]).log() + error[1] / sigma2[1]) / 2
    # mu_tilde and mu_theta differ as x_0 and its estimate do, times the factor in Eq. 7.
    pull = (schedule.alpha_bar_prev.sqrt() * schedule.beta)[later] / (1 - a[later])
    apart = pull**2 * error[later] / sigma2[later]
    ratio = schedule.beta_tilde[later] / sigma2[later]
    return prior, (ratio - 1 - ratio.log() + apart) / 2, decoder


@door
def marginal_bound(
    schedule: NoiseSchedule, sigma2: PerTime, mean: float, std: float
) -> tuple[Float64[Tensor, ""], Float64[Tensor, " T"], float]:
    """The same bound without x_0 in its conditions: three parts, in nats, whose sum is the bound.

    KL(q(x_T) || p(x_T)); E[KL(q(x_{t-1} | x_t) || p_theta(x_{t-1} | x_t))] for t = 1..T [T]; and
    H(x_0), the entropy of the data, below which no model comes. Ho et al. (2020), Eq. 16.

    Args:
        schedule, sigma2, mean, std: as for `oracle_bound`.

    Raises:
        ValueError: variances that do not fit the schedule, or are not positive.
    """
    _check_variances(schedule, sigma2, zero=False)
    a, step = schedule.alpha_bar, slice(1, None)
    spread = a[-1] * std**2 + 1 - a[-1]  # the variance of q(x_T)
    prior = (spread + a[-1] * mean**2 - 1 - spread.log()) / 2
    error = std**2 * (1 - a) / (a * std**2 + 1 - a)
    pull = (schedule.alpha_bar_prev.sqrt() * schedule.beta)[step] / (1 - a[step])
    # The oracle's mean is that of q(x_{t-1} | x_t): only the variances can differ.
    ratio = (schedule.beta_tilde[step] + pull**2 * error[step]) / sigma2[step]
    entropy = math.log(2 * math.pi * math.e * std**2) / 2
    return prior, (ratio - 1 - ratio.log()) / 2, entropy


def _check_variances(schedule: NoiseSchedule, sigma2: Tensor, zero: bool) -> None:
    fits = sigma2.shape == schedule.beta.shape
    if not fits or not bool((sigma2[1:] >= 0 if zero else sigma2[1:] > 0).all()):
        raise ValueError(
            f"sigma2 must hold {schedule.T + 1} numbers, "
            f"{'none negative' if zero else 'positive'} from entry 1 on, "
            f"got shape {tuple(sigma2.shape)}, least {sigma2[1:].min():g}"
        )
