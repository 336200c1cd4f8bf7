"""Shapes are checked in tests: every annotated function of the package, at every call."""

from collections.abc import Iterator

import jaxtyping
import pytest
import torch

hook = jaxtyping.install_import_hook("ddpm_lite", "beartype.beartype")


@pytest.fixture
def as_a_reader() -> Iterator[None]:
    """Shape checks off, as outside tests: what a reader's wrong input meets is our own error."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)
