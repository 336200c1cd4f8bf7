"""DDPM, equation by equation: denoising diffusion in a few readable files."""

from ddpm_lite._version import __version__
from ddpm_lite.data import digits, from_model_range, photograph, to_model_range
from ddpm_lite.diffusion import GaussianDiffusion, Prediction
from ddpm_lite.samplers import SampleStep, ddpm
from ddpm_lite.schedule import NoiseSchedule, cosine_schedule, linear_schedule
from ddpm_lite.train import TrainConfig, TrainStep, train
from ddpm_lite.unet import UNet, time_embedding

__all__ = [
    "GaussianDiffusion",
    "NoiseSchedule",
    "Prediction",
    "SampleStep",
    "TrainConfig",
    "TrainStep",
    "UNet",
    "__version__",
    "cosine_schedule",
    "ddpm",
    "digits",
    "from_model_range",
    "linear_schedule",
    "photograph",
    "time_embedding",
    "to_model_range",
    "train",
]
