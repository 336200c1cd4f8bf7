"""The widgets' random numbers, in Python: the same seed gives the same noise in both."""

import numpy as np
from jaxtyping import Float64

__all__ = ["normals", "uniforms"]


def uniforms(seed: int, n: int) -> Float64[np.ndarray, " n"]:
    """n even numbers in [0, 1), [n] float64: mulberry32 (T. Ettinger).

    Raises:
        ValueError: a seed outside 0..2^32 - 1, or n < 0.
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must lie in 0..2**32 - 1, got {seed}")
    if n < 0:
        raise ValueError(f"n must not be negative, got {n}")
    with np.errstate(over="ignore"):  # 32-bit arithmetic wraps on purpose
        state = np.uint32(seed) + np.arange(1, n + 1, dtype=np.uint32) * np.uint32(0x6D2B79F5)
        z = (state ^ (state >> 15)) * (state | 1)
        z ^= z + (z ^ (z >> 7)) * (z | 61)
    return (z ^ (z >> 14)) / 2.0**32


def normals(seed: int, n: int) -> Float64[np.ndarray, " n"]:
    """n standard normal numbers, [n] float64: `uniforms`, then Box and Muller.

    Raises:
        ValueError: a seed outside 0..2^32 - 1, or n < 0.
    """
    if n < 0:
        raise ValueError(f"n must not be negative, got {n}")
    even = uniforms(seed, n + n % 2)
    radius = np.sqrt(-2 * np.log(1 - even[0::2]))
    angle = 2 * np.pi * even[1::2]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).ravel()[:n]
