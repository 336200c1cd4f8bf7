"""The pages under a Content-Security-Policy: the one that CONTRIBUTING.md names, and a stricter."""

from pathlib import Path

from playwright.sync_api import Browser

from .conftest import Open, quiet, served

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'"
)


def test_contributors_read_of_the_same_policy() -> None:
    assert f"{POLICY}\n" in (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()


def test_a_widget_computes(site: Path, visit: Open) -> None:
    """And nothing is refused: that would be an error on the console, of which `visit` tells."""
    with served(site, POLICY) as server:
        page = visit(f"{server}/book/02-forward-process.html")
        host = page.locator(".widget-host[data-ready]").first
        host.wait_for()
        said = host.inner_text()
        host.get_by_role("slider").first.press("PageUp")
        assert host.inner_text() != said
        page.wait_for_function("document.querySelectorAll('mjx-container').length > 20")


def test_a_worker_draws(site: Path, visit: Open) -> None:
    with served(site, POLICY) as server:
        page = visit(f"{server}/book/intro.html")
        page.get_by_role("button", name="Draw eight digits").click()
        page.get_by_text("Step t = ").wait_for()


def test_a_question_is_checked_and_code_is_folded(site: Path, visit: Open) -> None:
    with served(site, POLICY) as server:
        page = visit(f"{server}/book/02-forward-process.html")
        question = page.locator("[data-question='2.1']")
        question.get_by_label("Your answer").fill("0.4")
        question.get_by_role("button", name="Check").click()
        assert question.get_by_role("status").inner_text().startswith("Right. ")
        page.get_by_label("Read without code").check()
        assert not page.locator(".cell_input").first.is_visible()
        quiet(page)


def test_where_a_widget_may_not_run_it_says_so(site: Path, browser: Browser) -> None:
    with served(site, POLICY.replace(" blob:", "")) as server:
        page = browser.new_page()
        page.goto(f"{server}/book/02-forward-process.html")
        page.get_by_text("This widget could not start in your browser").wait_for()
        assert page.locator(".widget-host[data-ready]").count() == 0
        page.close()
