"""What every widget of the family is: one module, one look, and a still picture of itself."""

from pathlib import Path
from typing import Any

import anywidget
from matplotlib.figure import Figure

from ddpm_lite import plots
from ddpm_lite.javascript import as_module

__all__ = ["Widget", "esm", "style", "with_core"]

HERE = Path(__file__).parent
style = (HERE / "style.css").read_text(encoding="utf-8")


def esm(name: str) -> str:
    """The widget's JavaScript module, with all that it imports."""
    return as_module(HERE / name)


with_core = esm  # its name in 0.1


class Widget(anywidget.AnyWidget):
    """An interactive figure that computes in the browser, with a still for where none can run.

    A notebook and a page with scripts show the widget. Print, and a reader without JavaScript,
    get `still`: the picture that the widget shows at its present settings.
    """

    _css = style

    def still(self) -> Figure:
        """The widget at its present settings, as a figure in the book's style."""
        raise NotImplementedError(
            f"{type(self).__name__} needs a method still() that returns a figure of what it "
            "shows: print has it, and pages without JavaScript"
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is not None:
            bundle[0]["image/svg+xml"] = plots.svg(self.still)
        return bundle
