"""The forward-process widget on the built page, and the host that runs it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from playwright.sync_api import Page

from ddpm_lite import cosine_schedule, linear_schedule
from ddpm_lite.widgets import ForwardProcess, normals

from .conftest import HTML, LESS, Open
from .widgets import MODULE, canvas_pixels, know_mathematics, widget

PAGE = "book/02-forward-process.html"
SLIDERS = ["Step t", "Steps T", "First β1", "Last βT"]


@pytest.mark.parametrize("name", SLIDERS)
@pytest.mark.parametrize("key", ["ArrowLeft", "Home"])
def test_every_slider_changes_the_picture(view: Page, name: str, key: str) -> None:
    slider = view.get_by_role("slider", name=name, exact=True)
    before, drawn = slider.input_value(), widget(view).screenshot()
    pixels = canvas_pixels(view)
    slider.focus()
    view.keyboard.press(key)
    assert slider.input_value() != before
    assert widget(view).screenshot() != drawn
    assert not np.array_equal(canvas_pixels(view), pixels)


def test_a_slider_can_be_dragged_and_touched(server: str, visit: Open) -> None:
    page = visit(f"{server}/{PAGE}", without=LESS, width=390, has_touch=True, is_mobile=True)
    page.wait_for_selector(".widget-host[data-ready]")
    slider = page.get_by_role("slider", name="Step t", exact=True)
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None
    assert box["height"] >= 24  # a finger's width
    page.touchscreen.tap(box["x"] + box["width"] * 0.8, box["y"] + box["height"] / 2)
    assert abs(int(slider.input_value()) - 800) < 40
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    assert abs(int(slider.input_value()) - 300) < 60


def test_play_runs_to_the_end_and_stops_when_told(view: Page) -> None:
    slider = view.get_by_role("slider", name="Step t", exact=True)
    button = view.get_by_role("button", name="Play")
    pixels = canvas_pixels(view)
    button.click()
    view.wait_for_function("+document.querySelector('input[name=t]').value > 260", polling=50)
    assert not np.array_equal(canvas_pixels(view), pixels)
    view.get_by_role("button", name="Pause").click()
    paused = slider.input_value()
    view.wait_for_timeout(200)
    assert slider.input_value() == paused
    slider.fill("990")
    button.click()
    view.wait_for_function("document.querySelector('input[name=t]').value === '1000'", polling=50)
    view.get_by_role("button", name="Play").wait_for()  # it has stopped by itself
    button.click()
    view.wait_for_function("+document.querySelector('input[name=t]').value < 500", polling=50)


def test_play_goes_on_from_where_a_busy_page_left_it(view: Page) -> None:
    """In five seconds without a frame it would be at its end; it makes up for a quarter of one."""
    view.get_by_role("button", name="Play").click()
    leap = view.evaluate("""async () => {
      const frame = () => new Promise(requestAnimationFrame);
      const at = () => +document.querySelector("input[name=t]").value;
      await frame();
      const [before, end] = [at(), performance.now() + 5000];
      while (performance.now() < end);
      await frame();
      await frame();
      return at() - before;
    }""")
    assert 0 < leap < 150


def test_choices_and_noise(view: Page) -> None:
    pixels = canvas_pixels(view)
    view.get_by_role("button", name="New noise").click()
    other = canvas_pixels(view)
    assert not np.array_equal(other, pixels)
    view.get_by_label("Schedule", exact=True).select_option("cosine")
    assert view.get_by_role("slider", name="Last βT", exact=True).is_disabled()
    assert not np.array_equal(canvas_pixels(view), other)
    view.get_by_label("Picture", exact=True).select_option("digit")
    assert canvas_pixels(view).shape == (8, 8, 3)


def test_a_shorter_chain_takes_t_along(view: Page) -> None:
    view.get_by_role("slider", name="Steps T", exact=True).fill("50")
    assert view.get_by_role("slider", name="Step t", exact=True).input_value() == "50"
    assert "At step 50 of 50" in widget(view).inner_text()
    assert "0.776 \u00d7 image" in widget(view).inner_text()  # sqrt(0.603): it stopped too early


@pytest.mark.parametrize(
    ("page", "T"),
    [
        ("02-forward-process", "50"),
        ("03-reverse-process", "5"),
        ("04-elbo", "0"),
    ],
)
def test_a_shorter_chain_is_drawn_once(server: str, visit: Open, page: str, T: str) -> None:
    """A drawing ends in its words, so they are counted: when T falls below t, t follows."""
    view = visit(f"{server}/book/{page}.html")
    view.wait_for_selector(".widget-host[data-ready]")
    t = view.get_by_role("slider", name="Step t", exact=True)
    t.fill(t.get_attribute("max") or "")
    view.evaluate(
        """() => { window.drawn = 0;
        new MutationObserver((said) => { window.drawn += said.length; })
          .observe(document.querySelector(".ddpm-widget .ddpm-words"), { childList: true }); }"""
    )
    view.get_by_role("slider", name="Steps T", exact=True).fill(T)
    assert t.input_value() == t.get_attribute("max")
    assert view.evaluate("window.drawn") == 1


def test_words_are_spoken_once_the_hand_is_still(view: Page) -> None:
    spoken = view.locator(".ddpm-spoken")
    assert spoken.get_attribute("aria-live") == "polite"
    slider = view.get_by_role("slider", name="Step t", exact=True)
    slider.focus()
    view.keyboard.press("ArrowRight")
    assert "At step 201 of 1000" in (spoken.text_content() or "")
    assert "step 201" in (view.locator(".ddpm-widget canvas").get_attribute("aria-label") or "")
    assert slider.get_attribute("aria-valuetext") == "201"


@pytest.mark.parametrize(
    ("kind", "T", "start", "end"),
    [
        ("linear", 1000, 1e-4, 0.02),
        ("linear", 37, 1e-3, 0.3),
        ("linear", 1, 1e-4, 0.02),
        ("cosine", 1000, 0, 0),
        ("cosine", 50, 0, 0),
        ("cosine", 1, 0, 0),
    ],
)
def test_schedules_agree_with_python(
    view: Page, kind: str, T: int, start: float, end: float
) -> None:
    know_mathematics(view)
    got = view.evaluate(
        "([kind, T, a, b]) => { const s = mathematics.schedule(kind, T, a, b);"
        "return [[...s.beta], [...s.alphaBar]]; }",
        [kind, T, start, end],
    )
    s = linear_schedule(T, start, end) if kind == "linear" else cosine_schedule(T)
    assert np.abs(np.array(got[0]) - s.beta.numpy()).max() < 1e-12
    assert np.abs(np.array(got[1]) - s.alpha_bar.numpy()).max() < 1e-12


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**31 - 1])
def test_noise_agrees_with_python(view: Page, seed: int) -> None:
    know_mathematics(view)
    got = view.evaluate("(seed) => [...mathematics.normals(seed, 2001)]", seed)
    assert np.abs(np.array(got) - normals(seed, 2001)).max() < 1e-9


@pytest.mark.parametrize("picture", ["digit", "flower"])
@pytest.mark.parametrize("t", [1, 300, 1000])
def test_x_t_agrees_with_python(view: Page, picture: str, t: int) -> None:
    """Number by number to 1e-6, and on the screen to the last grey level."""
    view.evaluate(MODULE)
    know_mathematics(view)
    view.get_by_label("Picture", exact=True).select_option(picture)
    view.get_by_role("slider", name="Step t", exact=True).fill(str(t))
    got = view.evaluate(
        """() => { const { model, module } = widget;
        const { x0 } = module.unpackPictures(model)[model.get("picture")];
        const s = mathematics.schedule(model.get("kind"), model.get("T"),
          model.get("beta_start"), model.get("beta_end"));
        const eps = mathematics.normals(model.get("seed"), x0.length);
        return [...mathematics.qSample(x0, eps, s.alphaBar[model.get("t")])]; }"""
    )
    python = ForwardProcess(picture=picture, t=t)
    expected = python.xt.permute(0, 2, 3, 1).flatten().numpy()
    assert np.abs(np.array(got) - expected).max() < 1e-6
    shown = (127.5 * (python.xt[0].permute(1, 2, 0) + 1)).clamp(0, 255)
    difference = canvas_pixels(view) - shown.expand(*shown.shape[:2], 3).numpy()
    assert np.abs(difference).max() <= 0.5 + 1e-6


def test_the_right_curve_is_on_the_chart(view: Page) -> None:
    """The dot of the alpha-bar chart lies where alpha_bar of the package says."""
    view.get_by_role("slider", name="Step t", exact=True).fill("300")
    cx, cy = (
        float(view.locator(".ddpm-widget svg .dot").first.get_attribute(name) or "nan")
        for name in ("cx", "cy")
    )
    alpha_bar = linear_schedule().alpha_bar[300].item()
    points = view.locator(".ddpm-widget svg polyline.kept").get_attribute("points") or ""
    xy = torch.tensor([[float(v) for v in pair.split(",")] for pair in points.split()])
    (left, top), (right, bottom) = xy[0].tolist(), xy[-1].tolist()
    assert cx == pytest.approx(left + 0.3 * (right - left), abs=0.1)
    assert cy == pytest.approx(bottom + alpha_bar * (top - bottom), abs=0.2)


def test_jupyterlab_leaves_the_keys_to_the_controls(server: str, visit: Open) -> None:
    """Its shortcuts take arrow keys from a focused element that does not carry this attribute."""
    page = visit(f"{server}/{PAGE}", without=LESS)
    page.wait_for_selector(".widget-host[data-ready]")
    assert page.locator(".ddpm-widget :is(input, select, button)").count() == 8
    assert page.locator(".ddpm-widget [data-lm-suppress-shortcuts=true]").count() == 8


def test_dark_theme_reaches_the_widget(server: str, visit: Open) -> None:
    colors = []
    for scheme in ("light", "dark"):
        page = visit(f"{server}/{PAGE}", without=LESS, scheme=scheme)
        page.wait_for_selector(".widget-host[data-ready]")
        colors.append(
            page.evaluate("getComputedStyle(document.querySelector('.ddpm-widget')).color")
        )
    assert colors == ["rgb(36, 41, 47)", "rgb(209, 213, 218)"]


def page_with(tmp_path: Path, state: dict[str, object]) -> str:
    """A page as MyST-NB would write it, around a widget state of our own."""
    views = "".join(
        f'<script type="application/vnd.jupyter.widget-view+json">{{"model_id": "{i}"}}</script>'
        for i in state
    )
    host = (HTML / "_static" / "widget-host.js").as_uri()
    path = tmp_path / "page.html"
    path.write_text(
        f'<!doctype html><body>{views}<script type="application/vnd.jupyter.widget-state+json">'
        f'{json.dumps({"state": state})}</script><script defer src="{host}"></script></body>'
    )
    return path.as_uri()


def test_other_widgets_say_what_they_need(tmp_path: Path, visit: Open) -> None:
    state = {"a": {"model_name": "IntSliderModel", "state": {"value": 3}}}
    page = visit(page_with(tmp_path, state))
    page.get_by_text("This widget (IntSliderModel) needs a running notebook").wait_for()


def test_a_view_without_state_says_so(tmp_path: Path, visit: Open) -> None:
    page = visit(page_with(tmp_path, {"a": {"model_name": "X", "state": {}}}))
    page.get_by_text("needs a running notebook").wait_for()


def test_a_widget_that_fails_says_so_and_spares_the_others(tmp_path: Path, browser: object) -> None:
    good = "export default { render({ model, el }) { el.textContent = `n is ${model.get('n')}`; } }"
    bad = "export default { render() { throw new Error('out of ink'); } }"
    state = {
        "a": {"model_name": "AnyModel", "state": {"_esm": bad}},
        "b": {"model_name": "AnyModel", "state": {"_esm": good, "n": 7}},
    }
    page = browser.new_page()  # type: ignore[attr-defined]
    page.goto(page_with(tmp_path, state))
    page.get_by_text("could not start in your browser: out of ink").wait_for()
    page.get_by_text("n is 7").wait_for()
    page.close()
