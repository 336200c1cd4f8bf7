"""A training run in a folder: stop it at any moment, run the same command again, and it goes on.

The run that was stopped ends with the same weights as one that never was, bit for bit on a CPU in
float32: each step is drawn from the seed and its number, and all else is in the last state.
"""

import hashlib
import json
import math
import re
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from ddpm_lite.diffusion import GaussianDiffusion
from ddpm_lite.runs.checkpoints import about, check_saves, load_state, save_model, save_state
from ddpm_lite.system.files import written_aside
from ddpm_lite.system.processes import rank
from ddpm_lite.training import TrainConfig, TrainState, TrainStep, train
from ddpm_lite.unet import UNet

__all__ = ["Run"]

# What may change when a run goes on: how far it goes, and how the arithmetic is done.
FREE = {"steps", "precision", "compile", "tf32", "channels_last", "accumulate"}


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

    def train(
        self,
        network: UNet,
        diffusion: GaussianDiffusion,
        data: Tensor,
        config: TrainConfig | None = None,
        note: dict[str, Any] | None = None,
    ) -> Iterator[TrainStep]:
        """Like `train`, going on from the folder's last state and writing as it goes.

        Where the caller stops early, the state at that step is written too. Of several processes
        the first writes; all read the folder.

        Args:
            network, diffusion, data, config: as for `train`.
            note: what else the weights should say of themselves.

        Raises:
            RuntimeError: another run is writing to the folder.
            ValueError: the folder's run was begun with other settings or data, or none of its
                states can be read; as for `train`.
            FloatingPointError: as for `train`; the last good state stays.
            OSError: the disk is full, say; the last good state stays.
        """
        bare = check_saves(network)  # what could not be saved at the end is refused before any step
        state = TrainState(network, config or TrainConfig())
        says = _settings(bare, diffusion, data, state.config)
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._alone():
            self._restore(state, says)
            self._repair(state, diffusion, says, note)
            steps = train(network, diffusion, data, state.config, state)
            if rank() > 0:
                yield from steps
                return
            self._cut_log(state.step)
            try:
                for step in self._logged(steps, state.config):
                    last = step
                    if step.step % self.every == 0 or step.step == state.config.steps:
                        self._save(step, diffusion, says, note)
                    yield step
            except GeneratorExit:
                if last.step % self.every:
                    self._save(last, diffusion, says, note)
                raise

    def states(self) -> list[Path]:
        """The states in the folder, the oldest first."""
        paths = self.folder.glob(
            "state-*.pt"
        )  # a cloud drive's "state-00000020 (1).pt" is no state
        return sorted(path for path in paths if re.fullmatch(r"state-\d{8,}", path.stem))

    @property
    def step(self) -> int:
        """The step of the last state; 0 where there is none."""
        return max((int(path.stem.removeprefix("state-")) for path in self.states()), default=0)

    def _restore(self, state: TrainState, says: dict[str, Any]) -> None:
        paths = self.states()[::-1]
        for path in paths:
            try:
                saved = load_state(path)
                before = dict(saved["settings"])
            except (ValueError, KeyError, TypeError) as error:
                warnings.warn(f"{error}; going back to the state before it", stacklevel=4)
                continue
            _compare(path, before, says)
            try:
                state.load_state_dict(saved)
            except Exception as error:  # damage may show in any way
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
                warnings.warn(
                    f"{path} is damaged ({reason}); going back to the state before it", stacklevel=4
                )
                continue
            return
        if paths:
            raise ValueError(
                f"none of the {len(paths)} states in {self.folder} can be read: take them away to "
                "begin again, or use another folder"
            )

    def _save(
        self,
        step: TrainStep,
        diffusion: GaussianDiffusion,
        says: dict[str, Any],
        note: dict[str, Any] | None,
    ) -> None:
        average: Any = step.ema.module
        finite = torch.stack([p.isfinite().all() for p in average.parameters()]).all()
        if not (math.isfinite(step.loss.item()) and bool(finite)):
            raise FloatingPointError(
                f"the loss is {step.loss.item()} at step {step.step}, or the weights are not "
                f"finite; the last good state is kept. Try a smaller lr than {step.state.config.lr}"
            )
        path = self.folder / f"state-{step.step:08d}.pt"
        save_state(path, {**step.state.state_dict(), "settings": says})
        self._save_weights(step.state, diffusion, says, note)
        for old in self.states()[: -self.keep]:
            old.unlink()

    def _save_weights(
        self,
        state: TrainState,
        diffusion: GaussianDiffusion,
        says: dict[str, Any],
        note: dict[str, Any] | None,
    ) -> None:
        average: Any = state.ema.module
        noted = {"step": state.step, "settings": says, **(note or {})}
        save_model(self.weights, average, diffusion, noted)

    def _repair(
        self,
        state: TrainState,
        diffusion: GaussianDiffusion,
        says: dict[str, Any],
        note: dict[str, Any] | None,
    ) -> None:
        """Write the weights of the restored state where a kill came between the two."""
        if rank() > 0 or state.step == 0:
            return
        try:
            step = about(self.weights)["about"].get("step")
        except (FileNotFoundError, ValueError):
            step = None
        if step != state.step:
            self._save_weights(state, diffusion, says, note)

    def _logged(self, steps: Iterator[TrainStep], config: TrainConfig) -> Iterator[TrainStep]:
        total, count, start = torch.zeros(()), 0, time.perf_counter()
        for step in steps:
            total, count = total.to(step.loss) + step.loss, count + 1
            if step.step % self.log_every == 0 or step.step == config.steps:
                loss = (total / count).item()
                seconds = time.perf_counter() - start
                row = {"step": step.step, "loss": loss, "lr": step.state.rate}
                row |= {"seconds": seconds, "images_per_second": count * config.batch / seconds}
                with self.log.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                total, count, start = torch.zeros(()), 0, time.perf_counter()
            yield step

    def _cut_log(self, step: int) -> None:
        """Drop what was logged after the state that the run goes on from."""
        if not self.log.exists():
            return
        kept = [row for row in self.rows() if row["step"] <= step]
        with written_aside(self.log) as aside:
            aside.write_text("".join(json.dumps(row) + "\n" for row in kept))

    def rows(self) -> list[dict[str, Any]]:
        """The log: step, mean loss, learning rate, seconds and images per second of each line."""
        rows = []
        for line in self.log.read_text(errors="replace").splitlines() if self.log.exists() else []:
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue  # a line that was being written when the run was killed
            if isinstance(row, dict) and isinstance(row.get("step"), int):
                rows.append(row)
        return rows

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if rank() > 0:
            yield
            return
        # The system lets go of it when the process ends, however it ends.
        lock = FileLock(self.folder / ".lock", timeout=0, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            raise RuntimeError(
                f"another run is writing to {self.folder}: stop it, or use another folder"
            ) from None
        except NotImplementedError:
            warnings.warn(
                f"{self.folder} cannot be locked: see that no other run uses it", stacklevel=4
            )
        try:
            yield
        finally:
            lock.release()


def _settings(
    network: UNet, diffusion: GaussianDiffusion, data: Tensor, config: TrainConfig
) -> dict[str, Any]:
    """What a run must agree with to go on, as JSON would have it."""
    raw = data.detach().cpu().contiguous()
    digest = hashlib.blake2b(raw.flatten().view(torch.uint8).numpy().data, digest_size=8)
    beta = hashlib.blake2b(diffusion.schedule.beta.numpy().data, digest_size=8)
    about_data = {"shape": list(data.shape), "dtype": str(data.dtype), "digest": digest.hexdigest()}
    says = {
        "network": network.config,
        "diffusion": {**diffusion.config, "T": diffusion.T, "betas": beta.hexdigest()},
        "data": about_data,
        "training": asdict(config),
    }
    return json.loads(json.dumps(says))


def _compare(path: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    different = []
    for part, settings in now.items():
        for name, value in settings.items():
            old = before.get(part, {}).get(name)
            falls = name == "steps" and now["training"]["decay"]
            if old != value and (falls or part != "training" or name not in FREE):
                different.append(f"{part} {name} was {old!r} and is {value!r}")
    if different:
        raise ValueError(
            f"{path.parent} holds a run with other settings: {'; '.join(different)}. Use them "
            "again to go on, or another folder"
        )
