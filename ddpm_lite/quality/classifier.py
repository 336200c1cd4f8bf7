"""Small classifiers, whose features stand in for Inception's where images are 8x8 or 28x28.

One of digits and one of Fashion-MNIST. Their weights come with the package, and
`python -m ddpm_lite.quality.classifier [digits|fashion_mnist]` makes them again.
"""

import hashlib
import json
import math
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ddpm_lite.images.data import to_model_range
from ddpm_lite.images.sets import load_images
from ddpm_lite.system.files import WEIGHTS, check_card, written_aside

__all__ = [
    "Classifier",
    "DigitsClassifier",
    "FashionClassifier",
    "accuracy",
    "load_classifier",
    "train_classifier",
    "write_classifier",
]

Data = Literal["digits", "fashion_mnist"]
COMMAND = "python -m ddpm_lite.quality.classifier"


class Classifier(nn.Module):
    """Which of ten classes is it? Images [B, 1, size, size] in [-1, 1] in, logits [B, 10] out.

    Convolutions and two linear layers: `head` is the last of them, `features` all others.

    Raises:
        ValueError: images of another shape.
    """

    def __init__(self, size: int, *body: nn.Module) -> None:
        super().__init__()
        self.size = size
        self.body = nn.Sequential(*body)
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(64, 10))

    def features(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B 64"]:
        """What the last layer sees, [B, 64]."""
        if x.shape[1:] != (1, self.size, self.size):
            expected = f"[B, 1, {self.size}, {self.size}]"
            raise ValueError(f"images must be {expected}, got {tuple(x.shape)}")
        return self.body(x)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B 10"]:
        return self.head(self.features(x))


class DigitsClassifier(Classifier):
    """Of digits, [B, 1, 8, 8]: three convolutions."""

    def __init__(self) -> None:
        super().__init__(
            8,
            nn.Conv2d(1, 16, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.SiLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(32 * 4 * 4, 64),
            nn.SiLU(),
        )


class FashionClassifier(Classifier):
    """Of Fashion-MNIST, [B, 1, 28, 28]: three convolutions, two of them pooled."""

    def __init__(self) -> None:
        super().__init__(
            28,
            nn.Conv2d(1, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.SiLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.BatchNorm2d(64),
            nn.SiLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.BatchNorm2d(64),
            nn.SiLU(),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(64 * 7 * 7, 64),
            nn.SiLU(),
        )


class Training(NamedTuple):
    """How one of them is trained."""

    network: Callable[[], Classifier]
    images: str
    epochs: int
    batch: int
    noise: float
    """The standard deviation of what is added to an image."""


TRAINING: dict[str, Training] = {
    "digits": Training(
        DigitsClassifier,
        'digits("train") to train, digits("test") held out; scikit-learn\'s load_digits',
        epochs=30,
        batch=64,
        noise=0.1,
    ),
    "fashion_mnist": Training(
        FashionClassifier,
        "Fashion-MNIST: its 60,000 images to train, its 10,000 held out",
        epochs=12,
        batch=128,
        noise=0.05,
    ),
}


def load_classifier(folder: str | Path = WEIGHTS, data: Data = "digits") -> Classifier:
    """The classifier that comes with the package, in eval mode, on the CPU.

    Its card, digits_classifier.json or fashion_mnist_classifier.json in the same folder, says how
    it was trained and how often it is right.

    Raises:
        FileNotFoundError: no weights in the folder.
        ValueError: weights that are not those of their card; a set that has no classifier.
    """
    from safetensors.torch import load_file

    network = _training(data).network()
    path = Path(folder) / f"{data}_classifier.safetensors"
    if not path.exists():
        raise FileNotFoundError(
            f"no weights at {path}: `{_command(data)}` makes the package's own again"
        )
    check_card(path)
    network.load_state_dict(load_file(path))
    return network.eval()


def train_classifier(seed: int = 0, epochs: int | None = None, data: Data = "digits") -> Classifier:
    """Train a classifier on the images of the split "train", on the CPU; returns it in eval mode.

    AdamW and cross-entropy, some images at a time, each batch shifted by up to a pixel and noised.
    The same seed gives the same weights on the same machine; torch's own generator is left alone.

    Args:
        epochs: 30 of digits, 12 of Fashion-MNIST, when not given.

    Raises:
        ValueError: epochs < 1; a set that has no classifier.
        FileNotFoundError, ImportError, OSError: as `load_images`.
    """
    how = _training(data)
    epochs = how.epochs if epochs is None else epochs
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, got {epochs}")
    images, labels = _images(data, "train")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = how.network()
        size = network.size
        optimizer = torch.optim.AdamW(network.parameters())
        steps = epochs * math.ceil(len(images) / how.batch)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
        for _ in range(epochs):
            for rows in torch.randperm(len(images), device="cpu").split(how.batch):
                down, right = torch.randint(3, (2,), device="cpu").tolist()
                padded = F.pad(images[rows], (1, 1, 1, 1), value=-1.0)
                x = padded[..., down : down + size, right : right + size]
                loss = F.cross_entropy(network(x + how.noise * torch.randn_like(x)), labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                rate.step()
    return network.eval()


def accuracy(network: nn.Module, split: str, data: Data = "digits") -> float:
    """The share of the split's images that the network names rightly, in 0..1."""
    images, labels = _images(data, split)
    with torch.inference_mode():
        named = torch.cat([network(some).argmax(1) for some in images.split(1000)])
    return (named == labels).double().mean().item()


def write_classifier(
    folder: str | Path = WEIGHTS,
    seed: int = 0,
    epochs: int | None = None,
    data: Data = "digits",
) -> dict[str, Any]:
    """Train a classifier and write its weights and its card; returns the card.

    Each file is written aside and renamed, so that a run that breaks off leaves the old one whole.

    Raises:
        ValueError, FileNotFoundError, ImportError, OSError: as `train_classifier`.
    """
    from safetensors.torch import save

    start = time.perf_counter()
    network = train_classifier(seed, epochs, data)
    seconds = time.perf_counter() - start
    weights = save(network.state_dict())
    card = {
        "what": f"{type(network).__name__} of ddpm_lite/quality/classifier.py, weights in float32",
        "data": _training(data).images,
        "command": _command(data),
        "seed": seed,
        "epochs": _training(data).epochs if epochs is None else epochs,
        "device": f"cpu, threads: {torch.get_num_threads()}",
        "torch": torch.__version__,
        "date": date.today().isoformat(),
        "seconds": round(seconds, 1),
        "parameters": sum(p.numel() for p in network.parameters()),
        "images": {split: len(_images(data, split)[0]) for split in ("train", "test")},
        "accuracy": {split: accuracy(network, split, data) for split in ("train", "test")},
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(card, indent=2) + "\n"
    for kind, content in (("safetensors", weights), ("json", text.encode())):
        with written_aside(folder / f"{data}_classifier.{kind}") as aside:
            aside.write_bytes(content)
    return card


def _command(data: Data) -> str:
    return COMMAND if data == "digits" else f"{COMMAND} {data}"


def _training(data: str) -> Training:
    if data not in TRAINING:
        raise ValueError(f"data must be {' or '.join(TRAINING)}, got {data!r}")
    return TRAINING[data]


def _images(data: Data, split: str) -> tuple[Tensor, Tensor]:
    """In [-1, 1], with their labels."""
    found = load_images(data, split)
    assert found.labels is not None
    return to_model_range(found.images.long(), found.levels), found.labels


if __name__ == "__main__":
    data: Any = sys.argv[1] if len(sys.argv) > 1 else "digits"
    print(json.dumps(write_classifier(data=data), indent=2))
