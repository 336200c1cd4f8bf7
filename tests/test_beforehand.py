"""What would fail after the work is told before it: every setting, place, image and network."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.run import get_args_parser

from ddpm_lite import GaussianDiffusion, UNet, linear_schedule, load
from ddpm_lite.runs import commands
from ddpm_lite.runs.checkpoints import save_model
from ddpm_lite.runs.cli import main
from tests.pictures import offline, random, save

__all__ = ["offline"]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with weights of 20 steps and of classes; in it, no work may begin."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    diffusion = GaussianDiffusion(linear_schedule(20, 5e-3, 0.5), levels=17)
    for name, more in (("small", {}), ("classes", {"classes": 3})):
        save_model(f"{name}.safetensors", UNet(8, 1, 8, (1,), **more), diffusion)

    def begun(*_: Any, **__: Any) -> None:
        raise AssertionError("the work had begun")

    for name in ("draw", "codelength"):
        monkeypatch.setattr(commands, name, begun)
    monkeypatch.setattr(commands.Run, "train", begun)
    return folder


def refused(words: str, *more: str) -> str:
    with pytest.raises(SystemExit) as end:
        main([*words.split(), *more])
    assert end.value.code not in (0, None)
    return str(end.value)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("train digits --T 20 --sampler-steps 50", "sampler_steps must lie in 1..20, got 50"),
        ("train digits --sampler-steps 0", "sampler_steps must lie in 1..1000, got 0"),
        ("train digits --keep 0", "keep must be at least 1, got 0"),
        ("train digits --size 9999", "size must be a multiple of 2"),
        ("train digits --size 99999998", "MemoryError: 1498 images of 99999998 x 99999998 need"),
        ("evaluate small.safetensors --samples 5", "samples must be at least 10, got 5"),
        ("evaluate small.safetensors --samples -5", "samples must be at least 0, got -5"),
        ("evaluate small.safetensors --images -1", "images must be at least 2, got -1"),
        ("evaluate small.safetensors --images 1", "images must be at least 2, got 1"),
        ("evaluate small.safetensors --batch 0", "batch must be at least 1, got 0"),
        ("evaluate small.safetensors --seed -1", "seed must be at least 0, got -1"),
        ("evaluate small.safetensors --split nights", "must be train, test or all, got 'nights'"),
        ("evaluate small.safetensors --samples 10 --reference nights", "got 'nights'"),
        ("evaluate small.safetensors --samples 10 --steps 21", "steps must lie in 1..20, got 21"),
        ("evaluate small.safetensors --features digits", "features is about samples"),
        ("evaluate small.safetensors --reference test", "reference is about samples"),
        ("evaluate small.safetensors --sampler ddim", "sampler is about samples"),
        ("evaluate small.safetensors --steps 5", "steps is about samples"),
        ("evaluate small.safetensors --eta 0", "eta is about samples"),
        ("evaluate classes.safetensors", "are for labels in 0..1, and digits test has 9"),
        ("train digits --width 4000000000000", "MemoryError: a network of width=4000000000000,"),
        ("train digits --blocks 1000000000000", "blocks=1000000000000, heads=1"),
        ("train digits --T 1000000000000", "a chain of T=1000000000000 needs"),
        ("train digits --batch 1000000000000", "a batch=1000000000000 needs"),
        ("evaluate small.safetensors --out a.txt", "out must end in .json, got a.txt"),
        ("evaluate small.safetensors --out small.safetensors", "out must end in .json, got small"),
        ("evaluate small.safetensors --out .", "out must end in .json, got ."),
        ("evaluate small.safetensors --out small.safetensors/a.json", "is a file"),
        ("sample small.safetensors --out a.png --samples 0", "samples must be at least 1, got 0"),
        ("sample small.safetensors --out a.png --samples 9999999999999999999", "at most 92233"),
        ("sample small.safetensors --out a.png --batch 0", "batch must be at least 1, got 0"),
        ("sample small.safetensors --out a.png --seed -2", "seed must be at least 0, got -2"),
        ("sample small.safetensors --out a.png --eta 0.5", "does nothing to ddpm, got 0.5"),
        ("sample small.safetensors --out a.png --sampler ddim --eta 2", "in [0, 1], got 2"),
        ("sample small.safetensors --out a.png --sampler ddim --steps 0", "in 1..20, got 0"),
        ("sample small.safetensors --out a.png --steps 0", "must lie in 1..20, got 0"),
        ("sample small.safetensors --out a.png --replace", "it does nothing to a.png"),
        ("sample classes.safetensors --out a.png --label 2", "must lie in 0..1, got 2"),
        ("sample small.safetensors --out grid.jpg", "must end in .png, or be a folder, got grid"),
        ("sample small.safetensors --out b/grid.TIFF", "must end in .png, or be a folder"),
        ("sample small.safetensors --out small.safetensors", "small.safetensors is a file"),
        ("sample small.safetensors --out small.safetensors/a.png", "small.safetensors is a file"),
        ("doctor small.safetensors --images 1", "images must be at least 2, got 1"),
        ("doctor small.safetensors --images 257", "images must lie in 2..256, got 257"),
        ("doctor small.safetensors --steps 0", "steps must be at least 1, got 0"),
        ("doctor small.safetensors --steps 21", "steps must lie in 1..20, got 21"),
        ("doctor small.safetensors --seed -1", "seed must be at least 0, got -1"),
        ("doctor small.safetensors --held-out nights", "got 'nights'"),
        ("doctor small.safetensors --out a.txt", "out must end in .json, got a.txt"),
        ("doctor classes.safetensors", "are for labels in 0..1, and digits train has 9"),
        ("export digits --out small.safetensors", "must end in .js, got small.safetensors"),
    ],
)
def test_before_any_work(work: Path, words: str, says: str) -> None:
    before = sorted(work.rglob("*"))
    if words.startswith("train"):
        words += " --out run"
    assert says in refused(words)
    assert sorted(work.rglob("*")) == before  # nothing is left behind


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("--sample-every 0", "sample_every must be at least 1, got 0"),
        ("--every 0", "every must be at least 1, got 0"),
        ("--size -8", "size must be at least 1, got -8"),
        ("--channels 2", "channels must be 1 or 3, got 2"),
        ("--T 0", "T must be at least 1, got 0"),
        ("--beta-end 0.5", "beta_end is of a linear schedule"),  # the digits' is a cosine
    ],
)
@pytest.mark.usefixtures("work")
def test_settings_that_no_run_can_have(
    setting: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(f"train digits --out run {setting}") == "2"
    shown = capsys.readouterr()
    assert says in " ".join((shown.out + shown.err).replace("│", " ").split())


def test_a_folder_that_cannot_be_written(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ddpm_lite.runs import beforehand

    (work / "file").write_text("in the way")
    assert f"{work / 'file'} is a file" in refused("train digits --out file/run")
    assert "file must be a folder" in refused("train digits --out file")
    (work / "locked").mkdir()
    real = beforehand.TemporaryFile

    def locked(dir: Path) -> Any:
        if dir == work / "locked":
            raise PermissionError(13, "Permission denied")
        return real(dir=dir)

    monkeypatch.setattr(beforehand, "TemporaryFile", locked)
    for words in ("train digits --out locked/run", "sample small.safetensors --out locked/a/b",
                  "evaluate small.safetensors --out locked/a.json"):  # fmt: skip
        assert "locked says Permission denied" in refused(words)


def test_a_folder_in_the_place_of_a_file(work: Path) -> None:
    for name, words in (
        ("a.json", "evaluate small.safetensors --data digits"),
        ("a.js", "export small.safetensors"),
        ("a.png", "sample small.safetensors"),
    ):
        (work / name).mkdir()
        assert f"{name} must be a file, and is a folder" in refused(f"{words} --out {name}")


def test_weights_that_a_run_would_replace(work: Path) -> None:
    (work / "run").mkdir()
    (work / "small.safetensors").rename(work / "run" / "model.safetensors")
    assert "run has weights and no state to go on from" in refused("train digits --out run")


@pytest.mark.usefixtures("work")
def test_an_empty_word_is_no_path() -> None:
    for words in (["--out="], ["--out", ""]):
        text = refused("train digits", *words)
        assert "ends in an empty word" in text
        assert "train digits --out" in text


@pytest.mark.parametrize(
    "command", ["train digits", "sample", "evaluate", "doctor", "export", "info"]
)
def test_torchrun_leaves_us_every_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    options = set(re.findall(r"(?<![\w-])--[a-zA-Z][\w-]*", capsys.readouterr().out)) - {"--help"}
    options -= {"--nproc-per-node"}  # of torchrun, in an example
    options -= {"--n"}  # which has another name for it
    assert ("--samples" in options) == (command in ("sample", "evaluate"))
    for option in options:
        words = ["--nproc-per-node=2", "-m", "ddpm_lite", command, option, "3"]
        assert get_args_parser().parse_args(words).training_script_args == [command, option, "3"]


def test_images_that_are_not_square_or_not_alike(work: Path, offline: Path) -> None:
    for i in range(2):
        save(offline / "wide" / f"{i}.png", random(16, 40, 3))
        save(offline / "mixed" / f"{i}.png", random(8, 8, *[3][:i]))
    text = refused(f"train digits --out run --data {offline / 'wide'}")
    assert "must be square" in text
    assert "are 40 x 16; size=16 crops and resizes all (--size 16)" in text
    text = refused(f"train digits --out run --data {offline / 'mixed'}")
    assert "--channels 1 or --channels 3" in text
    assert not (work / "run").exists()


def test_images_that_the_weights_are_not_for(work: Path, offline: Path) -> None:
    small = str(work / "small.safetensors")
    for name, shape, count in (("wide", (8, 16), 2), ("deep", (8, 8), 2), ("one", (8, 8), 1)):
        for i in range(count):
            save(offline / name / f"{i}.png", random(*shape))
    for name, says in (("wide", "of shape (1, 8, 8), and those"), ("deep", "of 17 grey levels")):
        assert says in refused(f"evaluate {small} --split train --data {offline / name}")
    save_model(small, UNet(8, 1, 8, (1,)), GaussianDiffusion(linear_schedule(20, 5e-3, 0.5)))
    assert "at least two images, got 1" in refused(
        f"evaluate {small} --split train --data {offline / 'one'}"
    )


def test_channels_are_noted_for_later(
    tmp_path: Path, offline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i in range(4):
        save(offline / f"{i}.png", random(8, 8, *[3][: i % 2]))
    words = "--width 8 --mults 1 --T 5 --batch 4 --steps 1 --channels 1"
    main(
        ["train", "digits", "--out", str(tmp_path / "run"), "--data", str(offline), *words.split()]
    )
    main(["evaluate", str(tmp_path / "run"), "--split", "train"])
    assert "bits/dim over 4 images" in capsys.readouterr().out
    assert load(tmp_path / "run" / "model.safetensors")[0].channels == 1


def test_fewer_times_than_the_usual_steps(tmp_path: Path) -> None:
    words = "--width 8 --mults 1 --T 20 --batch 4 --steps 1"
    main(["train", "digits", "--out", str(tmp_path / "run"), *words.split()])
    assert (tmp_path / "run" / "samples-00000001.png").exists()


@pytest.mark.usefixtures("work")
def test_what_may_fail_is_made_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise OSError("the weights cannot be downloaded")

    monkeypatch.setattr(commands, "Inception", none)
    words = "evaluate small.safetensors --samples 10"
    assert "cannot be downloaded" in refused(f"{words} --features inception")
    save_model("large.safetensors", UNet(16, 1, 8, (1,)), load("small.safetensors")[1],
               {"data": "digits", "size": 16})  # fmt: skip
    assert "images must be [B, 1, 8, 8]" in refused("evaluate large.safetensors --samples 10")


def test_bits_are_told_before_samples_are_drawn(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ddpm_lite.runs.many import codelength

    def fails(*_: Any, **__: Any) -> None:
        found.extend([capsys.readouterr().out, (work / "a" / "figures.json").read_text()])
        raise OSError("no more power")

    found: list[str] = []
    monkeypatch.setattr(commands, "codelength", codelength)
    monkeypatch.setattr(commands, "draw", fails)
    words = "evaluate small.safetensors --images 4 --samples 10 --out a/figures.json"
    assert "no more power" in refused(words)
    assert "bits/dim over 4 images" in found[0]
    assert json.loads(found[1])["bits_per_dim"]["images"] == 4


def test_what_lies_in_the_place_of_samples(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = "sample small.safetensors --out out/a --steps 2"
    (work / "out" / "a").mkdir(parents=True)
    (work / "out" / "a" / ".DS_Store").write_text("of the system")
    monkeypatch.setattr(commands, "draw", lambda *a, **_: torch.zeros(a[2], 1, 8, 8))
    main([*command.split(), "--samples", "6"])
    text = refused(f"{command} --samples 3")
    assert "holds 6 samples already: --replace takes them away" in text
    assert len(list(work.glob("out/a/*.png"))) == 6
    main([*command.split(), "--samples", "3", "--replace"])
    assert sorted(p.name for p in work.glob("out/a/*.png")) == [f"00000{i}.png" for i in range(3)]
    (work / "out" / "a" / "notes.txt").write_text("mine")
    for flag in ("", "--replace"):
        assert "nothing but samples, and out/a has notes.txt" in refused(f"{command} {flag}")
    assert (work / "out" / "a" / ".DS_Store").exists()
    main([*command.replace("out/a", "GRID.PNG").split(), "--n", "4"])
    assert (work / "GRID.PNG").is_file()
    assert "4 samples in GRID.PNG" in capsys.readouterr().out
    main([*command.replace("out/a", "v1.5").split(), "--samples", "1"])
    assert (work / "v1.5" / "000000.png").is_file()


def test_a_folder_does_not_hide_the_weights_that_come_along(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (work / "digits").mkdir()
    (work / "small.safetensors").rename(work / "digits" / "model.safetensors")
    main(["info", "digits"])
    out = capsys.readouterr()
    assert json.loads(out.out)["network"]["width"] == 20
    assert "for the folder write ./digits" in out.err
    main(["info", "./digits"])
    assert json.loads(capsys.readouterr().out)["network"]["width"] == 8


@pytest.mark.usefixtures("work")
def test_stopping_what_does_not_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "draw", interrupted)
    assert "begins again" in refused("sample small.safetensors --out a.png")
