"""The measurements of the shipped model: held to what they stand for, and to its card."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ddpm_lite.experiments import measured
from ddpm_lite.experiments.results import load_results
from ddpm_lite.images.data import digits
from ddpm_lite.quality.classifier import DigitsClassifier
from ddpm_lite.runs.checkpoints import load
from ddpm_lite.runs.many import codelength
from ddpm_lite.system.files import WEIGHTS


def test_the_bound_is_the_codelength_and_its_rate_reaches_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, diffusion = load("digits")
    short = diffusion.subsequence(list(range(100, 1001, 100)))
    monkeypatch.setattr(measured, "load", lambda _: (network, short))
    monkeypatch.setattr(measured, "TIMES", [1, 5, 10])
    some = {split: digits(split)[0][:12] for split in ("test", "train")}
    monkeypatch.setattr(measured, "split_evenly", some.get)
    found = measured.bound()
    for split, x0 in some.items():
        whole = codelength(short, network, x0, chunk=256)
        bits, error = found[split]["bits"], found[split]["standard_error"]
        assert bits == pytest.approx(whole.total, rel=1e-5)
        assert error == pytest.approx(whole.standard_error, rel=1e-4)
        assert found[split]["rate"][0] == pytest.approx(whole.prior + whole.kl, rel=1e-5)
        assert found[split]["rate"][-1] == pytest.approx(whole.prior, abs=1e-6)
        far = found[split]["distortion"]
        assert 0 < far[0] < far[1] < far[2] < 16


def test_training_images_come_from_all_over_the_file() -> None:
    train, test = measured.split_evenly("train"), measured.split_evenly("test")
    assert train.shape == test.shape == (299, 1, 8, 8)
    assert torch.equal(train[-1], digits("train")[0][298 * 5])


def test_distances_tell_samples_from_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(name: str, n: int) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        if name == "100 steps":  # a perfect model: images of the same kind
            return digits("all")[0][torch.randint(1797, (n,), generator=generator)]
        return torch.rand(n, 1, 8, 8, generator=generator) * 2 - 1

    monkeypatch.setattr(measured, "drawn", drawn)
    monkeypatch.setattr(measured, "REPEATS", 2)
    names = measured.SAMPLERS.keys()
    untrained = {"untrained": DigitsClassifier().eval().features}
    monkeypatch.setattr(measured, "feature_networks", lambda: untrained)
    found = measured.by_features()["features"]["untrained"]
    assert found.keys() == {"real", *names}
    real, good, noise = (found[name]["mean"] for name in ("real", "100 steps", "5 steps"))
    assert 0.5 < good / real < 2
    assert noise > 20 * real
    counts = measured.by_samples()
    for name in ("model", "real"):
        mean, samples = counts[name]["mean"], counts[name]["samples"]
        assert len(mean) == len(samples)
        assert mean[0] > 1.5 * mean[-1]  # the fewer, the farther
    near = measured.nearest()
    assert near["samples"]["least"] == 0  # a training image itself
    assert near["held_out"]["least"] > 0


def test_luck_is_one_figure_a_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(
        diffusion: object, network: object, n: int, *_: object, seed: int, steps: int
    ) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return digits("train")[0][torch.randint(1498, (n,), generator=generator)]

    monkeypatch.setattr(measured, "draw", draw)
    monkeypatch.setattr(measured, "LUCK", 2)
    found = measured.luck()
    assert found["seeds"] == [0, 1]
    for who in ("model", "real"):  # images of the same kind: chance alone
        assert 5 < min(found[who]) < max(found[who]) < 25
        assert found[who][0] != found[who][1]


def test_feature_networks_see_digits_each_in_its_way() -> None:
    networks = measured.feature_networks()
    x = digits("test")[0][:3]
    seen = [features(x) for features in networks.values()]
    assert all(s.shape == (3, 64) for s in seen)
    assert len({s.sum().item() for s in seen}) == 4


def test_a_run_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def part(name: str) -> dict[str, str]:
        made.append(name)
        return {"is": name}

    parts = {name: lambda name=name: part(name) for name in ("bound", "nearest")}
    monkeypatch.setattr(measured, "PARTS", parts)
    measured.main(tmp_path)
    (tmp_path / "shipped" / "nearest.json").unlink()
    measured.main(tmp_path)
    assert made == ["bound", "nearest", "nearest"]
    table = json.loads((tmp_path / "shipped.json").read_text())
    assert table["bound"]["is"] == "bound"
    assert table["bound"]["date"] <= table["date"]
    assert {"command", "seed", "device", "torch", "date"} <= table.keys()


def test_the_stored_table_agrees_with_the_card() -> None:
    card = json.loads((WEIGHTS / "digits.json").read_text())
    table = load_results("shipped")
    assert measured.PARTS.keys() <= table.keys()
    bits = card["bits_per_dim"]["test"]
    assert table["bound"]["test"]["bits"] == pytest.approx(bits["total"], rel=1e-4)
    far = card["frechet_distance"]["ddim, 100 steps, eta 0"]
    ours = table["by_samples"]["model"]
    mean = ours["mean"][ours["samples"].index(749)]
    assert abs(mean - far["mean"]) < 2 * far["std"]
