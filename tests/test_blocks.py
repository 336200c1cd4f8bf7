"""The parts of the network, each against the same thing written out another way."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from ddpm_lite.blocks import (
    Attention,
    ConvNeXtBlock,
    Downsample,
    Fourier,
    LinearAttention,
    NoteBlock,
    ResBlock,
    SpaceToDepth,
    StandardizedConv2d,
    Upsample,
    channel_norm,
    time_embedding,
)


def scatter(module: nn.Module) -> None:
    """Move every parameter off its initial value: zeroed layers would hide mistakes."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.2)


# Time.


@pytest.mark.proves("time_embedding")
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


@pytest.mark.parametrize("learned", [False, True])
def test_fourier_written_out(learned: bool) -> None:
    fourier = Fourier(5, learned)
    got = fourier(torch.tensor([1, 37, 1000]))
    for row, t in zip(got, (1, 37, 1000), strict=True):
        angles = [2 * math.pi * w * t / 1000 for w in fourier.frequencies.tolist()]
        expected = [t / 1000, *map(math.sin, angles), *map(math.cos, angles)]
        assert_close(row, torch.tensor(expected), atol=1e-4, rtol=0)


def test_fourier_frequencies_are_drawn_wide_saved_and_trained_only_if_learned() -> None:
    assert Fourier(10_000).frequencies.std().item() == pytest.approx(16, rel=0.03)
    random, learned = Fourier(5), Fourier(5, learned=True)
    assert "frequencies" in random.state_dict()
    assert not list(random.parameters())
    assert not random(torch.tensor([7])).requires_grad
    (learned(torch.tensor([7, 400])) * torch.arange(11)).sum().backward()
    assert learned.frequencies.grad.abs().min() > 0


# Residual blocks.

PAIRS = [(8, 8), (8, 16), (24, 8)]


@pytest.mark.parametrize("kind", [ResBlock, ConvNeXtBlock])
def test_blocks_that_start_as_the_identity(kind: type[nn.Module]) -> None:
    x = torch.randn(2, 8, 4, 4)
    assert_close(kind(8, 8, 16, 0.0)(x, torch.randn(2, 16)), x, rtol=0, atol=0)


def group_norm(x: Tensor, groups: int, norm: nn.Module, eps: float) -> Tensor:
    """Mean and variance of each sample and group, over its channels and pixels."""
    rows = x.reshape(len(x), groups, -1)
    mean = rows.mean(dim=2, keepdim=True)
    variance = ((rows - mean) ** 2).mean(dim=2, keepdim=True)
    whitened = ((rows - mean) / (variance + eps).sqrt()).reshape(x.shape)
    return whitened * norm.weight.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)


def swish(x: Tensor) -> Tensor:
    return x / (1 + (-x).exp())


def standardised(weight: Tensor, eps: float) -> Tensor:
    out = torch.empty_like(weight)
    for i, kernel in enumerate(weight):
        mean = sum(kernel.flatten().tolist()) / kernel.numel()
        variance = sum((w - mean) ** 2 for w in kernel.flatten().tolist()) / kernel.numel()
        out[i] = (kernel - mean) / math.sqrt(variance + eps)
    return out


def past(block: nn.Module, x: Tensor) -> Tensor:
    if isinstance(block.shortcut, nn.Identity):
        return x
    return F.conv2d(x, block.shortcut.weight, block.shortcut.bias)


@pytest.mark.parametrize(("c_in", "c_out"), PAIRS)
def test_res_block_written_out(c_in: int, c_out: int) -> None:
    block = ResBlock(c_in, c_out, 12, 0.0)
    scatter(block)
    x, temb = torch.randn(2, c_in, 5, 4), torch.randn(2, 12)
    groups_in, groups_out = c_in // 4, c_out // 4  # four channels a group
    if c_in == 24:
        groups_in = 2  # 32 and 24 / 4 = 6 have 2 in common
    h = swish(group_norm(x, groups_in, block.norm1, 1e-6))
    h = F.conv2d(h, block.conv1.weight, block.conv1.bias, padding=1)
    h = h + (swish(temb) @ block.time.weight.T + block.time.bias)[:, :, None, None]
    h = swish(group_norm(h, groups_out, block.norm2, 1e-6))
    h = F.conv2d(h, block.conv2.weight, block.conv2.bias, padding=1)
    assert_close(block(x, temb), past(block, x) + h)


@pytest.mark.parametrize(("c_in", "c_out"), PAIRS)
def test_note_block_written_out(c_in: int, c_out: int) -> None:
    block = NoteBlock(c_in, c_out, 12, 0.0)
    scatter(block)
    x, temb = torch.randn(2, c_in, 5, 4), torch.randn(2, 12)
    projected = (swish(temb) @ block.time.weight.T + block.time.bias)[:, :, None, None]
    scale, shift = projected[:, :c_out], projected[:, c_out:]
    h = F.conv2d(x, standardised(block.conv1.weight, 1e-5), block.conv1.bias, padding=1)
    h = swish(group_norm(h, 8, block.norm1, 1e-5) * (scale + 1) + shift)
    h = F.conv2d(h, standardised(block.conv2.weight, 1e-5), block.conv2.bias, padding=1)
    h = swish(group_norm(h, 8, block.norm2, 1e-5))
    assert_close(block(x, temb), past(block, x) + h, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("c_in", "c_out"), PAIRS)
def test_convnext_block_written_out(c_in: int, c_out: int) -> None:
    block = ConvNeXtBlock(c_in, c_out, 12, 0.0)
    scatter(block)
    x, temb = torch.randn(2, c_in, 5, 4), torch.randn(2, 12)
    wide = F.pad(x, (3, 3, 3, 3))
    h = torch.empty_like(x)
    for c in range(c_in):
        for i in range(5):
            for j in range(4):
                window = wide[:, c, i : i + 7, j : j + 7] * block.depthwise.weight[c, 0]
                h[:, c, i, j] = window.sum(dim=(1, 2)) + block.depthwise.bias[c]
    h = h + (swish(temb) @ block.time.weight.T + block.time.bias)[:, :, None, None]
    h = group_norm(h, 1, block.norm, 1e-5)
    h = torch.einsum("oc,bchw->bohw", block.expand.weight[:, :, 0, 0], h)
    h = h + block.expand.bias[:, None, None]
    assert h.shape[1] == 4 * c_out
    h = h * (1 + torch.erf(h / math.sqrt(2))) / 2
    h = torch.einsum("oc,bchw->bohw", block.contract.weight[:, :, 0, 0], h)
    h = h + block.contract.bias[:, None, None]
    assert_close(block(x, temb), past(block, x) + h, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [ResBlock, NoteBlock, ConvNeXtBlock])
def test_dropout_is_inside_each_block(kind: type[nn.Module]) -> None:
    block = kind(8, 8, 16, 0.5)
    scatter(block)
    x, temb = torch.randn(1, 8, 4, 4), torch.randn(1, 16)
    assert not torch.allclose(block(x, temb), block(x, temb))
    block.eval()
    assert_close(block(x, temb), block(x, temb), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("dtype", "eps"), [(torch.float32, 1e-5), (torch.float64, 1e-5), (torch.bfloat16, 1e-3)]
)
def test_weights_are_standardised_per_filter(dtype: torch.dtype, eps: float) -> None:
    conv = StandardizedConv2d(3, 4, 3, padding=1).to(dtype)
    # Filters so small that the two eps differ, and off centre.
    nn.init.normal_(conv.weight, mean=0.01, std=0.02)
    x = torch.randn(2, 3, 5, 5, dtype=dtype)
    by_hand = F.conv2d(
        x.double(), standardised(conv.weight.double(), eps), conv.bias.double(), padding=1
    )
    tolerance = 0.05 if dtype == torch.bfloat16 else 1e-4
    assert_close(conv(x).double(), by_hand, rtol=tolerance, atol=tolerance)


# Attention.


@pytest.mark.proves("Attention")
def test_attention_is_the_sum_over_pixels() -> None:
    attention = Attention(4)
    scatter(attention)
    x = torch.randn(2, 4, 3, 2)
    assert_close(attention(x), x + attention.out(looked_at(attention, x, heads=1, d=4)))


@pytest.mark.proves("Attention")
@pytest.mark.parametrize(("recipe", "head_width"), [("paper", None), ("note", 4)])
def test_each_head_looks_on_its_own(recipe: str, head_width: int | None) -> None:
    attention = Attention(8, 2, head_width, recipe)  # type: ignore[arg-type]
    scatter(attention)
    x = torch.randn(2, 8, 3, 2)
    assert (attention.qkv.bias is None) == (recipe == "note")
    expected = x + attention.out(looked_at(attention, x, heads=2, d=4))
    assert_close(attention(x), expected)
    together = x + attention.out(looked_at(attention, x, heads=1, d=8))
    assert not torch.allclose(expected, together, atol=1e-3)


def looked_at(attention: Attention, x: Tensor, heads: int, d: int) -> Tensor:
    """softmax(q k^T / sqrt(d)) v, one head and one pixel at a time."""
    q, k, v = attention.qkv(attention.norm(x)).split(heads * d, dim=1)
    out = torch.empty_like(q)
    pixels = [(i, j) for i in range(x.shape[2]) for j in range(x.shape[3])]
    for b in range(len(x)):
        for head in range(heads):
            own = slice(head * d, (head + 1) * d)
            for i, j in pixels:
                scores = [
                    (q[b, own, i, j] @ k[b, own, m, n]).item() / math.sqrt(d) for m, n in pixels
                ]
                weights = [math.exp(s) / sum(map(math.exp, scores)) for s in scores]
                values = [v[b, own, m, n] for m, n in pixels]
                out[b, own, i, j] = sum(w * u for w, u in zip(weights, values, strict=True))
    return out


def test_attention_keeps_no_matrix_of_pixels_for_the_way_back() -> None:
    # 32 x 32 pixels: a million weights of pairs, which the fast kernels compute again instead.
    kept: list[int] = []
    attention, x = Attention(8), torch.randn(1, 8, 32, 32)
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.append(t.numel()) or t, lambda t: t
    ):
        attention(x)
    assert 0 < max(kept) < 32**4 / 10


def test_attention_starts_as_the_identity_in_the_paper_only() -> None:
    x = torch.randn(2, 8, 4, 4)
    assert_close(Attention(8)(x), x, rtol=0, atol=0)
    assert not torch.allclose(Attention(8, wiring="note")(x), x)


def test_channel_norm_is_over_channels() -> None:
    norm = channel_norm(6)
    scatter(norm)
    (gain,) = norm.parameters()
    x = 3 + torch.randn(2, 6, 3, 2)
    centred = x - x.mean(dim=1, keepdim=True)
    deviation = ((centred**2).mean(dim=1, keepdim=True) + 1e-5).sqrt()
    assert_close(norm(x), centred / deviation * gain.view(1, -1, 1, 1))


def over_all_pixels(q: Tensor, k: Tensor, v: Tensor, axes: tuple[int, int]) -> Tensor:
    """Linear attention of one head by the N x N weights it never forms; q, k, v are [N, d].

    softmax(q) is over axis axes[0] and softmax(k) over axes[1].
    """
    rho_q = q.exp() / q.exp().sum(dim=axes[0], keepdim=True)
    rho_k = k.exp() / k.exp().sum(dim=axes[1], keepdim=True)
    N, d = q.shape
    A = torch.empty(N, N)
    for n in range(N):
        for m in range(N):
            A[n, m] = sum(rho_q[n, i] * rho_k[m, i] for i in range(d))
    if axes == (1, 0):
        assert_close(A.sum(dim=1), torch.ones(N))  # each pixel's weights are a distribution
    return A @ v / (N * math.sqrt(d))


@pytest.mark.proves("LinearAttention")
@pytest.mark.parametrize(("heads", "head_width", "d"), [(2, 4, 4), (1, None, 6)])
def test_linear_attention_is_its_quadratic_form(heads: int, head_width: int | None, d: int) -> None:
    attention = LinearAttention(6, heads, head_width)
    scatter(attention)
    for layer in (attention.q, attention.k, attention.v):
        nn.init.normal_(layer.weight, std=1.0)  # far from uniform weights
    nn.init.normal_(attention.out.weight, std=5.0)  # the division by N makes h small
    x = torch.randn(2, 6, 4, 2)

    def expected(axes: tuple[int, int]) -> Tensor:
        out = torch.empty_like(x)
        for b in range(2):
            pixels = x[b].reshape(6, 8).T  # [N, C]
            h = F.layer_norm(pixels, (6,)) * attention.norm.weight
            q, k, v = (h @ f.weight.T for f in (attention.q, attention.k, attention.v))
            parts = [slice(i * d, (i + 1) * d) for i in range(heads)]
            h = torch.cat([over_all_pixels(q[:, s], k[:, s], v[:, s], axes) for s in parts], 1)
            h = h @ attention.out.weight.T + attention.out.bias
            h = F.layer_norm(h, (6,)) * attention.norm_out.weight
            out[b] = x[b] + h.T.reshape(6, 4, 2)
        return out

    assert_close(attention(x), expected((1, 0)), rtol=1e-4, atol=1e-5)
    for wrong in ((0, 1), (0, 0), (1, 1)):
        assert not torch.allclose(attention(x), expected(wrong), atol=1e-3)


def test_linear_attention_writes_no_matrix_of_pixels() -> None:
    # 128 x 128 pixels: the weights of all pairs would be a gigabyte for each head.
    attention = LinearAttention(4, heads=1, head_width=4)
    x = torch.randn(1, 4, 128, 128)
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            if isinstance(out, Tensor):
                largest = max(largest, out.numel())
            return out

    with torch.no_grad(), Watch():
        attention(x)
    assert 0 < largest <= 3 * x.numel()


@pytest.mark.parametrize("kind", [Attention, LinearAttention])
@pytest.mark.usefixtures("as_a_reader")
def test_heads_that_do_not_divide(kind: type[nn.Module]) -> None:
    with pytest.raises(ValueError, match="heads must divide the 8 channels, got 3"):
        kind(8, 3, None)
    with pytest.raises(ValueError, match="heads must divide the 8 channels, got 0"):
        kind(8, 0, 4)


# Resampling.


def test_downsample_pads_below_and_on_the_right() -> None:
    down = Downsample(1)
    nn.init.zeros_(down.conv.weight)
    nn.init.zeros_(down.conv.bias)
    down.conv.weight.data[0, 0, 0, 0] = 1  # picks the upper left pixel of each window
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert_close(down(x), x[..., ::2, ::2])


def test_space_to_depth_keeps_every_pixel() -> None:
    down = SpaceToDepth(3, 5)
    x = torch.randn(2, 3, 4, 6)
    weight, bias = down.conv.weight[:, :, 0, 0], down.conv.bias
    for i in range(2):
        for j in range(3):
            square = [
                x[:, c, 2 * i + p, 2 * j + q] for c in range(3) for p in (0, 1) for q in (0, 1)
            ]
            assert_close(down(x)[:, :, i, j], torch.stack(square, dim=1) @ weight.T + bias)


def test_upsample_repeats_pixels_then_smooths() -> None:
    up = Upsample(3, 5)
    x = torch.randn(2, 3, 2, 3)
    wide = torch.empty(2, 3, 4, 6)
    for i in range(4):
        for j in range(6):
            wide[:, :, i, j] = x[:, :, i // 2, j // 2]
    assert_close(up(x), F.conv2d(wide, up.conv.weight, up.conv.bias, padding=1))
    assert Upsample(3)(x).shape == (2, 3, 4, 6)
