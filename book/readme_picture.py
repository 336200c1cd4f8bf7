"""Draw the README's picture: walks back from noise by the network of chapter 1.

    python book/readme_picture.py

About a minute on two CPU cores. How it was made is stored inside the file.
"""

import datetime
import platform
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from ddpm_lite import (
    GaussianDiffusion,
    TrainConfig,
    UNet,
    ddpm,
    digits,
    linear_schedule,
    plots,
    train,
)

SEED, STEPS = 0, 1000
OUT = Path(__file__).parent / "_static" / "reverse.png"
TIMES = (999, 700, 500, 400, 300, 200, 150, 100, 50, 0)


def main() -> None:
    torch.manual_seed(SEED)
    images, _ = digits()
    diffusion = GaussianDiffusion(linear_schedule())
    network = UNet(size=8, width=16, mults=(1, 2))
    *_, last = train(
        network, diffusion, images, TrainConfig(steps=STEPS, seed=SEED)
    )
    generator = torch.Generator().manual_seed(SEED)
    walk = ddpm(diffusion, last.ema, (3, 1, 8, 8), generator=generator)
    kept = [step.xt for step in walk if step.t in TIMES]
    plots.setup()
    plots.images(list(torch.stack(kept, dim=1)), [f"t = {t}" for t in TIMES])
    made = {
        "Software": f"torch {torch.__version__} on {platform.machine()} CPU",
        "Comment": f"python book/readme_picture.py; seed {SEED}, {STEPS} steps",
        "Creation Time": datetime.date.today().isoformat(),
    }
    plt.savefig(OUT, dpi=150, metadata=made)
    print(OUT)


if __name__ == "__main__":
    main()
