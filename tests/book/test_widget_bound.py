"""The bound's widget on the built page, against Python."""

from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from ddpm_lite.widgets import Bound
from ddpm_lite.widgets.bound import LENGTHS

from .conftest import LESS, Open
from .widgets import MODULE, know_mathematics, widget

PAGE = "book/04-elbo.html"


def curves(view: Page) -> list[str | None]:
    lines = view.locator(".ddpm-widget svg polyline:not(.bell)").all()
    return [line.get_attribute("points") for line in lines]


@pytest.mark.parametrize("name", ["Step t", "Steps T", "Last βT", "Data std"])
@pytest.mark.parametrize("key", ["ArrowLeft", "Home"])
def test_every_slider_changes_the_picture(view: Page, name: str, key: str) -> None:
    slider = view.get_by_role("slider", name=name, exact=True)
    before, drawn, words = slider.input_value(), curves(view), widget(view).inner_text()
    slider.focus()
    view.keyboard.press(key)
    assert slider.input_value() != before
    assert widget(view).inner_text() != words
    assert (curves(view) == drawn) == (name == "Step t")  # t moves the marks alone


def test_the_variance_changes_the_bound(view: Page) -> None:
    drawn = curves(view)
    view.get_by_label("Variance of a step back", exact=True).select_option("beta_tilde")
    assert curves(view) != drawn


def test_a_shorter_chain_takes_t_along(view: Page) -> None:
    view.get_by_role("slider", name="Step t", exact=True).fill("20")
    view.get_by_role("slider", name="Steps T", exact=True).fill("0")
    assert view.get_by_role("slider", name="Step t", exact=True).input_value() == "1"
    assert "At t = 1 of 1" in widget(view).inner_text()
    spoken = view.locator(".ddpm-spoken")
    view.get_by_role("slider", name="Steps T", exact=True).focus()
    view.keyboard.press("ArrowRight")
    assert "of 2" in (spoken.text_content() or "")


def settings() -> list[dict[str, Any]]:
    return [
        {"T": T, "beta_end": beta_end, "std": std, "variance": variance}
        for T in (1, 2, 20, 1000)
        for beta_end, std, variance in ((0.02, 0.3, "beta"), (0.001, 1.0, "beta_tilde"))
    ] + [{"T": 300, "beta_end": 0.05, "std": 0.05, "variance": "beta_tilde"}]


@pytest.mark.parametrize("setting", settings(), ids=str)
def test_the_numbers_agree_with_python(server: str, visit: Open, setting: dict[str, Any]) -> None:
    page = visit(f"{server}/{PAGE}", without=LESS)
    page.wait_for_selector(".widget-host[data-ready]")
    page.evaluate(MODULE)
    know_mathematics(page)
    assert page.evaluate("[...widget.module.LENGTHS]") == list(LENGTHS)
    got = page.evaluate(
        """({ T, beta_end, std, variance }) => {
        const { module } = widget;
        const base = mathematics.schedule("linear", 1000, 1e-4, beta_end);
        const s = mathematics.rescaled(base, T);
        const shown = module.bits(base, T, variance, std);
        const sigma2 = module.stepVariances(s, variance);
        const { terms, nll, variance: v, total } = shown;
        return [[...s.beta], [...sigma2], [...terms], nll, v, total];
        }""",
        setting,
    )
    python = Bound(**setting)
    schedule, sigma2 = python.at(setting["T"])
    assert np.allclose(got[0], schedule.beta, rtol=1e-9, atol=0)
    assert np.allclose(got[1][1:], sigma2[1:], rtol=1e-9, atol=0)
    assert np.allclose(got[2], python.terms(setting["T"]), rtol=1e-7, atol=1e-12)
    assert got[3] == pytest.approx(python.nll(setting["T"]), rel=1e-9)
    assert got[4] == pytest.approx(python.model_variance(setting["T"]), rel=1e-9)
    assert got[5] == pytest.approx(python.terms(setting["T"]).sum().item(), rel=1e-9)


def test_the_words_and_the_marks_say_what_python_says(view: Page) -> None:
    python = Bound(t=5, T=20, std=0.3)
    terms, text = python.terms(20), widget(view).inner_text()
    assert f"stack down to it {terms[5:].sum():.2f}" in text
    assert f"bound {terms.sum():.2f}, exact NLL {python.nll(20):.2f}" in text
    # The dot of the stack lies on its curve, at t.
    svg = view.locator(".ddpm-widget svg").nth(1)
    points = (svg.locator("polyline.stack").get_attribute("points") or "").split()
    x, y = (float(v) for v in points[5].split(","))
    dot = svg.locator(".dot")
    assert float(dot.get_attribute("cx") or "nan") == pytest.approx(x, abs=0.1)
    assert float(dot.get_attribute("cy") or "nan") == pytest.approx(y, abs=0.1)


def test_a_phone_holds_it(server: str, visit: Open) -> None:
    page = visit(f"{server}/{PAGE}", without=LESS, width=390, has_touch=True, is_mobile=True)
    page.wait_for_selector(".widget-host[data-ready]")
    box = widget(page).bounding_box()
    assert box is not None
    assert box["width"] <= 390
