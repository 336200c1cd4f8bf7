"""Inception-v3, in whose features FID and Inception Score are published; through torchmetrics."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ddpm_lite.images.data import from_model_range

__all__ = ["Inception"]


class Inception(nn.Module):
    """The network of FID and Inception Score: images [B, 1 or 3, H, W] in [-1, 1] in.

    It is torch-fidelity's, as torchmetrics wraps it, with the resize of the published numbers.
    Its weights are downloaded when it is first made. Grey images get three equal channels.
    Heusel et al. (2017); Salimans et al. (2016).

    Raises:
        ModuleNotFoundError: without the extra, `pip install "ddpm-lite[metrics]"`.
        OSError: the weights cannot be downloaded.
        ValueError: images that have neither one channel nor three.
    """

    def __init__(self) -> None:
        super().__init__()
        other = "or give evaluate_samples another network, such as load_classifier() for digits"
        try:
            from torchmetrics.image.fid import FrechetInceptionDistance

            # Without antialiasing, which the network of the published numbers did not have.
            self.network: Any = FrechetInceptionDistance(feature=2048, antialias=False).inception
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "Inception needs torchmetrics, torch-fidelity and torchvision, and there is no "
                f'{error.name or "torch-fidelity"}: pip install "ddpm-lite[metrics]"; {other}'
            ) from error
        except OSError as error:
            raise OSError(f"Inception's weights cannot be downloaded, {error}; {other}") from error
        self.eval().requires_grad_(False)

    def features(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B 2048"]:
        """What the last layer sees, [B, 2048]."""
        if x.shape[1] not in (1, 3):
            raise ValueError(f"images must have 1 or 3 channels, got {x.shape[1]}")
        return self.network(from_model_range(x).to(torch.uint8).expand(-1, 3, -1, -1))

    def head(self, features: Float[Tensor, "B 2048"]) -> Float[Tensor, "B 1008"]:
        """Logits without the last layer's bias, which Inception Score leaves out, [B, 1008]."""
        return features @ self.network.fc.weight.T
