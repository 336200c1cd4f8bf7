"""What the pages need not carry: icons that no page shows, scripts that none runs."""

import re
from pathlib import Path
from typing import Any

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont
from sphinx.application import Sphinx

# Scripts that pages of this book never need: live code and comments.
UNWANTED = re.compile(r"thebe|comments", re.IGNORECASE)
# 1.4 MB of icons that the theme's fonts draw already; the theme's template cannot be told.
ICON_SCRIPT = re.compile(r"\s*<script[^>]*/fontawesome\.js[^>]*></script>")
# The theme's sidebar is no landmark, and screen readers jump from one to the next.
SIDEBAR = '<div id="pst-primary-sidebar" class='
LANDMARK = '<div id="pst-primary-sidebar" role="complementary" aria-label="Contents" class='
# Roles that are no longer to be used; the list around the entries says what they are.
ENTRY = ('role="doc-biblioentry"', 'role="listitem"')
# What a directive of ours leaves in a page, and the script that page then needs.
WANTED = {
    'class="quiet-sampler"': "quiet-sampler.js",
    'class="quiet-widget"': "widget-host.js",
    "live-widget": "widget-host.js",
}
ICON_RULE = re.compile(
    r'((?:\.fa-[\w-]+:{1,2}before,?)+)\{content:"\\?([^"]+)"\}'
)
ICON_NAME = re.compile(r"fa-([\w-]+)")
CODE = re.compile(r"\\{1,2}([ef][0-9a-f]{3})\b")
PRIVATE = re.compile("[\ue000-\uf8ff]")
# For a search while one types, which is off: the search page has its own.
SEARCH_SCRIPT = re.compile(
    r'\s*<script src="[^"]*(searchtools|language_data|searchindex)\.js"></script>'
)
# A symbol with an index, in a title: as in a page, or with escapes, as in the search index.
TITLE_MATH = re.compile(
    r'<span class=\\?"math [^>]*>\\+\((\w)_\{?([^}\\]+)\}?\\+\)</span>'
)
TITLE_HTML = r"<i>\1</i><sub>\2</sub>"


def choose_scripts(
    app: Sphinx,
    pagename: str,
    templatename: str,
    context: dict[str, Any],
    doctree: Any,
) -> None:
    """Add the scripts that this page needs, and leave out those that none does."""
    for mark, script in WANTED.items():
        if mark in context.get("body", ""):
            app.add_js_file(script, defer="defer")
    context["script_files"] = [
        script
        for script in context["script_files"]
        if not UNWANTED.search(
            f"{script.filename} {script.attributes.get('body', '')}"
        )
    ]


def lighten(app: Sphinx, error: Exception | None) -> None:
    """Mend the theme: no icon script, no unused icons in its fonts, a landmark for its sidebar."""
    if error is not None or app.builder.format != "html":
        return
    out = Path(app.outdir)
    for page in out.rglob("*.html"):
        text = page.read_text()
        slim = (
            ICON_SCRIPT.sub("", text).replace(SIDEBAR, LANDMARK).replace(*ENTRY)
        )
        if "mathjax/" not in text:  # the page has no mathematics of its own
            slim = TITLE_MATH.sub(TITLE_HTML, slim)
        if page.name != "search.html":
            slim = SEARCH_SCRIPT.sub("", slim)
        if slim != text:
            page.write_text(slim)
    index = out / "searchindex.js"
    index.write_text(TITLE_MATH.sub(TITLE_HTML, index.read_text()))
    for script in (out / "_static/scripts").glob("fontawesome*"):
        script.unlink()
    used = icons(out)
    for font in (out / "_static/vendor/fontawesome/webfonts").glob("*.woff2"):
        subset(font, used)
        font.with_suffix(".ttf").unlink(
            missing_ok=True
        )  # every browser reads woff2


def icons(out: Path) -> set[int]:
    """The code points of the icons that a page, a script or a style sheet shows."""
    style = (out / "_static/styles/pydata-sphinx-theme.css").read_text()
    codes: dict[str, int] = {}
    for selectors, content in ICON_RULE.findall(style):
        code = int(content, 16) if len(content) > 1 else ord(content)
        codes |= dict.fromkeys(ICON_NAME.findall(selectors), code)
    texts = [path.read_text() for path in out.rglob("*.html")]
    texts += [path.read_text() for path in (out / "_static").rglob("*.js")]
    styles = [
        ICON_RULE.sub("", path.read_text())
        for path in (out / "_static").rglob("*.css")
    ]
    names = {name for text in texts for name in ICON_NAME.findall(text)}
    used = {codes[name] for name in names if name in codes}
    for text in texts + styles:
        used |= {int(code, 16) for code in CODE.findall(text)}
        used |= {ord(sign) for sign in PRIVATE.findall(text)}
    return used


def subset(path: Path, used: set[int]) -> None:
    """Keep these glyphs of a font; a font that has been cut already only gets smaller."""
    font = TTFont(path)
    cutter = Subsetter(Options(flavor="woff2", notdef_outline=True))
    cutter.populate(unicodes=used)
    cutter.subset(font)
    font.flavor = "woff2"
    font.save(path)
