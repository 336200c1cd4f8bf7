"""Every page: quiet, self-contained, legible at any width and in both themes."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from .conftest import CODE, HTML, LESS, MATHEMATICS, Open, fits_a_phone, quiet

PAGES = sorted(str(p.relative_to(HTML)) for p in [*HTML.glob("book/*.html"), HTML / "search.html"])
CHAPTERS = [p for p in PAGES if Path(p).name[:2].isdigit()]


def test_there_are_pages() -> None:
    assert len(CHAPTERS) >= 2, "the book is not built: run make book"


@pytest.mark.parametrize("page", PAGES)
def test_no_error_nothing_from_outside_and_mathematics_typeset(
    page: str, base: str, visit: Open
) -> None:
    view = visit(f"{base}/{page}")
    quiet(view)
    assert page == "search.html" or view.locator("article h1").count() == 1
    assert (page == "search.html") == bool(view.locator("script[src*=searchindex]").count())
    assert view.locator("article img:not([alt])").count() == 0
    if page in CHAPTERS:
        view.wait_for_function("document.querySelectorAll('mjx-container').length > 20")
        assert view.locator("mjx-merror").count() == 0
        assert "{eq}" not in view.locator("main").inner_text()
    if not view.locator("script[src*=mathjax]").count():
        assert "\\(" not in view.locator("body").inner_text()
    for host in view.locator(".widget-host").all():
        ready = host.and_(view.locator("[data-ready]"))
        ready.wait_for()
        slider = ready.locator("input[type=range]:not([disabled]):visible").first
        slider.focus()
        said = ready.inner_text()
        view.keyboard.press("PageUp")
        if ready.inner_text() == said:  # it was at its end
            view.keyboard.press("PageDown")
        assert ready.inner_text() != said


@pytest.mark.parametrize("page", PAGES)
def test_a_phone_scrolls_down_only(page: str, server: str, visit: Open) -> None:
    view = visit(f"{server}/{page}", width=390)
    quiet(view)
    fits_a_phone(view)
    room = "e.closest('div.math').clientWidth"
    wide = f"all => all.filter(e => e.scrollWidth > {room} + 1).map(e => e.textContent)"
    found = view.locator("div.math mjx-container").evaluate_all(wide)
    assert found == [], "a displayed equation is wider than a phone"


@pytest.mark.parametrize("page", CHAPTERS)
def test_figures_have_a_caption_and_follow_the_theme(page: str, server: str, visit: Open) -> None:
    view = visit(f"{server}/{page}", without=(MATHEMATICS, CODE))
    for scheme, shown, hidden in (("light", "light", "dark"), ("dark", "dark", "light")):
        view.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        view.wait_for_selector(f"html[data-theme={scheme}]")
        count = view.locator(f"figure img.figure-{shown}").count()
        assert count >= 2
        assert count == view.locator(f"figure img.figure-{hidden}").count()
        captions = view.locator("figure:has(img.figure-light) figcaption")
        assert captions.count() == count
        for i in range(count):
            captions.nth(i).scroll_into_view_if_needed()  # images load when they come near
            view.locator(f"figure img.figure-{shown}").nth(i).wait_for(state="visible")
            assert not view.locator(f"figure img.figure-{hidden}").nth(i).is_visible()
            assert captions.nth(i).is_visible()
            assert captions.nth(i).inner_text().startswith("Fig. ")


def test_docstrings_link_to_equations(server: str, visit: Open) -> None:
    view = visit(f"{server}/book/api.html")
    link = view.locator("#ddpm_lite\\.forward\\.ForwardProcess\\.q_step + dd a.reference").first
    assert "02-forward-process.html#equation-eq-q-step" in (link.get_attribute("href") or "")


@pytest.mark.parametrize("page", CHAPTERS)
def test_colab_button_opens_the_chapter(page: str) -> None:
    links = re.findall(
        r'href="(https://colab\.research\.google\.com[^"]*)"', (HTML / page).read_text()
    )
    assert links
    assert links[0].endswith(page.replace(".html", ".ipynb"))


def test_search_finds_words(base: str, visit: Open) -> None:
    view = visit(f"{base}/search.html?q=shrunk")
    view.wait_for_selector("#search-results li a")
    assert "forward process" in view.locator("#search-results").inner_text().lower()


def test_solutions_are_folded(server: str, visit: Open) -> None:
    view = visit(f"{server}/book/02-forward-process.html")
    solution = view.locator("text=def jump_solution").first
    assert not solution.is_visible()
    view.get_by_text("Show the solution").first.click()
    assert solution.is_visible()


WITH_WIDGETS = [p for p in CHAPTERS if "widget-view+json" in (HTML / p).read_text()]


@pytest.mark.parametrize("page", WITH_WIDGETS)
def test_a_still_stands_in_for_each_widget(
    page: str, server: str, browser: Browser, visit: Open
) -> None:
    """Without JavaScript and in print; on the screen the widget takes its place."""
    view = browser.new_page(java_script_enabled=False)
    view.goto(f"{server}/{page}")
    stills = view.locator(".widget-still img.figure-light")
    count = stills.count()
    assert count == view.locator("script[type='application/vnd.jupyter.widget-view+json']").count()
    for still in stills.all():
        assert still.is_visible()
        assert len(still.get_attribute("alt") or "") > 40
    view.close()

    view = visit(f"{server}/{page}", without=LESS)
    view.wait_for_function(
        f"document.querySelectorAll('.widget-host[data-ready]').length === {count}"
    )
    assert shown(view, ".widget-still") == ["none"] * count
    view.emulate_media(media="print")
    assert shown(view, ".widget-still") == ["block"] * count
    assert shown(view, ".widget-host") == ["none"] * count


def test_a_page_of_prose_brings_its_own_widget_alone(server: str, browser: Browser) -> None:
    """And none that another page has made, nor one that waits to be asked for."""
    view = browser.new_page()
    view.goto(f"{server}/book/intro.html")
    view.wait_for_selector(".widget-host[data-ready]")
    brought = view.evaluate(
        "[...ddpmWidgets.entries()].filter(([, e]) => e.model.get('_esm')).map(([id]) => id)"
    )
    view.close()
    assert brought == ["live-forwardprocess"]


def shown(view: Page, what: str) -> list[str]:
    return view.evaluate(
        "what => [...document.querySelectorAll(what)].map((e) => getComputedStyle(e).display)", what
    )
