"""The decoder's widget on the built page."""

import math

import numpy as np
import pytest
import torch
from playwright.sync_api import Page

from ddpm_lite import decoder_nll, linear_schedule
from ddpm_lite.widgets import Decoder

from .conftest import LESS, Open
from .widgets import MODULE, widget

PAGE = "book/07-decoder.html"
SPREAD = "Spread \u03c3"
SLIDERS = ["Level v", "Mean μ", SPREAD]


@pytest.mark.parametrize("name", SLIDERS)
@pytest.mark.parametrize("key", ["ArrowLeft", "Home"])
def test_every_slider_changes_the_picture(view: Page, name: str, key: str) -> None:
    slider = view.get_by_role("slider", name=name, exact=True)
    before, drawn = slider.input_value(), widget(view).screenshot()
    slider.focus()
    view.keyboard.press(key)
    assert slider.input_value() != before
    assert widget(view).screenshot() != drawn


def test_log_ndtr_agrees_with_torch_in_both_tails(view: Page) -> None:
    view.evaluate(MODULE)
    z = np.concatenate([np.linspace(-40, 36, 3201), [-2e4, -300, 300, 2e4]])
    got = np.array(view.evaluate("z => z.map(widget.module.logNdtr)", z.tolist()))
    expected = torch.special.log_ndtr(torch.from_numpy(z)).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=0)
    assert view.evaluate("widget.module.logNdtr(Infinity)") == 0
    assert view.evaluate("widget.module.logNdtr(-Infinity) === -Infinity")


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_the_decoder_agrees_with_python(server: str, visit: Open, levels: int) -> None:
    """Every level under thirty Gaussians, down to masses of e^-300,000,000."""
    page = visit(f"{server}/{PAGE}", without=LESS)
    page.wait_for_selector(".widget-host[data-ready]")
    page.evaluate(MODULE)
    x = (2 * torch.arange(levels, dtype=torch.float64) / (levels - 1) - 1)[:, None]
    for mean in (-1.3, -1.0, 0.0, 0.2196, 1.0, 1.3):
        for sigma in (1e-4, 0.00738, 0.01, 0.1, 1.0):
            got = page.evaluate(
                "([mean, sigma, levels]) => Array.from({ length: levels },"
                "(_, v) => widget.module.decoderNll(v, mean, sigma, levels))",
                [mean, sigma, levels],
            )
            variance = torch.full_like(x, sigma**2)
            expected = decoder_nll(x, torch.full_like(x, mean), variance, levels)
            np.testing.assert_allclose(got, expected.numpy(), rtol=1e-9, atol=1e-12)


def test_the_buttons_put_the_mean_on_the_level_and_set_sigma(view: Page) -> None:
    words, schedule = view.locator(".ddpm-words"), linear_schedule()
    start = Decoder()
    assert f"costs {start.bits[start.level]:.3g} bits" in words.inner_text()
    view.get_by_role("button", name="Mean on the level").click()
    assert "The mean is off by 0 levels" in words.inner_text()
    for name, variance in (("β1", schedule.beta[1]), ("β̃2", schedule.beta_tilde[2])):
        view.get_by_role("button", name=name).click()
        floor = Decoder(sigma=variance.sqrt().item()).floor
        assert f"costs {floor:.3g} bits" in words.inner_text()
        assert f"would be {floor:.3g} bits" in words.inner_text()
    assert "The 256 masses sum to 1.000000" in words.inner_text()


def test_the_dot_lies_on_the_curve_over_sigma(view: Page) -> None:
    """At every sigma of the slider's own the dot is where the package says, above the floor."""
    for sigma in (0.001, 0.01, 0.1):
        view.get_by_role("slider", name=SPREAD, exact=True).fill(str(math.log10(sigma)))
        svg = view.locator(".ddpm-widget svg").nth(3)
        dot = svg.locator(".dot")
        cx, cy = (float(dot.get_attribute(name) or "nan") for name in ("cx", "cy"))
        ticks = svg.locator("line.grid")
        bottom = float(ticks.first.get_attribute("y1") or "nan")
        top = float(ticks.last.get_attribute("y1") or "nan")
        left = float(ticks.first.get_attribute("x1") or "nan")
        right = float(ticks.first.get_attribute("x2") or "nan")
        bits = Decoder(sigma=sigma).bits[Decoder().level].item()
        assert cx == pytest.approx(left + (math.log10(sigma) + 4) / 4 * (right - left), abs=0.1)
        assert cy == pytest.approx(bottom + min(bits, 8) / 8 * (top - bottom), abs=0.1)


def test_the_edge_levels_collect_what_lies_outside(view: Page) -> None:
    view.get_by_role("slider", name="Level v", exact=True).fill("255")
    view.get_by_role("slider", name="Mean μ", exact=True).fill("293")
    view.get_by_role("slider", name=SPREAD, exact=True).fill("-1")
    mass = 2 ** -Decoder(mean=2 * 293 / 255 - 1, sigma=0.1).bits[255].item()
    assert mass > 0.99
    assert (
        f"Grey level 255 has mass {float(f'{mass:.3g}')}"
        in view.locator(".ddpm-words").inner_text()
    )


def test_a_phone_shows_one_panel_a_row(server: str, visit: Open) -> None:
    page = visit(f"{server}/{PAGE}", without=LESS, width=390, has_touch=True, is_mobile=True)
    page.wait_for_selector(".widget-host[data-ready]")
    lefts = page.evaluate(
        "[...document.querySelectorAll('.ddpm-widget figure')]"
        ".map((f) => Math.round(f.getBoundingClientRect().left))"
    )
    assert len(lefts) == 4
    assert len(set(lefts)) == 1


def test_words_are_spoken_once_the_hand_is_still(view: Page) -> None:
    slider = view.get_by_role("slider", name="Level v", exact=True)
    slider.focus()
    view.keyboard.press("ArrowRight")
    spoken = view.locator(".ddpm-spoken")
    assert spoken.get_attribute("aria-live") == "polite"
    assert "Grey level 156 has mass" in (spoken.text_content() or "")
    assert slider.get_attribute("aria-valuetext") == "156"
