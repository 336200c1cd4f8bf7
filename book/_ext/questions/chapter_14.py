"""Chapter 14: the floor under a loss, and what each of the two tests sees."""

import functools
from typing import Any

import torch
from ddpm_lite import GaussianDiffusion, Oracle, ddim, linear_schedule, sample
from ddpm_lite.runs.doctor import oracle_through

from questions.kinds import Choice, Numeric

SCHEDULE = linear_schedule()


def apart(error: float, floor: float = 0.45) -> float:
    """How far a guess is from the best one, squared, that errs by this much: by trying."""
    x0 = torch.tensor([-(floor**0.5), floor**0.5], dtype=torch.float64)  # given x_t; the best is 0
    tried = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    errors = ((tried[:, None] - x0) ** 2).mean(1)
    return float(tried[(errors - error).abs().argmin()] ** 2)


def escapes_the_first_test() -> str:
    """The one fault of three with which the oracle's images still come back."""
    torch.manual_seed(0)
    images = 2 * torch.rand(20, 1, 4, 4) - 1
    own, other = (GaussianDiffusion(s) for s in (SCHEDULE.rescaled(100), linear_schedule(100)))

    def drawn(model: Any, shape: Any, chain: GaussianDiffusion, grain: float) -> torch.Tensor:
        return sample(chain, model, shape, ddim, steps=20) + grain * torch.randn(shape)

    tried = {"noise": (own, 0.2, images), "schedule": (other, 0.0, images)}
    tried["range"] = own, 0.0, (images + 1) / 2
    found = {}
    for name, (chain, grain, data) in tried.items():
        sampler = functools.partial(drawn, chain=chain, grain=grain)
        found[name] = oracle_through(sampler, own.schedule, data)[0].verdict
    (name,) = (name for name, verdict in found.items() if verdict != "sick")
    return name


@functools.cache
def grid() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pixels N(0, 0.5^2), noise, and the probability of each pair."""
    z = torch.linspace(-7, 7, 281, dtype=torch.float64)
    pairs = torch.cartesian_prod(z, z)
    return pairs[:, :1] / 2, pairs[:, 1:], (-pairs.square().sum(1) / 2).softmax(0)


def slope_of(factor: float, t: int = 300) -> float:
    """Of eps on a network that says so many times the best answer."""
    x0, eps, share = grid()
    xt = GaussianDiffusion(SCHEDULE).q_sample(x0, t, eps)
    said = factor * Oracle(SCHEDULE, torch.zeros(1, 1).double(), 0.5)(xt, t)
    return float((share @ (eps * said)) / (share @ said**2))


def best_told() -> str:
    """What a network that heard t - 1 in training should be told at x_t."""
    x0, eps, share = grid()
    t, oracle = 20, Oracle(SCHEDULE, torch.zeros(1, 1).double(), 0.5)
    xt = GaussianDiffusion(SCHEDULE).q_sample(x0, t, eps)

    def network(x: torch.Tensor, told: int) -> torch.Tensor:
        return oracle(x, told + 1)  # what it has learnt under this name

    errors = {
        name: float(share @ (network(xt, t + step) - eps) ** 2)
        for name, step in (("before", -1), ("same", 0), ("after", 1))
    }
    return min(errors, key=lambda name: errors[name])


def lower_loss() -> str:
    """Whether the narrower range or the grey mean lowers the loss of the best network."""

    def loss(mean: float, std: float) -> float:
        x0, eps, share = grid()
        xt = GaussianDiffusion(SCHEDULE).q_sample(mean + 2 * std * x0, 300, eps)
        oracle = Oracle(SCHEDULE, torch.full((1, 1), mean).double(), std)
        return float(share @ (oracle(xt, 300) - eps) ** 2)

    usual = loss(0.0, 0.5)
    lower = loss(0.5, 0.5) < usual - 1e-6, loss(0.0, 0.25) < usual - 1e-6
    return {(False, True): "range", (True, False): "mean", (False, False): "better"}[lower]


ASKED = [
    Numeric(
        "On the same $x_t$ the images of two networks are wrong by 0.50 and 0.46, in the mean "
        "square, and those of the oracle by 0.45. How many times as far from the oracle is the first "
        "network as the second, in the mean square?",
        lambda: apart(0.50) / apart(0.46),
        "Take off the floor: $0.05 / 0.01$. Two losses that look alike belong to networks of which "
        "one is five times as bad.",
        {
            "That compares the losses. Most of each is the floor, which no network gets below.": (
                lambda: 0.50 / 0.46
            ),
            "That is upside down: the first one is farther off.": lambda: 0.2,
            "That is the factor of the distance itself. The mean square was asked for.": lambda: (
                5**0.5
            ),
            "That is how much more the first one is wrong by. How many times its own fault is that?": (
                lambda: 0.04
            ),
        },
    ),
    Choice(
        "Which of these faults does the first test *not* find?",
        escapes_the_first_test,
        {
            "noise": (
                "the sampler adds noise in its last step",
                "The images come back with grain, so the test finds it. The oracle makes no "
                "mistakes, and what is wrong then comes from the sampler.",
            ),
            "schedule": (
                "the sampler walks along another schedule than the network's",
                "The oracle is right for its own schedule alone. At the $x_t$ of another one it is "
                "asked about noise of the wrong size, and other pictures come out.",
            ),
            "range": (
                "the network was trained on images in $[0, 1]$",
                "The test takes the network out, and all that happened in its training. The oracle "
                "gives back whatever images it is given, pale ones too.",
            ),
        },
    ),
    Numeric(
        "A network says 1.25 times the conditional mean of $\\epsilon$. What is its slope?",
        lambda: slope_of(1.25),
        "The slope is the factor that makes its answer the best again: $1/1.25$.",
        {
            "That is by how much it says too much. The slope is the factor that mends it.": lambda: (
                1.25
            ),
            "That would be a conditional mean as it is, which no factor makes better.": lambda: 1.0,
            "The lower part has the square of the factor, but the upper one has the factor too.": (
                lambda: 1 / 1.25**2
            ),
            "That is how far it is from 1.": lambda: 0.2,
        },
    ),
    Choice(
        "In training a network was told $t - 1$ at $x_t$. Now it is told $t - 1$, $t$ or $t + 1$ "
        "about the same $x_t$. With which does it err least?",
        best_told,
        {
            "before": (
                "with $t - 1$",
                "It knows noise of this size under that name. So the lowest point of the parabola "
                "lies one step before $t$, and the network's clock is off by one.",
            ),
            "same": (
                "with $t$, since the noise is that of $t$",
                "The noise is, but under the name $t$ this network has learnt the noise of "
                "$t + 1$.",
            ),
            "after": (
                "with $t + 1$: that makes up for the one too few",
                "It takes the name too far the other way. Under $t + 1$ the network has learnt the "
                "noise of $t + 2$.",
            ),
        },
    ),
    Choice(
        "Why have the images in $[0, 1]$ the lowest loss of $\\epsilon$?",
        lower_loss,
        {
            "better": (
                "their network has learnt the images best",
                "A loss also depends on how hard the question is. Here the question was easier, and "
                "the answers led to the worst samples of all.",
            ),
            "range": (
                "half the range: there is less image in $x_t$ that hides the noise",
                "The less the image varies, the easier the noise is to name, at every $t$. The floor "
                "itself is lower, so losses on different data do not compare.",
            ),
            "mean": (
                "their mean is grey, not black, and so nearer to the noise",
                "A mean is the same in every image. The network knows it and takes it off, at no "
                "cost.",
            ),
        },
    ),
]
