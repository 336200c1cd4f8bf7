"""What the browser tests of all widgets share."""

from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Locator, Page

import ddpm_lite.javascript
from ddpm_lite.javascript import as_module

from .conftest import Open, fits_a_phone

# Puts the page's first widget, or the one of this number, into window.widget: its model, and its
# module to call functions of.
MODULE = """async (which) => {
  const kind = "application/vnd.jupyter.widget-view+json";
  const views = document.querySelectorAll(`script[type="${kind}"]`);
  const view = views[which ?? 0];
  const entry = ddpmWidgets.get(JSON.parse(view.textContent).model_id);
  const url = URL.createObjectURL(new Blob([entry.model.get("_esm")], { type: "text/javascript" }));
  window.widget = { model: entry.model, module: await import(url) };
}"""

SHARED = """async (text) => {
  const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  window.mathematics = await import(url);
}"""


class Answering:
    """Makes of a widget its Python side, where the browser is at the other end of a test."""

    _handle_custom_msg: Any

    def send(self, content: Any, buffers: Any = None) -> None:
        self.heard = {"content": content, "buffers": [list(b) for b in buffers]}

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        self._handle_custom_msg(message, [])
        return self.heard


def know_mathematics(view: Page) -> None:
    """Put the mathematics that all widgets share into window.mathematics."""
    folder = Path(ddpm_lite.javascript.__file__).parent
    view.evaluate(SHARED, as_module(folder / "mathematics.js"))


def widget(view: Page) -> Locator:
    return view.locator(".ddpm-widget").first


def canvas_pixels(view: Page) -> np.ndarray:
    """[H, W, 3] of what the canvas shows."""
    size, data = view.evaluate(
        """() => { const c = document.querySelector(".ddpm-widget canvas");
        return [[c.height, c.width, 4],
          [...c.getContext("2d").getImageData(0, 0, c.width, c.height).data]]; }"""
    )
    return np.array(data, dtype=np.int64).reshape(size)[..., :3]


def tapped_on_a_phone(visit: Open, url: str, name: str) -> int:
    """The value of a slider that a finger touched at four fifths; the page must fit the screen."""
    page = visit(url, width=390, has_touch=True, is_mobile=True)
    page.wait_for_selector(".widget-host[data-ready]")
    fits_a_phone(page)
    slider = page.get_by_role("slider", name=name, exact=True)
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None
    page.touchscreen.tap(box["x"] + box["width"] * 0.8, box["y"] + box["height"] / 2)
    return int(slider.input_value())
