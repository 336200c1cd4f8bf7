"""Every page, light and dark, by the rules of axe-core; and every widget by keyboard."""

from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from .conftest import HTML, Open

PAGES = sorted(str(p.relative_to(HTML)) for p in [*HTML.glob("book/*.html"), HTML / "search.html"])
WIDGETS = [p for p in PAGES if "widget-view+json" in (HTML / p).read_text()]

# Not to fetch style sheets again, by addresses of its own making, nor to list what is right.
OPTIONS: dict[str, Any] = {"preload": False, "resultTypes": ["violations"]}
# The themes differ in their colours alone.
ONLY: dict[str, Any] = {"light": {}, "dark": {"runOnly": ["color-contrast", "link-in-text-block"]}}


def told(violation: dict[str, Any]) -> str:
    places = "; ".join(node["html"][:120] for node in violation["nodes"][:3])
    return f"{violation['id']} ({violation['impact']}): {violation['help']}: {places}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", PAGES)
def test_axe_finds_nothing(page: str, scheme: str, server: str, visit: Open) -> None:
    view = visit(f"{server}/{page}", scheme=scheme)
    view.wait_for_selector(f"html[data-theme={scheme}]")
    hosts = view.locator("script[type$='widget-view+json']").count()
    view.wait_for_function(
        f"document.querySelectorAll('.widget-host[data-ready]').length === {hosts}"
    )
    # A colour on its way from the light theme to the dark is neither.
    view.wait_for_function("document.getAnimations().every(a => !(a instanceof CSSTransition))")
    found = Axe().run(view, options=OPTIONS | ONLY[scheme]).response["violations"]
    assert not found, "\n".join(map(told, found))


@pytest.mark.parametrize("page", WIDGETS)
def test_every_control_has_a_name_and_takes_the_keyboard(
    page: str, server: str, visit: Open
) -> None:
    view = visit(f"{server}/{page}")
    view.wait_for_selector(".widget-host[data-ready]")
    controls = view.locator(".widget-host :is(input, select, button)")
    assert controls.count() > 0
    for control in controls.all():
        if control.is_visible() and control.is_enabled():
            control.focus()
            assert control.evaluate("e => document.activeElement === e || e.matches(':focus')")
            assert control.evaluate("e => e.tabIndex") >= 0


def test_the_pages_are_there() -> None:
    assert len([p for p in PAGES if Path(p).name[:2].isdigit()]) >= 9
