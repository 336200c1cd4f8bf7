"""Build the package as a release brings it, and try the wheel in an empty environment.

    python tests/as_released.py [--tag v1.2.3] [--out dist]

Fails, and says what is wrong, if the tag is not the package's version, if a file that states the
version states another, if the wheel lacks a file of the package or has one more, or if what it
installs does not import, load its weights and answer `ddpm-lite info`. What has passed is left in
the folder: source archive, wheel, and NOTES.md, the changelog's section.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
BACKEND = (
    "import sys; from setuptools import build_meta; "
    "print(getattr(build_meta, 'build_' + sys.argv[1])(sys.argv[2]))"
)
PIP = ("-m", "pip", "install", "-qq", "--disable-pip-version-check")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tag", help="what the release is tagged; v and the version")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    options = parser.parse_args()
    wrong = disagreements(options.tag)
    if wrong:
        print("\n".join(wrong))
        return 1
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        sdist, wheel = build(environment(place / "builder", pinned("setuptools")), place)
        have, want = contents(wheel), tracked("ddpm_lite")
        kinds = Counter(Path(name).suffix for name in have)
        counted = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common())
        print(f"{wheel.name}: {counted}", flush=True)
        if have != want:
            print(f"The wheel lacks {sorted(want - have)} and has {sorted(have - want)} besides")
            return 1
        attempt(wheel, place)
        options.out.mkdir(parents=True, exist_ok=True)
        for path in (sdist, wheel):
            shutil.copy(path, options.out)
        (options.out / "NOTES.md").write_text(section(version())[1])
        print(f"In {options.out}: {sdist.name}, {wheel.name}, NOTES.md")
    return 0


def version() -> str:
    return stated("ddpm_lite/_version.py", r'^__version__ = "(.+)"')


def stated(name: str, pattern: str) -> str:
    """What a file says, or "nothing"."""
    found = re.search(pattern, (ROOT / name).read_text(), re.M)
    return found[1] if found else "nothing"


def section(release: str) -> tuple[str, str]:
    """The date of a release in the changelog, and what is written below it."""
    pattern = rf"^## {re.escape(release)} - (\S+)\n\n(.*?)(?=^## |\Z)"
    found = re.search(pattern, (ROOT / "CHANGELOG.md").read_text(), re.M | re.S)
    return (found[1], found[2]) if found else ("nothing", "")


def disagreements(tag: str | None = None) -> list[str]:
    """Every place that states another version, or another date, than the package."""
    release = version()
    cited = stated("CITATION.cff", r"^version: (\S+)")
    shown = stated("book/intro.md", r"Version (\S+)\.$")
    cited_date, date = stated("CITATION.cff", r"^date-released: (\S+)"), section(release)[0]
    wrong = []
    if tag is not None and tag != f"v{release}":
        wrong.append(f"The tag is {tag}, but ddpm_lite/_version.py has {release}: tag v{release}")
    if cited != release:
        wrong.append(f"CITATION.cff says version {cited}, but ddpm_lite/_version.py has {release}")
    if shown != release:
        wrong.append(f"book/intro.md says version {shown}, but ddpm_lite/_version.py has {release}")
    if date == "nothing":
        wrong.append(f"CHANGELOG.md has no section ## {release} - YYYY-MM-DD")
    elif date != cited_date:
        wrong.append(f"CHANGELOG.md dates {release} {date}, but CITATION.cff {cited_date}")
    return wrong


def tracked(folder: str) -> set[str]:
    listed = ["git", "ls-files", "--", folder]
    done = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True)
    return set(done.stdout.splitlines())


def build(python: Path, place: Path) -> tuple[Path, Path]:
    """A source archive of what git tracks, and the wheel built from that archive alone."""
    source = place / "source"
    for name in tracked("."):
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())

    def run(what: str, folder: Path) -> Path:
        command = [python, "-c", BACKEND, what, str(place)]
        done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        return place / done.stdout.split()[-1]

    sdist = run("sdist", source)
    with tarfile.open(sdist) as archive:
        archive.extractall(place / "unpacked", filter="data")
    (unpacked,) = (place / "unpacked").iterdir()
    return sdist, run("wheel", unpacked)


def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def attempt(wheel: Path, place: Path) -> None:
    """What a user does first, where nothing of ours is near."""
    # The pinned torch first: by itself pip would look for the newest one, CUDA and all.
    python = environment(place / "user", pinned("torch"))
    subprocess.run([python, *PIP, wheel], check=True)
    where = "import ddpm_lite; print(ddpm_lite.__version__, ddpm_lite.__file__)"
    command = python.with_name("ddpm-lite")
    for words in ([python, "-c", where], [command, "info"], [python, "-m", "pip", "check"]):
        subprocess.run(words, cwd=place, check=True)
    # The shipped weights load; what they say of themselves is long.
    subprocess.run([command, "info", "digits"], cwd=place, check=True, stdout=subprocess.DEVNULL)


def environment(folder: Path, *requirements: str) -> Path:
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([python, *PIP, *requirements], check=True)
    return python


def pinned(name: str) -> str:
    return stated("requirements.txt", rf"^({name}==\S+)")


if __name__ == "__main__":
    sys.exit(main())
