"""The command line as its user types it: train, go on, sample, evaluate, and what goes wrong."""

import itertools
import json
import shutil
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ddpm_lite.images.data import to_model_range
from ddpm_lite.images.sets import load_images
from ddpm_lite.runs import commands
from ddpm_lite.runs.cli import main

QUICK = "--width 8 --mults 1 --dropout 0 --T 20 --batch 8 --steps 4 --every 2 --sampler-steps 2"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "quick"
    main(["train", "digits", "--out", str(out), *QUICK.split(), "--sample-every", "2"])
    return out


def test_train_leaves_weights_states_a_log_and_grids(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()} - {".lock"}
    assert names == {
        "model.safetensors", "log.jsonl", "state-00000002.pt", "state-00000004.pt",
        "samples-00000002.png", "samples-00000004.png",
    }  # fmt: skip
    with Image.open(trained / "samples-00000004.png") as image:
        assert image.size == (8 * 64 + 7, 8 * 64 + 7)


def test_the_same_command_goes_on(trained: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = (trained / "model.safetensors").read_bytes()
    main(["train", "digits", "--out", str(trained), *QUICK.split()])
    assert (trained / "model.safetensors").read_bytes() == before  # nothing was left to do
    assert f"{trained} has nothing left to do: it is at step 4 of 4" in capfd.readouterr().err
    options = QUICK.replace("--steps 4", "--steps 6").split()
    with pytest.raises(SystemExit) as end:  # the rate falls over the steps, so they are fixed
        main(["train", "digits", "--out", str(trained), *options])
    assert "training steps was 4 and is 6" in str(end.value)


def test_a_broken_state_is_none_to_go_on_from(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    last = run / "state-00000004.pt"
    last.write_bytes(last.read_bytes()[:100])
    with pytest.warns(UserWarning, match="state-00000004.pt"):
        main(["train", "digits", "--out", str(run), *QUICK.split(), "--every", "1"])
    assert f"{run} goes on from step 2 of 4" in capfd.readouterr().err


def test_info_says_what_weights_hold(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["info", str(trained)])
    says = json.loads(capsys.readouterr().out)
    assert says["network"]["width"] == 8
    assert says["about"]["command"].startswith(f"ddpm-lite train digits --out {trained} --width 8")
    assert {"seed", "device", "torch", "date", "data", "step"} <= says["about"].keys()
    main(["info"])
    out = capsys.readouterr().out
    assert torch.__version__ in out
    assert "ho2020" in out


def test_samples_in_a_grid_and_in_a_folder(trained: Path, tmp_path: Path) -> None:
    grid, folder = tmp_path / "a" / "grid.png", tmp_path / "folder"
    common = [str(trained), "--samples", "5", "--batch", "2", "--seed", "3"]
    main(["sample", *common, "--out", str(grid)])
    main(["sample", *common, "--out", str(folder)])
    files = sorted(folder.iterdir())
    assert [path.name for path in files] == [f"{i:06d}.png" for i in range(5)]
    with Image.open(grid) as image:
        whole = np.asarray(image)
    scale = 8
    for i, path in enumerate(files):
        top, left = i // 2 * (8 * scale + 1), i % 2 * (8 * scale + 1)
        with Image.open(path) as image:
            one = np.asarray(image)
        tile = whole[top : top + 64, left : left + 64]
        assert np.array_equal(
            tile[::scale, ::scale], one[:: one.shape[0] // 8, :: one.shape[1] // 8]
        )
    before = grid.read_bytes()
    main(["sample", *common, "--out", str(grid), "--sampler", "ddim", "--steps", "3"])
    assert grid.read_bytes() != before


def test_evaluate_counts_bits_and_holds_samples_against_images(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures.json"
    main(
        ["evaluate", str(trained), "--images", "10", "--samples", "20", "--steps", "3",
         "--sampler", "ddim", "--out", str(out)]
    )  # fmt: skip
    found = json.loads(out.read_text())
    bits = found["bits_per_dim"]
    assert bits["total"] == pytest.approx(bits["prior"] + bits["kl"] + bits["decoder"])
    assert (bits["images"], found["split"], found["data"]) == (10, "test", "digits")
    samples = found["samples"]
    assert (samples["samples"], samples["reference"]) == (20, 1498)
    assert samples["split"] == "digits train"
    assert samples["steps"] == 3
    printed = capsys.readouterr().out
    assert "bits/dim over 10 images" in printed
    assert "20 samples against 1498 images" in printed


def test_grey_levels_of_the_data_are_the_decoder_s(trained: Path) -> None:
    from ddpm_lite import load

    assert load(trained / "model.safetensors")[1].levels == load_images("digits").levels == 17


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("sample nowhere --out a.png", "FileNotFoundError: no weights at nowhere"),
        ("train digits --out {tmp} --width 7", "width must be a positive multiple of 4, got 7"),
        ("train digits --out {tmp} --data wolves", "wolves"),
        ("train digits --out {tmp} --precision float16", "precision float16 needs a GPU"),
        (
            "train digits --out {tmp} --device cuda:7",
            "device must be one that torch finds here, such as cpu or cuda, got cuda:7",
        ),
        ("train digits --out {tmp} --tensorboard", 'pip install "ddpm-lite[tensorboard]"'),
    ],
)
def test_what_goes_wrong_is_one_line(
    words: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if torch.cuda.is_available() and ("float16" in words or "cuda" in words):
        pytest.skip("there is a GPU here")
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(SystemExit) as end:
        main(words.format(tmp=tmp_path / "run").split())
    assert says in str(end.value)
    assert str(end.value).count("\n") == 0


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("--lr -1", "lr must be positive, got -1"),
        ("--batch 10 --accumulate 3", "batch must be a multiple of accumulate = 3, got 10"),
        ("--objective noise", "eps"),
    ],
)
def test_a_bad_setting_is_told_before_anything_is_done(
    setting: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["train", "digits", "--out", str(tmp_path / "run"), *setting.split()])
    assert end.value.code == 2
    output = capsys.readouterr()
    assert says in " ".join((output.out + output.err).replace("│", " ").split())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [[], ["train"], ["train", "digits"], ["sample"], ["dream"]])
def test_words_that_make_no_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2


@pytest.mark.parametrize("command", ["train", "sample", "evaluate", "info", "train digits"])
def test_help_is_there(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([*command.split(), "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert "--help" in text
    assert "Args:" not in text


def test_tensorboard_gets_the_loss_and_the_grids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[Any]] = {"scalar": [], "image": [], "closed": []}

    class Writer:
        def __init__(self, folder: Path):
            assert folder == tmp_path / "tensorboard"

        def add_scalar(self, name: str, value: float, step: int) -> None:
            seen["scalar"].append((name, step))

        def add_image(self, name: str, image: torch.Tensor, step: int, dataformats: str) -> None:
            assert image.shape == (8 * 8 + 7, 8 * 8 + 7, 1)
            seen["image"].append((name, step, dataformats))

        def close(self) -> None:
            seen["closed"].append(True)

    module = types.SimpleNamespace(SummaryWriter=Writer)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    words = QUICK.replace("--steps 4", "--steps 100").replace("--every 2", "--every 100")
    main(["train", "digits", "--out", str(tmp_path), *words.split(), "--tensorboard"])
    assert seen == {
        "scalar": [("loss", 100)], "image": [("samples", 100, "HWC")], "closed": [True],
    }  # fmt: skip


def test_doctor_takes_its_images_from_the_whole_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder comes class by class, and its first images would be of one."""
    given: list[torch.Tensor] = []
    monkeypatch.setattr(commands, "FEW", 30)
    monkeypatch.setattr(commands, "diagnose", lambda x0, *_, **more: given.append(x0) or [])
    main(["doctor", "digits"])
    whole = to_model_range(load_images("digits", "train").images.long(), 17)
    rows = [next(i for i, x in enumerate(whole) if torch.equal(x, image)) for image in given[0]]
    assert len(rows) == 30
    assert (rows[0], rows[-1]) == (0, len(whole) * 29 // 30)
    assert max(b - a for a, b in itertools.pairwise(rows)) <= len(whole) // 30 + 1


def test_doctor_says_what_is_healthy_and_what_is_not(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "findings.json"
    main(["doctor", str(trained), "--images", "8", "--out", str(out)])
    said = capsys.readouterr().out
    found = json.loads(out.read_text())
    verdicts = {f["name"]: f["verdict"] for f in found["findings"]}
    assert verdicts["range"] == verdicts["levels"] == verdicts["finite weights"] == "healthy"
    assert verdicts["loss by t"] == "sick", "four steps teach nothing"
    assert verdicts["average"] != "unknown", "the last weights lie in the folder"
    assert "sick    loss by t" in said
    assert "try: " in said
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes((trained / "model.safetensors").read_bytes())
    main(["doctor", str(alone), "--images", "8", "--out", str(out)])
    found = json.loads(out.read_text())
    assert {f["name"]: f["measured"] for f in found["findings"]}["average"] is None
