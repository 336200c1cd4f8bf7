"""Guidance goes along a straight line from the answer without a label to the one with it."""

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.testing import assert_close

from ddpm_lite import GaussianDiffusion, UNet, cosine_schedule, linear_schedule, sample
from ddpm_lite.guidance import LabelledOracle, guided


@pytest.fixture(scope="module")
def network() -> UNet:
    torch.manual_seed(0)
    network = UNet(4, width=4, mults=(1,), blocks=1, classes=4).eval()
    for module in network.modules():  # what starts at zero says nothing of the label yet
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.normal_(module.weight, std=0.3)
    return network


@pytest.mark.proves("guided")
@torch.no_grad()
def test_it_is_a_line_through_both_answers(network: UNet) -> None:
    x, t, labels = torch.randn(3, 1, 4, 4), torch.tensor([1, 5, 9]), torch.tensor([0, 2, 1])
    with_label = network(x, t, labels=labels)
    without = network(x, t, labels=torch.full_like(labels, 3))
    assert (with_label - without).abs().max() > 1e-3
    assert_close(guided(network, labels, 0.0)(x, t), without)
    assert_close(guided(network, labels, 1.0)(x, t), with_label)
    # Ho and Salimans (2022), Eq. 6, with w = 2.5.
    assert_close(guided(network, labels, 3.5)(x, t), 3.5 * with_label - 2.5 * without)


@pytest.mark.proves("guided")
def test_the_exact_answer_for_two_points() -> None:
    """Two classes of one point each: the guided noise, from Bayes' rule over the points."""
    diffusion = GaussianDiffusion(linear_schedule(50))
    points = torch.tensor([-0.5, 0.5]).view(2, 1)
    log_ab, t = diffusion.schedule.alpha_bar.float(), 20
    keep, spread = log_ab[t].sqrt(), (1 - log_ab[t]).sqrt()

    class Exact(torch.nn.Module):
        classes = 3

        def forward(self, xt: torch.Tensor, _: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            eps = (xt[:, None] - keep * points) / spread  # [B, 2, 1]
            share = (-(eps**2) / 2).softmax(1)
            every = torch.cat([eps, (share * eps).sum(1, keepdim=True)], dim=1)
            return every[torch.arange(len(xt)), labels]

    xt = torch.linspace(-2, 2, 9).view(-1, 1)
    labels, scale = torch.ones(9, dtype=torch.long), 2.0
    # The score of p(x | c)^scale p(x)^(1 - scale), by differences of its logarithm.
    h = 1e-3

    def log_p(x: torch.Tensor) -> torch.Tensor:
        each = -((x - keep * points.T) ** 2) / (2 * spread**2)
        return scale * each[:, 1] + (1 - scale) * each.logsumexp(1)

    double = xt.double()
    score = (log_p(double + h) - log_p(double - h)) / (2 * h)
    found = guided(Exact(), labels, scale)(xt, labels)[:, 0]
    assert_close(found, (-spread * score).float(), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5])
def test_the_labelled_oracle_guided_is_a_score(scale: float) -> None:
    """Its noise is -sqrt(1 - alpha_bar_t) times the gradient of log q(x_t | c)^s q(x_t)^(1 - s)."""
    schedule, t, std = cosine_schedule(50), 20, 0.2
    points = [torch.randn(n, 2, dtype=torch.float64) for n in (3, 2)]
    a = schedule.alpha_bar[t]

    def log_q(x: torch.Tensor, means: torch.Tensor) -> torch.Tensor:
        each = Normal(a.sqrt() * means, (a * std**2 + 1 - a).sqrt().expand_as(means))
        even = Categorical(torch.ones(len(means), dtype=torch.float64))
        return MixtureSameFamily(even, Independent(each, 1)).log_prob(x)

    labels = torch.tensor([0, 1, 1, 0, 1, 0])
    x = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)
    own = torch.where(labels == 0, log_q(x, points[0]), log_q(x, points[1]))
    power = scale * own + (1 - scale) * log_q(x, torch.cat(points))
    (score,) = torch.autograd.grad(power.sum(), x)
    oracle = LabelledOracle(schedule, points, std)
    found = guided(oracle, labels, scale)(x.detach(), torch.full((6,), t))
    assert_close(found, -(1 - a).sqrt() * score)


def test_a_sampler_takes_it(network: UNet) -> None:
    diffusion = GaussianDiffusion(linear_schedule(5))
    labels = torch.tensor([0, 1])
    x = sample(diffusion, guided(network, labels, 2.0), (2, 1, 4, 4))
    assert x.shape == (2, 1, 4, 4)


def test_bad_input_is_refused_by_name(network: UNet) -> None:
    with pytest.raises(TypeError, match="classes"):
        guided(UNet(4, width=4, mults=(1,), blocks=1), torch.tensor([0]))
    with pytest.raises(ValueError, match="scale must not be negative, got -1"):
        guided(network, torch.tensor([0]), -1.0)
    with pytest.raises(ValueError, match="at least two classes, got 1"):
        LabelledOracle(linear_schedule(5), [torch.zeros(1, 1)])


def test_a_learned_variance_is_not_guided() -> None:
    """Past a scale of one the line through two variances would leave the place between them."""
    torch.manual_seed(0)
    network = UNet(8, 1, 8, (1,), classes=3, learned_variance=True)
    torch.nn.init.normal_(network.conv_out.weight)
    x, t, labels = torch.randn(2, 1, 8, 8), torch.tensor([3, 7]), torch.tensor([0, 1])
    with torch.no_grad():
        asked = network(x, t, labels=labels)
        nothing = network(x, t, labels=torch.tensor([2, 2]))
        mean, variance = guided(network, labels, 4.0)(x, t).chunk(2, dim=1)
    assert_close(variance, asked[:, 1:])
    assert_close(mean, nothing[:, :1] + 4 * (asked - nothing)[:, :1], rtol=1e-4, atol=1e-4)
