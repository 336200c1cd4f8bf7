"""Damaged files and runs that were killed between two writes: nothing loads as what it is not."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ddpm_lite import GaussianDiffusion, Run, TrainConfig, UNet, linear_schedule, load, save_model
from ddpm_lite.experiments import results
from ddpm_lite.quality.classifier import load_classifier
from ddpm_lite.runs import checkpoints
from ddpm_lite.runs.checkpoints import about, load_state, save_state
from ddpm_lite.system.files import WEIGHTS
from ddpm_lite.training import TrainState

DIFFUSION = GaussianDiffusion(linear_schedule(10))
IMAGES = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


def network() -> UNet:
    torch.manual_seed(0)
    return UNet(8, 1, 8, (1,), blocks=1)


def flipped(path: Path, where: int, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[where] ^= 1 << bit
    path.write_bytes(data)


def test_no_flipped_bit_of_weights_loads(tmp_path: Path) -> None:
    path, chooser = tmp_path / "a.safetensors", random.Random(0)
    save_model(path, network(), DIFFUSION)
    whole = path.read_bytes()
    for _ in range(40):
        path.write_bytes(whole)
        flipped(path, chooser.randrange(len(whole)), chooser.randrange(8))
        with pytest.raises(ValueError, match=r"a\.safetensors"):
            load(path)


def test_no_flipped_bit_of_a_state_loads(tmp_path: Path) -> None:
    path, chooser = tmp_path / "state-00000001.pt", random.Random(1)
    save_state(path, {"x": torch.arange(500.0), "n": 3})
    assert load_state(path)["n"] == 3
    whole = path.read_bytes()
    for _ in range(40):
        path.write_bytes(whole)
        flipped(path, chooser.randrange(len(whole)), chooser.randrange(8))
        with pytest.raises(ValueError, match="cut short or damaged"):
            load_state(path)


def test_weights_without_a_checksum_still_load(tmp_path: Path) -> None:
    load(shutil.copy(WEIGHTS / "digits.safetensors", tmp_path))


def test_no_flipped_bit_of_weights_that_come_along_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("digits", "digits_classifier"):
        for kind in ("safetensors", "json"):
            shutil.copy(WEIGHTS / f"{name}.{kind}", tmp_path)
    monkeypatch.setattr(checkpoints, "WEIGHTS", tmp_path)
    load("digits")
    load_classifier(tmp_path)
    for name, read in (
        ("digits", lambda: load("digits")),
        ("digits_classifier", lambda: load_classifier(tmp_path)),
    ):
        flipped(tmp_path / f"{name}.safetensors", 50_000, 0)
        with pytest.raises(ValueError, match=rf"{name}\.safetensors is damaged: .*its card"):
            read()
        (tmp_path / f"{name}.json").write_text("[]")
        with pytest.raises(ValueError, match=rf"{name}\.json is damaged: it must name the sha256"):
            read()


def test_a_damaged_table_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shipped.json").write_text('{"seed": 0, ')
    monkeypatch.setattr(results, "STORED", tmp_path)
    with pytest.raises(ValueError, match=r"shipped\.json is damaged"):
        results.load_results("shipped")


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # inside torch
@pytest.mark.usefixtures("as_a_reader")
def test_weights_of_a_wrapped_network_are_its_own(tmp_path: Path) -> None:
    bare = network()
    average = torch.optim.swa_utils.AveragedModel(bare)
    for i, wrapped in enumerate((torch.compile(bare), average, torch.nn.DataParallel(bare))):
        save_model(tmp_path / f"{i}.safetensors", wrapped, DIFFUSION)
        loaded, _ = load(tmp_path / f"{i}.safetensors")
        for mine, theirs in zip(loaded.parameters(), bare.parameters(), strict=True):
            assert torch.equal(mine, theirs)
    with pytest.raises(TypeError, match="network must be a UNet, got Linear"):
        next(Run(tmp_path / "run").train(torch.nn.Linear(2, 2), DIFFUSION, IMAGES))  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def test_weights_that_are_no_numbers_do_not_load(tmp_path: Path) -> None:
    bad = network()
    torch.nn.init.constant_(bad.conv_in.bias, float("nan"))
    with pytest.raises(ValueError, match=r"conv_in\.bias must be finite"):
        save_model(tmp_path / "a.safetensors", bad, DIFFUSION)


def test_the_average_is_as_small_as_the_weights(tmp_path: Path) -> None:
    state = TrainState(network(), TrainConfig())
    torch.save(state.ema, tmp_path / "ema.pt")
    torch.save(state.model, tmp_path / "model.pt")
    sizes = [(tmp_path / name).stat().st_size for name in ("ema.pt", "model.pt")]
    assert sizes[0] < 1.2 * sizes[1]


class Killed(BaseException):
    pass


def walk(folder: Path, steps: int = 6) -> None:
    config = TrainConfig(steps=steps, batch=2, warmup=1, decay=False)
    for _ in Run(folder, every=3, log_every=1).train(network(), DIFFUSION, IMAGES, config):
        pass


def test_killed_at_every_write_a_run_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after each file takes its place: the same command ends with the same weights."""
    replace = os.replace
    walk(tmp_path / "whole")
    expected = load(tmp_path / "whole" / "model.safetensors")[0].state_dict()
    rows = [row["step"] for row in Run(tmp_path / "whole").rows()]
    for after in (False, True):
        for n in range(100):
            folder, left = tmp_path / f"{after}-{n}", [n]

            def killed(*paths: Any, after: bool = after, left: list[int] = left) -> None:
                left[0] -= 1
                if after or left[0] >= 0:
                    replace(*paths)
                if left[0] < 0:
                    raise Killed

            monkeypatch.setattr(os, "replace", killed)
            try:
                walk(folder)
            except Killed:
                pass
            else:
                monkeypatch.setattr(os, "replace", replace)
                break
            monkeypatch.setattr(os, "replace", replace)
            walk(folder)
            found = load(folder / "model.safetensors")[0].state_dict()
            assert all(torch.equal(found[name], x) for name, x in expected.items()), (after, n)
            assert sorted({row["step"] for row in Run(folder).rows()}) == rows
        assert n >= 3  # two states and the weights beside each, at least


@pytest.mark.parametrize("settings", [None, 3, {}])
def test_a_state_that_is_no_state_falls_back(tmp_path: Path, settings: Any) -> None:
    walk(tmp_path)
    last = max(Run(tmp_path).states())
    saved = load_state(last)
    save_state(last, {**saved, "settings": saved["settings"], "optimizer": settings})
    (tmp_path / "model.safetensors").unlink()
    shutil.copy(last, tmp_path / f"{last.stem} (1).pt")  # as cloud drives make them
    with pytest.warns(UserWarning, match="going back to the state before it"):
        walk(tmp_path)
    assert load(tmp_path / "model.safetensors")


def test_a_bad_line_of_the_log_costs_that_line_alone(tmp_path: Path) -> None:
    walk(tmp_path)
    log = tmp_path / "log.jsonl"
    lines = log.read_bytes().splitlines()
    log.write_bytes(
        b"\n".join([lines[0], b"5", b"{}", b"\xff\xfe", b'{"step": ', *lines[1:]]) + b"\n"
    )
    with pytest.warns(UserWarning, match="4 lines are no rows .* the first of them line 2"):
        assert [row["step"] for row in Run(tmp_path).rows()] == [1, 2, 3, 4, 5, 6]
    with pytest.warns(UserWarning, match="left out"):
        walk(tmp_path, steps=7)
    assert [row["step"] for row in Run(tmp_path).rows()] == [1, 2, 3, 4, 5, 6, 7]


def test_a_digit_of_the_log_that_flipped_costs_its_line(tmp_path: Path) -> None:
    walk(tmp_path)
    log = tmp_path / "log.jsonl"
    first, *others = log.read_bytes().splitlines()
    at = first.index(b"loss") + 10
    log.write_bytes(
        b"\n".join([first[:at] + bytes([first[at] ^ 1]) + first[at + 1 :], *others, b""])
    )
    with pytest.warns(UserWarning, match="1 lines are no rows .* the first of them line 1"):
        assert [row["step"] for row in Run(tmp_path).rows()] == [2, 3, 4, 5, 6]
    old = [{k: v for k, v in json.loads(line).items() if k != "sum"} for line in others]
    log.write_text("".join(json.dumps(row) + "\n" for row in old))  # as before there was a sum
    assert Run(tmp_path).rows() == old


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("")])
def test_rows_that_are_gone_are_told(damage: Callable[[Path], object], tmp_path: Path) -> None:
    walk(tmp_path)
    damage(tmp_path / "log.jsonl")
    with pytest.warns(UserWarning, match=r"had 6 rows at step 6, and 0 of them can be read"):
        walk(tmp_path, steps=7)
    walk(tmp_path, steps=8)  # told once
    assert [row["step"] for row in Run(tmp_path).rows()] == [7, 8]


def test_a_state_of_another_step_falls_back(tmp_path: Path) -> None:
    walk(tmp_path)
    shutil.copy(tmp_path / "state-00000003.pt", tmp_path / "state-00000006.pt")
    with pytest.warns(UserWarning, match=r"state-00000006\.pt .*it is of step 3"):
        walk(tmp_path)
    assert load_state(tmp_path / "state-00000006.pt")["step"] == 6


@pytest.mark.parametrize("name", ["log.jsonl", "model.safetensors", ".lock", "state-00000006.pt"])
def test_a_folder_in_the_place_of_a_file(name: str, tmp_path: Path) -> None:
    walk(tmp_path)
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    with pytest.raises(IsADirectoryError, match=rf"{name} must be a file, and is a folder"):
        walk(tmp_path, steps=7)
    (tmp_path / name).rmdir()


@pytest.mark.parametrize("wrong", ["a bit", "the weights", "the step", "the file"])
def test_weights_that_are_not_the_last_state_s_are_written_again(
    wrong: str, tmp_path: Path
) -> None:
    """The same command on a finished run mends them, whatever is wrong with them."""
    walk(tmp_path)
    weights = tmp_path / "model.safetensors"
    (expected, _), noted = load(weights), about(weights)
    if wrong == "a bit":
        flipped(weights, weights.stat().st_size - 100, 3)
    elif wrong == "the weights":
        save_model(weights, network(), DIFFUSION, noted["about"])
    elif wrong == "the step":
        save_model(weights, expected, DIFFUSION, {**noted["about"], "step": 3})
    else:
        weights.write_bytes(b"")
    walk(tmp_path)
    found = load(weights)[0].state_dict()
    assert all(torch.equal(found[name], x) for name, x in expected.state_dict().items())
    assert about(weights) == noted


def test_a_state_with_numbers_that_are_none_falls_back(tmp_path: Path) -> None:
    walk(tmp_path)
    last = max(Run(tmp_path).states())
    saved = load_state(last)
    saved["model"]["conv_in.bias"][0] = float("inf")
    save_state(last, saved)
    with pytest.warns(UserWarning, match=r"state-00000006\.pt .*conv_in\.bias must be finite"):
        walk(tmp_path)


@pytest.mark.parametrize("step", [-1, 2.5, "6", None])
def test_a_state_of_no_step_falls_back(tmp_path: Path, step: Any) -> None:
    walk(tmp_path)
    last = max(Run(tmp_path).states())
    save_state(last, {**load_state(last), "step": step})
    with pytest.warns(UserWarning, match=rf"step must be a whole number from 0 on, got {step!r}"):
        walk(tmp_path)
    assert load_state(last)["step"] == 6


def test_the_only_good_state_outlives_a_damaged_newer_one(tmp_path: Path) -> None:
    """One state is kept; the newest is damaged, and the run goes on from the older one."""
    run, config = Run(tmp_path, every=4, keep=1), TrainConfig(steps=12, batch=2, warmup=1)
    list(run.train(network(), DIFFUSION, IMAGES, TrainConfig(steps=4, batch=2, warmup=1)))
    (tmp_path / "state-00000012.pt").write_bytes(b"damaged")
    steps = run.train(network(), DIFFUSION, IMAGES, config)
    with pytest.warns(UserWarning, match="going back to the state before it"):
        seen = [next(steps).step for _ in range(5)]
    assert seen == [5, 6, 7, 8, 9]
    assert (tmp_path / "state-00000008.pt").exists()
    steps.close()
    with pytest.warns(UserWarning, match="no training state"):  # for as long as it is there
        assert [s.step for s in run.train(network(), DIFFUSION, IMAGES, config)] == [10, 11, 12]
    assert run.states() == [tmp_path / "state-00000012.pt"]


def test_states_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    names = ["state-99999999.pt", "state-100000000.pt"]
    for name in [
        *names,
        "state-1.pt",
        "state-00000020 (1).pt",
        "state-\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661.pt",
    ]:
        (tmp_path / name).touch()
    assert [path.name for path in Run(tmp_path).states()] == names
    assert Run(tmp_path).step == 100_000_000


def test_what_a_kill_left_half_written_goes(tmp_path: Path) -> None:
    walk(tmp_path)
    for name in ("state-00000005.pt.part", "log.jsonl.part", "model.safetensors.part", "mine.part"):
        (tmp_path / name).touch()
    walk(tmp_path)
    assert [path.name for path in tmp_path.glob("*.part")] == ["mine.part"]
