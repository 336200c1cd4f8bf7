"""Points of the plane to train on, and in Python what the page computes of them.

The network, what a turn of Algorithm 1 draws, and the probability-flow ODE; each is the twin of a
function in `ddpm_lite/javascript/points/`, to which tests hold it.
"""

import math
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor, nn
from torch.nn.utils import vector_to_parameters

from ddpm_lite.batches import Batch
from ddpm_lite.blocks import time_embedding
from ddpm_lite.diffusion import GaussianDiffusion, Model
from ddpm_lite.schedule import spaced_times
from ddpm_lite.widgets.noise import normals, uniforms

__all__ = ["NETWORK", "PEN", "PointNet", "draw_batch", "flow", "point_sets"]

PEN = 0.05  # the standard deviation about each point
NETWORK = (32, (3.0, 6.0))  # width and waves of the network that the page trains
Points = Float64[np.ndarray, "N 2"]


class PointNet(nn.Module):
    """A network for points of the plane: three hidden layers, told t by an embedding of 32.

    The embedding shifts what the first layer makes of x_t and scales what the second makes of
    that, as in a residual block of the U-Net. 12,866 weights by default, 4,642 in the page.

    Args:
        width: of each hidden layer.
        waves: the first layer also sees sin(w x_t) and cos(w x_t) for each of these w. A small
            network learns fine detail sooner with them: Tancik et al. (2020).
    """

    def __init__(self, width: int = 64, waves: tuple[float, ...] = ()):
        super().__init__()
        self.waves, places = waves, 2 + 4 * len(waves)
        self.x, self.t, self.scale = (nn.Linear(n, width) for n in (places, 32, 32))
        self.middle, self.last = (nn.Linear(width, width) for _ in range(2))
        self.out, self.act = nn.Linear(width, 2), nn.SiLU()

    def forward(self, xt: Float[Tensor, "B 2"], t: Int[Tensor, " B"]) -> Float[Tensor, "B 2"]:
        """x_t [B, 2], t [B] in 1..T -> eps, x_0 or v, whichever it is trained on, [B, 2]."""
        e = time_embedding(t, 32).to(xt)
        waves = (wave(w * xt) for w in self.waves for wave in (torch.sin, torch.cos))
        x = torch.cat([xt, *waves], dim=1)
        h = self.middle(self.act(self.x(x) + self.t(e))) * (1 + self.scale(e))
        return self.out(self.act(self.last(self.act(h))))

    def begin(self, seed: int) -> "PointNet":
        """Begin from the page's weights of this seed, in float64, even as PyTorch's own are."""
        count = sum(p.numel() for p in self.parameters())
        weights = torch.from_numpy(uniforms(seed, count))
        vector_to_parameters(weights, self.double().parameters())
        with torch.no_grad():
            for layer in self.children():
                if isinstance(layer, nn.Linear):
                    for part in layer.parameters():
                        part.copy_((2 * part - 1) / math.sqrt(layer.in_features))
        return self


def draw_batch(
    points: Float64[Tensor, "N 2"], pen: float, T: int, batch: int, seed: int, turn: int
) -> Batch:
    """Lines 2 to 4 of Algorithm 1 as the page draws them, in float64; turns count from 0."""
    own = (seed + 0x9E3779B1 * (turn + 1)) % 2**32
    u = torch.from_numpy(uniforms(own, 2 * batch))
    z = torch.from_numpy(normals((own + 0x85EBCA6B) % 2**32, 4 * batch)).view(2, batch, 2)
    which, t = (u[:batch] * len(points)).long(), 1 + (u[batch:] * T).long()
    return Batch(points[which] + pen * z[0], t, z[1], condition=False, labels=None)


@torch.no_grad()
def flow(
    diffusion: GaussianDiffusion, model: Model, start: Float[Tensor, "B *D"], steps: int = 25
) -> list[tuple[int, Float[Tensor, "B *D"]]]:
    """Follow the probability-flow ODE from x_T = start to x_0: t and x_t at each stop.

    With y = x / sqrt(alpha_bar) and sigma = sqrt(1 / alpha_bar - 1) it reads dy / dsigma = eps.
    Euler's steps on it are DDIM with eta = 0; these are Heun's, two calls of the network each, one
    for the last. Song et al. (2021), "Score-based generative modeling", Eq. 13.

    Args:
        diffusion: with the whole chain.
        model: `(xt, t) -> output`, of the diffusion's objective.
        start: [B, ...].
        steps: at most T.
    """
    alpha_bar = diffusion.schedule.alpha_bar
    sigma = (1 / alpha_bar - 1).sqrt()

    def slope(x: Tensor, t: int) -> Tensor:
        return diffusion.p_mean_variance(model, x, t, clip=False).eps_hat

    times = [0, *spaced_times(diffusion.T, min(steps, diffusion.T))][::-1]
    path = [(diffusion.T, start)]
    for t, to in pairwise(times):
        x = path[-1][1]
        y, step, signal = x / alpha_bar[t].sqrt(), sigma[to] - sigma[t], alpha_bar[to].sqrt()
        here = slope(x, t)
        there = slope((signal * (y + step * here)).to(x), to) if to else here
        path.append((to, (signal * (y + step * (here + there) / 2)).to(x)))
    return path


def point_sets() -> dict[str, Points]:
    """The sets to choose from, each about [-1, 1]^2: ring, two moons, spiral, letters, blobs."""
    return {
        "ring": _arc(0.0, 0.0, 1.0, 0.0, 2.0, 96)[:-1],
        "two moons": np.concatenate(
            [_arc(-0.4, -0.2, 0.8, 0.0, 1.0, 60), _arc(0.4, 0.2, 0.8, 1.0, 2.0, 60)]
        ),
        "spiral": _spiral(120),
        "letters": _letters(),
        "five blobs": _blobs(),
    }


def _arc(x: float, y: float, radius: float, start: float, end: float, n: int) -> Points:
    """n points of a circle, from angle to angle, in half turns."""
    angle = math.pi * np.linspace(start, end, n)
    return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1)


def _spiral(n: int) -> Points:
    """Evenly along an arm that winds a turn and a half."""
    share = np.sqrt(np.linspace(0.02, 1, n))
    angle = 3 * math.pi * share
    return 1.1 * np.stack([share * np.cos(angle), share * np.sin(angle)], axis=1)


def _line(*corners: tuple[float, float], spacing: float = 0.055) -> Points:
    """Points along the lines from corner to corner."""
    parts = []
    for a, b in pairwise(corners):
        n = max(2, round(math.dist(a, b) / spacing))
        parts.append(np.linspace(a, b, n, endpoint=False))
    return np.concatenate([*parts, np.array([corners[-1]])])


def _letters() -> Points:
    """A D and an M, for diffusion model."""
    bow = _arc(-1.0, 0.0, 0.75, -0.5, 0.5, 40) * np.array([0.9, 1]) - np.array([0.1, 0])
    stem = _line((-1.0, -0.75), (-1.0, 0.75))
    m = _line((0.15, -0.75), (0.15, 0.75), (0.625, -0.15), (1.1, 0.75), (1.1, -0.75))
    return np.concatenate([stem, bow[1:-1], m])


def _blobs() -> Points:
    """Five blobs of twenty points on a circle, the points of each as even as can be."""
    k = np.arange(20)
    radius, angle = 0.24 * np.sqrt((k + 0.5) / 20), math.pi * (3 - math.sqrt(5)) * k
    blob = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    centers = _arc(0.0, 0.0, 0.9, 0.5, 2.5, 6)[:-1]
    return (centers[:, None] + blob).reshape(-1, 2)
