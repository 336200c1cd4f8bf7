"""A widget of the package on a page of prose, where no cell can make one."""

import json

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

STATE = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"


class LiveWidget(SphinxDirective):
    """The place of a widget; its argument names the class, its text is the still's alternative.

    The page gets what MyST-NB would embed for a cell, so that the same host runs it.
    """

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        from ddpm_lite import plots, widgets
        from ipywidgets.embed import embed_data

        widget = getattr(widgets, self.arguments[0])()
        data = embed_data(views=[widget], drop_defaults=False)
        # Sorted and named by us, so that two builds of one book do not differ.
        own = f"live-{self.arguments[0].lower()}"
        state, view = (
            json.dumps(part, sort_keys=True)
            .replace(widget.model_id, own)
            .replace("</", "<\\/")
            for part in (data["manager_state"], data["view_specs"][0])
        )
        still = plots.svg(widget.still)
        still = still[still.index("<svg") :]
        alt = " ".join(self.content)
        html = (
            f'<script type="{STATE}">{state}</script>\n'
            '<div class="cell_output live-widget">'
            f'<script type="{VIEW}">{view}</script>'
            f'<noscript><div role="img" aria-label="{alt}">{still}</div></noscript></div>'
        )
        return [nodes.raw("", html, format="html")]
