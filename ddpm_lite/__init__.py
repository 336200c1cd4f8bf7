"""DDPM, equation by equation: denoising diffusion in a few readable files."""

from ddpm_lite._version import __version__
from ddpm_lite.data import digits, from_model_range, photograph, to_model_range
from ddpm_lite.diffusion import GaussianDiffusion
from ddpm_lite.elbo import ELBO, Estimate, elbo, elbo_along_path, elbo_estimate, prior_kl
from ddpm_lite.forward import ForwardProcess
from ddpm_lite.gaussian import decoder_nll, gaussian_kl, gaussian_nll
from ddpm_lite.interop import ZeroBased, load_diffusers
from ddpm_lite.oracle import Oracle, oracle_bound, reverse_marginals
from ddpm_lite.reverse import Prediction, ReverseProcess
from ddpm_lite.samplers import SampleStep, ddim, ddpm, encode, interpolate, sample
from ddpm_lite.schedule import (
    NoiseSchedule,
    cosine_schedule,
    linear_schedule,
    sigmoid_schedule,
    spaced_times,
)
from ddpm_lite.train import TrainConfig, TrainStep, train
from ddpm_lite.unet import UNet, time_embedding

__all__ = [
    "ELBO",
    "Estimate",
    "ForwardProcess",
    "GaussianDiffusion",
    "NoiseSchedule",
    "Oracle",
    "Prediction",
    "ReverseProcess",
    "SampleStep",
    "TrainConfig",
    "TrainStep",
    "UNet",
    "ZeroBased",
    "__version__",
    "cosine_schedule",
    "ddim",
    "ddpm",
    "decoder_nll",
    "digits",
    "elbo",
    "elbo_along_path",
    "elbo_estimate",
    "encode",
    "from_model_range",
    "gaussian_kl",
    "gaussian_nll",
    "interpolate",
    "linear_schedule",
    "load_diffusers",
    "oracle_bound",
    "photograph",
    "prior_kl",
    "reverse_marginals",
    "sample",
    "sigmoid_schedule",
    "spaced_times",
    "time_embedding",
    "to_model_range",
    "train",
]
