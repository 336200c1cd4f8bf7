"""The built book in a headless browser, served and as files, with no network."""

import functools
import http.server
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from playwright.sync_api import Browser, Page, Request, Route, sync_playwright

from tests.browser import ADVICE, find

# Another build of the same book can be tested: tests/sphinx9.py does.
HTML = Path(os.environ.get("BOOK_HTML") or Path(__file__).parents[2] / "_build" / "html")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
]

# What opening a page costs most, and what a test that looks at something else can do without.
MATHEMATICS, FIGURES, CODE = "mathematics", "figures", "code"
LESS, TYPESET = (MATHEMATICS, FIGURES, CODE), (FIGURES, CODE)
HIGHLIGHTED = re.compile(r'<div class="highlight\b.*?</pre></div>', re.DOTALL)
EMPTY = '<svg xmlns="http://www.w3.org/2000/svg"/>'

ON_ITS_WAY: WeakKeyDictionary[Page, set[Request]] = WeakKeyDictionary()
PATIENCE = 120_000  # ms; where all cores are busy, frames may stay away for more than half a minute


@pytest.fixture(scope="session")
def site() -> Path:
    if not (HTML / "index.html").exists():
        pytest.fail("the book is not built: run make book")
    return HTML


@contextmanager
def served(site: Path, policy: str = "") -> Iterator[str]:
    """The address of the site, which a browser may be told to hold to a policy."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

        def end_headers(self) -> None:
            if policy:
                self.send_header("Content-Security-Policy", policy)
            super().end_headers()

    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


@pytest.fixture(scope="session")
def server(site: Path) -> Iterator[str]:
    with served(site) as address:
        yield address


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = find()
    if path is None:
        pytest.fail(ADVICE)
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=path, args=FLAGS)


@pytest.fixture(params=["served", "as a file"])
def base(request: pytest.FixtureRequest, server: str, site: Path) -> str:
    return server if request.param == "served" else site.as_uri()


Open = Callable[..., Page]


def left(request: Request) -> bool:
    """The icon comes when all else is there, and leaving the page in that moment cuts it off."""
    return request.url.endswith("favicon.svg") and request.failure == "net::ERR_ABORTED"


def no_code(route: Route) -> None:
    response = route.fetch()
    route.fulfill(response=response, body=HIGHLIGHTED.sub("", response.text()))


def quiet(page: Page) -> None:
    """Until half a second has passed with nothing on its way to the page.

    Of a page from a file, playwright's own "networkidle" does not come every time.
    """
    page.wait_for_load_state()
    since, start = time.monotonic(), time.monotonic()
    while time.monotonic() - since < 0.5:
        page.wait_for_timeout(50)
        if ON_ITS_WAY[page]:
            since = time.monotonic()
        if since - start > PATIENCE / 1000:
            pytest.fail(f"still on its way: {[r.url for r in ON_ITS_WAY[page]]}")


def typeset(page: Page) -> None:
    """Until the formulas of the page, if it has any, are typeset."""
    if page.locator(".math").count():
        page.wait_for_function("globalThis.MathJax?.startup?.promise")
        page.evaluate("MathJax.startup.promise.then(() => 0)")


def fits_a_phone(page: Page) -> None:
    """A formula that is not typeset yet may be wider than one that is."""
    typeset(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.fixture
def visit(browser: Browser) -> Iterator[Open]:
    """Open a page; on leaving, fail if it erred or asked for anything outside itself."""
    faults: list[str] = []
    contexts = []

    def open_page(
        url: str,
        width: int = 1280,
        scheme: Any = "light",
        without: tuple[str, ...] = (),
        **options: Any,
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, **options
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        if MATHEMATICS in without:
            context.route("**/mathjax/**", lambda r: r.fulfill(content_type="text/javascript"))
        if FIGURES in without:
            svg = {"content_type": "image/svg+xml", "body": EMPTY}
            context.route("**/_images/**", lambda r: r.fulfill(**svg))
        if CODE in without:
            context.route("http://**/*.html", no_code)
        page = context.new_page()
        asked = ON_ITS_WAY[page] = set()
        page.on("request", lambda r: asked.add(r))
        for end in ("requestfinished", "requestfailed"):
            page.on(end, lambda r: asked.discard(r))
        own = ("file:", "data:", "blob:", "http://127.0.0.1:")
        page.on("request", lambda r: r.url.startswith(own) or faults.append(f"asked for {r.url}"))
        page.on("requestfailed", lambda r: left(r) or faults.append(f"did not get {r.url}"))
        page.on(
            "response",
            lambda r: r.ok or r.status == 304 or faults.append(f"{r.status} for {r.url}"),
        )
        page.on("pageerror", lambda e: faults.append(f"error: {e}"))
        page.on(
            "console",
            # The warning about reading a canvas back is about these tests, not about the page.
            lambda m: (
                m.type not in ("error", "warning")
                or "willReadFrequently" in m.text
                or faults.append(f"console: {m.text}")
            ),
        )
        page.goto(url)
        return page

    yield open_page
    seen = list(faults)  # what closing a page cuts off is no fault
    for context in contexts:
        context.close()
    assert not seen


@pytest.fixture
def view(request: pytest.FixtureRequest, server: str, visit: Open) -> Page:
    """The PAGE of the module, once its first widget runs; test_pages.py opens it as a file too."""
    page = visit(f"{server}/{request.module.PAGE}", without=LESS)
    page.wait_for_selector(".widget-host[data-ready]")
    return page
