"""What this machine has."""

import math
import os

__all__ = ["memory"]


def memory() -> float:
    """Bytes in this machine; without a bound where it does not say."""
    if not hasattr(os, "sysconf"):
        return math.inf
    return float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES")
