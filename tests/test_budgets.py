"""The branch of chapter 12 that only a GPU runs, with small networks in the place of large ones."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from torch import Tensor, nn

import ddpm_lite as dl
from ddpm_lite.checks import agree, disagree
from ddpm_lite.images.sets import ImageSet
from ddpm_lite.quality import inception
from ddpm_lite.runs import many
from tests.systems import of_the_source

pytestmark = of_the_source

CHAPTER = Path(__file__).parents[1] / "book/12-sample-quality.ipynb"


class Small(nn.Module):
    """The network, or Inception: on this machine, whatever it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 10)
        self.eval()

    def cuda(self, device: Any = None) -> "Small":
        return self

    def features(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :6]


def test_chapter_12_measures_images_that_come_as_bytes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = torch.arange(256, dtype=torch.uint8).repeat(60)[: 80 * 3 * 8 * 8]
    data = ImageSet(images.view(80, 3, 8, 8), None, 256, "cifar10", "train")

    def draw(*given: Any, **_: Any) -> Tensor:
        n, shape = given[2:4]
        assert (n, tuple(shape)) == (10_000, (3, 8, 8))
        return torch.rand(40, *shape) * 2 - 1

    monkeypatch.setattr(dl, "load_images", lambda name: {"cifar10": data}[name])
    monkeypatch.setattr(dl, "load_diffusers", lambda name: {"ddpm-cifar10-32": Small()}[name])
    monkeypatch.setattr(inception, "Inception", Small)
    monkeypatch.setattr(many, "draw", draw)
    (cell,) = [c for c in nbformat.read(CHAPTER, 4).cells if "BUDGET = 200" in c.source]
    names = {
        "torch": torch,
        "load": dl.load,
        "net": Small(),
        "agree": agree,
        "disagree": disagree,
        "train": None,
    }
    exec(cell.source.replace("BUDGET = 200", "BUDGET = 10_000"), names)
    said = capsys.readouterr().out
    assert "agrees   its ends" in said
    assert "40 samples against 80 images of train, features of Small" in said
