"""What checks the reader: right answers pass, and each known mistake gets its own hint."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from ddpm_lite import NoiseSchedule, cosine_schedule, linear_schedule
from ddpm_lite.checks import CHECKERS, agree, check, disagree

RIGHT: dict[str, Callable[..., Any]] = {
    "1.2": lambda m: torch.linalg.matrix_power(m, 2),
    "1.3": lambda mean, std: (mean * mean + std * std - 1) / 2 - math.log(std),
    "2.2": lambda s, a, b: (
        s.alpha[a + 1 : b + 1].prod().sqrt(),
        1 - s.alpha[a + 1 : b + 1].prod(),
    ),
    "2.3": lambda s: sum(1 for value in s.snr if value >= 1),
    "2.4": lambda T: linear_schedule(T, 0.1 / T, 20 / T),
}
WRONG: list[tuple[str, Any, str]] = [
    ("1.2", lambda m: m * m, "squares each entry"),
    ("1.2", lambda m: m.T @ m, "first step against the arrow"),
    ("1.2", lambda m: m @ m.T, "second step against the arrow"),
    ("1.2", lambda m: m, "numbers are off"),
    ("1.2", lambda m: m[0], "Expected shape (3, 3), got (3,)"),
    ("1.3", lambda m, s: (1 / s**2 + (m / s) ** 2 - 1) / 2 + math.log(s), "the order of the two"),
    ("1.3", lambda m, s: (m**2 + s**2 - 1) / 2 + math.log(s), "sign is turned round"),
    ("1.3", lambda m, s: (m**2 + s - 1 - math.log(s)) / 2, "square it"),
    ("1.3", lambda m, s: 0.0, "numbers are off"),
    ("2.2", lambda s, a, b: (s.alpha_bar[b].sqrt(), 1 - s.alpha_bar[b]), "is already in x_s"),
    (
        "2.2",
        lambda s, a, b: (
            (s.alpha_bar[b] - s.alpha_bar[a]).abs().sqrt(),
            1 - (s.alpha_bar[b] - s.alpha_bar[a]).abs(),
        ),
        "divide, do not subtract",
    ),
    (
        "2.2",
        lambda s, a, b: (s.alpha_bar[b] / s.alpha_bar[a], 1 - s.alpha_bar[b] / s.alpha_bar[a]),
        "The scale is a square root",
    ),
    (
        "2.2",
        lambda s, a, b: tuple(
            v.sqrt() for v in (s.alpha_bar[b] / s.alpha_bar[a], 1 - s.alpha_bar[b] / s.alpha_bar[a])
        ),
        "not the standard deviation",
    ),
    ("2.2", lambda s, a, b: 0.5, "Return two numbers"),
    ("2.3", lambda s: int((s.snr[1:] < 1).nonzero()[0]), "one step early"),
    ("2.3", lambda s: int((s.snr < 1).nonzero()[0]) + 1, "one step late"),
    ("2.3", lambda s: 0, "a step lies in 1.."),
    ("2.3", lambda s: s.T, "where the SNR is"),
    ("2.4", linear_schedule, "must each be larger by 1000 / T"),
    ("2.4", lambda T: linear_schedule(T, 1e-4, 0.02 * 2000 / T), "larger by 1000 / T"),
    ("2.4", lambda T: linear_schedule(1000), "Asked for 100 steps, got 1000"),
    ("2.4", lambda T: 3, "Return a NoiseSchedule, not int"),
    (
        "2.4",
        lambda T: NoiseSchedule(torch.full((T,), 10 / T).mul(torch.rand(T) * 0.2 + 0.9)),
        "not evenly spaced",
    ),
]


@pytest.mark.parametrize("number", CHECKERS)
def test_right_answers_pass_every_time(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(20):
        torch.manual_seed(seed)
        check(number, RIGHT[number])
    assert capsys.readouterr().out == f"Exercise {number}: right.\n" * 20


@pytest.mark.parametrize(("number", "answer", "hint"), WRONG)
def test_wrong_answers_get_their_hint(
    number: str, answer: Any, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(20):
        torch.manual_seed(seed)
        check(number, answer)
    for line in capsys.readouterr().out.splitlines():
        assert line.startswith(f"Exercise {number}: not yet. ")
        assert hint in line


@pytest.mark.usefixtures("as_a_reader")
@pytest.mark.parametrize("number", CHECKERS)
def test_no_answer_is_said_kindly(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    for blank in (None, ..., lambda *_: ..., lambda *_: None):
        check(number, blank)
    out = capsys.readouterr().out
    assert out.count("replace the dots") == 4


def test_the_reader_s_own_errors_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    check("1.2", lambda m: 1 / 0)
    assert "Your code raised ZeroDivisionError: division by zero" in capsys.readouterr().out
    with pytest.raises(KeyError, match=r"exercise must be one of 1\.2, .*, got '9\.9'"):
        check("9.9", None)


def test_checkers_do_not_accept_a_schedule_of_their_own() -> None:
    """Fresh inputs each time: the numbers of one call do not answer the next."""
    torch.manual_seed(1)
    seen = []
    for _ in range(2):
        check("2.2", lambda s, a, b: seen.append((a, b)) or RIGHT["2.2"](s, a, b))
    assert len({pair for pair in seen if pair[0] > 0}) == 4


def test_agree_and_disagree(capsys: pytest.CaptureFixture[str]) -> None:
    agree("close", torch.tensor([1.0, 2.0]), [1.0, 2.0001], atol=1e-3)
    disagree("far", 1.0, 2.0, atol=1e-3)
    assert capsys.readouterr().out == (
        "agrees   close (to 1e-03)\nFAILS    far (off by 1), as it should\n"
    )
    with pytest.raises(AssertionError, match=r"far: off by 1, more than 0\.001"):
        agree("far", 1.0, 2.0, atol=1e-3)
    with pytest.raises(AssertionError, match="close: expected to fail by more than"):
        disagree("close", 1.0, 1.0, atol=1e-3)
    with pytest.raises(AssertionError, match="more than"):
        agree("nan", math.nan, 1.0, atol=1.0)
    with pytest.raises(AssertionError, match="expected to fail"):
        disagree("nan", math.nan, 1.0, atol=1.0)
    with pytest.raises(AssertionError, match="expected shape"):
        agree("shape", torch.zeros(3), torch.zeros(3, 1), atol=1.0)


def test_cosine_schedules_are_among_the_inputs() -> None:
    seen: list[NoiseSchedule] = []
    check("2.3", lambda s: seen.append(s) or RIGHT["2.3"](s))
    assert any(torch.equal(s.beta, cosine_schedule(s.T).beta) for s in seen)
