"""The network: its size against the official one, its parts against plain loops."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from ddpm_lite.unet import Attention, Downsample, ResBlock, UNet, time_embedding


def scatter(module: nn.Module) -> None:
    """Move every parameter off its initial value: zeroed layers would hide mistakes."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.2)


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        ((32, 3, 128, (1, 2, 2, 2), (16,)), 35_746_307),
        ((256, 3, 128, (1, 1, 2, 2, 4, 4), (16,)), 113_673_219),
    ],
)
def test_it_is_as_large_as_the_official_one(network: tuple, parameters: int) -> None:  # type: ignore[type-arg]
    with torch.device("meta"):
        assert sum(p.numel() for p in UNet(*network).parameters()) == parameters


@pytest.mark.parametrize(
    ("size", "channels", "width", "mults", "attention"),
    [(8, 1, 16, (1, 2), ()), (12, 3, 8, (1, 2, 3), (6,)), (1, 2, 4, (1,), (1,))],
)
def test_output_has_the_shape_of_the_input(
    size: int, channels: int, width: int, mults: tuple[int, ...], attention: tuple[int, ...]
) -> None:
    network = UNet(size, channels, width, mults, attention)
    x = torch.randn(2, channels, size, size)
    assert network(x, torch.tensor([1, 1000])).shape == x.shape


def test_it_starts_at_zero_and_each_block_as_the_identity() -> None:
    x = torch.randn(2, 8, 4, 4)
    assert_close(ResBlock(8, 8, 16, 0.0)(x, torch.randn(2, 16)), x)
    assert_close(Attention(8)(x), x)
    assert not UNet(8, 1, 8)(torch.randn(2, 1, 8, 8), torch.tensor([1, 2])).any()


def test_attention_is_the_sum_over_pixels() -> None:
    attention = Attention(4)
    scatter(attention)
    x = torch.randn(2, 4, 3, 2)
    q, k, v = attention.qkv(attention.norm(x)).split(4, dim=1)
    expected = torch.empty_like(x)
    for b in range(2):
        for i in range(3):
            for j in range(2):
                scores = [
                    (q[b, :, i, j] @ k[b, :, m, n]).item() / math.sqrt(4)
                    for m in range(3)
                    for n in range(2)
                ]
                weights = [math.exp(s) / sum(map(math.exp, scores)) for s in scores]
                values = [v[b, :, m, n] for m in range(3) for n in range(2)]
                expected[b, :, i, j] = sum(w * u for w, u in zip(weights, values, strict=True))
    assert_close(attention(x), x + attention.out(expected))


def test_time_embedding_written_out() -> None:
    got = time_embedding(torch.tensor([0, 1, 37, 1000]), 8)
    for row, t in zip(got, (0, 1, 37, 1000), strict=True):
        angles = [t * 10000 ** (-i / 3) for i in range(4)]
        expected = [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
        assert_close(row, torch.tensor(expected), atol=1e-4, rtol=0)


def test_time_embeddings_of_different_times_differ() -> None:
    table = time_embedding(torch.arange(1, 1001), 16)
    distances = torch.cdist(table, table) + 10 * torch.eye(1000)
    assert distances.min() > 1e-3


def test_downsample_pads_below_and_on_the_right() -> None:
    down = Downsample(1)
    nn.init.zeros_(down.conv.weight)
    nn.init.zeros_(down.conv.bias)
    down.conv.weight.data[0, 0, 0, 0] = 1  # picks the upper left pixel of each window
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert_close(down(x), x[..., ::2, ::2])


def test_every_parameter_and_input_matters() -> None:
    network = UNet(8, 1, 8, (1, 2), attention=(4,))
    scatter(network)
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([3, 700])
    out = network(x, t)
    out.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
    with torch.no_grad():
        assert not torch.allclose(network(x, t + 1), out)
        assert_close(network(x[1:], t[1:]), out[1:])  # samples do not see one another


def test_dropout_is_off_in_eval() -> None:
    network = UNet(8, 1, 8, dropout=0.5)
    scatter(network)
    x, t = torch.randn(1, 1, 8, 8), torch.tensor([5])
    assert not torch.allclose(network(x, t), network(x, t))
    network.eval()
    assert_close(network(x, t), network(x, t))


@pytest.mark.usefixtures("as_a_reader")
def test_bad_input() -> None:
    with pytest.raises(ValueError, match="multiple of 4, to be halved 2 times, got 6"):
        UNet(6, mults=(1, 2, 2))
    with pytest.raises(ValueError, match="width must be a positive multiple of 4, got 10"):
        UNet(8, width=10)
    with pytest.raises(ValueError, match="mults must name at least one level"):
        UNet(8, mults=())
    network = UNet(8, 1, 8)
    with pytest.raises(ValueError, match=r"expected images of shape \(1, 8, 8\), got \(3, 8, 8\)"):
        network(torch.zeros(1, 3, 8, 8), torch.tensor([1]))
    with pytest.raises(ValueError, match=r"got \(1, 16, 16\)"):
        network(torch.zeros(1, 1, 16, 16), torch.tensor([1]))
