"""Questions on the built page: the directive, what the sidebar counts, a way to Colab.

A page works without scripts, where a question has a folded answer; `_static/questions.js` checks
answers, and `_static/reading.js` folds the code of all chapters.
"""

import base64
import html
import json
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx_exercise.nodes import exercise_enumerable_node

from questions.kinds import Choice, Numeric, Question, shown

logger = logging.getLogger(__name__)
# Of a text between tags, what one reads it by: its vowels and digits.
READABLE = re.compile(r"<[^>]*>|&[^;]+;|([AEIOUaeiou\d])")
SIDEBAR = [
    "navbar-logo.html",
    "icon-links.html",
    "search-button-field.html",
    "reading-aids.html",
    "sbt-sidebar-nav.html",
]
EXERCISE = re.compile(r"ex-(\d+)-(\d+)")


class veiled(nodes.General, nodes.Element):  # type: ignore[misc]
    """What the source of a page shows as character references, and the page as it is."""


def visit_veiled(writer: Any, node: veiled) -> None:
    node["from"] = len(writer.body)


def depart_veiled(writer: Any, node: veiled) -> None:
    text = "".join(writer.body[node["from"] :])
    writer.body[node["from"] :] = [READABLE.sub(_reference, text)]


def _reference(found: re.Match[str]) -> str:
    return f"&#{ord(found[1])};" if found[1] else found[0]


def skip(writer: Any, node: nodes.Node) -> None:
    raise nodes.SkipNode


def raw(text: str) -> nodes.raw:
    return nodes.raw("", text, format="html")


class QuestionDirective(SphinxDirective):
    """`:::{question} 2.3`: a question of `questions.chapter_02`, with its text as the content."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        from questions import QUESTIONS

        name = self.arguments[0]
        question = QUESTIONS.get(name)
        if question is None:
            raise self.error(f"no question {name} in book/_ext/questions")
        if " ".join(self.content).split() != question.text.split():
            logger.warning(
                f"question {name} reads otherwise in book/_ext/questions",
                location=self.get_location(),
            )
        place = f"question-{name.replace('.', '-')}"
        key = base64.b64encode(json.dumps(question.key).encode()).decode()
        said = f'<p class="question-title" id="{place}-title">Question {name}'
        return [
            raw(
                f'<div class="question" id="{place}" role="group" '
                f'aria-labelledby="{place}-title" data-question="{name}" '
                f'data-kind="{question.kind}" data-key="{key}">{said}'
                '<span class="question-done">answered</span></p>'
                f'<div class="question-text" id="{place}-text">'
            ),
            *self.parsed("\n".join(self.content)),
            raw('</div><form novalidate autocomplete="off">'),
            *self.controls(question, place),
            raw(
                '<div class="question-act"><button type="submit">Check</button></div>'
                '<div class="question-verdict" role="status"></div></form>'
                '<details class="question-answer"><summary>Answer</summary>'
            ),
            veiled("", *self.answer(question)),
            raw("</details></div>"),
        ]

    def parsed(self, text: str) -> list[nodes.Node]:
        """Paragraphs and whatever else the text holds."""
        box = nodes.Element()
        lines = StringList(text.splitlines(), f"question {self.arguments[0]}")
        self.state.nested_parse(lines, self.content_offset, box)
        return box.children

    def inline(self, text: str, *classes: str) -> nodes.inline:
        """One paragraph, as a part of a line."""
        (paragraph,) = self.parsed(text)
        return nodes.inline("", "", *paragraph.children, classes=list(classes))

    def controls(self, question: Question, place: str) -> list[nodes.Node]:
        if isinstance(question, Numeric):
            return [
                raw(
                    '<label class="question-number">Your answer '
                    '<input type="text"></label>'  # some decimal keyboards have no minus and no "/"
                )
            ]
        made: list[nodes.Node] = []
        if isinstance(question, Choice):
            made.append(raw(f'<div role="radiogroup" aria-labelledby="{place}-text">'))
            for i, (text, _) in enumerate(question.options.values()):
                box = f'<input type="radio" name="{place}" value="{i}">'
                made.append(raw(f'<label class="question-option">{box}'))
                made += [self.inline(text), raw("</label>")]
            return [*made, raw("</div>")]
        lines = []
        for i in question.shown:
            line = html.escape(question.lines[i])
            buttons = "".join(
                f'<button type="button" data-move="{step}" '
                f'aria-label="Move {way}: {line}">{arrow}</button>'
                for step, way, arrow in ((-1, "up", "↑"), (1, "down", "↓"))
            )
            text = f"<code>{line}</code>" if question.code else line
            lines.append(
                f'<li data-line="{i}"><span class="question-line">'
                f'<span class="question-words">{text}</span>'
                f'<span class="question-moves">{buttons}</span></span></li>'
            )
        return [raw(f'<ol class="question-lines">{"".join(lines)}</ol>')]

    def answer(self, question: Question) -> list[nodes.Node]:
        """The right answer and all reasons, from which the script takes the one it needs."""
        reasons = [self.inline(r, "reason") for r in question.reasons]
        first: list[nodes.Node]
        if isinstance(question, Choice):
            letter = "ABCDEFGH"[question.key["right"]]
            first = [nodes.paragraph("", f"{letter} is right.")]
            tags = [f"{letter}: " for letter in "ABCDEFGH"]
        elif isinstance(question, Numeric):
            value = f"{shown(question.right())}. "
            first = [nodes.paragraph("", value, reasons.pop(0))]
            tags = [f"Not {shown(value())}: " for value in question.wrong.values()]
        else:
            kind = nodes.literal if question.code else nodes.inline
            lines = [
                nodes.list_item("", nodes.paragraph("", "", kind("", line)))
                for line in question.lines
            ]
            first = [
                nodes.enumerated_list("", *lines),
                nodes.paragraph("", "", reasons.pop(0)),
            ]
            tags = [""] * len(reasons)
        items = [
            nodes.list_item("", nodes.paragraph("", tag, reason))
            for tag, reason in zip(tags, reasons, strict=False)
        ]
        return [*first, nodes.bullet_list("", *items)]


def into_the_sidebar(app: Sphinx, config: Config) -> None:
    """Above the list of contents: the switch for the code, and how many questions there are."""
    from questions import QUESTIONS

    chapters = [int(name.split(".")[0]) for name in QUESTIONS]
    config.html_context["question_counts"] = [
        chapters.count(n) for n in range(1, max(chapters) + 1)
    ]
    config.templates_path.append(str(Path(__file__).parents[1] / "templates"))
    config.html_sidebars = {"**": SIDEBAR}


def colab(app: Sphinx, docname: str) -> str:
    """Where Colab opens a chapter: the address that the launch button of the page has."""
    theme = app.config.html_theme_options
    there = theme["launch_buttons"]["colab_url"].rstrip("/")
    repository = theme["repository_url"].removeprefix("https://github.com/")
    branch = theme["repository_branch"]
    folder = theme["path_to_docs"].strip("/")
    path = f"{folder}/{docname}.ipynb".lstrip("/")
    return f"{there}/github/{repository}/blob/{branch}/{path}"


def ways_to_colab(app: Sphinx, doctree: nodes.document) -> None:
    """Say at each exercise in code where it can be tried: a page runs no Python."""
    from ddpm_lite.checks import CHECKERS

    for node in doctree.findall(exercise_enumerable_node):
        label = EXERCISE.fullmatch(node.get("label", ""))
        if label is None or f"{label[1]}.{label[2]}" not in CHECKERS:
            continue
        link = nodes.reference("", "open this chapter in Colab", refuri=colab(app, app.env.docname))
        said = nodes.paragraph("", "Try it: ", classes=["try-it"])
        said += [
            link,
            nodes.Text(", run it, and replace the dots in the cell below."),
        ]
        node.children[-1] += said


def setup(app: Sphinx) -> None:
    app.add_directive("question", QuestionDirective)
    others: dict[str, Any] = dict.fromkeys(("latex", "text", "man", "texinfo"), (skip, None))
    app.add_node(veiled, html=(visit_veiled, depart_veiled), **others)
    app.add_css_file("questions.css")
    app.add_js_file("reading.js")  # not deferred: it folds before anything is drawn
    app.add_js_file("questions.js", defer="defer")
    app.connect("config-inited", into_the_sidebar, priority=900)
    app.connect("doctree-read", ways_to_colab)
