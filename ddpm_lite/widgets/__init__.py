"""Widgets that compute in the browser: live in a notebook, and on a page without a kernel."""

from ddpm_lite.widgets.base import Widget
from ddpm_lite.widgets.bound import Bound
from ddpm_lite.widgets.chain import ReverseChain
from ddpm_lite.widgets.clothes import Clothes
from ddpm_lite.widgets.decoder import Decoder
from ddpm_lite.widgets.denoising import Denoising
from ddpm_lite.widgets.flow import Flow
from ddpm_lite.widgets.forward import ForwardProcess
from ddpm_lite.widgets.inside import InsideUNet
from ddpm_lite.widgets.noise import normals
from ddpm_lite.widgets.posterior import Posterior
from ddpm_lite.widgets.prior import PriorMatching
from ddpm_lite.widgets.reverse import ReverseStep
from ddpm_lite.widgets.sampler import Sampler
from ddpm_lite.widgets.training import Training

__all__ = [
    "Bound",
    "Clothes",
    "Decoder",
    "Denoising",
    "Flow",
    "ForwardProcess",
    "InsideUNet",
    "Posterior",
    "PriorMatching",
    "ReverseChain",
    "ReverseStep",
    "Sampler",
    "Training",
    "Widget",
    "normals",
]
