"""Run by test_train.py in several processes: a few steps of training, and the weights after."""

import os
import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from ddpm_lite import GaussianDiffusion, TrainConfig, UNet, linear_schedule, train

if __name__ == "__main__":
    rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'meet'}",
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=60),
    )
    torch.manual_seed(rank)  # other weights at first: those of rank 0 must win
    network = UNet(8, 1, 8).double()
    data = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(1)).double() * 2 - 1
    config = TrainConfig(steps=3, batch=8, accumulate=2, warmup=0, flip=True)
    *_, last = train(network, GaussianDiffusion(linear_schedule()), data, config)
    torch.save({"model": network.state_dict(), "loss": last.loss}, folder / f"{rank}.pt")
    dist.destroy_process_group()
