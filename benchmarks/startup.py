"""What an import costs, and the most memory that a training step holds; each in its own process.

    python benchmarks/startup.py

Seconds are of the process's own time, the median of 5; memory is the peak of resident memory.
"""

import statistics
import subprocess
import sys
from pathlib import Path

from timing import machine

HERE = str(Path(__file__).parent)
TAIL = (
    "; import resource, time; "
    "print(time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
)
PEER = f"import sys; sys.path.insert(0, {HERE!r}); from peers import *; import torch; "
STEP = "torch.set_num_threads(1); data = torch.rand(256, 1, 16, 16) * 2 - 1; "
IMPORTS = {
    "torch": "import torch",
    "ddpm_lite": "import ddpm_lite",
    "denoising-diffusion-pytorch": PEER + "lucidrains()",
    "diffusers": "import diffusers; diffusers.UNet2DModel, diffusers.DDPMPipeline",
}
STEPS = {
    "ddpm_lite, paper": "import torch; from ddpm_lite import *; "
    + STEP
    + "net = UNet(16, 1, 32, (1, 2, 4)); "
    "[s for s in train(net, GaussianDiffusion(linear_schedule()), data, TrainConfig(steps=3))]",
    "ddpm_lite, note": "import torch; from ddpm_lite import *; "
    + STEP
    + "net = UNet.note(16, 1, width=32, mults=(1, 2, 4)); "
    "[s for s in train(net, GaussianDiffusion(linear_schedule()), data, TrainConfig(steps=3))]",
    "denoising-diffusion-pytorch": PEER
    + STEP
    + "net = lucidrains().Unet(dim=32, dim_mults=(1, 2, 4), channels=1); "
    "step, _ = their_step(their_diffusion(net, 16), data, 64); [step() for _ in range(3)]",
    "diffusers": PEER
    + STEP
    + "step = diffusers_step(diffusers_unet(16, 1, 32, (1, 2, 4)), data, 64); "
    "[step() for _ in range(3)]",
}


def run(code: str) -> tuple[float, float]:
    done = subprocess.run(
        [sys.executable, "-c", code + TAIL], capture_output=True, text=True, check=True
    )
    seconds, mebibytes = done.stdout.split()[-2:]
    return float(seconds), float(mebibytes)


print(machine())
print("import")
base = 0.0
for name, code in IMPORTS.items():
    rounds = [run(code) for _ in range(5)]
    seconds = statistics.median(s for s, _ in rounds)
    base = base or seconds
    print(f"  {name:28} {seconds:6.2f} s   x {seconds / base:.2f}   {rounds[0][1]:.0f} MiB")
print("three training steps, 1x16x16, batch 64, width 32, mults 1, 2, 4: peak memory")
for name, code in STEPS.items():
    print(f"  {name:28} {run(code)[1]:.0f} MiB")
