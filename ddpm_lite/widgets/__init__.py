"""Widgets that compute in the browser: live in a notebook, and on a page without a kernel."""

from ddpm_lite.widgets.base import Widget
from ddpm_lite.widgets.forward import ForwardProcess
from ddpm_lite.widgets.noise import normals
from ddpm_lite.widgets.reverse import ReverseChain

__all__ = ["ForwardProcess", "ReverseChain", "Widget", "normals"]
