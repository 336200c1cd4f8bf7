"""The bound's widget from Python's side. What the browser computes is compared in tests/book."""

import math

import pytest
import torch
import traitlets
from torch.testing import assert_close

from ddpm_lite import GaussianDiffusion, Oracle, elbo, linear_schedule
from ddpm_lite.widgets import Bound
from ddpm_lite.widgets.bound import LENGTHS


@pytest.mark.parametrize("variance", ["beta", "beta_tilde"])
@pytest.mark.parametrize("T", [1, 7])
def test_the_terms_are_those_of_elbo(variance: str, T: int) -> None:
    """By sampling, through the package's own step and its own choice of the first variance."""
    widget = Bound(variance=variance, std=0.4, beta_end=0.03)
    schedule = linear_schedule(1000, 1e-4, 0.03).rescaled(T)
    diffusion = GaussianDiffusion(schedule, variance=variance, levels=None)
    oracle = Oracle(schedule, torch.zeros(1, 1, dtype=torch.float64), 0.4)
    got = elbo(diffusion, oracle, oracle.sample(50_000), clip=False, chunk=10**6)
    columns = torch.cat([got.decoder[:, None], got.kl, got.prior[:, None]], dim=1)
    expected = columns.mean(0) / math.log(2)
    expected[0] += math.log2(127.5)
    error = columns.std(0) / math.log(2) / 50_000**0.5
    assert ((widget.terms(T) - expected).abs() <= 4 * error + 1e-12).all()
    assert error.max() < 0.02


@pytest.mark.parametrize("variance", ["beta", "beta_tilde"])
def test_the_nll_is_that_of_drawn_samples(variance: str) -> None:
    """The oracle's chain, sampled, has the variance that the NLL is computed from."""
    widget = Bound(variance=variance, std=0.3)
    schedule, sigma2 = widget.at(5)
    oracle = Oracle(schedule, torch.zeros(1, 1, dtype=torch.float64), 0.3)
    diffusion = GaussianDiffusion(schedule, variance=variance)
    x = torch.randn(200_000, 1, dtype=torch.float64)
    for t in range(5, 0, -1):
        out = diffusion.p_mean_variance(oracle, x, t, clip=False)
        assert_close(out.variance[0, 0], sigma2[t])
        x = out.mean + out.variance.sqrt() * torch.randn_like(x)
    assert widget.model_variance(5) == pytest.approx(x.var().item(), rel=0.02)
    data = torch.distributions.Normal(0.0, widget.model_variance(5) ** 0.5)
    level = data.log_prob(0.3 * torch.randn(200_000)).mean() + math.log(2 / 255)
    assert widget.nll(5) == pytest.approx(-level.item() / math.log(2), abs=0.02)


@pytest.mark.parametrize("variance", ["beta", "beta_tilde"])
@pytest.mark.parametrize("std", [0.05, 0.3, 1.0])
def test_the_bound_is_one_and_both_lie_above_the_entropy(variance: str, std: float) -> None:
    widget = Bound(variance=variance, std=std)
    entropy = math.log2(2 * math.pi * math.e * std**2) / 2 + math.log2(127.5)
    for T in LENGTHS:
        total, nll = widget.terms(T).sum().item(), widget.nll(T)
        assert total >= nll - 1e-9
        assert nll >= entropy - 1e-9
        assert widget.terms(T).min() > -1e-9


def test_a_still_shows_the_present_settings() -> None:
    widget = Bound(T=10, t=3, std=0.5)
    each, stack, growth, density = widget.still().axes
    terms = widget.terms(10)
    assert_close(torch.tensor(each.lines[0].get_ydata()), terms)
    assert stack.lines[0].get_ydata()[0] == pytest.approx(terms.sum().item())
    assert stack.lines[1].get_ydata()[0] == pytest.approx(widget.nll(10))
    gap = growth.lines[0].get_ydata() - growth.lines[1].get_ydata()
    assert gap[LENGTHS.index(10)] == pytest.approx(terms.sum().item() - widget.nll(10))
    assert max(density.lines[1].get_ydata()) == pytest.approx(1 / math.sqrt(2 * math.pi), abs=1e-6)
    assert Bound(T=10, t=900).still().axes[1].lines[2].get_xdata()[0] == 10


@pytest.mark.usefixtures("as_a_reader")
@pytest.mark.parametrize(
    "setting",
    [{"t": -1}, {"T": 4}, {"beta_end": 0.5}, {"std": 0.0}, {"std": 2}, {"variance": "learned"}],
)
def test_bad_settings(setting: dict[str, object]) -> None:
    with pytest.raises(traitlets.TraitError):
        Bound(**setting)
