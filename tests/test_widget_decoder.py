"""The decoder's widget from Python's side."""

import math

import numpy as np
import pytest
import torch
import traitlets
from torch.distributions import Normal

from ddpm_lite import linear_schedule
from ddpm_lite.widgets import Decoder


@pytest.mark.parametrize(("mean", "sigma"), [(0.2, 0.05), (-1.2, 0.3), (1.0, 1.0)])
def test_the_masses_are_differences_of_the_normal_cdf(mean: float, sigma: float) -> None:
    edges = (2 * torch.arange(257, dtype=torch.float64) - 1) / 255 - 1
    edges[0], edges[-1] = -math.inf, math.inf
    masses = Normal(mean, sigma).cdf(edges).diff()
    got = 2 ** -Decoder(mean=mean, sigma=sigma).bits
    torch.testing.assert_close(got, masses, rtol=1e-6, atol=1e-14)
    assert got.sum().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(("variance", "bits"), [("beta", 1.713), ("beta_tilde", 1.305)])
def test_the_floor_of_the_two_first_variances(variance: str, bits: float) -> None:
    t = {"beta": 1, "beta_tilde": 2}[variance]
    sigma = getattr(linear_schedule(), variance)[t].sqrt().item()
    widget = Decoder(level=90, sigma=sigma, mean=1.0)
    assert widget.floor == pytest.approx(bits, abs=6e-4)
    assert widget.bits[90] > widget.floor
    widget.mean = 2 * 90 / 255 - 1
    assert widget.bits[90].item() == pytest.approx(widget.floor, abs=1e-9)


def test_an_outer_level_has_a_lower_floor() -> None:
    """Half of the line is its own: the mass is Phi(edge / sigma)."""
    mass = Normal(0.0, 0.01).cdf(torch.tensor(1 / 255)).item()
    for level in (0, 255):
        assert Decoder(level=level).floor == pytest.approx(-math.log2(mass), abs=1e-6)


@pytest.mark.usefixtures("as_a_reader")
@pytest.mark.parametrize(
    "setting",
    [{"level": -1}, {"level": 256}, {"mean": 1.4}, {"mean": -1.4}, {"sigma": 0.0}, {"sigma": 1.1}],
)
def test_bad_settings(setting: dict[str, float]) -> None:
    with pytest.raises(traitlets.TraitError):
        Decoder(**setting)


def test_a_still_shows_the_present_settings() -> None:
    widget = Decoder(level=40, mean=-0.7, sigma=0.03)
    every, near, cost, floor = widget.still().axes
    masses = 2 ** -widget.bits.numpy()
    assert np.allclose(every.patches[0].get_data().values, masses / masses.max())
    assert np.allclose(near.patches[0].get_data().values, masses)
    assert near.get_xlim() == (31.5, 48.5)
    dot = near.lines[-1].get_xydata()[0]
    assert np.allclose(dot, [40, masses[40]])
    assert np.allclose(cost.lines[-1].get_xydata()[0], [40, widget.bits[40]])
    now, least = (line.get_ydata() for line in floor.lines[:2])
    assert (now >= least).all()
    assert np.allclose(floor.lines[-1].get_xydata()[0], [0.03, widget.bits[40]])


def test_the_dashed_density_is_the_normal_s() -> None:
    """Per grey level: in the middle of narrow bins it is their mass."""
    widget = Decoder(level=100, mean=-0.2, sigma=0.4)
    line = widget.still().axes[1].lines[0]
    at, density = line.get_data()
    expected = Normal(-0.2, 0.4).log_prob(torch.from_numpy(2 * at / 255 - 1)).exp() * 2 / 255
    assert np.allclose(density, expected, rtol=1e-6)
