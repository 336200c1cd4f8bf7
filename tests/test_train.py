"""The training loop: it learns what is known, it can be repeated, it refuses bad data."""

import math

import pytest
import torch
from torch import Tensor, nn

from ddpm_lite import GaussianDiffusion, TrainConfig, UNet, digits, linear_schedule, train


class Linear(nn.Module):
    """eps_hat = w x_t for data that are zero; the best w is 1 / sqrt(1 - alpha_bar_t)."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(0.0))
        self.register_buffer("constant", torch.tensor(3.0))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.w * x


@pytest.mark.proves("train")
def test_it_finds_the_known_optimum() -> None:
    schedule = linear_schedule(1, 0.36, 0.36)  # one step, x_1 = 0.6 eps
    model = Linear()
    config = TrainConfig(steps=400, lr=0.05, warmup=5, ema_decay=0.95)
    *_, last = train(model, GaussianDiffusion(schedule), torch.zeros(4, 2), config)
    assert model.w.item() == pytest.approx(1 / 0.6, abs=0.02)
    assert last.ema.module.w.item() == pytest.approx(1 / 0.6, abs=0.02)
    assert last.loss < 1e-3


def test_the_average_by_hand() -> None:
    model = Linear()
    average = None
    for step in train(
        model,
        GaussianDiffusion(linear_schedule()),
        torch.zeros(4, 2),
        TrainConfig(steps=60, lr=0.1, warmup=0, ema_decay=0.8),
    ):
        now = model.w.item()
        decay = min(0.8, (1 + step.step) / (10 + step.step))
        average = now if average is None else decay * average + (1 - decay) * now
        assert step.ema.module.w.item() == pytest.approx(average, rel=1e-4, abs=1e-6)
        assert step.ema.module.constant.item() == 3.0  # buffers are no weights
        assert not step.ema.training


def test_the_first_steps_are_small() -> None:
    """Adam's first step has the size of the learning rate, whatever the gradient."""
    model = Linear()
    steps = train(
        model,
        GaussianDiffusion(linear_schedule()),
        torch.zeros(4, 2),
        TrainConfig(steps=3, lr=0.1, warmup=9),
    )
    next(steps)
    assert model.w.item() == pytest.approx(0.1 / 10, rel=1e-3)


def test_seeds_make_a_run_repeatable() -> None:
    def run(seed: int) -> list[float]:
        torch.manual_seed(0)
        network = UNet(8, 1, 8)
        steps = train(
            network,
            GaussianDiffusion(linear_schedule()),
            digits()[0],
            TrainConfig(steps=4, batch=8, seed=seed),
        )
        return [step.loss.item() for step in steps]

    assert run(0) == run(0)
    assert run(0) != run(1)


def test_the_digits_are_learnt_a_little() -> None:
    network = UNet(8, 1, 8)
    steps = train(
        network,
        GaussianDiffusion(linear_schedule()),
        digits()[0],
        TrainConfig(steps=120, batch=32, warmup=20),
    )
    losses = [step.loss.item() for step in steps]
    assert sum(losses[:5]) / 5 > 0.9  # a network that answers 0 has a loss of 1
    assert sum(losses[-20:]) / 20 < 0.4


@pytest.mark.proves("train")
def test_times_cover_the_whole_chain_and_nothing_else() -> None:
    seen: list[Tensor] = []

    class Listening(Linear):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            seen.append(t)
            return super().forward(x, t)

    list(
        train(
            Listening(),
            GaussianDiffusion(linear_schedule(10)),
            torch.zeros(4, 2),
            TrainConfig(steps=30, batch=64),
        )
    )
    counts = torch.cat(seen).bincount(minlength=11)
    assert len(counts) == 11
    assert counts[0] == 0
    assert (counts[1:] - 192).abs().max() < 5 * math.sqrt(192)


@pytest.mark.usefixtures("as_a_reader")
def test_bad_input_is_refused_before_the_first_step() -> None:
    diffusion, model = GaussianDiffusion(linear_schedule()), Linear()
    with pytest.raises(TypeError, match=r"data must be floating point .* got torch.uint8"):
        train(model, diffusion, torch.zeros(3, 2).byte())
    with pytest.raises(ValueError, match="at least one image, got none"):
        train(model, diffusion, torch.zeros(0, 2))
    bad = torch.zeros(3, 2)
    bad[2, 1] = math.nan
    with pytest.raises(ValueError, match="NaN or infinity in image 2"):
        train(model, diffusion, bad)


@pytest.mark.usefixtures("as_a_reader")
@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("steps", 0, "steps must be positive, got 0"),
        ("batch", -1, "batch must be positive, got -1"),
        ("lr", math.nan, "lr must be positive, got nan"),
        ("clip_norm", 0.0, "clip_norm must be positive"),
        ("warmup", -1, "warmup must not be negative, got -1"),
        ("ema_decay", 1.0, r"ema_decay must lie in \[0, 1\), got 1.0"),
    ],
)
def test_bad_configurations(field: str, value: float, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        TrainConfig(**{field: value})


def test_a_loss_that_is_no_number_stops_the_run() -> None:
    class Broken(Linear):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return super().forward(x, t) * math.nan

    steps = train(
        Broken(), GaussianDiffusion(linear_schedule()), torch.zeros(4, 2), TrainConfig(steps=200)
    )
    with pytest.raises(FloatingPointError, match="the loss is nan at step 100; try a smaller lr"):
        list(steps)
