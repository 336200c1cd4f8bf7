"""What the doctor measures, beside exact answers: the oracle as the network, and brute force."""

import math

import pytest
import torch
from torch import Tensor

from ddpm_lite import GaussianDiffusion, Oracle, UNet, digits, linear_schedule
from ddpm_lite.experiments.sick import other_axis
from ddpm_lite.runs.probes import against_the_oracle, attention_rows, clock, spread_times

SCHEDULE = linear_schedule().rescaled(200)
DIFFUSION = GaussianDiffusion(SCHEDULE)
X0 = digits()[0][:200]


def test_times_are_even_in_the_logarithm_of_the_snr() -> None:
    times = spread_times(SCHEDULE, 5)
    assert (times[0], times[-1]) == (1, 200)
    steps = SCHEDULE.snr[times].log().diff()
    assert (steps - steps.mean()).abs().max() < 0.1 * steps.mean().abs()
    inside = SCHEDULE.snr[spread_times(SCHEDULE, 5, 0.3, 30.0)]
    assert 0.3 <= inside.min() < 0.4
    assert 25 < inside.max() <= 30
    assert spread_times(linear_schedule(10, 1e-6, 1e-6), 5, 0.3, 30.0) == []


def test_the_oracle_stands_on_its_own_floor() -> None:
    b = against_the_oracle(Oracle(SCHEDULE, X0), DIFFUSION, X0, times=[20, 60, 120])
    # It is asked for eps, and sqrt((1 - alpha_bar) / alpha_bar) makes x0_hat of it.
    assert torch.allclose(b.error, b.floor, rtol=1e-3, atol=1e-6)
    assert ((b.slope - 1).abs() < 4 * b.slope_uncertainty + 1e-3).all()
    oracle = Oracle(SCHEDULE, X0)
    low = against_the_oracle(lambda x, t: oracle(x, t) / 2, DIFFUSION, X0, times=[20, 60, 120])
    assert torch.allclose(low.slope, 2 * b.slope)  # what must be doubled to be right
    half = against_the_oracle(Oracle(SCHEDULE, X0[:50]), DIFFUSION, X0, times=[60])
    assert half.error > half.floor + 4 * half.uncertainty


@pytest.mark.parametrize("objective", ["eps", "x0", "v"])
def test_what_is_above_the_floor_is_the_distance_to_the_oracle(objective: str) -> None:
    """E|x0_hat - x0|^2 = E|x0* - x0|^2 + E|x0_hat - x0*|^2, whatever the network says."""
    diffusion = GaussianDiffusion(SCHEDULE, objective=objective)  # type: ignore[arg-type]
    oracle = Oracle(SCHEDULE, X0)
    t = 60

    def off(xt: Tensor, told: Tensor) -> Tensor:
        eps = oracle(xt, told) + 0.3 * xt.roll(1, 3)
        return diffusion.convert(eps, xt, t, "eps", objective)  # type: ignore[arg-type]

    b = against_the_oracle(off, diffusion, X0, times=[t])
    a = SCHEDULE.alpha_bar[t]
    xt = diffusion.q_sample(X0.repeat(10, 1, 1, 1), t)
    apart = (1 - a) / a * (0.3 * xt.roll(1, 3)).double().square().mean()
    assert b.error.item() == pytest.approx(float(b.floor + apart), rel=0.06)
    assert apart > 0.3 * b.error  # it is no small part


def test_the_best_of_single_pixels_is_a_regression() -> None:
    t = 60
    b = against_the_oracle(Oracle(SCHEDULE, X0), DIFFUSION, X0, times=[t])
    xt = DIFFUSION.q_sample(X0.repeat(100, 1, 1, 1), t).double().flatten(1)
    x = X0.repeat(100, 1, 1, 1).double().flatten(1)
    x, xt = x - x.mean(0), xt - xt.mean(0)
    slope = (x * xt).mean(0) / (xt * xt).mean(0)
    assert b.alone.item() == pytest.approx(((x - slope * xt) ** 2).mean().item(), rel=0.01)
    assert b.nothing.item() == pytest.approx((x**2).mean().item(), rel=1e-5)


def test_loss_is_in_the_coordinate_of_the_objective() -> None:
    for objective in ("eps", "v", "mu"):
        diffusion = GaussianDiffusion(SCHEDULE, objective=objective)  # type: ignore[arg-type]

        def blank(xt: Tensor, t: Tensor) -> Tensor:
            return torch.zeros_like(xt)

        b = against_the_oracle(blank, diffusion, X0, times=[60])
        x0, t = X0.repeat(20, 1, 1, 1), torch.full((4000,), 60)
        expected = diffusion.p_losses(blank, x0, t).mean()
        assert b.loss.item() == pytest.approx(expected.item(), rel=0.05), objective


def test_a_label_is_knowledge_of_the_oracle_too() -> None:
    x0, labels = digits()
    x0, labels = x0[:200], labels[:200]
    of = [Oracle(SCHEDULE, x0[labels == c]) for c in range(10)]

    def exact(xt: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        return torch.stack([oracle(xt, t) for oracle in of])[labels, torch.arange(len(xt))]

    told = against_the_oracle(exact, DIFFUSION, x0, times=[110], labels=labels)  # type: ignore[arg-type]
    alone = against_the_oracle(Oracle(SCHEDULE, x0), DIFFUSION, x0, times=[110])
    assert told.floor < 0.95 * alone.floor
    assert torch.allclose(told.error, told.floor, rtol=1e-3)


def test_of_a_large_set_only_images_that_the_oracle_knows_are_noised() -> None:
    """Hardly noised, an image is told from all that are known; of others it would be off."""
    b = against_the_oracle(Oracle(SCHEDULE, X0), DIFFUSION, digits()[0], times=[5])
    assert b.floor < 1e-6 < b.error


def test_standard_errors_are_deviations_over_seeds() -> None:
    shaken = Oracle(SCHEDULE, X0[:100])
    every = [
        against_the_oracle(shaken, DIFFUSION, X0, times=[60], images=64, seed=s) for s in range(16)
    ]
    for name, uncertainty in (("error", "uncertainty"), ("slope", "slope_uncertainty")):
        found = torch.stack([getattr(b, name) for b in every]).std()
        said = torch.stack([getattr(b, uncertainty) for b in every]).mean()
        assert 0.5 < said / found < 2, name


def test_the_clock_of_an_oracle_is_right() -> None:
    oracle = Oracle(SCHEDULE, X0[:10], std=0.1)
    x0 = oracle.sample(200, torch.Generator().manual_seed(0))
    errors = clock(oracle, DIFFUSION, x0, 8, [6, 7, 8, 9, 10]).mean(1)
    assert errors.argmin() == 2
    late = clock(lambda x, t: oracle(x, t + 1), DIFFUSION, x0, 8, [6, 7, 8, 9, 10]).mean(1)
    assert late.argmin() == 1


@pytest.mark.parametrize("settings", [{"heads": 2, "attention": (8,)}, {"head_width": 4}])
def test_attention_adds_up(settings: dict[str, object]) -> None:
    network = UNet(8, 1, 8, (1, 2), **settings)
    for weight in network.parameters():  # a new network says 0, whatever is in it
        torch.nn.init.normal_(weight, std=0.3)
    x, t = torch.randn(3, 1, 8, 8), torch.ones(3, dtype=torch.long)
    before = network(x, t)
    rows = attention_rows(network, x, t, None)
    assert len(rows) >= 1
    assert (rows - 1).abs().max() < 1e-5
    assert torch.equal(network(x, t), before), "the network itself was changed"


def test_attention_over_the_other_axis_does_not_add_up() -> None:
    torch.manual_seed(0)
    network = UNet(8, 1, 8, (1, 2))
    torch.nn.init.normal_(network.middle_in.attn.qkv.weight)  # type: ignore[union-attr,arg-type]
    other_axis(network)
    x, t = torch.randn(3, 1, 8, 8), torch.ones(3, dtype=torch.long)
    assert (attention_rows(network, x, t, None) - 1).abs().max() > 0.1


def test_what_cannot_be_measured_is_refused() -> None:
    oracle = Oracle(SCHEDULE, X0)
    for given, says in (
        ({"x0": X0[:1]}, "x0 must hold at least two images, got 1"),
        ({"x0": X0 * math.nan}, "x0 must be finite"),
        ({"images": 1}, r"images must lie in 2\.\.256, got 1"),
        ({"times": []}, "times must hold at least one t"),
        ({"labels": torch.zeros(3).long()}, r"labels must have shape \(200,\), got \(3,\)"),
    ):
        asked = {"model": oracle, "diffusion": DIFFUSION, "x0": X0} | given
        with pytest.raises(ValueError, match=says):
            against_the_oracle(**asked)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="t must lie in"):
        against_the_oracle(oracle, DIFFUSION, X0, times=[201])
