"""Classifier-free guidance: one network, asked with a label and without."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ddpm_lite._doors import door
from ddpm_lite._shapes import Images
from ddpm_lite.diffusion import device_of, dtype_of
from ddpm_lite.oracle import Oracle
from ddpm_lite.schedule import NoiseSchedule
from ddpm_lite.system.replay import played

__all__ = ["LabelledOracle", "guided"]


class LabelledOracle:
    """The best possible network for labelled data: E[eps | x_t, label], and E[eps | x_t].

    Every class is a mixture of Gaussians of one spread, and all points are equally likely. A
    network with classes like any other, whose last class stands for no label.

    Args:
        schedule: the noise schedule that x_t was made with.
        points: for each class the means of its Gaussians, [K, ...].
        std: their standard deviation.

    Raises:
        ValueError: fewer than two classes; as for `Oracle`.
    """

    def __init__(
        self, schedule: NoiseSchedule, points: Sequence[Float[Tensor, "_ *D"]], std: float = 0.0
    ):
        if len(points) < 2:
            raise ValueError(f"points must hold at least two classes, got {len(points)}")
        self.oracles = [Oracle(schedule, p, std) for p in (*points, torch.cat(list(points)))]
        """One for each class, and at the end the one of all data."""
        self.classes = len(self.oracles)

    def __call__(self, xt: Images, t: Int[Tensor, " B"], labels: Int[Tensor, " B"]) -> Images:
        said = torch.stack([oracle(xt, t) for oracle in self.oracles])
        return said[labels, torch.arange(len(xt), device=xt.device)]


@door
def guided(
    network: Any, labels: Int[Tensor, " B"], scale: float = 1.0
) -> Callable[[Tensor, Tensor], Images]:
    """A model `(xt, t) -> output` that draws images of the given classes.

    output(none) + scale (output(label) - output(none)); a learned variance stays as it is with the
    label. Eq. {eq}`eq-guidance`; scale = 1 + w of
    Ho and Salimans (2022), Eq. 6. At 1 that is the network asked with its labels, once; at 0 it
    ignores them.

    Args:
        network: `(xt, t, labels=) -> output` whose last class stands for no label, as `train`
            makes it with labels and `drop_label`.
        labels: [B], one for each sample; the last class asks for an image of any kind.
        scale: how far to go from the answer without a label towards the one with it, and past it.

    Raises:
        TypeError: a network without classes.
        ValueError: a negative scale.
    """
    classes = getattr(network, "classes", None)
    if classes is None:
        raise TypeError(f"guidance needs a network with classes, got {type(network).__name__}")
    if not scale >= 0:
        raise ValueError(f"scale must not be negative, got {scale}")
    wrong = labels.is_floating_point() or ((labels < 0) | (labels >= classes)).any()
    if labels.device.type == "cpu" and bool(wrong):
        raise ValueError(f"labels must be integers in 0..{classes - 1}, got {labels.tolist()}")
    if isinstance(network, torch.nn.Module):
        labels = labels.to(device_of(network))
    nothing = torch.full_like(labels, classes - 1)
    floats, learned = dtype_of(network), getattr(network, "learned_variance", False)
    ask = played(network)

    def model(xt: Tensor, t: Tensor) -> Tensor:
        xt = xt.to(floats or xt.dtype)
        if scale == 1:
            return ask(xt, t, labels=labels)
        twice = torch.cat([xt, xt]), torch.cat([t, t])
        with_label, without = ask(*twice, labels=torch.cat([labels, nothing])).chunk(2)
        variance = with_label[:, :0]
        if learned:
            (with_label, variance), (without, _) = (
                output.chunk(2, dim=1) for output in (with_label, without)
            )
        return torch.cat([without + scale * (with_label - without), variance], dim=1)

    model.network = network  # type: ignore[attr-defined]  # so that samplers see where it is
    return model
