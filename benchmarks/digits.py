"""How good are samples after so much time of a CPU? Ours and denoising-diffusion-pytorch, digits.

    python benchmarks/digits.py [SECONDS ...]

Both train on the same 8x8 digits, on one thread, and the clock is the process's own time without
evaluation. At each mark 500 samples in 100 steps of DDIM by the averaged network are held against
the training images: the Fréchet distance in the features of our classifier; less is better. Theirs
runs twice, at the learning rate of its own Trainer and at the one that ours has. Three seeds each.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor

import torch
from peers import lucidrains, their_step
from timing import machine
from torch import Tensor

from ddpm_lite import GaussianDiffusion, TrainConfig, UNet, cosine_schedule, ddim, sample, train
from ddpm_lite.images.data import digits
from ddpm_lite.quality.classifier import load_classifier
from ddpm_lite.quality.evaluation import evaluate_samples, real_floor

SAMPLES, STEPS, BATCH = 500, 100, 64
Draw = Callable[[], Tensor]


def ours(images: Tensor, seed: int) -> Iterator[Draw]:
    diffusion = GaussianDiffusion(cosine_schedule())
    network = UNet(size=8, width=16, mults=(1, 2))
    shape = (SAMPLES, 1, 8, 8)
    for step in train(network, diffusion, images, TrainConfig(steps=10**9, seed=seed)):
        yield lambda step=step: sample(diffusion, step.ema, shape, ddim, steps=STEPS)


def theirs(images: Tensor, lr: float) -> Iterator[Draw]:
    """Its U-Net and its diffusion as they come, with its Trainer's step."""
    unet = lucidrains().Unet(dim=16, dim_mults=(1, 2), channels=1)
    diffusion = lucidrains().GaussianDiffusion(unet, image_size=8, sampling_timesteps=STEPS)
    step, ema = their_step(diffusion, images, BATCH, lr)
    while True:
        step()
        yield lambda: ema.ema_model.sample(SAMPLES) * 2 - 1


CANDIDATES: dict[str, Callable[[Tensor, int], Iterator[Draw]]] = {
    "ddpm_lite": ours,
    "denoising-diffusion-pytorch": lambda images, _: theirs(images, 1e-4),
    "the same at lr 2e-3": lambda images, _: theirs(images, 2e-3),
}


def run(name: str, seed: int, marks: list[float]) -> list[tuple[int, float]]:
    """Steps taken and the distance, at each of the marks, seconds of this process's time."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    images, _ = digits()
    classifier = load_classifier()
    found, spent, begun = [], 0.0, time.process_time()
    for steps, draw in enumerate(CANDIDATES[name](images, seed), 1):
        if spent + time.process_time() - begun < marks[len(found)]:
            continue
        spent += time.process_time() - begun
        drawn = draw().clamp(-1, 1)
        scores = evaluate_samples(drawn, images, classifier.features, split="train")
        found.append((steps, scores.frechet))
        if len(found) == len(marks):
            break
        begun = time.process_time()
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    marks = sorted(map(float, sys.argv[1:])) or [60.0, 180.0]
    print(machine())
    features = load_classifier().features
    images, _ = digits()
    rest = len(images) - SAMPLES
    print(real_floor(images, SAMPLES, features, split="train", reference=rest))
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        jobs = {
            (name, seed): pool.submit(run, name, seed, marks)
            for seed in range(3)
            for name in CANDIDATES
        }
        results = {job: future.result() for job, future in jobs.items()}
    for i, seconds in enumerate(marks):
        print(f"after {seconds:.0f} s")
        for name in CANDIDATES:
            steps, distances = zip(*(results[name, seed][i] for seed in range(3)), strict=True)
            each = ", ".join(f"{d:.2f}" for d in distances)
            print(
                f"  {name:28} Fréchet distance {statistics.median(distances):6.2f} ({each})   "
                f"{round(statistics.median(steps))} steps"
            )
