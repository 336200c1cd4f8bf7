"""Answers to the exercises of chapter 10."""

from collections.abc import Callable
from typing import Any

RIGHT: dict[str, Callable[..., Any]] = {}
WRONG: list[tuple[str, Any, str]] = []
