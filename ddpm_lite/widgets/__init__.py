"""Widgets that compute in the browser: live in a notebook, and on a page without a kernel."""

from ddpm_lite.widgets.base import Widget
from ddpm_lite.widgets.bound import Bound
from ddpm_lite.widgets.forward import ForwardProcess
from ddpm_lite.widgets.noise import normals

__all__ = ["Bound", "ForwardProcess", "Widget", "normals"]
