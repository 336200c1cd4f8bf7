"""Shapes are checked in tests: every annotated function of the package, at every call."""

import signal
from collections.abc import Iterator

import jaxtyping
import pytest
import torch

from tests import typechecker

hook = jaxtyping.install_import_hook("ddpm_lite", f"{typechecker.__name__}.checked")

# A shell starts what it puts into the background with Ctrl-C ignored; tests of it must not be.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def as_a_reader() -> Iterator[None]:
    """Shape checks off, as outside tests: what a reader's wrong input meets is our own error."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)
