"""The three kinds of questions, and what is said to an answer.

Each answer is computed by code; `_static/questions.js` decides by the same rules in the page.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

# What a reader rounds to three digits is inside; what a popular mistake gives is ten times as far.
THREE_DIGITS = 0.006
# What a reader rounds to two digits is no farther off than this share, and is told so.
TWO_DIGITS = 0.05
NEARLY = "Nearly. Give three digits."


class Verdict(NamedTuple):
    """Whether an answer is right, and why; empty where nothing is known of it."""

    right: bool
    why: str


@dataclass(frozen=True)
class Numeric:
    """A number. `wrong` has the popular wrong values, each by the reason why it is wrong.

    Right is what lies within the share `within` of the right value; 0 asks for it exactly.
    """

    kind: ClassVar[str] = "numeric"
    text: str
    right: Callable[[], float]
    why: str
    wrong: dict[str, Callable[[], float]]
    within: float = THREE_DIGITS

    def near(self, answer: float, value: float) -> bool:
        return abs(answer - value) <= self.within * abs(value) + 1e-12

    def verdict(self, answer: float) -> Verdict:
        if self.near(answer, self.right()):
            return Verdict(True, self.why)
        for reason, value in self.wrong.items():
            if self.near(answer, value()):
                return Verdict(False, reason)
        far = abs(answer - self.right()) > self.nearly * abs(self.right())
        return Verdict(False, "" if far else NEARLY)

    @property
    def nearly(self) -> float:
        """How far off too few digits may be; none are too few where the value is asked exactly."""
        return TWO_DIGITS if self.within else 0.0

    @property
    def reasons(self) -> list[str]:
        return [self.why, *self.wrong]

    @property
    def key(self) -> dict[str, Any]:
        wrong = [rounded(value()) for value in self.wrong.values()]
        return {
            "right": rounded(self.right()),
            "within": self.within,
            "nearly": self.nearly,
            "wrong": wrong,
        }


@dataclass(frozen=True)
class Choice:
    """One of several. `options` has what each says and why it is right or wrong, by its name.

    `right` computes the name of the right one.
    """

    kind: ClassVar[str] = "choice"
    text: str
    right: Callable[[], str]
    options: dict[str, tuple[str, str]]

    def verdict(self, answer: str) -> Verdict:
        return Verdict(answer == self.right(), self.options[answer][1])

    @property
    def reasons(self) -> list[str]:
        return [why for _, why in self.options.values()]

    @property
    def key(self) -> dict[str, Any]:
        return {"right": list(self.options).index(self.right())}


@dataclass(frozen=True)
class Order:
    """Lines to be put in order; here they stand in a right one.

    `before` says of two lines which comes first, and why: together these decide, and `right`,
    which runs the lines in a given order, must say the same of each of their permutations.
    Lines that are not `code` are sentences.
    """

    kind: ClassVar[str] = "order"
    text: str
    lines: tuple[str, ...]
    before: dict[tuple[int, int], str]
    right: Callable[[Sequence[str]], bool]
    why: str
    code: bool = True

    def verdict(self, answer: Sequence[int]) -> Verdict:
        place = {line: i for i, line in enumerate(answer)}
        for (first, second), reason in self.before.items():
            if place[first] > place[second]:
                return Verdict(False, reason)
        return Verdict(True, self.why)

    @property
    def shown(self) -> list[int]:
        """The order in which the page shows the lines: shuffled, always alike, and wrong."""
        dice, order = random.Random(self.text), list(range(len(self.lines)))
        while self.verdict(order).right or any(b == a + 1 for a, b in pairwise(order)):
            dice.shuffle(order)
        return order

    @property
    def reasons(self) -> list[str]:
        return [self.why, *self.before.values()]

    @property
    def key(self) -> dict[str, Any]:
        return {"before": [list(pair) for pair in self.before]}


Question = Numeric | Choice | Order


def rounded(value: float) -> float:
    """Ten digits: what two computers agree on."""
    return float(f"{float(value):.10g}")


def shown(value: float) -> str:
    """Three digits, and all those before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def same(*values: Any, atol: float = 1e-9) -> bool:
    """Whether numbers, or tensors of numbers, are all the same."""
    first, *others = map(float, values)
    return all(math.isclose(first, x, rel_tol=0, abs_tol=atol) for x in others)


def run(lines: Sequence[str], **names: Any) -> dict[str, Any]:
    """The names after the lines have run in this order; no names where one of them failed."""
    try:
        exec("\n".join(lines), names)
    except (NameError, RuntimeError, TypeError, AttributeError):
        return {}
    return names
