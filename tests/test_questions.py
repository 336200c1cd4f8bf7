"""The questions on the pages: every right answer accepted, every wrong one refused with its reason.

What the page decides, by the same rules, is tested in tests/book/test_questions.py.
"""

import math
from collections.abc import Callable
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import pytest

from tests.asked import CHAPTERS, NEARLY, QUESTIONS, Choice, Numeric, Order, placed, shown
from tests.systems import of_the_source

pytestmark = of_the_source


# Each number once more, on paper or by another way than that of book/_ext/questions.
ON_PAPER: dict[str, Callable[[], float]] = {
    "1.1": lambda: 0.5 * 0.9 + 0.5 * 0.5,
    "1.2": lambda: math.log(1.25),
    "1.4": lambda: 0.5**2,
    "2.1": lambda: 0.8 * 0.5,
    "2.2": lambda: 0.6,
    "2.3": lambda: 1 / (2 - 1e-3),
    "2.4": lambda: 0.9 * 0.5,
    "2.6": lambda: math.exp(sum(math.log1p(-(1e-4 + s / 49 * 0.0199)) for s in range(50)) / 2),
    "3.2": lambda: 1 + 0.25,
    "3.3": lambda: 0.14 / 0.8,
    "3.4": lambda: 10 * 0.1**3,
    "4.2": lambda: (1 / 4 - 1 + math.log(4)) / 2,
    "4.4": lambda: 133 / 64 / math.log(2),
    "5.1": lambda: -math.log(0.98) / 2,
    "5.3": lambda: 0.01**2,
    "6.1": lambda: (10 * 0.2 + 0.8 / 0.3) / (10 + 1 / 0.3),
    "6.2": lambda: 10 / 37,
    "6.3": lambda: 0.02 / 0.5,
    "6.4": lambda: 0.99**0.5,
    "7.1": lambda: 1 / 255,
    "7.3": lambda: -math.log2(math.erf(0.5**0.5)),
    "7.4": lambda: (4 - 1 / 12) ** 0.5,
    "8.2": lambda: 1 - 0.5755,  # the chapter's printed floor
    "9.3": lambda: 0.02 * 0.96 / 0.2,
    "9.4": lambda: 2 * 0.2,
    "9.5": lambda: -0.6 / 0.6,
    "10.4": lambda: 3**4,
    "10.5": lambda: 2 * 2,
    "11.1": lambda: 2 * 3**2 * 64 * 128 * 16**2 / 1e6,
    "11.2": lambda: 0.02 / 1.98,
    "11.5": lambda: 1 - 1,
    "12.1": lambda: 3**2 + (1 - 2) ** 2,
    "12.3": lambda: math.exp(math.log(4) - 0),
    "12.5": lambda: 0.1 + 0.4 + 0.9,
    "13.1": lambda: 0.2 * 0.1,
    "13.3": lambda: 5 / 20,
    "13.5": lambda: 0.3**0.5,
    "13.6": lambda: 0.2 + 3 * (0.5 - 0.2),
    "14.1": lambda: (0.50 - 0.45) / (0.46 - 0.45),
    "14.3": lambda: 1 / 1.25,
    "15.3": lambda: 0.08 * (1 / 4) ** 2,
    "15.4": lambda: math.log(2 * math.exp(-1)),
    "15.5": lambda: 0.4 + 0.25 * 0.8,
    "15.6": lambda: (1 + 4000 * 0.003 * 0.5**2) ** -0.5,
}

# Where the answer is measured, not computed: how far it may be off.
MEASURED = {"3.4": 0.02, "7.4": 0.002, "8.2": 2e-4, "14.1": 1e-3, "15.3": 0.01, "15.6": 2e-3}


def of_kind(kind: Any) -> Any:
    found = {name: q for name, q in QUESTIONS.items() if isinstance(q, kind)}
    return pytest.mark.parametrize(("name", "question"), found.items(), ids=found)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_every_question_is_placed_and_every_placed_one_exists(path: Path) -> None:
    number = int(path.stem[:2])
    there = [name for name, _ in placed(path)]
    asked = [name for name in QUESTIONS if name.split(".")[0] == str(number)]
    assert there == asked, "in the order of the page: book/_ext/questions, and the chapter"
    assert len(there) >= 4
    assert path.read_text().count("{question}") == len(there), "a block that is not closed"


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_the_chapter_and_the_code_ask_the_same(path: Path) -> None:
    for name, text in placed(path):
        assert text == QUESTIONS[name].text, f"question {name}"


def test_all_three_kinds_are_there() -> None:
    assert {q.kind for q in QUESTIONS.values()} == {"numeric", "choice", "order"}


@of_kind(Numeric)
def test_numbers(name: str, question: Numeric) -> None:
    right = question.right()
    assert question.verdict(right) == (True, question.why)
    assert question.verdict(float(f"{right:.3g}")).right, "rounded to three digits"
    assert question.verdict(right + 0.9 * question.within * abs(right)).right
    assert not question.verdict(right + 1.1 * question.within * abs(right) + 1e-9).right
    assert question.wrong, "no popular wrong value"
    for reason, value in question.wrong.items():
        assert question.verdict(value()) == (False, reason)
        far = abs(value() - right)
        assert far > 10 * question.within * abs(right), f"{value():g} is too near to {right:g}"
    for one, other in combinations([v() for v in question.wrong.values()], 2):
        assert abs(one - other) > 2 * question.within * abs(one), "which of the two reasons?"
    assert question.verdict(17.3 * right + 3) == (False, "")


@of_kind(Numeric)
def test_the_folded_answer_tells_its_numbers_apart(name: str, question: Numeric) -> None:
    said = [shown(value()) for value in (question.right, *question.wrong.values())]
    assert len(set(said)) == len(said)
    assert not any("e+" in number for number in said)


@of_kind(Numeric)
def test_two_digits_are_not_met_without_a_word(name: str, question: Numeric) -> None:
    """Rounded, and cut off."""
    right = question.right()
    for digits in (f"{right:.2g}", f"{right * 0.951:.2g}"):
        verdict = question.verdict(float(digits))
        far = abs(float(digits) - right) > 0.05 * abs(right)
        assert verdict.right or verdict.why or far
    off = question.verdict(right + 0.049 * abs(right) + 1e-9)
    assert (off.why == NEARLY) == (question.within > 0)


def test_each_number_has_a_second_way() -> None:
    numbers = {name for name, q in QUESTIONS.items() if isinstance(q, Numeric)}
    assert set(ON_PAPER) == numbers


@pytest.mark.parametrize("name", ON_PAPER)
def test_numbers_on_paper(name: str) -> None:
    right = QUESTIONS[name].right()
    assert right == pytest.approx(ON_PAPER[name](), rel=MEASURED.get(name, 1e-6))


# What we say, whatever the code computes.
WE_SAY = {
    "1.3": "p",
    "2.5": "later",
    "3.1": "small",
    "4.1": "most",
    "4.3": "L_0",
    "5.2": "early",
    "5.4": "square",
    "6.5": "between",
    "7.2": "density",
    "7.5": "stays",
    "8.1": "same",
    "8.4": "small",
    "9.2": "left",
    "10.1": "group",
    "10.3": "steps",
    "11.3": "between",
    "11.4": "shares",
    "12.2": "open",
    "12.4": "bits",
    "13.2": "variance",
    "14.2": "range",
    "14.4": "before",
    "14.5": "range",
    "15.1": "narrow",
    "15.2": "one",
}


def test_what_code_computes_is_what_we_say() -> None:
    computed = {name: q.right() for name, q in QUESTIONS.items() if isinstance(q, Choice)}
    assert computed == WE_SAY


@of_kind(Choice)
def test_choices(name: str, question: Choice) -> None:
    right = question.right()
    assert len(question.options) >= 3
    assert len({text for text, _ in question.options.values()}) == len(question.options)
    assert len(set(question.reasons)) == len(question.options)
    for option, (text, why) in question.options.items():
        assert text
        assert len(why.split()) >= 5, "a reason teaches"
        assert question.verdict(option) == (option == right, why)


def test_the_right_choice_stands_in_every_place() -> None:
    places = [q.key["right"] for q in QUESTIONS.values() if isinstance(q, Choice)]
    assert max(map(places.count, range(4))) <= len(places) / 2
    assert {0, 1, 2} <= set(places)


@of_kind(Order)
def test_orders(name: str, question: Order) -> None:
    """For every order of the lines: what the page decides is what running them decides."""
    said = set()
    for order in permutations(range(len(question.lines))):
        verdict = question.verdict(order)
        assert verdict.right == question.right([question.lines[i] for i in order])
        assert verdict.why
        said.add(verdict.why)
    assert said == set(question.reasons), "a reason that is never given"
    assert not question.verdict(question.shown).right
    assert sorted(question.shown) == list(range(len(question.lines)))
