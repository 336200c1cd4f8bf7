"""What checks the reader: right answers pass, and each known mistake gets its own hint."""

import math
from typing import Any

import pytest
import torch

from ddpm_lite import NoiseSchedule, cosine_schedule
from ddpm_lite.checks import CHECKERS, agree, below, check, disagree, not_below

from .answers import RIGHT, WRONG


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


def test_an_order_and_its_control(capsys: pytest.CaptureFixture[str]) -> None:
    below("half", torch.tensor(0.31), 0.5)
    not_below("a copy", 0.5, 0.5)
    assert capsys.readouterr().out == (
        "below    half (0.31, limit 0.5)\nFAILS    a copy (0.5, limit 0.5), as it should\n"
    )
    below("half", 0.31, 0.5, show=False)
    not_below("a copy", 0.6, 0.5, show=False)
    assert capsys.readouterr().out == (
        "below    half (limit 0.5)\nFAILS    a copy (limit 0.5), as it should\n"
    )
    for value in (0.5, 0.7, math.nan):
        with pytest.raises(AssertionError, match=rf"half: {value} is not below 0\.5"):
            below("half", value, 0.5)
    for value in (0.49, math.nan):
        with pytest.raises(AssertionError, match=rf"expected 0\.5 or more, got {value}"):
            not_below("half", value, 0.5)
