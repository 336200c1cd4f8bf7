"""The training loop: it learns what is known, it can be repeated, it refuses bad data."""

import itertools
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from ddpm_lite import (
    GaussianDiffusion,
    TrainConfig,
    UNet,
    digits,
    from_model_range,
    linear_schedule,
    load_images,
    train,
)
from ddpm_lite.batches import Draw
from ddpm_lite.training import TrainState
from tests.systems import several_processes

WEIGHTS = UNet(8, 1, 8, (1,)).state_dict()


class Linear(nn.Module):
    """eps_hat = w x_t for data that are zero; the best w is 1 / sqrt(1 - alpha_bar_t)."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(0.0))
        self.register_buffer("calls", torch.tensor(0.0))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        self.calls += 1
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


def test_a_scaled_loss_takes_the_same_step() -> None:
    """As float16 on a GPU: gradients are scaled back before their norm is held to clip_norm."""
    ends = []
    for scale in (None, 2.0**10):
        network = UNet(8, 1, 8, (1,))
        network.load_state_dict(WEIGHTS)
        config = TrainConfig(steps=2, batch=8, warmup=0, clip_norm=1e-3)
        state = TrainState(network, config)
        if scale:
            state.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        list(train(network, GaussianDiffusion(linear_schedule()), digits()[0][:32], state=state))
        ends.append(state.optimizer.state_dict()["state"])
    for name, moments in ends[0].items():  # Adam's own step hardly knows the gradient's size
        assert_close(moments["exp_avg"], ends[1][name]["exp_avg"], rtol=1e-3, atol=1e-12)


def test_the_network_trains_in_training_mode() -> None:
    network, modes = UNet(8, 1, 8, (1,), dropout=0.1).eval(), []
    network.register_forward_pre_hook(lambda module, _: modes.append(module.training))
    config = TrainConfig(steps=2, batch=8)
    for _ in train(network, GaussianDiffusion(linear_schedule()), digits()[0][:32], config):
        network.eval()  # to sample in between, say
    assert modes == [True, True]


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
        assert step.ema.module.calls.item() == step.step  # buffers are no weights: they are copied
        assert not step.ema.training


class ReadsNothing(TorchDispatchMode):
    """Refuses to bring a number from a tensor to Python, for which a GPU would have to wait."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func is not torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_a_step_waits_for_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    # Times are checked where that costs nothing: on the CPU, and never on a GPU.
    monkeypatch.setattr(GaussianDiffusion, "_check", lambda diffusion, t, **named: t)
    network = UNet(8, 1, 8, (1,), dropout=0.1, classes=11)
    config = TrainConfig(steps=5, batch=4, drop_label=0.1, flip=True, precision="float32")
    diffusion = GaussianDiffusion(linear_schedule(), levels=17)
    steps = train(network, diffusion, load_images("digits"), config)
    next(steps)
    with ReadsNothing():
        for _ in range(3):
            next(steps)
        with pytest.raises(AssertionError):
            next(steps)  # the last, where the loss is looked at


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
    with pytest.raises(TypeError, match=r"data must be floating point .* got torch.int64"):
        train(model, diffusion, torch.zeros(3, 2).long())
    with pytest.raises(ValueError, match="levels = 17, got 17"):
        train(model, GaussianDiffusion(linear_schedule(), levels=17), torch.full((3, 2), 17).byte())
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
        ("accumulate", 3, "batch must be a multiple of accumulate = 3, got 64"),
        ("precision", "half", "precision must be one of auto, float32, bfloat16, float16, got"),
        ("weight", "foo", "weight must be one of none, simple, variational, min_snr, got 'foo'"),
        ("warmup", -1, "warmup must not be negative, got -1"),
        ("ema_decay", 1.0, r"ema_decay must lie in \[0, 1\), got 1.0"),
        ("lr", math.inf, "lr must be finite, got inf"),
        ("weight_decay", math.inf, "weight_decay must be finite, got inf"),
        ("weight_decay", 501.0, "weight_decay must be at most 1 / lr = 500, got 501"),
    ],
)
def test_bad_configurations(field: str, value: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        TrainConfig(**{field: value})


@pytest.mark.usefixtures("as_a_reader")
@pytest.mark.parametrize(("field", "value"), [("steps", 0.5), ("lr", "x"), ("decay", 1)])
def test_settings_of_another_kind(field: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"{field} must be .*, got {value!r} of type"):
        TrainConfig(**{field: value})


def test_a_loss_that_is_no_number_stops_the_run() -> None:
    class Broken(Linear):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return super().forward(x, t) * math.nan

    steps = train(
        Broken(), GaussianDiffusion(linear_schedule()), torch.zeros(4, 2), TrainConfig(steps=200)
    )
    with pytest.raises(
        FloatingPointError, match=r"the loss is nan at step 100, .* try a smaller lr"
    ):
        list(steps)


@pytest.mark.parametrize(("steps", "lr"), [(50, 1e30), (1, 1e39)])
def test_the_last_step_is_looked_at_too(steps: int, lr: float) -> None:
    """The loss of a step is that before it: weights that are no numbers may come after it."""
    model, diffusion = Linear(), GaussianDiffusion(linear_schedule())
    run = train(model, diffusion, torch.zeros(4, 2), TrainConfig(steps=steps, lr=lr, warmup=0))
    with pytest.raises(FloatingPointError, match=f"at step {steps}, or the weights are not finite"):
        list(run)


DIGITS = digits()[0][:64]


def small(seed: int = 0, **options: Any) -> UNet:
    torch.manual_seed(seed)
    return UNet(8, 1, 8, **options)


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("stop", [1, 5, 9])
def test_a_resumed_run_is_the_run_that_never_stopped(stop: int, tmp_path: Path) -> None:
    """Bit for bit: weights, average and optimiser, with dropout, flips and a falling rate."""
    diffusion = GaussianDiffusion(linear_schedule())
    config = TrainConfig(steps=10, batch=8, warmup=3, decay=True, flip=True)
    whole = small(dropout=0.3)
    *_, end = train(whole, diffusion, DIGITS, config)

    first = small(dropout=0.3)
    for step in train(first, diffusion, DIGITS, config):
        torch.randn(3)  # what else is drawn between the steps must not matter
        if step.step == stop:
            torch.save(step.state.state_dict(), tmp_path / "state.pt")
            break
    second = small(seed=1, dropout=0.3)  # other weights: all must come from the file
    state = TrainState(second, config)
    state.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    *_, resumed = train(second, diffusion, DIGITS, config, state)
    assert resumed.step == 10
    assert torch.equal(weights(second), weights(whole))
    assert torch.equal(weights(resumed.ema), weights(end.ema))
    one, two = (s.state.optimizer.state_dict()["state"] for s in (end, resumed))
    for key in one:
        for name in one[key]:
            assert torch.equal(one[key][name], two[key][name])


@pytest.mark.parametrize(
    "change",
    [
        {"lr": 1e-9},
        {"ema_decay": 0.5},
        {"weight_decay": 0.1},
        {"precision": "bfloat16"},
        {"accumulate": 2},
        {"seed": 1},
        {"steps": 9, "decay": True},
    ],
)
def test_the_settings_are_those_of_the_state(change: dict[str, Any]) -> None:
    decay = {"decay": True} if "decay" in change else {}
    model, config = small(), TrainConfig(steps=3, batch=8, **decay)
    state = TrainState(model, config)
    name, value = next(iter(change.items()))
    says = f"{name} must be that of the state, {getattr(config, name)!r}, got {value!r}: load"
    other = replace(config, **change)
    with pytest.raises(ValueError, match=says):
        train(model, GaussianDiffusion(linear_schedule()), DIGITS, other, state)


def test_a_state_goes_on_for_more_steps_with_its_own_network() -> None:
    diffusion, model, config = GaussianDiffusion(linear_schedule()), small(), TrainConfig(steps=2)
    *_, last = train(model, diffusion, DIGITS, config)
    with pytest.raises(ValueError, match="model must be the network of the state, got another"):
        train(small(), diffusion, DIGITS, config, last.state)
    longer = train(last.ema.module, diffusion, DIGITS, config)
    assert next(longer).step == 1  # a network of its own, with a state of its own
    steps = list(train(model, diffusion, DIGITS, replace(config, steps=4), last.state))
    assert [step.step for step in steps] == [3, 4]
    assert steps[-1].state.config.steps == 4


def test_what_would_do_nothing_or_harm_is_refused() -> None:
    diffusion, points = GaussianDiffusion(linear_schedule()), torch.rand(8, 2)
    with pytest.raises(ValueError, match=r"flip needs images .* got data of shape \(8, 2\)"):
        train(Linear(), diffusion, points, TrainConfig(flip=True))  # would swap x and y
    with pytest.raises(
        ValueError, match=r"drop_label needs labels to hide, got 0\.2 and no labels"
    ):
        train(small(classes=3), diffusion, DIGITS, TrainConfig(drop_label=0.2))


def test_parts_of_a_batch_make_its_gradient() -> None:
    diffusion = GaussianDiffusion(linear_schedule())
    ends = []
    for accumulate in (1, 4):
        model = small().double()
        config = TrainConfig(steps=3, batch=8, warmup=0, accumulate=accumulate)
        *_, last = train(model, diffusion, DIGITS.double(), config)
        ends.append((weights(model), last.loss))
    assert_close(ends[0], ends[1], rtol=1e-9, atol=1e-9)


def test_the_gradient_is_held_at_its_norm() -> None:
    found = []
    for clip in (math.inf, 1e-3):
        config = TrainConfig(steps=1, batch=16, clip_norm=clip)
        (step,) = train(small(), GaussianDiffusion(linear_schedule()), DIGITS, config)
        found.append(torch.cat([p.grad.flatten() for p in step.state.model.parameters()]))
    whole, held = found
    assert whole.norm() > 0.01
    assert_close(held, whole * 1e-3 / whole.norm(), rtol=1e-3, atol=1e-7)


@several_processes
def test_two_processes_take_the_step_of_one(tmp_path: Path) -> None:
    """Gloo on the CPU: the same three steps, whole and shared; rank 1 starts with other weights."""

    def run(world: int) -> list[dict[str, Any]]:
        folder = tmp_path / str(world)
        folder.mkdir()
        command = [sys.executable, "-m", "tests.gloo"]
        root = Path(__file__).parents[1]
        processes = [
            subprocess.Popen([*command, str(rank), str(world), str(folder)], cwd=root)
            for rank in range(world)
        ]
        assert [p.wait(120) for p in processes] == [0] * world
        return [torch.load(folder / f"{r}.pt", weights_only=True) for r in range(world)]

    (alone,), shared = run(1), run(2)
    for rank in shared:
        assert_close(rank["loss"], alone["loss"])
        for name, weight in alone["model"].items():
            assert_close(rank["model"][name], weight, rtol=1e-7, atol=1e-9)


def test_grey_levels_are_the_same_data() -> None:
    diffusion = GaussianDiffusion(linear_schedule(), levels=17)
    levels = from_model_range(DIGITS, 17).to(torch.uint8)
    config = TrainConfig(steps=2, batch=8)
    one = [step.loss for step in train(small(), diffusion, DIGITS, config)]
    two = [step.loss for step in train(small(), diffusion, levels, config)]
    assert_close(one, two)


def test_the_rate_rises_and_falls() -> None:
    config = TrainConfig(steps=110, lr=1.0, warmup=10, decay=True)
    state = TrainState(Linear(), config)
    rates = []
    for state.step in range(111):
        rates.append(state.rate)
    assert rates[:10] == pytest.approx([(n + 1) / 11 for n in range(10)])
    assert rates[10] == 1
    assert rates[60] == pytest.approx(0.5)
    assert rates[110] == pytest.approx(0, abs=1e-12)


def test_weights_of_the_loss_are_used() -> None:
    """eps and v, both held to L_simple, take the same first step from networks that agree."""
    schedule = linear_schedule()
    by_eps, by_v = GaussianDiffusion(schedule), GaussianDiffusion(schedule, "v")

    class InV(Linear):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return by_eps.convert(super().forward(x, t), x, t, "eps", "v")

    data, config = torch.zeros(4, 2), TrainConfig(steps=1, warmup=0, weight="simple")
    (one,) = train(Linear(), by_eps, data, config)
    (two,) = train(InV(), by_v, data, config)
    assert_close(one.loss, two.loss, rtol=1e-4, atol=1e-4)
    (plain,) = train(InV(), by_v, data, TrainConfig(steps=1, warmup=0))
    assert abs(plain.loss - one.loss) > 0.01


def test_short_floats_change_the_loss_a_little() -> None:
    diffusion = GaussianDiffusion(linear_schedule())
    config = {"steps": 30, "batch": 16, "warmup": 5}
    ends = {}
    for precision in ("float32", "bfloat16"):
        steps = list(train(small(), diffusion, DIGITS, TrainConfig(**config, precision=precision)))
        ends[precision] = torch.stack([step.loss for step in steps[-10:]]).mean().item()
    assert ends["bfloat16"] == pytest.approx(ends["float32"], rel=0.05)
    assert ends["bfloat16"] != ends["float32"]


def test_the_layout_changes_no_loss() -> None:
    losses = []
    for precision, layout in (("float32", None), ("float32", True), ("bfloat16", None)):
        torch.manual_seed(0)
        model = UNet(size=8, width=8)
        config = TrainConfig(steps=5, batch=8, precision=precision, channels_last=layout)
        images = torch.linspace(-1, 1, 16 * 64).view(16, 1, 8, 8)
        steps = list(train(model, GaussianDiffusion(linear_schedule()), images, config))
        losses.append(torch.stack([step.loss for step in steps]))
        weight = model.middle_out.conv1.weight  # one with more than one channel on either side
        assert weight.is_contiguous() != bool(layout), (precision, layout)
    assert_close(losses[1], losses[0], rtol=1e-4, atol=1e-5)


def test_precision_by_size_and_device() -> None:
    assert TrainState(small(), TrainConfig()).precision == torch.float32
    with pytest.raises(ValueError, match="precision float16 needs a GPU, got a network on cpu"):
        TrainState(small(), TrainConfig(precision="float16"))


def test_learned_variance_and_self_conditioning_train() -> None:
    diffusion = GaussianDiffusion(linear_schedule(), "v", "learned", self_condition=True, levels=17)
    model = small(self_condition=True, learned_variance=True)
    losses = [
        step.loss.item()
        for step in train(model, diffusion, DIGITS, TrainConfig(steps=60, batch=32, warmup=5))
    ]
    assert sum(losses[-10:]) < sum(losses[:10])


def test_self_conditioning_is_decided_by_the_run_s_own_seed() -> None:
    diffusion = GaussianDiffusion(linear_schedule(), self_condition=True)
    losses = []
    for elsewhere in (1, 2):
        model = small(self_condition=True)
        torch.manual_seed(elsewhere)
        steps = list(train(model, diffusion, DIGITS, TrainConfig(steps=12, batch=8, warmup=0)))
        losses.append(torch.stack([step.loss for step in steps]))
    assert_close(losses[0], losses[1], rtol=0, atol=0)


def test_out_of_memory_names_the_knob() -> None:
    class Hungry(Linear):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            raise torch.OutOfMemoryError("no more")

    steps = train(Hungry(), GaussianDiffusion(linear_schedule()), torch.zeros(4, 2))
    with pytest.raises(torch.OutOfMemoryError) as caught:
        next(steps)
    assert (
        "64 images at once were too many: a larger accumulate than 1" in caught.value.__notes__[0]
    )


def test_labels_reach_the_network_part_by_part() -> None:
    """Two halves of a batch, with their labels, give the gradient of the whole."""
    data, labels = torch.rand(32, 1, 4, 4) * 2 - 1, torch.arange(32) % 3
    ends = []
    for accumulate in (1, 2):
        torch.manual_seed(0)
        network = UNet(4, width=4, mults=(1,), blocks=1, classes=4)
        config = TrainConfig(steps=6, batch=8, accumulate=accumulate, drop_label=0.2)
        diffusion = GaussianDiffusion(linear_schedule(10))
        before = network.labels.weight.clone()  # type: ignore[union-attr]
        for _ in train(network, diffusion, data, config, labels=labels):
            pass
        moved = (before != network.labels.weight).any(dim=1)  # type: ignore[union-attr]
        assert moved.all()  # the rows of three labels, and that of no label
        ends.append(network.labels.weight.detach().clone())  # type: ignore[union-attr]
    assert_close(ends[0], ends[1], rtol=1e-4, atol=1e-5)


def test_a_learned_variance_is_trained_by_the_bound_where_that_is_asked_for() -> None:
    data = torch.rand(32, 1, 4, 4) * 2 - 1
    diffusion = GaussianDiffusion(linear_schedule(10), variance="learned")
    network = UNet(4, width=4, mults=(1,), blocks=1, learned_variance=True)
    layout, device = torch.contiguous_format, torch.device("cpu")
    batch = Draw(data, 10, 256, 64, False, 0, layout, device)(0)
    with torch.no_grad():
        expected = diffusion.bound_losses(network, *batch[:3]).mean()
    first = next(train(network, diffusion, data, TrainConfig(weight="variational")))
    assert_close(first.loss, expected)


def test_each_step_drops_out_others_and_a_second_run_the_same() -> None:
    def masks() -> list[Tensor]:
        torch.manual_seed(torch.seed())  # whatever the generator was, the run has its own
        network, seen = UNet(4, 1, 4, (1,), blocks=1, dropout=0.5), []
        drop = next(m for m in network.modules() if isinstance(m, nn.Dropout))
        drop.register_forward_hook(lambda _, given, out: seen.append(out[0] == 0))
        config, data = TrainConfig(steps=3, batch=2, warmup=0), torch.zeros(4, 1, 4, 4)
        for _ in train(network, GaussianDiffusion(linear_schedule(10)), data, config):
            pass
        return seen

    one, two = masks(), masks()
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert not any(torch.equal(a, b) for a, b in itertools.pairwise(one))


def test_the_weight_decay_is_the_one_asked_for() -> None:
    """Without a gradient AdamW shrinks a weight by lr times the decay, and by nothing else."""

    class Idle(Linear):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return 0 * self.w * x

    for weight_decay in (0.0, 0.3):
        network = Idle()
        torch.nn.init.ones_(network.w)
        config = TrainConfig(steps=2, lr=0.1, warmup=0, weight_decay=weight_decay)
        for _ in train(network, GaussianDiffusion(linear_schedule(10)), torch.zeros(4, 2), config):
            pass
        assert network.w.item() == pytest.approx((1 - 0.1 * weight_decay) ** 2)


def test_a_hidden_label_is_the_network_s_last_class() -> None:
    """Also where no image has the class before it: guidance asks for the last one by number."""
    data, labels = torch.rand(32, 1, 4, 4) * 2 - 1, torch.arange(32) % 2
    network = UNet(4, width=4, mults=(1,), blocks=1, classes=4)
    before = network.labels.weight.detach().clone()  # type: ignore[union-attr]
    config = TrainConfig(steps=4, batch=16, drop_label=0.5, warmup=0)
    for _ in train(network, GaussianDiffusion(linear_schedule(10)), data, config, labels=labels):
        pass
    moved = (before != network.labels.weight).any(dim=1)  # type: ignore[union-attr]
    assert moved.tolist() == [True, True, False, True]


def test_labels_must_be_as_many_as_images() -> None:
    network = UNet(4, width=4, mults=(1,), blocks=1, classes=4)
    data = torch.zeros(8, 1, 4, 4)
    diffusion = GaussianDiffusion(linear_schedule(10))
    with pytest.raises(ValueError, match=r"labels must .* \(8,\), got \(7,\)"):
        train(network, diffusion, data, labels=torch.zeros(7, dtype=torch.long))
    with pytest.raises(ValueError, match="need a network with classes, got one without"):
        train(UNet(4, 1, 4, (1,)), diffusion, data, labels=torch.zeros(8, dtype=torch.long))
    for wrong, config in (
        (-1, TrainConfig()),
        (4, TrainConfig()),
        (3, TrainConfig(drop_label=0.1)),
    ):
        labels = torch.tensor([0] * 7 + [wrong])
        with pytest.raises(ValueError, match=rf"labels must be integers in 0\.\.[23], got {wrong}"):
            train(network, diffusion, data, config, labels=labels)
    with pytest.raises(ValueError, match=r"drop_label must lie in \[0, 1\), got 1"):
        TrainConfig(drop_label=1.0)
