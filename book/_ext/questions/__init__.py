"""What a chapter asks its readers; `QUESTIONS["2.3"]` is the third question of chapter 2."""

from importlib import import_module
from pathlib import Path

from questions.kinds import Choice, Numeric, Order, Question, Verdict

__all__ = ["QUESTIONS", "Choice", "Numeric", "Order", "Question", "Verdict"]


def _all() -> dict[str, Question]:
    found: dict[str, Question] = {}
    for path in sorted(Path(__file__).parent.glob("chapter_*.py")):
        chapter = int(path.stem.removeprefix("chapter_"))
        asked = import_module(f"questions.{path.stem}").ASKED
        found |= {f"{chapter}.{i}": q for i, q in enumerate(asked, 1)}
    return found


QUESTIONS = _all()
