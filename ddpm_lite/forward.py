"""The forward process q: from an image to noise, its posterior, and the network's coordinates.

Each method is named as the distribution it is. Images are [B, ...] in [-1, 1]; t is an
integer or a [B] tensor of integers in 1..T.
"""

from typing import Literal, get_args

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from ddpm_lite.schedule import NoiseSchedule

__all__ = ["ForwardProcess", "Objective"]

Objective = Literal["eps", "x0", "v", "mu"]


class ForwardProcess:
    """q over one noise schedule.

    Args:
        schedule: the variances beta_1..beta_T.
    """

    def __init__(self, schedule: NoiseSchedule):
        self.schedule = s = schedule
        a, b = s.alpha_bar.sqrt(), (1 - s.alpha_bar).sqrt()
        # mu_tilde = mu_tilde_x0 * x0 + mu_tilde_xt * xt, Ho et al. (2020), Eq. 7.
        mu_tilde_x0 = s.alpha_bar_prev.sqrt() * s.beta / (1 - s.alpha_bar)
        mu_tilde_xt = s.alpha.sqrt() * (1 - s.alpha_bar_prev) / (1 - s.alpha_bar)
        tables = {
            "sqrt_beta": s.beta.sqrt(),
            "sqrt_alpha": s.alpha.sqrt(),
            "sqrt_alpha_bar": a,
            "one_minus_alpha_bar": 1 - s.alpha_bar,
            "sqrt_one_minus_alpha_bar": b,
            "mu_tilde_x0": mu_tilde_x0,
            "mu_tilde_xt": mu_tilde_xt,
            "beta_tilde": s.beta_tilde,
        }
        # What a network may predict is, for a given xt, a straight line in x0: p * x0 + r * xt.
        one, zero = torch.ones_like(a), torch.zeros_like(a)
        self._lines: dict[str, tuple[Tensor, Tensor]] = {
            "eps": (-a / b, 1 / b),
            "x0": (one, zero),
            "v": (-1 / b, a / b),
            "mu": (mu_tilde_x0, mu_tilde_xt),
        }
        for given, (p, r) in self._lines.items():
            for wanted, (p_wanted, r_wanted) in self._lines.items():
                slope = p_wanted / p
                tables[f"{wanted} per {given}"] = slope
                tables[f"{wanted} from {given}, per xt"] = r_wanted - slope * r
        self._set_tables(tables)

    @property
    def T(self) -> int:
        """The number of steps."""
        return self.schedule.T

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
        return mean.to(x0.dtype), self._column("one_minus_alpha_bar", t, x0)

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

        Eqs. {eq}`eq-posterior` and {eq}`eq-mu-tilde`; Ho et al. (2020), Eqs. 6 and 7. At t = 1 the
        variance is zero: x_0 is given.
        """
        t = self._check(t, x0=x0, xt=xt)
        return self._mu_tilde(x0, xt, t), self._column("beta_tilde", t, x0)

    def target(
        self,
        objective: Objective,
        x0: Float[Tensor, "B *D"],
        xt: Float[Tensor, "B *D"],
        eps: Float[Tensor, "B *D"],
        t: int | Shaped[Tensor, " B"],
    ) -> Float[Tensor, "B *D"]:
        """What a network with this objective should say about xt, [B, ...].

        eps, the noise; x0, the image; v = sqrt(alpha_bar_t) eps - sqrt(1 - alpha_bar_t) x0
        (Eq. {eq}`eq-v`; Salimans and Ho, 2022, Section 4); mu, the posterior's mean mu_tilde
        (Ho et al., 2020, Eqs. 7 and 8), which in terms of the noise is
        (xt - beta_t / sqrt(1 - alpha_bar_t) eps) / sqrt(alpha_t); Ho et al. (2020), Eq. 9.
        """
        t = self._check(t, x0=x0, xt=xt, eps=eps)
        match objective:
            case "eps":
                return eps
            case "x0":
                return x0
            case "v":
                signal = self._at("sqrt_alpha_bar", t, x0)
                noise = self._at("sqrt_one_minus_alpha_bar", t, x0)
                return (signal * eps - noise * x0).to(x0.dtype)
            case "mu":
                return self.convert(x0, xt, t, "x0", "mu")
        raise ValueError(_not_one_of("objective", objective, get_args(Objective)))

    def convert(
        self,
        output: Float[Tensor, "B *D"],
        xt: Float[Tensor, "B *D"],
        t: int | Shaped[Tensor, " B"],
        given: Objective,
        wanted: Objective,
    ) -> Float[Tensor, "B *D"]:
        """The same prediction in another coordinate, for instance x0_hat from eps_hat.

        For a given xt, each of eps, x0, v and mu is a straight line in x0, so each is one in any
        other. From eps to x0 it is x0_hat = (x_t - sqrt(1 - alpha_bar_t) eps_hat) /
        sqrt(alpha_bar_t); Ho et al. (2020), Eq. 15. From eps to mu it is Eq. {eq}`eq-mu-eps`, their
        Eq. 11.
        """
        for name, value in (("given", given), ("wanted", wanted)):
            if value not in self._lines:
                raise ValueError(_not_one_of(name, value, get_args(Objective)))
        return self._convert(output, xt, self._check(t, xt=xt, output=output), given, wanted)

    # Coefficients and checks.

    def _convert(
        self, output: Tensor, xt: Tensor, t: int | Tensor, given: str, wanted: str
    ) -> Tensor:
        if given == wanted:
            return output
        slope = self._at(f"{wanted} per {given}", t, xt)
        return (slope * output + self._at(f"{wanted} from {given}, per xt", t, xt) * xt).to(
            xt.dtype
        )

    def _mu_tilde(self, x0: Tensor, xt: Tensor, t: int | Tensor) -> Tensor:
        mean = self._at("mu_tilde_x0", t, x0) * x0 + self._at("mu_tilde_xt", t, xt) * xt
        return mean.to(x0.dtype)

    def _set_tables(self, tables: dict[str, Tensor]) -> None:
        # t = 0 is not a step: where it cannot be refused, it must show.
        nan = torch.full((1,), torch.nan, dtype=torch.float64)
        self._tables64 = {name: torch.cat([nan, table[1:]]) for name, table in tables.items()}
        self._tables: dict[tuple[str, torch.device, torch.dtype], Tensor] = {}
        self._numbers: dict[str, list[float]] = {}

    def _at(self, name: str, t: int | Tensor, like: Tensor) -> Tensor | float:
        """Entry t of a table, to multiply `like` by: a number, or [B, 1, ...] for a tensor t.

        Tables are computed once in float64 and kept per device and dtype, never below float32:
        numbers next to half precision become tensors, for a product that is rounded once.
        """
        if isinstance(t, int):
            if like.dtype.itemsize >= 4:
                if name not in self._numbers:
                    self._numbers[name] = self._tables64[name].tolist()
                return self._numbers[name][t]
            t = torch.full((1,), t, device=like.device)
        dtype = torch.promote_types(like.dtype, torch.float32)
        key = name, like.device, dtype
        if key not in self._tables:
            self._tables[key] = self._tables64[name].to(dtype).to(like.device)
        return self._tables[key].index_select(0, t).view(-1, *[1] * (like.ndim - 1))

    def _column(self, name: str, t: int | Tensor, like: Tensor) -> Tensor:
        """Entry t of a table as a tensor [B, 1, ...], whatever t is."""
        entry = self._at(name, t, like)
        shape = len(like), *[1] * (like.ndim - 1)
        if isinstance(entry, Tensor):
            return entry.expand(shape)
        return torch.full(shape, entry, dtype=like.dtype, device=like.device)

    def _check(self, t: int | Tensor, **tensors: Tensor | None) -> int | Int[Tensor, " B"]:
        """Refuse bad input by name; return t.

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
            return t
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


def _not_one_of(name: str, value: object, allowed: tuple[str, ...]) -> str:
    return f"{name} must be one of {', '.join(allowed)}, got {value!r}"


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
