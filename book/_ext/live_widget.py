"""A widget of the package on a page of prose, where no cell can make one."""

import json
import os
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

STATE = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"


def embedded(name: str, own: str) -> tuple[Any, str, str]:
    """A new widget of this class, and what a page needs of it: its state, and its view."""
    from ddpm_lite import widgets
    from ipywidgets.embed import dependency_state, embed_data

    widget = getattr(widgets, name)()
    # Its own state, and not that of all widgets that this process has made.
    state = dependency_state([widget], drop_defaults=False)
    data = embed_data(views=[widget], state=state)
    # Sorted and named by us, so that two builds of one book do not differ.
    texts = (
        json.dumps(part, sort_keys=True)
        .replace(widget.model_id, own)
        .replace(widget.layout.model_id, f"{own}-layout")
        .replace("</", "<\\/")
        for part in (data["manager_state"], data["view_specs"][0])
    )
    return widget, *texts


class LiveWidget(SphinxDirective):
    """The place of a widget; its argument names the class, its text is the still's alternative.

    The page gets what MyST-NB would embed for a cell, so that the same host runs it, and the still
    as a figure beside it, for print and where there are no scripts.
    """

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        from ddpm_lite import plots

        own = f"live-{self.arguments[0].lower()}"
        widget, state, view = embedded(self.arguments[0], own)
        html = f'<script type="{STATE}">{state}</script>\n<script type="{VIEW}">{view}</script>'
        still = nodes.image(
            uri=self._drawn(own, plots.svg(widget.still)),
            alt=" ".join(self.content),
        )
        place = nodes.container(classes=["cell_output", "live-widget"])
        place += nodes.raw("", html, format="html")
        place += nodes.container("", still, classes=["widget-still"])
        return [place]

    def _drawn(self, name: str, svg: str) -> str:
        """Put a picture where those of cells are, and say how this page gets there."""
        env = self.state.document.settings.env
        folder = Path(env.app.outdir).parent / "jupyter_execute"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.svg").write_text(svg)
        page = Path(env.doc2path(env.docname)).parent
        return Path(os.path.relpath(folder / f"{name}.svg", page)).as_posix()
