"""The Chromium that the browser tests drive; `python tests/browser.py` gets one where none is.

It ends with 1, and one line of what to type, where that cannot be done.
"""

import os
import shutil
import subprocess
import sys

from playwright.sync_api import Error, sync_playwright

# The first has no windows, and opens a page in half the time.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
ADVICE = (
    f"The browser tests need Chromium: apt-get install {NAMES[0]} (on Debian, as root), or "
    f"{sys.executable} -m playwright install chromium"
)


def find() -> str | None:
    """The path of a browser: the system's, or else playwright's own."""
    for name in NAMES:
        if path := shutil.which(name):
            return path
    try:
        with sync_playwright() as playwright:
            path = playwright.chromium.executable_path
    except Error:
        return None
    return path if os.path.exists(path) else None


def main() -> int:
    """Find a browser, or else try the ways to get one."""
    ways = [[sys.executable, "-m", "playwright", "install", "chromium"]]
    if shutil.which("apt-get") and os.geteuid() == 0:
        apt = ["apt-get", "install", "--yes", "--no-install-recommends"]
        ways += [[*apt, name] for name in NAMES[:2]]
    for way in ways:
        if find():
            return 0
        print("No Chromium yet:", *way, flush=True)
        subprocess.run(way, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if find():
        return 0
    print(ADVICE, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
