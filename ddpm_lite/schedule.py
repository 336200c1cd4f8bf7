"""The noise schedule: how much noise each step of the forward process adds.

Time is the paper's: t runs over 1..T, and entry 0 of every tensor is the data itself,
so `alpha_bar[t - 1]` is the previous value and `alpha_bar[0]` is 1.
Elsewhere `alpha_bar` is called `alphas_cumprod` and counts from 0.
"""

import math
import operator
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ddpm_lite._doors import door
from ddpm_lite._shapes import PerTime

Spacing = Literal["trailing", "leading", "linspace"]

__all__ = [
    "NoiseSchedule",
    "Spacing",
    "cosine_schedule",
    "line_schedule",
    "linear_schedule",
    "sigmoid_schedule",
    "spaced_times",
    "zero_terminal_snr",
]


class NoiseSchedule:
    """The variances beta_1..beta_T and every quantity that follows from them alone.

    All tensors have T + 1 entries in float64 on the CPU: products of a thousand factors
    lose digits in float32. `Coefficient` hands them out in the dtype and on the device of
    the data.

    Args:
        beta: the T variances beta_1..beta_T, each strictly between 0 and 1; beta_T may be 1, after
            which nothing is left of x_0.

    Raises:
        TypeError: beta does not hold floating-point numbers.
        ValueError: beta is not one-dimensional, is empty, or leaves (0, 1).
    """

    def __init__(self, beta: Float[Tensor, " T"] | list[float]):
        if not isinstance(beta, Tensor):  # float32 would lose digits of a list
            try:
                beta = torch.as_tensor(beta, dtype=torch.float64, device="cpu")
            except (TypeError, ValueError, RuntimeError):
                kind = type(beta).__name__
                raise TypeError(
                    f"beta must be a tensor, an array or a list of numbers, got {kind}"
                ) from None
        beta = beta.detach().cpu()
        if not beta.is_floating_point():
            raise TypeError(f"beta must hold floating-point numbers, got dtype {beta.dtype}")
        if beta.ndim != 1 or len(beta) == 0:
            raise ValueError(
                f"beta must be one-dimensional with T >= 1 entries, got shape {tuple(beta.shape)}"
            )
        outside = ~((beta > 0) & (beta < 1))  # written so that NaN counts as outside
        outside[-1] &= beta[-1] != 1
        if outside.any():
            t = int(outside.nonzero()[0]) + 1
            value = beta[t - 1].item()
            raise ValueError(f"every beta must lie in (0, 1), got beta_{t} = {value:g}")
        self.beta: PerTime = torch.cat([torch.zeros(1, device="cpu"), beta.double()])
        """beta_t, the variance of the noise that step t adds; beta_0 = 0."""

    @property
    def T(self) -> int:
        """The number of steps."""
        return len(self.beta) - 1

    @cached_property
    def alpha(self) -> PerTime:
        """alpha_t = 1 - beta_t, the share of variance that step t keeps."""
        return 1 - self.beta

    @cached_property
    def alpha_bar(self) -> PerTime:
        """alpha_bar_t = alpha_1 alpha_2 ... alpha_t; alpha_bar_0 = 1. Eq. {eq}`eq-alpha-bar`."""
        return self.alpha.cumprod(0)

    @cached_property
    def alpha_bar_prev(self) -> PerTime:
        """alpha_bar_{t-1}, moved to place t; entry 0 has no predecessor and repeats 1."""
        return torch.cat([self.alpha_bar[:1], self.alpha_bar[:-1]])

    @cached_property
    def beta_tilde(self) -> PerTime:
        """The variance of q(x_{t-1} | x_t, x_0); zero at t = 1. Ho et al. (2020), Eq. 7.

        beta_tilde_t = (1 - alpha_bar_{t-1}) / (1 - alpha_bar_t) beta_t. Eq. {eq}`eq-beta-tilde`.
        """
        return _zero_first((1 - self.alpha_bar_prev) / (1 - self.alpha_bar) * self.beta)

    @cached_property
    def snr(self) -> PerTime:
        """The signal-to-noise ratio alpha_bar_t / (1 - alpha_bar_t); infinite at t = 0.

        Eq. {eq}`eq-snr`; Kingma et al. (2021), Eq. 2.
        """
        return self.alpha_bar / (1 - self.alpha_bar)

    @cached_property
    def line(self) -> PerTime:
        """s_t, the place of x_t on the straight line from x_0 to the noise: 0 at t = 0.

        s_t = sqrt(1 - alpha_bar_t) / (sqrt(alpha_bar_t) + sqrt(1 - alpha_bar_t)), so that the
        point (1 - s) x_0 + s eps has the signal-to-noise ratio of x_t. Eq. {eq}`eq-line`.
        """
        signal, noise = self.alpha_bar.sqrt(), (1 - self.alpha_bar).sqrt()
        return noise / (signal + noise)

    @door
    def subsequence(self, times: list[int]) -> "NoiseSchedule":
        """The chain that stops only at the given times, with beta recomputed from alpha_bar.

        Step i goes from times[i - 1] to times[i] at once, so its alpha is the product of those it
        skips: beta_i = 1 - alpha_bar_{times[i]} / alpha_bar_{times[i-1]}. Nichol and Dhariwal
        (2021), Eq. 19.

        Args:
            times: increasing integers in 1..T.

        Raises:
            TypeError: a time that is no integer.
            ValueError: no times, times that do not increase, or a time outside 1..T.
        """
        try:
            times = [operator.index(t) for t in times]
        except TypeError:
            raise TypeError(f"times must hold integers, got {times}") from None
        steps = zip([0, *times], times, strict=False)
        if not times or any(now <= before for before, now in steps) or times[-1] > self.T:
            raise ValueError(f"times must be increasing integers in 1..{self.T}, got {times}")
        alpha_bar = self.alpha_bar[[0, *times]]
        return _from_alpha_bar(alpha_bar)

    @door
    def rescaled(self, T: int) -> "NoiseSchedule":
        """The same loss of signal in T steps, more or fewer than now.

        alpha_bar is a function of the share t / T of the way; its logarithm is drawn as straight
        lines between the steps and read off at T places. Where T divides the present number of
        steps, this is the subsequence of every so many of them.

        Raises:
            TypeError: T is not an integer.
            ValueError: T < 1, or alpha_bar_T is zero, which has no logarithm.
        """
        _check_length(T)
        if self.alpha_bar[-1] == 0:
            raise ValueError(
                "a schedule can be rescaled where alpha_bar_T > 0, got alpha_bar_T = 0"
            )
        position = torch.arange(T + 1, dtype=torch.float64, device="cpu") * self.T / T
        before = position.floor().long().clamp(max=self.T - 1)
        log = self.alpha.log().cumsum(0)
        log = log[before].lerp(log[before + 1], position - before)
        return NoiseSchedule(-torch.expm1(log.diff()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NoiseSchedule) and torch.equal(self.beta, other.beta)

    def __hash__(self) -> int:
        return hash(self.beta.numpy().tobytes())

    def __repr__(self) -> str:
        return (
            f"NoiseSchedule(T={self.T}, beta_1={self.beta[1]:.4g}, beta_T={self.beta[-1]:.4g}, "
            f"alpha_bar_T={self.alpha_bar[-1]:.4g})"
        )


@door
def linear_schedule(
    T: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02
) -> NoiseSchedule:
    """T variances evenly spaced from beta_start to beta_end. Eq. {eq}`eq-linear-schedule`.

    The defaults are the paper's (Ho et al., 2020, Section 4). They belong to T = 1000: a
    shorter chain with the same two numbers stops before the image is gone. The paper's
    schedule in fewer steps is `linear_schedule().rescaled(T)`.

    Raises:
        TypeError: T is not an integer.
        ValueError: T < 1, or a beta outside (0, 1).
    """
    _check_length(T)
    beta = torch.linspace(beta_start, beta_end, T, dtype=torch.float64, device="cpu")
    return NoiseSchedule(beta)


@door
def cosine_schedule(T: int = 1000, s: float = 0.008, beta_max: float = 0.999) -> NoiseSchedule:
    """The schedule whose alpha_bar follows a squared cosine. Eq. {eq}`eq-cosine-schedule`.

    alpha_bar_t = f(t) / f(0), f(t) = cos((t / T + s) / (1 + s) pi / 2)^2; each beta is held
    at beta_max or below, since the last ratio would be zero. Nichol and Dhariwal (2021), Eq. 17.

    Raises:
        TypeError: T is not an integer.
        ValueError: T < 1, s < 0, or beta_max outside (0, 1).
    """
    _check_length(T)
    if not s >= 0:
        raise ValueError(f"s must not be negative, got {s}")
    if not 0 < beta_max < 1:
        raise ValueError(f"beta_max must lie in (0, 1), got {beta_max}")
    u = torch.arange(T + 1, dtype=torch.float64, device="cpu") / T
    f = torch.cos((u + s) / (1 + s) * math.pi / 2) ** 2
    return NoiseSchedule((1 - f[1:] / f[:-1]).clamp(max=beta_max))


@door
def sigmoid_schedule(
    T: int = 1000,
    start: float = -3.0,
    end: float = 3.0,
    tau: float = 1.0,
    beta_max: float = 0.999,
) -> NoiseSchedule:
    """The schedule whose alpha_bar follows a falling logistic curve from 1 to 0.

    alpha_bar_t = (f(end) - f(start + (end - start) t / T)) / (f(end) - f(start)), where
    f(x) = 1 / (1 + exp(-x / tau)); each beta is held at beta_max or below. Jabri et al. (2022);
    Chen (2023), Section 2.1.

    Raises:
        TypeError: T is not an integer.
        ValueError: T < 1, start >= end, tau <= 0, or beta_max outside (0, 1).
    """
    _check_length(T)
    if not start < end:
        raise ValueError(f"start must be less than end, got start = {start} and end = {end}")
    if not tau > 0:
        raise ValueError(f"tau must be positive, got {tau}")
    if not 0 < beta_max < 1:
        raise ValueError(f"beta_max must lie in (0, 1), got {beta_max}")
    x = torch.linspace(start, end, T + 1, dtype=torch.float64, device="cpu")
    f = torch.sigmoid(x / tau)
    left = f[-1] - f  # alpha_bar up to a factor, which cancels
    return NoiseSchedule((1 - left[1:] / left[:-1]).clamp(max=beta_max))


@door
def line_schedule(T: int = 1000) -> NoiseSchedule:
    """The line of flow matching, (1 - s) x_0 + s eps with s = t / T, as one more chain.

    alpha_bar_t = (1 - s)^2 / ((1 - s)^2 + s^2), which has the line's signal-to-noise ratio; x_t is
    the line's point divided by sqrt((1 - s)^2 + s^2). At T nothing is left of x_0. Eq.
    {eq}`eq-line`; Lipman et al. (2023), Section 4.1; Liu et al. (2023), Eq. 1.

    Raises:
        TypeError: T is not an integer.
        ValueError: T < 1.
    """
    _check_length(T)
    s = torch.arange(T + 1, dtype=torch.float64, device="cpu") / T
    alpha_bar = (1 - s) ** 2 / ((1 - s) ** 2 + s**2)
    return _from_alpha_bar(alpha_bar)


@door
def zero_terminal_snr(schedule: NoiseSchedule) -> NoiseSchedule:
    """The schedule, moved and stretched until nothing is left of x_0 at T; its first step stays.

    sqrt(alpha_bar_t) becomes (r_t - r_T) r_1 / (r_1 - r_T), with r_t = sqrt(alpha_bar_t). At T the
    noise says nothing of x_0: a network must predict v, x0, mu or u there. Eq. {eq}`eq-zero-snr`;
    Lin et al. (2024), Algorithm 1.

    Raises:
        ValueError: one step, which is the first and the last, or no loss of signal after the first.
    """
    if schedule.T < 2:
        raise ValueError(f"the schedule must have T >= 2 steps, got T = {schedule.T}")
    root = schedule.alpha_bar.sqrt()
    if not root[-1] < root[1]:
        raise ValueError(
            "alpha_bar must fall after the first step, got alpha_bar_1 = alpha_bar_T = "
            f"{schedule.alpha_bar[-1]:g}"
        )
    root = (root - root[-1]) * root[1] / (root[1] - root[-1])
    alpha_bar = torch.cat([schedule.alpha_bar[:1], root[1:] ** 2])
    return _from_alpha_bar(alpha_bar)


@door
def spaced_times(T: int, steps: int, spacing: Spacing = "trailing") -> list[int]:
    """`steps` of the times 1..T, evenly spaced; Lin et al. (2024), Table 2.

    "trailing" ends at T: round(i T / steps) for i = 1..steps. "leading" begins at 1, in steps of
    floor(T / steps), and ends before T unless it takes every t. "linspace" begins at 1 and, from
    two steps on, ends at T. A chain that starts from noise has to start at T, where the data are
    gone.

    Raises:
        ValueError: steps outside 1..T, or another spacing.
    """
    if not 1 <= steps <= T:
        raise ValueError(f"steps must lie in 1..{T}, got {steps}")
    if spacing == "leading":
        return [1 + i * (T // steps) for i in range(steps)]
    if spacing == "linspace":
        return [round(1 + i * (T - 1) / max(steps - 1, 1)) for i in range(steps)]
    return [round(i * T / steps) for i in range(1, steps + 1)]


def _from_alpha_bar(alpha_bar: Tensor) -> NoiseSchedule:
    return NoiseSchedule(1 - alpha_bar[1:] / alpha_bar[:-1])


def _check_length(T: int) -> None:
    if not isinstance(T, int):
        raise TypeError(f"T must be an integer, got {T!r} of type {type(T).__name__}")
    if T < 1:
        raise ValueError(f"T must be at least 1, got {T}")


def _zero_first(table: Tensor) -> Tensor:
    """Replace entry 0, where 0 / 0 stands, by the limit that the formulas intend."""
    table[0] = 0
    return table
