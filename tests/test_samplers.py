"""The sampler against Algorithm 2 written out, and against data whose best network is known."""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from ddpm_lite import GaussianDiffusion, UNet, ddpm, linear_schedule


def test_it_is_algorithm_2() -> None:
    schedule = linear_schedule(7, 0.05, 0.4)
    diffusion = GaussianDiffusion(schedule)
    seen = []

    def model(x: Tensor, t: Tensor) -> Tensor:
        seen.append(int(t[0]))
        return 0.3 * x + t.view(-1, 1) / 100

    steps = list(
        ddpm(diffusion, model, (4, 2), clip=False, generator=torch.Generator().manual_seed(5))
    )
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(4, 2, generator=generator)
    for t, step in zip(range(7, 0, -1), steps, strict=True):
        beta, alpha_bar = schedule.beta[t].item(), schedule.alpha_bar[t].item()
        eps = 0.3 * x + t / 100
        z = torch.randn(4, 2, generator=generator)
        x = (x - beta / math.sqrt(1 - alpha_bar) * eps) / math.sqrt(1 - beta)
        x = x + (math.sqrt(beta) * z if t > 1 else 0)
        assert step.t == t - 1
        assert_close(step.xt, x)
    assert seen == [7, 6, 5, 4, 3, 2, 1]


def test_the_best_network_for_gaussian_data_leads_to_that_data() -> None:
    """For data N(m, s^2) the best eps_hat is linear in x_t, so every x_t of the chain is Gaussian.

    Its spread follows exactly, step by step, and the paper's two variances bracket s.
    """
    m, s, n = 0.6, 0.25, 20_000
    schedule = linear_schedule(100, 1e-3, 0.2)

    def best(x: Tensor, t: Tensor) -> Tensor:
        a = schedule.alpha_bar[t].float()[:, None]
        return (1 - a).sqrt() * (x - a.sqrt() * m) / (a * s**2 + 1 - a)

    ends = {}
    for variance in ("beta", "beta_tilde"):
        exact = 1.0
        for t in range(100, 0, -1):
            beta, a = schedule.beta[t].item(), schedule.alpha_bar[t].item()
            slope = (1 - beta / (a * s**2 + 1 - a)) / math.sqrt(1 - beta)
            sigma2 = getattr(schedule, variance)[t].item() if t > 1 else 0.0
            exact = slope**2 * exact + sigma2
        diffusion = GaussianDiffusion(schedule, variance=variance)
        *_, last = ddpm(diffusion, best, (n, 1), clip=False)
        assert last.t == 0
        assert last.xt.mean().item() == pytest.approx(m, abs=5 * s / math.sqrt(n))
        assert last.xt.std().item() == pytest.approx(math.sqrt(exact), rel=4 / math.sqrt(2 * n))
        ends[variance] = math.sqrt(exact)
    assert ends["beta_tilde"] < s < ends["beta"]
    assert ends["beta"] / ends["beta_tilde"] < 1.2


def test_the_same_generator_gives_the_same_sample() -> None:
    diffusion = GaussianDiffusion(linear_schedule(5))
    network = UNet(4, 1, 4, (1,))

    def draw(seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        *_, last = ddpm(diffusion, network, (2, 1, 4, 4), generator=generator)
        return last.xt

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_no_graph_is_built_and_training_mode_is_kept() -> None:
    network = UNet(4, 1, 4, (1,))
    for step in ddpm(GaussianDiffusion(linear_schedule(2)), network, (1, 1, 4, 4)):
        assert not step.xt.requires_grad
        assert torch.is_grad_enabled()  # between steps the caller's mode is in force
    assert network.training


def test_x0_hat_is_held_in_range_unless_told_otherwise() -> None:
    diffusion = GaussianDiffusion(linear_schedule(3))
    for clip, within in ((True, True), (False, False)):
        for step in ddpm(diffusion, lambda x, t: x * 90, (8, 2), clip=clip):
            assert (step.x0_hat.abs().max() <= 1) == within
