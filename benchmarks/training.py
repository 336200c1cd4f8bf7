"""A training step, against denoising-diffusion-pytorch's and diffusers', at like size and batch.

    python benchmarks/training.py [tiny|small|cifar|ho2020]

Forward, backward, clipping, optimiser and EMA, each library with the settings of its own trainer.
"as train picks" is what `train` does when nothing is said: bfloat16 where it pays. The first row is
the baseline; below 1 is faster. When named, and on a GPU by default, the paper's network is
measured beside a matrix product, for the share of the matrix rate that its arithmetic reaches.
"""

import sys
from collections.abc import Callable

import torch
from peers import diffusers_step, diffusers_unet, lucidrains, their_diffusion, their_step
from timing import compare, machine
from torch.utils.flop_counter import FlopCounterMode

from ddpm_lite import GaussianDiffusion, TrainConfig, UNet, linear_schedule, train

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
gpu = device.type == "cuda"
torch.set_num_threads(1)
SIZES = {  # size, channels, width, mults, batch, steps a round
    "tiny": (8, 1, 16, (1, 2), 64, 4),
    "small": (16, 1, 32, (1, 2, 4), 64, 1),
    "cifar": (32, 3, 64, (1, 2, 4, 8), 16, 1),
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


print(machine())
names = sys.argv[1:] or [*SIZES, *(["ho2020"] if gpu else [])]
for name in [n for n in names if n != "ho2020"]:
    size, channels, width, mults, batch, n = SIZES[name]
    data = torch.rand(256, channels, size, size, device=device) * 2 - 1
    theirs = lucidrains().Unet(dim=width, dim_mults=mults, channels=channels).to(device)
    like = diffusers_unet(size, channels, width, mults).to(device)

    def note(**changes: object) -> UNet:
        return UNet.note(size, channels, width=width, mults=mults, **changes)  # noqa: B023

    def paper() -> UNet:
        return UNet(size, channels, width, mults)  # noqa: B023

    print(f"{name}: {channels}x{size}x{size}, batch {batch}, width {width}, mults {mults}; "
          f"theirs {count(theirs)}, note {count(note())}, paper {count(paper())}, "
          f"diffusers {count(like)} parameters")  # fmt: skip
    candidates = {
        "denoising-diffusion-pytorch": their_step(their_diffusion(theirs, size), data, batch)[0],
        "note, float32": ours(note(), data, batch, precision="float32"),
        "note, bfloat16": ours(note(), data, batch, precision="bfloat16"),
        "paper, float32": ours(paper(), data, batch, precision="float32"),
        "paper, as train picks": ours(paper(), data, batch),
        "diffusers, float32": diffusers_step(like, data, batch),
    }
    if gpu:
        candidates["paper, compiled"] = ours(paper(), data, batch, compile=True)
    compare({label: times(step, n) for label, step in candidates.items()})

if "ho2020" in names:
    data = torch.rand(4096, 3, 32, 32, device=device) * 2 - 1
    network = UNet.ho2020().to(device)
    with FlopCounterMode(display=False) as flops:
        network(data[:1], torch.ones(1, dtype=int, device=device)).sum().backward()
    a = torch.randn(*2 * [8192 if gpu else 2048], device=device, dtype=torch.bfloat16)
    compiled = {"compiled": {"compile": True}} if gpu else {}
    for batch in (128, 256, 512) if gpu else (16,):
        for label, settings in {"eager": {}, **compiled}.items():
            step = ours(UNet.ho2020(), data, batch, **settings)
            product = {f"one matrix product of {len(a)}": lambda a=a: a @ a}
            print(f"ho2020, batch {batch}, {label}; {flops.get_total_flops() / 1e9:.1f} GFLOP an "
                  f"image; the product is {2 * len(a) ** 3 / 1e9:.0f} GFLOP")  # fmt: skip
            compare({**product, f"{batch} images": step})
