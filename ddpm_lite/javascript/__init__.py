"""JavaScript that runs in a reader's browser, and what puts its modules together.

The modules here are shared: `widgets/` has one module for each widget, and they import these. The
folder `engine/` is the U-Net and the chain that `ddpm-lite export` puts in front of the weights;
`points/` trains a small network on points of the plane, and walks from noise back to them.
"""

from pathlib import Path

from ddpm_lite.javascript.bundle import as_function, as_module

__all__ = ["ENGINE", "POINTS", "as_function", "as_module"]

ENGINE = Path(__file__).parent / "engine" / "engine.js"
POINTS = Path(__file__).parent / "points" / "worker.js"
