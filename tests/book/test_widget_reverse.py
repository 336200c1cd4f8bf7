"""The reverse step's widget on the built page: its numbers are Python's, and its controls work."""

import numpy as np
import pytest
import torch
from playwright.sync_api import Page

from ddpm_lite import Oracle, linear_schedule
from ddpm_lite.widgets import ReverseStep

from .widgets import MODULE, widget

PAGE = "book/03-reverse-process.html"
SLIDERS = ["Size β", "Seen xt", "Step t", "Steps T"]


def curve(view: Page, name: str) -> np.ndarray:
    """[N, 2] of a curve's points in its chart."""
    points = view.locator(f".ddpm-widget svg polyline.{name}").get_attribute("points") or ""
    return np.array([[float(v) for v in pair.split(",")] for pair in points.split()])


def swarm(view: Page) -> str:
    return view.locator(".ddpm-widget svg .dots").get_attribute("d") or ""


@pytest.mark.parametrize("name", SLIDERS)
@pytest.mark.parametrize("key", ["ArrowLeft", "ArrowRight"])
def test_every_slider_changes_what_it_should(view: Page, name: str, key: str) -> None:
    slider = view.get_by_role("slider", name=name, exact=True)
    before, words = slider.input_value(), view.locator(".ddpm-words").inner_text()
    truth, points = curve(view, "truth"), swarm(view)
    slider.focus()
    view.keyboard.press(key)
    assert slider.input_value() != before
    assert view.locator(".ddpm-words").inner_text() != words
    of_the_step = name in SLIDERS[:2]
    assert (not np.array_equal(curve(view, "truth"), truth)) == of_the_step
    assert (swarm(view) != points) != of_the_step


@pytest.mark.parametrize(("beta", "xt"), [(0.5, 0.1), (0.02, -0.6), (1e-4, 0.1), (0.9, 1.5)])
def test_the_step_agrees_with_python(view: Page, beta: float, xt: float) -> None:
    view.evaluate(MODULE)
    got = view.evaluate(
        """([beta, xt]) => { const { model, module } = widget;
        const mixture = module.stepBack(model.get("_peaks"), beta, xt);
        const { mean, variance } = module.bestGaussian(mixture);
        return { parts: ["weight", "mean", "variance"].map((k) => mixture.map((p) => p[k])),
          best: [mean, variance], kl: module.klToBest(mixture) }; }""",
        [beta, xt],
    )
    python = ReverseStep(beta=beta, xt=xt)
    expected = np.array([part.numpy() for part in python.step_back])
    assert np.abs(np.array(got["parts"]) - expected).max() < 1e-12
    assert np.abs(np.array(got["best"]) - python.best_gaussian).max() < 1e-12
    assert got["kl"] == pytest.approx(python.kl, rel=1e-9, abs=1e-13)


@pytest.mark.parametrize("T", [2, 37, 200])
def test_schedule_and_oracle_agree_with_python(view: Page, T: int) -> None:
    view.evaluate(MODULE)
    got = view.evaluate(
        "T => { const s = widget.module.scheduleOf(T); return [[...s.beta], [...s.alphaBar]]; }", T
    )
    s = linear_schedule().rescaled(T)
    assert np.abs(np.array(got[0]) - s.beta.numpy()).max() < 1e-12
    assert np.abs(np.array(got[1]) - s.alpha_bar.numpy()).max() < 1e-12
    at = torch.randn(20, 2, dtype=torch.float64)
    ring = ReverseStep()._ring
    oracle = Oracle(s, torch.tensor(ring["means"], dtype=torch.float64), ring["std"])
    for t in (1, T):
        eps = view.evaluate(
            "([at, a]) => at.map(([x, y]) => "
            'widget.module.oracleEps(widget.model.get("_ring"), a, x, y))',
            [at.tolist(), s.alpha_bar[t].item()],
        )
        assert np.abs(np.array(eps) - oracle(at, t).numpy()).max() < 1e-9


@pytest.mark.parametrize(("T", "seed"), [(100, 0), (5, 3)])
def test_the_swarm_agrees_with_python(view: Page, T: int, seed: int) -> None:
    view.evaluate(MODULE)
    got = view.evaluate(
        '([T, seed]) => widget.module.swarm(widget.model.get("_ring"), T, seed).map((x) => [...x])',
        [T, seed],
    )
    expected = ReverseStep(T=T, seed=seed).swarm.flatten(1).numpy()
    assert np.abs(np.array(got) - expected).max() < 1e-6
    share = view.evaluate(
        '(x) => widget.module.landed(widget.model.get("_ring"), x)', expected[0].tolist()
    )
    means = np.array(ReverseStep()._ring["means"])
    far = np.linalg.norm(expected[0].reshape(-1, 1, 2) - means, axis=2).min(1)
    assert share == pytest.approx((far < 0.24).mean())


def test_a_curve_is_drawn_where_it_should_be(view: Page) -> None:
    """The dot lies on the curve of the costs, and the curve has slope three at its foot."""
    view.get_by_role("slider", name="Size β", exact=True).fill("-3")
    xy = curve(view, "price")
    dot = view.locator(".ddpm-widget svg .dot").first
    cx, cy = (float(dot.get_attribute(name) or "nan") for name in ("cx", "cy"))
    assert np.interp(cx, *xy.T) == pytest.approx(cy, abs=0.5)
    low = xy[(xy[:, 0] > cx - 30) & (xy[:, 0] < cx)]
    rise = np.polyfit(low[:, 0], -low[:, 1], 1)[0]
    decades = (4 / (260 - 18 - 38), 8 / (190 - 34 - 8))  # of the axes, per unit drawn
    assert rise * decades[1] / decades[0] == pytest.approx(3, abs=0.2)


def test_the_two_densities_become_one(view: Page) -> None:
    def apart() -> float:
        one, two = (curve(view, name) for name in ("truth", "second"))
        return float(np.abs(one - two).max())

    slider = view.get_by_role("slider", name="Size β", exact=True)
    slider.fill("-0.3")
    wide = apart()
    slider.fill("-3.5")
    assert apart() < 2 < 30 < wide


def test_play_walks_back_to_zero(view: Page) -> None:
    slider = view.get_by_role("slider", name="Step t", exact=True)
    button = view.get_by_role("button", name="Play")
    slider.fill("10")
    button.click()
    view.wait_for_function("document.querySelector('input[name=t]').value === '0'")
    view.get_by_role("button", name="Play").wait_for()  # it has stopped by itself
    assert "At step 0 of 100" in widget(view).inner_text()
    button.click()  # from the noise again
    view.wait_for_function("+document.querySelector('input[name=t]').value > 50")
    view.get_by_role("button", name="Pause").click()
    before = swarm(view)
    view.get_by_role("button", name="New noise").click()
    assert swarm(view) != before


def test_a_shorter_chain_takes_t_along(view: Page) -> None:
    view.get_by_role("slider", name="Step t", exact=True).fill("60")
    view.get_by_role("slider", name="Steps T", exact=True).fill("5")
    assert view.get_by_role("slider", name="Step t", exact=True).input_value() == "5"
    assert "At step 5 of 5" in widget(view).inner_text()


def test_words_are_spoken_and_charts_are_named(view: Page) -> None:
    view.get_by_role("slider", name="Size β", exact=True).focus()
    view.keyboard.press("ArrowRight")
    spoken = view.locator(".ddpm-spoken").text_content() or ""
    assert "as a Gaussian that is wrong by" in spoken
    labels = [
        svg.get_attribute("aria-label") or "" for svg in view.locator(".ddpm-widget svg").all()
    ]
    assert all(len(label) > 40 for label in labels)
    assert view.locator(".ddpm-widget [data-lm-suppress-shortcuts=true]").count() == 6
