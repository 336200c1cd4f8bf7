"""The reverse process p_theta: one step from x_t to x_{t-1}, by a network.

Images are [B, ...] in [-1, 1]; t is an integer or a [B] tensor of integers in 1..T; a model is
any callable `(xt, t) -> output`.
"""

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from ddpm_lite.forward import ForwardProcess, Objective, _not_one_of
from ddpm_lite.schedule import NoiseSchedule

__all__ = ["Model", "Prediction", "ReverseProcess"]

Model = Callable[..., Tensor]
Variance = Literal["beta", "beta_tilde", "learned"]
Process = TypeVar("Process", bound="ReverseProcess")


class Prediction(NamedTuple):
    """p_theta(x_{t-1} | x_t) and what it was made from."""

    mean: Float[Tensor, "B *D"]
    variance: Float[Tensor, "B *one"]
    x0_hat: Float[Tensor, "B *D"]
    eps_hat: Float[Tensor, "B *D"]


class ReverseProcess(ForwardProcess):
    """q and p_theta over one noise schedule.

    `GaussianDiffusion` adds the losses, and says what the arguments mean.
    """

    def __init__(
        self,
        schedule: NoiseSchedule,
        objective: Objective = "eps",
        variance: Variance = "beta",
        *,
        self_condition: bool = False,
        first_variance: float | None = None,
        levels: int | None = 256,
    ):
        for name, value, allowed in (
            ("objective", objective, get_args(Objective)),
            ("variance", variance, get_args(Variance)),
        ):
            if value not in allowed:
                raise ValueError(_not_one_of(name, value, allowed))
        if first_variance is not None and not 0 < first_variance < math.inf:
            raise ValueError(f"first_variance must be positive, got {first_variance}")
        if levels is not None and levels < 2:
            raise ValueError(f"levels must be at least 2, or None, got {levels}")
        super().__init__(schedule)
        self.objective, self.variance, self.self_condition = objective, variance, self_condition
        self.first_variance, self.levels = first_variance, levels
        self.times = list(range(schedule.T + 1))
        """The t that the model is told at each step: itself, except in a shortened chain."""
        self._told: dict[torch.device, Tensor] = {}

        lower = schedule.beta_tilde.clone()
        lower[1] = lower[2] if schedule.T > 1 else schedule.beta[1]
        sigma2 = schedule.beta.clone() if variance == "beta" else lower.clone()
        if first_variance is not None:
            sigma2[1] = first_variance
        self._set_tables(
            self._tables64
            | {
                "sigma2": sigma2,
                "log_beta": schedule.beta.log(),
                "log_beta_tilde": lower.log(),
                "kl_beta_tilde": lower,
                # Algorithm 2, line 3: z = 0 at the last step.
                "sampling_noise": torch.where(torch.arange(self.T + 1) > 1, sigma2.sqrt(), 0.0),
            }
        )

    @property
    def config(self) -> dict[str, Any]:
        """The arguments beside the schedule, with which another like this can be made."""
        names = ("objective", "variance", "self_condition", "first_variance", "levels")
        return {name: getattr(self, name) for name in names}

    def subsequence(self: Process, times: list[int]) -> Process:
        """The same model in a shortened chain that stops only at the given times.

        Its step i goes from times[i - 1] to times[i]; the model is told times[i]. Nichol and
        Dhariwal (2021), Section 4.

        Raises:
            ValueError: times that do not increase within 1..T.
        """
        short = type(self)(self.schedule.subsequence(times), **self.config)
        places = [0, *times]
        short.times = [self.times[t] for t in places]
        # The network's mu is that of the chain it was trained on.
        lines = {name: table[places] for name, table in self._tables64.items() if " per " in name}
        short._set_tables(short._tables64 | lines)
        return short

    def p_mean_variance(
        self,
        model: Model,
        xt: Float[Tensor, "B *D"],
        t: int | Shaped[Tensor, " B"],
        clip: bool = True,
        x0_prev: Float[Tensor, "B *D"] | None = None,
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
        return self.p_from_output(self._call(model, xt, t, x0_prev), xt, t, clip)

    def p_from_output(
        self,
        output: Float[Tensor, "B *out"],
        xt: Float[Tensor, "B *D"],
        t: int | Shaped[Tensor, " B"],
        clip: bool = True,
    ) -> Prediction:
        """p_theta(x_{t-1} | x_t) from what the model said; see `p_mean_variance`.

        A learned variance is Eq. {eq}`eq-learned-variance`.

        Args:
            output: [B, ...], or [B, 2 C, ...] where the variance is learned.
        """
        if self.variance == "learned":
            output, v = output.chunk(2, dim=1)
            log_beta, log_beta_tilde = (
                self._at(name, t, xt) for name in ("log_beta", "log_beta_tilde")
            )
            share = (v + 1) / 2
            variance = (share * log_beta + (1 - share) * log_beta_tilde).exp()
        else:
            variance = self._column("sigma2", t, xt)
        x0_hat = self._convert(output, xt, t, self.objective, "x0")
        if clip:
            x0_hat = x0_hat.clamp(-1, 1)
            eps_hat = self._convert(x0_hat, xt, t, "x0", "eps")
        else:
            eps_hat = self._convert(output, xt, t, self.objective, "eps")
        return Prediction(self._mu_tilde(x0_hat, xt, t), variance, x0_hat, eps_hat)

    def p_sample(
        self,
        model: Model,
        xt: Float[Tensor, "B *D"],
        t: int | Shaped[Tensor, " B"],
        clip: bool = True,
        noise: Float[Tensor, "B *D"] | None = None,
    ) -> Float[Tensor, "B *D"]:
        """Sample p_theta(x_{t-1} | x_t); at t = 1, take its mean.

        mean + sigma_t z; without clipping that is Eq. {eq}`eq-p-sample`. Ho et al. (2020),
        Algorithm 2, line 4.
        """
        t = self._check(t, xt=xt, noise=noise)
        out = self.p_mean_variance(model, xt, t, clip)
        return self.p_draw(out, t, torch.randn_like(xt) if noise is None else noise)

    def p_draw(
        self, out: Prediction, t: int | Shaped[Tensor, " B"], noise: Float[Tensor, "B *D"]
    ) -> Float[Tensor, "B *D"]:
        """mean + sigma_t z, without noise at t = 1. Ho et al. (2020), Algorithm 2, line 4."""
        sigma: Tensor | float
        if self.variance == "learned":
            late = t > 1 if isinstance(t, int) else (t > 1).view(-1, *[1] * (noise.ndim - 1))
            sigma = out.variance.sqrt() * late
        else:
            sigma = self._at("sampling_noise", t, noise)
        return (out.mean + sigma * noise).to(noise.dtype)

    # The model and its t.

    def _many(self, t: int | Tensor, x: Tensor) -> Tensor:
        return torch.full((len(x),), t, device=x.device) if isinstance(t, int) else t

    def _call(self, model: Model, xt: Tensor, t: int | Tensor, x0_prev: Tensor | None) -> Tensor:
        told = t
        if isinstance(t, int):
            told = self._many(self.times[t], xt)
        elif self.times[-1] != self.T:
            if t.device not in self._told:
                self._told[t.device] = torch.tensor(self.times, device=t.device)
            told = self._told[t.device].index_select(0, t)
        out = model(xt, told, x0_prev) if self.self_condition else model(xt, told)
        shape = list(xt.shape)
        if self.variance == "learned":
            shape[1] *= 2
        if list(out.shape) != shape:
            raise ValueError(
                f"the model's output must have the shape {tuple(shape)}, got {tuple(out.shape)}"
            )
        return out.to(xt.dtype)  # a network may compute in shorter floats
