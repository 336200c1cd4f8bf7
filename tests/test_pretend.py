"""The GPU that is not there refuses what one refuses; the package runs there and is right."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import ddpm_lite as dl
from ddpm_lite.guidance import guided
from ddpm_lite.quality.classifier import load_classifier
from ddpm_lite.quality.evaluation import real_floor
from ddpm_lite.runs.many import codelength, draw
from tests.pretend import NAME, Gpu, is_there


@pytest.fixture
def chain() -> dl.GaussianDiffusion:
    """One for each test: a schedule keeps its tables on the device, which goes with the test."""
    return dl.GaussianDiffusion(dl.linear_schedule(4), levels=17)


def network(**settings: Any) -> dl.UNet:
    torch.manual_seed(0)
    made = dl.UNet(size=8, width=8, mults=(1,), blocks=1, **settings).eval()
    for p in made.conv_out.parameters():
        nn.init.normal_(p, std=0.2)
    return made


def test_it_refuses_what_a_gpu_refuses() -> None:
    x = torch.ones(3)
    with Gpu():
        assert torch.cuda.is_available()
        assert torch.cuda.get_device_name() == NAME
        there, made = x.to("cuda"), torch.arange(3, device="cuda")
        assert (x.device.type, there.device.type, made.device.type) == ("cpu", "cuda", "cuda")
        assert x.to("cpu") is x
        assert there.to("cuda") is there
        assert (2 * there[1:] + made[1:]).device == there.device
        assert (there * torch.tensor(2.0)).device.type == "cuda"
        assert there.cpu().device.type == torch.zeros_like(there.cpu()).device.type == "cpu"
        assert torch.zeros_like(there).device.type == there.new_ones(2).device.type == "cuda"
        assert there[torch.tensor([0])].device.type == "cuda"
        for wrong in (
            lambda: there + x,
            lambda: torch.cat([there, x]),
            lambda: x[made],
            lambda: nn.functional.linear(there, torch.ones(2, 3)),
            lambda: nn.Linear(3, 2)(there),
            lambda: torch.stack([torch.ones(1), torch.ones(1).cuda()]),
            lambda: torch.stack([torch.tensor(1.0), torch.tensor(1.0).cuda()]),
            lambda: x.__setitem__(made > 0, 0.0),
            lambda: there.__setitem__(made > 0, x[1:]),
        ):
            with pytest.raises(RuntimeError, match="expected all tensors to be on the same device"):
                wrong()
        with pytest.raises(TypeError, match="can't convert cuda:0"):
            there.numpy()
        numbers = torch.Generator("cuda").manual_seed(0)
        assert torch.randn(2, device="cuda", generator=numbers).device == there.device
        for asked in (
            lambda: torch.randn(2, generator=numbers),
            lambda: torch.randn(2, device="cuda", generator=torch.Generator()),
            lambda: x.clone().normal_(generator=numbers),
        ):
            with pytest.raises(RuntimeError, match="device type for generator but found"):
                asked()
        there[made > 0] = torch.tensor(5.0)  # a number may come from anywhere
        there[1:] = x[1:]  # and so may a copy
        net = nn.Linear(3, 2).to("cuda")
        net(there).sum().backward()
        assert net.weight.grad is not None
        assert net.weight.grad.device.type == "cuda"
        x.copy_(there)
        assert not is_there(x)
    assert not torch.cuda.is_available()
    assert x.device.type == "cpu"


def test_chains_and_bounds_run_there(chain: dl.GaussianDiffusion) -> None:
    net, labelled = network(), network(classes=3)
    x0, x = dl.digits("test")[0][:8], torch.randn(2, 1, 8, 8)
    plain = dl.sample(chain, net, (2, 1, 8, 8), dl.ddim, steps=2, start=x)
    with Gpu():
        net, labelled, there = net.to("cuda"), labelled.to("cuda"), x0.to("cuda")
        found = dl.sample(chain, net, (2, 1, 8, 8), dl.ddim, steps=2, start=x.to("cuda"))
        assert found.device.type == "cuda"
        assert_close(found.cpu(), plain, rtol=1e-5, atol=1e-5)
        assert dl.sample(chain, net, (2, 1, 8, 8)).device.type == "cuda"
        model = guided(labelled, torch.tensor([0, 1], device="cuda"), 2.0)
        assert dl.sample(chain, model, (2, 1, 8, 8), device="cuda").device.type == "cuda"
        assert draw(chain, net, 3, (1, 8, 8), batch=2).device.type == "cpu"
        labels = torch.tensor([0, 1, 2])
        assert draw(chain, labelled, 3, (1, 8, 8), labels=labels).device.type == "cpu"
        assert codelength(chain, net, x0).images == 8
        assert dl.elbo(chain, net, there).total.device.type == "cuda"
        assert dl.elbo_estimate(chain, net, there, 2).total.device.type == "cuda"
        assert dl.elbo_along_path(chain, net, there).device.type == "cuda"
        assert dl.encode(chain, net, there, steps=2).device.type == "cuda"
        for step in dl.inpaint(chain, net, there, there > 0, repeats=2):
            assert step.xt.device.type == "cuda"
        oracle = dl.Oracle(chain.schedule, there, 0.1)
        assert (
            oracle(there, 2).device.type == oracle.q_reverse(there, 2).means.device.type == "cuda"
        )
        for variance in ("beta_tilde", "learned"):
            net = network(learned_variance=variance == "learned").to("cuda")
            diffusion = dl.GaussianDiffusion(chain.schedule, "v", variance)
            t = torch.arange(1, 9, device="cuda") % 4 + 1
            assert diffusion.p_losses(net, there, t).device.type == "cuda"


def test_samples_are_measured_where_the_judge_is() -> None:
    samples, judge = dl.digits("test")[0][:20], load_classifier()
    plain = dl.evaluate_samples(samples, samples, judge.features, judge.head, split="test")
    with Gpu():
        judge = judge.cuda()
        found = dl.evaluate_samples(samples, samples, judge.features, judge.head, split="test")
        assert real_floor(samples, 5, judge.features, split="test").mean > 0
        assert_close(found.inception_score, plain.inception_score)


RUNS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "as picked": ({}, {}),
    "labels": ({"drop_label": 0.2}, {"classes": 11}),
    "flip, parts, dropout": ({"flip": True, "accumulate": 2}, {"dropout": 0.1}),
    "weighted": ({"weight": "min_snr"}, {}),
    "compiled": ({"compile": True}, {}),
    "played": ({"replay": True}, {}),
}


@pytest.mark.parametrize("kind", RUNS)
def test_training_runs_there(kind: str, chain: dl.GaussianDiffusion) -> None:
    settings, extra = RUNS[kind]
    data = dl.load_images("digits")
    with Gpu():
        net = network(**extra).to("cuda")
        config = dl.TrainConfig(steps=3, batch=4, **settings)
        *_, step = dl.train(net, chain, data, config)
        assert step.loss.device.type == "cuda"
        assert step.state.precision == torch.bfloat16
        assert next(step.ema.parameters()).device.type == "cuda"
        saved = step.state.state_dict()["model"]
        assert all(v.device.type == "cuda" for v in saved.values())
