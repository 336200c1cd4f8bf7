"""What is decided by a device, from facts about devices that need not be here."""

import ast
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

import ddpm_lite as dl
from ddpm_lite import batches
from ddpm_lite.batches import Draw
from ddpm_lite.quality.evaluation import real_floor
from ddpm_lite.system.device import (
    LARGE,
    Device,
    fits,
    fused,
    keeps_channels_last,
    pick_precision,
    records,
    round_products,
    too_many,
)
from ddpm_lite.training import TrainState
from tests.pretend import Gpu, is_there
from tests.systems import of_the_source

PACKAGE = Path(__file__).parents[1] / "ddpm_lite"
GB = 2.0**30
T4 = Device("cuda", "Tesla T4", (7, 5), 14.6 * GB, 14 * GB)
A100 = Device("cuda", "NVIDIA A100-SXM4-40GB", (8, 0), 39.4 * GB, 39 * GB, bfloat16=True)
H100 = Device("cuda", "NVIDIA H100 80GB HBM3", (9, 0), 79.1 * GB, 78 * GB, bfloat16=True)
MPS = Device("mps")
OLD_CPU, NEW_CPU = Device("cpu"), Device("cpu", bfloat16=True)
HALF, SHORT, FULL = torch.float16, torch.bfloat16, torch.float32


def network() -> dl.UNet:
    torch.manual_seed(0)
    return dl.UNet(size=8, width=8, mults=(1,), blocks=1)


@pytest.mark.parametrize(
    ("device", "small", "large", "layout_is_last"),
    [
        (T4, HALF, HALF, True),
        (A100, SHORT, SHORT, True),
        (H100, SHORT, SHORT, True),
        (MPS, FULL, FULL, False),
        (OLD_CPU, FULL, FULL, False),
        (NEW_CPU, FULL, SHORT, False),
    ],
    ids=["T4", "A100", "H100", "MPS", "old CPU", "new CPU"],
)
def test_what_is_picked(
    device: Device, small: torch.dtype, large: torch.dtype, layout_is_last: bool
) -> None:
    assert pick_precision(device, "auto", LARGE - 1) == small
    assert pick_precision(device, "auto", LARGE) == large
    assert keeps_channels_last(device, large, None) == layout_is_last
    assert not keeps_channels_last(device, FULL, None)
    for wanted in (True, False):
        assert keeps_channels_last(device, large, wanted) is wanted
    assert fused(device)
    assert records(device, True) == (device.type == "cuda")
    assert not records(device, False)


def test_what_is_wanted_is_picked_where_it_can_be() -> None:
    for device in (T4, A100, H100, MPS, OLD_CPU):
        assert pick_precision(device, "float32", LARGE) == FULL
        assert pick_precision(device, "bfloat16", LARGE) == SHORT
    for device in (T4, A100, H100):
        assert pick_precision(device, "float16", 1) == HALF
    for device in (MPS, OLD_CPU, NEW_CPU):
        with pytest.raises(ValueError, match=f"needs a GPU, got a network on {device.type}"):
            pick_precision(device, "float16", LARGE)
    newer = replace(MPS, bfloat16=True)  # for which nobody has measured it
    assert pick_precision(newer, "auto", LARGE) == FULL
    assert not fused(Device("meta"))


def test_data_move_where_they_take_half_of_what_is_free() -> None:
    assert fits(T4, int(7 * GB))
    assert not fits(T4, int(7 * GB) + 1)
    assert fits(replace(T4, free=78 * GB), int(8 * GB))
    assert fits(OLD_CPU, 10**18)


class Elsewhere:
    """A set of so many bytes, and where it is put."""

    def __init__(self, nbytes: int):
        self.nbytes, self.device = nbytes, torch.device("cpu")

    def to(self, device: torch.device) -> str:
        return f"on {device}"


@pytest.mark.parametrize(
    ("nbytes", "where", "put"),
    [
        (7 * GB, "cuda:1", "on cuda:1"),
        (8 * GB, "cuda:1", None),
        (8 * GB, "mps", "on mps"),
        (8 * GB, "cpu", "on cpu"),
    ],
)
def test_a_set_too_large_for_the_device_stays_where_it_is(
    monkeypatch: pytest.MonkeyPatch, as_a_reader: None, nbytes: float, where: str, put: str | None
) -> None:
    monkeypatch.setattr(batches.Device, "of", lambda device: replace(T4, type=device.type))
    data: object = Elsewhere(int(nbytes))
    found: object = batches.to_device(data, torch.device(where))  # type: ignore[arg-type]
    assert found == (put or data)


def test_batches_of_a_set_that_stays_are_pinned_on_their_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rest of the set is not: pinned memory is taken from all programs."""
    pinned: list[int] = []

    def pin(x: torch.Tensor) -> torch.Tensor:
        pinned.append(len(x))
        return x

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(batches, "fits", lambda device, nbytes: False)
    data = torch.arange(5.0)[:, None]
    with Gpu():
        draw = Draw(data, 10, 256, 3, device=torch.device("cuda", 0))
        assert is_there(draw(0).x0)
    assert pinned == [3]


def test_the_note_names_the_device_and_its_memory() -> None:
    assert too_many(OLD_CPU, 64, 1, 64) == (
        "64 images at once were too many: a larger accumulate than 1 cuts the batch of 64 into "
        "smaller parts"
    )
    assert "too many for the 14.6 GiB of Tesla T4: " in too_many(T4, 64, 2, 128)


@pytest.fixture
def switches() -> Iterator[None]:
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


@pytest.mark.usefixtures("switches")
def test_tf32_is_both_switches_and_of_cuda_alone() -> None:
    for allowed, name in ((True, "high"), (False, "highest"), (True, "high")):
        round_products(H100, allowed)
        assert torch.get_float32_matmul_precision() == name
        assert torch.backends.cudnn.allow_tf32 is allowed
    round_products(OLD_CPU, False)
    assert torch.get_float32_matmul_precision() == "high"
    assert torch.backends.cudnn.allow_tf32


def test_the_facts_of_what_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Device.of(torch.device("cpu"))
    assert (here.type, here.name, here.free, here.memory) == ("cpu", "", math.inf, math.inf)
    assert Device.of(torch.device("meta")) == Device("meta")
    said = {
        "mem_get_info": lambda device: (14 * GB, 14.6 * GB),
        "get_device_name": lambda device: "Tesla T4",
        "get_device_capability": lambda device: (7, 5),
        "is_bf16_supported": lambda including_emulation: including_emulation,
    }
    for name, answer in said.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    assert Device.of(torch.device("cuda:0")) == T4


# Another default device, as torch.set_default_device("cuda") makes one.


@pytest.fixture
def default_is_meta() -> Iterator[None]:
    torch.set_default_device("meta")  # on which a number that is asked for is an error
    yield
    torch.set_default_device(None)


def test_schedules_and_tables_stay_on_the_cpu(default_is_meta: None) -> None:
    for make in (dl.linear_schedule, dl.cosine_schedule, dl.sigmoid_schedule):
        schedule = make(20)
        for name in ("beta", "alpha_bar", "beta_tilde", "snr"):
            assert getattr(schedule, name).device.type == "cpu"
        schedule = schedule.rescaled(10).subsequence([2, 5, 10])
        assert schedule == dl.NoiseSchedule(schedule.beta[1:].tolist())
    for variance in ("beta", "beta_tilde", "learned"):
        diffusion = dl.GaussianDiffusion(dl.cosine_schedule(20), "v", variance)
        chain = diffusion.subsequence([5, 20])
        for process in (diffusion, chain):
            assert process.sigma.float64.device.type == "cpu"
            assert all(a.float64.device.type == "cpu" for a in process.conversions["v", "x0"])
            assert process.loss_weight("min_snr").device.type == "cpu"


def test_everything_runs_where_the_tensors_are(default_is_meta: None) -> None:
    with torch.device("cpu"):
        net, x0 = network(), torch.rand(8, 1, 8, 8) * 2 - 1
        generator, t = torch.Generator(), torch.arange(1, 9)
    diffusion = dl.GaussianDiffusion(dl.linear_schedule(8), levels=None)
    assert diffusion.p_losses(net, x0, t).isfinite().all()
    assert dl.elbo(diffusion, net, x0).total.isfinite().all()
    assert dl.elbo_estimate(diffusion, net, x0, 2, generator=generator).total.isfinite().all()
    assert dl.sample(diffusion, net, (2, 1, 8, 8)).isfinite().all()
    assert dl.sample(diffusion, net, (2, 1, 8, 8), dl.ddim, steps=2, eta=1.0).isfinite().all()
    oracle = dl.Oracle(diffusion.schedule, x0, 0.1)
    assert oracle(x0, 3).isfinite().all()
    assert oracle.sample(3).isfinite().all()
    *_, step = dl.train(net, diffusion, x0, dl.TrainConfig(steps=2, batch=4, flip=True))
    assert step.loss.isfinite()
    again = dl.load_images("digits")
    assert again.images.device.type == again.labels.device.type == "cpu"  # type: ignore[union-attr]
    assert real_floor(x0, 4, lambda x: x.flatten(1)[:, :3], split="train").mean >= 0


def test_the_default_device_changes_no_number() -> None:
    ends = []
    for default in ("cpu", "meta"):
        with torch.device("cpu"):
            net, x0 = network(), torch.linspace(-1, 1, 4 * 64).view(4, 1, 8, 8)
        with torch.device(default):
            diffusion = dl.GaussianDiffusion(dl.cosine_schedule(8), "v")
            *_, step = dl.train(net, diffusion, x0, dl.TrainConfig(steps=3, batch=4))
        ends.append(step.loss)
    assert_close(ends[0], ends[1], rtol=0, atol=0)


FACTORIES = (
    "zeros", "ones", "full", "arange", "linspace", "logspace", "empty", "eye", "rand", "randn",
    "randint", "randperm", "tensor", "as_tensor",
)  # fmt: skip
# What is given decides (_doors); a new network lies where torch's default says (blocks); what is
# drawn, and what readers check, is on the CPU by their own default.
FREE = (
    "_doors.py", "blocks.py", "runs/checkpoints.py", "widgets/",
    "checks/chapter_", "checks/wrong.py", "experiments/",
)  # fmt: skip


@of_the_source
def test_every_new_tensor_says_where() -> None:
    silent = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.relative_to(PACKAGE).as_posix().startswith(FREE):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            made = re.fullmatch(r"torch\.(\w+)", ast.unparse(node.func))
            if made and made[1] in FACTORIES and "device" not in [k.arg for k in node.keywords]:
                silent.append(f"{path.name}:{node.lineno} torch.{made[1]}")
    assert silent == []


@of_the_source
def test_devices_are_asked_about_in_one_place() -> None:
    """Facts are read in `Device.of` alone; elsewhere a device is only named, moved to and timed."""
    asks = re.compile(r"is_bf16_supported|mem_get_info|get_device_capability|_is_avx512|_is_amx")
    found = {p.name for p in PACKAGE.rglob("*.py") if asks.search(p.read_text(encoding="utf-8"))}
    assert found == {"device.py"}


def test_a_state_takes_what_the_facts_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """float16, and with it the scaler, as on a T4; on this CPU there is no such step to take."""
    monkeypatch.setattr("ddpm_lite.training.Device.of", lambda device: T4)
    state = TrainState(network(), dl.TrainConfig())
    assert state.precision == HALF
    assert state.scaler.is_enabled()
    monkeypatch.setattr("ddpm_lite.training.Device.of", lambda device: H100)
    state = TrainState(network(), dl.TrainConfig())
    assert state.precision == SHORT
    assert not state.scaler.is_enabled()
