"""Modules of JavaScript as one text, so that neither a notebook nor a page needs a build step.

A browser is handed one text: a widget's module travels in the widget's state, and a worker is made
from a function's text. So each file that is imported becomes a function, called once, that returns
what the file exports. Two files may then use the same private name. Comments that fill whole lines
are left out, for they are not for the browser.
"""

import re
from os.path import relpath
from pathlib import Path

__all__ = ["as_function", "as_module"]

IMPORT = re.compile(r'^import \{([^}]*)\} from "(\.[^"]*)";$', re.M)
EXPORT = re.compile(r"^export (?=(?:async )?(?:function\*?|class|const) (\w+))", re.M)
# What looks like one of these and is not; import.meta and a call of import() look otherwise.
UNKNOWN = re.compile(r"^(?:import[ {*\"]|export ).*$", re.M)
COMMENT = re.compile(r"^[ \t]*(?://[^\n]*|/\*(?:(?!\*/).)*\*/[ \t]*)\n", re.M | re.S)


def as_module(path: Path) -> str:
    """The file and all that it imports as one ES module, which exports what the file exports.

    Raises:
        FileNotFoundError: a file that is imported and missing.
        ValueError: an import of what is not exported, an import or export of a form that is not
            known here, or files that import each other in a circle.
    """
    *needed, (_, own) = _linked(path, path).items()
    return _wrapped(dict(needed)) + own


def as_function(path: Path) -> str:
    """The file and all that it imports as one function, which returns what the file exports.

    The function's own text is whole: a worker can be made from it.

    Raises:
        FileNotFoundError, ValueError: as for `as_module`.
    """
    body = _wrapped(_linked(path, path)) + f'return $modules["{path.name}"];'
    return f'() => {{\n"use strict";\n{body}\n}}'


def _linked(path: Path, entry: Path, above: tuple[str, ...] = ()) -> dict[str, str]:
    """What each file is called and its text, once, after the files that it imports.

    The import lines have become constants, taken from `$modules`.
    """
    here = Path(relpath(path, entry.parent)).as_posix()
    if here in above:
        circle = " -> ".join((*above[above.index(here) :], here))
        raise ValueError(f"modules must not import each other in a circle: {circle}")
    files: dict[str, str] = {}

    def constant(line: re.Match[str]) -> str:
        other = path.parent / line[2]
        if not other.is_file():
            raise FileNotFoundError(f"{here} imports {line[2]}, and there is no such file")
        found = _linked(other, entry, (*above, here))
        files.update(found)
        there, text = list(found.items())[-1]
        exported = EXPORT.findall(text)
        names = [name.strip() for name in line[1].split(",") if name.strip()]
        for name in names:
            if name.split()[0] not in exported:
                raise ValueError(f"{here} imports {name!r} of {there}, which exports {exported}")
        return f'const {{ {", ".join(names).replace(" as ", ": ")} }} = $modules["{there}"];'

    text = IMPORT.sub(constant, COMMENT.sub("", path.read_text(encoding="utf-8")))
    rest = EXPORT.sub("", text) if above else EXPORT.sub("", text).replace("export default ", "", 1)
    if unknown := UNKNOWN.search(rest):
        raise ValueError(
            f'{here}: an import must read import {{ name }} from "./file.js"; and an export must '
            f"stand before a function, a class or a const, got {unknown[0]!r}"
        )
    return files | {here: text}


def _wrapped(files: dict[str, str]) -> str:
    """Each file as a function that is called at once, and what it exports in `$modules`."""
    text = "const $modules = {};\n"
    for name, own in files.items():
        exports = f"return {{ {', '.join(EXPORT.findall(own))} }};"
        text += f'$modules["{name}"] = (() => {{\n{EXPORT.sub("", own)}{exports}\n}})();\n'
    return text
