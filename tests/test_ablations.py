"""What is taken out has no say any more, and the rest has."""

import pytest
import torch
from torch import nn

from ddpm_lite import GaussianDiffusion, TrainConfig, UNet, linear_schedule, train
from ddpm_lite.blocks import Attention
from ddpm_lite.experiments.ablations import layout, without


def network() -> UNet:
    torch.manual_seed(0)
    network = UNet(8, width=8, mults=(1, 2), attention=(8,), blocks=1).eval()
    for module in network.modules():  # what starts at zero says nothing yet
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.1)
    return network


@torch.no_grad()
def test_without_time_every_t_is_alike() -> None:
    x = torch.randn(2, 1, 8, 8)
    early, late = torch.tensor([1, 1]), torch.tensor([90, 90])
    whole = network()
    assert not torch.allclose(whole(x, early), whole(x, late))
    blind = without(network(), "time")
    assert torch.equal(blind(x, early), blind(x, late))


@torch.no_grad()
def test_without_skips_only_the_middle_gets_through() -> None:
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([5, 5])
    for net, reaches in ((network(), True), (without(network(), "skips"), False)):
        net.middle_out.register_forward_hook(lambda _, __, out: torch.zeros_like(out))
        moved = not torch.allclose(net(x, t), net(-x, t))
        assert moved == reaches  # with the middle silenced, the skips are all that x can take


def test_without_attention_and_normalisation_no_such_layer_is_left() -> None:
    assert any(isinstance(m, Attention) for m in network().modules())
    assert not any(isinstance(m, Attention) for m in without(network(), "attention").modules())
    assert not any(
        isinstance(m, nn.GroupNorm) for m in without(network(), "normalisation").modules()
    )


@pytest.mark.parametrize("part", ["time", "skips", "attention", "normalisation"])
def test_what_is_left_can_be_trained_and_averaged(part: str) -> None:
    net = without(network(), part)  # type: ignore[arg-type]
    data = torch.rand(8, 1, 8, 8) * 2 - 1
    diffusion = GaussianDiffusion(linear_schedule(10))
    before = net.conv_in.weight.clone()
    *_, last = train(net, diffusion, data, TrainConfig(steps=2, batch=4))
    assert last.loss.isfinite()
    assert not torch.equal(before, net.conv_in.weight)
    net.eval()
    x, t = torch.randn(1, 1, 8, 8), torch.tensor([3])
    assert last.ema.eval()(x, t).shape == x.shape


def test_the_layout_is_what_an_image_meets() -> None:
    layers, skips = layout(network())
    kinds = [kind for kind, _, _ in layers]
    attending, plain = "block and attention", "block"
    down = ["convolution", attending, "down or up", plain]
    up = [attending, plain, plain, plain, "down or up", attending, attending, "convolution"]
    assert kinds == down + up  # the first two of `up` are the middle
    assert [(channels, side) for _, channels, side in layers[:4]] == [
        (8, 8), (8, 8), (8, 4), (16, 4),
    ]  # fmt: skip
    assert skips == {6: 3, 7: 2, 9: 1, 10: 0}
    for at, start in skips.items():
        assert layers[at - 1][2] == layers[start][2]  # of one side


def test_the_layout_of_the_other_wiring_skips_what_it_forgets() -> None:
    with torch.device("meta"):
        other = UNet.note()
    before = len(other.conv_in._forward_hooks)
    layers, skips = layout(other)
    assert len(other.conv_in._forward_hooks) == before
    assert all(layers[at - 1][2] == layers[start][2] for at, start in skips.items())
    assert len(skips) == 9  # two blocks at each of four levels, and the first convolution
    assert max(skips) == len(layers) - 2
    assert skips[max(skips)] == 0
