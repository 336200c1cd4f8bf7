"""The recorded reverse chain from Python's side. What the browser computes is in tests/book."""

import base64

import numpy as np
import pytest
import torch
import traitlets
from torch import Tensor
from torch.testing import assert_close

from ddpm_lite import GaussianDiffusion, linear_schedule, spaced_times
from ddpm_lite.widgets import ReverseChain
from ddpm_lite.widgets.chain import from_end, pack, record, unpack

DIFFUSION = GaussianDiffusion(linear_schedule(20, 0.01, 0.3))
SHAPE = (3, 1, 4, 4)


def wavy(x: Tensor, t: Tensor) -> Tensor:
    return 0.8 * x + (t.view(-1, 1, 1, 1) / 50).sin()


@pytest.mark.parametrize("clip", [True, False])
def test_it_records_algorithm_2(clip: bool) -> None:
    got = record(wavy, DIFFUSION, SHAPE, 5, clip=clip, seed=7)
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(SHAPE, generator=generator)
    seen = {}
    for t in range(20, 0, -1):
        out = DIFFUSION.p_mean_variance(wavy, x, t, clip)
        seen[t] = x, out.x0_hat, out.eps_hat
        noise = torch.randn(SHAPE, generator=generator)
        x = DIFFUSION.p_sample(wavy, x, t, clip, noise)
    assert got.times == [20, 16, 12, 8, 4, 0]
    for i, t in enumerate(got.times[:-1]):
        for part, expected in zip(got[2:], seen[t], strict=True):
            assert_close(part[i], expected, atol=1e-5, rtol=1e-5)
    assert_close(got.xt[-1], x)
    assert torch.equal(got.x0_hat[-1], got.xt[-1])
    assert not got.eps_hat[-1].any()


def test_the_three_make_one_equation() -> None:
    """x_t = sqrt(alpha_bar) x0_hat + sqrt(1 - alpha_bar) eps_hat at every stop, 0 included."""
    got = record(wavy, DIFFUSION, SHAPE, 20)
    kept = DIFFUSION.schedule.alpha_bar[got.times]
    assert_close(torch.tensor(got.alpha_bar), kept.float())
    kept = kept.float().view(-1, 1, 1, 1, 1)
    assert_close(got.xt, kept.sqrt() * got.x0_hat + (1 - kept).sqrt() * got.eps_hat)


def test_a_shortened_chain_keeps_the_network_s_times() -> None:
    told = []

    def model(x: Tensor, t: Tensor) -> Tensor:
        told.append(int(t[0]))
        return 0.1 * x

    short = DIFFUSION.subsequence(spaced_times(20, 4))
    got = record(model, short, SHAPE, 2)
    assert told == [20, 15, 10, 5]
    assert got.times == [20, 10, 0]
    assert_close(torch.tensor(got.alpha_bar).double(), DIFFUSION.schedule.alpha_bar[got.times])


def test_eight_bits_are_enough() -> None:
    """What a page holds differs from the recording by half a step of a byte at most."""
    exact = record(wavy, DIFFUSION, SHAPE, 5, seed=7)
    widget = ReverseChain(wavy, DIFFUSION, SHAPE, 5, seed=7)
    for got, expected, limit in zip(widget.recording[2:], exact[2:], widget._limits, strict=True):
        assert (got - expected).abs().max() <= limit / 255 * 1.001
        assert expected.abs().max() <= limit
    values = torch.linspace(-2, 2, 256)
    assert pack(values, 2.0) == bytes(range(256))
    assert_close(unpack(np.frombuffer(pack(values, 2.0), np.uint8), 2.0).float(), values)


def test_colours_come_back_in_their_places() -> None:
    exact = record(wavy, DIFFUSION, (2, 3, 4, 5), 4)
    got = ReverseChain(wavy, DIFFUSION, (2, 3, 4, 5), 4).recording
    assert got.xt.shape == (5, 2, 3, 4, 5)
    assert (got.x0_hat - exact.x0_hat).abs().max() < 0.01


def test_distance_from_the_end() -> None:
    values = torch.tensor([[3.0, 5.0], [1.0, 2.0]]).view(2, 1, 1, 2)
    assert_close(from_end(values, values[1]), torch.tensor([(13 / 2) ** 0.5, 0.0]))


def test_the_digits_network_is_the_default_and_walks_once() -> None:
    one, two = ReverseChain(stop=3), ReverseChain(stop=50, chain=3)
    assert one._frames == two._frames
    assert one._times[:2] == [1000, 980]
    assert one._shape == [51, 4, 8, 8, 1]
    assert len(base64.b64encode(one._frames)) < 60_000
    end = one.recording.xt[-1]
    assert end.std(0).mean() > 0.2  # four chains, not one four times
    assert end.abs().max() <= 1.01


def test_a_still_shows_the_present_settings() -> None:
    widget = ReverseChain(wavy, DIFFUSION, SHAPE, 5, stop=2, chain=1)
    for _ in range(2):
        shown = widget.still().axes
        for ax, part in zip(shown, widget.recording[2:], strict=False):
            expected = (part[widget.stop, widget.chain, 0].clamp(-1, 1) + 1) / 2
            array = torch.as_tensor(np.asarray(ax.images[0].get_array())).squeeze()
            assert_close(array, expected.float())
        widget.stop, widget.chain = 5, 0
    assert "at t = 0 of 20" in shown[0].get_title()


@pytest.mark.usefixtures("as_a_reader")
def test_bad_settings() -> None:
    for says, setting in (
        (r"stop must lie in 0\.\.5, got 6", {"stop": 6}),
        (r"chain must lie in 0\.\.2, got 3", {"chain": 3}),
        ("stop", {"stop": -1}),
    ):
        with pytest.raises(traitlets.TraitError, match=says):
            ReverseChain(wavy, DIFFUSION, SHAPE, 5, **setting)

    def never(x: Tensor, t: Tensor) -> Tensor:
        raise AssertionError("the network must not run on bad input")

    with pytest.raises(ValueError, match="a model needs its diffusion, got None"):
        ReverseChain(never)
    with pytest.raises(ValueError, match="a diffusion needs its model, got None"):
        ReverseChain(diffusion=DIFFUSION)
    with pytest.raises(ValueError, match="1 or 3 channels to be shown, got 2"):
        ReverseChain(never, DIFFUSION, (1, 2, 4, 4))
    with pytest.raises(ValueError, match="a recording of 626,688 bytes is more than 220,000"):
        ReverseChain(never, DIFFUSION, (64, 1, 8, 8))
    with pytest.raises(ValueError, match=r"images of \(1, 8, 8\), got \(3, 8, 8\)"):
        ReverseChain(shape=(2, 3, 8, 8))
    with pytest.raises(ValueError, match=r"steps must lie in 1\.\.20, got 50"):
        ReverseChain(never, DIFFUSION, SHAPE)
