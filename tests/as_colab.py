"""Run chapters as Colab does: an empty folder, torch and Jupyter, and not one package of ours.

    python tests/as_colab.py [--bounds oldest|newest] [CHAPTER.ipynb ...]

Makes a new environment with torch, ipykernel and the packages that Colab has, at the oldest or
newest version that pyproject.toml admits. The first cell of each chapter then installs the
package from a git address, which is this clone's. Fails if a cell fails, if that cell takes more
than a minute or does not say which device it found, or if a package in KEPT has changed.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
THERE = ("numpy", "matplotlib", "ipywidgets", "scikit-learn", "einops", "safetensors", "tqdm")
KEPT = ("torch", "numpy", "matplotlib", "ipywidgets", "ipykernel")  # are not to be touched
LIMIT = 60

# In the new environment: run one notebook in the folder it stands in; the seconds of its first
# cell, which installs the package, and of the rest; then the first again, as after a restart.
RUNNER = """
import json, sys, time, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
seconds = []
client = NotebookClient(notebook, timeout=900, kernel_name="python3")
with client.setup_kernel():
    for i, cell in enumerate(notebook.cells):
        start = time.perf_counter()
        client.execute_cell(cell, i)
        seconds.append(time.perf_counter() - start)
again = NotebookClient(notebook, timeout=900, kernel_name="python3")
with again.setup_kernel():
    again.execute_cell(notebook.cells[0], 0)
said = "".join(o.get("text", "") for o in notebook.cells[0].outputs)
print(json.dumps([seconds[0], sum(seconds[1:]), said]))
"""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("chapters", nargs="*", type=Path)
    parser.add_argument("--bounds", choices=("oldest", "newest"), default="newest")
    options = parser.parse_args()
    chapters = options.chapters or sorted((ROOT / "book").glob("[0-9][0-9]-*.ipynb"))
    with tempfile.TemporaryDirectory() as folder:
        python = environment(Path(folder) / "venv", options.bounds)
        before = versions(python)
        print(f"{options.bounds}: " + ", ".join(f"{n} {before[n]}" for n in ("torch", *THERE)))
        failed = []
        for chapter in chapters:
            empty = Path(folder) / chapter.stem
            empty.mkdir()
            shutil.copy(chapter, empty)
            uninstall = [python, "-m", "pip", "uninstall", "-qy", "ddpm-lite"]
            subprocess.run(uninstall, check=True, env=as_git(), stderr=subprocess.DEVNULL)
            run = [python, "-c", RUNNER, chapter.name]
            done = subprocess.run(run, cwd=empty, env=as_git(), capture_output=True, text=True)
            result = done.stdout.splitlines()[-1] if done.returncode == 0 else "[0, 0, null]"
            seconds, took, note = json.loads(result)
            after = versions(python)
            moved = [n for n in KEPT if after.get(n) != before[n]]
            bad = done.returncode or moved or seconds > LIMIT or not note
            changed = f"; changed {', '.join(moved)}" if moved else ""
            print(
                f"{chapter.name}: install {seconds:.0f} s, chapter {took:.0f} s{changed}; {note}",
                flush=True,
            )
            if bad:
                failed.append(chapter.name)
                print(done.stderr[-3000:])
    if failed:
        print("Failed: " + ", ".join(failed))
    return 1 if failed else 0


def environment(folder: Path, bounds: str) -> Path:
    """A new one, with torch and Jupyter, and what else Colab has at these bounds."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = []
    for requirement in project["dependencies"]:
        name = re.split(r"[<>=!~ ]", requirement)[0]
        if name in THERE:
            oldest = re.sub(r">=([\w.]+).*", r"==\1", requirement)
            wanted.append(oldest if bounds == "oldest" else requirement)
    torch = re.search(r"^torch==\S+", (ROOT / "requirements.txt").read_text(), re.M)
    assert torch is not None
    pip = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    subprocess.run([*pip, torch[0], "ipykernel", "nbclient", *wanted], check=True)
    return python


def versions(python: Path) -> dict[str, str]:
    listed = [python, "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"]
    found = json.loads(subprocess.run(listed, check=True, capture_output=True).stdout)
    return {p["name"]: p["version"] for p in found if p["name"] != "ddpm-lite"}


def as_git() -> dict[str, str]:
    """An environment in which git finds this clone behind the published address."""
    config = (ROOT / "_config.yml").read_text()
    url = re.search(r"^  url: (\S+)", config, re.M)
    assert url is not None
    return os.environ | {
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": f"url.file://{ROOT}.insteadOf",
        "GIT_CONFIG_VALUE_0": url[1],
        "GIT_CONFIG_KEY_1": "safe.directory",
        "GIT_CONFIG_VALUE_1": "*",
    }


if __name__ == "__main__":
    sys.exit(main())
