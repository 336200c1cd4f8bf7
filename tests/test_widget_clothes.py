"""Clothes on request from Python's side. What the browser computes and shows is in tests/book."""

from typing import Any

import pytest
import torch
import traitlets
from torch.testing import assert_close

from ddpm_lite import GaussianDiffusion, UNet, ddim, linear_schedule, sample
from ddpm_lite.guidance import guided
from ddpm_lite.widgets import Clothes
from ddpm_lite.widgets.sampler import LabelledFrame, step_noise
from tests.pretend import NAME, Gpu, is_there

DIFFUSION = GaussianDiffusion(linear_schedule(20, 0.01, 0.3), "v")


@pytest.fixture(scope="module")
def model() -> UNet:
    torch.manual_seed(0)
    made = UNet(4, 1, 8, (1,), blocks=1, classes=3)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made.eval()


class Ear(Clothes):
    """Keeps what would go to the browser."""

    def send(self, content: Any, buffers: Any = None) -> None:
        self.heard = content, buffers

    def asked(self, **message: Any) -> tuple[dict[str, Any], list[bytes]]:
        self._handle_custom_msg({"id": "1", "chain": "a", "ms": 60_000} | message, [])
        return self.heard


@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
def test_it_draws_what_guidance_draws(model: UNet, scale: float) -> None:
    made = Clothes(model, DIFFUSION, ("sock", "hat"), label="hat", scale=scale, steps=10, seed=3)
    assert made.label == 1
    start = step_noise(3, 0, (1, 1, 4, 4)).float()
    asked = guided(model, torch.tensor([1]), scale)
    expected = sample(DIFFUSION, asked, (1, 1, 4, 4), ddim, steps=10, start=start)
    assert_close(list(made.walk())[-1].xt, expected)


def test_a_kernel_answers_at_the_scale_that_a_comparison_asks_for(model: UNet) -> None:
    ear = Ear(model, DIFFUSION, label=0, scale=2.0, steps=5)
    ends = []
    for scale in (None, 0.0, 4.0):
        ear.asked(do="begin", scale=scale)
        told, data = ear.asked(do="next")
        assert told["frames"] == [20, 16, 12, 8, 4, 0]
        for frame, part in zip(ear.walk(scale), data, strict=True):
            assert isinstance(frame, LabelledFrame)
            got = torch.frombuffer(bytearray(part), dtype=torch.float32).view(5, 1, 1, 4, 4)
            assert_close(got, torch.stack(frame[1:]))
        ends.append(got[0])
    assert (ends[0] - ends[1]).abs().max() > 0.01
    assert (ends[0] - ends[2]).abs().max() > 0.01


@pytest.mark.parametrize("start", ["noise", "drawing"])
def test_in_a_kernel_with_a_gpu_it_is_drawn_there(start: str) -> None:
    """By the shipped network, from noise and from a drawing; the picture is the CPU's."""
    settings: dict[str, Any] = {"steps": 4, "seed": 3, "label": "Bag", "start": start}
    settings["drawing"] = torch.linspace(-1, 1, 784).tolist()
    with Gpu():
        ear = Ear(**settings)
        assert all(is_there(weight) for weight in ear.model.parameters())
        told, _ = ear.asked(do="begin")
        assert told["where"] == f"by PyTorch on {NAME}"
        told, data = ear.asked(do="next")
    assert told["done"]
    frames = list(Clothes(**settings).walk())
    for frame, part in zip(frames, data, strict=True):
        got = torch.frombuffer(bytearray(part), dtype=torch.float32).view(5, 1, 1, 28, 28)
        assert_close(got, torch.stack(frame[1:]))


def test_the_still_shows_a_step_and_the_garment(model: UNet) -> None:
    figure = Clothes(model, DIFFUSION, ("sock", "hat"), label=1, steps=4).still()
    titles = [ax.get_title() for ax in figure.axes]
    assert len(titles) == 6
    assert titles[-1] == "hat"
    assert "difference, 5 times" in titles


def test_the_shipped_clothes_have_their_names() -> None:
    made = Clothes()
    assert made._names[made.label] == "Ankle boot"
    assert made._names[-1] == "anything"
    assert len(made._names) == made.model.classes
    assert Clothes(label="Bag").label == 8


@pytest.mark.usefixtures("as_a_reader")
def test_what_cannot_be_is_refused(model: UNet) -> None:
    for error, says, arguments, settings in (
        (ValueError, "label must be one of sock, hat, anything, got 'shoe'",
         (model, DIFFUSION, ("sock", "hat")), {"label": "shoe"}),
        (ValueError, "names must be 2, one for each class but the last, got 1",
         (model, DIFFUSION, ("sock",)), {}),
        (ValueError, "the network must have classes", (UNet(4, 1, 8, (1,)), DIFFUSION), {}),
        (ValueError, "images must be 1, got 4", (model, DIFFUSION), {"images": 4}),
        (ValueError, "a model needs its diffusion", (model,), {}),
        (traitlets.TraitError, r"label must lie in 0\.\.2, got 3", (model, DIFFUSION),
         {"label": 3}),
        (traitlets.TraitError, "scale", (model, DIFFUSION), {"scale": -1.0}),
    ):  # fmt: skip
        with pytest.raises(error, match=says):
            Clothes(*arguments, **settings)
