"""Checkers for the exercises of chapter 10."""

from collections.abc import Callable
from typing import Any

__all__ = ["CHECKERS"]

CHECKERS: dict[str, Callable[[Any], None]] = {}
