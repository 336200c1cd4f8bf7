"""What a reader downloads and waits for: a built page's weight, and the time to a live widget.

    python benchmarks/page.py [book/02-forward-process.html]

Serves _build/html on this machine, opens the page in headless Chromium with an empty cache,
and counts every byte it asks for, raw and as gzip would send it. Medians of 7 rounds.
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

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
HTML = ROOT / "_build" / "html"
ROUNDS = 7
READY = "document.querySelector('.widget-host[data-ready]') && performance.now()"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None: ...


def main() -> None:
    page_path = sys.argv[1] if len(sys.argv) > 1 else "book/02-forward-process.html"
    chromium = shutil.which("chromium")
    if chromium is None or not (HTML / page_path).exists():
        sys.exit(f"needs Chromium and {page_path}: apt-get install chromium; make book")
    handler = functools.partial(Quiet, directory=str(HTML))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    times, sizes = [], {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        for _ in range(ROUNDS + 1):  # the first warms the disk
            page = browser.new_context().new_page()
            bodies: dict[str, bytes] = {}

            def keep(response: Any, bodies: dict[str, bytes] = bodies) -> None:
                if response.url.startswith("http") and response.ok:
                    bodies[response.url] = response.body()

            page.on("requestfinished", lambda request: keep(request.response()))
            page.goto(f"http://127.0.0.1:{server.server_port}/{page_path}")
            if page.locator("script[type$='widget-view+json']").count():
                times.append(page.wait_for_function(READY).json_value())
            page.wait_for_load_state("networkidle")
            sizes = {url: (len(b), len(gzip.compress(b, 6))) for url, b in bodies.items()}
            page.context.close()
        version = browser.version
        browser.close()
    raw, packed = (sum(pair[i] for pair in sizes.values()) / 1024 for i in (0, 1))
    print(f"{page_path}: {raw:.0f} KB in {len(sizes)} requests, {packed:.0f} KB gzipped")
    if times:
        rounds = sorted(times[1:])
        span = f"{rounds[0]:.0f} to {rounds[-1]:.0f}"
        print(f"a live widget after {statistics.median(rounds):.0f} ms ({span})")
    for url, (size, small) in sorted(sizes.items(), key=lambda item: -item[1][1])[:8]:
        print(f"  {small / 1024:6.0f} KB gzipped of {size / 1024:6.0f}  {url.rsplit('/', 1)[-1]}")
    print(f"{platform.machine()}, Chromium {version}, {ROUNDS} rounds")


if __name__ == "__main__":
    main()
