"""The forward process q: from an image to noise, its posterior, and the network's coordinates.

The methods of q are named as the distributions that they are. Images are [B, ...] in [-1, 1]; t is
an integer or a [B] tensor of integers in 1..T.

What is public takes its arguments through `door`, which knows their kinds, and checks images and t.
Its twin with an underscore checks nothing; the samplers and the losses call that.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ddpm_lite._doors import door
from ddpm_lite._shapes import Column, Images, PerTime, Time
from ddpm_lite.schedule import NoiseSchedule

__all__ = ["Coefficient", "ForwardProcess", "Objective"]

Objective = Literal["eps", "x0", "v", "mu", "u"]


class Coefficient:
    """A number for every t, to multiply images by: computed once, in float64.

    Handed out in the dtype and on the device of the images, never below float32. At t = 0, which
    is not a step, it is NaN: where that t cannot be refused, it must show.

    Args:
        values: [T + 1], entry t; that of t = 0 is not looked at.
    """

    def __init__(self, values: PerTime):
        with torch.inference_mode(False):  # for use in every mode of autograd
            self.float64 = torch.cat([torch.full_like(values[:1], torch.nan), values[1:]])
        self._tables: dict[tuple[torch.dtype, torch.device], Tensor] = {}
        self._entries: dict[tuple[torch.dtype, torch.device, int], tuple[Tensor, ...]] = {}

    def __reduce__(self) -> tuple[type["Coefficient"], tuple[Tensor]]:
        return Coefficient, (self.float64,)  # a pickle holds the numbers once

    @cached_property
    def numbers(self) -> list[float]:
        """Entry t as a Python number."""
        return self.float64.tolist()

    def at(self, t: Time, like: Tensor) -> Tensor:
        """Entry t, to multiply `like` by: [1, 1, ...], or [B, 1, ...] for a tensor t.

        For an integer t it is a part of the table, and not to be written to. A product with a
        Python number would take twice as long, and next to halves be rounded to halves.
        """
        if isinstance(t, int):
            key = like.dtype, like.device, like.ndim
            if key not in self._entries:
                self._entries[key] = self._table(like).view(-1, *[1] * like.ndim).unbind()
            return self._entries[key][t]
        return self._table(like).index_select(0, t).view(-1, *[1] * (like.ndim - 1))

    def column(self, t: Time, like: Tensor) -> Column:
        """Entry t as a tensor [B, 1, ...], whatever t is."""
        if isinstance(t, int):
            shape = (like.shape[0], *[1] * (like.ndim - 1))
            dtype = torch.promote_types(like.dtype, torch.float32)
            return torch.full(shape, self.numbers[t], dtype=dtype, device=like.device)
        return self.at(t, like)

    def _table(self, like: Tensor) -> Tensor:
        """Every entry as `like` is."""
        key = like.dtype, like.device
        if key not in self._tables:
            dtype = torch.promote_types(like.dtype, torch.float32)
            with torch.inference_mode(False):
                self._tables[key] = self.float64.to(dtype).to(like.device)
        return self._tables[key]


def at_every_t(formula: Callable[[NoiseSchedule], Tensor]) -> cached_property[Coefficient]:
    """An attribute of a process: a formula in the symbols of its schedule, computed when used."""
    return cached_property(lambda process: Coefficient(formula(process.schedule)))


@dataclass(frozen=True)
class ForwardProcess:
    """q over one noise schedule.

    Args:
        schedule: the variances beta_1..beta_T.
    """

    schedule: NoiseSchedule

    # Of one step, Eq. 2; of t steps, Eq. 4; and of the posterior, Eq. 7.
    sqrt_alpha = at_every_t(lambda s: s.alpha.sqrt())
    sqrt_beta = at_every_t(lambda s: s.beta.sqrt())
    sqrt_alpha_bar = at_every_t(lambda s: s.alpha_bar.sqrt())
    sqrt_one_minus_alpha_bar = at_every_t(lambda s: (1 - s.alpha_bar).sqrt())
    one_minus_alpha_bar = at_every_t(lambda s: 1 - s.alpha_bar)
    # mu_tilde = mu_tilde_x0 x_0 + mu_tilde_xt x_t, Eq. 7.
    mu_tilde_x0 = at_every_t(lambda s: s.alpha_bar_prev.sqrt() * s.beta / (1 - s.alpha_bar))
    mu_tilde_xt = at_every_t(lambda s: s.alpha.sqrt() * (1 - s.alpha_bar_prev) / (1 - s.alpha_bar))
    beta_tilde = at_every_t(lambda s: s.beta_tilde)  # Eq. 7 too
    # x_t per point of the straight line from x_0 to the noise.
    per_line = at_every_t(lambda s: s.alpha_bar.sqrt() + (1 - s.alpha_bar).sqrt())

    @property
    def T(self) -> int:
        """The number of steps."""
        return self.schedule.T

    @door
    def q_step(self, x_prev: Images, t: Time, eps: Images | None = None) -> Images:
        """Sample q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t I), one step of the chain.

        Eq. {eq}`eq-q-step`; T of them in a row are Eq. {eq}`eq-q-chain`. Ho et al. (2020), Eq. 2.

        Args:
            x_prev: [B, ...], x_{t-1}.
            t: the step taken, in 1..T.
            eps: [B, ...] standard normal noise; drawn when not given.
        """
        t = self._check(t, x_prev=x_prev, eps=eps)
        eps = torch.randn_like(x_prev) if eps is None else eps
        # Eq. 2.
        xt = self.sqrt_alpha.at(t, x_prev) * x_prev + self.sqrt_beta.at(t, x_prev) * eps
        return xt.to(x_prev)

    @door
    def q_mean_variance(self, x0: Images, t: Time) -> tuple[Images, Column]:
        """Mean [B, ...] and variance [B, 1, ...] of q(x_t | x_0).

        N(sqrt(alpha_bar_t) x0, (1 - alpha_bar_t) I). Eq. {eq}`eq-q-sample`; Ho et al. (2020),
        Eq. 4.
        """
        t = self._check(t, x0=x0)
        mean = self.sqrt_alpha_bar.at(t, x0) * x0
        return mean.to(x0), self.one_minus_alpha_bar.column(t, x0)

    @door
    def q_sample(self, x0: Images, t: Time, eps: Images | None = None) -> Images:
        """Sample q(x_t | x_0): t steps of the chain in one.

        x_t = sqrt(alpha_bar_t) x0 + sqrt(1 - alpha_bar_t) eps. Eq. {eq}`eq-q-sample`;
        Ho et al. (2020), Eq. 4.

        Args:
            x0: [B, ...] in [-1, 1].
            t: in 1..T.
            eps: [B, ...] standard normal noise; drawn when not given.
        """
        t = self._check(t, x0=x0, eps=eps)
        return self._q_sample(x0, t, torch.randn_like(x0) if eps is None else eps)

    def _q_sample(self, x0: Tensor, t: Time, eps: Tensor) -> Tensor:
        # Eq. 4.
        xt = self.sqrt_alpha_bar.at(t, x0) * x0 + self.sqrt_one_minus_alpha_bar.at(t, x0) * eps
        return xt.to(x0)

    @door
    def q_posterior(self, x0: Images, xt: Images, t: Time) -> tuple[Images, Column]:
        """Mean mu_tilde [B, ...] and variance beta_tilde [B, 1, ...] of q(x_{t-1} | x_t, x_0).

        Eqs. {eq}`eq-posterior` and {eq}`eq-mu-tilde`; Ho et al. (2020), Eq. 6 and Eq. 7.
        At t = 1 the variance is zero: x_0 is given.
        """
        t = self._check(t, x0=x0, xt=xt)
        return self._mu_tilde(x0, xt, t), self.beta_tilde.column(t, x0)

    def _mu_tilde(self, x0: Tensor, xt: Tensor, t: Time) -> Tensor:
        # Eq. 7, whose factors stand above.
        return (self.mu_tilde_x0.at(t, x0) * x0 + self.mu_tilde_xt.at(t, xt) * xt).to(x0)

    # What a network may predict. For a given x_t each is a straight line in x_0.

    @cached_property
    def _affine(self) -> dict[Objective, tuple[Tensor, Tensor]]:
        """Each prediction as p x_0 + r x_t: its p and its r. The noise in x_t is eps by Eq. 4."""
        a, b = self.sqrt_alpha_bar.float64, self.sqrt_one_minus_alpha_bar.float64
        return {
            "eps": (-a / b, 1 / b),  # (x_t - a x_0) / b
            "x0": (torch.ones_like(a), torch.zeros_like(a)),
            "v": (-1 / b, a / b),  # a eps - b x_0, and a^2 + b^2 = 1
            "mu": (self.mu_tilde_x0.float64, self.mu_tilde_xt.float64),  # Eq. 7
            "u": (-(a + b) / b, 1 / b),  # eps - x_0
        }

    @cached_property
    def conversions(self) -> dict[tuple[Objective, Objective], tuple[Coefficient, Coefficient]]:
        """(given, wanted) -> the two in wanted = first * given + second * x_t.

        From "eps" to "x0" they are those of Eq. 15, from "eps" to "mu" those of Eq. 11.
        """
        found = {}
        for given, (p, r) in self._affine.items():
            for wanted, (p_wanted, r_wanted) in self._affine.items():
                slope = p_wanted / p
                pair = Coefficient(slope), Coefficient(r_wanted - slope * r)
                found[given, wanted] = pair
        return found

    @door
    def target(self, objective: Objective, x0: Images, xt: Images, eps: Images, t: Time) -> Images:
        """What a network with this objective should say about xt, [B, ...].

        eps, the noise; x0, the image; v = sqrt(alpha_bar_t) eps - sqrt(1 - alpha_bar_t) x0
        (Eq. {eq}`eq-v`; Salimans and Ho, 2022, Section 4); mu, the posterior's mean mu_tilde
        (Ho et al., 2020, Eq. 7 and Eq. 8), which in terms of the noise is
        (xt - beta_t / sqrt(1 - alpha_bar_t) eps) / sqrt(alpha_t); Ho et al. (2020), Eq. 9;
        u = eps - x0, the velocity of flow matching on the line from x0 to eps (Eq. {eq}`eq-u`;
        Lipman et al., 2023, Section 4.1; Liu et al., 2023, Eq. 1).
        """
        t = self._check(t, x0=x0, xt=xt, eps=eps)
        check_choice("objective", objective, get_args(Objective))
        return self._target(objective, x0, xt, eps, t)

    def _target(self, objective: Objective, x0: Tensor, xt: Tensor, eps: Tensor, t: Time) -> Tensor:
        match objective:
            case "eps":
                return eps
            case "x0":
                return x0
            case "v":
                a, b = self.sqrt_alpha_bar.at(t, x0), self.sqrt_one_minus_alpha_bar.at(t, x0)
                return (a * eps - b * x0).to(x0)
            case "mu":
                return self._convert(x0, xt, t, "x0", "mu")
            case "u":
                return eps - x0

    @door
    def convert(
        self, output: Images, xt: Images, t: Time, given: Objective, wanted: Objective
    ) -> Images:
        """The same prediction in another coordinate, for instance x0_hat from eps_hat.

        For a given xt, each of eps, x0, v, mu and u is a straight line in x0, so each is one in any
        other. From eps to x0 it is x0_hat = (x_t - sqrt(1 - alpha_bar_t) eps_hat) /
        sqrt(alpha_bar_t); Ho et al. (2020), Eq. 15. From eps to mu it is Eq. {eq}`eq-mu-eps`, their
        Eq. 11. From u to x0 it is Eq. {eq}`eq-from-u`.

        Raises:
            ValueError: eps given at a t where alpha_bar_t = 0: x_t is the noise, whatever x0 is.
        """
        check_choice("given", given, get_args(Objective))
        check_choice("wanted", wanted, get_args(Objective))
        t = self._check(t, xt=xt, output=output)
        # Values of t are looked at only where a schedule ends in zero.
        if given == "eps" != wanted and self.schedule.alpha_bar[-1] == 0:
            last = t == self.T
            if bool(last.any() if isinstance(last, Tensor) else last):
                raise ValueError(f"eps says nothing of x0 where alpha_bar_t = 0, got t = {self.T}")
        return self._convert(output, xt, t, given, wanted)

    def _convert(
        self, output: Tensor, xt: Tensor, t: Time, given: Objective, wanted: Objective
    ) -> Tensor:
        if given == wanted:
            return output
        slope, shift = self.conversions[given, wanted]
        return (slope.at(t, xt) * output + shift.at(t, xt) * xt).to(xt)

    # The straight line from x_0 to the noise.

    @door
    def to_line(self, xt: Images, t: Time) -> Images:
        """The line's point (1 - s) x0 + s eps that x_t is a multiple of, s = `schedule.line[t]`.

        x_t / (sqrt(alpha_bar_t) + sqrt(1 - alpha_bar_t)). A network of flow matching is asked about
        this point, at this s. Eq. {eq}`eq-line`.
        """
        return (xt / self.per_line.at(self._check(t, xt=xt), xt)).to(xt)

    @door
    def from_line(self, z: Images, t: Time) -> Images:
        """x_t from the line's point z = (1 - s) x0 + s eps, s = `schedule.line[t]`.

        z divided by sqrt((1 - s)^2 + s^2), which undoes `to_line`. Eq. {eq}`eq-line`.
        """
        return (z * self.per_line.at(self._check(t, z=z), z)).to(z)

    def _check(self, t: Time, **tensors: Tensor | None) -> Time:
        """Refuse bad images and a bad t by name; return t. Only what is public checks.

        Values are looked at on the CPU only: on an accelerator that would wait for the device.
        There, index_select itself refuses a t outside 0..T.
        """
        first = next(iter(tensors))
        x = tensors[first]
        assert x is not None
        for name, value in tensors.items():
            if value is not None:
                _check_images(name, value, first, x)
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
            low, high = t.aminmax()
            _check_range(int(low), int(high), self.T)
        return t


def check_choice(name: str, value: object, allowed: tuple[Any, ...]) -> None:
    """Refuse a value that is not one of these."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")


def _check_range(low: int, high: int, T: int) -> None:
    if low < 1 or high > T:
        raise ValueError(f"t must lie in 1..{T}, got {low if low < 1 else high}")


def _check_images(name: str, value: Tensor, first: str, x: Tensor) -> None:
    if not value.is_floating_point():
        raise TypeError(f"{name} must be floating point in [-1, 1], got {value.dtype}")
    if value.shape != x.shape:
        raise ValueError(
            f"{name} must have the shape of {first}, {tuple(x.shape)}, got {tuple(value.shape)}"
        )
    if name not in ("x0", "x_prev") or value.device.type != "cpu":
        return
    if torch.compiler.is_compiling() or not value.numel():
        return
    if all(map(math.isfinite, value.detach().aminmax())):  # a NaN is both of them
        return
    bad = (~value.isfinite()).nonzero()
    raise ValueError(
        f"{name} must be finite, got {len(bad)} NaN or infinite values, "
        f"the first at index {tuple(bad[0].tolist())}"
    )
