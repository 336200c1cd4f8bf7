"""Training as a generator: a notebook iterates it, watches the loss and stops when it likes.

`batches.py` draws what a step sees; here is what is done with it.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from ddpm_lite._doors import check_kinds
from ddpm_lite.batches import LAST_SEED, Batch, Draw, derive_seed, seeded, take_data
from ddpm_lite.diffusion import GaussianDiffusion
from ddpm_lite.images.sets import ImageSet
from ddpm_lite.system.device import (
    Device,
    Precision,
    fused,
    keeps_channels_last,
    pick_precision,
    records,
    round_products,
    too_many,
)
from ddpm_lite.system.processes import rank, world
from ddpm_lite.system.replay import CudaGraphs, Replay

__all__ = ["TrainConfig", "TrainState", "TrainStep", "train", "unwrapped"]

Weight = Literal["none", "simple", "variational", "min_snr"]
LOOK = 100  # steps between looks at the loss: a look waits for the device


@dataclass(frozen=True)
class TrainConfig:
    """How to train. The defaults suit small images and a minute or ten on a CPU.

    Args:
        steps: gradient steps.
        batch: images per step, drawn with replacement; over all processes together.
        lr: AdamW's learning rate after the warm-up.
        warmup: steps over which the learning rate rises linearly.
        decay: whether the learning rate then falls to zero along half a cosine.
        weight_decay: of AdamW; 0 makes it Adam, as in the paper.
        ema_decay: of the averaged weights. They are those of step 1 first; step n from 2 on takes
            (1 + n) / (10 + n) where that is lower, so that the average forgets the beginning.
        clip_norm: the gradient's norm is held at this or below.
        accumulate: parts that a batch is cut into, one after the other, to save memory.
        flip: mirror half of the images, left for right; of data [N, C, H, W] alone.
        weight: of the loss at each t, as `GaussianDiffusion.loss_weight` names it, or "none",
            which for eps is L_simple. "variational" with a learned variance is `bound_losses`.
        drop_label: the share of labels to hide, as one more class after the last, so that the
            network learns with and without: Ho and Salimans (2022), Algorithm 1. It needs labels.
        precision: "auto" is bfloat16 where the hardware multiplies it (on a CPU, only for a
            million parameters or more: below, it gains little, and a short run is the same on
            every CPU), else float16 with a scaled loss on a GPU, else float32.
        channels_last: the layout of images; by default on a GPU, unless in float32.
        compile: compile the network first; that takes a minute or more.
        tf32: let a GPU round float32 products to tf32.
        replay: record the launches of a step once and play them again, on a CUDA device and in one
            process; not measured on a GPU yet.
        seed: of the images, times, noise, flips and dropout.
    """

    steps: int = 1000
    batch: int = 64
    lr: float = 2e-3
    warmup: int = 100
    decay: bool = False
    weight_decay: float = 0.0
    ema_decay: float = 0.999
    clip_norm: float = 1.0
    accumulate: int = 1
    flip: bool = False
    weight: Weight = "none"
    drop_label: float = 0.0
    precision: Precision = "auto"
    channels_last: bool | None = None
    compile: bool = False
    tf32: bool = True
    replay: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_kinds(self)
        for name in ("steps", "batch", "lr", "clip_norm", "accumulate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("warmup", "weight_decay", "seed"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.seed > LAST_SEED:
            raise ValueError(f"seed must lie in 0..{LAST_SEED}, got {self.seed}")
        for name in ("lr", "weight_decay"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} must be finite, got {getattr(self, name)}")
        if self.lr * self.weight_decay > 1:  # each step would take more of a weight than there is
            raise ValueError(
                f"weight_decay must be at most 1 / lr = {1 / self.lr:g}, got {self.weight_decay}"
            )
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay must lie in [0, 1), got {self.ema_decay}")
        if not 0 <= self.drop_label < 1:
            raise ValueError(f"drop_label must lie in [0, 1), got {self.drop_label}")
        if self.batch % self.accumulate:
            raise ValueError(
                f"batch must be a multiple of accumulate = {self.accumulate}, got {self.batch}"
            )


class TrainState:
    """All that a run changes: the network, its average, the optimiser, and the step it is at.

    Args:
        model: trained in place, on the device it is on; out of its wrapping, where it was
            compiled, averaged or spread over processes.
        config: as for `train`.
    """

    def __init__(self, model: nn.Module, config: TrainConfig):
        self.compiled = model if hasattr(model, "_orig_mod") else None
        self.model = model = unwrapped(model)
        self.config, self.step = config, 0
        self.device = next(model.parameters()).device
        with torch.device("cpu"):  # of its count, whatever the default device is
            self.ema = AveragedModel(model)
        self.ema.eval()
        facts = Device.of(self.device)
        self.optimizer = torch.optim.AdamW(
            model.parameters(), config.lr, weight_decay=config.weight_decay, fused=fused(facts)
        )
        parameters = sum(p.numel() for p in model.parameters())
        self.precision = pick_precision(facts, config.precision, parameters)
        half = self.precision == torch.float16
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=half)

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        n, c = self.step, self.config
        if n < c.warmup:
            return c.lr * (n + 1) / (c.warmup + 1)
        done = (n - c.warmup) / max(1, c.steps - c.warmup)
        return c.lr * (1 + math.cos(math.pi * min(1.0, done))) / 2 if c.decay else c.lr

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers alone: safe to load with `weights_only=True`."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where `state_dict` was taken.

        Raises:
            ValueError, KeyError, RuntimeError: of another network, or no such state. What was
                loaded until then stays: load another before training.
        """
        step = state["step"]
        if type(step) is not int or step < 0:
            raise ValueError(f"step must be a whole number from 0 on, got {step!r}")
        for name in ("model", "ema", "optimizer"):
            getattr(self, name).load_state_dict(state[name])
        if state["scaler"]:  # empty where the loss was not scaled, on another GPU perhaps
            self.scaler.load_state_dict(state["scaler"])
        for parameter, moments in self.optimizer.state.items():
            for name, moment in moments.items():
                if isinstance(moment, Tensor) and moment.shape not in ((), parameter.shape):
                    raise ValueError(
                        f"{name} must have its weight's shape {tuple(parameter.shape)}, got "
                        f"{tuple(moment.shape)}"
                    )
        self.step = step

    def average(self) -> None:
        """Move the average towards the weights of this step; the first step's it is itself."""
        # `update_parameters` would ask its count, and wait for the device, at each step.
        ema: list[Tensor] = [*self.ema.module.parameters()]
        now: list[Tensor] = [*self.model.parameters()]
        n, most = self.step, self.config.ema_decay
        decay = min(most, (1 + n) / (10 + n)) if n > 1 else 0.0
        with torch.no_grad():
            torch._foreach_lerp_(ema, now, 1 - decay)
            for mine, buffer in zip(self.ema.module.buffers(), self.model.buffers(), strict=True):
                mine.copy_(buffer)
        self.ema.n_averaged += 1


class TrainStep(NamedTuple):
    """What one gradient step leaves behind. `loss` stays on its device until it is read."""

    step: int
    loss: Float[Tensor, ""]
    ema: nn.Module
    state: TrainState


def train(
    model: nn.Module,
    diffusion: GaussianDiffusion,
    data: Tensor | ImageSet,
    config: TrainConfig | None = None,
    state: TrainState | None = None,
    labels: Int[Tensor, " N"] | None = None,
) -> Iterator[TrainStep]:
    """Ho et al. (2020), Algorithm 1, with AdamW and an average of the weights.

    Trains `model` in place, on the device it is on; the data move there once where they fit.
    Sample from `step.ema`, the averaged network. Where processes were joined by
    torch.distributed, each takes its share of every batch. Without dropout several take the steps
    of one, up to rounding. With it they do not: each process draws masks for its own share.
    Dropout draws from torch's own generator, which each step seeds and puts back: two threads of
    one process that train with dropout, or draw meanwhile, disturb each other.

    Args:
        model: `(xt, t) -> output`.
        diffusion: q and the loss.
        data: [N, ...] in [-1, 1]; or uint8, grey levels 0..diffusion.levels - 1; or an `ImageSet`.
        config: `TrainConfig()` when not given, or that of `state`.
        state: to go on from; a fresh one when not given. It has the settings, so `model` must be
            its own, and `config` differ in nothing but `steps`, and there only without `decay`.
            For others load its `state_dict` into a `TrainState` that has them.
        labels: [N], one for each image, for a network with classes; those of an `ImageSet` when
            not given. The network's last class stands for a hidden label where `drop_label` is
            not 0.

    Raises:
        TypeError: data are neither floating point nor uint8.
        ValueError: no images, NaN or infinite values in them, not as many labels as images, labels
            that the network has no class for, `drop_label` without labels, `flip` of what are no
            images, a batch that processes and accumulation do not divide, a precision that the
            device has not, `replay` where nothing can be recorded, a state of another network or of
            other settings.
        FloatingPointError: the loss or a weight is no longer finite; looked at every 100 steps,
            because a look waits for the device, and at the last.
    """
    config = config or (state.config if state else TrainConfig())
    if state is not None:
        _check_state(state, model, config)
    labels = own_labels(model, data) if labels is None else labels
    data = take_data(data, diffusion.levels)
    if config.flip and data.ndim != 4:
        raise ValueError(f"flip needs images [N, C, H, W], got data of shape {tuple(data.shape)}")
    if config.drop_label and labels is None:
        raise ValueError(f"drop_label needs labels to hide, got {config.drop_label} and no labels")
    if labels is not None:
        _check_labels(labels, len(data), getattr(unwrapped(model), "classes", None), config)
    parts = config.accumulate * world()
    if config.batch % parts:
        raise ValueError(
            f"batch must be a multiple of {parts}, {world()} processes times accumulate = "
            f"{config.accumulate}, got {config.batch}"
        )
    state = state or TrainState(model, config)
    state.config = config
    _is_replayed(Device.of(state.device), config)
    # The checks above must not wait for next().
    return _train(state, diffusion, data, labels, config)


def _train(
    state: TrainState,
    diffusion: GaussianDiffusion,
    data: Tensor,
    labels: Tensor | None,
    config: TrainConfig,
) -> Iterator[TrainStep]:
    device, facts = state.device, Device.of(state.device)
    round_products(facts, config.tf32)
    channels_last = keeps_channels_last(facts, state.precision, config.channels_last)
    layout = torch.contiguous_format
    if channels_last and data.ndim == 4:
        layout = torch.channels_last
        for one in (state.model, state.ema.module):  # alike, or the average is slow
            one.to(memory_format=layout)  # type: ignore[call-overload]
    losses = _losses(diffusion, config, device)
    network: Any = state.model if state.compiled is None else state.compiled
    if config.compile and state.compiled is None:
        network = torch.compile(network)
    if world() > 1:
        network = DistributedDataParallel(network)
    draw = Draw(
        data,
        diffusion.T,
        diffusion.levels or 256,
        config.batch,
        config.flip,
        config.seed,
        layout,
        device,
        labels,
        config.drop_label,
        hidden=0 if labels is None else int(state.model.classes) - 1,  # type: ignore[arg-type]
    )
    gradient: Callable[[Batch], Tensor] = partial(_gradient, state, network, losses)
    if _is_replayed(facts, config):
        gradient = _replayed(state, gradient, diffusion.self_condition)
    has_dropout = any(isinstance(m, nn.Dropout) and m.p > 0 for m in state.model.modules())

    while state.step < config.steps:
        state.model.train()
        for group in state.optimizer.param_groups:
            group["lr"] = state.rate
        state.optimizer.zero_grad()
        batch = draw(state.step)  # Algorithm 1, lines 2 to 4
        seed = derive_seed(config.seed, state.step, 1 + rank())
        with seeded(seed, device) if has_dropout else nullcontext():
            loss = gradient(batch)  # line 5, the gradient
        state.scaler.unscale_(state.optimizer)
        nn.utils.clip_grad_norm_(state.model.parameters(), config.clip_norm)
        state.scaler.step(state.optimizer)  # and the step
        state.scaler.update()
        state.step += 1
        state.average()
        if world() > 1:
            dist.all_reduce(loss)
            loss /= world()
        if state.step % LOOK == 0 or state.step == config.steps:
            _check_finite(state, loss)
        yield TrainStep(state.step, loss, state.ema, state)


def _check_state(state: TrainState, model: nn.Module, config: TrainConfig) -> None:
    """Refuse to go on with another network, or by settings that the state has not."""
    if unwrapped(model) is not state.model:
        raise ValueError("model must be the network of the state, got another")
    for name in (field.name for field in fields(TrainConfig)):
        old, new = getattr(state.config, name), getattr(config, name)
        if old != new and (name != "steps" or config.decay):
            raise ValueError(
                f"{name} must be that of the state, {old!r}, got {new!r}: load the state's "
                "state_dict into a TrainState with the new settings"
            )


def _check_finite(state: TrainState, loss: Tensor) -> None:
    config, finite = state.config, [p.isfinite().all() for p in state.model.parameters()]
    if not (math.isfinite(loss.item()) and bool(torch.stack(finite).all())):
        raise FloatingPointError(
            f"the loss is {loss.item()} at step {state.step}, or the weights are not finite; try a "
            f"smaller lr than {config.lr}, a longer warmup than {config.warmup}, or precision "
            "float32"
        )


def own_labels(model: nn.Module, data: Tensor | ImageSet) -> Tensor | None:
    """The labels that come with the data, for a network that takes some."""
    asks = getattr(unwrapped(model), "classes", None) is not None
    return data.labels if asks and isinstance(data, ImageSet) else None


def _check_labels(labels: Tensor, n: int, classes: int | None, config: TrainConfig) -> None:
    if classes is None:
        raise ValueError("labels need a network with classes, got one without")
    if labels.shape != (n,):
        raise ValueError(
            f"labels must have one entry per image, shape ({n},), got {tuple(labels.shape)}"
        )
    last = classes - 1 - (config.drop_label > 0)
    bad = labels[(labels < 0) | (labels > last)]
    if labels.is_floating_point() or len(bad):
        got = labels.dtype if labels.is_floating_point() else int(bad[0])
        apart = ": the last class stands for a hidden label" * (config.drop_label > 0)
        raise ValueError(f"labels must be integers in 0..{last}, got {got}{apart}")


def _losses(
    diffusion: GaussianDiffusion, config: TrainConfig, device: torch.device
) -> Callable[..., Tensor]:
    """What `config.weight` names, as a function of model, x0, t, eps and condition."""
    if config.weight == "none":
        return diffusion.p_losses
    if config.weight == "variational" and diffusion.variance == "learned":
        return diffusion.bound_losses
    weight = diffusion.loss_weight(config.weight).to(device, torch.float32)
    return partial(diffusion.p_losses, weight=weight)


def _gradient(
    state: TrainState, network: Any, losses: Callable[..., Tensor], batch: Batch
) -> Float[Tensor, ""]:
    """Leave the gradient of the mean loss in the parameters; return that loss."""
    config, device, precision = state.config, state.device, state.precision
    loss = torch.zeros((), device=device, dtype=batch.x0.dtype)
    share = len(batch.x0) // config.accumulate
    for first in range(0, len(batch.x0), share):
        x0, t, eps = (x[first : first + share] for x in batch[:3])
        model = network
        if batch.labels is not None:
            model = partial(network, labels=batch.labels[first : first + share])
        last = first + share == len(batch.x0)
        # Gradients travel between processes once a step, with the last part.
        with nullcontext() if last or world() == 1 else network.no_sync():
            try:
                with torch.autocast(device.type, precision, precision != torch.float32):
                    own = losses(model, x0, t, eps, condition=batch.condition).mean()
                state.scaler.scale(own / config.accumulate).backward()
            except torch.OutOfMemoryError as error:
                facts = Device.of(device)
                error.add_note(too_many(facts, share, config.accumulate, config.batch))
                raise
        loss += own.detach() / config.accumulate
    return loss


def _is_replayed(device: Device, config: TrainConfig) -> bool:
    """Whether each step's launches are played from a recording."""
    possible = records(device, config.replay) and world() == 1
    if config.replay and not possible:
        raise ValueError(f"replay needs one process and a CUDA device, got {device.type}")
    return possible


def _replayed(
    state: TrainState, gradient: Callable[[Batch], Tensor], self_condition: bool
) -> Callable[[Batch], Tensor]:
    """`_gradient` by a recording: the same numbers with fewer launches.

    The gradients lie in the recording's memory and are handed to the parameters at each step.
    """
    parameters = list(state.model.parameters())

    def compute(
        condition: bool, x0: Tensor, t: Tensor, eps: Tensor, labels: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        state.optimizer.zero_grad()  # the backward pass makes gradients, and adds to none
        loss = gradient(Batch(x0, t, eps, condition, labels))
        return loss, *[p.grad for p in parameters]

    weights = (*parameters, *state.model.buffers())
    recorder = CudaGraphs(state.device)
    without, given = (
        Replay(partial(compute, condition), recorder, weights, copied=1)
        for condition in (False, True)
    )

    def replayed(batch: Batch) -> Tensor:
        replay = given if self_condition and batch.condition else without
        loss, *gradients = replay(batch.x0, batch.t, batch.eps, batch.labels)
        for parameter, own in zip(parameters, gradients, strict=True):
            parameter.grad = own
        return loss  # type: ignore[return-value]

    return replayed


def unwrapped(network: nn.Module) -> nn.Module:
    """The network itself, out of what compiles it, averages it or spreads it over processes."""
    inner: Any = network
    while True:
        if hasattr(inner, "_orig_mod"):  # of torch.compile, whose class is slow to import
            inner = inner._orig_mod
        elif isinstance(inner, (AveragedModel, nn.DataParallel, DistributedDataParallel)):
            inner = inner.module
        else:
            return inner
