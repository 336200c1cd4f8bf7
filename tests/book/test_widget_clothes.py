"""Clothes on request, on the built page: what Python draws, guided, and nothing that stutters."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page

from ddpm_lite import load
from ddpm_lite.runs.export import float16_weights
from ddpm_lite.widgets import Clothes
from ddpm_lite.widgets.sampler import LabelledFrame, walk

from .conftest import LESS, Open, fits_a_phone, quiet, served
from .test_access import OPTIONS, settled, told
from .test_policy import POLICY
from .test_widget_sampler import IN_A_NOTEBOOK
from .widgets import Answering

PAGE = "book/13-after-ddpm.html"
BOOT, BAG = 9, 8


@pytest.fixture
def bare(browser: Browser) -> Iterator[Page]:
    """A page on which things are made to fail."""
    page = browser.new_page()
    yield page
    page.close()


def ready(page: Page) -> Page:
    page.locator(".ddpm-clothes").wait_for()
    return page


def ours(page: Page) -> Locator:
    return page.locator(".ddpm-clothes")


def until(page: Page, text: str) -> str:
    """Wait for the words below to begin so."""
    page.wait_for_function(
        """(text) => document.querySelector(".ddpm-clothes .ddpm-words")
        .textContent.startsWith(text)""",
        arg=text,
    )
    return ours(page).locator(".ddpm-words").inner_text()


def shown(page: Page, where: str = ".ddpm-panels:not(.ddpm-strip)") -> torch.Tensor:
    """[pictures, 28, 28] of grey levels."""
    data = page.evaluate(
        """(where) => [...document.querySelectorAll(`.ddpm-clothes ${where} canvas[role=img]`)]
        .map((c) => [...c.getContext("2d").getImageData(0, 0, 28, 28).data])""",
        where,
    )
    return torch.tensor(data).view(-1, 28, 28, 4)[..., 0]


def grey(x: torch.Tensor) -> torch.Tensor:
    return (127.5 * (x.view(28, 28) + 1)).clamp(0, 255)


def asked(page: Page, **choices: str) -> None:
    """Choose, and draw in five steps."""
    ours(page).get_by_role("slider", name="Steps").fill("2")
    for name, value in choices.items():
        control = ours(page).locator(f"[name={name}]")
        if control.evaluate("(node) => node.tagName") == "SELECT":
            control.select_option(value)
        else:
            control.fill(value)
    ours(page).locator(".ddpm-play").click()
    until(page, "Done: ")


@cache
def network() -> Any:
    model, diffusion = load("fashion")
    return float16_weights(model), diffusion


def frames(**settings: Any) -> list[LabelledFrame]:
    made = list(walk(*network(), 1, **settings))
    assert all(isinstance(frame, LabelledFrame) for frame in made)
    return made  # type: ignore[return-value]


def test_it_draws_what_python_draws(base: str, visit: Open) -> None:
    """Through button, script, worker, WebAssembly and canvas; as a file too."""
    page = ready(visit(f"{base}/{PAGE}", without=LESS))
    asked(page, label=str(BAG), scale="3")
    assert "without WebAssembly" not in until(page, "Done: 1 image in 5 steps in your browser, ")
    expected = frames(steps=5, label=BAG, scale=3.0)
    assert (shown(page)[0] - grey(expected[-1].xt)).abs().max() <= 1
    slider = ours(page).get_by_role("slider", name="Look at t")
    for stop in (1, 3):
        slider.fill(str(stop))
        frame = expected[stop]
        until(page, f"At t = {frame.t}, stop {stop} of 5")
        difference = 5 * (frame.eps_label - frame.eps_none)
        parts = (frame.xt, frame.x0_hat, frame.eps_label, frame.eps_none, difference)
        for part, picture in zip(parts, shown(page), strict=True):
            assert (picture - grey(part)).abs().max() <= 1
        assert grey(difference).std() > 5
    ours(page).locator("[name=label]").select_option(label="Ankle boot")
    assert until(page, "The settings changed")


def test_the_same_start_at_four_scales(base: str, visit: Open) -> None:
    page = ready(visit(f"{base}/{PAGE}", without=LESS))
    ours(page).get_by_role("slider", name="Steps").fill("2")
    ours(page).get_by_role("button", name="Compare scales 0, 1, 2, 4").click()
    assert "asked for: Ankle boot" in until(page, "One start at four scales")
    pictures = shown(page, ".ddpm-strip")
    for picture, scale in zip(pictures, (0.0, 1.0, 2.0, 4.0), strict=True):
        end = frames(steps=5, label=BOOT, scale=scale)[-1]
        assert (picture - grey(end.xt)).abs().max() <= 1
    said = ours(page).locator(".ddpm-strip canvas").last.get_attribute("aria-label")
    assert said == "What was drawn at scale 4, asked for: Ankle boot."


def test_a_drawing_comes_back_as_what_was_asked_for(server: str, visit: Open) -> None:
    """Drawn by keys, noised to t = 600, and brought back: what Python brings back."""
    page = ready(visit(f"{server}/{PAGE}", without=LESS))
    ours(page).locator("[name=start]").select_option("drawing")
    pad = ours(page).get_by_role("application")
    pad.focus()
    for key in ("Space", *["ArrowRight", "Space"] * 4, *["ArrowDown", "Space"] * 3):
        page.keyboard.press(key)
    drawing = torch.tensor(
        page.evaluate(
            "[...ddpmWidgets.values()].find((e) => e.model.get('scale')).model.get('drawing')"
        )
    ).view(1, 28, 28)
    assert (drawing > 0).sum() >= 8
    asked(page, t_start="600", label=str(BOOT))
    expected = frames(steps=5, label=BOOT, scale=2.0, drawing=drawing, t_start=600)
    assert (shown(page)[0] - grey(expected[-1].xt)).abs().max() <= 1


def test_the_network_is_loaded_once_and_when_asked_for(server: str, visit: Open) -> None:
    """As one script, of which another chain is drawn as well."""
    page = visit(f"{server}/{PAGE}", without=LESS)
    loaded: list[int] = []
    page.on("response", lambda r: "models/" in r.url and loaded.append(len(r.body())))
    ready(page)
    quiet(page)
    assert not page.evaluate("'ddpmModels' in window")
    assert not loaded
    asked(page)
    ours(page).get_by_role("button", name="New noise").click()
    until(page, "Done: ")
    assert len(loaded) == 1
    assert loaded[0] < 3_000_000


def test_under_a_policy_without_webassembly_it_draws_the_same(site: Any, bare: Page) -> None:
    """And says that it does so without; the policy that CONTRIBUTING names lets it compile."""
    drawn = []
    for policy, slower in ((POLICY, False), (POLICY.replace(" 'wasm-unsafe-eval'", ""), True)):
        with served(site, policy) as address:
            bare.goto(f"{address}/{PAGE}")
            ready(bare)
            asked(bare, label=str(BAG))
            said = until(bare, "Done: 1 image in 5 steps in your browser")
            assert ("without WebAssembly, which this page may not use" in said) == slower
            drawn.append(shown(bare)[0])
    assert (drawn[0] - drawn[1]).abs().max() <= 1


def test_on_a_phone(server: str, visit: Open) -> None:
    phone: dict[str, Any] = {"width": 390, "has_touch": True, "is_mobile": True}
    page = visit(f"{server}/{PAGE}", scheme="dark", **phone)
    ready(page)
    ours(page).locator("[name=start]").select_option("drawing")
    fits_a_phone(page)
    for control in ours(page).locator("button, select, input").all():
        box = control.bounding_box()
        assert box is None or box["height"] >= 24  # a finger's width
        assert box is None or control.evaluate(
            "(node) => node.labels?.length || node.textContent.trim()"
        )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_what_was_drawn(server: str, visit: Open, scheme: str) -> None:
    page = ready(visit(f"{server}/{PAGE}", without=LESS, scheme=scheme))
    ours(page).locator("[name=start]").select_option("drawing")
    ours(page).get_by_role("slider", name="Steps").fill("1")
    ours(page).get_by_role("button", name="Compare").click()
    until(page, "One start at four scales")
    asked(page)
    settled(page)
    found = Axe().run(page, ".ddpm-clothes", options=OPTIONS).response["violations"]
    assert not found, "\n".join(map(told, found))


class Kernel(Answering, Clothes):
    """The Python side."""


def test_in_a_notebook_pytorch_draws(server: str, visit: Open) -> None:
    page = ready(visit(f"{server}/{PAGE}", without=LESS))
    kernel = Kernel(steps=2, seed=3, label="Bag")
    page.expose_function("kernel", kernel.answer)
    page.evaluate(IN_A_NOTEBOOK, {"steps": 2, "seed": 3, "label": BAG})
    notebook = page.locator("#notebook")
    notebook.locator(".ddpm-play").click()
    notebook.get_by_text("Done: 1 image in 2 steps by PyTorch on the CPU").first.wait_for()
    assert (shown(page)[0] - grey(list(kernel.walk())[-1].xt)).abs().max() <= 1
    notebook.get_by_role("button", name="Compare").click()
    notebook.get_by_text("One start at four scales").first.wait_for()
    last = list(kernel.walk(4.0))[-1].xt
    pictures = shown(page, ".ddpm-strip")[:4]
    assert (pictures[3] - grey(last)).abs().max() <= 1


# --- pages that bring it when asked ---------------------------------------------------------------

LANDING = "book/intro.html"


@pytest.mark.parametrize("where", [LANDING, "book/09-sampling.html"])
def test_a_page_has_it_when_asked(where: str, base: str, visit: Open) -> None:
    """One button; until it is pressed nothing of the widget or its network is there."""
    page = visit(f"{base}/{where}", without=LESS)
    page.wait_for_selector(".quiet-widget button")
    assert not page.evaluate("'ddpmQuiet' in window || 'ddpmModels' in window")
    assert page.locator(".ddpm-clothes").count() == 0
    page.locator(".quiet-widget button").press("Enter")
    page.locator(".ddpm-clothes .ddpm-play:focus").wait_for()
    said = until(page, "Done: 1 image in 25 steps in your browser")
    assert "seconds" in said
    end = frames(steps=25, label=BOOT, scale=2.0)[-1].xt
    assert (shown(page)[0] - grey(end)).abs().max() <= 1


def test_the_landing_page_says_that_the_widget_is_missing(server: str, bare: Page) -> None:
    bare.route("**/widgets/*", lambda route: route.abort())
    bare.goto(f"{server}/{LANDING}")
    button = bare.locator(".quiet-widget button")
    button.click()
    fault = "It could not be loaded. Are you connected? Press the button to try again."
    bare.locator(".quiet-widget").get_by_text(fault).wait_for()
    bare.unroute("**/widgets/*")
    button.click()
    ready(bare)


def test_the_page_reads_nothing_of_the_network(server: str, visit: Open) -> None:
    """A worker loads it, so that the page does not stutter."""
    page = ready(visit(f"{server}/{PAGE}", without=LESS))
    asked(page)
    assert not page.evaluate("window.ddpmModels?.fashion")
