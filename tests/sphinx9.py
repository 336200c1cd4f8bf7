"""Build the book with Sphinx 9 and without Jupyter Book, and look at it in a browser.

    python tests/sphinx9.py [--only-build]

Jupyter Book 1 holds Sphinx at 7, and will go on doing so. Should it have to go, this is the way
out, kept open: an environment from requirements.txt with what tests/sphinx9.txt has instead;
conf.py, written from _config.yml by Jupyter Book's own converter; every chapter executed, warnings
as errors; and the browser tests of tests/book against what came out. Run by the project's .venv,
which has the converter and the browser tests. All of it stays in _build/sphinx9, where a second
run finds the environment and the executed chapters again.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACE = ROOT / "_build" / "sphinx9"
LEFT_OUT = "jupyter-book"
PIP = ("-m", "pip", "install", "-q", "--disable-pip-version-check")

# The converter leaves to Jupyter Book where our extension is, and paths are relative to conf.py.
CONF = """
import sys
from pathlib import Path

root = Path({root!r})
sys.path.insert(0, str(root / "book/_ext"))
extensions.remove("jupyter_book")
html_logo, html_favicon = str(root / html_logo), str(root / html_favicon)
html_static_path = [str(root / path) for path in html_static_path]
bibtex_bibfiles = [str(root / path) for path in bibtex_bibfiles]
"""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only-build", action="store_true", help="without the browser tests")
    options = parser.parse_args()
    PLACE.mkdir(parents=True, exist_ok=True)
    python = environment(PLACE / "venv")
    configure()
    html = PLACE / "html"
    start = time.perf_counter()
    build = ("-m", "sphinx", "-b", "html", "-W", "-n", "--keep-going", "-c", PLACE, ".", html)
    alone = os.environ | {"OMP_NUM_THREADS": "1"}  # as in `make strict`
    subprocess.run([python, *build], cwd=ROOT, check=True, env=alone)
    print(f"Built in {time.perf_counter() - start:.0f} s", flush=True)
    # The browser tests look at the pages that are there.
    pages = re.findall(r"(?:root|file): (\S+)", (ROOT / "_toc.yml").read_text())
    missing = [page for page in pages if not (html / f"{page}.html").exists()]
    if missing:
        print("Not built: " + ", ".join(missing))
        return 1
    if options.only_build:
        return 0
    tests = ("-m", "pytest", "-n", "logical", "--dist", "worksteal", "tests/book")
    there = alone | {"BOOK_HTML": str(html)}
    return subprocess.run([sys.executable, *tests], cwd=ROOT, env=there).returncode


def pins() -> str:
    """requirements.txt, with what tests/sphinx9.txt has instead, and without Jupyter Book."""
    found: dict[str, str] = {}
    for file in ("requirements.txt", "tests/sphinx9.txt"):
        for name, version in re.findall(r"^([\w.-]+)==(\S+)", (ROOT / file).read_text(), re.M):
            found[re.sub("[_.]", "-", name.lower())] = version
    del found[LEFT_OUT]
    return "".join(f"{name}=={version}\n" for name, version in found.items())


def environment(folder: Path) -> Path:
    """The one that is there, if it has these pins; or a new one, torch first as `make install`."""
    python, wanted, stamp = folder / "bin" / "python", pins(), folder / "pins.txt"
    if not stamp.exists() or stamp.read_text() != wanted:
        venv.create(folder, clear=True, with_pip=True)
        listed = folder / "wanted.txt"
        listed.write_text(wanted)
        torch = re.search(r"^torch==\S+", wanted, re.M)
        assert torch is not None
        for what in ([torch[0]], ["-r", listed], ["--no-deps", "--editable", ROOT]):
            subprocess.run([python, *PIP, *what], check=True)
        subprocess.run([python, "-m", "pip", "check"], check=True)
        listed.rename(stamp)  # only once everything is installed
    return python


def configure() -> None:
    """conf.py beside a copy of _config.yml: none lies in the repository, to be out of date."""
    copy = PLACE / "_config.yml"
    shutil.copy(ROOT / "_config.yml", copy)
    converter = Path(sys.executable).with_name("jupyter-book")
    command = [converter, "config", "sphinx", ".", "--config", copy]
    subprocess.run(command, cwd=ROOT, check=True)
    with (PLACE / "conf.py").open("a") as conf:
        conf.write(CONF.format(root=str(ROOT)))


if __name__ == "__main__":
    sys.exit(main())
