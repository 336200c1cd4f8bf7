"""A trained network on a page of prose, which draws when the reader asks for it."""

from docutils import nodes
from sphinx.util.docutils import SphinxDirective


class QuietSampler(SphinxDirective):
    """The place of a sampler; its one argument names the model in _static/models.

    Until the button is pressed a page has a few lines of script more, and without scripts,
    or in print, it has nothing.
    """

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        place = f'<div class="quiet-sampler" data-model="{self.arguments[0]}"></div>'
        return [nodes.raw("", place, format="html")]
