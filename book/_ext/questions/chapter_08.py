"""Chapter 8: what dropping the weight changes, the floor, and Algorithm 1."""

import math
from collections.abc import Sequence

import torch
from ddpm_lite import GaussianDiffusion, Oracle, linear_schedule

from questions.kinds import Choice, Numeric, Order, run, same

SCHEDULE = linear_schedule()


def best_networks() -> str:
    """Whether, with a free number for each t, L and L_simple have the same minimum."""
    kept = SCHEDULE.alpha_bar[1:]
    variance = 0.25 * kept + 1 - kept  # of x_t, for pixels N(0, 0.5^2)
    covariance = (1 - kept).sqrt()  # of eps and x_t
    weights = GaussianDiffusion(SCHEDULE).loss_weight("variational")[1:]
    found = []
    for weight in (weights, torch.full_like(weights, 1 / 1000)):
        # The derivative of weight * E (eps - a x_t)^2 in each a is zero.
        found.append(weight * covariance / (weight * variance))
    on_bound, on_simple = found
    return "same" if torch.allclose(on_bound, on_simple) else "different"


def distance_of_zero() -> float:
    """E ||eps*||^2 per coordinate at t = 50, for the chapter's five blobs, on a grid."""
    angle = torch.arange(5) * 2 * math.pi / 5
    centers = 0.8 * torch.stack([angle.cos(), angle.sin()], dim=1)
    oracle = Oracle(SCHEDULE, centers, std=0.15)
    axis = torch.arange(-5, 5, 0.05)
    plane = torch.cartesian_prod(axis, axis)
    density = oracle.log_density(plane, 50).exp() * 0.05**2
    return float(density @ (oracle(plane, 50) ** 2).mean(1))


def trains(order: Sequence[str]) -> bool:
    """Whether the lines make one step down the gradient of this batch's loss, and no other."""
    weight = torch.nn.Parameter(torch.tensor(0.5, dtype=torch.float64))
    weight.grad = torch.tensor(7.0, dtype=torch.float64)  # of the batch before
    x0, eps = torch.tensor([[0.3, -0.8], [1.2, 0.4]], dtype=torch.float64)
    a = SCHEDULE.alpha_bar[300]
    run(
        order,
        x0=x0,
        a=a,
        t=300,
        noise_like=lambda x: eps,
        network=lambda xt, t: weight * xt,
        optimizer=torch.optim.SGD([weight], lr=0.1),
    )
    xt = a.sqrt() * x0 + (1 - a).sqrt() * eps
    slope = (2 * (0.5 * xt - eps) * xt).mean()
    return same(weight.detach(), 0.5 - 0.1 * slope)


def careless() -> str:
    """Where the plain squared error of x0 has the least say, in units of eps."""
    of_eps = 1 / SCHEDULE.snr[1:]  # its weight on the error of eps
    return "small" if of_eps[0] < of_eps[-1] else "large"


ASKED = [
    Choice(
        "Two networks may answer differently at every $t$, without limit. One is trained on $L$, "
        "the other on $L_{\\mathrm{simple}}$, each to its minimum. Which has the smaller bound $L$?",
        best_networks,
        {
            "bound": (
                "the one trained on $L$, as in the paper's tables",
                "The paper's network shares its parameters over all $t$ and cannot have everything. "
                "One that can makes each $\\ell_t$ as small as it can be, whatever its weight.",
            ),
            "simple": (
                "the one trained on $L_{\\mathrm{simple}}$, whose samples are better",
                "Its samples are better where a network must choose, and there it pays with the "
                "bound. Here no $\\ell_t$ makes way for another.",
            ),
            "same": (
                "neither: the two bounds are equal",
                "All weights are positive, so both sums are lowest where every $\\ell_t$ is. The "
                "weights rule where a network must choose.",
            ),
        },
    ),
    Numeric(
        "At $t = 50$ the floor is 0.5755 per coordinate. How far, per coordinate and in the mean "
        "square, is a network that always answers zero from the best one, $\\varepsilon^*$?",
        distance_of_zero,
        "Its loss is one, and loss is floor plus distance: $1 - 0.5755$.",
        {
            "That is the floor, which no network gets below.": lambda: 0.5755,
            "That is its loss. The floor is a part of it.": lambda: 1.0,
            "That is the root of the distance.": lambda: (1 - 0.5755) ** 0.5,
            "That is the sum over both coordinates.": lambda: 2 * (1 - 0.5755),
        },
    ),
    Order(
        "Here is line 5 of the algorithm in PyTorch, with the noise of line 4. Put it in order. "
        "(`a` is $\\bar\\alpha_t$; there is a gradient from the batch before.)",
        (
            "eps = noise_like(x0)",
            "xt = a.sqrt() * x0 + (1 - a).sqrt() * eps",
            "loss = ((network(xt, t) - eps) ** 2).mean()",
            "optimizer.zero_grad()",
            "loss.backward()",
            "optimizer.step()",
        ),
        {
            (0, 1): "The noise is drawn before it is mixed in.",
            (1, 2): "The network must see $x_t$ of this batch.",
            (2, 4): "There is no loss yet to take the gradient of.",
            (3, 4): "`backward` adds to the gradient that is there: clear the old one before, and "
            "the new one not at all.",
            (4, 5): "The step goes along the gradient, which `backward` computes.",
        },
        trains,
        "The old gradient may be cleared anywhere before the new one is computed.",
    ),
    Choice(
        "A network predicts $x_0$ and is trained on the plain squared error of $x_0$. At which "
        "$t$ will its noise be worst, measured in $\\varepsilon$?",
        careless,
        {
            "small": (
                "at small $t$",
                "There the weight is least: in units of $\\varepsilon$ it is "
                "$1/\\mathrm{SNR}(t)$. An answer a few hundredths off costs next to nothing in "
                "$x_0$, and the noise is only a hundredth.",
            ),
            "large": (
                "at large $t$, where the image cannot be known",
                "There its error in the image is large and its loss asks most of it. In "
                "$\\varepsilon$ that error is multiplied by $\\sqrt{\\mathrm{SNR}(t)}$, which is "
                "next to nothing.",
            ),
            "even": (
                "at all alike: the two are the same knowledge",
                "Each can be computed from the other, but an error changes its size on the way, by "
                "another factor at each $t$.",
            ),
        },
    ),
]
