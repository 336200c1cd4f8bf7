"""log p along the flow against the exact density of Gaussians and mixtures."""

import math
from collections.abc import Callable
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from ddpm_lite import (
    FlowLikelihood,
    GaussianDiffusion,
    Oracle,
    cosine_schedule,
    flow_likelihood,
    line_schedule,
    linear_schedule,
)

MEANS = torch.tensor([[0.5, -0.5], [-0.5, 0.2], [0.1, 0.8]], dtype=torch.float64)


def best(diffusion: GaussianDiffusion, oracle: Oracle) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda x, t: diffusion.convert(oracle.x0_hat(x, t), x, t, "x0", diffusion.objective)


@pytest.mark.proves("flow_likelihood")
@pytest.mark.parametrize("objective", ["v", "u", "x0"])
@pytest.mark.parametrize("std", [0.2, 1.0])
def test_it_is_the_density_of_a_gaussian(objective: Any, std: float) -> None:
    """By torch.distributions; the step is small, and for std = 1 the flow stands still."""
    diffusion = GaussianDiffusion(line_schedule(400), objective)
    oracle = Oracle(diffusion.schedule, MEANS[:1], std)
    for t in (1, 200):
        a = diffusion.schedule.alpha_bar[t]
        q = torch.distributions.Normal(a.sqrt() * MEANS[0], (a * std**2 + 1 - a).sqrt())
        xt = q.sample((20,))
        found = flow_likelihood(diffusion, best(diffusion, oracle), xt, t=t)
        assert_close(found.log_prob, q.log_prob(xt).sum(1), atol=2e-3, rtol=0)
        assert (found.standard_error == 0).all()


@pytest.mark.proves("flow_likelihood")
@pytest.mark.parametrize("schedule", [line_schedule(300), cosine_schedule(300)], ids=repr)
def test_it_is_the_density_of_a_mixture_to_second_order(schedule: Any) -> None:
    diffusion = GaussianDiffusion(schedule, "v")
    oracle = Oracle(schedule, MEANS, 0.2)
    x = diffusion.q_sample(oracle.sample(30), 1)
    exact = oracle.log_density(x, 1)
    errors = []
    for steps in (74, 149, 299):
        found = flow_likelihood(diffusion, best(diffusion, oracle), x, steps=steps)
        errors.append((found.log_prob - exact).abs().max().item())
    assert errors[-1] < 2e-3
    for coarse, fine in pairwise(errors):
        assert 3.3 < coarse / fine < 4.8  # four for an error of second order


@pytest.mark.proves("flow_likelihood")
def test_what_the_end_is_not_shows() -> None:
    """The paper's schedule for 1000 steps, cut short: x_T is not standard normal yet."""
    schedule = linear_schedule(200)  # alpha_bar_T = 0.13
    diffusion = GaussianDiffusion(schedule)
    oracle = Oracle(schedule, MEANS[:1], 0.2)
    x = diffusion.q_sample(oracle.sample(50), 1)
    found = flow_likelihood(diffusion, oracle, x)
    assert (found.log_prob - oracle.log_density(x, 1)).abs().max() > 0.1


@pytest.mark.proves("flow_likelihood")
def test_probes_estimate_the_trace_and_say_how_well() -> None:
    diffusion = GaussianDiffusion(line_schedule(30), "v")
    oracle = Oracle(diffusion.schedule, MEANS, 0.2)
    x = diffusion.q_sample(oracle.sample(200), 1)
    model = best(diffusion, oracle)
    exact = flow_likelihood(diffusion, model, x).log_prob
    found = flow_likelihood(
        diffusion, model, x, trace="hutchinson", probes=40,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    off = found.log_prob - exact
    assert abs(off.mean().item()) < 4 * off.std().item() / math.sqrt(200)
    # In two dimensions a probe is one of two pairs of signs: the off-diagonal counts, or minus it.
    assert 0.8 < (off / found.standard_error).std().item() < 1.25
    assert found.standard_error.mean() > 0.01


@pytest.mark.proves("flow_likelihood")
def test_signs_are_exact_where_dimensions_are_apart() -> None:
    """A field that mixes no dimensions has a diagonal derivative: each probe gives its trace."""
    diffusion = GaussianDiffusion(line_schedule(20), "v")
    x = torch.randn(5, 1, 2, 2, dtype=torch.float64)

    def model(x: Tensor, t: Tensor) -> Tensor:
        return (x * 1.5).sin()

    one = flow_likelihood(diffusion, model, x)
    two = flow_likelihood(diffusion, model, x, trace="hutchinson", probes=2)
    assert_close(one.log_prob, two.log_prob, atol=1e-10, rtol=0)
    assert (two.standard_error < 1e-10).all()


@pytest.mark.proves("FlowLikelihood.bits_per_dim")
def test_bits() -> None:
    found = FlowLikelihood(torch.tensor([-6 * math.log(2)]), torch.zeros(1), 3)
    assert_close(found.bits_per_dim, torch.tensor([2.0]))


def test_a_learned_variance_has_no_part_in_it_and_no_graph_is_kept() -> None:
    plain, learned = (
        GaussianDiffusion(linear_schedule(9), variance=v) for v in ("beta", "learned")
    )  # type: ignore[arg-type]
    x = torch.randn(3, 2, 2, 2, dtype=torch.float64)
    one = flow_likelihood(plain, lambda x, t: 0.5 * x, x)
    two = flow_likelihood(learned, lambda x, t: torch.cat([0.5 * x, x.cos()], 1), x)
    assert_close(one.log_prob, two.log_prob)
    assert not one.log_prob.requires_grad


@pytest.mark.usefixtures("as_a_reader")
def test_bad_input() -> None:
    diffusion = GaussianDiffusion(linear_schedule(10))

    def never(x: Tensor, t: Tensor) -> Tensor:
        raise AssertionError("the network must not run on bad input")

    x = torch.zeros(2, 3)
    for words, options in (
        (r"t must lie in 1\.\.9, got 10", {"t": 10}),
        (r"t must lie in 1\.\.10, got 0", {"t": 0}),
        (r"steps must lie in 1\.\.9 from t = 1, got 10", {"steps": 10}),
        ("probes must be at least 2, got 1", {"probes": 1, "trace": "hutchinson"}),
        ("trace must be one of exact, hutchinson, got 'skilling'", {"trace": "skilling"}),
    ):
        with pytest.raises(ValueError, match=words):
            flow_likelihood(diffusion, never, x, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="without self_condition, got one with it"):
        flow_likelihood(GaussianDiffusion(linear_schedule(10), self_condition=True), never, x)
    with pytest.raises(ValueError, match=r"the chain must end at T = 10, .* that end at 6"):
        flow_likelihood(diffusion.subsequence([1, 3, 6]), never, x)
    with pytest.raises(ValueError, match="needs a chain of two steps or more, got T = 1"):
        flow_likelihood(GaussianDiffusion(linear_schedule(1)), never, x)
    weight = torch.nn.Parameter(torch.ones(()))
    for model in (lambda x, t: x.detach(), lambda x, t: weight * x.detach()):
        with pytest.raises(ValueError, match="model must be differentiable by xt"):
            flow_likelihood(diffusion, model, x)
    with (
        torch.inference_mode(),
        pytest.raises(ValueError, match=r"call it outside torch\.inference_mode\(\)"),
    ):
        flow_likelihood(diffusion, never, x)


def test_one_number_an_image_and_one_probe_that_is_not_used() -> None:
    diffusion, x = GaussianDiffusion(line_schedule(20), "v"), torch.randn(5)
    flat = flow_likelihood(diffusion, lambda x, t: (x * 1.5).sin(), x, probes=1)
    same = flow_likelihood(diffusion, lambda x, t: (x * 1.5).sin(), x[:, None])
    assert_close(flat.log_prob, same.log_prob)


@pytest.mark.parametrize(("objective", "warns"), [("eps", True), ("v", False)])
def test_a_small_error_of_eps_is_a_large_one_of_the_likelihood(objective: Any, warns: bool) -> None:
    schedule = cosine_schedule(1000)
    diffusion, oracle = GaussianDiffusion(schedule, objective), Oracle(schedule, MEANS, 0.2)
    x, model = diffusion.q_sample(oracle.sample(9), 1), best(diffusion, oracle)

    def log(error: float) -> Tensor:
        def off(x: Tensor, t: Tensor) -> Tensor:
            return model(x, t) + error * (3 * x).sin()

        with pytest.warns(UserWarning, match="grows 316 times") if warns else nullcontext():
            return flow_likelihood(diffusion, off, x, steps=50).log_prob

    assert ((log(0.01) - log(0)).abs().max() > 2) == warns
