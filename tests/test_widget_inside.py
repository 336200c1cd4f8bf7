"""What the widget shows of a U-Net, from Python's side. The browser's is in tests/book."""

import base64
import math

import numpy as np
import pytest
import torch
import traitlets
from torch import Tensor, nn
from torch.testing import assert_close

from ddpm_lite import GaussianDiffusion, UNet, digits, linear_schedule, load
from ddpm_lite.blocks import Attention
from ddpm_lite.widgets import InsideUNet
from ddpm_lite.widgets.inside import most_varied, signed, spread, unsigned
from ddpm_lite.widgets.layers import attention_weights, look_inside

DIFFUSION = GaussianDiffusion(linear_schedule(20, 0.01, 0.3))


def network() -> UNet:
    torch.manual_seed(0)
    net = UNet(8, width=8, mults=(1, 2), blocks=1, heads=2).eval()
    for p in net.parameters():
        nn.init.normal_(p, std=0.2)
    return net


def pictures(B: int = 2) -> Tensor:
    return torch.rand(B, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1


@torch.no_grad()
def test_attention_weights_are_those_of_the_layer() -> None:
    layer = Attention(8, heads=2)
    for p in layer.parameters():
        nn.init.normal_(p, std=0.5)
    x = torch.randn(2, 8, 3, 2)
    weights = attention_weights(layer, x)
    assert_close(weights.sum(-1), torch.ones(2, 2, 6))
    values = layer.qkv(layer.norm(x))[:, 16:].reshape(2, 2, 4, 6)  # head, channel, pixel
    mixed = torch.einsum("banm,badm->badn", weights, values).reshape(2, 8, 3, 2)
    assert_close(layer(x), x + layer.out(mixed), rtol=1e-4, atol=1e-5)
    q, k, _ = layer.qkv(layer.norm(x)).reshape(2, 3, 2, 4, 6).unbind(1)
    scores = [math.exp(q[1, 0, :, 2] @ k[1, 0, :, m] / 2) for m in range(6)]
    assert_close(weights[1, 0, 2], torch.tensor(scores) / sum(scores))


@torch.no_grad()
def test_it_keeps_what_the_network_did() -> None:
    net, x0, times = network(), pictures(), [1, 7, 20]
    got = look_inside(net, DIFFUSION, x0, times, seed=4)
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(4))
    kept = {}
    layers = {"first convolution, 8x8": net.conv_in, "way down, 4x4": net.down[-1]}
    layers |= {"middle, 4x4": net.middle_out, "way up, 8x8": net.up[-1]}
    for name, layer in layers.items():
        layer.register_forward_hook(lambda _, __, out, name=name: kept.update({name: out}))
    seen: list[Tensor] = []
    net.middle_in.attn.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    for b in range(2):
        for i, t in enumerate(times):
            xt = DIFFUSION.q_sample(x0[[b]], t, eps[[b]])
            assert_close(got.xt[b, i], xt[0])
            assert_close(got.eps_hat[b, i], net(xt, torch.tensor([t]))[0], rtol=1e-4, atol=1e-4)
            for name, out in kept.items():
                assert_close(got.features[name][b, i], out[0], rtol=1e-4, atol=1e-4)
            weights = attention_weights(net.middle_in.attn, seen.pop())[0].mean(0)
            assert_close(got.attention[b, i], weights, rtol=1e-4, atol=1e-5)
    assert got.times == times
    assert list(got.features) == [
        *["first convolution, 8x8", "way down, 8x8", "way down, 4x4"],
        *["middle, 4x4", "way up, 4x4", "way up, 8x8"],
    ]


def test_it_leaves_no_hook_behind() -> None:
    net = network()
    look_inside(net, DIFFUSION, pictures(), [3])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_a_shortened_chain_keeps_the_network_s_times() -> None:
    net, told = network(), []
    net.register_forward_pre_hook(lambda _, given: told.append(given[1].tolist()))
    look_inside(net, DIFFUSION.subsequence([5, 10, 20]), pictures(1), [1, 3])
    assert told == [[5, 20]]


def test_spread() -> None:
    assert_close(spread(torch.tensor([0.0, 1.0, 0.0])), torch.tensor(1.0))
    assert_close(spread(torch.full((2, 5), 0.3)), torch.tensor([5.0, 5.0]))
    one = torch.tensor([0.5, 0.25, 0.25])
    assert_close(spread(one), torch.tensor(2 ** (0.5 + 2 * 0.25 * 2)))


def test_the_channels_shown_are_the_busiest_each_to_its_own_scale() -> None:
    x = torch.randn(2, 3, 4, 5, 5) * torch.tensor([1.0, 10, 0.1, 5]).view(4, 1, 1)
    x[:, :, 1] = 7  # the same everywhere: nothing to see
    got = most_varied(x, 3)
    for channel, original in enumerate((0, 2, 3)):
        scaled = x[:, :, original] / x[:, :, original].abs().max()
        assert_close(got[:, :, channel], scaled)
    assert most_varied(torch.zeros(1, 1, 2, 2, 2), 8).shape == (1, 1, 2, 2, 2)


def test_eight_bits_are_enough() -> None:
    values = torch.linspace(-1, 1, 256)
    assert signed(values) == bytes(range(256))
    assert_close(unsigned(signed(values)).float(), values)
    net, x0 = network(), pictures()
    widget = InsideUNet(net, DIFFUSION, x0, 5, seed=4)
    exact = look_inside(net, DIFFUSION, x0, [1, 4, 8, 12, 16, 20], seed=4)
    got = widget.inside
    assert got.times == exact.times
    assert_close(got.xt.float(), exact.xt, atol=0.02, rtol=0)
    assert_close(got.eps_hat.float(), exact.eps_hat, atol=widget._limits[1] / 254, rtol=0)
    assert_close(got.attention.float(), exact.attention, atol=1 / 509, rtol=0)
    assert list(got.features) == list(exact.features)
    for name, x in exact.features.items():
        assert_close(got.features[name].float(), most_varied(x, 8), atol=1 / 254, rtol=0)


def test_the_digits_network_is_the_default_and_small() -> None:
    one, two = InsideUNet(stop=3), InsideUNet(stop=25, picture=2, layer=5, query=15)
    for name in ("_pictures", "_attention", "_features"):
        assert getattr(one, name) == getattr(two, name)
    assert one._times == [1, *range(40, 1001, 40)]
    stored = b"".join((one._pictures, one._attention, one._features))
    assert len(base64.b64encode(stored)) < 300_000


def test_the_middle_knows_the_digit_where_the_first_convolution_sees_noise() -> None:
    """What the chapter says to look for: the share of what varies that is due to the digit."""
    net, diffusion = load("digits")
    x0, R = digits("test")[0][:8], 24
    inside = look_inside(net, diffusion, x0.repeat(R, 1, 1, 1), [320])
    share = {}
    for name, x in inside.features.items():
        x = x.view(R, 8, -1)
        noise = x.var(0).mean()
        digit = x.mean(0).var(0).mean() - noise / R
        share[name] = (digit / (digit + noise)).item()
    assert share["middle, 4x4"] > 0.7
    assert max(share["first convolution, 8x8"], share["way up, 8x8"]) < 0.55


def test_attention_is_sharp_in_the_middle_of_the_chain_and_even_at_its_end() -> None:
    net, diffusion = load("digits")
    inside = look_inside(net, diffusion, digits("test")[0][:50], [320, 1000])
    sharp, even = spread(inside.attention).mean((0, 2)).tolist()
    assert sharp < 9
    assert even > 12


def test_a_still_shows_the_present_settings() -> None:
    widget = InsideUNet(network(), DIFFUSION, pictures(), 5, stop=2, picture=1, query=6, layer=3)
    for _ in range(2):
        seen, looks, noise = (widget.still().axes[i] for i in (0, 1, 3))
        r, b, i = widget.inside, widget.picture, widget.stop
        weights = r.attention[b, i, widget.query]
        for ax, part in (
            (seen, r.xt[b, i, 0]),
            (looks, (2 * weights / weights.max() - 1).view(4, 4)),
            (noise, r.eps_hat[b, i, 0] / 2),
        ):
            array = torch.as_tensor(np.asarray(ax.images[0].get_array())).squeeze()
            assert_close(array, ((part.clamp(-1, 1) + 1) / 2).float())
        for ax, pixels in ((seen, 2), (looks, 1)):
            (mark,) = ax.patches
            row, column = divmod(widget.query, 4)
            assert mark.get_xy() == (column * pixels - 0.5, row * pixels - 0.5)
        widget.stop, widget.picture, widget.query = 5, 0, 9
    assert "at t = 20" in seen.get_title()


@pytest.mark.usefixtures("as_a_reader")
def test_bad_settings() -> None:
    net, x0 = network(), pictures()
    for says, setting in (
        (r"stop must lie in 0\.\.5, got 6", {"stop": 6}),
        (r"picture must lie in 0\.\.1, got 2", {"picture": 2}),
        (r"query must lie in 0\.\.15, got 16", {"query": 16}),
        (r"layer must lie in 0\.\.5, got 6", {"layer": 6}),
        ("stop", {"stop": -1}),
    ):
        with pytest.raises(traitlets.TraitError, match=says):
            InsideUNet(net, DIFFUSION, x0, 5, **setting)
    with pytest.raises(ValueError, match="belong together, got no x0"):
        InsideUNet(net, DIFFUSION)
    with pytest.raises(ValueError, match="belong together, got no network"):
        InsideUNet(x0=x0)
    with pytest.raises(ValueError, match="pictures must have one channel, got 3"):
        InsideUNet(net, DIFFUSION, x0.repeat(1, 3, 1, 1))
    with pytest.raises(ValueError, match=r"a recording of [\d,]+ bytes is more than 220,000"):
        InsideUNet(net, DIFFUSION, pictures(30), 5)
    with pytest.raises(ValueError, match=r"steps must lie in 1\.\.20, got 50"):
        InsideUNet(net, DIFFUSION, x0, 50)
