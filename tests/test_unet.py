"""The network: its size against the official ones, and what goes in and comes out of each kind."""

import shutil
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from ddpm_lite import GaussianDiffusion, linear_schedule
from ddpm_lite.blocks import Attention, LinearAttention
from ddpm_lite.unet import Block, UNet, UNetConfig, time_embedding

# One small network of each kind, and one with every switch on.
KINDS: dict[str, dict[str, Any]] = {
    "paper": {"attention": (4,)},
    "note": {"wiring": "note", "block": "note", "linear_attention": (8, 4), "heads": 2},
    "convnext": {"block": "convnext", "linear_attention": (4,), "heads": 2},
    "everything": {
        "wiring": "note", "block": "convnext", "attention": (4,), "linear_attention": (8,),
        "heads": 2, "head_width": 3, "time": "learned", "self_condition": True,
        "learned_variance": True, "classes": 5,
    },
    "mixed": {"block": "note", "attention": (8,), "linear_attention": (4,), "time": "random"},
}  # fmt: skip
each_kind = pytest.mark.parametrize("kind", KINDS)


def build(kind: str, **changes: Any) -> UNet:
    network = UNet(**{"size": 8, "width": 8, "mults": (1, 2), **KINDS[kind], **changes})
    scatter(network)
    return network


def scatter(module: nn.Module) -> None:
    """Move every parameter off its initial value: zeroed layers would hide mistakes."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.2)


def batch(network: UNet, B: int = 2) -> tuple[Tensor, ...]:
    """All that the network takes."""
    shape = (B, network.channels, network.size, network.size)
    t = torch.arange(3, 3 + 350 * B, 350)
    inputs = [torch.randn(shape), t]
    if network.self_condition:
        inputs.append(torch.randn(shape))
    if network.classes is not None:
        inputs.append(torch.arange(B) % network.classes)
    return tuple(inputs)


def count(network: UNet) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# Sizes.


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        ((32, 3, 128, (1, 2, 2, 2), (16,)), 35_746_307),
        ((256, 3, 128, (1, 1, 2, 2, 4, 4), (16,)), 113_673_219),
    ],
)
def test_it_is_as_large_as_the_official_one(network: tuple, parameters: int) -> None:  # type: ignore[type-arg]
    with torch.device("meta"):
        assert count(UNet(*network)) == parameters


def test_named_networks() -> None:
    with torch.device("meta"):
        paper, note = UNet.ho2020(), UNet.note()
        assert count(paper) == 35_746_307
        assert count(note) == 35_711_107  # Unet(dim=64) of denoising-diffusion-pytorch 1.5.4
        assert {m.p for m in paper.modules() if isinstance(m, nn.Dropout)} == {0.1}
        assert UNet.ho2020(classes=10).classes == 10
        small = UNet.note(12, 1, width=8, mults=(1, 2, 2), dropout=0.2)
        assert (small.size, small.channels, small.width) == (12, 1, 8)
        assert {m.p for m in small.modules() if isinstance(m, nn.Dropout)} == {0.2}


def test_where_attention_stands() -> None:
    with torch.device("meta"):
        paper = UNet(16, 3, 8, (1, 2, 2), attention=(8,), linear_attention=(16,))
        note = UNet.note()

    def kinds(layers: nn.ModuleList) -> list[str]:
        short = {"Attention": "full", "LinearAttention": "linear", "Identity": "none"}
        return [
            short[type(layer.attn).__name__] if isinstance(layer, Block) else type(layer).__name__
            for layer in layers
        ]

    assert kinds(paper.down) == [
        *["linear"] * 2, "Downsample", *["full"] * 2, "Downsample", *["none"] * 2
    ]  # fmt: skip
    assert kinds(paper.up) == [
        *["none"] * 3, "Upsample", *["full"] * 3, "Upsample", *["linear"] * 3
    ]  # fmt: skip
    level = ["none", "linear"]
    assert kinds(note.down) == [*[*level, "SpaceToDepth"] * 3, *level, "Conv2d"]
    assert kinds(note.up) == [*[*level, "Upsample"] * 3, *level, "Conv2d", "none"]
    for network in (paper, note):
        assert type(network.middle_in.attn).__name__ == "Attention"


def test_attention_is_made_as_asked() -> None:
    with torch.device("meta"):
        paper, note = UNet(8, 1, 8, attention=(4,)), build("everything")
    full = [m for m in paper.modules() if isinstance(m, Attention)]
    assert len(full) == 6
    assert all(m.heads == 1 and m.qkv.bias is not None for m in full)
    full = [m for m in note.modules() if isinstance(m, Attention)]
    linear = [m for m in note.modules() if isinstance(m, LinearAttention)]
    assert (len(full), len(linear)) == (3, 2)
    assert all(m.heads == 2 and m.qkv.out_channels == 3 * 6 and m.qkv.bias is None for m in full)
    assert all(m.heads == 2 and m.q.out_features == 6 for m in linear)


# What goes in and what comes out.


@pytest.mark.parametrize(
    ("size", "channels", "width", "mults", "attention"),
    [(8, 1, 16, (1, 2), ()), (12, 3, 8, (1, 2, 3), (6,)), (1, 2, 4, (1,), (1,))],
)
@pytest.mark.parametrize("wiring", ["paper", "note"])
def test_output_has_the_shape_of_the_input(
    size: int,
    channels: int,
    width: int,
    mults: tuple[int, ...],
    attention: tuple[int, ...],
    wiring: Any,
) -> None:
    for blocks in (1, 2, 3):
        network = UNet(size, channels, width, mults, attention, blocks, wiring=wiring)
        x = torch.randn(2, channels, size, size)
        assert network(x, torch.tensor([1, 1000])).shape == x.shape


def test_channels_out() -> None:
    x, t = torch.randn(2, 3, 8, 8), torch.tensor([1, 1000])
    assert UNet(8, 3, 8, learned_variance=True)(x, t).shape == (2, 6, 8, 8)
    assert UNet(8, 3, 8, out_channels=1)(x, t).shape == (2, 1, 8, 8)
    assert UNet(8, 3, 8, out_channels=2, learned_variance=True)(x, t).shape == (2, 4, 8, 8)


@each_kind
def test_it_starts_at_zero(kind: str) -> None:
    network = UNet(8, 1, 8, (1, 2), **KINDS[kind])
    assert not network(*batch(network)).any()


@each_kind
def test_every_parameter_and_input_matters(kind: str) -> None:
    # At width 8 a group of the note's is one channel, whose bias is normalised away.
    network = build(kind, width=16).double()
    inputs = [v.double() if v.is_floating_point() else v for v in batch(network)]
    out = network(*inputs)
    (torch.randn_like(out) * out).sum().backward()
    gradients = {name: p.grad for name, p in network.named_parameters()}
    assert all(g is not None for g in gradients.values())
    sizes = {name: g.abs().max().item() for name, g in gradients.items()}
    dead = [name for name, size in sizes.items() if size < 1e-10 * max(sizes.values())]
    assert not dead
    with torch.no_grad():
        for i, value in enumerate(inputs):
            other = [*inputs]
            other[i] = value + 1
            assert not torch.allclose(network(*other), out, atol=1e-4), i


@each_kind
def test_samples_do_not_see_one_another(kind: str) -> None:
    network = build(kind)
    inputs = batch(network, 3)
    with torch.no_grad():
        together = network(*inputs)
        for i in range(3):
            alone = network(*(value[i : i + 1] for value in inputs))
            assert_close(alone, together[i : i + 1], rtol=1e-4, atol=1e-4)


def test_no_self_condition_is_one_of_zeros() -> None:
    network = build("paper", self_condition=True)
    x, t, x0_hat = batch(network)
    with torch.no_grad():
        expected = network(x, t)
        assert_close(network(x, t, torch.zeros_like(x)), expected, rtol=0, atol=0)
        assert not torch.allclose(network(x, t, x0_hat), expected)
        assert not torch.allclose(network(x0_hat, t, x), network(x, t, x0_hat))


def test_labels_are_added_to_the_time_embedding() -> None:
    network = build("paper", classes=3)
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([1, 1])
    labels = torch.tensor([0, 2])
    with torch.no_grad():
        got = network(x, t, labels=labels)
        assert not torch.allclose(network(x, t, labels=labels.flip(0)), got)
        # The same sum, with the label moved into the last bias of the time embedding.
        plain = build("paper")
        state = {k: v for k, v in network.state_dict().items() if not k.startswith("labels")}
        for i in range(2):
            shifted = state["time.2.bias"] + network.labels.weight[labels[i]]
            plain.load_state_dict({**state, "time.2.bias": shifted})
            assert_close(plain(x[i : i + 1], t[:1]), got[i : i + 1])


def test_the_wiring_of_the_paper_written_out() -> None:
    network = build("paper")
    x, t = batch(network)
    first, _, second = network.time
    temb = second(F.silu(first(time_embedding(t, 8))))
    down, up = network.down, network.up
    h0 = network.conv_in(x)
    h1 = down[0](h0, temb)
    h2 = down[1](h1, temb)
    h3 = down[2](h2)
    h4 = down[3](h3, temb)
    h5 = down[4](h4, temb)
    h = network.middle_out(network.middle_in(h5, temb), temb)
    h = up[0](torch.cat([h, h5], dim=1), temb)
    h = up[1](torch.cat([h, h4], dim=1), temb)
    h = up[2](torch.cat([h, h3], dim=1), temb)
    h = up[3](h)
    h = up[4](torch.cat([h, h2], dim=1), temb)
    h = up[5](torch.cat([h, h1], dim=1), temb)
    h = up[6](torch.cat([h, h0], dim=1), temb)
    h = F.silu(F.group_norm(h, 2, network.norm_out.weight, network.norm_out.bias, 1e-6))
    h = F.conv2d(h, network.conv_out.weight, network.conv_out.bias, padding=1)
    assert_close(network(x, t), h)


def test_the_wiring_of_the_note_written_out() -> None:
    network = build("note", self_condition=True)
    x, t, x0_hat = batch(network)
    first, _, second = network.time
    temb = second(F.gelu(first(time_embedding(t, 8))))
    down, up = network.down, network.up
    stem = network.conv_in
    assert stem.kernel_size == (7, 7)
    h0 = F.conv2d(torch.cat([x0_hat, x], dim=1), stem.weight, stem.bias, padding=3)
    h1 = down[0](h0, temb)
    h2 = down[1](h1, temb)
    h3 = down[3](down[2](h2), temb)
    h4 = down[4](h3, temb)
    h = F.conv2d(h4, down[5].weight, down[5].bias, padding=1)
    h = network.middle_out(network.middle_in(h, temb), temb)
    h = up[0](torch.cat([h, h4], dim=1), temb)
    h = up[1](torch.cat([h, h3], dim=1), temb)
    h = up[3](torch.cat([up[2](h), h2], dim=1), temb)
    h = up[4](torch.cat([h, h1], dim=1), temb)
    h = F.conv2d(h, up[5].weight, up[5].bias, padding=1)
    h = up[6](torch.cat([h, h0], dim=1), temb)
    h = F.conv2d(h, network.conv_out.weight, network.conv_out.bias)
    assert_close(network(x, t, x0_hat), h)


@each_kind
def test_dropout_is_off_in_eval(kind: str) -> None:
    network = build(kind, dropout=0.5)
    inputs = batch(network)
    assert not torch.allclose(network(*inputs), network(*inputs))
    network.eval()
    assert_close(network(*inputs), network(*inputs), rtol=0, atol=0)


# Number formats and compilation.


@each_kind
def test_float32_against_float64(kind: str) -> None:
    network = build(kind)
    inputs = batch(network)
    with torch.no_grad():
        single = network(*inputs)
        network.double()
        double = network(*(v.double() if v.is_floating_point() else v for v in inputs))
    assert double.dtype == torch.float64
    assert_close(single.double(), double, rtol=1e-4, atol=1e-4)
    assert not torch.equal(single.double(), double)


@each_kind
def test_autocast(kind: str) -> None:
    network = build(kind)
    inputs = batch(network)
    expected = network(*inputs)
    with torch.autocast("cpu", torch.bfloat16):
        out = network(*inputs)
    assert out.dtype == torch.bfloat16
    error = (out.float() - expected).square().mean().sqrt()
    assert error < 0.1 * expected.square().mean().sqrt()
    out.float().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("kind", ["paper", "note", "everything"])
@pytest.mark.usefixtures("as_a_reader")
def test_it_is_one_graph(kind: str) -> None:
    network = build(kind, blocks=1)
    inputs = batch(network)
    with torch.no_grad():
        expected = network(*inputs)
        traced = torch.compile(network, backend="eager", fullgraph=True)
        assert_close(traced(*inputs), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++ on a CPU")
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # inside torch
@pytest.mark.usefixtures("as_a_reader")
def test_compiled_is_eager() -> None:
    # One level: the time goes into the C++ compiler, most of it the first time only.
    network = build("note", size=4, mults=(1,), linear_attention=(4,), blocks=1)
    inputs = batch(network)
    with torch.no_grad():
        expected = network(*inputs)
        compiled = torch.compile(network, fullgraph=True)
        assert_close(compiled(*inputs), expected, rtol=1e-4, atol=1e-4)


# Bad input.


@pytest.mark.usefixtures("as_a_reader")
def test_bad_networks() -> None:
    with pytest.raises(ValueError, match="multiple of 4, to be halved 2 times, such as 4, got 6"):
        UNet(6, mults=(1, 2, 2))
    with pytest.raises(ValueError, match="multiple of 8, to be halved 3 times, such as 24, got 28"):
        UNet.note(28)
    with pytest.raises(ValueError, match="width must be a positive multiple of 4, got 10"):
        UNet(8, width=10)
    with pytest.raises(ValueError, match="width must be a positive multiple of 8, got 12"):
        UNet(8, width=12, block="note")
    with pytest.raises(ValueError, match="width must be a positive multiple of 4, got 0"):
        UNet(8, width=0)
    with pytest.raises(ValueError, match="heads must be at least 1, got 0"):
        UNetConfig(heads=0).levels(8)
    with pytest.raises(ValueError, match="mults must name at least one level"):
        UNet(8, mults=())
    with pytest.raises(ValueError, match=r"each at least 1, got \(1, 0\)"):
        UNet(8, mults=(1, 0))
    with pytest.raises(
        ValueError, match=r"attention must name heights of \[8, 4\], .* 8 x 8 .*, got 16"
    ):
        UNet(8, attention=(4, 16))
    with pytest.raises(
        ValueError, match=r"linear_attention must name heights of \[8, 4\], .*, got 2"
    ):
        UNet(8, linear_attention=(2,))
    with pytest.raises(ValueError, match="attention at 4 must be full or linear, got both"):
        UNet(8, attention=(4,), linear_attention=(8, 4))
    with pytest.raises(ValueError, match="heads must divide the 64 channels, got 3"):
        UNet(8, heads=3)
    for name, choices in {
        "wiring": "paper, note",
        "block": "resnet, note, convnext",
        "time": "sinusoidal, learned, random",
    }.items():
        with pytest.raises(ValueError, match=f"{name} must be one of {choices}, got 'other'"):
            UNet(8, **{name: "other"})  # type: ignore[arg-type]
    for dropout in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match=rf"dropout must lie in \[0, 1\), got {dropout}"):
            UNet(8, dropout=dropout)
    UNet(8, 1, 8, [1], [8])  # as JSON has them
    for name, value in (("mults", (1, 0.5)), ("attention", {}), ("self_condition", [])):
        with pytest.raises(TypeError, match=f"{name} must be "):
            UNet(8, **{name: value})  # type: ignore[arg-type]
    for name in ("channels", "blocks", "head_width", "out_channels", "classes"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            UNet(8, **{name: 0})  # type: ignore[arg-type]


@pytest.mark.usefixtures("as_a_reader")
def test_bad_input() -> None:
    network = UNet(8, 1, 8)
    x, t = torch.zeros(2, 1, 8, 8), torch.tensor([1, 2])
    with pytest.raises(ValueError, match=r"expected images of shape \(1, 8, 8\), got \(3, 8, 8\)"):
        network(torch.zeros(1, 3, 8, 8), torch.tensor([1]))
    with pytest.raises(ValueError, match=r"got \(1, 16, 16\)"):
        network(torch.zeros(1, 1, 16, 16), torch.tensor([1]))
    with pytest.raises(ValueError, match=r"got \(1, 8, 12\): square ones, .*size=8, channels=1\)"):
        network(torch.zeros(1, 1, 8, 12), torch.tensor([1]))
    with pytest.raises(ValueError, match=r"t must have shape \(2,\), got \(1,\)"):
        network(x, torch.tensor([1]))
    with pytest.raises(ValueError, match=r"t must have shape \(2,\), got \(\)"):
        network(x, torch.tensor(1))
    with pytest.raises(ValueError, match="x0_hat needs a network with self_condition=True"):
        network(x, t, x)
    with pytest.raises(ValueError, match="labels need a network with classes, got one without"):
        network(x, t, labels=t)

    network = UNet(8, 1, 8, self_condition=True, classes=3)
    with pytest.raises(
        ValueError, match=r"x0_hat must have shape \(2, 1, 8, 8\), got \(1, 1, 8, 8"
    ):
        network(x, t, x[:1], labels=t)
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.2, got None"):
        network(x, t)
    with pytest.raises(ValueError, match=r"labels must have shape \(2,\), got \(3,\)"):
        network(x, t, labels=torch.tensor([0, 1, 2]))
    for wrong in (-1, 3):
        with pytest.raises(ValueError, match=rf"labels must lie in 0\.\.2, got {wrong}"):
            network(x, t, labels=torch.tensor([2, wrong]))


# Its settings.


def test_its_settings_are_one_dataclass() -> None:
    """By place or by name, on its own or through a recipe: the same network."""
    config = UNetConfig(8, (1, 2), (4,), 1, 0.1, heads=2, time="random")
    network = UNet(8, 3, 8, (1, 2), (4,), 1, 0.1, heads=2, time="random", classes=5)
    assert network.settings == config
    asked = {"self_condition": False, "learned_variance": False, "out_channels": None, "classes": 5}
    assert network.config == {"size": 8, "channels": 3, **asdict(config), **asked}
    assert list(network.config)[:3] == ["size", "channels", "width"]  # as weights have carried them
    assert UNet(**network.config).config == network.config
    assert UNetConfig(width=8) == replace(UNetConfig(), width=8)


def test_a_setting_of_another_name() -> None:
    with pytest.raises(TypeError, match="widht"):
        UNet(8, widht=16)


def test_settings_make_what_the_diffusion_asks_for() -> None:
    for variance in ("beta", "learned"):
        for condition in (False, True):
            diffusion = GaussianDiffusion(
                linear_schedule(), variance=variance, self_condition=condition
            )
            made = UNetConfig(width=8, mults=(1,)).make(8, 3, diffusion, classes=4)
            assert made.config["learned_variance"] == (variance == "learned")
            assert made.config["self_condition"] == condition
            assert (made.channels, made.size, made.classes) == (3, 8, 4)
