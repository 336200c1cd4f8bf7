"""Other implementations, from the registry, to measure against; none of their code is here.

    pip install --no-deps -r benchmarks/requirements.txt

denoising-diffusion-pytorch imports torchvision for its data loader alone; where there is none, a
stand-in takes its place during the import.
"""

import sys
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def lucidrains() -> Any:
    """The package denoising_diffusion_pytorch."""
    stand_in: Any = types.ModuleType("torchvision")
    stand_in.transforms = stand_in.utils = types.ModuleType("torchvision.none")
    try:
        import torchvision  # noqa: F401
    except Exception:  # missing, or built for another torch
        sys.modules["torchvision"] = stand_in
    try:
        import denoising_diffusion_pytorch
    except ModuleNotFoundError as error:
        sys.exit(f"{error}; pip install --no-deps -r benchmarks/requirements.txt")
    if sys.modules["torchvision"] is stand_in:  # diffusers asks whether it is there
        del sys.modules["torchvision"]
    inside: Any = denoising_diffusion_pytorch.denoising_diffusion_pytorch
    inside.tqdm = lambda steps, **_: steps  # no progress bar: its cost is not the sampler's
    return denoising_diffusion_pytorch


def their_diffusion(unet: nn.Module, size: int, **settings: Any) -> Any:
    """Its diffusion around a network; the paper's noise and objective, unless told otherwise."""
    paper = {"objective": "pred_noise", "beta_schedule": "linear"}
    return lucidrains().GaussianDiffusion(unet, image_size=size, **{**paper, **settings})


def their_step(
    diffusion: nn.Module, data: Tensor, batch: int, lr: float = 1e-4
) -> tuple[Callable[[], float], Any]:
    """A training step as the Trainer of denoising-diffusion-pytorch takes it, and its average."""
    from ema_pytorch import EMA

    diffusion = diffusion.to(data.device)
    adam = torch.optim.Adam(diffusion.parameters(), lr=lr, betas=(0.9, 0.99))
    ema = EMA(diffusion, beta=0.995, update_every=10)
    images = (data + 1) / 2  # it brings them back to [-1, 1] itself

    def step() -> float:
        loss = diffusion(images[torch.randint(len(images), (batch,), device=images.device)])
        loss.backward()
        nn.utils.clip_grad_norm_(diffusion.parameters(), 1.0)
        adam.step()
        adam.zero_grad()
        ema.update()
        return loss.item()  # it shows the loss at every step

    return step, ema


def their_sampler(
    unet: nn.Module, size: int, steps: int, ddim: bool, device: str
) -> Callable[[int], Tensor]:
    """Images by denoising-diffusion-pytorch: ancestral steps, or as many of DDIM's out of 1000."""
    chain = {"sampling_timesteps": steps} if ddim else {"timesteps": steps}
    return their_diffusion(unet, size, **chain).to(device).eval().sample


def diffusers_sampler(
    unet: nn.Module, size: int, steps: int, ddim: bool, device: str
) -> Callable[[int], Tensor]:
    """Grey images by a scheduler of diffusers in a plain loop, as its documentation writes it."""
    from diffusers import DDIMScheduler, DDPMScheduler

    scheduler = DDIMScheduler() if ddim else DDPMScheduler()
    scheduler.set_timesteps(steps)

    @torch.inference_mode()
    def sample(n: int) -> Tensor:
        x = torch.randn(n, 1, size, size, device=device)
        for t in scheduler.timesteps:
            out = unet(x, t)
            x = scheduler.step(getattr(out, "sample", out), t, x).prev_sample
        return x

    return sample


def diffusers_step(unet: nn.Module, data: Tensor, batch: int) -> Callable[[], float]:
    """A training step as diffusers' unconditional example takes it: AdamW, clipping, EMAModel."""
    from diffusers import DDPMScheduler
    from diffusers.training_utils import EMAModel

    scheduler = DDPMScheduler()
    adam = torch.optim.AdamW(unet.parameters(), lr=1e-4)
    ema = EMAModel(unet.parameters(), decay=0.9999, use_ema_warmup=True)

    def step() -> float:
        x0 = data[torch.randint(len(data), (batch,), device=data.device)]
        noise = torch.randn_like(x0)
        t = torch.randint(0, 1000, (batch,), device=data.device)
        out = unet(scheduler.add_noise(x0, noise, t), t).sample
        loss = nn.functional.mse_loss(out, noise)
        loss.backward()
        nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        adam.step()
        adam.zero_grad()
        ema.step(unet.parameters())
        return loss.item()

    return step


def diffusers_unet(
    size: int,
    channels: int,
    width: int,
    mults: tuple[int, ...],
    attention: tuple[int, ...] = (),
) -> nn.Module:
    """The paper's wiring in diffusers, as google/ddpm-cifar10-32 sets it, at any width."""
    from diffusers import UNet2DModel

    attends = ["Attn" * (size // 2**level in attention) for level in range(len(mults))]
    return UNet2DModel(
        sample_size=size,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=tuple(width * m for m in mults),
        layers_per_block=2,
        down_block_types=tuple(f"{attn}DownBlock2D" for attn in attends),
        up_block_types=tuple(f"{attn}UpBlock2D" for attn in reversed(attends)),
        norm_num_groups=min(32, width // 4),
        attention_head_dim=None,
        downsample_padding=0,
        flip_sin_to_cos=False,
        freq_shift=1,
    )
