"""Weights and training states on disk: whole or not there at all, and no code inside.

Weights are safetensors that carry the network's and the diffusion's configuration, so that a file
is enough to sample from. What a run needs to go on is tensors and numbers, read with
`weights_only=True`. Both carry a checksum, so that a flipped bit is no other number; files from
before there was one still load. Weights that come with the package have theirs on their card.
"""

import hashlib
import json
import os
import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ddpm_lite.diffusion import GaussianDiffusion
from ddpm_lite.schedule import NoiseSchedule
from ddpm_lite.system.files import WEIGHTS, check_card, written_aside
from ddpm_lite.training import unwrapped
from ddpm_lite.unet import UNet

__all__ = ["about", "check_saves", "load", "load_state", "save_model", "save_state", "shipped"]

FORMAT = "ddpm-lite 1"
PARTS = ("network", "diffusion", "about")  # of the metadata, each a dict in JSON
TYPES = {str(x).removeprefix("torch."): x for x in (torch.float32, torch.float64)}
# A state ends in the mark and a digest of so many bytes.
MARK, DIGEST = b"ddpm-lite sum 1\n", 32


def save_model(
    path: str | Path,
    network: nn.Module,
    diffusion: GaussianDiffusion,
    about: Mapping[str, Any] | None = None,
    *,
    store: torch.dtype | None = None,
) -> None:
    """Write a UNet's weights with all that is needed to sample from them, as safetensors.

    Args:
        path: where to; an older file of this name is replaced in one step.
        network: the `UNet`, or what compiles, averages or spreads it.
        diffusion: with the whole chain; its betas go along, exactly.
        about: what else to say of the weights, such as the step they are from.
        store: a smaller type for the file, such as torch.float16, which halves it; `load` gives
            the network back in the type that it has, with weights rounded to the smaller one.

    Raises:
        TypeError, ValueError: as for `check_saves`; a weight too large for `store`; `store` for a
            network that is itself in halves.
    """
    bare = check_saves(network, diffusion)
    weights = {name: x.detach().cpu().contiguous() for name, x in bare.state_dict().items()}
    own = str(next(iter(weights.values())).dtype).removeprefix("torch.")
    if store is not None:
        if own not in TYPES:
            raise ValueError(f"store is for a network in {' or '.join(TYPES)}, got one in {own}")
        weights = {name: x.to(store) for name, x in weights.items()}
        _check_numbers(weights)
    tensors = {f"network.{name}": x for name, x in weights.items()}
    tensors["beta"] = diffusion.schedule.beta[1:]
    says = {"network": bare.config, "diffusion": diffusion.config, "about": dict(about or {})}
    metadata = {"format": FORMAT} | {name: json.dumps(value) for name, value in says.items()}
    if store is not None:
        metadata["type"] = own
    metadata["checksum"] = _checksum(tensors, metadata)
    with written_aside(Path(path)) as aside:
        # Not save_file: what it writes, no other user of the machine may read.
        aside.write_bytes(save(tensors, metadata))


def check_saves(network: nn.Module, diffusion: GaussianDiffusion) -> UNet:
    """The UNet out of its wrapping, once it is sure that `load` can make another like it.

    Raises:
        TypeError: a network without a configuration, which is no `UNet`.
        ValueError: a shortened chain; weights that do not fit the network's configuration, are
            not floating point, of more than one type, or not finite: `load` would refuse them.
    """
    bare: Any = unwrapped(network)
    if getattr(bare, "config", None) is None:
        raise TypeError(f"network must be a UNet, got {type(bare).__name__}")
    try:
        _check_fit(bare.config, {name: x.shape for name, x in bare.state_dict().items()})
    except Exception as error:
        raise ValueError(
            f"network must have the weights that its configuration gives it: {error}"
        ) from error
    _check_numbers(bare.state_dict())
    if diffusion.times[-1] != diffusion.T:
        raise ValueError(f"save the whole chain, not {diffusion.T} of {diffusion.times[-1]} steps")
    return bare


def load(source: str | Path) -> tuple[UNet, GaussianDiffusion]:
    """A trained network, in eval mode on the CPU, and its diffusion: `load("digits")`.

    Its weights are of the type that they had when they were saved, however few bytes they take in
    the file.

    Args:
        source: the name of weights that come with the package, or a file that `save_model` wrote.
            A name goes before a file of that very name, and a warning says so: write ./digits.

    Raises:
        FileNotFoundError: neither.
        ValueError: a file that is cut short or damaged, of another format, or whose weights do
            not fit its own configuration or are no finite numbers.
    """
    path = _find(source)
    if path.parent == WEIGHTS:
        check_card(path)
    with _opened(path) as file:
        says = _metadata(file, path)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    found = metadata.pop("checksum", None)
    if found is not None and found != _checksum(tensors, metadata):
        raise ValueError(
            f"{path} is damaged: its checksum does not hold. Copy or download it again"
        )
    beta = tensors.pop("beta", None)
    weights = {name.removeprefix("network."): x for name, x in tensors.items()}
    config = {name: _tuple(value) for name, value in says["network"].items()}
    try:
        _check_fit(config, {name: x.shape for name, x in weights.items()})
        _check_numbers(weights)
        network = UNet(**config).to(_type(metadata, weights))
        network.load_state_dict(weights)
        diffusion = GaussianDiffusion(NoiseSchedule(beta), **says["diffusion"])
    except Exception as error:  # a stranger's configuration may fail in any way
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


def save_state(
    path: Path, state: Mapping[str, Any], before: Callable[[], None] = lambda: None
) -> None:
    """Write tensors and numbers, whole or not at all; `before` is done once they are written,
    and before they are in their place.
    """
    with written_aside(path) as aside:
        with aside.open("w+b") as file:
            torch.save(dict(state), file)
            file.write(MARK + _digest(file, file.tell()))
        before()


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote, onto the CPU; nothing in the file is run.

    Raises:
        ValueError: a file that is cut short or damaged, or that holds more than tensors and
            numbers.
    """
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of foreign pickles torch warns before it refuses
            _check_digest(file)
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # damage may show in any way
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, pickle.UnpicklingError):  # torch would advise to run what is in it
            reason = "it holds more than tensors and numbers"
        raise ValueError(
            f"{path} is no training state, or cut short or damaged ({reason}); nothing in it was "
            "run"
        ) from error
    if not isinstance(state, dict):
        raise ValueError(
            f"{path} is no training state: expected a dict, got {type(state).__name__}"
        )
    return state


def _check_digest(file: IO[bytes]) -> None:
    """Refuse a state whose bytes are not those that were written; leaves the file at its start."""
    size = file.seek(0, os.SEEK_END) - len(MARK) - DIGEST
    file.seek(max(0, size))
    mark, _, digest = file.read().partition(MARK)
    if size >= 0 and not mark and digest and digest != _digest(file, size):
        raise ValueError("its checksum does not hold")
    file.seek(0)


def _digest(file: IO[bytes], size: int) -> bytes:
    """Of the file's first bytes; leaves the file right after them."""
    digest, left = hashlib.blake2b(digest_size=DIGEST), size
    file.seek(0)
    while left and (piece := file.read(min(left, 2**20))):
        digest.update(piece)
        left -= len(piece)
    file.seek(size)
    return digest.digest()


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Of all that a file of weights says: names, types, shapes and bytes of tensors, and words."""
    digest = hashlib.blake2b(digest_size=DIGEST)
    digest.update(json.dumps(sorted(metadata.items())).encode())
    for name, x in sorted(tensors.items()):
        digest.update(json.dumps([name, str(x.dtype), list(x.shape)]).encode())
        digest.update(x.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _check_fit(config: Mapping[str, Any], shapes: Mapping[str, torch.Size]) -> None:
    """Refuse shapes that are not those of such a network; no memory is taken to find out.

    Raises:
        RuntimeError: other names or shapes, as `load_state_dict` tells them.
        ValueError, TypeError: settings that make no network.
    """
    layers = config.get("blocks", 1) * len(config.get("mults", ()))
    if layers > len(shapes):
        raise ValueError(f"blocks and mults ask for {layers} blocks, of {len(shapes)} tensors")
    with torch.device("meta"):
        network = UNet(**config)
        network.load_state_dict({name: torch.empty(shape) for name, shape in shapes.items()})


def _check_numbers(weights: Mapping[str, Tensor]) -> None:
    first, dtype = next((name, x.dtype) for name, x in weights.items())
    for name, x in weights.items():
        if not x.is_floating_point():
            raise ValueError(f"{name} must be floating point, got {x.dtype}")
        if x.dtype != dtype:
            raise ValueError(
                f"weights must be of one type, got {dtype} in {first} and {x.dtype} in {name}"
            )
        if not x.isfinite().all():
            raise ValueError(f"{name} must be finite, got NaN or infinity")


def _type(metadata: Mapping[str, str], weights: Mapping[str, Tensor]) -> torch.dtype:
    """Of the network: what the file says, or that of its weights."""
    said = metadata.get("type")
    if said is not None and said not in TYPES:
        raise ValueError(f"its type must be {' or '.join(TYPES)}, got {said!r}")
    return next(iter(weights.values())).dtype if said is None else TYPES[said]


def _find(source: str | Path) -> Path:
    own = WEIGHTS / f"{source}.safetensors"
    if isinstance(source, str) and "/" not in source and own.exists():
        if Path(source).is_file():
            warnings.warn(
                f"{source} are the weights that come along; for the file write ./{source}",
                stacklevel=3,
            )
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
    except ValueError:  # our own
        raise
    except Exception as error:
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
    says = {}
    for part in PARTS:
        try:
            says[part] = json.loads(metadata.get(part, "null"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: its {part!r} must be JSON: {error}") from error
        if not isinstance(says[part], dict):
            got = "nothing" if says[part] is None else type(says[part]).__name__
            raise ValueError(f"{path}: its {part!r} must be a dict in JSON, got {got}")
    return says


def _is_ours(path: Path) -> bool:
    with _opened(path) as file:
        return (file.metadata() or {}).get("format") == FORMAT


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
