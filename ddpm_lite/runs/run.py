"""A training run in a folder: stop it at any moment, run the same command again, and it goes on.

The run that was stopped ends with the same weights as one that never was, bit for bit on a CPU in
float32 with as many processes: each step is drawn from the seed and its number, and all else is in
the last state. With another number of processes, or a batch in another number of parts, it is the
same up to rounding without dropout, and another run with it, since each share and each part draws
masks of its own; a warning says so.
"""

import hashlib
import json
import math
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ddpm_lite.batches import take_data
from ddpm_lite.diffusion import GaussianDiffusion
from ddpm_lite.images.sets import ImageSet
from ddpm_lite.runs.checkpoints import (
    about,
    check_saves,
    load,
    load_state,
    save_model,
    save_state,
)
from ddpm_lite.system.files import aside_of, locked, written_aside
from ddpm_lite.system.processes import Leaving, Stopwatch, rank, world
from ddpm_lite.training import TrainConfig, TrainState, TrainStep, own_labels, train
from ddpm_lite.unet import UNet

__all__ = ["Run"]

# What may change when a run goes on: how far it goes, and how the arithmetic is done.
FREE = {"steps", "precision", "compile", "tf32", "channels_last", "accumulate", "replay"}
OWN = {"settings", "step"}  # what a run itself says of its weights


class Run:
    """A folder with a run's averaged weights, the states to go on from, and its log.

    `model.safetensors` holds the weights to sample from, for `load`; `state-*.pt` the last states;
    `log.jsonl` a line for every so many steps.

    Args:
        folder: made when it is not there; on a mounted drive, it outlives the machine.
        every: steps between states.
        keep: how many of the last states to keep.
        log_every: steps between lines of the log, each with the mean loss since the last.

    Raises:
        ValueError: a number that is not positive.
    """

    def __init__(
        self, folder: str | Path, *, every: int = 1000, keep: int = 2, log_every: int = 100
    ):
        for name, value in (("every", every), ("keep", keep), ("log_every", log_every)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.folder, self.every, self.keep, self.log_every = Path(folder), every, keep, log_every
        self.weights, self.log = self.folder / "model.safetensors", self.folder / "log.jsonl"
        self._lock = self.folder / ".lock"

    def train(
        self,
        network: nn.Module,
        diffusion: GaussianDiffusion,
        data: Tensor | ImageSet,
        config: TrainConfig | None = None,
        note: dict[str, Any] | None = None,
        labels: Tensor | None = None,
    ) -> Iterator[TrainStep]:
        """Like `train`, going on from the folder's last state and writing as it goes.

        Where the caller stops early, or Ctrl-C or SIGTERM stops it, the state at that step is
        written too; a second Ctrl-C leaves at once. Of several processes the first writes; all
        read the folder. After a `break` Python itself closes the iterator, and only prints an
        error of that last write, on a full disk say; in `with contextlib.closing(steps):` it is
        raised.

        Args:
            network: a `UNet`, compiled or not.
            diffusion: as for `train`, with the whole chain.
            data, config, labels: as for `train`.
            note: what else the weights should say of themselves; "settings" and "step" they do.

        Raises:
            RuntimeError: another run is writing to the folder.
            TypeError: a network that is no `UNet`, or a note that JSON cannot say.
            ValueError: the folder's run was begun with other settings or data, or none of its
                states can be read; it has weights and no state, and they would be replaced; a
                shortened chain; weights that `load` could not read; a note of a name that is the
                run's own; as for `train`.
            FloatingPointError: as for `train`; the last good state stays.
            OSError: the disk is full, say; the last good state stays.
            KeyboardInterrupt: Ctrl-C or SIGTERM.
        """
        # What could not be saved at the end is refused before any step.
        bare = check_saves(network, diffusion)
        if taken := OWN & set(note or {}):
            raise ValueError(f"note must not have {min(taken)!r}, which is the run's own to say")
        self.check_weights()
        labels = own_labels(network, data) if labels is None else labels
        data = take_data(data, diffusion.levels)
        state = TrainState(network, config or TrainConfig())
        says = _settings(bare, diffusion, data, state.config, labels)
        noted = {"settings": says, **(note or {})}
        json.dumps(noted)  # raises what the first save would
        for path in (self.weights, self.log, self._lock, *self.states()):
            if path.is_dir():
                raise IsADirectoryError(f"{path} must be a file, and is a folder: take it away")
        self.folder.mkdir(parents=True, exist_ok=True)
        if rank() > 0:  # the first process decides when to leave
            self._restore(state, says)
            with Leaving(lambda: None) as leaving, leaving.whole():
                yield from train(bare, diffusion, data, state.config, state, labels)
            return
        with locked(self._lock):
            mean = _Mean(self._restore(state, says), state.device)
            steps = train(bare, diffusion, data, state.config, state, labels)
            self._clear(state.step, mean)
            kept, step = state.step, None
            if kept and not self._has_weights(kept, state.ema.module):
                save_model(self.weights, state.ema, diffusion, {"step": kept, **noted})

            def keep() -> None:
                nonlocal kept
                if step is not None and step.step != kept:
                    self._save(step, diffusion, noted, mean)
                    kept = step.step

            with Leaving(keep) as leaving:
                try:
                    while True:
                        with leaving.whole():
                            with mean.watch:
                                step = next(steps, None)
                            if step is None:
                                return
                            self._log(step, mean)
                            if step.step % self.every == 0 or step.step == state.config.steps:
                                keep()
                        yield step
                except GeneratorExit:
                    with leaving.whole():
                        keep()
                    raise

    def check_weights(self) -> None:
        """Refuse a folder whose weights a run would replace, with no state to go on from.

        Raises:
            ValueError: it is one.
        """
        # A kill in the first save of all leaves weights too, and beside them what was the state's.
        cut_short = any(self.folder.glob("state-*.pt.part"))
        if self.weights.exists() and not self.states() and not cut_short:
            raise ValueError(
                f"{self.folder} has weights and no state to go on from, and the run would replace "
                "them: use another folder, or take them away"
            )

    def states(self) -> list[Path]:
        """The states in the folder, the oldest first; files of other names are none."""
        return sorted(filter(_step_of, self.folder.glob("state-*.pt")), key=_step_of)

    @property
    def step(self) -> int:
        """The step of the last state; 0 where there is none."""
        return max(map(_step_of, self.states()), default=0)

    def _restore(self, state: TrainState, says: dict[str, Any]) -> dict[str, Any] | None:
        """Load the last good state; what it says of the log."""
        paths = self.states()[::-1]
        for path in paths:
            try:
                saved = load_state(path)
                different = _differences(saved["settings"], says)
                if not different:
                    state.load_state_dict(saved)
                    _check_finite(state)
                    if state.step != _step_of(path):
                        raise ValueError(f"it is of step {state.step}")
                    _Mean(saved.get("log"), state.device)
                    before = int(saved.get("processes", world()))
            except torch.OutOfMemoryError:  # of a GPU: the file is not to blame
                raise
            except Exception as error:  # damage may show in any way
                told = str(error) if isinstance(error, ValueError) else repr(error)
                told = told if str(path) in told else f"{path} cannot be gone on from ({told})"
                warnings.warn(f"{told}; going back to the state before it", stacklevel=4)
                continue
            if different:
                raise ValueError(
                    f"{self.folder} holds a run with other settings: {'; '.join(different)}. Use "
                    "them again to go on, or another folder"
                )
            if before != world():
                warnings.warn(
                    f"{path} is from {before} processes, and {world()} go on: the same run up to "
                    "rounding without dropout, and with other masks where there is some",
                    stacklevel=4,
                )
            parts, now = (x["training"]["accumulate"] for x in (saved["settings"], says))
            if parts != now and says["network"]["dropout"]:
                warnings.warn(
                    f"{path} is from batches in {parts} parts, and they go on in {now}: with "
                    "dropout the masks are others, and so is the run",
                    stacklevel=4,
                )
            return saved.get("log")
        if paths:
            raise ValueError(
                f"none of the {len(paths)} states in {self.folder} can be read: take them away to "
                "begin again, or use another folder"
            )
        return None

    def _has_weights(self, step: int, average: nn.Module) -> bool:
        """Whether the weights are whole, and those of this state."""
        try:
            theirs = load(self.weights)[0].state_dict()
            noted = about(self.weights)["about"].get("step")
        except (FileNotFoundError, ValueError):
            return False
        ours = average.state_dict()
        return (
            noted == step
            and theirs.keys() == ours.keys()
            and all(torch.equal(theirs[name], x.cpu()) for name, x in ours.items())
        )

    def _save(
        self, step: TrainStep, diffusion: GaussianDiffusion, noted: dict[str, Any], mean: "_Mean"
    ) -> None:
        average: Any = step.ema.module
        finite = torch.stack([p.isfinite().all() for p in average.parameters()]).all()
        if not (math.isfinite(step.loss.item()) and bool(finite)):
            raise FloatingPointError(
                f"the loss is {step.loss.item()} at step {step.step}, or the weights are not "
                f"finite; the last good state is kept. Try a smaller lr than {step.state.config.lr}"
            )
        more = {"settings": noted["settings"], "processes": world(), "log": mean.state_dict()}
        try:
            save_state(
                self._state(step.step),
                {**step.state.state_dict(), **more},
                # The weights first: a state that is there has its weights beside it.
                lambda: save_model(self.weights, average, diffusion, {"step": step.step, **noted}),
            )
        except BaseException:
            if not self.states():
                self._drop_weights()
            raise
        self._drop_old(step.step)

    def _state(self, step: int) -> Path:
        return self.folder / f"state-{step:08d}.pt"

    def _drop_old(self, step: int) -> None:
        """Keep the last states up to this step; a later one is damaged, and will be made again."""
        good = [path for path in self.states() if _step_of(path) <= step]
        for old in good[: -self.keep]:
            old.unlink()

    def _drop_weights(self) -> None:
        """Of the first save of all, once its state cannot come: there is nothing to go on from."""
        Path(os.path.realpath(self.weights)).unlink(missing_ok=True)

    def _clear(self, step: int, mean: "_Mean") -> None:
        """Finish what a kill has left half done, at the state that the run goes on from."""
        if not step:  # the first save of all was cut short; the mark of that, below, goes later
            self._drop_weights()
        for path in (self.weights, self.log):
            aside_of(path).unlink(missing_ok=True)
        for part in self.folder.glob("state-*.pt.part"):
            part.unlink()
        self._drop_old(step)
        kept = [row for row in self.rows() if row["step"] <= step]
        if len(kept) < mean.rows:
            warnings.warn(
                f"{self.log} had {mean.rows} rows at step {step}, and {len(kept)} of them can be "
                "read: it goes on without the others",
                stacklevel=3,
            )
        mean.rows = len(kept)
        if self.log.exists():
            with written_aside(self.log) as aside:
                aside.write_text("".join(map(_line, kept)), encoding="utf-8")

    def _log(self, step: TrainStep, mean: "_Mean") -> None:
        config = step.state.config
        mean.add(step.loss)
        if step.step % self.log_every and step.step != config.steps:
            return
        lr = step.state.optimizer.param_groups[0]["lr"]  # of the step that was taken
        row = {"step": step.step, "loss": mean.value, "lr": lr, "seconds": mean.watch.seconds}
        row["images_per_second"] = mean.here * config.batch / row["seconds"]
        with self.log.open("a", encoding="utf-8") as file:
            file.write(_line(row))
            file.flush()
            os.fsync(file.fileno())  # the state that follows does not count these steps again
        mean.clear()
        mean.rows += 1

    def rows(self) -> list[dict[str, Any]]:
        """The log: of each line the step, its learning rate, the mean loss since the line before,
        and the seconds and images per second of training, without what the caller does between.
        """
        if not self.log.exists():
            return []
        lines = self.log.read_bytes().split(b"\n")
        rows: list[dict[str, Any]] = []
        bad = []
        for number, line in enumerate(lines, start=1):
            row: Any = None
            with suppress(ValueError, RecursionError):
                row = json.loads(line)
            good = isinstance(row, dict) and type(row.get("step")) is int and _is_whole(row)
            if good and row["step"] > (rows[-1]["step"] if rows else 0):  # as steps are taken
                rows.append(row)
            elif number < len(lines):  # the last is empty, or was being written when it was killed
                bad.append(number)
        if bad:
            warnings.warn(
                f"{self.log}: {len(bad)} lines are no rows of a log and are left out, the "
                f"first of them line {bad[0]}",
                stacklevel=2,
            )
        return rows


class _Mean:
    """The mean loss since the last line of the log, and how many lines it has by now."""

    def __init__(self, saved: dict[str, Any] | None, device: torch.device):
        self.watch = Stopwatch(device)
        self.clear()
        self.rows = 0 if saved is None else int(saved.get("rows", 0))
        if saved is not None:
            self.total = torch.as_tensor(saved["total"], device="cpu")
            self.count = int(saved["count"])

    def clear(self) -> None:
        self.total, self.count, self.here = torch.zeros((), device="cpu"), 0, 0
        self.watch.clear()

    def add(self, loss: Tensor) -> None:
        self.total = self.total.to(loss) + loss
        self.count, self.here = self.count + 1, self.here + 1

    @property
    def value(self) -> float:
        return (self.total / self.count).item()

    def state_dict(self) -> dict[str, Any]:
        return {"total": self.total.cpu(), "count": self.count, "rows": self.rows}


def _line(row: dict[str, Any]) -> str:
    """A row of the log with a checksum, so that a flipped bit is no other number."""
    return json.dumps(row | {"sum": _sum(row)}) + "\n"


def _is_whole(row: dict[str, Any]) -> bool:
    """Whether a row's checksum holds, which is taken out; older rows have none."""
    found = row.pop("sum", None)
    return found is None or found == _sum(row)


def _sum(row: dict[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(row).encode(), digest_size=4).hexdigest()


def _step_of(path: Path) -> int:
    """The step that a state's name tells; 0 for a name that no run gives."""
    found = re.fullmatch(r"state-(\d{8,})\.pt", path.name, re.ASCII)
    return int(found[1]) if found else 0


def _check_finite(state: TrainState) -> None:
    for name, x in state.model.state_dict().items():
        if not x.isfinite().all():
            raise ValueError(f"{name} must be finite, got NaN or infinity")


def _settings(
    network: UNet,
    diffusion: GaussianDiffusion,
    data: Tensor,
    config: TrainConfig,
    labels: Tensor | None,
) -> dict[str, Any]:
    """What a run must agree with to go on, as JSON would have it."""
    betas = _digest(diffusion.schedule.beta)
    about_data = {"shape": list(data.shape), "dtype": str(data.dtype), "digest": _digest(data)}
    if labels is not None:
        about_data["labels"] = _digest(labels.long())
    says = {
        "network": network.config,
        "diffusion": {**diffusion.config, "T": diffusion.T, "betas": betas},
        "data": about_data,
        "training": asdict(config),
    }
    return json.loads(json.dumps(says))


def _digest(values: Tensor) -> str:
    raw = values.detach().cpu().contiguous().flatten().view(torch.uint8)
    return hashlib.blake2b(raw.numpy().data, digest_size=8).hexdigest()


def _differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    different = []
    for part, settings in now.items():
        for name, value in settings.items():
            old = before.get(part, {}).get(name)
            falls = name == "steps" and now["training"]["decay"]
            if old != value and (falls or part != "training" or name not in FREE):
                different.append(f"{part} {name} was {old!r} and is {value!r}")
    return different
