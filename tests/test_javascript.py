"""JavaScript modules put together, and that no file of JavaScript escapes the tools."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from ddpm_lite.javascript import ENGINE, as_function, as_module

ROOT = Path(__file__).parents[1]


def tracked() -> list[Path]:
    listed = ["git", "ls-files", "-z", "--", "*.js", "*.mjs", "*.cjs"]
    done = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True)
    return [Path(name) for name in done.stdout.split("\0") if name]


def written(folder: Path, **files: str) -> Path:
    """The files, and the path of the first."""
    for name, text in files.items():
        (folder / f"{name}.js").write_text(text)
    return folder / f"{next(iter(files))}.js"


def test_each_module_comes_once_and_after_what_it_imports(tmp_path: Path) -> None:
    first = written(
        tmp_path,
        widget='import { b } from "./b.js";\nimport { c as d } from "./c.js";\n'
        "export const e = b + d;\n",
        b='import { c } from "./c.js";\nconst own = 1;\nexport const b = own + c;\n',
        c="const own = 2;\nexport const c = own;\n",
    )
    assert as_module(first) == (
        "const $modules = {};\n"
        '$modules["c.js"] = (() => {\nconst own = 2;\nconst c = own;\nreturn { c };\n})();\n'
        '$modules["b.js"] = (() => {\nconst { c } = $modules["c.js"];\n'
        "const own = 1;\nconst b = own + c;\nreturn { b };\n})();\n"
        'const { b } = $modules["b.js"];\nconst { c: d } = $modules["c.js"];\n'
        "export const e = b + d;\n"
    )


def test_as_a_function_it_returns_its_exports(tmp_path: Path) -> None:
    first = written(tmp_path, one="export async function f() {}\nexport class G {}\n")
    assert as_function(first) == (
        '() => {\n"use strict";\nconst $modules = {};\n'
        '$modules["one.js"] = (() => {\nasync function f() {}\nclass G {}\n'
        "return { f, G };\n})();\n"
        'return $modules["one.js"];\n}'
    )


def test_comments_that_fill_lines_stay_behind(tmp_path: Path) -> None:
    text = (
        "// one\n/** two\n * lines */\n"
        "const a = /** @type {number} */ (1); // kept\n"
        'const b = "/* no comment */";\n  // three\n'
        "/** @type {number} */ (a).toFixed();\n"
    )
    assert as_module(written(tmp_path, a=text)) == (
        "const $modules = {};\nconst a = /** @type {number} */ (1); // kept\n"
        'const b = "/* no comment */";\n/** @type {number} */ (a).toFixed();\n'
    )


@pytest.mark.parametrize(
    ("files", "error", "says"),
    [
        (
            {"a": 'import { b } from "./b.js";\n'},
            FileNotFoundError,
            r"a\.js imports \./b\.js, and there is no such file",
        ),
        (
            {"a": 'import { x } from "./b.js";\n', "b": "export const y = 1;\n"},
            ValueError,
            r"a\.js imports 'x' of b\.js, which exports \['y'\]",
        ),
        (
            {
                "a": 'import { b } from "./b.js";\n',
                "b": 'import { c } from "./c.js";\nexport const b = 1;\n',
                "c": 'import { b } from "./b.js";\nexport const c = 1;\n',
            },
            ValueError,
            r"in a circle: b\.js -> c\.js -> b\.js",
        ),
        ({"a": 'import * as b from "./b.js";\n'}, ValueError, r"a\.js: .* got 'import \* as b"),
        ({"a": 'import b from "./b.js";\n'}, ValueError, r"a\.js: .* got 'import b from"),
        ({"a": 'import "./b.js";\n'}, ValueError, r"a\.js: .* got 'import \"\./b\.js\""),
        ({"a": 'import { b } from "three";\n'}, ValueError, r"a\.js: .* got 'import { b } from"),
        ({"a": "export let a = 1;\n"}, ValueError, r"a\.js: .* got 'export let a = 1;'"),
        ({"a": "export { a };\n"}, ValueError, r"a\.js: .* got 'export { a };'"),
        (
            {"a": 'import { c } from "./b.js";\n', "b": "export const c = 1;\nexport default c;\n"},
            ValueError,
            r"b\.js: .* got 'export default c;'",
        ),
    ],
)
def test_what_cannot_be_put_together_is_named(
    tmp_path: Path, files: dict[str, str], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        as_module(written(tmp_path, **files))


def test_the_engine_is_whole() -> None:
    """A worker is made from its text, so nothing of it may be imported."""
    text = as_function(ENGINE)
    assert not re.search(r"^(import|export)\b", text, re.M)
    assert "eps_theta" not in text
    assert text.count("function normals(") == text.count("function ddimStep(") == 1


@pytest.mark.parametrize("path", tracked(), ids=str)
def test_every_file_is_linted_formatted_and_type_checked(path: Path) -> None:
    for config, key in (("tsconfig.json", ()), ("biome.json", ("files",))):
        settings = json.loads((ROOT / config).read_text())
        for part in key:
            settings = settings[part]
        patterns = settings["include" if config == "tsconfig.json" else "includes"]
        reached = {p for pattern in patterns for p in ROOT.glob(pattern)}
        assert ROOT / path in reached, f"{path} is not among {patterns} of {config}"


def test_every_file_is_used() -> None:
    """By a widget, by the exported engine or by a page of the book."""
    texts = [p.read_text() for p in ROOT.glob("ddpm_lite/**/*.js")]
    texts += [p.read_text() for p in ROOT.glob("ddpm_lite/**/*.py")]
    texts += [p.read_text() for p in [ROOT / "_config.yml", *ROOT.glob("book/_ext/**/*.py")]]
    for path in tracked():
        assert any(f'{path.name}"' in t or f"{path.name}]" in t for t in texts), path


def test_the_tools_are_pinned() -> None:
    package = json.loads((ROOT / "package.json").read_text())
    lock = json.loads((ROOT / "package-lock.json").read_text())
    assert package["private"]
    assert "dependencies" not in package
    for name, version in package["devDependencies"].items():
        assert lock["packages"][f"node_modules/{name}"]["version"] == version
    for name, entry in lock["packages"].items():
        where = entry.get("resolved", "https://registry.npmjs.org/")
        assert where.startswith("https://registry.npmjs.org/"), name
        assert not name or "integrity" in entry, name
