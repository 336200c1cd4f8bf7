"""Classifier-free guidance: one network, asked with a label and without."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

__all__ = ["guided"]


def guided(
    network: nn.Module, labels: Int[Tensor, " B"], scale: float = 1.0
) -> Callable[[Tensor, Tensor], Float[Tensor, "B *D"]]:
    """A model `(xt, t) -> output` that draws images of the given classes.

    output(none) + scale (output(label) - output(none)); scale = 1 + w of Ho and Salimans (2022),
    Eq. 6. At 1 that is the network asked with its labels, once; at 0 it ignores them.

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
    nothing = torch.full_like(labels, classes - 1)

    def model(xt: Tensor, t: Tensor) -> Tensor:
        if scale == 1:
            return network(xt, t, labels=labels)
        twice = torch.cat([xt, xt]), torch.cat([t, t])
        with_label, without = network(*twice, labels=torch.cat([labels, nothing])).chunk(2)
        return without + scale * (with_label - without)

    return model
