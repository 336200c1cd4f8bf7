"""A trained network for the browser: one JavaScript file with the weights and what runs them.

The file is loaded by a script element, the one way that works on a server and from a disk alike:
a page opened as a file may neither fetch nor import its neighbours. Weights are stored as float16
in base64, the betas in full. The network, the chain and a worker are in `javascript/engine/`.

It is written by hand because of what a reader waits for. Gzipped, as servers send it, the runner is
15 KB beside 720 KB of weights; the WebAssembly of onnxruntime-web 1.30 alone is 3.7 MB. Products of
matrices run in WebAssembly, four numbers at a time; `kernel.js` is its source, and the bytes are
made from it in the browser. Where a page's policy forbids that, JavaScript alone does the same:
`benchmarks/browser.py` measures size and time of both. Where the browser has a GPU, by WebGPU, the
whole network runs there, once it has said what the processor says; `shaders.js` is its source.
"""

import base64
import json
from pathlib import Path
from typing import Any

import torch

from ddpm_lite.diffusion import GaussianDiffusion
from ddpm_lite.javascript import ENGINE, as_function
from ddpm_lite.runs.checkpoints import load
from ddpm_lite.system.files import written_aside
from ddpm_lite.unet import UNet

__all__ = ["browser_script", "export_model", "float16_weights", "runner"]

USE = """// A trained network. Load this by a script element, on any page; it needs nothing else:
//
//   const engine = ddpmModels[{name}].start();
//   await engine.ask({{ do: "begin", sampler: "ddim", steps: 50, seed: 0, images: 16 }});
//   const {{ frames, done }} = await engine.ask({{ do: "next", ms: 50 }}); // what 50 ms allow
"""
# What the runner knows. Width, levels, blocks and heads are free: it reads them off the weights.
NETWORK = {
    "wiring": ("paper",), "block": ("resnet",), "linear_attention": ((),), "time": ("sinusoidal",),
}  # fmt: skip
DIFFUSION = {"objective": ("eps", "x0", "v")}


def export_model(source: str | Path, out: Path, name: str | None = None) -> int:
    """Write trained weights as one script for a page; returns its size in bytes.

    Args:
        source: the name of shipped weights, or a file that `save_model` wrote.
        out: the file to write, replaced in one step.
        name: what the page calls it, `ddpmModels[name]`; that of `source` by default.

    Raises:
        FileNotFoundError, ValueError: as for `load` and `browser_script`.
    """
    text = browser_script(*load(source), name or Path(source).stem)
    out.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(out) as aside:
        aside.write_text(text, encoding="utf-8")
    return len(text.encode())


def browser_script(network: UNet, diffusion: GaussianDiffusion, name: str) -> str:
    """The script that makes `ddpmModels[name]` known to a page: runner, weights and schedule.

    Args:
        network: with the paper's wiring, labels, self-conditioning and a learned variance as it
            has them; its weights are rounded to float16.
        diffusion: the whole chain, of eps, x0 or v. The page's DDPM draws with its variance, unless
            it asks for another.
        name: any string.

    Raises:
        ValueError: a network or a diffusion of a kind that the runner does not know, two that do
            not belong together, a shortened chain, or a weight that float16 cannot hold.
    """
    _check(network, diffusion)
    tensors, weights = [], b""
    for key, value in network.state_dict().items():
        short = value.detach().cpu().half()
        if not short.isfinite().all():
            raise ValueError(f"{key} holds a number that float16 cannot: {value.abs().max():g}")
        tensors.append([key, list(value.shape)])
        weights += short.numpy().astype("<f2").tobytes()
    beta = diffusion.schedule.beta[1:].numpy().astype("<f8").tobytes()
    config = {key: network.config[key] for key in ("size", "channels", "width", "heads")}
    model = {
        "config": config,
        "variance": diffusion.variance,
        "objective": diffusion.objective,
        "classes": network.classes,
        "self_condition": network.self_condition,
        "tensors": tensors,
        "beta": _text(beta),
        "weights": _text(weights),
    }
    page_name = _quoted(name)
    says = f"program().register({page_name}, {_quoted(model)}, program);"
    return USE.format(name=page_name) + f"(() => {{\n{runner()}\n{says}\n}})();\n"


def _check(network: UNet, diffusion: GaussianDiffusion) -> None:
    """Refuse what the runner does not know, and by its name."""
    for what, config, known in (
        ("network", network.config, NETWORK),
        ("diffusion", diffusion.config, DIFFUSION),
    ):
        for key, allowed in known.items():
            if config[key] not in allowed:
                expected = " or ".join(map(repr, allowed))
                raise ValueError(f"the {what}'s {key} must be {expected}, got {config[key]!r}")
    if network.config["out_channels"] not in (None, network.channels):
        raise ValueError(
            f"the network's out_channels must be those of its images, {network.channels}, got "
            f"{network.config['out_channels']}"
        )
    for key, has, asked in (
        ("self_condition", network.self_condition, diffusion.self_condition),
        ("learned_variance", network.learned_variance, diffusion.variance == "learned"),
    ):
        if has != asked:
            raise ValueError(f"the network's {key} must be {asked} as the diffusion's, got {has}")
    if network.classes and network.self_condition:
        raise ValueError("the network may have classes or self_condition, got both")
    if diffusion.times[-1] != diffusion.T:
        raise ValueError(f"export the whole chain, not {diffusion.T} of {diffusion.times[-1]}")


def runner() -> str:
    """The JavaScript in front of the weights; its own text is what a worker is made from."""
    return f"const program = {as_function(ENGINE)};"


def float16_weights(network: UNet) -> UNet:
    """A copy of the network with the weights that the exported file holds."""
    copy = UNet(**network.config)
    copy.load_state_dict({key: value.half() for key, value in network.state_dict().items()})
    return copy.to(next(network.parameters()).device, torch.float32).eval()


def _quoted(value: Any) -> str:
    """As JavaScript has it, also inside a page's script element, which `</script>` would end."""
    return json.dumps(value).replace("<", "\\u003c")


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
