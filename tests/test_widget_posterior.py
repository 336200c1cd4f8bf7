"""The posterior's widget from Python's side. What the browser computes is in tests/book."""

import pytest
import torch
import traitlets
from torch.distributions import Normal, kl_divergence
from torch.testing import assert_close

from ddpm_lite.widgets import Posterior


@pytest.mark.parametrize("variance", ["beta", "beta_tilde"])
@pytest.mark.parametrize(("T", "t"), [(20, 2), (20, 20), (1000, 2), (1000, 700)])
def test_the_weighted_square_is_the_divergence_in_every_coordinate(
    T: int, t: int, variance: str
) -> None:
    """L_{t-1} of the guess less that of the truth, by torch.distributions."""
    widget = Posterior(T=T, t=t, variance=variance, x0=0.3, xt=0.9, x0_hat=-0.7)
    schedule = widget.diffusion.schedule
    sigma = getattr(schedule, variance)[t].sqrt()
    column = [torch.full((1, 1), v).double() for v in (0.3, -0.7, 0.9)]
    means = [widget.diffusion.q_posterior(x0, column[2], t)[0].squeeze() for x0 in column[:2]]
    q = Normal(means[0], schedule.beta_tilde[t].sqrt())
    guess, truth = (kl_divergence(q, Normal(mean, sigma)) for mean in reversed(means))
    rows = widget.coordinates()
    assert list(rows) == ["eps", "x0", "v", "mu"]
    for name, (right, said, weight) in rows.items():
        assert_close(weight * (said - right) ** 2, guess - truth, rtol=1e-6, atol=1e-12)
        eps = widget.diffusion.convert(column[0], column[2], t, "x0", "eps")
        assert_close(right, widget.diffusion.target(name, column[0], column[2], eps, t)[0, 0])


def test_the_guess_keeps_its_place_when_the_coordinate_changes() -> None:
    widget = Posterior()
    before = widget.coordinates()
    widget.objective = "v"
    after = widget.coordinates()
    assert widget.diffusion.objective == "v"
    for name in before:
        assert torch.equal(before[name], after[name])


def test_a_t_beyond_the_chain_counts_as_its_end() -> None:
    over, end = Posterior(t=900), Posterior(t=20)
    for name, row in end.coordinates().items():
        assert torch.equal(over.coordinates()[name], row)
    assert over.still().axes[0].get_title() == end.still().axes[0].get_title()


@pytest.mark.usefixtures("as_a_reader")
@pytest.mark.parametrize(
    "setting",
    [
        {"t": 1},
        {"t": 1001},
        {"T": 50},
        {"x0": 1.5},
        {"xt": -3.0},
        {"x0_hat": 2.0},
        {"objective": "score"},
        {"variance": "learned"},
    ],
)
def test_bad_settings(setting: dict[str, object]) -> None:
    with pytest.raises(traitlets.TraitError):
        Posterior(**setting)


@pytest.mark.parametrize("variance", ["beta", "beta_tilde"])
def test_the_still_shows_the_posterior_between_its_witnesses(variance: str) -> None:
    widget = Posterior(t=9, x0=-0.4, xt=1.1, x0_hat=0.6, variance=variance)
    curves, weights, errors, terms = widget.still().axes
    process, t = widget.diffusion, 9
    x0, xt, said = (torch.full((1, 1), v).double() for v in (-0.4, 1.1, 0.6))
    prior, prior_variance = process.q_mean_variance(x0, t - 1)
    mean, beta_tilde = process.q_posterior(x0, xt, t)
    seen = (
        xt / process.schedule.alpha[t].sqrt(),
        process.schedule.beta[t] / (process.schedule.alpha[t]),
    )
    guess = process.p_from_output(process.convert(said, xt, t, "x0", "eps"), xt, t)
    expected = {
        "prior": (prior, prior_variance),
        "likelihood": seen,
        "posterior": (mean, beta_tilde),
        "network": (guess.mean, guess.variance),
    }
    for line in curves.get_lines():
        x, y = line.get_data()
        where, width = expected[line.get_label()]
        bell = Normal(where.item(), float(width) ** 0.5).log_prob(torch.as_tensor(x)).exp()
        assert_close(torch.as_tensor(y), bell * (2 * torch.pi * float(width)) ** 0.5)
    assert len(weights.get_lines()) == 5  # a curve each, and where t is
    widths = [[bar.get_width() for bar in ax.patches] for ax in (errors, terms)]
    assert widths[0][1] == pytest.approx(0.6 + 0.4)
    assert widths[1] == pytest.approx([widths[1][0]] * 4)
