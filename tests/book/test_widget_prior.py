"""The prior-matching widget on its page."""

import pytest
from playwright.sync_api import Page

from ddpm_lite import linear_schedule
from ddpm_lite.widgets.prior import prior_bits

from .conftest import LESS, Open
from .widgets import MODULE, widget

PAGE = "book/05-prior-matching.html"


def test_it_computes_what_python_computes(view: Page) -> None:
    view.evaluate(MODULE)
    for alpha_bar in (1e-9, 4e-5, 0.13, 0.6, 0.999):
        for x0 in (-1.0, 0.0, 0.7):
            got = view.evaluate("([a, x]) => widget.module.priorBits(a, x)", [alpha_bar, x0])
            assert got == pytest.approx(prior_bits(alpha_bar, x0), rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("name", ["Steps T", "Last βT", "Pixel x0"])
def test_every_slider_changes_the_picture(view: Page, name: str) -> None:
    slider = view.get_by_role("slider", name=name, exact=True)
    drawn = widget(view).screenshot()
    slider.focus()
    view.keyboard.press("Home")
    assert widget(view).screenshot() != drawn


def test_the_words_are_the_package_s(view: Page) -> None:
    view.get_by_role("slider", name="Steps T", exact=True).fill("50")
    left = linear_schedule(50).alpha_bar[-1].item()
    text = widget(view).inner_text()
    assert f"After 50 steps {left:.3g} of the variance is left" in text
    assert f"costs {prior_bits(left, 0.9):.3g} bits for this pixel" in text


def test_the_dot_lies_on_the_curve(view: Page) -> None:
    dot = view.locator(".ddpm-widget svg .dot").last
    points = view.locator(".ddpm-widget svg polyline.kept").last.get_attribute("points") or ""
    x, y = (float(dot.get_attribute(name) or "nan") for name in ("cx", "cy"))
    near = min((abs(float(p.split(",")[0]) - x), float(p.split(",")[1])) for p in points.split())
    assert near[1] == pytest.approx(y, abs=2.5)


def test_it_fits_a_phone(server: str, visit: Open) -> None:
    page = visit(f"{server}/{PAGE}", without=LESS, width=390)
    page.wait_for_selector(".widget-host[data-ready]")
    box = widget(page).bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= 390
