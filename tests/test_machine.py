"""What the machine has, where its system says so."""

import math
import os

import pytest

from ddpm_lite.system.machine import memory


def test_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    if hasattr(os, "sysconf"):
        assert 1e8 < memory() < 1e15
    monkeypatch.delattr(os, "sysconf", raising=False)
    assert memory() == math.inf
