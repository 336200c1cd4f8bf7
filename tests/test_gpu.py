"""What only a GPU can show; `make gpu` runs these. Without one they are skipped, and say so.

GPU_TESTS_ON=cpu runs them on the CPU, which shows that they run, and no more.
"""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

import ddpm_lite as dl
from ddpm_lite.guidance import guided
from ddpm_lite.runs.many import codelength, draw
from ddpm_lite.system.device import Device, pick_precision
from ddpm_lite.system.replay import played
from ddpm_lite.training import TrainState

WHERE = torch.device(os.environ.get("GPU_TESTS_ON", "cuda"))
CUDA = WHERE.type == "cuda"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("error:goes on without a recording"),
    pytest.mark.skipif(CUDA and not torch.cuda.is_available(), reason="there is no GPU here"),
]
only_cuda = pytest.mark.skipif(not CUDA, reason="a GPU alone can do this")
T, LABELS = 20, torch.arange(64) % 3
DIFFUSION = dl.GaussianDiffusion(dl.linear_schedule(T, 1e-3, 0.3), levels=17)


def images() -> Tensor:
    return dl.digits("train")[0][:64]


def network(**settings: Any) -> dl.UNet:
    torch.manual_seed(0)
    made = dl.UNet(size=8, width=16, mults=(1, 2), **settings)
    for p in made.conv_out.parameters():
        nn.init.normal_(p, std=0.1)
    return made.eval()


def losses(net: dl.UNet, **settings: Any) -> Tensor:
    config = dl.TrainConfig(**{"steps": 40, "batch": 16, "warmup": 5, "seed": 3, **settings})
    data, labels = images(), LABELS if net.classes else None
    steps = dl.train(net.to(WHERE), DIFFUSION, data, config, labels=labels)
    return torch.stack([step.loss for step in steps]).cpu()


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    """No products rounded to tf32, before a run says otherwise."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


# The CPU and the GPU agree, given the same noise.


@pytest.mark.parametrize("wiring", ["paper", "note"])
def test_the_network_agrees(wiring: str) -> None:
    x, t = torch.randn(4, 1, 8, 8), torch.arange(1, 5)
    torch.manual_seed(0)
    note = wiring == "note"
    net = dl.UNet.note(8, 1, width=16, mults=(1, 2)).eval() if note else network()
    expected = net(x, t)
    expected.square().mean().backward()
    gradients = [p.grad.clone() for p in net.parameters()]  # type: ignore[union-attr]
    net.zero_grad()
    net.to(WHERE)
    found = net(x.to(WHERE), t.to(WHERE))
    found.square().mean().backward()
    assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-4)
    for p, gradient in zip(net.parameters(), gradients, strict=True):
        assert p.grad is not None
        assert_close(p.grad.cpu(), gradient, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("kind", ["ddpm", "ddim", "guided", "inpaint"])
def test_chains_agree(kind: str) -> None:
    net, ends = network(classes=3 if kind == "guided" else None), []
    for where in (torch.device("cpu"), WHERE):
        net.to(where)
        torch.manual_seed(5)
        noises = torch.randn(T + 1, 3, 1, 8, 8)

        def noise(t: int, noises: Tensor = noises) -> Tensor:
            return noises[t]

        model: Any = net
        if kind == "guided":
            model = guided(net, torch.tensor([0, 1, 2], device=where), 1.5)
        if kind == "inpaint":
            x0 = images()[:3].to(where)
            *_, end = dl.inpaint(DIFFUSION, model, x0, x0 > 0, repeats=1)
            assert_close(end.xt[x0 > 0], x0[x0 > 0], rtol=0, atol=1e-6)
            continue
        sampler = dl.ddim if kind == "ddim" else dl.ddpm
        how = {"steps": 5, "eta": 0.5} if kind == "ddim" else {}
        given = {"device": where, "noise": noise}
        ends.append(dl.sample(DIFFUSION, model, (3, 1, 8, 8), sampler, **given, **how).cpu())
    if ends:
        assert_close(ends[1], ends[0], rtol=1e-2, atol=2e-3)


def test_the_bound_agrees() -> None:
    net, found = network(), []
    for where in (torch.device("cpu"), WHERE):
        found.append(codelength(DIFFUSION, net.to(where), images()))
    # Each draws its own noise: both are means over 64 images.
    apart = abs(found[0].total - found[1].total)
    assert apart < 4 * (found[0].standard_error + found[1].standard_error)
    x0 = images().to(WHERE)
    assert dl.prior_kl(DIFFUSION, x0).cpu().tolist() == pytest.approx(
        dl.prior_kl(DIFFUSION, images()).tolist(), rel=1e-3
    )


def test_oracles_and_numbers_agree() -> None:
    points = images()[:8]
    x, t = torch.randn(4, 1, 8, 8), torch.tensor([1, 5, 10, 20])
    here = dl.Oracle(DIFFUSION.schedule, points, 0.1)(x, t)
    there = dl.Oracle(DIFFUSION.schedule, points.to(WHERE), 0.1)(x.to(WHERE), t.to(WHERE))
    assert_close(there.cpu(), here, rtol=1e-3, atol=1e-4)
    eps = torch.randn_like(x)
    for objective in ("eps", "x0", "v", "mu"):
        diffusion = dl.GaussianDiffusion(DIFFUSION.schedule, objective)
        here = diffusion.p_losses(lambda x, t: x, x, t, eps)
        there = diffusion.p_losses(lambda x, t: x, x.to(WHERE), t.to(WHERE), eps.to(WHERE))
        assert_close(there.cpu(), here, rtol=1e-4, atol=1e-5)


def test_many_samples_are_the_same_in_any_batch() -> None:
    net = network().to(WHERE)
    whole = draw(DIFFUSION, net, 5, (1, 8, 8), dl.ddim, steps=4, batch=5)
    assert_close(draw(DIFFUSION, net, 5, (1, 8, 8), dl.ddim, steps=4, batch=2), whole,
                 rtol=1e-2, atol=1e-3)  # fmt: skip


# Training in each of the ways that a GPU has.

WAYS: dict[str, dict[str, Any]] = {
    "as picked": {},
    "bfloat16": {"precision": "bfloat16"},
    "bfloat16, usual layout": {"precision": "bfloat16", "channels_last": False},
    "channels last": {"precision": "float32", "tf32": False, "channels_last": True},
    "tf32": {"precision": "float32"},
    "in parts": {"precision": "float32", "tf32": False, "accumulate": 2},
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_training_learns_alike(way: str) -> None:
    plain = losses(network(), precision="float32", tf32=False)
    found = losses(network(), **WAYS[way])
    assert found[-10:].mean() == pytest.approx(plain[-10:].mean().item(), rel=0.1)
    assert found[-10:].mean() < 0.8 * found[:3].mean()


@only_cuda
def test_float16_scales_its_loss() -> None:
    plain = losses(network(), precision="float32", tf32=False)
    net = network().to(WHERE)
    config = dl.TrainConfig(steps=40, batch=16, warmup=5, seed=3, precision="float16")
    *_, last = dl.train(net, DIFFUSION, images(), config)
    assert last.state.scaler.is_enabled()
    assert last.state.scaler.get_scale() > 1
    assert last.loss.item() == pytest.approx(plain[-10:].mean().item(), rel=0.5)


@only_cuda
def test_a_step_does_not_wait() -> None:
    config = dl.TrainConfig(steps=40, batch=16, warmup=5)
    steps = dl.train(network(dropout=0.1).to(WHERE), DIFFUSION, images(), config)
    next(steps)
    try:
        torch.cuda.set_sync_debug_mode("error")
        for _ in range(20):
            next(steps)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@only_cuda
def test_compiled_steps_agree() -> None:
    plain = losses(network(), precision="float32", tf32=False)
    for replay in (False, True):
        found = losses(network(), precision="float32", tf32=False, compile=True, replay=replay)
        assert_close(found, plain, rtol=0.02, atol=1e-3)
    torch.compiler.reset()


@only_cuda
@pytest.mark.parametrize("way", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("kind", ["plain", "dropout", "labels", "self-conditioned"])
def test_played_steps_are_the_steps(way: Any, kind: str) -> None:
    """A recording changes no number; where a kernel adds in no fixed order, next to none."""
    settings: dict[str, Any] = {
        "plain": {}, "dropout": {"dropout": 0.2}, "labels": {"classes": 4},
        "self-conditioned": {"self_condition": True},
    }[kind]  # fmt: skip
    both = []
    for replay in (False, True):
        config = dl.TrainConfig(
            steps=20, batch=16, warmup=5, precision=way, replay=replay, tf32=False,
            drop_label=0.2 if kind == "labels" else 0.0,
        )  # fmt: skip
        conditions = {"self_condition": True} if kind == "self-conditioned" else {}
        diffusion = dl.GaussianDiffusion(DIFFUSION.schedule, levels=17, **conditions)
        labels = LABELS if kind == "labels" else None
        steps = dl.train(network(**settings).to(WHERE), diffusion, images(), config, labels=labels)
        both.append(torch.stack([step.loss for step in steps]).cpu())
    assert_close(both[1], both[0], rtol=1e-3 if way == "float32" else 2e-2, atol=1e-4)


@only_cuda
def test_a_played_network_is_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DDPM_LITE_REPLAY", "1")
    net = network().to(WHERE)
    model = played(net)
    assert model is not net
    with torch.no_grad():
        for n in (4, 4, 2, 4):
            x, t = torch.randn(n, 1, 8, 8, device=WHERE), torch.arange(1, n + 1, device=WHERE)
            assert_close(model(x, t), net(x, t), rtol=1e-5, atol=1e-6)
        for p in net.parameters():
            p.mul_(1.1)
        assert_close(model(x, t), net(x, t), rtol=1e-5, atol=1e-6)
    assert model.replay.works


def test_no_step_of_a_chain_waits() -> None:
    net = network().to(WHERE)
    chain = dl.ddpm(DIFFUSION, net, (4, 1, 8, 8), device=WHERE)
    next(chain)
    next(chain)
    if CUDA:
        torch.cuda.set_sync_debug_mode("error")
    try:
        next(chain)
    finally:
        if CUDA:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("then", ["float32", "bfloat16", "float16"])
def test_a_run_goes_on_in_another_precision(then: Any) -> None:
    if then == "float16" and not CUDA:
        pytest.skip("a GPU alone has float16 with a scaled loss")
    config = dl.TrainConfig(steps=20, batch=16, warmup=5, precision="bfloat16")
    *_, last = dl.train(network().to(WHERE), DIFFUSION, images(), config)
    state = TrainState(network().to(WHERE), dl.TrainConfig(steps=40, batch=16, precision=then))
    state.load_state_dict(last.state.state_dict())
    rest = list(dl.train(state.model, DIFFUSION, images(), state=state))
    assert [rest[0].step, rest[-1].step] == [21, 40]
    assert rest[-1].loss.isfinite()
    assert rest[-1].loss < 1.5 * last.loss


def test_a_state_goes_from_the_gpu_to_the_cpu() -> None:
    config = dl.TrainConfig(steps=10, batch=16, warmup=2, precision="float32")
    *_, last = dl.train(network().to(WHERE), DIFFUSION, images(), config)
    state = TrainState(network(), dl.TrainConfig(steps=12, batch=16, precision="float32"))
    state.load_state_dict(last.state.state_dict())
    *_, end = dl.train(state.model, DIFFUSION, images(), state=state)
    assert end.step == 12
    assert end.loss.isfinite()


@only_cuda
def test_out_of_memory_says_what_to_do_and_the_gpu_lives() -> None:
    share = 2**30 / torch.cuda.get_device_properties(WHERE).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, share), WHERE)
    try:
        net = dl.UNet(size=32, width=64, channels=3).to(WHERE)
        data = torch.rand(256, 3, 32, 32) * 2 - 1
        config = dl.TrainConfig(steps=1, batch=4096, replay=False)
        with pytest.raises(torch.OutOfMemoryError) as caught:
            next(dl.train(net, dl.GaussianDiffusion(dl.linear_schedule()), data, config))
        name = torch.cuda.get_device_name(WHERE)
        assert any("larger accumulate" in n and name in n for n in caught.value.__notes__)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, WHERE)
    assert losses(network(), steps=3).isfinite().all()


def test_what_is_picked_here() -> None:
    facts = Device.of(WHERE)
    assert facts.type == WHERE.type
    picked = TrainState(network().to(WHERE), dl.TrainConfig()).precision
    assert picked == pick_precision(facts, "auto", 1)
    if CUDA:
        assert facts.name
        assert 0 < facts.free <= facts.memory < 1e13
        assert (facts.capability >= (8, 0)) == facts.bfloat16
