"""Sampling: what a step costs beyond its network, and images a second, ours and others'.

    python benchmarks/sampling.py

First around a network that does nothing, so that the step is all there is, and around the smallest
network that the book uses; the baseline is the bare network, called as often. Then images from the
paper's wiring, beside its like in diffusers and the U-Net of denoising-diffusion-pytorch, by
ancestral sampling and by DDIM, each library with its own sampler and without a progress bar; the
baseline is denoising-diffusion-pytorch. Below 1 is faster.
"""

from collections.abc import Callable
from functools import partial

import torch
from peers import diffusers_sampler, diffusers_unet, lucidrains, their_sampler
from timing import SMALLEST, compare, gpu, machine
from torch import Tensor, nn

from ddpm_lite import GaussianDiffusion, UNet, ddim, ddpm, linear_schedule, sample

device = "cuda" if gpu else "cpu"
torch.set_num_threads(1)


class Nothing(nn.Module):
    """Returns what it is given; the attributes are those denoising-diffusion-pytorch asks for."""

    channels = out_dim = 1
    self_condition = False

    def forward(self, x: Tensor, t: Tensor, _: None = None) -> Tensor:
        return x


@torch.inference_mode()
def bare(network: nn.Module, steps: int, images: int) -> None:
    x, t = torch.randn(images, 1, 8, 8, device=device), torch.ones(images, dtype=int, device=device)
    for _ in range(steps):
        network(x, t)


def ours(
    network: Callable[..., Tensor], size: int, steps: int, fast: bool
) -> Callable[[int], Tensor]:
    diffusion = GaussianDiffusion(linear_schedule() if fast else linear_schedule().rescaled(steps))
    how = partial(ddim, steps=steps) if fast else ddpm
    return lambda n: sample(diffusion, network, (n, 1, size, size), how, device=device)


print(machine())
steps = 3 if SMALLEST else 200
for label, network, images in (
    ("a network that does nothing", Nothing(), 16),
    ("UNet(8, width=16)", UNet(8, 1, 16).to(device).eval(), 16),
    ("UNet(8, width=16)", UNet(8, 1, 16).to(device).eval(), 64),
):
    draws = {"bare": partial(bare, network, steps)}
    for kind, fast in (("ddpm", False), ("ddim", True)):
        draws[f"ours, {kind}"] = ours(network, 8, steps, fast)
        if isinstance(network, Nothing):
            draws[f"diffusers, {kind}"] = diffusers_sampler(network, 8, steps, fast, device)
            draws[f"d.-d.-pytorch, {kind}"] = their_sampler(network, 8, steps, fast, device)
    title = f"{steps} steps around {label}, {images} images"
    compare({name: partial(draw, images) for name, draw in draws.items()}, title, images=images)

size, width, mults, images, steps = 16, 32, (1, 2, 4), 16, 2 if SMALLEST else 20
theirs = lucidrains().Unet(dim=width, dim_mults=mults, channels=1).to(device).eval()
like = diffusers_unet(size, 1, width, mults).to(device).eval()
paper = UNet(size, 1, width, mults).to(device).eval()
note = UNet.note(size, 1, width=width, mults=mults).to(device).eval()
for kind, fast in (("ddpm", False), ("ddim", True)):
    draws = {
        "denoising-diffusion-pytorch": their_sampler(theirs, size, steps, fast, device),
        "diffusers": diffusers_sampler(like, size, steps, fast, device),
        "ours, note": ours(note, size, steps, fast),
        "ours, paper": ours(paper, size, steps, fast),
    }
    title = f"{images} images of 1x{size}x{size} in {steps} steps of {kind}, width {width}"
    compare({name: partial(draw, images) for name, draw in draws.items()}, title, images=images)

# The network of 28x28, asked by a recording of its launches, which only a GPU makes, and eagerly.
size, images, steps = 28, 2 if SMALLEST else 64, 2 if SMALLEST else 50
net = UNet(size, 1, 16, (1, 2, 4), attention=(7,)).to(device).eval()


def eager(xt: Tensor, t: Tensor) -> Tensor:
    return net(xt, t)


for kind, fast in (("ddpm", False), ("ddim", True)):
    draws = {"eager": ours(eager, size, steps, fast), "as it is": ours(net, size, steps, fast)}
    title = f"{images} images of 1x{size}x{size} in {steps} steps of {kind}, the fashion network"
    compare({name: partial(draw, images) for name, draw in draws.items()}, title, images=images)
