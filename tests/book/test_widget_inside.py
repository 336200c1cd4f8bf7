"""The widget that looks inside the digits network, on the built page."""

import numpy as np
import pytest
import torch
from playwright.sync_api import Page

from ddpm_lite.widgets import InsideUNet
from ddpm_lite.widgets.inside import spread

from .conftest import LESS, Open
from .widgets import MODULE, tapped_on_a_phone, widget

PAGE = "book/10-unet.html"
CANVASES = """() => [...document.querySelectorAll(".ddpm-widget canvas")].map((c) =>
  [c.width, [...c.getContext("2d").getImageData(0, 0, c.width, c.height).data]])"""
FRAME = """([picture, stop, layer]) => {
  const now = widget.module.frame(widget.model, picture, stop, layer);
  return { xt: [...now.xt], eps: [...now.eps], looks: now.looks.map((x) => [...x]),
    maps: now.maps.map((x) => [...x]), spreads: now.looks.map(widget.module.spread) }; }"""


def shown(view: Page) -> list[np.ndarray]:
    """Grey values of each canvas: x_t, where it looks, the noise, the maps."""
    return [np.array(data).reshape(-1, width, 4)[..., 0] for width, data in view.evaluate(CANVASES)]


@pytest.mark.parametrize(("name", "changed"), [("Step t", {0, 1, 2, *range(3, 11)}), ("Cell", {1})])
@pytest.mark.parametrize("key", ["ArrowLeft", "ArrowRight", "Home", "End"])
def test_the_sliders_change_what_they_should(
    view: Page, name: str, changed: set[int], key: str
) -> None:
    slider = view.get_by_role("slider", name=name, exact=True)
    before, text = slider.input_value(), widget(view).inner_text()
    pixels = shown(view)
    slider.focus()
    view.keyboard.press(key)
    assert slider.input_value() != before
    assert widget(view).inner_text() != text
    now = shown(view)
    assert {i for i in range(11) if not np.array_equal(pixels[i], now[i])} == changed


def test_choices(view: Page) -> None:
    pixels = shown(view)
    view.get_by_label("Layer", exact=True).select_option(index=5)
    now = shown(view)
    assert all(np.array_equal(a, b) for a, b in zip(pixels[:3], now[:3], strict=True))
    assert now[3].shape == (8, 8)
    assert "way up, 8x8" in widget(view).inner_text()
    curve = view.locator("polyline.cell").get_attribute("points")
    view.get_by_label("Picture", exact=True).select_option(index=2)
    assert not np.array_equal(shown(view)[0], pixels[0])
    assert view.locator("polyline.cell").get_attribute("points") != curve


def test_a_click_chooses_the_cell(view: Page) -> None:
    slider = view.get_by_role("slider", name="Cell", exact=True)
    for canvas in (0, 1):
        box = view.locator(".ddpm-marked").nth(canvas)
        box.scroll_into_view_if_needed()
        area = box.bounding_box()
        assert area is not None
        for row, column in ((3, 0), (1, 2)):
            x, y = (column + 0.5) / 4 * area["width"], (row + 0.5) / 4 * area["height"]
            box.click(position={"x": x, "y": y})
            assert slider.input_value() == str(4 * row + column)
            assert f"the cell in row {row + 1}, column {column + 1}" in widget(view).inner_text()
            mark = view.locator(".ddpm-mark").nth(canvas).bounding_box()
            assert mark is not None
            assert mark["x"] - area["x"] == pytest.approx(column / 4 * area["width"], abs=1.5)
            assert mark["y"] - area["y"] == pytest.approx(row / 4 * area["height"], abs=1.5)


def test_play_runs_to_the_end(view: Page) -> None:
    slider = view.get_by_role("slider", name="Step t", exact=True)
    slider.fill("23")
    view.get_by_role("button", name="Play").click()
    view.wait_for_function("document.querySelector('input[name=stop]').value === '25'")
    view.get_by_role("button", name="Play").wait_for()  # it has stopped by itself
    assert slider.get_attribute("aria-valuetext") == "1000 of 1000"


def test_the_browser_reads_the_bytes_as_python_does(server: str, visit: Open) -> None:
    page = visit(f"{server}/{PAGE}", without=LESS)
    page.wait_for_selector(".widget-host[data-ready]")
    page.evaluate(MODULE)
    inside = InsideUNet().inside
    names = list(inside.features)
    for picture, stop, layer in ((0, 0, 0), (2, 25, 5), (1, 8, 3), (0, 24, 2)):
        got = page.evaluate(FRAME, [picture, stop, layer])
        weights = inside.attention[picture, stop]
        # The page was made on this machine or another: a byte may be rounded the other way.
        for key, expected, step in (
            ("xt", inside.xt[picture, stop], 0.04),
            ("eps", inside.eps_hat[picture, stop], 0.04),
            ("looks", weights, 0.004),
            ("maps", inside.features[names[layer]][picture, stop], 0.008),
        ):
            off = np.abs(np.array(got[key]).ravel() - expected.flatten().numpy())
            assert off.max() <= step, key
        twin = spread(torch.tensor(got["looks"], dtype=torch.float64))
        assert np.abs(np.array(got["spreads"]) - twin.numpy()).max() < 1e-12


def test_what_is_on_the_screen(view: Page) -> None:
    """Each canvas shows its part of the frame, and the words say what is in it."""
    view.evaluate(MODULE)
    view.get_by_role("slider", name="Step t", exact=True).fill("12")
    view.get_by_role("slider", name="Cell", exact=True).fill("9")
    view.get_by_label("Layer", exact=True).select_option(index=2)
    frame = view.evaluate(FRAME, [0, 12, 2])
    looks = np.array(frame["looks"][9])
    parts = [np.array(frame["xt"]), 2 * looks / looks.max() - 1, np.array(frame["eps"]) / 2]
    for got, part in zip(shown(view), [*parts, *map(np.array, frame["maps"])], strict=True):
        expected = (127.5 * (part + 1)).clip(0, 255)
        assert np.abs(got.ravel() - expected).max() <= 0.5 + 1e-6
    most, text = int(looks.argmax()), widget(view).inner_text()
    assert f"looks most at row {most // 4 + 1}, column {most % 4 + 1}" in text
    assert f"over {frame['spreads'][9]:.1f} of 16 cells" in text
    points = (view.locator("polyline.cell").get_attribute("points") or "").split()
    dot = view.locator(".ddpm-widget svg .dot")
    cx, cy = (float(dot.get_attribute(name) or "nan") for name in ("cx", "cy"))
    assert points[12] == f"{cx:.1f},{cy:.1f}"


def test_it_fits_a_phone(server: str, visit: Open) -> None:
    assert abs(tapped_on_a_phone(visit, f"{server}/{PAGE}", "Step t") - 20) < 3
