"""The denoising widget on the built page: its mathematics, number by number, and its controls."""

import numpy as np
import pytest
from playwright.sync_api import Locator, Page

from ddpm_lite import GaussianDiffusion, linear_schedule
from ddpm_lite.widgets import Denoising

from .widgets import MODULE, canvas_pixels, know_mathematics

PAGE = "book/08-simplified-loss.html"
SECOND = 1  # of the page's widgets


def widget(view: Page) -> Locator:
    return view.locator(".ddpm-widget").nth(SECOND)


ASK = """([t, objective]) => {
  const { model, module } = widget;
  const { pictures, images } = module.unpackDigits(model);
  const x0 = pictures[model.get("picture")];
  const eps = mathematics.normals(model.get("seed"), x0.length);
  const alphaBar = mathematics.schedule("linear", 1000, 1e-4, 0.02).alphaBar[t];
  const best = module.bestGuess(mathematics.qSample(x0, eps, alphaBar), images, alphaBar);
  const should = module.target(objective, x0, eps, alphaBar);
  const says = module.target(objective, best.x0, best.eps, alphaBar);
  return [[...should], [...says], module.meanSquare(says, should)];
}"""


@pytest.mark.parametrize("picture", ["a 3 of the set", "a 5 held out"])
@pytest.mark.parametrize("objective", ["eps", "x0", "v"])
def test_question_and_answer_agree_with_python(view: Page, picture: str, objective: str) -> None:
    view.evaluate(MODULE, SECOND)
    know_mathematics(view)
    view.get_by_label("Picture", exact=True).select_option(picture)
    for t in (1, 150, 400, 1000):
        should, says, error = view.evaluate(ASK, [t, objective])
        python = Denoising(t=t, objective=objective, picture=picture)
        assert np.abs(np.array(should) - python.target.flatten().numpy()).max() < 1e-9
        assert np.abs(np.array(says) - python.prediction.flatten().numpy()).max() < 1e-6
        assert error == pytest.approx(python.errors([t])[0], rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("kind", ["variational", "simple"])
@pytest.mark.parametrize("objective", ["eps", "x0", "v"])
def test_weights_agree_with_python(view: Page, kind: str, objective: str) -> None:
    view.evaluate(MODULE, SECOND)
    know_mathematics(view)
    got = view.evaluate(
        """([kind, objective]) => {
        const s = mathematics.schedule("linear", 1000, 1e-4, 0.02);
        return s.alphaBar.slice(1).reduce((all, _, i) =>
          [...all, widget.module.lossWeight(kind, objective, s, i + 1)], []); }""",
        [kind, objective],
    )
    expected = GaussianDiffusion(linear_schedule(), objective).loss_weight(kind)[1:]
    assert np.array(got) == pytest.approx(expected.numpy(), rel=1e-9)


def test_the_slider_changes_the_picture_and_the_words(view: Page) -> None:
    slider = view.get_by_role("slider", name="Step t", exact=True)
    before = canvas_pixels(view)
    slider.focus()
    view.keyboard.press("ArrowRight")
    assert slider.input_value() == "251"
    assert not np.array_equal(canvas_pixels(view), before)
    assert "At step 251" in widget(view).inner_text()
    assert "At step 251" in (widget(view).locator(".ddpm-spoken").text_content() or "")
    shown = (127.5 * (Denoising(t=251).xt[0, 0] + 1)).clamp(0, 255).numpy()
    assert np.abs(canvas_pixels(view)[..., 0] - shown).max() <= 1


def test_choices_and_noise(view: Page) -> None:
    def canvases() -> list[str]:
        return view.evaluate(
            "() => [...document.querySelectorAll('.ddpm-widget canvas')].map((c) => c.toDataURL())"
        )

    seen, wanted, said, off = canvases()
    view.get_by_label("Target", exact=True).select_option("v")
    now = canvases()
    assert now[0] == seen
    assert now[1] != wanted
    assert now[2] != said
    assert "v, between noise and image" in widget(view).inner_text()
    view.get_by_role("button", name="New noise").click()
    assert canvases()[0] != seen
    view.get_by_label("Picture", exact=True).select_option("a 5 held out")
    assert canvases()[3] not in (off, now[3])


def test_a_digit_of_the_set_is_recognised(view: Page) -> None:
    view.get_by_role("slider", name="Step t", exact=True).fill("20")
    view.get_by_label("Picture", exact=True).select_option("a 3 of the set")
    assert "Squared error practically 0" in widget(view).inner_text()
    view.get_by_label("Picture", exact=True).select_option("a 5 held out")
    python = Denoising(t=20, picture="a 5 held out").errors([20])[0]
    assert python > 1
    assert f"Squared error {python:.3g}" in widget(view).inner_text()
