"""What public functions make of arguments: one way in, and words for what does not come in."""

import math
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from ddpm_lite import (
    ForwardProcess,
    GaussianDiffusion,
    NoiseSchedule,
    Oracle,
    TrainConfig,
    UNet,
    cosine_schedule,
    ddim,
    ddpm,
    elbo,
    elbo_along_path,
    elbo_estimate,
    encode,
    evaluate_samples,
    from_model_range,
    gaussian_kl,
    gaussian_nll,
    linear_schedule,
    load,
    load_images,
    reverse_marginals,
    sample,
    spaced_times,
    to_model_range,
    train,
)
from ddpm_lite._doors import door

pytestmark = pytest.mark.usefixtures("as_a_reader")
DIFFUSION = GaussianDiffusion(linear_schedule(10))
X = torch.rand(3, 1, 2, 2) * 2 - 1


def test_arrays_and_lists_are_tensors() -> None:
    expected = DIFFUSION.q_sample(X, torch.tensor([1, 5, 10]), X)
    assert_close(DIFFUSION.q_sample(X.numpy(), [1, 5, 10], X.tolist()), expected)
    assert_close(DIFFUSION.q_sample(X, np.array([1, 5, 10]), eps=X.numpy()), expected)
    assert_close(DIFFUSION.q_sample(X, np.int64(5), X), DIFFUSION.q_sample(X, 5, X))
    assert_close(
        gaussian_nll([[0.0]], [[1.0]], [[2.0]]), torch.tensor([0.25 + math.log(4 * math.pi) / 2])
    )
    mean, std = torch.tensor(0.25), torch.tensor(0.5)
    marginals = reverse_marginals(DIFFUSION.schedule, DIFFUSION.schedule.beta, mean, std)
    expected = reverse_marginals(DIFFUSION.schedule, DIFFUSION.schedule.beta, 0.25, 0.5)
    assert_close(marginals[1], expected[1], atol=1e-6, rtol=0)
    assert spaced_times(np.int32(10), np.int64(2)) == [5, 10]


@pytest.mark.parametrize("given", [None, "x", object(), {1: 2}, [[1.0], [2.0, 3.0]], ["a"]])
def test_what_stands_for_no_tensor(given: object) -> None:
    words = "x0 must be a tensor, an array or numbers in lists, got"
    with pytest.raises(TypeError, match=words):
        DIFFUSION.q_sample(given, 1)
    with pytest.raises(TypeError, match=words):
        elbo(DIFFUSION, lambda x, t: x, given)
    with pytest.raises(TypeError, match="mean_q must be a tensor"):
        gaussian_kl(given, 1.0, 0.0, 1.0)


def test_numbers_choices_and_models() -> None:
    with pytest.raises(TypeError, match=r"T must be an integer, got 2\.5 of type float"):
        linear_schedule(2.5)
    with pytest.raises(TypeError, match="T must be an integer, got True"):
        cosine_schedule(True)
    with pytest.raises(TypeError, match="beta_end must be a number, got 'a' of type str"):
        linear_schedule(10, beta_end="a")
    with pytest.raises(TypeError, match="clip must be True or False, got 1 of type int"):
        DIFFUSION.p_mean_variance(lambda x, t: x, X, 1, clip=1)
    with pytest.raises(ValueError, match="objective must be one of eps, x0, v, mu, u, got 'noise'"):
        DIFFUSION.target("noise", X, X, X, 1)
    with pytest.raises(TypeError, match="model must be something to call, got Tensor of shape"):
        DIFFUSION.p_losses(X, X, 1)
    with pytest.raises(TypeError, match=r"generator must be a Generator, got 3 of type int"):
        elbo(DIFFUSION, lambda x, t: x, X, generator=3)


def test_shapes_that_do_not_go_together() -> None:
    """Torch's own word, behind the names and the shapes that it was about."""
    with pytest.raises(ValueError, match=r"gaussian_nll .* x \(3, 2\) .* mean \(3, 4\)"):
        gaussian_nll(torch.zeros(3, 2), torch.zeros(3, 4), torch.ones(()))


def test_an_error_inside_a_model_stays_the_model_s() -> None:
    def model(x: Tensor, t: Tensor) -> Tensor:
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match=r"^mine$"):
        DIFFUSION.p_losses(model, X, 1)


def test_a_door_takes_by_annotation() -> None:
    @door
    def f(a: int, *rest: int, kind: Literal["b", "c"] = "b", x: Tensor | None = None) -> object:
        return a, rest, kind, x

    assert f(np.int8(3), 1.5, kind="c") == (3, (1.5,), "c", None)
    assert torch.equal(f(1, x=[1, 2])[3], torch.tensor([1, 2]))
    with pytest.raises(TypeError, match="kind must be one of b, c, got 3"):
        f(1, kind=3)


# Public and checked.


@pytest.mark.parametrize("t", [-1, 0, 11])
def test_every_public_step_looks_at_t(t: int) -> None:
    out = DIFFUSION.p_mean_variance(lambda x, t: x, X, 5)
    for call in (
        lambda t: DIFFUSION.p_from_output(X, X, t),
        lambda t: DIFFUSION.p_draw(out, t, X),
        lambda t: DIFFUSION.kl(out, X, X, t),
        lambda t: DIFFUSION.bound_term(out, X, X, t),
    ):
        with pytest.raises(ValueError, match=r"t must lie in 1\.\.10"):
            call(t)
        with pytest.raises(ValueError, match=r"t must lie in 1\.\.10"):
            call(torch.full((3,), t))
    with pytest.raises(TypeError, match="x0 must be floating point"):
        DIFFUSION.decoder(out, X.byte())


def test_no_images() -> None:
    none = X[:0]
    model = Oracle(DIFFUSION.schedule, X)
    assert DIFFUSION.bound_losses(
        lambda x, t: x, none, torch.zeros(0, dtype=torch.int64)
    ).shape == (0,)
    for call in (elbo, elbo_estimate, elbo_along_path):
        with pytest.raises(ValueError, match="x0 must hold at least one image, got none"):
            call(DIFFUSION, model, none)


# Ranges and levels.


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
def test_any_integers_are_grey_levels(dtype: torch.dtype) -> None:
    values = torch.tensor([0, 3, 100, 127], dtype=dtype)
    assert_close(to_model_range(values), 2 * values.double().float() / 255 - 1)
    with pytest.raises(ValueError, match=r"values must lie in 0\.\.16, got 0\.\.127"):
        to_model_range(values, 17)
    if dtype != torch.uint8:
        with pytest.raises(ValueError, match=r"got -1\.\.-1"):
            to_model_range(torch.tensor([-1], dtype=dtype))


def test_doubles_keep_their_digits() -> None:
    """2^24 + 1 levels: float32 cannot tell the last from the one before it."""
    levels = 2**24 + 2
    values = torch.tensor([2**24 - 1, 2**24, 2**24 + 1])
    x = to_model_range(values, levels, torch.float64)
    assert torch.equal(from_model_range(x, levels), values)


NETWORK = UNet(8, 1, 8, (1,), blocks=1)
DIGITS = GaussianDiffusion(linear_schedule(10), levels=17)
SHORT = TrainConfig(steps=1, batch=2)


def test_a_set_of_images_brings_its_levels() -> None:
    images = load_images("digits")
    step = next(train(NETWORK, DIGITS, images, SHORT))
    assert step.step == 1
    with pytest.raises(ValueError, match="levels must be those of digits, 17, got 256"):
        train(NETWORK, GaussianDiffusion(linear_schedule(10)), images, SHORT)


def test_levels_that_are_hardly_the_data_s() -> None:
    bytes_ = load_images("digits").images
    with pytest.warns(UserWarning, match=r"the highest grey level is 16 of 0\.\.255"):
        train(NETWORK, GaussianDiffusion(linear_schedule(10)), bytes_, SHORT)


def test_images_outside_the_model_s_range() -> None:
    images = to_model_range(load_images("digits").images, 17)
    with pytest.raises(ValueError, match=r"images must lie in \[-1, 1\], got 0\.\.16"):
        train(NETWORK, DIGITS, (images + 1) * 8, SHORT)
    with pytest.warns(UserWarning, match=r"data lie in 0\.\.1: images belong in \[-1, 1\]"):
        train(NETWORK, DIGITS, (images + 1) / 2, SHORT)
    train(NETWORK, DIGITS, images, SHORT)


def test_samples_in_another_range_are_told() -> None:
    real = torch.rand(8, 1, 8, 8) * 2 - 1
    with pytest.warns(UserWarning, match=r"samples lie in .*: images belong in \[-1, 1\]"):
        evaluate_samples((real + 1) / 2, real, lambda x: x.flatten(1)[:, :3], split="train")


@pytest.mark.parametrize("data", [None, "digits", [1.0], [[0.5]], {"images": X}])
def test_what_cannot_be_trained_on(data: object) -> None:
    with pytest.raises(TypeError, match=r"data must be a tensor or an array .* ImageSet, got"):
        train(NETWORK, DIGITS, data, SHORT)


def test_loaders_are_refused_in_words() -> None:
    from torch.utils.data import DataLoader, TensorDataset

    data = TensorDataset(torch.zeros(4, 1, 8, 8))
    for given in (data, DataLoader(data)):
        with pytest.raises(TypeError, match="`train` draws its own batches"):
            train(NETWORK, DIGITS, given, SHORT)


def test_arrays_can_be_trained_on() -> None:
    images = to_model_range(load_images("digits").images[:10], 17).numpy()
    assert next(train(NETWORK, DIGITS, images, SHORT)).step == 1


# Networks of other types, gradients, and the way back.


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_network_of_another_type(dtype: torch.dtype) -> None:
    network = UNet(8, 1, 8, (1,), blocks=1).to(dtype).eval()
    for sampler, options in ((ddpm, {}), (ddim, {"steps": 3})):
        assert sample(DIFFUSION, network, (2, 1, 8, 8), sampler, **options).dtype == dtype
    x0 = to_model_range(load_images("digits").images[:2], 17)
    bits = elbo(DIGITS, network, x0).bits_per_dim
    assert bits.dtype == torch.float32
    assert bits.isfinite().all()


def test_a_classifier_may_guide_a_chain() -> None:
    """The gradient of log p(y | x_t), added to the score: Dhariwal and Nichol (2021), Algorithm 1.

    For two points the classifier is known exactly, so the guided chain must end at its point.
    """
    schedule = linear_schedule().rescaled(60)
    points = torch.tensor([[-0.8, -0.8], [0.8, 0.8]], dtype=torch.float64)
    both, one = Oracle(schedule, points, 0.05), Oracle(schedule, points[1:], 0.05)

    def guided(x: Tensor, t: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            log_p = one.log_density(x, t) - both.log_density(x, t)  # up to a constant, of y
            (gradient,) = torch.autograd.grad(log_p.sum(), x)
        noise = (1 - schedule.alpha_bar[t]).sqrt().view(-1, 1)
        return both(x.detach(), t) - noise * gradient

    diffusion = GaussianDiffusion(schedule)
    for sampler, options in ((ddpm, {}), (ddim, {"steps": 30})):
        x = sample(
            diffusion,
            guided,
            (64, 2),
            sampler,
            start=torch.randn(64, 2, dtype=torch.float64),
            **options,
        )
        assert (x - points[1]).norm(dim=1).max() < 0.5
    free = sample(diffusion, both, (64, 2), start=torch.randn(64, 2, dtype=torch.float64))
    assert 8 < int((free[:, 0] < 0).sum()) < 56


def test_a_step_may_be_saved_and_edited() -> None:
    step = next(ddpm(DIFFUSION, lambda x, t: x, (2, 1, 2, 2)))
    step.xt.add_(1).requires_grad_()
    (step.xt**2).sum().backward()


def test_the_way_back_is_warned_of_where_it_is_none() -> None:
    """The shipped network predicts eps, and alpha_bar_T of its cosine schedule is 2e-9."""
    network, diffusion = load("digits")
    x0 = to_model_range(load_images("digits").images[:4], 17)
    with pytest.warns(
        UserWarning, match=r"ddim will not come back: from t = 1000 to 980 .* 6\d\d times"
    ):
        x = encode(diffusion, network, x0)
    lost = sample(diffusion, network, tuple(x.shape), ddim, start=x, clip=False)
    times = spaced_times(1000, 50)[:-1]
    x = encode(diffusion, network, x0, steps=times)
    kept = sample(diffusion, network, tuple(x.shape), ddim, start=x, clip=False, steps=times)
    assert (kept - x0).abs().mean() < 0.05
    assert (lost - x0).abs().mean() > 10 * (kept - x0).abs().mean()


def test_schedules_and_processes_take_lists() -> None:
    assert NoiseSchedule(np.array([0.1, 0.2])) == NoiseSchedule([0.1, 0.2])
    assert ForwardProcess(NoiseSchedule((0.1, 0.2))).T == 2
    with pytest.raises(TypeError, match="beta must be"):
        NoiseSchedule(None)
