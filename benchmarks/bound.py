"""The bound over all t: pairs of image and t in flat chunks, against a loop over t.

    python benchmarks/bound.py

The loop is what most code does: every image at one t, then at the next. With few images it
leaves the machine idle. Ratios of 7 rounds; a ratio below 1 is faster than the loop.
"""

import torch
from timing import SMALLEST, compare, gpu, machine

from ddpm_lite import GaussianDiffusion, UNet, digits, elbo, linear_schedule

device = "cuda" if gpu else "cpu"
torch.set_num_threads(1)
network = UNet(8, 1, 16).to(device).eval()
schedule = linear_schedule(200, 5e-4, 0.1)
diffusion = GaussianDiffusion(schedule.rescaled(5) if SMALLEST else schedule, levels=17)
data = digits("test")[0].to(device)


@torch.no_grad()
def by_t(x0: torch.Tensor) -> torch.Tensor:
    terms = []
    for t in range(1, diffusion.T + 1):
        ts = torch.full((len(x0),), t, device=device)
        xt = diffusion.q_sample(x0, ts)
        out = diffusion.p_mean_variance(network, xt, ts)
        terms.append(diffusion.decoder(out, x0) if t == 1 else diffusion.kl(out, x0, xt, ts))
    return torch.stack(terms).sum(0)


print(machine())
for images in (1, 4, 8, 16, 64):
    x0 = data[:images]
    # Both estimate the same sum: their means over many images agree.
    if images == 64:
        one = by_t(x0).mean().item()
        two = (elbo(diffusion, network, x0).total).mean().item()
        assert SMALLEST or abs(one - two) < 0.05 * one, (one, two)
    title = f"{images} images of 8 x 8, T = {diffusion.T}"
    compare({
        "loop over t": lambda x0=x0: by_t(x0),
        "chunks of 64": lambda x0=x0: elbo(diffusion, network, x0, chunk=64),
        "chunks of 256": lambda x0=x0: elbo(diffusion, network, x0, chunk=256),
    }, title, images=images)  # fmt: skip
