"""What a reader downloads and waits for: each page's weight, and the time to a live widget.

    python benchmarks/page.py [book/02-forward-process.html ...]

Serves _build/html on this machine, opens each page in headless Chromium with an empty cache, and
counts every byte it asks for, raw and as gzip would send it; figures far below are fetched when a
reader comes near them. Times are medians of 7 rounds. Last, what axe-core finds, light and dark.
With one page named, its largest files are listed too.
"""

import functools
import gzip
import http.server
import platform
import shutil
import statistics
import sys
import threading
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parents[1]
HTML = ROOT / "_build" / "html"
ROUNDS = 7
READY = "document.querySelector('.widget-host[data-ready]') && performance.now()"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None: ...


def first_load(browser: Browser, url: str) -> tuple[dict[str, bytes], float | None]:
    """What came by an empty cache, and the milliseconds to the first live widget, if any."""
    page = browser.new_context().new_page()
    bodies: dict[str, bytes] = {}

    def keep(response: Any) -> None:
        if response.url.startswith("http") and response.ok:
            bodies[response.url] = response.body()

    page.on("requestfinished", lambda request: keep(request.response()))
    page.goto(url)
    ready = None
    if page.locator("script[type$='widget-view+json']").count():
        ready = page.wait_for_function(READY).json_value()
    page.wait_for_load_state("networkidle")
    page.context.close()
    return bodies, ready


def findings(browser: Browser, url: str) -> int:
    """Of axe-core, light and dark together."""
    found = 0
    for scheme in ("light", "dark"):
        page = browser.new_context(color_scheme=scheme).new_page()  # type: ignore[arg-type]
        page.goto(url)
        page.wait_for_load_state("networkidle")
        found += len(Axe().run(page, options={"preload": False}).response["violations"])
        page.context.close()
    return found


def main() -> None:
    pages = sys.argv[1:] or sorted(str(p.relative_to(HTML)) for p in HTML.glob("book/*.html"))
    chromium = shutil.which("chromium")
    missing = [p for p in pages if not (HTML / p).exists()]
    if chromium is None or missing or not pages:
        sys.exit(f"needs Chromium and {missing or HTML}: apt-get install chromium; make book")
    handler = functools.partial(Quiet, directory=str(HTML))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        print(f"{platform.machine()}, Chromium {browser.version}, {ROUNDS} rounds")
        print(f"{'page':36} {'KB':>5} {'gzip':>5} {'requests':>8} {'widget, ms':>20} {'axe':>4}")
        for name in pages:
            url = f"http://127.0.0.1:{server.server_port}/{name}"
            rounds = [first_load(browser, url) for _ in range(ROUNDS + 1)]  # one to warm the disk
            sizes = {u: (len(b), len(gzip.compress(b, 6))) for u, b in rounds[-1][0].items()}
            raw, packed = (sum(pair[i] for pair in sizes.values()) / 1024 for i in (0, 1))
            times = sorted(ms for _, ms in rounds[1:] if ms is not None)
            wait = "-"
            if times:
                wait = f"{statistics.median(times):.0f} ({times[0]:.0f} to {times[-1]:.0f})"
            found = findings(browser, url)
            print(f"{name:36} {raw:5.0f} {packed:5.0f} {len(sizes):8} {wait:>20} {found:4}")
            if len(pages) == 1:
                for u, (size, small) in sorted(sizes.items(), key=lambda item: -item[1][1])[:8]:
                    file = u.rsplit("/", 1)[-1]
                    print(f"  {small / 1024:6.0f} KB gzipped of {size / 1024:6.0f}  {file}")
        browser.close()


if __name__ == "__main__":
    main()
