"""Weights and training states on disk: whole or not there at all, and no code inside.

Weights are safetensors that carry the network's and the diffusion's configuration, so that a file
is enough to sample from. What a run needs to go on is tensors and numbers, read with
`weights_only=True`.
"""

import json
import pickle
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from ddpm_lite.diffusion import GaussianDiffusion
from ddpm_lite.schedule import NoiseSchedule
from ddpm_lite.system.files import WEIGHTS, written_aside
from ddpm_lite.unet import UNet

__all__ = ["about", "load", "load_state", "save_model", "save_state", "shipped"]

FORMAT = "ddpm-lite 1"


def save_model(
    path: str | Path,
    network: nn.Module,
    diffusion: GaussianDiffusion,
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write a UNet's weights with all that is needed to sample from them, as safetensors.

    Args:
        path: where to; an older file of this name is replaced in one step.
        network: the `UNet`.
        diffusion: with the whole chain; its betas go along, exactly.
        about: what else to say of the weights, such as the step they are from.

    Raises:
        TypeError: a network without a configuration, which is no `UNet`.
        ValueError: a shortened chain.
    """
    config = getattr(network, "config", None)
    if config is None:
        raise TypeError(f"network must be a UNet, got {type(network).__name__}")
    if diffusion.times[-1] != diffusion.T:
        raise ValueError(f"save the whole chain, not {diffusion.T} of {diffusion.times[-1]} steps")
    tensors = {f"network.{name}": x.detach() for name, x in network.state_dict().items()}
    tensors = {name: x.cpu().contiguous() for name, x in tensors.items()}
    tensors["beta"] = diffusion.schedule.beta[1:]
    says = {"network": config, "diffusion": diffusion.config, "about": dict(about or {})}
    metadata = {"format": FORMAT} | {name: json.dumps(value) for name, value in says.items()}
    with written_aside(Path(path)) as aside:
        # Not save_file: what it writes, no other user of the machine may read.
        aside.write_bytes(save(tensors, metadata))


def load(source: str | Path) -> tuple[UNet, GaussianDiffusion]:
    """A trained network, in eval mode on the CPU, and its diffusion: `load("digits")`.

    Args:
        source: the name of weights that come with the package, or a file that `save_model` wrote.

    Raises:
        FileNotFoundError: neither.
        ValueError: a file that is cut short, of another format, or whose weights do not fit its
            own configuration.
    """
    path = _find(source)
    with _opened(path) as file:
        says = _metadata(file, path)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    beta = tensors.pop("beta", None)
    weights = {name.removeprefix("network."): x for name, x in tensors.items()}
    try:
        network = UNet(**{k: _tuple(v) for k, v in says["network"].items()})
        network.load_state_dict(weights)
        diffusion = GaussianDiffusion(NoiseSchedule(beta), **says["diffusion"])
    except (TypeError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path}: the weights do not fit their configuration: {error}") from error
    return network.eval(), diffusion


def about(source: str | Path) -> dict[str, Any]:
    """What a file of weights says of itself: its network, its diffusion, and what was noted.

    Raises:
        FileNotFoundError, ValueError: as for `load`.
    """
    path = _find(source)
    with _opened(path) as file:
        return _metadata(file, path)


def shipped() -> list[str]:
    """The names of the weights that come with the package."""
    return sorted(path.stem for path in WEIGHTS.glob("*.safetensors") if _is_ours(path))


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors and numbers, whole or not at all."""
    with written_aside(path) as aside, aside.open("wb") as file:
        torch.save(dict(state), file)


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote, onto the CPU; nothing in the file is run.

    Raises:
        ValueError: a file that is cut short, or that holds more than tensors and numbers.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of foreign pickles torch warns before it refuses
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{path} is no training state, or cut short ({reason}); nothing in it was run"
        ) from error
    if not isinstance(state, dict):
        raise ValueError(
            f"{path} is no training state: expected a dict, got {type(state).__name__}"
        )
    return state


def _find(source: str | Path) -> Path:
    own = WEIGHTS / f"{source}.safetensors"
    if isinstance(source, str) and "/" not in source and own.exists():
        return own
    if not Path(source).is_file():
        raise FileNotFoundError(
            f"no weights at {source}; with the package come: {', '.join(shipped()) or 'none'}"
        )
    return Path(source)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} is not a whole safetensors file ({error}); other formats are pickles, which "
            "run code when they are opened"
        ) from error


def _metadata(file: Any, path: Path) -> dict[str, Any]:
    metadata = file.metadata() or {}
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path} must carry a configuration of format {FORMAT!r}, got "
            f"{metadata.get('format')!r}; weights of diffusers come in by load_diffusers"
        )
    return {name: json.loads(metadata[name]) for name in ("network", "diffusion", "about")}


def _is_ours(path: Path) -> bool:
    with _opened(path) as file:
        return (file.metadata() or {}).get("format") == FORMAT


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
