"""Solvers of the flow behind the chain, of second order: each is `ddim` with a better x_0.

The flow carries x_t to t = 0 without noise. Along it x_t / sqrt(alpha_bar_t) moves by eps_hat as
sqrt(1 / SNR) falls, and x_t / sqrt(1 - alpha_bar_t) moves by x0_hat as sqrt(SNR) grows. `ddim` with
eta = 0 is Euler's step of either.
"""

import math
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from ddpm_lite._doors import door
from ddpm_lite._shapes import Images
from ddpm_lite.diffusion import GaussianDiffusion, Model
from ddpm_lite.samplers import Noise, SampleStep, _bar, _begin, _shorten
from ddpm_lite.system.replay import played

__all__ = ["dpm_solver", "heun"]


@door
def heun(
    diffusion: GaussianDiffusion,
    model: Model,
    shape: tuple[int, ...],
    *,
    steps: int | list[int] = 25,
    average: Literal["x0", "eps"] = "x0",
    clip: bool = True,
    start: Images | None = None,
    t_start: int | None = None,
    noise: Noise | None = None,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
    progress: bool = False,
) -> Iterator[SampleStep]:
    """Heun's method on the flow: from t to s with the mean of what is said at both ends.

    Eq. {eq}`eq-heun`. A step of `ddim` finds x_s, the model is asked there too, and the step is
    taken again from x_t with the mean of the two answers; the last one, to t = 0, is plain, since
    no model knows t = 0. **The model is called 2 n - 1 times in n steps.**

    With average="eps" it is the trapezoid in sqrt(1 / SNR), Karras et al. (2022), Algorithm 1. An
    error of x0_hat at s then grows by half the ratio of the two sqrt(1 / SNR), which in the first
    step on the cosine schedule is 3269 for 5 steps and 16 for 1000. With average="x0", the default,
    it is the trapezoid in sqrt(SNR), of the same order, and the error is at least halved.

    With clip, both answers are held in [-1, 1], and so is the x_0 that their mean stands for.

    Args:
        steps: how many, evenly spaced and ending at T; or the times themselves, increasing.
        average: the answer of which the mean is taken.
        diffusion, model, shape, clip, start, t_start, noise, generator, device, progress: as for
            `ddim`.

    Raises:
        ValueError: average="eps" where alpha_bar_T = 0; as for `ddim`.
    """
    chain = _shorten(diffusion, steps)
    if average == "eps" and chain.schedule.alpha_bar[-1] == 0:
        raise ValueError("average must be 'x0' where alpha_bar_T = 0, got 'eps'")
    first, x, _ = _begin(chain, model, shape, start, t_start, noise, generator, device)
    model, x0_hat = played(model), None
    for t in _bar(range(first, 0, -1), progress):
        with torch.no_grad():
            out = chain._p_mean_variance(model, x, t, clip, x0_hat)
            x0_hat = best = out.x0_hat
            if t > 1:
                ahead = _step(chain, x, t, x0_hat)
                then = chain._p_mean_variance(model, ahead, t - 1, clip, x0_hat)
                best = (x0_hat + then.x0_hat) / 2
                if average == "eps":
                    best = chain._convert((out.eps_hat + then.eps_hat) / 2, x, t, "eps", "x0")
                    best = best.clamp(-1, 1) if clip else best
            x = _step(chain, x, t, best)
        yield SampleStep(chain.times[t - 1], x, x0_hat, out.eps_hat)


@door
def dpm_solver(
    diffusion: GaussianDiffusion,
    model: Model,
    shape: tuple[int, ...],
    *,
    steps: int | list[int] = 25,
    clip: bool = True,
    start: Images | None = None,
    t_start: int | None = None,
    noise: Noise | None = None,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
    progress: bool = False,
) -> Iterator[SampleStep]:
    """DPM-Solver++(2M): the flow with x_0 drawn on from the last two answers.

    Eq. {eq}`eq-dpm-solver`: `ddim` with x0_hat + h / (2 h') (x0_hat - x0_hat'), where h is the
    step in log sqrt(SNR), and a prime marks the step before. Lu et al. (2022), Algorithm 2. The
    first step has nothing before it, and the last one is endless in log sqrt(SNR): both are those
    of `ddim`, and so is the second where alpha_bar_T = 0 makes the first endless too. **The model
    is called once a step.**

    With clip, each answer is held in [-1, 1]; the x_0 drawn on from two of them may lie outside.

    The second order needs steps that change slowly in length. A schedule whose last beta is cut, as
    that of `cosine_schedule` and `sigmoid_schedule`, makes the first step far longer than the next,
    and its error is seen all the way: on the sigmoid schedule the order falls to one.

    Args:
        steps: how many, evenly spaced and ending at T; or the times themselves, increasing.
        diffusion, model, shape, clip, start, t_start, noise, generator, device, progress: as for
            `ddim`.

    Raises:
        ValueError: as for `ddim`.
    """
    chain = _shorten(diffusion, steps)
    place = (chain.schedule.snr.log() / 2).tolist()
    first, x, _ = _begin(chain, model, shape, start, t_start, noise, generator, device)
    model, x0_hat = played(model), None
    for t in _bar(range(first, 0, -1), progress):
        with torch.no_grad():
            before, out = x0_hat, chain._p_mean_variance(model, x, t, clip, x0_hat)
            x0_hat = best = out.x0_hat
            if before is not None and t > 1:
                h, h_before = place[t - 1] - place[t], place[t] - place[t + 1]
                best = x0_hat + h / (2 * h_before) * (x0_hat - before)
            x = _step(chain, x, t, best)
        yield SampleStep(chain.times[t - 1], x, x0_hat, out.eps_hat)


def _step(chain: GaussianDiffusion, x: Tensor, t: int, x0: Tensor) -> Tensor:
    """The step of `ddim` from t to t - 1, eta = 0, towards this x_0."""
    alpha_bar = chain.schedule.alpha_bar_prev[t].item()
    eps = chain._convert(x0, x, t, "x0", "eps")
    return math.sqrt(alpha_bar) * x0 + math.sqrt(1 - alpha_bar) * eps
