"""The prior-matching widget from Python's side."""

import math

import numpy as np
import pytest
import torch
import traitlets

from ddpm_lite import GaussianDiffusion, linear_schedule, prior_kl
from ddpm_lite.widgets import PriorMatching


@pytest.mark.parametrize(
    ("T", "beta_end", "x0"), [(300, 0.02, 0.9), (50, 0.3, -1.0), (7, 0.9, 0.0)]
)
def test_its_bits_are_the_package_s(T: int, beta_end: float, x0: float) -> None:
    widget = PriorMatching(T=T, beta_end=beta_end, x0=x0)
    diffusion = GaussianDiffusion(linear_schedule(T, 1e-4, beta_end))
    pixel = torch.full((1, 1), x0, dtype=torch.float64)
    assert widget.bits == pytest.approx(prior_kl(diffusion, pixel).item() / math.log(2), abs=1e-12)


def test_the_still_shows_the_present_settings() -> None:
    kept, ends, cost = PriorMatching(T=200, x0=-0.5).still().axes
    alpha_bar = linear_schedule(200).alpha_bar
    assert np.allclose(kept.lines[0].get_ydata(), alpha_bar)
    peak = ends.lines[0].get_xdata()[ends.lines[0].get_ydata().argmax()]
    assert peak == pytest.approx(-0.5 * alpha_bar[-1].sqrt().item(), abs=0.05)
    (x,), (y,) = cost.lines[1].get_data()
    assert (x, y) == (0.02, pytest.approx(PriorMatching(T=200, x0=-0.5).bits))


@pytest.mark.usefixtures("as_a_reader")
@pytest.mark.parametrize("setting", [{"T": 0}, {"beta_end": 1.0}, {"x0": 2.0}])
def test_bad_settings(setting: dict[str, float]) -> None:
    with pytest.raises(traitlets.TraitError):
        PriorMatching(**setting)
