"""What a device is, as facts; and what is decided by them: here, and nowhere else.

Each decision is a function of facts, so that those for a device that is not here can be tried.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch

__all__ = [
    "Device", "Precision", "fits", "fused", "keeps_channels_last", "pick_precision", "records",
    "round_products", "too_many",
]  # fmt: skip

Precision = Literal["auto", "float32", "bfloat16", "float16"]
LARGE = 1_000_000  # parameters from which bfloat16 pays on a CPU


@dataclass(frozen=True)
class Device:
    """Facts about a device.

    Args:
        type: torch's name of its kind: cpu, cuda, mps, xpu.
        name: what its maker calls it; empty where nobody asks.
        capability: of a CUDA device, its major and minor number; (7, 5) is a T4's.
        memory: bytes it has, for a device apart from the CPU.
        free: bytes of them that no tensor and no other program uses now.
        bfloat16: whether its hardware multiplies bfloat16; emulation does not count.
    """

    type: str
    name: str = ""
    capability: tuple[int, int] = (0, 0)
    memory: float = math.inf
    free: float = math.inf
    bfloat16: bool = False

    @staticmethod
    def of(device: torch.device) -> "Device":
        """The facts about a device that is here."""
        if device.type == "cuda":
            free, memory = torch.cuda.mem_get_info(device)
            # What torch holds and does not use counts as taken there.
            free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
            return Device(
                "cuda",
                torch.cuda.get_device_name(device),
                torch.cuda.get_device_capability(device),
                memory,
                free,
                torch.cuda.is_bf16_supported(including_emulation=False),
            )
        if device.type == "cpu":
            fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
            return Device("cpu", bfloat16=fast)
        return Device(device.type)


def pick_precision(device: Device, wanted: Precision, parameters: int) -> torch.dtype:
    """The dtype of a network's products; see `TrainConfig`.

    Args:
        parameters: of the network, how many.

    Raises:
        ValueError: float16 on a device other than a GPU.
    """
    if wanted == "float16" and device.type != "cuda":
        raise ValueError(f"precision float16 needs a GPU, got a network on {device.type}")
    if wanted != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[
            wanted
        ]
    if device.type == "cuda":
        # Emulated bfloat16, as on a T4, is slower than float32.
        return torch.bfloat16 if device.bfloat16 else torch.float16
    pays = device.type == "cpu" and device.bfloat16 and parameters >= LARGE
    return torch.bfloat16 if pays else torch.float32


def keeps_channels_last(device: Device, precision: torch.dtype, wanted: bool | None) -> bool:
    """Whether images are laid out with their channels last."""
    if wanted is not None:
        return wanted
    # On a CPU, torch's GroupNorm takes ten times as long with it.
    return device.type != "cpu" and precision != torch.float32


def fused(device: Device) -> bool:
    """Whether torch has AdamW as one operation there."""
    return device.type in ("cpu", "cuda", "mps", "xpu")


def records(device: Device, wanted: bool) -> bool:
    """Whether launches are recorded once and played again: CUDA graphs, which only CUDA has.

    Only where it is asked for, until it has been measured on a GPU.
    """
    return device.type == "cuda" and bool(wanted)


def fits(device: Device, nbytes: int) -> bool:
    """Whether a whole set may move to the device: it takes at most half of what is free there."""
    return nbytes <= device.free / 2


def too_many(device: Device, share: int, accumulate: int, batch: int) -> str:
    """What to do when a device has run out of memory, at so many images at once."""
    room = f" for the {device.memory / 2**30:.1f} GiB of {device.name}" if device.name else ""
    return (
        f"{share} images at once were too many{room}: a larger accumulate than {accumulate} cuts "
        f"the batch of {batch} into smaller parts"
    )


def round_products(device: Device, allowed: bool) -> None:
    """Let a GPU round the factors of float32 products to tf32, or not, for the whole process.

    torch keeps two switches, of matrix products, off by default, and of convolutions, on.
    """
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high" if allowed else "highest")
        torch.backends.cudnn.allow_tf32 = allowed
