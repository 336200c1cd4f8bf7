"""A training step, against denoising-diffusion-pytorch's and diffusers', at like size and batch.

    python benchmarks/training.py [tiny|small|cifar|digits|fashion|note|ho2020|ho2020-256 ...]

Forward, backward, clipping, optimiser and EMA, each library with the settings of its own trainer.
"as train picks" is what `train` does when nothing is said: bfloat16 where it pays. "float32" is
tf32 on a GPU, for all candidates alike, and said so. The first row is the baseline; below 1 is
faster. ho2020 is the paper's network, measured beside a matrix product, for the share of the matrix
rate that its arithmetic reaches; a number after it is the batch. digits and fashion are the shipped
networks, note is the one of the reading note.
"""

import sys
from collections.abc import Callable
from typing import Any

import torch
from peers import diffusers_step, diffusers_unet, lucidrains, their_diffusion, their_step
from timing import SMALLEST, compare, gpu, machine, save
from torch.utils.flop_counter import FlopCounterMode

from ddpm_lite import GaussianDiffusion, TrainConfig, UNet, linear_schedule, train
from ddpm_lite.system.device import Device, round_products

device = torch.device("cuda" if gpu else "cpu")
torch.set_num_threads(1)
# As `train` rounds products: for all of them, or who comes after it has an advantage.
round_products(Device.of(device), allowed=True)
FLOAT32 = "tf32" if gpu else "float32"
SIZES = {  # size, channels, width, mults, batch, steps a round
    "tiny": (8, 1, 16, (1, 2), 64, 4),
    "small": (16, 1, 32, (1, 2, 4), 64, 1),
    "cifar": (32, 3, 64, (1, 2, 4, 8), 16, 1),
    "digits": (8, 1, 20, (1, 2), 64, 4),
    "fashion": (28, 1, 16, (1, 2, 4), 64, 1),
    "note": (32, 3, 64, (1, 2, 4, 8), 128, 1),
}
PAPER = (32, 3, 128, (1, 2, 2, 2))
if SMALLEST:
    SIZES = {name: (*size[:2], 8, size[3], 2, 1) for name, size in SIZES.items()}
    PAPER = (*PAPER[:2], 8, PAPER[3])
MODES = {  # of ours on a GPU, beside what `train` picks
    "played": {"replay": True},
    "compiled": {"compile": True},
    "compiled and played": {"compile": True, "replay": True},
}


def ours(network: UNet, data: torch.Tensor, batch: int, **settings: object) -> Callable[[], float]:
    config = TrainConfig(steps=10**9, batch=batch, lr=1e-4, **settings)
    steps = train(network.to(device), GaussianDiffusion(linear_schedule()), data, config)
    return lambda: next(steps).loss


def times(step: Callable[[], object], n: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(n):
            step()

    return run


def count(network: torch.nn.Module) -> str:
    return f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f}M"


def like_size(name: str) -> None:
    """Ours in its ways, and the peers at its width and factors."""
    size, channels, width, mults, batch, n = SIZES[name]
    data = torch.rand(256, channels, size, size, device=device) * 2 - 1
    theirs = lucidrains().Unet(dim=width, dim_mults=mults, channels=channels).to(device)
    like = diffusers_unet(size, channels, width, mults).to(device)

    def note(**changes: object) -> UNet:
        return UNet.note(size, channels, width=width, mults=mults, **changes)

    def paper() -> UNet:
        return UNet(size, channels, width, mults)

    candidates = {
        "denoising-diffusion-pytorch": their_step(their_diffusion(theirs, size), data, batch)[0],
        f"note, {FLOAT32}": ours(note(), data, batch, precision="float32"),
        "note, bfloat16": ours(note(), data, batch, precision="bfloat16"),
        f"paper, {FLOAT32}": ours(paper(), data, batch, precision="float32"),
        "paper, as train picks": ours(paper(), data, batch),
        f"diffusers, {FLOAT32}": diffusers_step(like, data, batch),
    }
    for mode, settings in MODES.items() if gpu else ():
        candidates[f"paper, {mode}"] = ours(paper(), data, batch, **settings)
    title = (
        f"{name}: {channels}x{size}x{size}, batch {batch}, width {width}, mults {mults}; "
        f"theirs {count(theirs)}, note {count(note())}, paper {count(paper())}, "
        f"diffusers {count(like)} parameters"
    )
    compare({label: times(step, n) for label, step in candidates.items()}, title, images=batch * n)


def ho2020(batch: int) -> None:
    """The paper's network and its likes, with the arithmetic of a step and of a matrix product."""
    size, channels, width, mults = PAPER
    data = torch.rand(max(batch, 16), channels, size, size, device=device) * 2 - 1

    def network() -> UNet:
        return UNet(size, channels, width, mults, attention=(16,), dropout=0.1)

    with FlopCounterMode(display=False) as flops:
        one = torch.ones(1, dtype=torch.long, device=device)
        network().to(device)(data[:1], one).sum().backward()
    theirs = lucidrains().Unet(dim=width, dim_mults=mults, channels=channels).to(device)
    like = diffusers_unet(size, channels, width, mults, attention=(16,)).to(device)
    a = torch.randn(*2 * [8192 if gpu else 2048], device=device, dtype=torch.bfloat16)
    candidates: dict[str, Callable[[], object]] = {
        "denoising-diffusion-pytorch": their_step(their_diffusion(theirs, size), data, batch)[0],
        f"diffusers, {FLOAT32}": diffusers_step(like, data, batch),
        "ours, as train picks": ours(network(), data, batch),
        "one matrix product": lambda: a @ a,
    }
    for mode, settings in MODES.items() if gpu else ():
        candidates[f"ours, {mode}"] = ours(network(), data, batch, **settings)
    table = compare(
        candidates,
        f"ho2020, batch {batch}; theirs {count(theirs)}, ours {count(network())}, diffusers "
        f"{count(like)} parameters; {flops.get_total_flops() / 1e9:.1f} GFLOP an image; the "
        f"product of {len(a)} is {2 * len(a) ** 3 / 1e9:.0f} GFLOP",
        images=batch,
        gflop_of_an_image=flops.get_total_flops() / 1e9,
        gflop_of_the_product=2 * len(a) ** 3 / 1e9,
    )
    tell_rates(table)


def tell_rates(table: dict[str, Any]) -> None:
    """Images a second; of ours also the share of the matrix product's rate."""
    rows, product = table["rows"], table["rows"]["one matrix product"]
    for name, row in rows.items():
        if "seconds" not in row or row is product:
            continue
        row["images_per_second"] = table["images"] / row["seconds"]
        said = f"  {name:28} {row['images_per_second']:9.1f} images/s"
        if name.startswith("ours") and "seconds" in product:
            rate = row["images_per_second"] * table["gflop_of_an_image"]
            row["share"] = rate * product["seconds"] / table["gflop_of_the_product"]
            said += f", {100 * row['share']:.0f}% of the product's rate"
        print(said)
    save()


print(machine())
PAPERS = "ho2020", "ho2020-128", "ho2020-256", "ho2020-512"
names = sys.argv[1:] or [*SIZES, *(PAPERS[1:] if gpu else ())]
if unknown := set(names) - set(SIZES) - set(PAPERS):
    sys.exit(f"names must be among {', '.join((*SIZES, *PAPERS))}, got {', '.join(unknown)}")
for name in names:
    if name in SIZES:
        like_size(name)
    else:
        ho2020(2 if SMALLEST else int(name.partition("-")[2] or 16))
