"""DDPM, equation by equation: denoising diffusion in a few readable files."""

from ddpm_lite._moved import keep_old_names
from ddpm_lite._version import __version__
from ddpm_lite.bound import ELBO, Estimate, elbo, elbo_along_path, elbo_estimate, prior_kl
from ddpm_lite.diffusion import GaussianDiffusion, Prediction
from ddpm_lite.flow.likelihood import FlowLikelihood, flow_likelihood
from ddpm_lite.flow.solvers import dpm_solver, heun
from ddpm_lite.forward import ForwardProcess
from ddpm_lite.gaussian import decoder_nll, gaussian_kl, gaussian_nll
from ddpm_lite.images.data import digits, from_model_range, photograph, to_model_range
from ddpm_lite.images.sets import ImageSet, load_images
from ddpm_lite.oracle import Oracle, oracle_bound, reverse_marginals
from ddpm_lite.quality.evaluation import RealFloor, SampleScores, evaluate_samples, real_floor
from ddpm_lite.quality.metrics import (
    frechet_distance,
    inception_score,
    moments,
    nearest_distance,
    nearest_ratio,
)
from ddpm_lite.runs.checkpoints import load, save_model
from ddpm_lite.runs.interop import ZeroBased, load_diffusers
from ddpm_lite.runs.run import Run
from ddpm_lite.samplers import SampleStep, ddim, ddpm, encode, inpaint, interpolate, sample
from ddpm_lite.schedule import (
    NoiseSchedule,
    cosine_schedule,
    line_schedule,
    linear_schedule,
    sigmoid_schedule,
    spaced_times,
    zero_terminal_snr,
)
from ddpm_lite.training import TrainConfig, TrainStep, train
from ddpm_lite.unet import UNet, UNetConfig, time_embedding

ReverseProcess = GaussianDiffusion  # its name in 0.1
keep_old_names()

__all__ = [
    "ELBO",
    "Estimate",
    "FlowLikelihood",
    "ForwardProcess",
    "GaussianDiffusion",
    "ImageSet",
    "NoiseSchedule",
    "Oracle",
    "Prediction",
    "RealFloor",
    "ReverseProcess",
    "Run",
    "SampleScores",
    "SampleStep",
    "TrainConfig",
    "TrainStep",
    "UNet",
    "UNetConfig",
    "ZeroBased",
    "__version__",
    "cosine_schedule",
    "ddim",
    "ddpm",
    "decoder_nll",
    "digits",
    "dpm_solver",
    "elbo",
    "elbo_along_path",
    "elbo_estimate",
    "encode",
    "evaluate_samples",
    "flow_likelihood",
    "frechet_distance",
    "from_model_range",
    "gaussian_kl",
    "gaussian_nll",
    "heun",
    "inception_score",
    "inpaint",
    "interpolate",
    "line_schedule",
    "linear_schedule",
    "load",
    "load_diffusers",
    "load_images",
    "moments",
    "nearest_distance",
    "nearest_ratio",
    "oracle_bound",
    "photograph",
    "prior_kl",
    "real_floor",
    "reverse_marginals",
    "sample",
    "save_model",
    "sigmoid_schedule",
    "spaced_times",
    "time_embedding",
    "to_model_range",
    "train",
    "zero_terminal_snr",
]
