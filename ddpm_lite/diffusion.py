"""The forward process q, its posterior, and one step of the reverse process p_theta.

Each method is named as the distribution it is. Images are [B, ...] in [-1, 1]; t is an
integer or a [B] tensor of integers in 1..T; a model is any callable `(xt, t) -> output`.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import torch
from einops import reduce
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from ddpm_lite.schedule import NoiseSchedule

__all__ = ["GaussianDiffusion", "Model", "Prediction"]

Model = Callable[[Tensor, Tensor], Tensor]
Objective = Literal["eps"]
Variance = Literal["beta", "beta_tilde"]


class Prediction(NamedTuple):
    """p_theta(x_{t-1} | x_t) and what it was made from."""

    mean: Float[Tensor, "B *D"]
    variance: Float[Tensor, "B *one"]
    x0_hat: Float[Tensor, "B *D"]
    eps_hat: Float[Tensor, "B *D"]


class GaussianDiffusion:
    """q and p_theta over one noise schedule.

    Args:
        schedule: the variances beta_1..beta_T.
        objective: what the model's output means; "eps", the noise in xt.
        variance: sigma_t^2 of p_theta, "beta" or "beta_tilde", the two choices of
            Ho et al. (2020), Section 3.2.

    Raises:
        ValueError: an objective or a variance that is not one of these.
    """

    def __init__(
        self, schedule: NoiseSchedule, objective: Objective = "eps", variance: Variance = "beta"
    ):
        _check_choice("objective", objective, get_args(Objective))
        _check_choice("variance", variance, get_args(Variance))
        self.schedule, self.objective, self.variance = schedule, objective, variance
        s = schedule
        sigma2 = getattr(s, variance)
        self._tables64 = {
            "sqrt_beta": s.beta.sqrt(),
            "sqrt_alpha": s.alpha.sqrt(),
            "sqrt_alpha_bar": s.alpha_bar.sqrt(),
            "one_minus_alpha_bar": 1 - s.alpha_bar,
            "sqrt_one_minus_alpha_bar": (1 - s.alpha_bar).sqrt(),
            # mu_tilde = mu_tilde_x0 * x0 + mu_tilde_xt * xt, Ho et al. (2020), Eq. 7.
            "mu_tilde_x0": s.alpha_bar_prev.sqrt() * s.beta / (1 - s.alpha_bar),
            "mu_tilde_xt": s.alpha.sqrt() * (1 - s.alpha_bar_prev) / (1 - s.alpha_bar),
            "beta_tilde": s.beta_tilde,
            "sigma2": sigma2,
            # Algorithm 2, line 3: z = 0 at the last step.
            "sampling_noise": torch.where(torch.arange(s.T + 1) > 1, sigma2.sqrt(), 0.0),
        }
        # t = 0 is not a step: where it cannot be refused, it must show.
        nan = torch.full((1,), torch.nan, dtype=torch.float64)
        self._tables64 = {k: torch.cat([nan, table[1:]]) for k, table in self._tables64.items()}
        self._tables: dict[tuple[torch.device, torch.dtype], dict[str, Tensor]] = {}

    @property
    def T(self) -> int:
        """The number of steps."""
        return self.schedule.T

    # The forward process.

    def q_step(
        self,
        x_prev: Float[Tensor, "B *D"],
        t: int | Shaped[Tensor, " B"],
        eps: Float[Tensor, "B *D"] | None = None,
    ) -> Float[Tensor, "B *D"]:
        """Sample q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t I), one step of the chain.

        Eq. {eq}`eq-q-step`; T of them in a row are Eq. {eq}`eq-q-chain`. Ho et al. (2020), Eq. 2.

        Args:
            x_prev: [B, ...], x_{t-1}.
            t: the step taken, in 1..T.
            eps: [B, ...] standard normal noise; drawn when not given.
        """
        t = self._check(t, x_prev=x_prev, eps=eps)
        eps = torch.randn_like(x_prev) if eps is None else eps
        keep, noise = self._at("sqrt_alpha", t, x_prev), self._at("sqrt_beta", t, x_prev)
        return (keep * x_prev + noise * eps).to(x_prev.dtype)

    def q_mean_variance(
        self, x0: Float[Tensor, "B *D"], t: int | Shaped[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B *D"], Float[Tensor, "B *one"]]:
        """Mean [B, ...] and variance [B, 1, ...] of q(x_t | x_0).

        N(sqrt(alpha_bar_t) x0, (1 - alpha_bar_t) I). Eq. {eq}`eq-q-sample`; Ho et al. (2020),
        Eq. 4.
        """
        t = self._check(t, x0=x0)
        mean = self._at("sqrt_alpha_bar", t, x0) * x0
        return mean.to(x0.dtype), self._at("one_minus_alpha_bar", t, x0)

    def q_sample(
        self,
        x0: Float[Tensor, "B *D"],
        t: int | Shaped[Tensor, " B"],
        eps: Float[Tensor, "B *D"] | None = None,
    ) -> Float[Tensor, "B *D"]:
        """Sample q(x_t | x_0): t steps of the chain in one.

        x_t = sqrt(alpha_bar_t) x0 + sqrt(1 - alpha_bar_t) eps. Eq. {eq}`eq-q-sample`;
        Ho et al. (2020), Eq. 4.

        Args:
            x0: [B, ...] in [-1, 1].
            t: in 1..T.
            eps: [B, ...] standard normal noise; drawn when not given.
        """
        t = self._check(t, x0=x0, eps=eps)
        eps = torch.randn_like(x0) if eps is None else eps
        signal = self._at("sqrt_alpha_bar", t, x0)
        noise = self._at("sqrt_one_minus_alpha_bar", t, x0)
        return (signal * x0 + noise * eps).to(x0.dtype)

    def q_posterior(
        self,
        x0: Float[Tensor, "B *D"],
        xt: Float[Tensor, "B *D"],
        t: int | Shaped[Tensor, " B"],
    ) -> tuple[Float[Tensor, "B *D"], Float[Tensor, "B *one"]]:
        """Mean mu_tilde [B, ...] and variance beta_tilde [B, 1, ...] of q(x_{t-1} | x_t, x_0).

        Ho et al. (2020), Eqs. 6 and 7. At t = 1 the variance is zero: x_0 is given.
        """
        t = self._check(t, x0=x0, xt=xt)
        return self._mu_tilde(x0, xt, t), self._at("beta_tilde", t, x0)

    # The reverse process.

    def p_mean_variance(
        self,
        model: Model,
        xt: Float[Tensor, "B *D"],
        t: int | Shaped[Tensor, " B"],
        clip: bool = True,
    ) -> Prediction:
        """p_theta(x_{t-1} | x_t): the posterior with x_0 replaced by the model's estimate of it.

        x0_hat = (x_t - sqrt(1 - alpha_bar_t) eps_theta(x_t, t)) / sqrt(alpha_bar_t), put into
        mu_tilde; without clipping that is Ho et al. (2020), Eq. 11.

        Args:
            model: `(xt, t) -> eps_hat`, both [B, ...].
            xt: [B, ...].
            t: in 1..T.
            clip: hold x0_hat in [-1, 1], where the data lie.
        """
        t = self._check(t, xt=xt)
        eps_hat = _call(model, xt, t)
        noise = self._at("sqrt_one_minus_alpha_bar", t, xt)
        x0_hat = (xt - noise * eps_hat) / self._at("sqrt_alpha_bar", t, xt)
        if clip:
            x0_hat = x0_hat.clamp(-1, 1)
        mean = self._mu_tilde(x0_hat, xt, t)
        return Prediction(mean, self._at("sigma2", t, xt), x0_hat, eps_hat)

    def p_sample(
        self,
        model: Model,
        xt: Float[Tensor, "B *D"],
        t: int | Shaped[Tensor, " B"],
        clip: bool = True,
        noise: Float[Tensor, "B *D"] | None = None,
    ) -> Float[Tensor, "B *D"]:
        """Sample p_theta(x_{t-1} | x_t); at t = 1, take its mean. Ho et al. (2020), Algorithm 2."""
        t = self._check(t, xt=xt, noise=noise)
        out = self.p_mean_variance(model, xt, t, clip)
        return self.p_draw(out, t, torch.randn_like(xt) if noise is None else noise)

    def p_draw(
        self, out: Prediction, t: Int[Tensor, " B"], noise: Float[Tensor, "B *D"]
    ) -> Float[Tensor, "B *D"]:
        """mean + sigma_t z, without noise at t = 1. Ho et al. (2020), Algorithm 2, line 4."""
        return (out.mean + self._at("sampling_noise", t, noise) * noise).to(noise.dtype)

    def p_losses(
        self,
        model: Model,
        x0: Float[Tensor, "B *D"],
        t: int | Shaped[Tensor, " B"],
        eps: Float[Tensor, "B *D"] | None = None,
    ) -> Float[Tensor, " B"]:
        """L_simple per sample: the mean of (eps - eps_theta(x_t, t))^2 over all dimensions.

        Ho et al. (2020), Eq. 14, which sums where this takes the mean.

        Args:
            model: `(xt, t) -> eps_hat`.
            x0: [B, ...] in [-1, 1].
            t: in 1..T.
            eps: [B, ...] standard normal noise; drawn when not given.
        """
        t = self._check(t, x0=x0, eps=eps)
        eps = torch.randn_like(x0) if eps is None else eps
        eps_hat = _call(model, self.q_sample(x0, t, eps), t)
        return reduce((eps - eps_hat) ** 2, "b ... -> b", "mean")

    # Coefficients and checks.

    def _mu_tilde(self, x0: Tensor, xt: Tensor, t: Tensor) -> Tensor:
        mean = self._at("mu_tilde_x0", t, x0) * x0 + self._at("mu_tilde_xt", t, xt) * xt
        return mean.to(x0.dtype)

    def _at(self, name: str, t: Tensor, like: Tensor) -> Tensor:
        """Entry t of a table, shaped [B, 1, ...] to broadcast against `like`.

        Tables are computed once in float64 and kept per device and dtype, never below float32.
        """
        dtype = torch.promote_types(like.dtype, torch.float32)
        key = like.device, dtype
        if key not in self._tables:
            self._tables[key] = {
                name: table.to(dtype).to(like.device) for name, table in self._tables64.items()
            }
        return self._tables[key][name].index_select(0, t).view(-1, *[1] * (like.ndim - 1))

    def _check(self, t: int | Tensor, **tensors: Tensor | None) -> Int[Tensor, " B"]:
        """Refuse bad input by name; return t as a [B] tensor on the device of the data.

        Values are looked at on the CPU only: on an accelerator that would wait for the device.
        There, index_select itself refuses a t outside 0..T.
        """
        first = next(iter(tensors))
        x = tensors[first]
        assert x is not None
        for name, value in tensors.items():
            if value is None:
                continue
            if not value.is_floating_point():
                raise TypeError(f"{name} must be floating point in [-1, 1], got {value.dtype}")
            if value.shape != x.shape:
                raise ValueError(
                    f"{name} must have the shape of {first}, {tuple(x.shape)}, "
                    f"got {tuple(value.shape)}"
                )
            if name in ("x0", "x_prev") and value.device.type == "cpu":
                _check_finite(name, value)
        if isinstance(t, int):
            _check_range(t, t, self.T)
            return torch.full((len(x),), t, device=x.device)
        if not isinstance(t, Tensor) or t.dtype not in (torch.int64, torch.int32):
            got = t.dtype if isinstance(t, Tensor) else f"{t!r} of type {type(t).__name__}"
            raise TypeError(f"t must be an integer or a tensor of int64 or int32, got {got}")
        if t.shape != (len(x),):
            raise ValueError(
                f"t must be an integer or have one entry per sample, shape ({len(x)},), "
                f"got {tuple(t.shape)}"
            )
        if t.device.type == "cpu" and not torch.compiler.is_compiling() and len(t):
            _check_range(int(t.min()), int(t.max()), self.T)
        return t


def _call(model: Model, xt: Tensor, t: Tensor) -> Tensor:
    out = model(xt, t)
    if out.shape != xt.shape:
        raise ValueError(
            f"the model's output must have the shape of xt, {tuple(xt.shape)}, "
            f"got {tuple(out.shape)}"
        )
    return out


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")


def _check_range(low: int, high: int, T: int) -> None:
    if low < 1 or high > T:
        raise ValueError(f"t must lie in 1..{T}, got {low if low < 1 else high}")


def _check_finite(name: str, value: Tensor) -> None:
    if torch.compiler.is_compiling() or value.isfinite().all():
        return
    bad = (~value.isfinite()).nonzero()
    raise ValueError(
        f"{name} must be finite, got {len(bad)} NaN or infinite values, "
        f"the first at index {tuple(bad[0].tolist())}"
    )
