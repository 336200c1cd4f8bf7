"""From noise to an image and back: each sampler is a short generator, named after its algorithm.

A step costs one call of the model, or as many as `refine` and `repeats` ask for, and a dozen small
operations; `sample`, `encode` and `interpolate` return the end alone. Nothing waits for the device
and no step is kept. On a CUDA device a `UNet` may be asked by a recording of its launches, which
lasts as long as the network: see `ddpm_lite.system.replay`. No gradients are recorded; a model that
needs one, as a classifier's guidance does, asks for it by `torch.enable_grad()` inside.
"""

import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ddpm_lite._doors import door
from ddpm_lite._shapes import Images
from ddpm_lite.diffusion import GaussianDiffusion, Model, device_of, dtype_of
from ddpm_lite.schedule import spaced_times
from ddpm_lite.system.replay import played

Noise = Callable[[int], Tensor]

__all__ = ["SampleStep", "ddim", "ddpm", "encode", "inpaint", "interpolate", "sample"]


class SampleStep(NamedTuple):
    """x_t on its way to t = 0, and the estimates of x_0 and of the noise that led there."""

    t: int
    xt: Images
    x0_hat: Images
    eps_hat: Images


@door
def ddpm(
    diffusion: GaussianDiffusion,
    model: Model,
    shape: tuple[int, ...],
    *,
    clip: bool = True,
    start: Images | None = None,
    t_start: int | None = None,
    noise: Noise | None = None,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
    progress: bool = False,
) -> Iterator[SampleStep]:
    """Ancestral sampling, Ho et al. (2020), Algorithm 2; yields T steps, t = T - 1 down to 0.

    Draws x_T, then every x_{t-1} from p_theta(x_{t-1} | x_t). With clip=False that is Algorithm 2,
    by way of x0_hat; by default x0_hat is held where the data lie. Eq. {eq}`eq-reverse-chain`; Ho
    et al. (2020), Eq. 1. The sample is the last step's xt. Nothing is kept: hold on to the steps
    you want.

    Args:
        diffusion: holds T and the coefficients. `diffusion.subsequence(times)` takes fewer steps.
        model: `(xt, t) -> output`, on the device where sampling is to happen, in eval mode.
        shape: [B, ...] of the samples.
        clip: hold x0_hat in [-1, 1] at every step.
        start: [B, ...], x_t to begin with in place of noise.
        t_start: the t of `start`; T by default.
        noise: t -> [B, ...], the standard normal numbers to make x_t with, the first x_t too where
            there is no start; drawn when not given.
        generator: where the noise comes from, for samples that can be drawn again.
        device: by default that of `start`, the model's parameters, or the generator.
        progress: show a bar.

    Raises:
        ValueError: a start of another shape, or none where the times end before T; a t_start that
            the chain does not stop at.
    """
    first, x, z = _begin(diffusion, model, shape, start, t_start, noise, generator, device)
    model, x0_hat = played(model), None
    for t in _bar(range(first, 0, -1), progress):
        s = diffusion.times[t - 1]
        with torch.no_grad():  # never around the yield: the caller's mode is the caller's
            out = diffusion._p_mean_variance(model, x, t, clip, x0_hat)
            x, x0_hat = diffusion._p_draw(out, t, z(s)), out.x0_hat
        yield SampleStep(s, x, x0_hat, out.eps_hat)


@door
def ddim(
    diffusion: GaussianDiffusion,
    model: Model,
    shape: tuple[int, ...],
    *,
    steps: int | list[int] = 50,
    eta: float = 0.0,
    clip: bool = True,
    start: Images | None = None,
    t_start: int | None = None,
    noise: Noise | None = None,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
    progress: bool = False,
) -> Iterator[SampleStep]:
    """Fewer steps, and as little noise as you like; Song, Meng and Ermon (2021), Eq. 12.

    Eq. {eq}`eq-ddim`:
    x_s = sqrt(alpha_bar_s) x0_hat + sqrt(1 - alpha_bar_s - sigma^2) eps_hat + sigma z, from t to
    the next time s, with sigma = eta times the root of that step's beta_tilde. With eta = 1 and
    all steps it is `ddpm` with "beta_tilde"; with eta = 0 the noise at the start decides all, and
    a step is Euler's rule for the flow, Eq. {eq}`eq-flow-eps`.

    Args:
        steps: how many, evenly spaced and ending at T; or the times themselves, increasing.
        eta: from 0 to 1.
        diffusion, model, shape, clip, start, t_start, noise, generator, device, progress: as for
            `ddpm`; the variance that `diffusion` names has no part in it.

    Raises:
        ValueError: eta outside [0, 1], or steps outside 1..T; as for `ddpm`.
    """
    if not 0 <= eta <= 1:
        raise ValueError(f"eta must lie in [0, 1], got {eta}")
    chain = _shorten(diffusion, steps)
    # sigma, Eq. 16 there.
    alpha_bar_prev, sigma2 = chain.schedule.alpha_bar_prev, eta**2 * chain.schedule.beta_tilde
    sqrt_alpha_bar_prev, sigma = alpha_bar_prev.sqrt().tolist(), sigma2.sqrt().tolist()
    direction = (1 - alpha_bar_prev - sigma2).clamp(min=0).sqrt().tolist()

    first, x, z = _begin(chain, model, shape, start, t_start, noise, generator, device)
    model, x0_hat = played(model), None
    for t in _bar(range(first, 0, -1), progress):
        s = chain.times[t - 1]
        with torch.no_grad():
            out = chain._p_mean_variance(model, x, t, clip, x0_hat)
            x0_hat = out.x0_hat
            # Song, Meng and Ermon (2021), Eq. 12.
            x = sqrt_alpha_bar_prev[t] * x0_hat + direction[t] * out.eps_hat
            if sigma[t] > 0:
                x = x + sigma[t] * z(s)
        yield SampleStep(s, x, x0_hat, out.eps_hat)


def sample(
    diffusion: GaussianDiffusion,
    model: Model,
    shape: tuple[int, ...],
    sampler: Callable[..., Iterator[SampleStep]] = ddpm,
    **options: Any,
) -> Images:
    """Only the end of a chain: images [B, ...], by `ddpm` or another sampler with its options.

    For instance `sample(diffusion, model, (64, 1, 8, 8), ddim, steps=20)`.
    """
    for step in sampler(diffusion, model, shape, **options):
        end = step.xt
    return end


@door
@torch.no_grad()
def encode(
    diffusion: GaussianDiffusion,
    model: Model,
    x0: Images,
    *,
    steps: int | list[int] = 50,
    refine: int = 0,
    progress: bool = False,
) -> Images:
    """The x_T, [B, ...], from which `ddim` with eta = 0 and clip=False leads to x0.

    A step of `ddim` is run backwards: the x_t is wanted that it would take to the x_s at hand.
    The noise in it is needed to find it; the model is asked about x_s in its place, and then
    `refine` more times about the x_t so found, which converges where steps are small. Song, Meng
    and Ermon (2021), Sections 4.3 and 5.4. An eps-network refines by its eps_hat. Any other refines
    by v_hat, since near T eps_hat is x_t whatever the network says: the step, in the angle phi of
    sqrt(alpha_bar) = cos(phi), is x_s = cos(h) x_t - sin(h) v_hat with h = phi_t - phi_s.

    Where alpha_bar_T is nearly zero, as with the cosine schedule, an eps-network cannot come back
    from T: a step of `ddim` divides by sqrt(alpha_bar_T), and the error of eps_hat grows with it.
    There is a warning then. Let the times stop sooner, or take a network that predicts v.

    With self-conditioning a step of `ddim` depends on the one before it, and has no inverse.

    Args:
        steps: as for `ddim`, which must be given the same.
        refine: further evaluations a step; 0 is the usual inversion, exact only as steps grow.

    Raises:
        ValueError: refine < 0, steps outside 1..T, a diffusion with self-conditioning, or one step
            to alpha_bar_T = 0, from where it leads every x_T to what the model says alone.
    """
    if diffusion.self_condition:
        raise ValueError("encode needs a diffusion without self_condition, got one with it")
    if refine < 0:
        raise ValueError(f"refine must not be negative, got {refine}")
    chain = _shorten(diffusion, steps)
    alpha_bar = chain.schedule.alpha_bar
    sqrt_alpha_bar, sqrt_rest = alpha_bar.sqrt().tolist(), (1 - alpha_bar).sqrt().tolist()
    if chain.T == 1 and sqrt_alpha_bar[1] == 0:
        raise ValueError("encode needs two steps or more where alpha_bar_T = 0, got 1")
    if diffusion.objective == "eps":
        _warn_of_growth(chain.times, sqrt_alpha_bar, sqrt_rest)
    phi = alpha_bar.sqrt().acos()
    h = phi.diff(prepend=phi[:1])
    cos, sin = h.cos().tolist(), h.sin().tolist()
    x = x0
    for t in _bar(range(1, chain.T + 1), progress):
        x_prev = x
        for more in range(1 + refine):
            out = chain.p_mean_variance(model, x, t, clip=False)
            if more and diffusion.objective != "eps":
                v_hat = chain._target("v", out.x0_hat, x, out.eps_hat, t)
                x = (x_prev + sin[t] * v_hat) / cos[t]
            else:
                x0_hat = (x_prev - sqrt_rest[t - 1] * out.eps_hat) / sqrt_alpha_bar[t - 1]
                x = sqrt_alpha_bar[t] * x0_hat + sqrt_rest[t] * out.eps_hat
    return x


@door
def interpolate(
    diffusion: GaussianDiffusion,
    model: Model,
    x0: Images,
    other: Images,
    share: Float[Tensor, " L"],
    t: int,
    *,
    clip: bool = True,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> Float[Tensor, "L B *D"]:
    """Images between x0 and other, [L, B, ...], met in the latent x_t and decoded by the chain.

    Both are noised to t, once for all shares; (1 - share) x_t + share x'_t goes back to t = 0 by
    `ddpm`. The larger t, the freer the result. Ho et al. (2020), Section 4.4 and Figure 8.

    Args:
        share: [L] of `other`, from 0 to 1.
        t: where the two are mixed, in 1..T.
        diffusion, model, clip, generator, progress: as for `ddpm`.
    """

    def noised(x: Tensor) -> Tensor:
        eps = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        return diffusion.q_sample(x, t, eps)

    diffusion._check(t, x0=x0, other=other)
    share = share.to(x0).view(-1, *[1] * x0.ndim)
    mixed = ((1 - share) * noised(x0) + share * noised(other)).flatten(0, 1)
    end = sample(
        diffusion,
        model,
        tuple(mixed.shape),
        clip=clip,
        start=mixed,
        t_start=diffusion.times[t],
        generator=generator,
        progress=progress,
    )
    return end.unflatten(0, (len(share), len(x0)))


@door
def inpaint(
    diffusion: GaussianDiffusion,
    model: Model,
    x0: Images,
    known: Tensor,
    *,
    repeats: int = 10,
    clip: bool = True,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> Iterator[SampleStep]:
    """Images of which a part is given: RePaint; Lugmayr et al. (2022), Algorithm 1.

    At each t the unknown part takes a step of p_theta, and the known part is x0 noised to the same
    t. After one step the two hardly belong together. So each step is taken `repeats` times, and in
    between the whole goes one step of q back to x_t. The model asks T repeats times in all;
    `diffusion.subsequence(times)` makes that less. The end agrees with x0 where it is known.

    Args:
        x0: [B, ...] in [-1, 1]; what stands where it is not known has no part in it.
        known: True where x0 is given; of the shape of x0, or one that spreads to it.
        repeats: how often a step is taken; 1 joins the parts as they come.
        diffusion, model, clip, generator, progress: as for `ddpm`.

    Raises:
        ValueError: repeats < 1, or a mask that is not of True and False or not of that shape.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    if known.dtype != torch.bool:
        raise ValueError(f"known must hold True and False, got {known.dtype}")
    diffusion._check(diffusion.T, x0=x0)
    try:
        known = known.to(x0.device).expand_as(x0)
    except RuntimeError:
        shapes = f"{tuple(x0.shape)}, got {tuple(known.shape)}"
        raise ValueError(f"known must spread to the shape of x0, {shapes}") from None
    return _inpaint(diffusion, model, x0, known, repeats, clip, generator, progress)


def _inpaint(
    diffusion: GaussianDiffusion,
    model: Model,
    x0: Tensor,
    known: Tensor,
    repeats: int,
    clip: bool,
    generator: torch.Generator | None,
    progress: bool,
) -> Iterator[SampleStep]:
    def z() -> Tensor:
        return torch.randn(x0.shape, generator=generator, dtype=x0.dtype, device=x0.device)

    model, xt, x0_hat = played(model), z(), None
    for t in _bar(range(diffusion.T, 0, -1), progress):
        with torch.no_grad():
            for more in range(repeats - 1 if t > 1 else 0, -1, -1):
                out = diffusion._p_mean_variance(model, xt, t, clip, x0_hat)
                x0_hat = out.x0_hat
                given = diffusion._q_sample(x0, t - 1, z()) if t > 1 else x0
                x_prev = torch.where(known, given, diffusion._p_draw(out, t, z()))
                xt = diffusion.q_step(x_prev, t, z()) if more else x_prev
        yield SampleStep(diffusion.times[t - 1], xt, out.x0_hat, out.eps_hat)


def _begin(
    diffusion: GaussianDiffusion,
    model: Model,
    shape: tuple[int, ...],
    start: Tensor | None,
    t_start: int | None,
    noise: Noise | None,
    generator: torch.Generator | None,
    device: torch.device | str | None,
) -> tuple[int, Tensor, Noise]:
    """The first t, its x_t, and where the noise of every later x_t comes from."""
    if start is not None and not start.is_floating_point():
        raise TypeError(f"start must be floating point, got {start.dtype}")
    if start is not None and tuple(start.shape) != tuple(shape):
        raise ValueError(f"start must have the shape {tuple(shape)}, got {tuple(start.shape)}")
    if t_start is None:
        t_start = diffusion.times[-1]
    elif start is None:
        raise ValueError(f"t_start = {t_start} needs a start: an x_t with which to begin there")
    if start is None and t_start < (diffusion.trained_on or diffusion.schedule).T:
        raise ValueError(
            f"times that end at {t_start} need a start: only x_T is nearly standard normal"
        )
    if t_start not in diffusion.times[1:]:
        raise ValueError(
            f"t_start must be one of the chain's {diffusion.T} times up to "
            f"{diffusion.times[-1]}, got {t_start}"
        )
    if device is None:
        device = device_of(model, generator) if start is None else start.device
    dtype = dtype_of(model) if start is None else start.dtype

    def draw(t: int) -> Tensor:
        if noise is None:
            return torch.randn(shape, generator=generator, device=device, dtype=dtype)
        z = noise(t)
        if tuple(z.shape) != tuple(shape):
            raise ValueError(f"noise({t}) must have the shape {tuple(shape)}, got {tuple(z.shape)}")
        return z.to(device, dtype or z.dtype)

    x = draw(t_start) if start is None else start.to(device)
    return diffusion.times.index(t_start), x, draw


def _warn_of_growth(times: list[int], sqrt_alpha_bar: list[float], sqrt_rest: list[float]) -> None:
    """Say where a step of `ddim` makes an error of eps_hat many times larger."""
    for t in range(len(times) - 1, 0, -1):
        share = sqrt_alpha_bar[t - 1] / sqrt_alpha_bar[t]
        growth = abs(sqrt_rest[t - 1] - share * sqrt_rest[t])
        if growth > 100:
            warnings.warn(
                f"ddim will not come back: from t = {times[t]} to {times[t - 1]} an error of "
                f"eps_hat grows {growth:.0f} times. Let the times end sooner, or take a network "
                "that predicts v",
                stacklevel=5,  # past encode, no_grad and its door
            )
            return


def _shorten(diffusion: GaussianDiffusion, steps: int | list[int]) -> GaussianDiffusion:
    times = spaced_times(diffusion.T, steps) if isinstance(steps, int) else steps
    return diffusion.subsequence(times)


def _bar(times: range, progress: bool) -> Iterator[int]:
    if progress:
        from tqdm.auto import tqdm  # brings notebook widgets along: only when asked for

        yield from tqdm(times, desc="sampling")
    else:
        yield from times
