"""Runs in a folder: killed, cut short, doubled or changed, nothing is lost and nothing is mixed."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ddpm_lite import GaussianDiffusion, TrainConfig, UNet, digits, linear_schedule
from ddpm_lite.runs import run as runs
from ddpm_lite.runs.checkpoints import about, load, load_state, save_state
from ddpm_lite.runs.run import Run
from ddpm_lite.training import TrainStep
from tests.killed import CONFIG, SHORT, go, go_short, same, short_end
from tests.systems import linux_only

DATA = digits()[0][:64]
DIFFUSION = GaussianDiffusion(linear_schedule())


def small(seed: int = 0, **options: Any) -> UNet:
    torch.manual_seed(seed)
    return UNet(8, 1, 8, **options)


def states(folder: Path) -> list[str]:
    return [path.name for path in sorted(folder.glob("state-*.pt"))]


def end_of(folder: Path) -> dict[str, Any]:
    return load_state(sorted(folder.glob("state-*.pt"))[-1])


@linux_only("it forks a process that has imported torch")
def test_killed_twenty_times_it_is_the_run_that_never_stopped(tmp_path: Path) -> None:
    """kill -9 at random moments; then weights, average, optimiser and log are the same."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    subprocess.run(
        [sys.executable, "-m", "tests.killed", str(killed), "20"],
        cwd=Path(__file__).parents[1], check=True, timeout=300,
    )  # fmt: skip
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    go(whole)
    torch.set_num_threads(threads)
    assert states(killed) == states(whole) == ["state-00000057.pt", "state-00000060.pt"]
    assert same(end_of(killed), end_of(whole))
    one, two = (folder / "model.safetensors" for folder in (killed, whole))
    assert same(load(one)[0].state_dict(), load(two)[0].state_dict())
    assert about(one) == about(two)
    steps = [row["step"] for row in Run(killed).rows()]
    assert steps == list(range(5, CONFIG.steps + 1, 5))
    assert not list(killed.glob("*.part"))


@linux_only("it forks a process that has imported torch")
def test_killed_before_every_change_to_the_disk_nothing_is_missing(tmp_path: Path) -> None:
    """Before each file is opened, takes its place or goes; then the same command ends the same."""
    subprocess.run(
        [sys.executable, "-m", "tests.killed", str(tmp_path / "killed"), "every"],
        cwd=Path(__file__).parents[1], check=True, timeout=500,
    )  # fmt: skip
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    go_short(tmp_path / "whole")
    torch.set_num_threads(threads)
    whole = short_end(tmp_path / "whole")
    assert whole["states"] == ["state-00000007.pt"]
    assert whole["about"]["about"]["step"] == SHORT.steps
    assert [step for step, _ in whole["log"]] == [2, 4, 6, 7]
    ema = {k.removeprefix("module."): x for k, x in whole["last"]["ema"].items()}
    assert same({k: x for k, x in ema.items() if k != "n_averaged"}, whole["weights"])
    folders = list((tmp_path / "killed").iterdir())
    assert len(folders) > 20
    for folder in folders:
        assert same(short_end(folder), whole), folder
        assert not list(folder.glob("*.part"))


def test_the_weights_are_written_before_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sees a finished state may take the weights beside it."""
    written, replace = [], os.replace
    monkeypatch.setattr(
        os, "replace", lambda *paths: (written.append(Path(paths[1]).name), replace(*paths))
    )
    list(Run(tmp_path).train(small(), DIFFUSION, DATA, TrainConfig(steps=2, batch=8)))
    assert written == ["model.safetensors", "state-00000002.pt"]


SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@SIGNALS
@pytest.mark.parametrize("where", ["in a step", "between steps"])
def test_a_signal_keeps_the_state(where: str, number: signal.Signals, tmp_path: Path) -> None:
    """Wherever it comes, the state of a whole step is kept, and the end is the same."""
    config, calls = TrainConfig(steps=7, batch=8), 0

    def hook(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 4 and where == "in a step":
            signal.raise_signal(number)

    network = small(dropout=0.2)
    network.middle_in.register_forward_hook(hook)

    def go_on() -> None:
        for step in Run(tmp_path / "one").train(network, DIFFUSION, DATA, config):
            if step.step == 4:
                signal.raise_signal(number)

    with pytest.raises(KeyboardInterrupt):
        go_on()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert states(tmp_path / "one") == ["state-00000004.pt"]
    assert about(tmp_path / "one" / "model.safetensors")["about"]["step"] == 4
    for name in ("one", "two"):
        list(Run(tmp_path / name).train(small(dropout=0.2), DIFFUSION, DATA, config))
    assert same(end_of(tmp_path / "one"), end_of(tmp_path / "two"))


def test_a_second_signal_keeps_nothing(tmp_path: Path) -> None:
    def hook(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    steps = Run(tmp_path).train(network := small(), DIFFUSION, DATA, TrainConfig(steps=7, batch=8))
    next(steps)
    for block in (network.middle_in, network.middle_out):
        block.register_forward_hook(hook)
    with pytest.raises(KeyboardInterrupt):
        next(steps)
    assert states(tmp_path) == []


def test_another_number_of_processes_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(steps=2, batch=8)
    list(Run(tmp_path).train(small(), DIFFUSION, DATA, config))
    monkeypatch.setattr(runs, "world", lambda: 3)
    with pytest.warns(UserWarning, match="from 1 processes, and 3 go on: .* other masks"):
        list(Run(tmp_path).train(small(), DIFFUSION, DATA, config))
    path = tmp_path / "state-00000002.pt"
    old = load_state(path)
    del old["processes"], old["log"]  # as states were before they said so
    save_state(path, old)
    list(Run(tmp_path).train(small(), DIFFUSION, DATA, TrainConfig(steps=3, batch=8)))


def test_other_masks_of_other_parts_are_told(tmp_path: Path) -> None:
    """As of other processes: the batch in two parts draws other masks, and is another run."""
    network = {"plain": {}, "dropout": {"dropout": 0.3}}
    ends: dict[tuple[str, int], Tensor] = {}
    for name, options in network.items():
        for parts in (1, 2):
            folder = tmp_path / f"{name}{parts}"
            list(Run(folder).train(small(**options), DIFFUSION, DATA, TrainConfig(2, batch=8)))
            steps = Run(folder).train(
                small(**options), DIFFUSION, DATA, TrainConfig(4, batch=8, accumulate=parts)
            )
            if (name, parts) == ("dropout", 2):
                with pytest.warns(UserWarning, match="in 1 parts, and they go on in 2"):
                    *_, last = steps
            else:
                *_, last = steps
            ends[name, parts] = torch.cat([p.detach().flatten() for p in last.ema.parameters()])
    assert (ends["plain", 1] - ends["plain", 2]).abs().max() < 1e-5
    assert (ends["dropout", 1] - ends["dropout", 2]).abs().max() > 1e-5


def test_the_log_tells_the_rate_that_was_used(tmp_path: Path) -> None:
    config = TrainConfig(6, batch=8, lr=1.0e-3, warmup=2, decay=True)
    list(Run(tmp_path, log_every=1).train(small(), DIFFUSION, DATA, config))
    rates = [row["lr"] for row in Run(tmp_path).rows()]
    falling = [(1 + math.cos(math.pi * n / 4)) / 2 for n in range(4)]
    assert rates == pytest.approx([1e-3 * r for r in (1 / 3, 2 / 3, *falling)])


def test_the_log_counts_the_seconds_of_training_alone(tmp_path: Path) -> None:
    run, begun = Run(tmp_path, log_every=2), time.perf_counter()
    for _ in run.train(small(), DIFFUSION, DATA, TrainConfig(4, batch=8)):
        time.sleep(0.5)
    rows = run.rows()
    assert sum(row["seconds"] for row in rows) < time.perf_counter() - begun - 2
    for row in rows:
        assert row["images_per_second"] == pytest.approx(16 / row["seconds"])


def test_weights_without_a_state_are_not_replaced(tmp_path: Path) -> None:
    run, config = Run(tmp_path), TrainConfig(2, batch=8)
    list(run.train(small(), DIFFUSION, DATA, config))
    for path in run.states():
        path.unlink()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=r"has weights and no state to go on from, .* take them"):
        list(run.train(small(), DIFFUSION, DATA, config))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_first_save_cut_short_is_begun_again(tmp_path: Path) -> None:
    """A kill between the weights and their state, and another one before the next save."""
    run, config = Run(tmp_path), TrainConfig(3, batch=8)
    list(run.train(small(), DIFFUSION, DATA, config))
    (state,) = run.states()
    state.rename(tmp_path / f"{state.name}.part")
    steps = run.train(small(), DIFFUSION, DATA, config)
    assert next(steps).step == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "log.jsonl"]
    steps.close()
    assert run.step == 1


@pytest.mark.parametrize("link", [False, True])
def test_a_first_save_that_fails_leaves_nothing_in_the_way(
    link: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its state cannot take its place: the weights, there already, must not refuse the next run."""
    run, config, real = Run(tmp_path / "run"), TrainConfig(2, batch=8), os.replace
    if link:
        (tmp_path / "run").mkdir()
        run.weights.symlink_to("../elsewhere")

    def replace(one: Path, two: Path) -> None:
        if Path(two).suffix == ".pt":
            raise OSError(5, "Input/output error")
        real(one, two)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        with pytest.raises(OSError, match="Input/output"):
            list(run.train(small(), DIFFUSION, DATA, config))
    assert not run.weights.exists()
    assert run.weights.is_symlink() == link
    assert len(list(run.train(small(), DIFFUSION, DATA, config))) == 2
    assert run.weights.is_symlink() == link
    assert about(run.weights)["about"]["step"] == 2


def test_a_row_is_a_mean_over_a_stop_too(tmp_path: Path) -> None:
    config, losses = TrainConfig(steps=6, batch=8), []
    for stop in (2, 5, 6):
        for step in Run(tmp_path, log_every=3).train(small(), DIFFUSION, DATA, config):
            losses.append(step.loss.item())
            if step.step == stop:
                break
    rows = [row["loss"] for row in Run(tmp_path).rows()]
    assert rows == pytest.approx([sum(losses[:3]) / 3, sum(losses[3:]) / 3], rel=1e-6)


def test_bad_input_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(TypeError, match="PosixPath is not JSON serializable"):
        list(Run(folder).train(small(), DIFFUSION, DATA, note={"data": tmp_path}))
    with pytest.raises(ValueError, match=r"images must lie in \[-1, 1\]"):
        list(Run(folder).train(small(), DIFFUSION, 3 * DATA))
    short = DIFFUSION.subsequence([500, 1000])
    with pytest.raises(ValueError, match="save the whole chain, not 2 of 1000 steps"):
        list(Run(folder).train(small(), short, DATA))
    for name, value in (("settings", {}), ("step", 999)):
        with pytest.raises(ValueError, match=f"note must not have '{name}', which is the run's"):
            list(Run(folder).train(small(), DIFFUSION, DATA, note={name: value, "more": 1}))
    changed = small()
    changed.conv_out = nn.Conv2d(8, 3, 3)
    with pytest.raises(ValueError, match=r"(?s)that its configuration gives it: .*conv_out"):
        list(Run(folder).train(changed, DIFFUSION, DATA))
    bad = small()
    bad.conv_in.weight.data[0] = math.nan
    with pytest.raises(ValueError, match=r"conv_in.weight must be finite"):
        list(Run(folder).train(bad, DIFFUSION, DATA))
    assert not folder.exists()


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # inside torch
@pytest.mark.usefixtures("as_a_reader")
def test_a_compiled_network_trains_into_weights_that_load(tmp_path: Path) -> None:
    compiled = torch.compile(small(), backend="eager")
    config = TrainConfig(steps=2, batch=8)
    *_, last = Run(tmp_path).train(compiled, DIFFUSION, DATA, config)
    network, _ = load(tmp_path / "model.safetensors")
    assert same(dict(network.state_dict()), dict(last.ema.module.state_dict()))
    list(Run(tmp_path).train(small(), DIFFUSION, DATA, TrainConfig(steps=3, batch=8)))


def test_the_average_is_what_is_kept_to_sample_from(tmp_path: Path) -> None:
    config = TrainConfig(steps=6, batch=8)
    *_, last = Run(tmp_path, every=3).train(small(), DIFFUSION, DATA, config, {"data": "digits"})
    network, diffusion = load(tmp_path / "model.safetensors")
    for name, weight in last.ema.module.state_dict().items():
        assert torch.equal(network.state_dict()[name], weight)
    assert torch.equal(diffusion.schedule.beta, DIFFUSION.schedule.beta)
    says = about(tmp_path / "model.safetensors")["about"]
    assert (says["step"], says["data"], says["settings"]["training"]["batch"]) == (6, "digits", 8)


def test_a_caller_who_stops_early_loses_nothing(tmp_path: Path) -> None:
    config = TrainConfig(steps=9, batch=8)
    for step in Run(tmp_path).train(small(), DIFFUSION, DATA, config):
        if step.step == 4:
            break
    assert states(tmp_path) == ["state-00000004.pt"]
    seen = [step.step for step in Run(tmp_path).train(small(1), DIFFUSION, DATA, config)]
    assert seen == [5, 6, 7, 8, 9]
    assert not list(Run(tmp_path).train(small(1), DIFFUSION, DATA, config))


def test_a_step_that_is_kept_is_not_kept_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saves = []
    whole = Run._save

    def counted(self: Run, step: TrainStep, *rest: Any) -> None:
        saves.append(step.step)
        whole(self, step, *rest)

    monkeypatch.setattr(Run, "_save", counted)
    steps = Run(tmp_path, every=2).train(small(), DIFFUSION, DATA, CONFIG)
    while next(steps).step < 4:
        pass
    steps.close()
    assert saves == [2, 4]


def test_a_longer_run_goes_on(tmp_path: Path) -> None:
    list(Run(tmp_path).train(small(), DIFFUSION, DATA, TrainConfig(steps=3, batch=8)))
    # What a smaller GPU makes one change must not forbid to go on.
    longer = TrainConfig(steps=5, batch=8, accumulate=2, precision="float32")
    seen = [step.step for step in Run(tmp_path).train(small(), DIFFUSION, DATA, longer)]
    assert seen == [4, 5]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda: (small(dropout=0.5), DIFFUSION, DATA, {}), "network dropout was 0.0 and is 0.5"),
        (
            lambda: (small(), GaussianDiffusion(linear_schedule(), "v"), DATA, {}),
            "diffusion objective was 'eps' and is 'v'",
        ),
        (
            lambda: (small(), GaussianDiffusion(linear_schedule(1000, 1e-3)), DATA, {}),
            "diffusion betas was",
        ),
        (lambda: (small(), DIFFUSION, -DATA, {}), "data digest was"),
        (lambda: (small(), DIFFUSION, DATA, {"lr": 0.5}), "training lr was 0.002 and is 0.5"),
        (
            lambda: (small(), DIFFUSION, DATA, {"steps": 8, "decay": True}),
            "training steps was 3 and is 8",
        ),
    ],
)
def test_another_run_in_the_same_folder_is_refused(
    change: Callable[[], tuple[UNet, GaussianDiffusion, Tensor, dict[str, Any]]],
    says: str,
    tmp_path: Path,
) -> None:
    start = TrainConfig(steps=3, batch=8)
    list(Run(tmp_path).train(small(), DIFFUSION, DATA, start))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    network, diffusion, data, settings = change()
    config = TrainConfig(**{"steps": 3, "batch": 8, **settings})
    with pytest.raises(ValueError, match=says):
        list(Run(tmp_path).train(network, diffusion, data, config))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_two_runs_at_once_are_refused(tmp_path: Path) -> None:
    first = Run(tmp_path).train(small(), DIFFUSION, DATA, TrainConfig(steps=3, batch=8))
    next(first)
    with pytest.raises(RuntimeError, match=re.escape(f"another run is writing to {tmp_path}")):
        next(Run(tmp_path).train(small(), DIFFUSION, DATA, TrainConfig(steps=3, batch=8)))
    first.close()
    assert list(Run(tmp_path).train(small(), DIFFUSION, DATA, TrainConfig(steps=3, batch=8)))


def test_a_broken_state_falls_back_to_the_one_before(tmp_path: Path) -> None:
    config = TrainConfig(steps=6, batch=8)
    list(Run(tmp_path, every=3).train(small(), DIFFUSION, DATA, config))
    newest = tmp_path / "state-00000006.pt"
    whole = newest.read_bytes()
    newest.write_bytes(whole[: len(whole) // 2])
    with pytest.warns(UserWarning, match="cut short .* going back to the state before it"):
        seen = [s.step for s in Run(tmp_path, every=3).train(small(), DIFFUSION, DATA, config)]
    assert seen == [4, 5, 6]
    for path in tmp_path.glob("state-*.pt"):
        path.write_bytes(b"")
    with (
        pytest.warns(UserWarning, match="cut short"),
        pytest.raises(ValueError, match=r"none of the 2 states in .* can be read: take them away"),
    ):
        list(Run(tmp_path, every=3).train(small(), DIFFUSION, DATA, config))


def test_steps_taken_again_are_logged_once(tmp_path: Path) -> None:
    run, config = Run(tmp_path, every=3, log_every=1), TrainConfig(steps=6, batch=8)
    list(run.train(small(), DIFFUSION, DATA, config))
    (tmp_path / "state-00000006.pt").unlink()
    list(run.train(small(), DIFFUSION, DATA, config))
    assert [row["step"] for row in run.rows()] == [1, 2, 3, 4, 5, 6]


def test_weights_that_are_no_numbers_are_never_kept(tmp_path: Path) -> None:
    network = small()
    steps = Run(tmp_path, every=2).train(network, DIFFUSION, DATA, TrainConfig(steps=9, batch=8))
    for _ in range(3):
        next(steps)
    good = (tmp_path / "model.safetensors").read_bytes()
    with torch.no_grad():
        network.conv_in.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match=r"at step 4, .* the last good state is kept"):
        list(steps)
    assert states(tmp_path) == ["state-00000002.pt"]
    assert (tmp_path / "model.safetensors").read_bytes() == good


@linux_only("/dev/full")
def test_a_full_disk_keeps_the_last_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path, every=2)
    steps = run.train(small(), DIFFUSION, DATA, TrainConfig(steps=9, batch=8))
    for _ in range(3):
        next(steps)
    (tmp_path / "state-00000004.pt.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        list(steps)
    assert states(tmp_path) == ["state-00000002.pt"]
    seen = [s.step for s in run.train(small(), DIFFUSION, DATA, TrainConfig(steps=9, batch=8))]
    assert seen == list(range(3, 10))


def test_a_log_pasted_twice_is_told_and_counted_once(tmp_path: Path) -> None:
    run = Run(tmp_path, log_every=5)
    list(run.train(small(), DIFFUSION, DATA, TrainConfig(steps=15, batch=8)))
    once = run.rows()
    run.log.write_bytes(2 * run.log.read_bytes())
    with pytest.warns(UserWarning, match="3 lines are no rows of a log .* of them line 4"):
        assert run.rows() == once


def test_a_state_of_no_number_of_processes_is_gone_round(tmp_path: Path) -> None:
    run = Run(tmp_path, every=2)
    list(run.train(small(), DIFFUSION, DATA, TrainConfig(steps=4, batch=8)))
    last = run.states()[-1]
    save_state(last, {**load_state(last), "processes": torch.zeros(2)})
    with pytest.warns(UserWarning, match="00000004.pt cannot be gone on from .* the state before"):
        list(run.train(small(), DIFFUSION, DATA, TrainConfig(steps=4, batch=8)))


def test_the_log_is_a_mean_and_survives_a_line_cut_short(tmp_path: Path) -> None:
    run, config = Run(tmp_path, every=4, log_every=2), TrainConfig(steps=8, batch=8)
    losses = [step.loss.item() for step in run.train(small(), DIFFUSION, DATA, config)]
    rows = run.rows()
    assert [row["step"] for row in rows] == [2, 4, 6, 8]
    for row in rows:
        mean = sum(losses[int(row["step"]) - 2 : int(row["step"])]) / 2
        assert row["loss"] == pytest.approx(mean, rel=1e-6)
        assert row["images_per_second"] > 0
    run.log.write_text(run.log.read_text()[:-9])
    assert [row["step"] for row in run.rows()] == [2, 4, 6]
    longer = TrainConfig(steps=10, batch=8)
    with pytest.warns(UserWarning, match=r"had 4 rows at step 8, and 3 of them can be read"):
        list(run.train(small(), DIFFUSION, DATA, longer))
    assert [row["step"] for row in run.rows()] == [2, 4, 6, 10]
    assert all(json.loads(line) for line in run.log.read_text().splitlines())


def test_bad_numbers() -> None:
    for name in ("every", "keep", "log_every"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            Run("runs/x", **{name: 0})


def test_a_gpu_that_scaled_its_loss_and_one_that_does_not() -> None:
    """A run may go on on another GPU; the state of a scaler is then there, or is not."""
    from ddpm_lite.training import TrainState

    plain, scaled = TrainState(small(), TrainConfig()), TrainState(small(), TrainConfig())
    scaled.scaler = torch.amp.GradScaler("cpu", enabled=True)
    for one, two in ((plain, scaled), (scaled, plain)):
        two.load_state_dict(one.state_dict())
    assert isinstance(plain.model, nn.Module)
