"""A few faults of each kind; `python tests/faults.py --all` tries them all."""

import itertools
import re
from pathlib import Path

import pytest
import torch

from ddpm_lite.images.data import scaled
from ddpm_lite.runs import commands
from ddpm_lite.runs.cli import main
from ddpm_lite.unet import UNet
from tests import damaged, fuzz, killed, typed
from tests.faults import KINDS, offenders, table, well
from tests.outcomes import CLASSES, Fate, TooLong, at_most, in_words


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("as_a_reader")
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_silent_or_lost_and_hardly_anything_raw(kind: str) -> None:
    found = list(KINDS[kind](0, False))
    assert well(found), offenders(found)
    assert {each.kind for each in found} == {kind}
    assert {each.fate for each in found} <= set(CLASSES)


def test_every_function_and_every_setting_is_tried() -> None:
    tried = {each.what.partition("(")[0] for each in fuzz.tries(0, False)}
    assert tried == fuzz.CALLS.keys()
    assert {words[0] for words, _ in typed.BASES.values()} == {*commands.__all__}


@pytest.mark.parametrize("name", commands.__all__)
def test_the_settings_are_those_of_the_command_line(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([name, *["digits"] * (name == "train"), "--help"])
    shown = set(re.findall(r"(?<![\w-])--[a-zA-Z][\w-]*", capsys.readouterr().out))
    shown -= {"--help", "--n", "--nproc-per-node"}
    ours = {s.option for s in typed.settings(getattr(commands, name)) if not s.positional}
    assert {word for word in shown if not word.startswith("--no-")} == ours


@pytest.mark.usefixtures("as_a_reader")
def test_who_spoke() -> None:
    """A line of ours that calls torch, or Python, and fails there, has said nothing."""
    with pytest.raises(ValueError, match="width must be") as ours:
        UNet(8, 1, 7)
    assert in_words(ours.value, "width")
    assert not in_words(ours.value, "height")
    with pytest.raises(TypeError) as theirs:
        scaled(torch.ones(2), "x")  # type: ignore[arg-type]
    assert not in_words(theirs.value)


def test_no_answer_in_time() -> None:
    with pytest.raises(TooLong), at_most(0.05):
        for _ in itertools.count():  # a loop of Python's: a signal waits for the end of one in C
            pass


def test_what_is_counted_as_not_well(tmp_path: Path) -> None:
    fine = [Fate("files", "x", "right")] * 100
    assert well(fine)
    for name, many in (("silent", 1), ("lost", 1), ("raw", 2)):
        found = [*fine, *[Fate("files", f"a {name} one", name)] * many]
        assert not well(found)
        assert f"{name} files: a {name} one" in offenders(found)
        assert table(found).splitlines()[1].split().count(str(many)) == 1
    assert killed.same({"x": [torch.ones(2)]}, {"x": [torch.ones(2)]})
    assert not killed.same({"x": [torch.ones(2)]}, {"x": [torch.zeros(2)]})


def test_a_fault_that_nothing_guards_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flipped bit of weights is refused; where no checksum is looked at, it is silent."""
    from ddpm_lite.runs import checkpoints

    damaged.make(tmp_path)
    victim = damaged.VICTIMS["weights"]
    whole, expected = (tmp_path / "w.safetensors").read_bytes(), victim.use(tmp_path)
    flip = damaged.cut(whole[:-50] + bytes([whole[-50] ^ 1]) + whole[-49:])
    assert damaged.fate(victim, flip, tmp_path, expected)[0] == "refused"
    same = checkpoints.safe_open(tmp_path / "w.safetensors", "pt").metadata()["checksum"]
    monkeypatch.setattr(checkpoints, "_checksum", lambda *_: same)
    assert damaged.fate(victim, flip, tmp_path, expected)[0] == "silent"
