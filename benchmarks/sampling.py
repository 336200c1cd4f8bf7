"""What a sampler costs beyond its network: a step of it against a bare call of the network.

    python benchmarks/sampling.py

Two networks: one that does nothing, whose step is all overhead, and the smallest that the book
uses. Ratios of 7 rounds; the bare network is 1.
"""

import torch
from timing import compare, machine

from ddpm_lite import GaussianDiffusion, UNet, ddim, linear_schedule, sample

device = "cuda" if torch.cuda.is_available() else "cpu"
torch.set_num_threads(1)
STEPS = 200
diffusion = GaussianDiffusion(linear_schedule(STEPS, 5e-4, 0.1))


def bare(network: object, shape: tuple[int, ...]) -> None:
    with torch.inference_mode():
        x, t = torch.randn(shape, device=device), torch.ones(shape[0], dtype=int, device=device)
        for _ in range(STEPS):
            network(x, t)


print(machine())
print(f"{STEPS} steps each")
for name, network, shape in (
    ("a network that does nothing", lambda x, t: x, (16, 1, 8, 8)),
    ("UNet(8, width=16), 16 images", UNet(8, 1, 16).to(device).eval(), (16, 1, 8, 8)),
    ("UNet(8, width=16), 64 images", UNet(8, 1, 16).to(device).eval(), (64, 1, 8, 8)),
):
    print(name)
    compare({
        "bare": lambda n=network, s=shape: bare(n, s),
        "ddpm": lambda n=network, s=shape: sample(diffusion, n, s, device=device),
        "ddim": lambda n=network, s=shape: sample(
            diffusion, n, s, ddim, steps=STEPS, device=device
        ),
    })  # fmt: skip
