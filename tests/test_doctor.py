"""The doctor, on networks that are exact and on the same with one fault each."""

import math
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ddpm_lite import (
    GaussianDiffusion,
    Oracle,
    UNet,
    cosine_schedule,
    ddim,
    digits,
    linear_schedule,
    sample,
    spaced_times,
)
from ddpm_lite.blocks import Attention
from ddpm_lite.runs.doctor import (
    Finding,
    _above,
    _Asked,
    calibrated,
    diagnose,
    gap,
    hidden_labels,
    learned,
    oracle_through,
    report,
    told_time,
)
from ddpm_lite.runs.probes import ByTime, against_the_oracle, pick

SCHEDULE = linear_schedule().rescaled(200)
DIFFUSION = GaussianDiffusion(SCHEDULE, levels=None)


class Exact(nn.Module):
    """The oracle of ten digits and noise of deviation 0.3, times a factor, plus a constant."""

    def __init__(self, factor: float = 1.0, schedule: Any = SCHEDULE, off: float = 0.0):
        super().__init__()
        means = 0.7 * digits()[0][:10]
        self.factor = nn.Parameter(torch.tensor(factor))
        self.oracle = Oracle(schedule, means, std=0.3)
        self.off = off

    def forward(self, xt: Tensor, t: Tensor) -> Tensor:
        return self.factor * self.oracle(xt, t) + self.off


EXACT = Exact().eval()
X0 = EXACT.oracle.sample(300, torch.Generator().manual_seed(0))
TEST = EXACT.oracle.sample(300, torch.Generator().manual_seed(1))


def found(network: Any = EXACT, diffusion: Any = DIFFUSION, x0: Tensor = X0, **more: Any) -> Any:
    return {f.name: f for f in diagnose(x0, network, diffusion, **more)}


def verdict(name: str, *given: Any, **more: Any) -> str:
    return found(*given, **more)[name].verdict


def test_an_exact_network_is_not_accused() -> None:
    said = found(raw=Exact(1.2), test=TEST)
    assert {name for name, f in said.items() if f.verdict == "sick"} == {
        "range"
    }  # it leaves [-1, 1]
    healthy = {name for name, f in said.items() if f.verdict == "healthy"}
    assert healthy >= {
        "terminal SNR", "finite weights", "the same answer twice", "first guess",
        "loss by t", "calibration", "clock", "average", "gap of train and test",
    }  # fmt: skip


@pytest.mark.parametrize("off", [-1, 1])
def test_a_clock_that_is_off_by_one(off: int) -> None:
    def shifted(xt: Tensor, t: Tensor) -> Tensor:
        return EXACT.oracle(xt, (t - off).clamp(1, 200))

    said = found(shifted)["clock"]
    assert said.verdict == "sick"
    assert said.measured == pytest.approx(off, abs=0.5)


def test_an_answer_that_is_too_large_or_too_small() -> None:
    for factor in (0.8, 1.25):
        said = found(Exact(factor))["calibration"]
        assert said.verdict == "sick"
        assert said.measured == pytest.approx(1 / factor, rel=0.05)


def test_a_network_of_another_schedule() -> None:
    cosine = cosine_schedule(200)
    said = found(diffusion=GaussianDiffusion(cosine, levels=None))["noise level"]
    assert said.verdict == "sick"
    assert said.measured < 0.9
    late = found(Exact(schedule=cosine))["noise level"]  # here a later time fits better
    assert late.verdict != "healthy"
    assert late.measured < 0.9


def test_half_a_step_is_no_accusation() -> None:
    def between(xt: Tensor, t: Tensor) -> Tensor:
        return (EXACT.oracle(xt, t) + EXACT.oracle(xt, (t - 1).clamp(min=1))) / 2

    said = found(between)["clock"]
    assert said.verdict != "sick"
    assert 0.2 < said.measured < 0.8


def test_the_error_of_the_clock_is_its_deviation_over_seeds() -> None:
    said = [told_time(_Asked(EXACT, DIFFUSION, X0, None, 256, seed)) for seed in range(20)]
    late = torch.tensor([f.measured for f in said])
    error = torch.tensor([float(f.what.split("+- ")[1].rstrip(":")) for f in said])
    assert 0.6 < error.mean() / late.std() < 1.7


def test_a_network_that_says_nothing() -> None:
    assert verdict("loss by t", lambda xt, t: torch.zeros_like(xt)) == "sick"


def test_below_the_floor_something_leaks() -> None:
    b = against_the_oracle(EXACT, DIFFUSION, X0, times=[90, 100])
    assert learned(b).verdict != "sick"
    leak = learned(replace(b, error=b.floor / 2, uncertainty=b.floor / 50))
    assert leak.verdict == "sick"
    assert "leak" in leak.advice


def by_time(error: list[float], uncertainty: float, slope: list[float]) -> ByTime:
    """Some numbers in the places of what a network is measured by, where single pixels have 1."""
    one = torch.ones(len(error), dtype=torch.float64)
    known = {"snr": one, "floor": one / 2, "alone": one, "nothing": 2 * one, "scale": one}
    return ByTime(
        tuple(range(1, len(error) + 1)),
        error=torch.tensor(error, dtype=torch.float64),
        uncertainty=uncertainty * one,
        slope=torch.tensor(slope, dtype=torch.float64),
        slope_uncertainty=uncertainty * one,
        **known,
    )


@pytest.mark.parametrize(
    ("error", "uncertainty", "said"),
    [
        ([0.8] * 4, 0.01, "healthy"),
        ([0.8] * 4, 0.06, "unknown"),  # 1 is as near as four standard errors
        ([1.2] * 4, 0.06, "unknown"),
        ([1.2] * 4, 0.01, "sick"),
        ([1.2, 0.8, 0.8, 0.8], 0.01, "unknown"),  # one time is not most of them
        ([0.45] * 4, 0.01, "sick"),  # below the oracle's 0.5
        ([0.45] * 4, 0.02, "healthy"),
    ],
)
def test_a_loss_is_judged_by_four_standard_errors(
    error: list[float], uncertainty: float, said: str
) -> None:
    assert learned(by_time(error, uncertainty, [1.0] * 4)).verdict == said


@pytest.mark.parametrize(
    ("slope", "uncertainty", "said"),
    [
        ([0.95, 1.05, 1.0, 1.0], 0.01, "healthy"),
        ([0.8, 0.8, 1.0, 1.0], 0.01, "sick"),
        ([0.8, 0.8, 1.0, 1.0], 0.03, "unknown"),  # 0.9 is as near as four standard errors
        ([0.8, 1.0, 1.0, 1.0], 0.01, "unknown"),
    ],
)
def test_a_slope_is_judged_by_four_standard_errors(
    slope: list[float], uncertainty: float, said: str
) -> None:
    found = calibrated(by_time([0.8] * 4, uncertainty, slope))
    assert (found.verdict, found.measured) == (said, slope[0])  # the farthest from 1


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_that_are_no_numbers(bad: float) -> None:
    said = found(Exact(bad))
    assert said["finite weights"].verdict == "sick"
    assert "loss by t" not in said, "what follows from it is no finding of its own"


@pytest.mark.parametrize(("when", "bad"), [(1, math.inf), (100, -math.inf), (200, math.nan)])
def test_answers_that_are_no_numbers(when: int, bad: float) -> None:
    def at_one_time(xt: Tensor, t: Tensor) -> Tensor:
        return torch.where(t.view(-1, 1, 1, 1) == when, bad, EXACT(xt, t))

    said = found(at_one_time)
    assert said["finite answers"].verdict == "sick"
    assert said["finite answers"].measured == 256 * 64
    assert said["finite weights"].verdict == "unknown", "a function has none to look at"
    assert "first guess" not in said, "what follows from it is no finding of its own"
    assert verdict("finite answers") == "healthy"


def test_a_clock_that_cannot_be_read() -> None:
    def deaf(xt: Tensor, t: Tensor) -> Tensor:
        wobble = 1e-3 * (3.0 * t).sin().view(-1, 1, 1, 1)
        return EXACT(xt, torch.full_like(t, 8)) * (1 + wobble)

    said = found(deaf)
    assert said["noise level"].verdict == "unknown", "as well with any time is no fault"
    assert said["clock"].verdict == "unknown"
    assert math.isnan(said["clock"].measured), "a parabola without a bend has no lowest point"


def test_dropout_that_is_on() -> None:
    network = nn.Sequential(nn.Dropout(0.1))

    def forward(xt: Tensor, t: Tensor) -> Tensor:
        return EXACT(network(xt), t)

    network.train()
    assert verdict("the same answer twice", forward) == "sick"
    network.eval()
    assert verdict("the same answer twice", forward) == "healthy"


def test_the_average_against_the_last_weights() -> None:
    assert verdict("average") == "unknown"
    assert verdict("average", raw=Exact(1.5)) == "healthy"
    assert verdict("average", Exact(1.5), raw=EXACT) == "sick"
    same = found(raw=Exact())["average"]
    assert (same.verdict, same.what[:40]) == ("sick", "these are the weights of the last step; ")
    wrapped = found(AveragedModel(Exact()), raw=Exact())["average"]
    assert wrapped.what == same.what


def test_one_weight_that_differs_is_another_network() -> None:
    average, last = (nn.Sequential(nn.Conv2d(1, 1, 1), EXACT) for _ in range(2))
    last.load_state_dict(average.state_dict())

    def said() -> str:
        return found(Timed(average), raw=Timed(last))["average"].what[:5]

    assert said() == "these"
    last[0].bias.data += 1  # type: ignore[operator,union-attr]
    assert said() == "loss "


class Timed(nn.Module):
    """A layer, and a network that is told the time."""

    def __init__(self, parts: nn.Sequential):
        super().__init__()
        self.parts = parts

    def forward(self, xt: Tensor, t: Tensor) -> Tensor:
        return self.parts[1](self.parts[0](xt), t)


def test_the_loss_of_the_average_is_that_of_training() -> None:
    t = torch.tensor(spaced_times(200, 8)).repeat_interleave(len(X0))
    x0, last = X0.repeat(8, 1, 1, 1), Exact(1.5)
    torch.manual_seed(0)
    with torch.no_grad():
        ours, theirs = (DIFFUSION.p_losses(network, x0, t).mean() for network in (EXACT, last))
    assert found(raw=last)["average"].measured == pytest.approx(float(ours / theirs), rel=0.05)


def test_last_weights_of_another_network_are_refused() -> None:
    one, wide = (UNet(size=8, width=w, mults=(1,)) for w in (8, 16))
    with pytest.raises(ValueError, match=r"raw must be .*has shape \(32, 8\) .* \(64, 16\) in raw"):
        diagnose(X0, one, DIFFUSION, raw=wide)
    with pytest.raises(ValueError, match=r"raw must be .*factor has shape \(\) .* None in raw"):
        diagnose(X0, EXACT, DIFFUSION, raw=one)


def test_a_label_that_was_never_hidden() -> None:
    """Two classes; told none, one network weighs them by x_t, and one takes the first for it."""
    x0, labels = digits()
    keep = (labels < 2).nonzero()[:100, 0]
    x0, labels = x0[keep], labels[keep]
    of = [Oracle(SCHEDULE, x0[labels == c], std=0.1) for c in (0, 1)]
    both = Oracle(SCHEDULE, x0, std=0.1)

    class Told(nn.Module):
        classes = 3

        def __init__(self, hidden: Any):
            super().__init__()
            self.hidden = hidden

        def forward(self, xt: Tensor, t: Tensor, labels: Tensor) -> Tensor:
            every = [oracle(xt, t) for oracle in (*of, self.hidden)]
            return torch.stack(every)[labels, torch.arange(len(xt))]

    assert verdict("no label", Told(both), x0=x0, labels=labels) == "healthy"
    assert verdict("no label", Told(of[0]), x0=x0, labels=labels) == "sick"
    asked = _Asked(Told(both), DIFFUSION, x0, labels, 256, 0)
    assert gap(asked, x0.flip(0), labels.flip(0)).measured == pytest.approx(1, abs=0.1)
    assert gap(asked, x0.flip(0), labels).measured > 1.5, "told other labels than they have"
    average = AveragedModel(Told(both))
    assert verdict("no label", average, x0=x0, labels=labels) == "healthy"
    assert verdict("no label") == "unknown"


def test_a_label_that_was_hidden_from_a_network_with_errors() -> None:
    """The mean of ten answers has less of an error that each label has by itself: no accusation."""
    x0, labels = digits()
    exact = Oracle(SCHEDULE, x0[:256], std=0.1)
    errors = 0.03 * torch.randn(11, 1, 8, 8, generator=torch.Generator().manual_seed(0))

    class Told(nn.Module):
        classes = 11

        def forward(self, xt: Tensor, t: Tensor, labels: Tensor) -> Tensor:
            return exact(xt, t) + errors[labels]

    said = found(Told(), x0=x0[:256], labels=labels[:256])["no label"]
    assert said.verdict == "unknown"
    assert said.measured > 1


def test_errors_of_the_same_images_are_compared_image_by_image() -> None:
    """Each error is 1.2 times as large without a label, however unlike the images are."""
    x0 = digits()[0][:16] * torch.linspace(0.1, 1, 16).view(-1, 1, 1, 1)
    some = x0[pick(16, 16, 0)[1]]

    def says(xt: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        return torch.where(labels == 2, -0.2, 0.0).view(-1, 1, 1, 1) * some

    says.classes = 3  # type: ignore[attr-defined]
    diffusion, labels = replace(DIFFUSION, objective="x0"), torch.arange(16) % 2
    said = hidden_labels(_Asked(says, diffusion, x0, labels, 16, 0))
    assert said.measured == pytest.approx(1.2**2, rel=1e-4)
    assert said.verdict == "sick"


def test_a_ratio_is_sick_by_four_standard_errors() -> None:
    for unsure, said in ((0.02, "sick"), (0.03, "unknown")):
        assert _above(1.2, unsure, 1.1, healthy=1.02) == said
    assert _above(1.0, 0.03, 1.1, healthy=1.02) == "healthy"


def test_images_learnt_by_heart() -> None:
    few = Oracle(SCHEDULE, X0[:50], std=0.02)
    assert verdict("gap of train and test", few, x0=X0[:50], test=TEST) == "sick"
    assert verdict("gap of train and test", test=TEST) == "healthy"


def test_a_chain_that_stops_early() -> None:
    for schedule, expected in ((SCHEDULE, "healthy"), (linear_schedule(100), "sick")):
        said = found(Exact(schedule=schedule), GaussianDiffusion(schedule), digits()[0])
        assert said["terminal SNR"].verdict == expected


def test_the_end_of_a_chain_is_judged_by_the_number_that_is_shown() -> None:
    x0 = digits()[0]
    whole = float(x0[:1000].double().square().sum((1, 2, 3)).mean())
    # At T = 200 six times the noise is left in all, of which 3.6 in one direction.
    for schedule in (SCHEDULE, *map(linear_schedule, (100, 200, 400))):
        said = found(Exact(schedule=schedule), GaussianDiffusion(schedule), x0)["terminal SNR"]
        alpha_bar = schedule.alpha_bar[-1].item()
        if said.verdict == "sick":
            assert 4 < said.measured < alpha_bar * whole
        else:
            assert said.measured == pytest.approx(alpha_bar * whole)
            assert (said.verdict == "healthy") == (said.measured < 0.1)


def test_the_first_guess_of_eps_without_signal() -> None:
    schedule = cosine_schedule(200)
    diffusion = GaussianDiffusion(schedule, levels=None)
    near = Exact(schedule=schedule, off=0.01)
    how: dict[str, Any] = {"steps": 50}
    assert verdict("first guess", near, diffusion, clip=False, **how) == "sick"
    assert verdict("first guess", near, diffusion, **how) == "healthy"
    v = replace(diffusion, objective="v")

    def says_v(xt: Tensor, t: Tensor) -> Tensor:
        return v.convert(Exact(schedule=schedule)(xt, t), xt, t.int(), "eps", "v") + 0.01

    assert verdict("first guess", says_v, v, clip=False, **how) == "healthy"


def test_the_first_guess_is_off_by_the_power_of_the_images() -> None:
    """Of x0_hat = 0 for images that are one picture or its negative: all in one direction."""
    x0 = torch.linspace(-1, 1, 64).view(1, 1, 8, 8) * torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)
    diffusion = replace(DIFFUSION, objective="x0")
    s, T = spaced_times(200, 2)
    said = found(lambda xt, t: torch.zeros_like(xt), diffusion, x0, steps=2)["first guess"]
    power = float(x0[0].square().sum())
    assert said.measured == pytest.approx(SCHEDULE.snr[s].item() * power, rel=1e-4)
    assert said.what.startswith(f"power of the error of x0_hat at T = {T} in the next x_{s}")


def test_the_range_and_the_levels_of_data() -> None:
    x0 = digits()[0]
    seventeen = replace(DIFFUSION, levels=17)
    for data, said in (
        (x0, "healthy"), ((x0 + 1) / 2, "sick"), ((x0 + 1) * 127.5, "sick"),
        (1.5 * x0 - 0.7, "sick"),
    ):  # fmt: skip
        (range_, levels) = diagnose(data)
        assert range_.verdict == said
        assert levels.verdict == "unknown"
    assert verdict("levels", diffusion=seventeen, x0=x0) == "healthy"
    assert verdict("levels", diffusion=seventeen, x0=x0 * 0.99) == "unknown"
    assert verdict("levels", diffusion=seventeen, x0=x0 * 3) == "unknown"  # on them, and beyond
    for data in (0.55 + 0.45 * x0, (x0 + 1) / 4, 0.5 + 0.01 * x0, 2 * (x0 + 1) / 255 - 1, 0 * x0):
        assert diagnose(data)[0].verdict == "unknown"  # light, or without contrast
    assert diagnose(1.1 * x0)[0].verdict == "unknown"
    assert diagnose(-0.5 + 0.1 * x0)[0].verdict == "healthy"  # dark pictures may be so


def test_attention_is_looked_at_in_our_own_networks() -> None:
    diffusion = GaussianDiffusion(SCHEDULE, levels=17)
    said = found(UNet(8, 1, 8, (1,)).eval(), diffusion, digits()[0])
    assert said["attention"].verdict == "healthy"
    assert said["loss by t"].verdict == "sick"  # it was never trained
    assert verdict("attention") == "unknown"


class Leaks(Attention):
    """A tenth of what is looked at is lost."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.9 * (super().forward(x) - x)


def test_one_attention_that_does_not_add_up_is_enough() -> None:
    network = UNet(8, 1, 8, (1, 2), attention=(8,)).eval()
    network.middle_in.attn.__class__ = Leaks
    said = found(network, GaussianDiffusion(SCHEDULE, levels=17), digits()[0])["attention"]
    assert said.verdict == "sick"
    assert said.measured == pytest.approx(0.9, abs=1e-4)


# The sampler.


def through(sampler: Any, schedule: Any = SCHEDULE) -> dict[str, Finding]:
    torch.manual_seed(0)
    return {f.name: f for f in oracle_through(sampler, schedule, digits()[0])}


def sick(findings: dict[str, Finding]) -> set[str]:
    return {name for name, f in findings.items() if f.verdict == "sick"}


def test_right_samplers_give_the_data_back() -> None:
    for objective in ("eps", "v", "x0"):
        diffusion = replace(DIFFUSION, objective=objective)  # type: ignore[arg-type]
        fifty = partial(sample, diffusion, sampler=ddim, steps=50)
        for sampler in (partial(sample, diffusion), fifty):
            torch.manual_seed(0)
            said = oracle_through(sampler, SCHEDULE, digits()[0], objective=objective)  # type: ignore[arg-type]
            assert {f.verdict for f in said} == {"healthy"}
    assert sick(through(fifty)), "an output taken for another one"


def test_images_that_come_twice_are_taken_once() -> None:
    x0 = digits()[0][:12]
    ten = partial(sample, DIFFUSION, sampler=ddim, steps=10)
    torch.manual_seed(0)
    once = oracle_through(ten, SCHEDULE, x0)
    torch.manual_seed(0)
    assert oracle_through(ten, SCHEDULE, x0.repeat_interleave(3, 0)) == once


def test_noise_in_the_last_step_shows() -> None:
    def noisy(model: Any, shape: Any) -> Tensor:
        x = sample(DIFFUSION, model, shape, ddim, steps=50)
        return x + 0.2 * torch.randn(shape)

    assert "images come back" in sick(through(noisy))


def test_how_far_samples_are_from_images_is_a_deviation_of_pixels() -> None:
    def shaken(model: Any, shape: Any) -> Tensor:
        rows = torch.arange(shape[0]) % 10
        return digits()[0][:10][rows] + 0.05 * torch.randn(shape)

    said = through(shaken)
    assert said["images come back"].measured == pytest.approx(0.05, rel=0.1)
    assert said["images come back"].verdict == "unknown"
    assert said["each as often"].measured == pytest.approx(0, abs=1e-6)


def test_beta_tilde_on_ten_steps_loses_contrast() -> None:
    times = spaced_times(200, 10)
    for variance, expected in (("beta", set()), ("beta_tilde", {"contrast"})):
        chain = replace(DIFFUSION, variance=variance).subsequence(times)  # type: ignore[arg-type]
        assert sick(through(partial(sample, chain))) == expected


def test_a_start_that_is_no_noise_shows_in_what_comes_often() -> None:
    def bright(model: Any, shape: Any) -> Tensor:
        start = torch.randn(shape) * 0.3 + 1
        return sample(DIFFUSION, model, shape, ddim, steps=50, start=start)

    assert "each as often" in sick(through(bright))


def test_samples_that_are_no_numbers_are_sick() -> None:
    said = through(lambda model, shape: torch.full(shape, math.nan))
    assert said["images come back"].verdict == "sick"


# What is refused, and what is said.


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"x0": X0[:1]}, "x0 must hold at least two images, got 1"),
        ({"diffusion": None}, "network and diffusion belong together"),
        ({"network": None}, "network and diffusion belong together"),
        ({"steps": 201}, r"steps must lie in 1\.\.200, got 201"),
        ({"images": 300}, r"images must lie in 2\.\.256, got 300"),
        ({"test": X0 * math.inf}, "must be finite"),
        ({"labels": torch.zeros(2).long()}, r"labels must have shape \(300,\)"),
    ],
)
def test_bad_input_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        diagnose(**({"x0": X0, "network": EXACT, "diffusion": DIFFUSION} | given))


def test_a_bad_sampler_is_refused() -> None:
    x0 = digits()[0]
    with pytest.raises(TypeError, match="sampler must be callable"):
        oracle_through(3, SCHEDULE, x0)
    with pytest.raises(ValueError, match="samples must be at least 50, got 10"):
        oracle_through(partial(sample, DIFFUSION), SCHEDULE, x0, samples=10)
    with pytest.raises(ValueError, match=r"must give samples of shape \(500, 1, 8, 8\), got \(2,"):
        oracle_through(lambda model, shape: torch.zeros(2, 1, 8, 8), SCHEDULE, x0)
    with pytest.raises(ValueError, match="different images"):
        oracle_through(partial(sample, DIFFUSION), SCHEDULE, x0[:1].repeat(3, 1, 1, 1))


def test_a_report_begins_with_what_is_sick() -> None:
    text = report(
        [
            Finding("a", "healthy", 1.0, "a is", "1"),
            Finding("b", "unknown", math.nan, "no b", "2"),
            Finding("c", "sick", 3.0, "c is", "2", "mend c"),
        ]
    )
    assert text.splitlines() == [
        "sick    c: c is 3; expected 2",
        "        try: mend c",
        "unknown b: no b; expected 2",
        "healthy a: a is 1; expected 1",
        "1 sick, 1 unknown, 1 healthy",
    ]


def test_a_report_without_a_fault_says_what_is_left_to_ask() -> None:
    text = report([Finding("b", "unknown", math.nan, "no b", "2")])
    count, rest = text.splitlines()[-2:]
    assert count == "0 sick, 1 unknown, 0 healthy"
    assert "oracle_through" in rest
    assert "q_sample" in rest
