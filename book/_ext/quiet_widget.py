"""A widget on a page of prose that is loaded when the reader asks for it."""

import html
import json
from pathlib import Path

from docutils import nodes
from live_widget import embedded
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

QUIET = ("Clothes",)


class QuietWidget(SphinxDirective):
    """The place of a widget; its argument names the class, its text what the button says and,
    after an empty line, what will be loaded.

    Until the button is pressed a page has the button more, and without scripts, or in print, it has
    nothing. Then the widget is loaded, and its own first button is pressed as well.
    """

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        if name not in QUIET:
            known = " or ".join(QUIET)
            raise self.error(f"a quiet widget must be {known}, got {name!r}")
        asks, _, says = "\n".join(self.content).partition("\n\n")
        told = {
            "data-widget": name.lower(),
            "data-asks": asks,
            "data-says": says,
        }
        words = " ".join(
            f'{key}="{html.escape(value)}"' for key, value in told.items()
        )
        place = f'<div class="quiet-widget" {words}></div>'
        return [nodes.raw("", place, format="html")]


def export_widgets(app: Sphinx) -> None:
    """Put the widgets where a page loads them from, each as a script, on request."""
    folder = Path(app.outdir) / "_static" / "widgets"
    folder.mkdir(parents=True, exist_ok=True)
    for name in QUIET:
        _, state, view = embedded(name, f"quiet-{name.lower()}")
        told = f'{{ "state": {state}, "view": {view} }}'
        text = f"(globalThis.ddpmQuiet ??= {{}})[{json.dumps(name.lower())}] = {told};\n"
        (folder / f"{name.lower()}.js").write_text(text, encoding="utf-8")
