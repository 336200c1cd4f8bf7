"""The reverse process p_theta: one step from x_t to x_{t-1}, by a network, and its losses.

Images are [B, ...] in [-1, 1]; t is an integer or a [B] tensor of integers in 1..T; a model is
any callable `(xt, t) -> output`.
"""

import math
from dataclasses import KW_ONLY, dataclass, field, fields
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol, get_args, runtime_checkable

import torch
from einops import reduce
from torch import Tensor

from ddpm_lite._doors import check_kinds, door
from ddpm_lite._shapes import Column, Images, PerImage, PerTime, Time
from ddpm_lite.forward import (
    Coefficient,
    ForwardProcess,
    Objective,
    at_every_t,
    check_choice,
)
from ddpm_lite.gaussian import decoder_nll, gaussian_kl, gaussian_nll
from ddpm_lite.schedule import NoiseSchedule

__all__ = ["GaussianDiffusion", "Model", "Prediction", "Variance"]

Variance = Literal["beta", "beta_tilde", "learned"]
Weight = Literal["simple", "variational", "min_snr"]


@runtime_checkable
class Model(Protocol):
    """A network, or anything else that answers for x_t [B, ...] at t [B]: eps_hat, say."""

    def __call__(self, xt: Tensor, t: Tensor, /) -> Tensor: ...


class Prediction(NamedTuple):
    """p_theta(x_{t-1} | x_t) and what it was made from."""

    mean: Images
    variance: Column
    x0_hat: Images
    eps_hat: Images


@dataclass(frozen=True)
class GaussianDiffusion(ForwardProcess):
    """q, p_theta and their losses over one noise schedule.

    Two with equal settings are equal, and `dataclasses.replace` makes one that differs in some.

    Args:
        schedule: the variances beta_1..beta_T.
        objective: what the model's output means; "eps", the noise in xt; "x0", the image; "v",
            between the two; "mu", the posterior's mean; "u", the velocity of flow matching.
            `target` has their formulas.
        variance: sigma_t^2 of p_theta; "beta" or "beta_tilde", the two choices of Ho et al.
            (2020), Section 3.2, or "learned": the output has twice the channels, and the second
            half says where between the two log sigma_t^2 lies, -1 at beta_tilde and 1 at beta
            (Nichol and Dhariwal, 2021, Eq. 15).
        self_condition: the model is called as `(xt, t, x0_hat)` with an earlier estimate of x_0,
            or None (Chen, Zhang and Hinton, 2022).
        first_variance: sigma_1^2, of L_0 alone, since the last step draws no noise. By default
            beta_1; where beta_tilde is wanted, beta_tilde_2, since beta_tilde_1 is zero and has no
            logarithm. A shortened chain keeps it only where its first step is the same.
        levels: grey levels of the data, for the decoder; None for data that are not discrete,
            whose L_0 is then a density's.
        trained_on: in a shortened chain, the schedule of the whole one; `subsequence` sets both.
        stops: the times of the whole chain at which the shortened one stops, 0 first.

    Raises:
        TypeError: a setting of another kind.
        ValueError: a choice that is not one of these; "eps" with a schedule that leaves nothing of
            x_0 at T, where the noise does not tell what x_0 is.
    """

    objective: Objective = "eps"
    variance: Variance = "beta"
    _: KW_ONLY
    self_condition: bool = False
    first_variance: float | None = None
    levels: int | None = 256
    trained_on: NoiseSchedule | None = field(default=None, repr=False)
    stops: tuple[int, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        check_choice("objective", self.objective, get_args(Objective))
        check_choice("variance", self.variance, get_args(Variance))
        check_kinds(self)
        if self.first_variance is not None and not 0 < self.first_variance < math.inf:
            raise ValueError(f"first_variance must be positive, got {self.first_variance}")
        if self.levels is not None and self.levels < 2:
            raise ValueError(f"levels must be at least 2, or None, got {self.levels}")
        if self.first_variance is not None and self.variance == "learned":
            raise ValueError("first_variance is of a fixed variance, got it beside 'learned'")
        if self.objective == "eps" and self.schedule.alpha_bar[-1] == 0:
            raise ValueError(
                "with alpha_bar_T = 0 the noise in x_T says nothing of x_0: objective must be v, "
                "x0, mu or u, got 'eps'"
            )
        if self.stops or self.trained_on:
            self._check_shortened()

    def _check_shortened(self) -> None:
        """Hold a shortened chain against the whole one that it is taken from."""
        whole, stops = self.trained_on, list(self.stops)
        inside = whole is not None and len(stops) == self.T + 1 and 0 <= min(stops) <= whole.T
        if whole is None or not inside or max(stops) > whole.T:
            raise ValueError(f"stops must be {self.T + 1} times of the whole chain, got {stops}")
        # A beta near one keeps fewer digits of its alpha than alpha itself has.
        same = torch.allclose(
            self.schedule.alpha_bar, whole.alpha_bar[stops], rtol=1e-9, atol=1e-15
        )
        if not same:
            raise ValueError(
                "the schedule of a shortened chain must be that of its stops: shorten anew by "
                "`subsequence`"
            )

    @property
    def config(self) -> dict[str, Any]:
        """The settings beside the schedule, as weights on disk carry them."""
        apart = ("schedule", "trained_on", "stops")
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in apart}

    # sigma_t^2, the variance of a step back. A learned one lies between beta_tilde_t and beta_t.

    positive_beta_tilde = at_every_t(lambda s: _above_zero(s.beta_tilde, s.beta))
    log_beta_tilde = at_every_t(lambda s: _above_zero(s.beta_tilde, s.beta).log())
    log_beta = at_every_t(lambda s: s.beta.log())

    @cached_property
    def sigma2(self) -> Coefficient:
        """sigma_t^2 where it is fixed."""
        fixed = self.schedule.beta if self.variance == "beta" else self.positive_beta_tilde.float64
        sigma2 = fixed.clone()
        if self.first_variance is not None:
            sigma2[1] = self.first_variance
        return Coefficient(sigma2)

    @cached_property
    def sigma(self) -> Coefficient:
        """sigma_t, and none at the last step: Algorithm 2, line 3."""
        t = torch.arange(self.T + 1, device="cpu")
        return Coefficient(torch.where(t > 1, self.sigma2.float64.sqrt(), 0.0))

    # p_theta.

    @door
    def p_mean_variance(
        self,
        model: Model,
        xt: Images,
        t: Time,
        clip: bool = True,
        x0_prev: Images | None = None,
    ) -> Prediction:
        """p_theta(x_{t-1} | x_t): the posterior with x_0 replaced by the model's estimate of it.

        N(mu_theta(x_t, t), sigma_t^2 I). Eq. {eq}`eq-reverse-step`; Ho et al. (2020), Eq. 1.
        mu_theta = mu_tilde(x_t, x0_hat); without clipping that is Eq. {eq}`eq-mu-eps`;
        Ho et al. (2020), Eq. 11.

        Args:
            model: `(xt, t) -> output`, both [B, ...].
            xt: [B, ...].
            t: in 1..T.
            clip: hold x0_hat in [-1, 1], where the data lie.
            x0_prev: an earlier estimate of x_0, for a model with self-conditioning.
        """
        t = self._check(t, xt=xt, x0_prev=x0_prev)
        if x0_prev is not None and not self.self_condition:
            raise ValueError("x0_prev needs a diffusion with self_condition, got one without")
        return self._p_mean_variance(model, xt, t, clip, x0_prev)

    def _p_mean_variance(
        self, model: Model, xt: Tensor, t: Time, clip: bool, x0_prev: Tensor | None = None
    ) -> Prediction:
        return self._p_from_output(self._ask(model, xt, t, x0_prev), xt, t, clip)

    @door
    def p_from_output(self, output: Tensor, xt: Images, t: Time, clip: bool = True) -> Prediction:
        """p_theta(x_{t-1} | x_t) from what the model said; see `p_mean_variance`.

        A learned variance is Eq. {eq}`eq-learned-variance`.

        Args:
            output: [B, ...], or [B, 2 C, ...] where the variance is learned.
        """
        t = self._check(t, xt=xt)
        return self._p_from_output(self._check_output(output, xt), xt, t, clip)

    def _p_from_output(self, output: Tensor, xt: Tensor, t: Time, clip: bool) -> Prediction:
        if self.variance == "learned":
            output, between = output.chunk(2, dim=1)
            share = (between + 1) / 2
            log = share * self.log_beta.at(t, xt) + (1 - share) * self.log_beta_tilde.at(t, xt)
            variance = log.exp()
        else:
            variance = self.sigma2.column(t, xt)
        # From eps_hat, Eq. 15: (xt - sqrt(1 - alpha_bar_t) eps_hat) / sqrt(alpha_bar_t).
        x0_hat = self._convert(output, xt, t, self.objective, "x0")
        if clip:
            x0_hat = x0_hat.clamp(-1, 1)
            eps_hat = self._convert(x0_hat, xt, t, "x0", "eps")
        else:
            eps_hat = self._convert(output, xt, t, self.objective, "eps")
        # Eq. 7 of x0_hat; without clipping, and written with eps_hat, that is Eq. 11:
        # (xt - beta_t / sqrt(1 - alpha_bar_t) eps_hat) / sqrt(alpha_t).
        mean = self._mu_tilde(x0_hat, xt, t)
        return Prediction(mean, variance, x0_hat, eps_hat)

    @door
    def p_sample(
        self, model: Model, xt: Images, t: Time, clip: bool = True, noise: Images | None = None
    ) -> Images:
        """Sample p_theta(x_{t-1} | x_t); at t = 1, take its mean.

        mean + sigma_t z; without clipping that is Eq. {eq}`eq-p-sample`. Ho et al. (2020),
        Algorithm 2, line 4.
        """
        t = self._check(t, xt=xt, noise=noise)
        out = self._p_mean_variance(model, xt, t, clip)
        return self._p_draw(out, t, torch.randn_like(xt) if noise is None else noise)

    @door
    def p_draw(self, out: Prediction, t: Time, noise: Images) -> Images:
        """mean + sigma_t z, without noise at t = 1. Ho et al. (2020), Algorithm 2, line 4."""
        return self._p_draw(out, self._check(t, noise=noise, mean=out.mean), noise)

    def _p_draw(self, out: Prediction, t: Time, noise: Tensor) -> Tensor:
        if self.variance == "learned":
            late = t > 1 if isinstance(t, int) else (t > 1).view(-1, *[1] * (noise.ndim - 1))
            sigma = out.variance.sqrt() * late
        else:
            sigma = self.sigma.at(t, noise)
        return (out.mean + sigma * noise).to(noise)  # Algorithm 2, line 4

    # The losses.

    @door
    def p_losses(
        self,
        model: Model,
        x0: Images,
        t: Time,
        eps: Images | None = None,
        weight: PerTime | Tensor | None = None,
        condition: bool | None = None,
    ) -> PerImage:
        """The squared error of the model's output per sample, meaned over its dimensions.

        For "eps" that is L_simple, Eq. {eq}`eq-l-simple`; Ho et al. (2020), Eq. 14, which sums
        where this takes the mean. With a learned variance it is the hybrid loss, Eq.
        {eq}`eq-hybrid`: to it comes 0.001 times the bound in bits per dimension, estimated as T
        times its term at t with x0_hat held in [-1, 1], which trains the variance alone (Nichol and
        Dhariwal, 2021, Eq. 16).

        Args:
            model: `(xt, t) -> output`.
            x0: [B, ...] in [-1, 1].
            t: in 1..T.
            eps: [B, ...] standard normal noise; drawn when not given.
            weight: [T + 1] factors on the squared error, such as `loss_weight` makes.
            condition: with self-conditioning, whether the model first makes the estimate that
                it is then given; by default it does half the time.
        """
        t = self._check(t, x0=x0, eps=eps)
        eps = torch.randn_like(x0) if eps is None else eps
        xt = self._q_sample(x0, t, eps)
        output = self._answer(model, xt, t, condition)
        guess = output.chunk(2, dim=1)[0] if self.variance == "learned" else output
        # Eq. 14 where the objective is eps: (eps - eps_theta)^2, without weights.
        error = (guess - self._target(self.objective, x0, xt, eps, t)) ** 2
        loss = reduce(error, "b ... -> b", "mean")
        if weight is not None:
            if weight.shape != (self.T + 1,):
                raise ValueError(
                    f"weight must have an entry for each t = 0..{self.T}, shape ({self.T + 1},), "
                    f"got {tuple(weight.shape)}"
                )
            loss = loss * weight.to(loss).index_select(0, self._many(t, x0))
        if self.variance == "learned":
            frozen = torch.cat([guess.detach(), output.chunk(2, dim=1)[1]], dim=1)
            term = self._bound_term(self._p_from_output(frozen, xt, t, clip=True), x0, xt, t)
            loss = loss + 0.001 * self.T * term / (math.log(2) * math.prod(x0.shape[1:]))
        return loss

    @door
    def bound_losses(
        self,
        model: Model,
        x0: Images,
        t: Time,
        eps: Images | None = None,
        condition: bool | None = None,
    ) -> PerImage:
        """L_{t-1} itself as a loss, in nats per dimension: mean and variance both learn from it.

        The one way to train a learned variance that Ho et al. (2020) tried; their Eq. 5 and
        Table 2. With a fixed variance it is, for t > 1, `p_losses` with the variational weight
        and a constant. Arguments as for `p_losses`; x0_hat is not clipped.
        """
        t = self._check(t, x0=x0, eps=eps)
        xt = self._q_sample(x0, t, torch.randn_like(x0) if eps is None else eps)
        out = self._p_from_output(self._answer(model, xt, t, condition), xt, t, clip=False)
        return self._bound_term(out, x0, xt, t) / math.prod(x0.shape[1:])

    @door
    def bound_term(self, out: Prediction, x0: Images, xt: Images, t: Time) -> PerImage:
        """L_{t-1} of the bound in nats per sample: a divergence for t > 1, L_0 at t = 1.

        KL(q(x_{t-1} | x_t, x_0) || p_theta(x_{t-1} | x_t)), and -log p_theta(x_0 | x_1).
        Ho et al. (2020), Eq. 5.
        """
        return self._bound_term(out, x0, xt, self._check(t, x0=x0, xt=xt, mean=out.mean))

    def _bound_term(self, out: Prediction, x0: Tensor, xt: Tensor, t: Time) -> Tensor:
        if isinstance(t, int):
            return self._decoder(out, x0) if t == 1 else self._kl(out, x0, xt, t)
        return torch.where(t == 1, self._decoder(out, x0), self._kl(out, x0, xt, t))

    @door
    def kl(self, out: Prediction, x0: Images, xt: Images, t: Time) -> PerImage:
        """L_{t-1} for t > 1, in nats, [B]: up to a constant, the distance of two means.

        Eq. {eq}`eq-kl-means`; Ho et al. (2020), Eq. 8 and Eq. 10, which are those of a fixed
        variance, the second for a network of eps.
        """
        return self._kl(out, x0, xt, self._check(t, x0=x0, xt=xt, mean=out.mean))

    def _kl(self, out: Prediction, x0: Tensor, xt: Tensor, t: Time) -> Tensor:
        # At t = 1 there is no such term; the finite entry there keeps gradients finite.
        variance = self.positive_beta_tilde.column(t, xt)
        return gaussian_kl(self._mu_tilde(x0, xt, t), variance, out.mean, out.variance)

    @door
    def decoder(self, out: Prediction, x0: Images) -> PerImage:
        """L_0 = -log p_theta(x_0 | x_1) in nats, [B]: the mass of the grey level of x_0.

        Ho et al. (2020), Eq. 13; the density where `levels` is None.
        """
        self._check(1, x0=x0, mean=out.mean)
        return self._decoder(out, x0)

    def _decoder(self, out: Prediction, x0: Tensor) -> Tensor:
        if self.levels is None:
            return gaussian_nll(x0, out.mean, out.variance)
        return decoder_nll(x0, out.mean, out.variance, self.levels)

    @door
    def loss_weight(self, kind: Weight, gamma: float = 5.0) -> PerTime:
        """Factors [T + 1] on this objective's squared error that make a named loss.

        For eps, the bound's is Eq. {eq}`eq-weight`.

        "simple": the error of eps, so that every objective is trained by L_simple (Ho et al.,
        2020, Eq. 14). "variational": the bound's own term L_{t-1} (for L_0, its density), in nats
        per dimension and up to a constant: beta_t^2 / (2 sigma_t^2 alpha_t (1 - alpha_bar_t)) for
        eps, Eq. {eq}`eq-eps-loss`; Ho et al. (2020), Eq. 12. "min_snr": the error of x0 times
        min(SNR, gamma), Eq. {eq}`eq-min-snr`; Hang et al. (2023). Entry 0 is NaN.

        Raises:
            ValueError: another kind; the variational weight of a learned variance, which is no
                function of t alone.
        """
        check_choice("kind", kind, get_args(Weight))
        if kind == "variational" and self.variance == "learned":
            raise ValueError("the variational weight needs a fixed variance, got 'learned'")
        snr = self.schedule.snr
        # On the error of x0; for "variational" Eq. 8, of which Eq. 12 is what follows for eps.
        on_x0 = {
            "simple": snr,
            "variational": self.mu_tilde_x0.float64**2 / (2 * self.sigma2.float64),
            "min_snr": snr.clamp(max=gamma),
        }[kind]
        x0_per_output, _ = self.conversions[self.objective, "x0"]
        return on_x0 * x0_per_output.float64**2

    # A shortened chain.

    @door
    def subsequence(self, times: list[int]) -> "GaussianDiffusion":
        """The same model in a shortened chain that stops only at the given times.

        Its step i goes from times[i - 1] to times[i]; the model is told times[i]. Nichol and
        Dhariwal (2021), Section 4.

        Raises:
            ValueError: times that do not increase within 1..T.
        """
        schedule = self.schedule.subsequence(times)
        stops = tuple(self.times[t] for t in (0, *times))
        whole = self.trained_on or self.schedule
        settings = self.config
        if times[0] != 1:  # another first step, and not the variance that was chosen for it
            settings["first_variance"] = None
        return GaussianDiffusion(schedule, **settings, trained_on=whole, stops=stops)

    @cached_property
    def times(self) -> list[int]:
        """The t that the model is told at each step: itself, except in a shortened chain."""
        return list(self.stops or range(self.T + 1))

    @cached_property
    def _affine(self) -> dict[Objective, tuple[Tensor, Tensor]]:
        # The network's mu is that of the chain it was trained on.
        if self.trained_on is None:
            return super()._affine
        whole = ForwardProcess(self.trained_on)._affine
        return {name: (p[self.times], r[self.times]) for name, (p, r) in whole.items()}

    # The model and what it is told.

    @cached_property
    def _told(self) -> dict[torch.device, Tensor]:
        return {}

    def _many(self, t: Time, x: Tensor) -> Tensor:
        return torch.full(x.shape[:1], t, device=x.device) if isinstance(t, int) else t

    def _ask(self, model: Any, xt: Tensor, t: Time, x0_prev: Tensor | None) -> Tensor:
        told = t
        if isinstance(t, int):
            told = self._many(self.times[t], xt)
        elif self.stops:
            if t.device not in self._told:
                self._told[t.device] = torch.tensor(self.times, device=t.device)
            told = self._told[t.device].index_select(0, t)
        # A network may compute in other floats, and is asked in its own.
        asked = xt.to(dtype_of(model) or xt.dtype)
        output = model(asked, told, x0_prev) if self.self_condition else model(asked, told)
        return self._check_output(output, xt).to(xt.dtype)

    def _answer(self, model: Any, xt: Tensor, t: Time, condition: bool | None) -> Tensor:
        """What the model says about xt, given half the time its own first estimate of x_0."""
        x0_prev = None
        if condition is None:
            condition = self.self_condition and bool(torch.rand((), device="cpu") < 0.5)
        if self.self_condition and condition:
            with torch.no_grad():
                x0_prev = self._p_mean_variance(model, xt, t, clip=True).x0_hat
        return self._ask(model, xt, t, x0_prev)

    def _check_output(self, output: Tensor, xt: Tensor) -> Tensor:
        shape = xt.shape
        if self.variance == "learned":
            shape = torch.Size([shape[0], 2 * shape[1], *shape[2:]])
        if output.shape != shape:
            raise ValueError(
                f"the model's output must have the shape {tuple(shape)}, got {tuple(output.shape)}"
            )
        return output


def dtype_of(model: Any) -> torch.dtype | None:
    """The floating-point type of the model's parameters; None without any."""
    if isinstance(model, torch.nn.Module):
        for parameter in model.parameters():
            return parameter.dtype
    return None


def device_of(model: Any, generator: torch.Generator | None = None) -> torch.device:
    """Where the model's parameters are; without any, where the generator is, else the CPU.

    A function that asks a network, as `guided` makes one, has it as its attribute `network`.
    """
    model = getattr(model, "network", model)
    if isinstance(model, torch.nn.Module):
        for parameter in model.parameters():
            return parameter.device
    return torch.device("cpu") if generator is None else generator.device


def _above_zero(beta_tilde: Tensor, beta: Tensor) -> Tensor:
    """beta_tilde, with beta_tilde_2 in the place of beta_tilde_1 = 0, which has no logarithm."""
    second = beta_tilde[2:3] if len(beta) > 2 else beta[1:2]
    return torch.cat([beta_tilde[:1], second, beta_tilde[2:]])
