"""The recorded reverse chain on the built page."""

import numpy as np
import pytest
import torch
from playwright.sync_api import Page

from ddpm_lite.widgets import ReverseChain
from ddpm_lite.widgets.chain import from_end, unpack

from .conftest import LESS, Open
from .widgets import MODULE, canvas_pixels, tapped_on_a_phone, widget

PAGE = "book/09-sampling.html"


def stored(view: Page) -> tuple[torch.Tensor, list[int], list[float]]:
    """What the page holds, [3, stops, chains, H, W, C], by Python's own reading of the bytes."""
    view.evaluate(MODULE)
    data, shape, limits, times, alpha_bar = view.evaluate(
        """() => { const m = widget.model; const f = m.get("_frames");
        return [[...new Uint8Array(f.buffer, f.byteOffset, f.byteLength)], m.get("_shape"),
          m.get("_limits"), m.get("_times"), m.get("_alpha_bar")]; }"""
    )
    parts = np.array(data, dtype=np.uint8).reshape(3, *shape)
    pairs = zip(parts, map(float, limits), strict=True)
    return torch.stack([unpack(part, limit) for part, limit in pairs]), times, alpha_bar


@pytest.mark.parametrize("key", ["ArrowLeft", "ArrowRight", "Home", "End"])
def test_the_slider_changes_every_panel(view: Page, key: str) -> None:
    slider = view.get_by_role("slider", name="Step t", exact=True)
    before, drawn = slider.input_value(), widget(view).screenshot()
    pixels = canvas_pixels(view)
    slider.focus()
    view.keyboard.press(key)
    assert slider.input_value() != before
    assert widget(view).screenshot() != drawn
    assert not np.array_equal(canvas_pixels(view), pixels)


def test_it_begins_at_noise_and_ends_in_the_sample(view: Page) -> None:
    slider = view.get_by_role("slider", name="Step t", exact=True)
    slider.fill("0")
    assert slider.get_attribute("aria-valuetext") == "1000 of 1000"
    assert "At step 1000 of 1000" in widget(view).inner_text()
    slider.fill("50")
    assert slider.get_attribute("aria-valuetext") == "0 of 1000"
    assert "Step 0 of 1000: the sample." in widget(view).inner_text()


def test_chains_differ(view: Page) -> None:
    pixels, curve = canvas_pixels(view), view.locator("polyline.state").get_attribute("points")
    view.get_by_label("Chain", exact=True).select_option(index=3)
    assert not np.array_equal(canvas_pixels(view), pixels)
    assert view.locator("polyline.state").get_attribute("points") != curve


def test_play_runs_from_noise_to_the_sample(view: Page) -> None:
    slider = view.get_by_role("slider", name="Step t", exact=True)
    slider.fill("48")
    button = view.get_by_role("button", name="Play")
    button.click()
    view.wait_for_function("document.querySelector('input[name=stop]').value === '50'")
    view.get_by_role("button", name="Play").wait_for()  # it has stopped by itself
    button.click()
    view.wait_for_function("+document.querySelector('input[name=stop]').value < 25")
    view.get_by_role("button", name="Pause").click()


def test_the_browser_reads_the_bytes_as_python_does(view: Page) -> None:
    frames, times, alpha_bar = stored(view)
    for chain in (0, 3):
        got = np.array(
            view.evaluate(
                "(chain) => widget.module.frames(widget.model, chain)"
                ".map((part) => part.map((x) => [...x]))",
                chain,
            )
        )
        expected = frames[:, :, chain].flatten(2)
        assert np.abs(got - expected.numpy()).max() < 1e-12
        off = view.evaluate(
            """(chain) => { const [xt, guess] = widget.module.frames(widget.model, chain);
            return [xt, guess].map((x) => widget.module.fromEnd(x, xt[xt.length - 1])); }""",
            chain,
        )
        for values, distances in zip(expected, off, strict=False):
            twin = from_end(values, expected[0, -1])
            assert np.abs(np.array(distances) - twin.numpy()).max() < 1e-12
    # What the sentence below the panels says of the three pictures holds, to a byte's rounding.
    kept = torch.tensor(alpha_bar).double().view(-1, 1, 1, 1, 1)
    back = kept.sqrt() * frames[1] + (1 - kept).sqrt() * frames[2]
    assert (back - frames[0]).abs().max() < 0.06
    assert times == [*range(1000, -1, -20)]


def test_what_is_on_the_screen(view: Page) -> None:
    """Each canvas shows its part of the recording, to the last grey level."""
    frames, _, _ = stored(view)
    view.get_by_role("slider", name="Step t", exact=True).fill("30")
    view.get_by_label("Chain", exact=True).select_option(index=1)
    shown = view.evaluate(
        """() => [...document.querySelector(".ddpm-widget").querySelectorAll("canvas")].map((c) =>
        [...c.getContext("2d").getImageData(0, 0, c.width, c.height).data])"""
    )
    assert len(shown) == 3
    for data, part in zip(shown, frames[:, 30, 1], strict=True):
        expected = (127.5 * (part + 1)).clamp(0, 255).numpy()
        got = np.array(data).reshape(8, 8, 4)[..., :3]
        assert np.abs(got - expected).max() <= 0.5 + 1e-6


def test_the_page_holds_the_chain_of_the_package(server: str, visit: Open) -> None:
    page = visit(f"{server}/{PAGE}", without=LESS)
    page.wait_for_selector(".widget-host[data-ready]")
    frames, _, _ = stored(page)
    python = ReverseChain().recording
    for got, expected in zip(frames, python[2:], strict=True):
        assert (got.movedim(-1, 2) - expected).abs().max() < 0.06


def test_the_dot_is_on_the_guess_s_curve(view: Page) -> None:
    view.get_by_role("slider", name="Step t", exact=True).fill("20")
    cx, cy = (
        float(view.locator(".ddpm-widget svg .dot").get_attribute(name) or "nan")
        for name in ("cx", "cy")
    )
    points = view.locator(".ddpm-widget svg polyline.second").get_attribute("points") or ""
    x, y = (float(v) for v in points.split()[20].split(","))
    assert cx == pytest.approx(x, abs=0.1)
    assert cy == pytest.approx(y, abs=0.1)


def test_it_fits_a_phone(server: str, visit: Open) -> None:
    assert abs(tapped_on_a_phone(visit, f"{server}/{PAGE}", "Step t") - 40) < 3
