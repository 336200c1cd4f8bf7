"""The classifier of digits, its recipe, and what the package ships of it."""

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from ddpm_lite import digits
from ddpm_lite.images import idx
from ddpm_lite.quality import classifier
from ddpm_lite.quality.classifier import (
    COMMAND,
    WEIGHTS,
    DigitsClassifier,
    accuracy,
    load_classifier,
    train_classifier,
    write_classifier,
)
from tests.pictures import idx as idx_bytes

PACKAGE = "the images of Debian's dataset-fashion-mnist are not installed here"
ROOT = Path(__file__).parents[1]
CARD = json.loads((WEIGHTS / "digits_classifier.json").read_text())


def test_the_card_tells_the_truth() -> None:
    weights = (WEIGHTS / "digits_classifier.safetensors").read_bytes()
    assert CARD["sha256"] == hashlib.sha256(weights).hexdigest()
    network = load_classifier()
    assert CARD["parameters"] == sum(p.numel() for p in network.parameters())
    for split in ("train", "test"):
        images, labels = digits(split)
        named = [int(network(image[None]).argmax()) for image in images]
        assert CARD["images"][split] == len(images)
        right = sum(a == b for a, b in zip(named, labels.tolist(), strict=True))
        assert CARD["accuracy"][split] == right / len(images)
    for command in (COMMAND, CARD["command"]):  # the card's is of 0.1
        found = find_spec(command.removeprefix("python -m "))
        assert found is not None
        assert found.origin == classifier.__file__


def test_the_classifier_of_clothes_is_that_of_its_card() -> None:
    card = json.loads((WEIGHTS / "fashion_mnist_classifier.json").read_text())
    weights = (WEIGHTS / "fashion_mnist_classifier.safetensors").read_bytes()
    assert card["sha256"] == hashlib.sha256(weights).hexdigest()
    network = load_classifier(data="fashion_mnist")
    assert card["parameters"] == sum(p.numel() for p in network.parameters())
    assert card["accuracy"]["test"] >= 0.92
    assert card["command"] == f"{COMMAND} fashion_mnist"


@pytest.mark.skipif(not idx.INSTALLED["fashion_mnist"].exists(), reason=PACKAGE)
def test_the_classifier_of_clothes_is_as_often_right_as_its_card_says() -> None:
    card = json.loads((WEIGHTS / "fashion_mnist_classifier.json").read_text())
    network = load_classifier(data="fashion_mnist")
    assert card["images"]["test"] == 10_000
    found = accuracy(network, "test", "fashion_mnist")
    assert found == pytest.approx(card["accuracy"]["test"], abs=3e-4)  # another CPU rounds


def test_a_classifier_of_clothes_is_made_from_idx_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One class is dark and one bright: that is soon learnt."""
    labels = np.arange(200, dtype=np.uint8) % 2
    images = (np.ones((200, 28, 28)) * (40 + 170 * labels)[:, None, None]).astype(np.uint8)
    source = tmp_path / "set"
    source.mkdir()
    for part in ("train", "t10k"):
        for name, values in (("images-idx3", images), ("labels-idx1", labels)):
            (source / f"{part}-{name}-ubyte").write_bytes(idx_bytes(values))
    monkeypatch.setitem(idx.INSTALLED, "fashion_mnist", source)
    card = write_classifier(tmp_path / "made", epochs=8, data="fashion_mnist")
    assert card["images"] == {"train": 200, "test": 200}
    assert card["accuracy"]["test"] > 0.95
    network = load_classifier(tmp_path / "made", "fashion_mnist")
    assert accuracy(network, "test", "fashion_mnist") == card["accuracy"]["test"]
    features = network.features(torch.zeros(3, 1, 28, 28))
    assert features.shape == (3, 64)
    with pytest.raises(ValueError, match=r"must be \[B, 1, 28, 28\], got \(1, 1, 8, 8\)"):
        network(torch.zeros(1, 1, 8, 8))


def test_it_beats_simpler_classifiers() -> None:
    """Its features are worth comparing only if it knows digits."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    (images, labels), (held_out, expected) = digits("train"), digits("test")
    for simple in (KNeighborsClassifier(), LogisticRegression(max_iter=1000)):
        simple.fit(images.flatten(1).numpy(), labels.numpy())
        right = simple.predict(held_out.flatten(1).numpy()) == expected.numpy()
        assert right.mean() < CARD["accuracy"]["test"]


def test_the_logits_are_the_head_of_the_features() -> None:
    network = load_classifier()
    images = digits("test")[0][:5]
    features = network.features(images)
    assert features.shape == (5, 64)
    assert_close(network(images), network.head(features))
    assert not network.training
    assert torch.equal(network(images), network(images))  # no dropout


def test_accuracy_by_hand() -> None:
    class Nine(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.eye(10)[9].repeat(len(x), 1)

    labels = digits("test")[1].tolist()
    assert accuracy(Nine(), "test") == labels.count(9) / len(labels)


def test_training_learns_repeats_and_leaves_torch_s_generator_alone() -> None:
    before = torch.get_rng_state()
    one, again, other = (train_classifier(seed, epochs=3) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert not one.training
    for name, value in one.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    assert not torch.equal(one.head[1].weight, other.head[1].weight)
    torch.manual_seed(0)
    assert accuracy(one, "test") > 0.6 > 0.3 > accuracy(DigitsClassifier(), "test")


def test_what_is_written_can_be_loaded(tmp_path: Path) -> None:
    card = write_classifier(tmp_path / "new", seed=3, epochs=1)
    network, expected = load_classifier(tmp_path / "new"), train_classifier(3, epochs=1)
    for name, value in network.state_dict().items():
        assert torch.equal(value, expected.state_dict()[name])
    files = {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()}
    assert files.keys() == {"digits_classifier.json", "digits_classifier.safetensors"}
    assert json.loads(files["digits_classifier.json"]) == card
    assert card.keys() == CARD.keys()
    assert (card["seed"], card["epochs"]) == (3, 1)
    assert card["accuracy"]["test"] == accuracy(expected, "test")


def test_a_run_that_breaks_off_leaves_the_old_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("digits_classifier.json", "digits_classifier.safetensors"):
        shutil.copy(WEIGHTS / name, tmp_path)

    def full(self: Path, content: bytes) -> None:
        with self.open("wb") as file:
            file.write(content[:100])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="no space"):
        write_classifier(tmp_path, epochs=1)
    load_classifier(tmp_path)
    assert json.loads((tmp_path / "digits_classifier.json").read_text()) == CARD


@pytest.mark.parametrize("data", ["digits", "fashion_mnist"])
def test_weights_that_are_not_those_of_the_card_are_refused(
    data: classifier.Data, tmp_path: Path
) -> None:
    for kind in ("json", "safetensors"):
        shutil.copy(WEIGHTS / f"{data}_classifier.{kind}", tmp_path)
    load_classifier(tmp_path, data)
    path = tmp_path / f"{data}_classifier.safetensors"
    whole = bytearray(path.read_bytes())
    whole[-1] ^= 1
    path.write_bytes(whole)
    with pytest.raises(ValueError, match="has not the sha256 of its card"):
        load_classifier(tmp_path, data)


def test_the_wheel_carries_the_weights(tmp_path: Path) -> None:
    for name in ("ddpm_lite", "README.md", "LICENSE", "pyproject.toml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    build = "from setuptools.build_meta import build_wheel; build_wheel('dist')"
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, capture_output=True, check=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        for path in WEIGHTS.iterdir():
            assert file.read(f"ddpm_lite/weights/{path.name}") == path.read_bytes()


@pytest.mark.usefixtures("as_a_reader")
def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"images must be \[B, 1, 8, 8\], got \(2, 3, 8, 8\)"):
        load_classifier().features(torch.zeros(2, 3, 8, 8))
    with pytest.raises(FileNotFoundError, match=f"`{classifier.COMMAND}` makes the package's own"):
        load_classifier(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"`{classifier.COMMAND} fashion_mnist` makes"):
        load_classifier(tmp_path, "fashion_mnist")
    with pytest.raises(ValueError, match="data must be digits or fashion_mnist, got 'mnist'"):
        load_classifier(data="mnist")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="epochs must be at least 1, got 0"):
        train_classifier(epochs=0)
    with pytest.raises(ValueError, match="epochs must be at least 1, got 0"):
        write_classifier(tmp_path, epochs=0)
    assert not list(tmp_path.iterdir())
