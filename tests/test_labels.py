"""Labels from a folder of folders to samples by name: trained, kept, drawn, measured."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.testing import assert_close

from ddpm_lite import (
    GaussianDiffusion,
    Oracle,
    Run,
    TrainConfig,
    UNet,
    ddpm,
    digits,
    elbo,
    linear_schedule,
    load,
    load_images,
    train,
)
from ddpm_lite.guidance import guided
from ddpm_lite.images.sets import ImageSet
from ddpm_lite.runs import commands
from ddpm_lite.runs.beforehand import pick_labels
from ddpm_lite.runs.checkpoints import about, load_state, save_model
from ddpm_lite.runs.cli import main
from ddpm_lite.runs.many import codelength, draw
from ddpm_lite.runs.recipes import number_of_classes
from tests.pictures import offline, random, save

__all__ = ["offline"]

SCHEDULE = linear_schedule(20, 5e-3, 0.5)
DIFFUSION = GaussianDiffusion(SCHEDULE, levels=17)
CONFIG = TrainConfig(steps=4, batch=8, drop_label=0.25)
QUICK = "--width 8 --mults 1 --dropout 0 --T 20 --batch 8 --steps 3 --sampler-steps 2"
CLASSES = ["bird", "cat", "dog"]


def network(classes: int | None = 11) -> UNet:
    torch.manual_seed(0)
    return UNet(8, 1, 8, (1,), classes=classes)


class Known(nn.Module):
    """For each label the oracle of a few digits of that class; the last is of all of them."""

    def __init__(self) -> None:
        super().__init__()
        x0, labels = digits()
        points = [x0[labels == c][:3] for c in range(3)]
        self.oracles = [Oracle(SCHEDULE, p) for p in (*points, torch.cat(points))]
        self.classes = 4
        self.here = nn.Parameter(torch.zeros(()))

    def forward(self, xt: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        out = torch.stack([oracle(xt, t) for oracle in self.oracles])
        return out[labels, torch.arange(len(xt))]


def same(a: Any, b: Any) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_a_set_brings_its_labels(tmp_path: Path) -> None:
    data = load_images("digits")
    by_set, by_hand, without = network(), network(), network(None)
    for own, images, labels in (
        (by_set, data, None), (by_hand, data.images, data.labels), (without, data, None),
    ):  # fmt: skip
        config = CONFIG if own.classes else replace(CONFIG, drop_label=0.0)
        list(train(own, DIFFUSION, images, config, labels=labels))
    assert same(by_set, by_hand)
    in_a_run = network()
    list(Run(tmp_path / "run").train(in_a_run, DIFFUSION, data, CONFIG))
    assert same(in_a_run, by_hand)
    other = network()
    list(train(other, DIFFUSION, data, CONFIG, labels=data.labels.roll(1)))
    assert not same(other, by_hand)


def test_a_run_goes_on_with_its_own_labels_alone(tmp_path: Path) -> None:
    x0, labels = digits()
    once = network()
    list(Run(tmp_path / "once").train(once, DIFFUSION, x0, CONFIG, labels=labels))
    run = Run(tmp_path / "run", every=2)
    two = replace(CONFIG, steps=2)
    list(run.train(network(), DIFFUSION, x0, two, labels=labels))
    with pytest.raises(ValueError, match=r"other settings: data labels was .* and is"):
        next(run.train(network(), DIFFUSION, x0, CONFIG, labels=labels.roll(1)))
    again = network()
    list(run.train(again, DIFFUSION, x0, CONFIG, labels=labels))
    assert same(again, once)


def test_a_run_without_labels_says_nothing_of_them(tmp_path: Path) -> None:
    config = replace(CONFIG, drop_label=0.0)
    list(Run(tmp_path).train(network(None), DIFFUSION, digits()[0], config))
    (state,) = tmp_path.glob("state-*.pt")
    assert set(load_state(state)["settings"]["data"]) == {"shape", "dtype", "digest"}


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5])
def test_each_sample_has_its_label(scale: float) -> None:
    labels, known = torch.tensor([0, 2, 1, 2, 0, 3, 1]), Known()
    x = draw(DIFFUSION, known, 7, (1, 8, 8), ddpm, labels=labels, scale=scale)
    for batch in (1, 3, 5):
        again = draw(DIFFUSION, known, 7, (1, 8, 8), ddpm, batch=batch, labels=labels, scale=scale)
        assert_close(again, x, atol=1e-4, rtol=0)
    points = digits()[0], digits()[1]
    if scale == 1:  # a sample of a finite set ends beside a point of its own class
        for c in range(3):
            near = torch.cdist(x[labels == c].flatten(1), points[0].flatten(1)).argmin(1)
            assert (points[1][near] == c).all()


def test_bits_of_each_image_with_its_label() -> None:
    x0, labels = digits("test")  # two of class 0, three of 1, five of 2
    rows = torch.cat([(labels == c).nonzero()[: c * (c + 1) // 2 + 2, 0] for c in (2, 0, 1)])
    x0, labels = x0[rows], labels[rows]
    known = Known()
    bits = codelength(DIFFUSION, known, x0, labels=labels)
    assert set(bits.by_class) == set(labels.tolist())
    shares = labels.bincount().double() / len(labels)
    mean = sum(float(shares[c]) * value for c, value in bits.by_class.items())
    assert bits.total == pytest.approx(mean, rel=1e-12)
    # By hand, of the first class, at other noise; then told a wrong label, which costs far more.
    for c in (0, 2):
        alone = [
            elbo(
                DIFFUSION, guided(known, torch.tensor([told])), image[None], chunk=1
            ).bits_per_dim.item()
            for told in (c, 1)
            for image in x0[labels == c]
        ]
        own, wrong = torch.tensor(alone).chunk(2)
        assert own.mean() == pytest.approx(bits.by_class[c], rel=0.1)
        assert wrong.mean() > 1.3 * own.mean()
    assert codelength(DIFFUSION, known, x0, labels=torch.full((len(x0),), 3)).by_class.keys() == {3}


def test_labels_of_another_number() -> None:
    with pytest.raises(ValueError, match=r"labels must be 3, one for each sample, got \(2,\)"):
        draw(DIFFUSION, network(), 3, (1, 8, 8), labels=torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"labels must be 4, one an image, got \(2,\)"):
        codelength(DIFFUSION, network(), torch.zeros(4, 1, 8, 8), labels=torch.tensor([0, 1]))
    with pytest.raises(TypeError, match="needs a network with classes"):
        draw(DIFFUSION, network(None), 2, (1, 8, 8), labels=torch.tensor([0, 1]))


@pytest.fixture
def animals(offline: Path) -> Path:
    """Pictures in a folder for each class, in a train and a test split."""
    root = offline / "animals"
    for split, n in (("train", 5), ("test", 3)):
        for c, name in enumerate(CLASSES):
            for i in range(n):
                save(root / split / name / f"{i}.png", random(8, 8, seed=100 * c + i + 10 * n))
    return root


@pytest.fixture
def trained(animals: Path, tmp_path: Path) -> Path:
    out = tmp_path / "run"
    words = f"train digits --data {animals} --drop-label 0.2 --out {out} {QUICK}"
    main(words.split())
    return out


def lively(folder: Path) -> Path:
    """Weights of no training, whose every layer says something."""
    path = folder / "model.safetensors"
    (own, diffusion), noted = load(path), about(path)["about"]
    torch.manual_seed(1)
    for x in own.parameters():
        nn.init.normal_(x, std=0.3)
    save_model(folder.parent / "lively.safetensors", own, diffusion, noted)
    return folder.parent / "lively.safetensors"


def test_from_a_folder_to_samples_by_name(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = lively(trained)
    assert load(trained / "model.safetensors")[0].classes == 4  # one more, for a hidden label
    main(["info", str(trained)])
    says = json.loads(capsys.readouterr().out)
    assert says["about"]["classes"] == CLASSES
    assert says["labels"] == len(CLASSES) == 3
    drawn = {}
    for name, more in {
        "turn": "", "cat": "--label cat", "1": "--label 1", "far": "--label cat --scale 8",
        "none": "--label cat --scale 0", "none too": "--label dog --scale 0",
    }.items():  # fmt: skip
        out = tmp_path / name.replace(" ", "-")
        main(["sample", str(weights), "--out", str(out), "--samples", "4", *more.split()])
        files = sorted(out.iterdir())
        drawn[name] = [np.asarray(Image.open(path)) for path in files]
    assert all(map(np.array_equal, drawn["cat"], drawn["1"]))
    # bird, cat, dog, bird: the second is that of all cats, by its own number's noise.
    same_as_cat = [np.array_equal(a, b) for a, b in zip(drawn["turn"], drawn["cat"], strict=True)]
    assert same_as_cat == [False, True, False, False]
    assert not any(map(np.array_equal, drawn["cat"], drawn["far"]))
    assert all(map(np.array_equal, drawn["none"], drawn["none too"]))
    assert not any(map(np.array_equal, drawn["none"], drawn["cat"]))


def test_evaluate_by_class(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures.json"
    words = f"evaluate {trained} --samples 12 --steps 2 --features digits --scale 2 --out {out}"
    main(words.split())
    found = json.loads(out.read_text())
    assert list(found["bits_per_dim"]["by_class"]) == CLASSES
    mean = sum(found["bits_per_dim"]["by_class"].values()) / 3  # three images of each
    assert found["bits_per_dim"]["total"] == pytest.approx(mean)
    assert found["samples"]["samples"] == 12
    assert "\n  cat: " in capsys.readouterr().out


def test_each_class_in_turn_and_none_that_is_hidden() -> None:
    labels = pick_labels(network(4), None, 7)
    assert labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert pick_labels(network(4), CLASSES, 2, "dog").tolist() == [2, 2]
    assert pick_labels(network(None), None, 2) is None


def test_classes_without_names_are_counted() -> None:
    images, labels = torch.zeros(5, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 2, 1, 2, 0])
    assert number_of_classes(ImageSet(images, labels, 256, "set", "train")) == 3
    assert (
        number_of_classes(ImageSet(images, labels, 256, "set", "train", ("a", "b", "c", "d"))) == 4
    )
    with pytest.raises(ValueError, match="set must have two classes or more, got 1"):
        number_of_classes(ImageSet(images, 0 * labels, 256, "set", "train"))
    with pytest.raises(ValueError, match="each image of set needs a label, and image 3 has none"):
        number_of_classes(ImageSet(images, torch.tensor([0, 2, 1, -1, -1]), 256, "set", "train"))


def refused(words: str) -> str:
    with pytest.raises(SystemExit) as end:
        main(words.split())
    return str(end.value)


def test_samples_are_shared_out_as_the_reference_is(
    trained: Path, animals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five more dogs make it five, five and ten; half of these are three, two and five."""
    for i in range(5):
        save(animals / "train" / "dog" / f"more-{i}.png", random(8, 8, seed=i))
    seen: list[Any] = []

    def drawing(*args: Any, labels: Tensor, scale: float, **options: Any) -> Tensor:
        seen.extend([labels.bincount().tolist(), scale])
        return draw(*args, labels=labels, scale=scale, **options)

    monkeypatch.setattr(commands, "draw", drawing)
    words = f"evaluate {trained} --samples 10 --steps 2 --features digits --scale 2"
    main(words.split())
    assert seen == [[3, 2, 5], 2.0]


def test_what_is_wrong_is_named_before_anything_is_trained(
    trained: Path, animals: Path, tmp_path: Path
) -> None:
    go = f"--drop-label 0.2 --out {tmp_path / 'other'} {QUICK}"
    words = f"train digits --data {animals / 'train' / 'cat'} {go}"
    assert "the images of each class into a folder of their own" in refused(words)
    save(animals / "train" / "stray.png", random(8, 8))
    said = refused(f"train digits --data {animals} {go}")
    assert "where all lie at one depth" in said
    assert "these do not: train/stray.png;" in said
    (animals / "train" / "stray.png").rename(animals / "train" / "cat" / "stray.png")
    broken = animals / "train" / "dog" / "broken.png"
    broken.write_bytes(b"no picture")
    assert "dog/broken.png (not an image" in refused(f"train digits --data {animals} {go}")
    assert not (tmp_path / "other").exists()

    sample = f"sample {trained} --out {tmp_path / 'a.png'}"
    assert "must lie in 0..2, or one of bird, cat, dog, got cow" in refused(f"{sample} --label cow")
    assert "got 3" in refused(f"{sample} --label 3")  # that of a hidden label
    assert "scale must be a number from 0 up, got nan" in refused(f"{sample} --scale nan")
    bare = f"sample digits --out {tmp_path / 'a.png'}"
    assert "label needs weights with classes" in refused(f"{bare} --label 1")
    assert "scale needs weights with classes" in refused(f"{bare} --scale 1")
    measure = f"evaluate {trained} --images 2"
    main([*measure.split(), "--out", str(tmp_path / "bits.json")])
    seen = json.loads((tmp_path / "bits.json").read_text())["bits_per_dim"]["by_class"]
    assert len(seen) == 2  # not the first two, which are of one class
    assert "scale is about samples" in refused(f"{measure} --scale 2")
    (animals / "test" / "dog").rename(animals / "test" / "wolf")
    assert "for the classes bird, cat, dog, and" in refused(measure)
    assert "ask for labels" in refused(f"{measure} --data {animals / 'test' / 'cat'} --split train")
