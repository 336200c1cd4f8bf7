"""Hostile arguments: every public function, one argument at a time, by its annotation.

The kind `arguments` of `faults.py`. Starts from calls that are right, and puts in the place of one
argument what an argument of that kind can be by mistake. What is right is not to be refused: a
refusal of it counts as raw.
"""

import inspect
import math
import random
import warnings
from collections.abc import Callable, Iterator
from types import NoneType
from typing import Any, Literal, get_origin

import numpy as np
import torch
from torch import Tensor

import ddpm_lite as d
from ddpm_lite._doors import _is_callable, _is_tensor, _parts
from ddpm_lite.guidance import guided
from ddpm_lite.images.grids import grid
from tests.outcomes import Fate, in_words

SCHEDULE = d.linear_schedule(6)
DIFFUSION = d.GaussianDiffusion(SCHEDULE)
X = torch.randint(256, (3, 1, 4, 4), generator=torch.Generator().manual_seed(0)) / 127.5 - 1
T = torch.tensor([1, 3, 6])
ORACLE = d.Oracle(SCHEDULE, X)
OUT = DIFFUSION.p_mean_variance(ORACLE, X, T)
EIGHT = torch.rand(8, 1, 4, 4, generator=torch.Generator().manual_seed(1)) * 2 - 1


def features(x: Tensor) -> Tensor:
    return x.flatten(1)[:, :3]


class Classes:
    classes = 3

    def __call__(self, xt: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        return xt


# A right call of each function: what it is, and its arguments by name.
CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "linear_schedule": (d.linear_schedule, {"T": 5, "beta_start": 0.1, "beta_end": 0.2}),
    "cosine_schedule": (d.cosine_schedule, {"T": 5, "s": 0.008, "beta_max": 0.999}),
    "sigmoid_schedule": (d.sigmoid_schedule, {"T": 5, "start": -3.0, "end": 3.0, "tau": 1.0}),
    "spaced_times": (d.spaced_times, {"T": 5, "steps": 3, "spacing": "leading"}),
    "line_schedule": (d.line_schedule, {"T": 5}),
    "zero_terminal_snr": (d.zero_terminal_snr, {"schedule": SCHEDULE}),
    "NoiseSchedule": (d.NoiseSchedule, {"beta": torch.tensor([0.1, 0.2])}),
    "subsequence": (SCHEDULE.subsequence, {"times": [2, 4]}),
    "rescaled": (SCHEDULE.rescaled, {"T": 3}),
    "q_step": (DIFFUSION.q_step, {"x_prev": X, "t": T, "eps": X}),
    "q_mean_variance": (DIFFUSION.q_mean_variance, {"x0": X, "t": T}),
    "q_sample": (DIFFUSION.q_sample, {"x0": X, "t": T, "eps": X}),
    "q_posterior": (DIFFUSION.q_posterior, {"x0": X, "xt": X, "t": T}),
    "target": (DIFFUSION.target, {"objective": "v", "x0": X, "xt": X, "eps": X, "t": T}),
    "convert": (DIFFUSION.convert, {"output": X, "xt": X, "t": T, "given": "eps", "wanted": "x0"}),
    "p_mean_variance": (
        DIFFUSION.p_mean_variance,
        {"model": ORACLE, "xt": X, "t": T, "clip": True},
    ),
    "p_from_output": (DIFFUSION.p_from_output, {"output": X, "xt": X, "t": T, "clip": True}),
    "p_sample": (DIFFUSION.p_sample, {"model": ORACLE, "xt": X, "t": T, "clip": True, "noise": X}),
    "p_draw": (DIFFUSION.p_draw, {"out": OUT, "t": T, "noise": X}),
    "p_losses": (DIFFUSION.p_losses, {"model": ORACLE, "x0": X, "t": T, "eps": X}),
    "bound_losses": (DIFFUSION.bound_losses, {"model": ORACLE, "x0": X, "t": T, "eps": X}),
    "bound_term": (DIFFUSION.bound_term, {"out": OUT, "x0": X, "xt": X, "t": T}),
    "kl": (DIFFUSION.kl, {"out": OUT, "x0": X, "xt": X, "t": T}),
    "decoder": (DIFFUSION.decoder, {"out": OUT, "x0": X}),
    "loss_weight": (DIFFUSION.loss_weight, {"kind": "min_snr", "gamma": 5.0}),
    "diffusion.subsequence": (DIFFUSION.subsequence, {"times": [2, 6]}),
    "gaussian_kl": (
        d.gaussian_kl,
        {"mean_q": X, "variance_q": X.exp(), "mean_p": X, "variance_p": X.exp()},
    ),
    "gaussian_nll": (d.gaussian_nll, {"x": X, "mean": X, "variance": X.exp()}),
    "decoder_nll": (d.decoder_nll, {"x0": X, "mean": X, "variance": X.exp(), "levels": 256}),
    "elbo": (d.elbo, {"diffusion": DIFFUSION, "model": ORACLE, "x0": X, "clip": True, "chunk": 64}),
    "elbo_estimate": (
        d.elbo_estimate,
        {
            "diffusion": DIFFUSION, "model": ORACLE, "x0": X, "samples": 4,
            "proposal": torch.ones(5), "clip": True, "chunk": 64,
        },
    ),
    "elbo_along_path": (
        d.elbo_along_path,
        {"diffusion": DIFFUSION, "model": ORACLE, "x0": X, "clip": True},
    ),
    "prior_kl": (d.prior_kl, {"diffusion": DIFFUSION, "x0": X}),
    "Oracle": (
        d.Oracle,
        {"schedule": SCHEDULE, "means": X, "std": 0.1, "weights": torch.ones(3)},
    ),
    "oracle": (ORACLE.__call__, {"xt": X, "t": T}),
    "oracle.x0_hat": (ORACLE.x0_hat, {"xt": X, "t": T}),
    "oracle.q_reverse": (ORACLE.q_reverse, {"xt": X, "t": T}),
    "oracle.log_density": (ORACLE.log_density, {"xt": X, "t": T}),
    "oracle.sample": (ORACLE.sample, {"n": 3}),
    "reverse_marginals": (
        d.reverse_marginals,
        {"schedule": SCHEDULE, "sigma2": SCHEDULE.beta, "mean": 0.1, "std": 0.5},
    ),
    "oracle_bound": (
        d.oracle_bound,
        {"schedule": SCHEDULE, "sigma2": SCHEDULE.beta, "mean": 0.1, "std": 0.5},
    ),
    "ddpm": (
        lambda diffusion, model, shape, clip, start: list(
            d.ddpm(diffusion, model, shape, clip=clip, start=start)
        ),
        {
            "diffusion": DIFFUSION, "model": ORACLE, "shape": (3, 1, 4, 4), "clip": True,
            "start": X,
        },
    ),
    "ddim": (
        lambda diffusion, model, shape, steps, eta, clip, start: list(
            d.ddim(diffusion, model, shape, steps=steps, eta=eta, clip=clip, start=start)
        ),
        {
            "diffusion": DIFFUSION, "model": ORACLE, "shape": (3, 1, 4, 4), "steps": 3,
            "eta": 0.5, "clip": True, "start": X,
        },
    ),
    "heun": (
        lambda diffusion, model, shape, steps, average, clip, start: list(
            d.heun(
                diffusion, model, shape, steps=steps, average=average, clip=clip, start=start
            )
        ),
        {
            "diffusion": DIFFUSION, "model": ORACLE, "shape": (3, 1, 4, 4), "steps": 3,
            "average": "eps", "clip": True, "start": X,
        },
    ),
    "dpm_solver": (
        lambda diffusion, model, shape, steps, clip, start: list(
            d.dpm_solver(diffusion, model, shape, steps=steps, clip=clip, start=start)
        ),
        {
            "diffusion": DIFFUSION, "model": ORACLE, "shape": (3, 1, 4, 4), "steps": 3,
            "clip": True, "start": X,
        },
    ),
    "flow_likelihood": (
        d.flow_likelihood,
        {
            "diffusion": DIFFUSION, "model": ORACLE, "xt": X, "t": 2, "steps": 3,
            "trace": "hutchinson", "probes": 2,
        },
    ),
    "to_line": (DIFFUSION.to_line, {"xt": X, "t": T}),
    "from_line": (DIFFUSION.from_line, {"z": X, "t": T}),
    "encode": (
        d.encode,
        {"diffusion": DIFFUSION, "model": ORACLE, "x0": X, "steps": 3, "refine": 1},
    ),
    "inpaint": (
        lambda diffusion, model, x0, known, repeats, clip: list(
            d.inpaint(diffusion, model, x0, known, repeats=repeats, clip=clip)
        ),
        {
            "diffusion": DIFFUSION, "model": ORACLE, "x0": X, "known": X > 0, "repeats": 2,
            "clip": True,
        },
    ),
    "interpolate": (
        d.interpolate,
        {
            "diffusion": DIFFUSION, "model": ORACLE, "x0": X, "other": X,
            "share": torch.tensor([0.0, 0.5]), "t": 3, "clip": True,
        },
    ),
    "moments": (d.moments, {"features": features(EIGHT)}),
    "inception_score": (d.inception_score, {"logits": features(EIGHT), "groups": 2}),
    "nearest_distance": (d.nearest_distance, {"images": EIGHT, "train": X}),
    "nearest_ratio": (d.nearest_ratio, {"samples": EIGHT, "train": X, "held_out": EIGHT}),
    "evaluate_samples": (
        d.evaluate_samples,
        {"samples": EIGHT, "reference": EIGHT, "features": features, "split": "train", "batch": 4},
    ),
    "real_floor": (
        d.real_floor,
        {"real": EIGHT, "samples": 4, "features": features, "split": "train", "repeats": 2},
    ),
    "to_model_range": (d.to_model_range, {"values": torch.arange(5), "levels": 17}),
    "from_model_range": (d.from_model_range, {"x": X, "levels": 17}),
    "digits": (d.digits, {"split": "test"}),
    "photograph": (d.photograph, {"size": 8}),
    "grid": (grid, {"images": X, "columns": 2, "scale": 1}),
    "guided": (guided, {"network": Classes(), "labels": torch.tensor([0, 1]), "scale": 1.0}),
    "time_embedding": (d.time_embedding, {"t": T, "width": 8}),
}  # fmt: skip
# Whose annotations an argument has, where the call is wrapped.
SIGNATURES = {"ddpm": d.ddpm, "ddim": d.ddim, "heun": d.heun, "dpm_solver": d.dpm_solver}


def hostile(value: Any, annotation: Any) -> Iterator[tuple[str, Any, bool | None]]:
    """What may stand in an argument's place by mistake: its name, itself, whether it is right.

    None where either an answer or a refusal will do.
    """
    kinds = _parts(annotation)
    tensors = any(map(_is_tensor, kinds))
    yield "nothing", None, NoneType in kinds
    yield "a word", "x", False if str not in kinds else None
    yield "an object", object(), False
    if isinstance(value, Tensor):
        yield from _tensors(value)
    elif tensors or float in kinds:
        yield "nan", math.nan, None
        yield "infinity", math.inf, None
        yield "minus one", -1.0, None
    if int in kinds and not isinstance(value, Tensor):
        yield "one half", 0.5, False if float not in kinds else None
        yield "minus one", -1, None if float in kinds else False
        yield "truth", True, False
        yield "numpy's", np.int64(value), True
    if float in kinds and isinstance(value, float):
        yield "numpy's", np.float64(value), True
    if bool in kinds:
        yield "one", 1, False
    if any(get_origin(kind) is Literal for kind in kinds):
        yield "another word", "other", False
    if any(_is_callable(kind) for kind in kinds) or get_origin(annotation) is list:
        yield "a number", 3, False


def _tensors(value: Tensor) -> Iterator[tuple[str, Any, bool | None]]:
    yield "an array", value.numpy(), True
    yield "lists", value.tolist(), None if value.dtype == torch.float64 else True
    yield "none of it", value[:0], None
    yield "one less", value[:-1], None
    yield "transposed", value.mT if value.ndim > 1 else value[None], None
    yield "one number", value.flatten()[0], None
    yield "a dict", {"x": value}, False
    yield "ragged lists", [[1.0], [2.0, 3.0]], False
    if value.is_floating_point():
        yield "bytes", value.byte(), None
        yield "nan", torch.full_like(value, math.nan), None
    elif value.dtype == torch.bool:
        yield "numbers", value.float(), False
    else:
        yield "halves", value + 0.5, False
        yield "negative", -value - 1, False
        yield "large", value + 1000, None
    yield "complex", value.to(torch.complex64), False
    yield "doubles", value.double(), None


def outcome(call: Callable[..., Any], arguments: dict[str, Any], right: bool | None) -> str:
    """What came of a call with one argument changed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call(**arguments)
    except Exception as error:
        spoken = isinstance(error, (TypeError, ValueError)) and in_words(error)
        return "refused" if spoken and right is not True else "raw"
    return "right" if right is not False else "silent"


def tries(seed: int, every: bool) -> Iterator[Fate]:
    """Every function and argument, with all that may stand in its place or a few of it."""
    chooser = random.Random(seed)
    for function, (call, arguments) in CALLS.items():
        torch.manual_seed(seed)
        call(**arguments)
        parameters = inspect.signature(SIGNATURES.get(function, call)).parameters
        for name, value in arguments.items():
            found = list(hostile(value, parameters[name].annotation))
            if not every:
                found = chooser.sample(found, min(4, len(found)))
            for kind, changed, right in found:
                fate = outcome(call, {**arguments, name: changed}, right)
                yield Fate("arguments", f"{function}({name} = {kind})", fate)
