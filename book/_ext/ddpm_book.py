"""The book's Sphinx extension: what _config.yml cannot say.

Nothing on a page comes from outside, widgets run on the static host, figures have a dark
twin, and a change of the package makes every chapter run again.
"""

import importlib.util
import os
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from docutils import nodes
from fingerprint import cache_in, fingerprint
from ledger import Ledger
from light import choose_scripts, lighten
from live_widget import VIEW, LiveWidget
from questions import page as questions
from quiet_sampler import QuietSampler
from quiet_widget import QuietWidget, export_widgets
from sphinx.application import Sphinx
from sphinx.config import Config

ROOT = Path(__file__).parents[2]
# A role, or literal text, as it is; or what stands between single backticks.
BACKTICKS = re.compile(r":\w+:`[^`]+`|``[^`]+``|`([^`]+)`")
CHAPTER = re.compile(r"book/\d\d-")
WORDS_A_MINUTE, LINES_A_MINUTE = 200, 30
NOT_FOUND = """<h1>Page not found</h1>
<p>Nothing is at this address; it may have moved. The chapters are listed in the menu, and the
search field finds words, functions and equations by name.</p>"""


def configure(app: Sphinx, config: Config) -> None:
    """Set what Jupyter Book's own configuration would overwrite or cannot hold."""
    config.nb_ipywidgets_js = {"widget-host.js": {"defer": "defer"}}
    config.mathjax_path = "mathjax/tex-chtml.js"
    config.mathjax3_config = {"options": {"enableMenu": False}}
    config.html_context.setdefault("default_mode", "auto")
    options = config.html_theme_options
    options["navbar_persistent"] = []  # or a second search field appears
    options["logo"] = {"text": config.html_title}
    # Where the book is published: the workflow knows, and no file of the repository.
    config.html_baseurl = config.ogp_site_url = os.environ.get("BOOK_URL", "")
    config.notfound_urls_prefix = urlsplit(config.html_baseurl).path or "/"
    config.notfound_context = {"title": "Page not found", "body": NOT_FOUND}
    config.nb_execution_cache_path = str(cache_in(Path(app.outdir).parent))


def rebuild_when_needed(
    app: Sphinx, env: Any, added: Any, changed: Any, removed: Any
) -> list[str]:
    """Read every page again when the package, this extension or a static file has changed.

    Sphinx looks at the pages alone, and would keep old results and old style sheets.
    """
    now = fingerprint(
        ROOT / "requirements.txt",
        ROOT / "ddpm_lite",
        ROOT / "book/_ext",
        ROOT / "book/_static",
    )
    before, env.ddpm_fingerprint = getattr(env, "ddpm_fingerprint", now), now
    return [] if before == now else list(env.found_docs)


def copy_mathjax(app: Sphinx) -> None:
    """Put the one MathJax component that pages load, and its fonts, into _static."""
    spec = importlib.util.find_spec("sphinx-mathjax-offline")
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            "MathJax is missing: pip install -r requirements.txt"
        )
    source = Path(spec.origin).parent / "static" / "mathjax"
    target = Path(app.outdir) / "_static" / "mathjax"
    fonts = Path("output/chtml/fonts/woff-v2")
    if not target.exists():
        (target / fonts).parent.mkdir(parents=True)
        shutil.copy(source / "tex-chtml.js", target)
        shutil.copytree(source / fonts, target / fonts)


def export_models(app: Sphinx) -> None:
    """Put the networks that widgets run in the browser where they load them from, on request."""
    from ddpm_lite.runs.export import export_model

    for name in ("digits", "fashion"):
        export_model(name, Path(app.outdir) / f"_static/models/{name}.js")


def markdown_in_docstrings(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Docstrings are written as Markdown; autodoc reads reStructuredText."""
    for i, line in enumerate(lines):
        lines[i] = BACKTICKS.sub(
            lambda m: f"``{m[1]}``" if m[1] else m[0],
            line.replace("{eq}`", ":eq:`"),
        )


def dark_figures(app: Sphinx, doctree: nodes.document) -> None:
    """Give every figure a chapter drew a twin for dark pages. Runs before images are collected."""
    from ddpm_lite.plots import for_dark

    for image in list(doctree.findall(nodes.image)):
        path = Path(app.env.relfn2path(image["uri"])[1])
        if path.suffix != ".svg" or "jupyter_execute" not in path.parts:
            continue
        twin = path.with_stem(f"{path.stem}-dark")
        twin.write_text(for_dark(path.read_text()))
        # A lazy twin that does not show is never fetched.
        image["loading"] = "lazy"
        dark = image.deepcopy()
        dark["uri"] = str(Path(image["uri"]).with_stem(twin.stem))
        # "dark-light" keeps the theme's hands off; its own pair of classes would hide the caption.
        image["classes"] += ["dark-light", "figure-light"]
        dark["classes"] += ["dark-light", "figure-dark"]
        image.parent.insert(image.parent.index(image) + 1, dark)


def widget_stills(app: Sphinx, doctree: nodes.document) -> None:
    """Set the still that a widget brings along beside it, for print and pages without scripts.

    MyST-NB would choose the widget alone. The host hides the still from the screen once the
    widget runs. Runs before figures get their dark twin.
    """
    for bundle in list(doctree.findall(_is_bundle)):
        kinds = {child["mime_type"]: child for child in bundle.children}
        if VIEW not in kinds or "image/svg+xml" not in kinds:
            continue
        still = kinds["image/svg+xml"]
        bundle.remove(still)
        del still["mime_type"]
        still["classes"] += ["widget-still"]
        bundle.parent.insert(bundle.parent.index(bundle) + 1, still)


def _is_bundle(node: nodes.Node) -> bool:
    return (
        isinstance(node, nodes.container)
        and node.get("nb_element") == "mime_bundle"
    )


def reading_time(app: Sphinx, doctree: nodes.document) -> None:
    """Say under a chapter's title how long it takes to read, code and mathematics included."""
    if not CHAPTER.match(app.env.docname):
        return
    words, lines = 0, 0
    for node in doctree.findall(nodes.literal_block):
        lines += node.astext().count("\n") + 1
    for node in doctree.findall(nodes.paragraph):
        if not isinstance(node.parent, questions.veiled):
            words += len(node.astext().split())
    minutes = round(words / WORDS_A_MINUTE + lines / LINES_A_MINUTE)
    title = next(iter(doctree.findall(nodes.title)))
    said = nodes.paragraph(
        "", f"{minutes} minutes to read", classes=["reading-time"]
    )
    title.parent.insert(title.parent.index(title) + 1, said)


def setup(app: Sphinx) -> dict[str, Any]:
    if os.environ.get("BOOK_URL"):  # a site map needs the site's address
        app.setup_extension("sphinx_sitemap")
        app.config.sitemap_url_scheme = "{link}"
        app.config.sitemap_show_lastmod = False
    questions.setup(app)
    app.add_directive("ledger", Ledger)
    app.add_directive("live-widget", LiveWidget)
    app.add_directive("quiet-sampler", QuietSampler)
    app.add_directive("quiet-widget", QuietWidget)
    app.connect("config-inited", configure, priority=900)
    app.connect("env-get-outdated", rebuild_when_needed)
    app.connect("builder-inited", copy_mathjax)
    app.connect("builder-inited", export_models)
    app.connect("builder-inited", export_widgets)
    app.connect("autodoc-process-docstring", markdown_in_docstrings)
    app.connect("doctree-read", widget_stills, priority=90)
    app.connect("doctree-read", dark_figures, priority=100)
    app.connect("html-page-context", choose_scripts, priority=900)
    app.connect("doctree-read", reading_time)
    app.connect("build-finished", lighten)
    return {
        "version": "1",
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
