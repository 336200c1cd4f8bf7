"""A small classifier of digits, whose features stand in for Inception's where images are 8x8.

Its weights come with the package; `python -m ddpm_lite.quality.classifier` makes them again.
"""

import hashlib
import json
import math
import time
from datetime import date
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ddpm_lite.images.data import digits
from ddpm_lite.system.files import WEIGHTS, check_card, written_aside

__all__ = [
    "DigitsClassifier",
    "accuracy",
    "load_classifier",
    "train_classifier",
    "write_classifier",
]

NAME = "digits_classifier"
COMMAND = "python -m ddpm_lite.quality.classifier"


class DigitsClassifier(nn.Module):
    """Which digit is it? Images [B, 1, 8, 8] in [-1, 1] in, logits [B, 10] out.

    Three convolutions and two linear layers: `head` is the last of them, `features` all others.

    Raises:
        ValueError: images of another shape.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
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
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(64, 10))

    def features(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B 64"]:
        """What the last layer sees, [B, 64]."""
        if x.shape[1:] != (1, 8, 8):
            raise ValueError(f"images must be [B, 1, 8, 8], got {tuple(x.shape)}")
        return self.body(x)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B 10"]:
        return self.head(self.features(x))


def load_classifier(folder: str | Path = WEIGHTS) -> DigitsClassifier:
    """The classifier that comes with the package, in eval mode, on the CPU.

    Its card, digits_classifier.json in the same folder, says how it was trained and how often it
    is right.

    Raises:
        FileNotFoundError: no weights in the folder.
        ValueError: weights that are not those of their card.
    """
    from safetensors.torch import load_file

    path = Path(folder) / f"{NAME}.safetensors"
    if not path.exists():
        raise FileNotFoundError(f"no weights at {path}: `{COMMAND}` makes the package's own again")
    check_card(path)
    network = DigitsClassifier()
    network.load_state_dict(load_file(path))
    return network.eval()


def train_classifier(seed: int = 0, epochs: int = 30) -> DigitsClassifier:
    """Train the classifier on digits("train"), on the CPU; returns it in eval mode.

    AdamW and cross-entropy, 64 images at a time, each batch shifted by up to a pixel and noised.
    The same seed gives the same weights on the same machine; torch's own generator is left alone.

    Raises:
        ValueError: epochs < 1.
    """
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, got {epochs}")
    images, labels = digits("train")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = DigitsClassifier()
        optimizer = torch.optim.AdamW(network.parameters())
        steps = epochs * math.ceil(len(images) / 64)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
        for _ in range(epochs):
            for rows in torch.randperm(len(images)).split(64):
                down, right = torch.randint(3, (2,)).tolist()
                padded = F.pad(images[rows], (1, 1, 1, 1), value=-1.0)
                x = padded[..., down : down + 8, right : right + 8]
                loss = F.cross_entropy(network(x + 0.1 * torch.randn_like(x)), labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                rate.step()
    return network.eval()


def accuracy(network: nn.Module, split: str) -> float:
    """The share of digits(split) that the network names rightly, in 0..1."""
    images, labels = digits(split)
    with torch.inference_mode():
        return (network(images).argmax(1) == labels).double().mean().item()


def write_classifier(
    folder: str | Path = WEIGHTS, seed: int = 0, epochs: int = 30
) -> dict[str, Any]:
    """Train the classifier and write its weights and its card; returns the card.

    Each file is written aside and renamed, so that a run that breaks off leaves the old one whole.

    Raises:
        ValueError: epochs < 1.
    """
    from safetensors.torch import save

    start = time.perf_counter()
    network = train_classifier(seed, epochs)
    seconds = time.perf_counter() - start
    weights = save(network.state_dict())
    card = {
        "what": "DigitsClassifier of ddpm_lite/quality/classifier.py, weights in float32",
        "data": 'digits("train") to train, digits("test") held out; scikit-learn\'s load_digits',
        "command": COMMAND,
        "seed": seed,
        "epochs": epochs,
        "device": f"cpu, threads: {torch.get_num_threads()}",
        "torch": torch.__version__,
        "date": date.today().isoformat(),
        "seconds": round(seconds, 1),
        "parameters": sum(p.numel() for p in network.parameters()),
        "images": {split: len(digits(split)[0]) for split in ("train", "test")},
        "accuracy": {split: accuracy(network, split) for split in ("train", "test")},
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(card, indent=2) + "\n"
    for kind, content in (("safetensors", weights), ("json", text.encode())):
        with written_aside(folder / f"{NAME}.{kind}") as aside:
            aside.write_bytes(content)
    return card


if __name__ == "__main__":
    print(json.dumps(write_classifier(), indent=2))
