"""What a test needs of its system: CI runs the unit tests on Linux, macOS and Windows."""

import sys

import pytest


def linux_only(reason: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(sys.platform != "linux", reason=f"Linux only: {reason}")


def not_on_windows(reason: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(sys.platform == "win32", reason=f"not on Windows: {reason}")


# What reads the repository, or runs its Makefile, says the same wherever it runs.
of_the_source = linux_only("it looks at the source, not at what the system does with it")
several_processes = linux_only("torchrun and its processes are promised there")
