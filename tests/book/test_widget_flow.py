"""The flow's widget on the built page: its words are Python's numbers, and its controls work."""

import re

import numpy as np
import pytest
from playwright.sync_api import Locator, Page

from ddpm_lite.widgets import Flow

from .conftest import Open
from .widgets import tapped_on_a_phone, widget

PAGE = "book/15-from-steps-to-flows.html"
LIMIT = 2.5
SETS = ["ring", "two moons", "spiral", "letters", "five blobs"]
EXACT, OTHER = 0, 1  # the squares


def walked(view: Page) -> None:
    """Wait until the long ways, which are walked between frames, have come to their ends."""
    view.wait_for_selector(".ddpm-flow[aria-busy=false]")


@pytest.fixture
def view(view: Page) -> Page:
    walked(view)
    return view


def square(view: Page, which: int) -> Locator:
    return view.locator(".ddpm-flow .ddpm-plane").nth(which)


def drawn(view: Page, which: int, name: str) -> str:
    return square(view, which).locator(f"path{name}").get_attribute("d") or ""


def dots(view: Page, which: int, name: str) -> np.ndarray:
    """[N, 2] of where the dots lie, in the plane's own numbers."""
    found = re.findall(r"M(-?[\d.]+) (-?[\d.]+)h0", drawn(view, which, name))
    px = np.array(found, dtype=float).reshape(-1, 2)
    return (px / 100 - 1) * LIMIT * np.array([1, -1])


def words(view: Page) -> str:
    return view.locator(".ddpm-words").inner_text()


def slide(view: Page, name: str, value: int) -> None:
    view.get_by_role("slider", name=name, exact=True).fill(str(value))


@pytest.mark.parametrize("key", ["ArrowLeft", "ArrowRight"])
def test_the_slider_for_t_moves_the_field_and_all_walkers(view: Page, key: str) -> None:
    names = [(EXACT, ".arrows"), (EXACT, ".now.exact"), (EXACT, ".now.solver"), (OTHER, ".now.sde")]
    before = [drawn(view, *name) for name in names]
    data = drawn(view, EXACT, ".data")
    slider = view.get_by_role("slider", name="Step t", exact=True)
    slider.focus()
    for _ in range(20):
        view.keyboard.press(key)
    assert slider.input_value() == ("380" if key == "ArrowLeft" else "420")
    for name, was in zip(names, before, strict=True):
        assert drawn(view, *name) != was, name
    assert drawn(view, EXACT, ".data") == data
    assert f"At t = {slider.input_value()} of 1000" in words(view)


@pytest.mark.parametrize("key", ["ArrowLeft", "ArrowRight"])
def test_the_slider_for_calls_moves_the_solver_alone(view: Page, key: str) -> None:
    still = [(EXACT, ".arrows"), (EXACT, ".now.exact"), (OTHER, ".now.sde"), (OTHER, ".trail.sde")]
    before, solver = [drawn(view, *name) for name in still], drawn(view, EXACT, ".trail.solver")
    said = words(view)
    view.get_by_role("slider", name="Calls n", exact=True).focus()
    view.keyboard.press(key)
    assert [drawn(view, *name) for name in still] == before
    assert drawn(view, EXACT, ".trail.solver") != solver
    assert words(view) != said


@pytest.mark.parametrize("t", [0, 137, 1000])
@pytest.mark.parametrize("kind", ["line", "cosine"])
def test_dots_lie_where_python_says(view: Page, kind: str, t: int) -> None:
    """To a twentieth of the drawing's own unit, of which the square has 200."""
    view.get_by_label("Schedule", exact=True).select_option(kind)
    walked(view)
    slide(view, "Step t", t)
    python = Flow(kind=kind, t=t)
    s = float(python.schedule.line[t])
    x0, eps = python.pairs
    found = [
        (dots(view, EXACT, ".now.exact"), python.exact.at(s)),
        (dots(view, OTHER, ".now.exact"), python.exact.at(s)),
        (dots(view, EXACT, ".now.solver"), python.solved.at(s)),
        (dots(view, OTHER, ".now.sde"), python.sde.at(s)),
    ]
    view.get_by_label("Conditional lines").check()
    found.append((dots(view, OTHER, ".now.lines"), (1 - s) * x0 + s * eps))
    for mine, theirs in found:
        assert np.abs(mine - theirs.numpy()).max() <= 0.0501 * 2 * LIMIT / 200 + 1e-6


@pytest.mark.parametrize("solver", ["ddim", "heun", "dpm_solver"])
@pytest.mark.parametrize("calls", [1, 8, 33])
def test_the_words_have_pythons_numbers(view: Page, solver: str, calls: int) -> None:
    view.get_by_label("Solver", exact=True).select_option(solver)
    slide(view, "Calls n", calls)
    python = Flow(solver=solver, calls=calls)
    plural = "" if python.used == 1 else "s"
    assert f"With {python.used} call{plural} in {python.steps} step" in words(view)
    found = re.search(
        r"ends ([\d.]+) from .* mean, ([\d.]+) at most\. The SDE ends ([\d.]+)", words(view)
    )
    assert found is not None
    sde = (python.sde.z[-1] - python.exact.z[-1]).norm(dim=1).mean().item()
    expected = python.off.mean().item(), python.off.max().item(), sde
    assert [float(v) for v in found.groups()] == pytest.approx(expected, rel=6e-3)


def test_play_walks_back_to_the_data(view: Page) -> None:
    slider = view.get_by_role("slider", name="Step t", exact=True)
    slide(view, "Step t", 40)
    button = view.get_by_role("button", name="Play")
    button.click()
    view.wait_for_function("document.querySelector('input[name=t]').value === '0'")
    view.get_by_role("button", name="Play").wait_for()  # it has stopped by itself
    button.click()  # from the noise again
    view.wait_for_function("+document.querySelector('input[name=t]').value > 500")
    view.get_by_role("button", name="Pause").click()
    assert int(slider.input_value()) > 100


def test_points_noise_and_lines(view: Page) -> None:
    for name in SETS:
        view.get_by_label("Points", exact=True).select_option(name)
        assert len(dots(view, EXACT, ".data")) == len(Flow(points=name)._sets[name]) / 2
    walked(view)
    start = drawn(view, EXACT, ".trail.exact")
    view.get_by_role("button", name="New noise").click()
    walked(view)
    assert drawn(view, EXACT, ".trail.exact") != start
    assert drawn(view, OTHER, ".trail.lines") == ""
    box = view.get_by_label("Conditional lines")
    box.focus()
    view.keyboard.press("Space")
    assert box.is_checked()
    assert drawn(view, OTHER, ".trail.sde") == ""
    assert drawn(view, OTHER, ".trail.lines").count("L") == 12  # straight, each
    assert "Straight lines" in widget(view).inner_text()
    view.keyboard.press("Space")
    assert drawn(view, OTHER, ".trail.sde") != ""


def test_words_are_spoken_and_squares_are_named(view: Page) -> None:
    view.get_by_role("slider", name="Calls n", exact=True).focus()
    view.keyboard.press("ArrowRight")
    assert "With 9 calls in 9 steps, DDIM ends" in (
        view.locator(".ddpm-spoken").text_content() or ""
    )
    for which in (EXACT, OTHER):
        assert len(square(view, which).get_attribute("aria-label") or "") > 60
    assert view.locator(".ddpm-flow [data-lm-suppress-shortcuts=true]").count() == 8


def test_a_choice_is_shown_at_once_and_its_long_ways_after_it(view: Page) -> None:
    """No frame comes while the page's own task runs, so what is seen in it is what came first."""
    before = drawn(view, EXACT, ".now.solver")
    busy, exact, sde, solver, said = view.evaluate(
        """async () => {
          const root = document.querySelector(".ddpm-flow");
          const chosen = root.querySelector("select[name=points]");
          chosen.selectedIndex = 0;
          chosen.dispatchEvent(new Event("change", { bubbles: true }));
          for (let i = 0; i < 9; i++) await null;
          const at = (name) => root.querySelector(`path${name}`).getAttribute("d");
          return [root.ariaBusy, at(".trail.exact"), at(".trail.sde"), at(".now.solver"),
            root.querySelector(".ddpm-words").textContent];
        }"""
    )
    assert (busy, exact, sde) == ("true", "", "")
    assert solver not in ("", before)
    assert said.endswith("The exact flow is being computed.")
    walked(view)
    assert drawn(view, EXACT, ".trail.exact") != ""
    assert drawn(view, OTHER, ".trail.sde") != ""
    assert "DDIM ends" in (view.locator(".ddpm-spoken").text_content() or "")


def test_it_fits_a_phone_and_can_be_touched(server: str, visit: Open) -> None:
    assert abs(tapped_on_a_phone(visit, f"{server}/{PAGE}", "Step t") - 800) < 40
