"""Every page, light and dark, by the rules of axe-core; and every widget by keyboard."""

from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from .conftest import HTML, Open

PAGES = sorted(str(p.relative_to(HTML)) for p in [*HTML.glob("book/*.html"), HTML / "search.html"])
WIDGETS = [p for p in PAGES if "widget-view+json" in (HTML / p).read_text()]

# Not to fetch style sheets again, by addresses of its own making, nor to list what is right.
OPTIONS: dict[str, Any] = {"preload": False, "resultTypes": ["violations"]}
COLOURS = ["color-contrast", "link-in-text-block"]
SHAPES = OPTIONS | {"rules": {rule: {"enabled": False} for rule in COLOURS}}
SCHEMES = ("light", "dark")
# A page of code has some thousand coloured words and about fifty colours. Asking for the contrast
# of each word takes a minute, of two for each look, seconds; and most of these go into the places
# of elements that were not asked for. So what gives words of code their colours, and formulas their
# parts, is left out where it was not asked for.
LOOKS = """(within) => {
  const count = new Map();
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const s = getComputedStyle(e);
      const clear = s.backgroundColor === "rgba(0, 0, 0, 0)" && s.backgroundImage === "none";
      if (!clear) return s.backgroundColor + s.backgroundImage;
    }
  };
  for (const e of document.querySelectorAll(`${within} *`)) {
    const says = [...e.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.data.trim());
    const shows = says || e.matches("select, textarea, input, mjx-container");
    if (!shows || !e.checkVisibility({ visibilityProperty: true })) continue;
    const s = getComputedStyle(e);
    const [link, base] = [e.closest("a"), e.closest("p")].map((a) => a && getComputedStyle(a));
    const near = link && [link.textDecorationLine, base?.color];
    const look = [s.color, s.fontSize, s.fontWeight, s.opacity, ground(e), near].join();
    count.set(look, (count.get(look) ?? 0) + 1);
    if (count.get(look) < 3) e.dataset.look = "";
  }
  return count.size;
}"""

THE_REST = """for (const formula of document.querySelectorAll("mjx-container")) {
  const frame = formula.closest("div.math");
  const scrolls = frame && frame.scrollWidth > frame.clientWidth;
  if (scrolls) continue;
  // Its signs are no text to axe, nor is a word in its font: a word in its colour alone is.
  formula.replaceChildren(formula.matches("[data-look]") ? "formula" : "");
  for (const name of ["class", "jax"]) formula.removeAttribute(name);
}
for (const word of document.querySelectorAll(":is(.highlight pre, .sig) span:not([data-look])"))
  if (word.getAttributeNames().every((name) => name === "class"))
    word.replaceWith(...word.childNodes);"""


def violations(view: Page, within: str | None = None) -> list[dict[str, Any]]:
    """What axe finds on a page, or a part of it; the page is of no use afterwards."""
    looks: Any = {"include": [["[data-look]"]]}
    for scheme in SCHEMES:
        in_theme(view, scheme)
        assert view.evaluate(LOOKS, within or "body") > 3
    view.evaluate(THE_REST)
    found = Axe().run(view, within, SHAPES).response["violations"]
    for scheme in SCHEMES:  # which differ in their colours alone
        in_theme(view, scheme)
        found += Axe().run(view, looks, OPTIONS | {"runOnly": COLOURS}).response["violations"]
    return found


def in_theme(view: Page, scheme: Any) -> None:
    view.emulate_media(color_scheme=scheme)
    view.wait_for_selector(f"html[data-theme={scheme}]")
    settled(view)


def settled(view: Page) -> None:
    """A colour on its way from the light theme to the dark is neither."""
    view.wait_for_function("""document.getAnimations().every((a) =>
        !(a instanceof CSSTransition) || a.playState !== "running")""")


def told(violation: dict[str, Any]) -> str:
    places = "; ".join(node["html"][:120] for node in violation["nodes"][:3])
    return f"{violation['id']} ({violation['impact']}): {violation['help']}: {places}"


@pytest.mark.parametrize("page", PAGES)
def test_axe_finds_nothing(page: str, server: str, visit: Open) -> None:
    view = visit(f"{server}/{page}")
    hosts = view.locator("script[type$='widget-view+json']").count()
    view.wait_for_function(
        f"document.querySelectorAll('.widget-host[data-ready]').length === {hosts}"
    )
    found = violations(view)
    assert not found, "\n".join(map(told, found))


@pytest.mark.parametrize(
    "where",
    [
        "article p",
        "article pre .k:visible",
        "article p a",
        "p mjx-container:visible",
        ".widget-host select",
    ],
)
def test_one_pale_word_is_found(where: str, server: str, visit: Open) -> None:
    view = visit(f"{server}/book/02-forward-process.html")
    view.locator(where).last.evaluate("e => (e.style.color = '#bbb')")
    assert [v["id"] for v in violations(view)] == ["color-contrast"]


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
