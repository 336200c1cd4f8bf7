"""Chapter 1: chains, the bound, and what training asks of a network."""

from collections.abc import Sequence

import torch
from ddpm_lite import GaussianDiffusion, linear_schedule

from questions.kinds import Choice, Numeric, Order, run, same

ONE_DAY = torch.tensor([[0.9, 0.1], [0.5, 0.5]], dtype=torch.float64)
DRY, WET = 0, 1
WEIGHTS = torch.tensor([0.5, 2.0], dtype=torch.float64)  # equally likely


def in_days(days: int, today: int) -> float:
    return float(torch.linalg.matrix_power(ONE_DAY, days)[today, DRY])


def jensen_gap() -> float:
    return float(WEIGHTS.mean().log() - WEIGHTS.log().mean())


def loss_of_answers(share: float) -> float:
    """The loss of a network that always answers `share` times the noise."""
    eps = torch.tensor([1.0, -1.0, 2.0, -2.0], dtype=torch.float64)
    eps /= eps.square().mean().sqrt()  # of variance one, as the noise
    return float((share * eps - eps).square().mean())


def moved_by_training() -> str:
    """Which process gives another answer after the weights of a small network have changed."""
    diffusion = GaussianDiffusion(linear_schedule(10, 0.01, 0.3))
    network = torch.nn.Conv2d(1, 1, 1)
    x, eps = torch.ones(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.5)

    def both() -> tuple[torch.Tensor, torch.Tensor]:
        noised = diffusion.q_sample(x, 5, eps)
        back = diffusion.p_mean_variance(lambda xt, t: network(xt), noised, 5, clip=False)
        return noised, back.mean

    with torch.no_grad():
        before = both()
        for weight in network.parameters():
            weight.add_(0.5)
        after = both()
    moved = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    names = {(False, True): "p", (True, False): "q", (True, True): "both"}
    return names[moved[0], moved[1]]


STEPS = {
    "take a real image": "x0 = images[:1]",
    "draw a step t and noise ε": "t, eps = 300, noise",
    "mix the image and the noise into xₜ": "xt = diffusion.q_sample(x0, t, eps)",
    "ask the network, shown xₜ and t, which noise was mixed in": "guess = network(xt, t)",
    "compare its answer with ε": "loss = ((guess - eps) ** 2).mean()",
}


def trains(order: Sequence[str]) -> bool:
    images = torch.linspace(-1, 1, 4, dtype=torch.float64).view(1, 1, 2, 2)
    noise = images.flip(3)
    names = run(
        [STEPS[line] for line in order],
        images=images,
        noise=noise,
        diffusion=GaussianDiffusion(linear_schedule()),
        network=lambda xt, t: xt / 2,
    )
    a = linear_schedule().alpha_bar[300]
    xt = a.sqrt() * images + (1 - a).sqrt() * noise
    return "loss" in names and same(names["loss"], (xt / 2 - noise).square().mean())


ASKED = [
    Numeric(
        "Today is wet. With what probability is the day after tomorrow dry?",
        lambda: in_days(2, WET),
        "Tomorrow is dry or wet, each with 0.5, and from there it is dry with 0.9 or 0.5: "
        "$0.5 \\cdot 0.9 + 0.5 \\cdot 0.5$. That is one entry of $M M$.",
        {
            "That is tomorrow. The matrix of two days is $M M$.": lambda: in_days(1, WET),
            "That is the way through a dry tomorrow alone. Add the way through a wet one.": (
                lambda: 0.5 * 0.9
            ),
            "That is the way through a wet tomorrow alone. Add the way through a dry one.": (
                lambda: 0.5 * 0.5
            ),
            "That begins on a dry day. The row of the matrix is today.": lambda: in_days(2, DRY),
            "That is a wet day. Take it from one.": lambda: 1 - in_days(2, WET),
        },
    ),
    Numeric(
        "A weight $w$ is 0.5 or 2, each with probability one half. By how many nats does "
        "$\\mathbb{E}[\\log w]$ lie below $\\log \\mathbb{E}[w]$?",
        jensen_gap,
        "The logarithms are $-\\ln 2$ and $\\ln 2$, with mean zero. The mean of $w$ is 1.25, and "
        "$\\ln 1.25 = 0.223$. A weight that hardly varied would leave hardly a gap.",
        {
            "The two are equal only where $w$ does not vary. This one does.": lambda: 0.0,
            "That is $\\mathbb{E}[w] - 1$. Take its logarithm.": lambda: float(WEIGHTS.mean() - 1),
            "The bound lies below, so the distance is a positive number.": lambda: -jensen_gap(),
            "That is in bits. A nat is a natural logarithm.": lambda: (
                jensen_gap() / float(torch.tensor(2.0).log())
            ),
        },
    ),
    Choice(
        "Training changes the weights $\\theta$. Which process changes with them?",
        moved_by_training,
        {
            "both": (
                "both: $q$ and $p_\\theta$ are fitted to one another",
                "In DDPM $q$ has nothing to learn. It adds noise in a way that was fixed before "
                "training began.",
            ),
            "p": (
                "the reverse process $p_\\theta$ alone",
                "The forward process $q$ only adds noise, by a fixed rule. So the bound is raised "
                "by fitting $p_\\theta$ to $q$.",
            ),
            "q": (
                "the forward process $q$ alone, so that it ends in noise",
                "$q$ ends in noise by its design, with nothing learnt. There is no network in it.",
            ),
        },
    ),
    Numeric(
        "A network always answers with half of the noise that was mixed in. What is its loss?",
        lambda: loss_of_answers(0.5),
        "What is missing is $\\varepsilon / 2$. Its mean square is a quarter of the variance of "
        "$\\varepsilon$, which is one.",
        {
            "Half of the noise is missing, and the loss squares what is missing.": lambda: 0.5,
            "That is the loss of a network that always answers zero.": lambda: loss_of_answers(0),
            "That would be the loss if squares could be subtracted: square the difference.": (
                lambda: 1 - 0.5**2
            ),
        },
    ),
    Order(
        "Put one step of training in order.",
        tuple(STEPS),
        {
            (0, 2): "There must be an image before anything is mixed into it.",
            (1, 2): "How much is mixed in depends on $t$, and what is mixed in is $\\varepsilon$: "
            "both are drawn first.",
            (2, 3): "The network is shown $x_t$. So $x_t$ must be there before it is asked.",
            (3, 4): "There is no answer to compare before the network was asked.",
        },
        trains,
        "The image and the noise may be drawn in either order. The network sees only $x_t$ and "
        "$t$, and its answer is held against the noise that we put in.",
        code=False,
    ),
]
