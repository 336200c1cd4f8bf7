"""The reverse step's widget from Python's side: against quadrature, and the package's sampler."""

import math

import numpy as np
import pytest
import torch
import traitlets
from scipy.integrate import quad
from torch.testing import assert_close

from ddpm_lite.widgets import ReverseStep, normals


def bell(x: float, mean: float, variance: float) -> float:
    return math.exp(-((x - mean) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)


@pytest.mark.parametrize(("beta", "xt"), [(0.5, 0.1), (0.1, -0.7), (0.01, 0.0), (0.003, 1.2)])
def test_its_numbers_are_bayes_by_quadrature(beta: float, xt: float) -> None:
    """From q(x_2 | x_1) q(x_1), with no mixture in closed form."""
    widget = ReverseStep(beta=beta, xt=xt)

    def joint(x: float) -> float:
        before = sum(bell(x, s * 0.8 * math.sqrt(0.9), 0.1) for s in (-1, 1)) / 2
        return before * bell(xt, math.sqrt(1 - beta) * x, beta)

    center, width = xt / math.sqrt(1 - beta), math.sqrt(beta / (1 - beta))
    where = {"a": max(-4, center - 12 * width), "b": min(4, center + 12 * width), "limit": 500}
    total = quad(joint, **where)[0]
    mean = quad(lambda x: x * joint(x) / total, **where)[0]
    variance = quad(lambda x: (x - mean) ** 2 * joint(x) / total, **where)[0]
    assert widget.best_gaussian == pytest.approx((mean, variance), rel=1e-6)

    def loss(x: float) -> float:
        q = joint(x) / total
        return q * math.log(q / bell(x, mean, variance)) if q > 1e-280 else 0.0

    assert widget.kl == pytest.approx(quad(loss, **where)[0], rel=1e-3, abs=1e-9)


def test_the_swarm_is_algorithm_2() -> None:
    """The same noise through the lines of the paper."""
    widget = ReverseStep(T=40, seed=5)
    noise = torch.from_numpy(normals(5, 800 * 41)).view(41, 400, 2)
    schedule, path, x = widget.oracle.schedule, widget.swarm, noise[0]
    assert path.shape == (41, 400, 2)
    assert_close(path[40], x)
    for t, z in zip(range(40, 0, -1), noise[1:], strict=True):
        eps = widget.oracle(x, t)
        beta, a = schedule.beta[t], schedule.alpha_bar[t]
        x = (x - beta / (1 - a).sqrt() * eps) / (1 - beta).sqrt()
        x = x + (beta.sqrt() * z if t > 1 else 0)
        assert_close(path[t - 1], x)


def test_many_steps_land_and_few_do_not() -> None:
    def landed(T: int) -> float:
        end = ReverseStep(T=T).swarm[0]
        means = torch.tensor(ReverseStep()._ring["means"], dtype=torch.float64)
        return (torch.cdist(end, means).min(1).values < 3 * 0.08).double().mean().item()

    assert landed(200) > 0.95
    assert landed(4) < 0.5


@pytest.mark.usefixtures("as_a_reader")
@pytest.mark.parametrize(
    "setting", [{"beta": 1.0}, {"beta": 0.0}, {"xt": 3.0}, {"t": -1}, {"T": 1}, {"seed": -1}]
)
def test_bad_settings(setting: dict[str, float]) -> None:
    with pytest.raises(traitlets.TraitError):
        ReverseStep(**setting)


def test_a_still_shows_the_present_settings() -> None:
    one, two = (ReverseStep(beta=b, t=t).still().axes for b, t in ((0.5, 90), (0.01, 0)))
    assert not np.allclose(one[0].lines[0].get_ydata(), two[0].lines[0].get_ydata())
    assert two[2].get_title() == "the swarm at t = 0 of 100"
    assert np.allclose(two[2].collections[0].get_offsets(), ReverseStep(t=0).swarm[0])
    (x,), (y,) = two[1].lines[1].get_data()
    assert (x, y) == pytest.approx((0.01, ReverseStep(beta=0.01).kl))
    curve = np.array(two[1].lines[0].get_data())
    assert np.interp(0.01, *curve) == pytest.approx(y, rel=0.05)
