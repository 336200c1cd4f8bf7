"""The book's Sphinx extension: what _config.yml cannot say.

Nothing on a page comes from outside, widgets run on the static host, figures have a dark
twin, and a change of the package makes every chapter run again.
"""

import hashlib
import importlib.util
import re
import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

ROOT = Path(__file__).parents[2]
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
# Scripts that pages of this book never need: live code and comments.
UNWANTED = re.compile(r"thebe|comments", re.IGNORECASE)
# 1.4 MB of icons that the theme's fonts draw already; the theme's template cannot be told.
ICON_SCRIPT = re.compile(r"\s*<script[^>]*/fontawesome\.js[^>]*></script>")


def configure(app: Sphinx, config: Config) -> None:
    """Set what Jupyter Book's own configuration would overwrite or cannot hold."""
    config.nb_ipywidgets_js = {"widget-host.js": {"defer": "defer"}}
    config.mathjax_path = "mathjax/tex-chtml.js"
    config.mathjax3_config = {"options": {"enableMenu": False}}
    config.html_theme_options[
        "navbar_persistent"
    ] = []  # or a second search field appears
    config.html_context.setdefault("default_mode", "auto")
    # The cache of executed chapters knows their cells only; tie it to what they import as well.
    fingerprint = hashlib.sha256()
    for path in sorted(
        [ROOT / "requirements.txt", *(ROOT / "ddpm_lite").rglob("*.*")]
    ):
        if path.suffix in (".txt", ".py", ".js", ".css"):
            fingerprint.update(path.read_bytes())
    config.nb_execution_cache_path = str(
        Path(app.outdir).parent
        / ".jupyter_cache"
        / fingerprint.hexdigest()[:16]
    )


def rerun_chapters(
    app: Sphinx, env: Any, added: Any, changed: Any, removed: Any
) -> list[str]:
    """Read every notebook again when the package has changed since the last build."""
    now = app.config.nb_execution_cache_path
    before, env.ddpm_cache_path = getattr(env, "ddpm_cache_path", now), now
    if before == now:
        return []
    return [
        name
        for name in env.found_docs
        if app.env.doc2path(name).endswith(".ipynb")
    ]


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


def equations_in_docstrings(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Docstrings cite equations as Markdown does; autodoc reads reStructuredText."""
    lines[:] = [line.replace("{eq}`", ":eq:`") for line in lines]


def dark_figures(app: Sphinx, doctree: nodes.document) -> None:
    """Give every figure a chapter drew a twin for dark pages. Runs before images are collected."""
    from ddpm_lite.plots import for_dark

    for image in list(doctree.findall(nodes.image)):
        uri = image["uri"]
        path = (
            Path(app.srcdir, uri.lstrip("/"))
            if uri.startswith("/")
            else Path(app.srcdir, Path(app.env.docname).parent, uri)
        )
        if (
            path.suffix != ".svg"
            or "jupyter_execute" not in path.parts
            or "dark" in path.stem
        ):
            continue
        twin = path.with_stem(f"{path.stem}-dark")
        twin.write_text(for_dark(path.read_text()))
        dark = image.deepcopy()
        dark["uri"] = str(Path(uri).with_stem(twin.stem))
        # "dark-light" keeps the theme's hands off; its own pair of classes would hide the caption.
        image["classes"] += ["dark-light", "figure-light"]
        dark["classes"] += ["dark-light", "figure-dark"]
        image.parent.insert(image.parent.index(image) + 1, dark)


def widgets_without_javascript(
    app: Sphinx, doctree: nodes.document, docname: str
) -> None:
    """Say what belongs in a widget's place until the host takes the words away."""
    note = '<p class="widget-note widget-fallback">An interactive figure belongs here; it needs JavaScript.</p>'
    for raw in list(doctree.findall(nodes.raw)):
        if WIDGET_VIEW in raw.astext():
            raw.parent.insert(
                raw.parent.index(raw) + 1, nodes.raw("", note, format="html")
            )


def drop_scripts(
    app: Sphinx,
    pagename: str,
    templatename: str,
    context: dict[str, Any],
    doctree: Any,
) -> None:
    """Leave out scripts that no page needs."""
    context["script_files"] = [
        script
        for script in context["script_files"]
        if not UNWANTED.search(
            f"{script.filename} {script.attributes.get('body', '')}"
        )
    ]


def drop_icon_script(app: Sphinx, error: Exception | None) -> None:
    """Take the theme's icon script out of every page, and off the disk."""
    if error is not None or app.builder.format != "html":
        return
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text()
        slim = ICON_SCRIPT.sub("", text)
        if slim != text:
            page.write_text(slim)
    for script in Path(app.outdir, "_static", "scripts").glob("fontawesome*"):
        script.unlink()


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("config-inited", configure, priority=900)
    app.connect("env-get-outdated", rerun_chapters)
    app.connect("builder-inited", copy_mathjax)
    app.connect("autodoc-process-docstring", equations_in_docstrings)
    app.connect("doctree-read", dark_figures, priority=100)
    app.connect("doctree-resolved", widgets_without_javascript)
    app.connect("html-page-context", drop_scripts, priority=900)
    app.connect("build-finished", drop_icon_script)
    return {
        "version": "1",
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
