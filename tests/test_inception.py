"""The Inception network, through torchmetrics; a small network stands in for its weights."""

import sys
from typing import Any

import pytest
import torch
import torchmetrics.image.fid
from torch import Tensor, nn
from torch.testing import assert_close
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore

from ddpm_lite import from_model_range, inception_score
from ddpm_lite.quality.inception import Inception


class Stub(nn.Module):
    """Made and called by torchmetrics as torch-fidelity's network would be."""

    def __init__(
        self,
        name: str,
        features_list: list[str],
        feature_extractor_weights_path: str | None = None,
        antialias: bool = True,
    ) -> None:
        super().__init__()
        self.layers, self.antialias = features_list, antialias
        torch.manual_seed(0)
        self.body, self.fc = nn.Linear(3 * 4 * 4, 2048), nn.Linear(2048, 1008)
        self.fc.weight.data *= 20  # sure enough for a score

    def forward(self, x: Tensor) -> Tensor:
        assert x.dtype == torch.uint8
        assert x.shape[1:] == (3, 4, 4)
        features = torch.relu(self.body((x.float().flatten(1) - 128) / 128))
        return features if self.layers == ["2048"] else features @ self.fc.weight.T


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> Inception:
    for module in (torchmetrics.image.fid, torchmetrics.image.inception):
        monkeypatch.setattr(module, "_TORCH_FIDELITY_AVAILABLE", True)
        monkeypatch.setattr(module, "NoTrainInceptionV3", Stub)
    return Inception()


def test_it_is_the_network_of_the_published_numbers(net: Inception) -> None:
    assert net.network.layers == ["2048"]
    assert net.network.antialias is False
    assert not net.training
    assert not any(p.requires_grad for p in net.parameters())


def test_features_and_logits_are_what_torchmetrics_computes_with(net: Inception) -> None:
    """The distance and the score made of them are held to torchmetrics' elsewhere."""
    samples = torch.rand(30, 3, 4, 4) * 2 - 1
    distance = FrechetInceptionDistance()
    with pytest.warns(UserWarning, match="will save all extracted features"):
        score = InceptionScore(splits=1)
    distance.update(from_model_range(samples).to(torch.uint8), real=False)
    score.update(from_model_range(samples).to(torch.uint8))
    features = net.features(samples)
    assert_close(features.double().sum(0), distance.fake_features_sum)
    assert_close(features.double().T @ features.double(), distance.fake_features_cov_sum)
    assert_close(net.head(features), score.features[0])
    with pytest.warns(UserWarning, match="degrees of freedom"):
        expected = score.compute()[0].item()
    assert inception_score(net.head(features), groups=1)[0] == pytest.approx(expected, rel=1e-5)
    assert expected > 1.1


def test_grey_images_get_three_equal_channels(net: Inception) -> None:
    grey = torch.rand(5, 1, 4, 4) * 2 - 1
    assert_close(net.features(grey), net.features(grey.repeat(1, 3, 1, 1)))
    assert not torch.allclose(net.features(grey), net.features(-grey))


def test_other_channels_are_refused(net: Inception) -> None:
    with pytest.raises(ValueError, match="images must have 1 or 3 channels, got 4"):
        net.features(torch.zeros(2, 4, 4, 4))


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchmetrics.image.fid, "_TORCH_FIDELITY_AVAILABLE", False)
    with pytest.raises(ModuleNotFoundError, match=r"no torch-fidelity: pip install \"ddpm-lite\[m"):
        Inception()
    monkeypatch.setitem(sys.modules, "torchmetrics.image.fid", None)
    with pytest.raises(ModuleNotFoundError, match=r"no torchmetrics.*; or give evaluate_samples"):
        Inception()


def test_without_the_weights(monkeypatch: pytest.MonkeyPatch, net: Inception) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torchmetrics.image.fid, "NoTrainInceptionV3", refuse)
    with pytest.raises(OSError, match=r"cannot be downloaded, no route to host; or give"):
        Inception()
