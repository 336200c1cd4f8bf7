"""The denoising widget from Python's side: what it shows is what the package computes."""

import numpy as np
import pytest
import torch
import traitlets
from torch.testing import assert_close

from ddpm_lite import GaussianDiffusion, digits, linear_schedule
from ddpm_lite.widgets import Denoising, normals


def posterior_by_hand(widget: Denoising) -> torch.Tensor:
    """E[x_0 | x_t] by Bayes, one member of the set at a time."""
    alpha_bar = linear_schedule().alpha_bar[widget.t]
    likelihood = torch.distributions.Normal(widget.xt, (1 - alpha_bar).sqrt())
    logs = torch.stack([likelihood.log_prob(alpha_bar.sqrt() * x).sum() for x in widget.images])
    return (logs.softmax(0).view(-1, 1, 1, 1) * widget.images).sum(0, keepdim=True)


@pytest.mark.parametrize("t", [1, 150, 400, 1000])
def test_the_prediction_is_the_mean_of_the_posterior(t: int) -> None:
    widget = Denoising(t=t, objective="x0", picture="a 5 held out", seed=3)
    assert_close(widget.prediction, posterior_by_hand(widget), atol=1e-9, rtol=0)


@pytest.mark.parametrize("objective", ["eps", "v"])
def test_every_target_is_the_same_guess(objective: str) -> None:
    widget = Denoising(t=200, objective=objective, seed=5)
    x0_hat = posterior_by_hand(widget)
    a = linear_schedule().alpha_bar[200]
    eps_hat = (widget.xt - a.sqrt() * x0_hat) / (1 - a).sqrt()
    guess = eps_hat if objective == "eps" else a.sqrt() * eps_hat - (1 - a).sqrt() * x0_hat
    assert_close(widget.prediction, guess, atol=1e-9, rtol=0)
    assert_close(widget.eps.flatten(), torch.from_numpy(normals(5, 64)))
    expected = (
        widget.eps if objective == "eps" else a.sqrt() * widget.eps - (1 - a).sqrt() * (widget.x0)
    )
    assert_close(widget.target, expected, atol=1e-9, rtol=0)


def test_errors_are_those_of_the_prediction() -> None:
    widget = Denoising(t=300, picture="a 1 held out")
    expected = ((widget.prediction - widget.target) ** 2).mean().item()
    assert widget.errors([300]) == pytest.approx([expected])


def test_the_set_is_recognised_and_the_rest_is_not() -> None:
    assert Denoising(picture="a 3 of the set").errors([20])[0] < 1e-6
    assert Denoising(picture="a 5 held out").errors([20])[0] > 1


def test_the_default_set_is_of_training_digits() -> None:
    widget = Denoising()
    assert_close(widget.images.float(), digits()[0][::3])
    inside = [
        bool((widget.images == Denoising(picture=n).x0).all((1, 2, 3)).any()) for n in names()
    ]
    assert inside == ["of the set" in name for name in names()]
    assert len(widget._pixels) == 64 * (len(widget.images) + len(names()))


def names() -> list[str]:
    return list(Denoising()._names)


def test_own_images() -> None:
    images = torch.tensor([-1.0, 0.5]).view(2, 1, 1, 1).expand(2, 1, 2, 3)
    widget = Denoising(images, {"mine": images[1:]}, t=30)
    assert widget.picture == "mine"
    assert widget.images.shape == (2, 1, 2, 3)
    assert widget.errors([30])[0] < 1e-6


def test_a_still_shows_the_present_settings() -> None:
    widget = Denoising(t=400, objective="v", picture="a 5 held out")
    seen, wanted, said, off, weights, errors = widget.still().axes
    for ax, x in (
        (seen, widget.xt),
        (wanted, widget.target / 2),
        (said, widget.prediction / 2),
        (off, (widget.prediction - widget.target) / 2),
    ):
        shown = torch.as_tensor(np.asarray(ax.images[0].get_array())).squeeze()
        assert_close(shown, ((x[0, 0].clamp(-1, 1) + 1) / 2).float())
    bound = GaussianDiffusion(linear_schedule(), "v").loss_weight("variational")
    assert_close(torch.as_tensor(np.asarray(weights.lines[0].get_ydata())), bound[1:])
    times = [int(t) for t in errors.lines[0].get_xdata()]
    assert errors.lines[0].get_ydata() == pytest.approx([widget.errors([t])[0] for t in times])


@pytest.mark.usefixtures("as_a_reader")
@pytest.mark.parametrize(
    "setting", [{"t": 0}, {"t": 1001}, {"objective": "mu"}, {"seed": -1}, {"picture": "x"}]
)
def test_bad_settings(setting: dict[str, object]) -> None:
    with pytest.raises(traitlets.TraitError):
        Denoising(**setting)


@pytest.mark.usefixtures("as_a_reader")
def test_bad_images() -> None:
    with pytest.raises(ValueError, match=r"images must have shape .* got \(2, 3, 4, 4\)"):
        Denoising(torch.zeros(2, 3, 4, 4))
    with pytest.raises(ValueError, match="pictures must name at least one image"):
        Denoising(torch.zeros(2, 1, 4, 4), {})
    with pytest.raises(ValueError, match=r"'a' must have shape \(1, 1, 4, 4\), got \(2, 1, 4, 4\)"):
        Denoising(torch.zeros(2, 1, 4, 4), {"a": torch.zeros(2, 1, 4, 4)})
