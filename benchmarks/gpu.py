"""Everything that only a GPU can tell, in parts: `make gpu`.

    python benchmarks/gpu.py [PART ...] [--out _build/gpu] [--smallest] [--list] [--carry FOLDER]

Each part takes nine minutes at most and is a process of its own, which leaves PART.json: what was
found, with the device, the versions, the seed, the date and the command. A part that is there, with
the same settings and on the same device, is not run again; so a run that is stopped goes on.
gpu.zip beside them holds them all, for machines that give few files back: unpack it into the folder
before going on elsewhere. --smallest runs everything at next to no size, on a CPU too, to see that
it runs; its figures mean nothing. --list says what there is to run, and what each part needs.
--carry gathers in a folder what a machine without a network lacks: Fashion-MNIST's files, and the
wheels named in benchmarks/carried.txt. The measured lines of benchmarks/README.md come from here.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import torch

from ddpm_lite import __version__
from ddpm_lite.experiments.results import write
from ddpm_lite.system.device import Device

ROOT = Path(__file__).parents[1]
LIMIT = 9 * 60  # seconds a part
LARGEST = 16 * 2**20  # bytes that a part may leave
SEED = 0
FASHION = Path("/usr/share/datasets/fashion-mnist")


@dataclass(frozen=True)
class Part:
    """One piece of the whole.

    Args:
        does: what, in a few words.
        command: what is run, after Python.
        needs: what the machine must have beside the package.
    """

    does: str
    command: tuple[str, ...]
    needs: str = ""


PEERS = "the peers of benchmarks/requirements.txt"
PARTS = {
    "tests": Part("the tests marked gpu", ("benchmarks/gpu.py", "--inside", "tests"), "beartype"),
    "training": Part(
        "a step of training at small sizes, the note's and the shipped networks",
        ("benchmarks/training.py", "tiny", "small", "digits", "fashion", "note"),
        PEERS,
    ),
    **{
        f"paper-{batch}": Part(
            f"a step of training, the paper's network at batch {batch}",
            ("benchmarks/training.py", f"ho2020-{batch}"),
            PEERS,
        )
        for batch in (128, 256, 512)
    },
    "sampling": Part("a step of sampling", ("benchmarks/sampling.py",), PEERS),
    "bound": Part("the bound over all t", ("benchmarks/bound.py",)),
    "fashion": Part(
        "the 28x28 recipe for as long as a part lasts",
        ("benchmarks/gpu.py", "--inside", "fashion"),
        f"{FASHION}",
    ),
    "quality": Part(
        "the Fréchet distance of what part fashion has trained",
        ("benchmarks/gpu.py", "--inside", "quality"),
        f"{FASHION}, and part fashion",
    ),
    "chapters": Part(
        "the chapters' GPU branches that need no network",
        ("benchmarks/gpu.py", "--inside", "chapters"),
        f"{FASHION}, IPython",
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--out", type=Path, default=ROOT / "_build/gpu", help="folder of the JSON")
    parser.add_argument("--smallest", action="store_true", help="next to no size, on a CPU too")
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    parser.add_argument("--carry", type=Path, help="gather what a machine without network lacks")
    parser.add_argument("--inside", choices=INSIDE, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"PART must be one of {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")
    if asked.inside:
        write(Path(os.environ["BENCHMARK_JSON"]), INSIDE[asked.inside](asked.smallest, asked.out))
        return 0
    if asked.list:
        for name, part in PARTS.items():
            print(f"{name:10} {part.does}" + f"; needs {part.needs}" * bool(part.needs))
        return 0
    if asked.carry:
        carry(asked.carry)
        return 0
    if not (asked.smallest or torch.cuda.is_available()):
        print("There is no GPU here. --smallest shows that everything runs; it measures nothing.")
        return 1
    return run(asked.parts or list(PARTS), asked.out.absolute(), asked.smallest)


def run(names: list[str], out: Path, smallest: bool) -> int:
    """Run the parts that are not there yet; 1 if one of them failed."""
    out.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in names:
        if done(out / f"{name}.json", settings(name, smallest)):
            print(f"{name}: there already", flush=True)
            continue
        found = measure(name, out, smallest)
        write(out / f"{name}.json", found, indent=1)
        bundle(out)
        print(f"{name}: {found['status']} after {found['seconds']} s", flush=True)
        if found["status"] != "done":
            failed.append(name)
            print(found["said"][-2000:], flush=True)
    if failed:
        print(f"Failed: {', '.join(failed)}")
    return 1 if failed else 0


def settings(name: str, smallest: bool) -> dict[str, Any]:
    """What a part's result depends on, beside the code."""
    gpu = torch.cuda.is_available()
    device = Device.of(torch.device("cuda" if gpu else "cpu"))
    return {
        "command": ["python", *PARTS[name].command],
        "smallest": smallest,
        "seed": SEED,
        "device": device.name or platform.processor() or platform.machine(),
        "capability": list(device.capability),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "ddpm_lite": __version__,
        },
    }


def done(file: Path, wanted: dict[str, Any]) -> bool:
    """Whether a part has been measured with these settings, and to its end."""
    if not file.exists():
        return False
    found = json.loads(file.read_text(encoding="utf-8"))
    return found.get("status") == "done" and found.get("settings") == wanted


def measure(name: str, out: Path, smallest: bool) -> dict[str, Any]:
    """Run one part; what it found, also where it did not come to its end."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "found.json"
        environment = os.environ | {"BENCHMARK_JSON": str(file), "PYTHONPATH": paths()}
        inside = ["--out", str(out)] if "--inside" in PARTS[name].command else []
        if smallest:
            environment["BENCHMARK_SMALLEST"] = "1"
            inside += ["--smallest"] * bool(inside)
        command = [sys.executable, *PARTS[name].command, *inside]
        try:
            ended = subprocess.run(
                command, cwd=ROOT, env=environment, timeout=LIMIT, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            )  # fmt: skip
            status = "done" if ended.returncode == 0 else "failed"
            said = ended.stdout
        except subprocess.TimeoutExpired as error:
            status, said = "stopped at the limit", (error.stdout or b"").decode(errors="replace")
        found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
    size = sum(path.stat().st_size for path in out.glob(f"{name}*"))
    if size > LARGEST:
        status = f"failed: its files have {size} bytes, more than {LARGEST}"
    return {
        "part": name,
        "does": PARTS[name].does,
        "status": status,
        "settings": settings(name, smallest),
        "date": date.today().isoformat(),
        "seconds": round(time.monotonic() - start, 1),
        "found": found,
        "said": said[-20_000:],
    }


def paths() -> str:
    """Where the children find this clone, and what was carried."""
    return os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


def bundle(out: Path) -> None:
    """All results in one file, whose place is taken once it is whole."""
    aside = out / "gpu.zip.part"
    with zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(out.iterdir()):
            if path.suffix in (".json", ".png", ".safetensors"):
                archive.write(path, path.name)
    os.replace(aside, out / "gpu.zip")


# What carries over to a machine without a network.


def carry(folder: Path) -> None:
    """Fashion-MNIST and wheels for Python 3.12 on Linux, in a folder, and how to use them there."""
    folder.mkdir(parents=True, exist_ok=True)
    if FASHION.is_dir():
        shutil.copytree(FASHION, folder / "fashion-mnist", dirs_exist_ok=True)
    wheels = ["--dest", folder / "wheels", "--requirement", ROOT / "benchmarks/carried.txt"]
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
         "--python-version", "3.12", "--platform", "manylinux_2_28_x86_64",
         "--platform", "manylinux2014_x86_64", "--platform", "any", *wheels],
        check=True,
    )  # fmt: skip
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {size / 2**20:.0f} MiB to carry. Where it has arrived:")
    print(f"  mkdir -p {FASHION.parent} && cp -r {folder}/fashion-mnist {FASHION}")
    print(f"  python3 -m pip install --no-index --no-deps {folder}/wheels/*.whl")
    print("  PYTHONPATH=. python3 benchmarks/gpu.py --out $OUT  # from this clone")


# What is measured by no other script.


def tests(smallest: bool, out: Path) -> dict[str, Any]:
    """The tests marked gpu, each with what became of it."""
    from xml.etree import ElementTree

    gpu = torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        # Without the settings of pytest's plugins, which a bare machine has not.
        how = ["-o", "addopts=", "-W", "default", "-m", "gpu", "-rs", "-q", "--junitxml", report]
        environment = os.environ | ({} if gpu else {"GPU_TESTS_ON": "cpu"})
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", *how, "tests/test_gpu.py"],
            env=environment,
            check=False,
        )
        cases = ElementTree.parse(report).getroot().iter("testcase")
        became = {case.attrib["name"]: _became(case) for case in cases}
    if ended.returncode:
        write(Path(os.environ["BENCHMARK_JSON"]), {"tests": became})
        sys.exit(ended.returncode)
    return {"tests": became}


def _became(case: Any) -> str:
    for child in case:
        if child.tag in ("failure", "error", "skipped"):
            return f"{child.tag}: {child.attrib.get('message', '')}"[:500]
    return "passed"


def fashion(smallest: bool, out: Path) -> dict[str, Any]:
    """Train the 28x28 recipe for eight minutes; leaves fashion.safetensors and a log."""
    from ddpm_lite import load_images, train
    from ddpm_lite.runs.checkpoints import save_model
    from ddpm_lite.runs.recipes import RECIPES

    seconds, trial = (2, 2) if smallest else (LIMIT - 60, 200)
    recipe, data, device = RECIPES["fashion"][1], load_images("fashion_mnist"), _device()
    config = replace(recipe.training, precision="auto", seed=SEED)
    if smallest:
        config = replace(config, batch=4, steps=4)

    def start(steps: int) -> Any:
        torch.manual_seed(SEED)
        network, diffusion = recipe.make(data)
        how = replace(config, steps=steps)
        return train(network.to(device), diffusion, data, how), diffusion

    begin = time.monotonic()
    rates = [_rate(start(trial)[0], trial) for _ in range(2)]  # the first warms up
    left = seconds - (time.monotonic() - begin)
    steps = max(trial, int(left * rates[-1] * 0.9))
    run, diffusion = start(steps if not smallest else 2)
    losses: list[list[float]] = []
    total: Any = 0.0
    for step in run:
        total = total + step.loss
        if step.step % 250 == 0 or smallest:
            losses.append([step.step, total.item() / 250])
            total = 0.0
    average = step.ema.module.eval()
    save_model(out / "fashion.safetensors", average.cpu(), diffusion)
    return {
        "steps": step.step,
        "steps_per_second": rates[-1],
        "images_per_second": rates[-1] * config.batch,
        "precision": str(step.state.precision),
        "config": asdict(step.state.config),
        "losses": losses,
        "seconds": time.monotonic() - begin,
    }


def _rate(steps: Any, n: int) -> float:
    """Steps a second, of n; the last is waited for."""
    start = time.monotonic()
    for step in steps:
        if step.step == n:
            break
    step.loss.item()
    return n / (time.monotonic() - start)


def quality(smallest: bool, out: Path) -> dict[str, Any]:
    """The Fréchet distance of samples to the test images, and of real ones; fashion-samples.png."""
    from ddpm_lite import ddim, evaluate_samples, load, load_images, real_floor, to_model_range
    from ddpm_lite.images.grids import grid, write_png
    from ddpm_lite.runs.many import draw

    n, steps = (20, 2) if smallest else (5000, 100)
    network, diffusion = load(out / "fashion.safetensors")
    network, judge = network.to(_device()), _judge(smallest)
    test = load_images("fashion_mnist", "test")
    real = to_model_range(test.images[: 2 * n], test.levels)
    labels = torch.arange(n, device="cpu") % 10
    start = time.monotonic()
    shape = tuple(real.shape[1:])
    samples = draw(diffusion, network, n, shape, ddim, steps=steps, labels=labels, seed=SEED)
    samples, took = samples.clamp(-1, 1), time.monotonic() - start
    write_png(out / "fashion-samples.png", grid(samples[:100]))
    how: dict[str, Any] = {"split": "test", "device": _device()}
    judge = judge.to(_device())
    scores = evaluate_samples(samples, real[:n], judge.features, judge.head, **how)
    floor = real_floor(real, n, judge.features, repeats=3, seed=SEED, **how)
    return {
        "scores": asdict(scores),
        "floor": asdict(floor),
        "steps": steps,
        "images_per_second": n / took,
    }


def _judge(smallest: bool) -> Any:
    """The classifier in whose features distances are taken."""
    from ddpm_lite.quality.classifier import FashionClassifier, load_classifier

    if smallest:
        torch.manual_seed(SEED)
        return FashionClassifier().eval()
    return load_classifier(data="fashion_mnist")


def chapters(smallest: bool, out: Path) -> dict[str, Any]:
    """Run the cells of chapters whose GPU branch needs no network, as they stand."""
    from tests.rehearsal import OFFLINE, perform

    found = {}
    for name in OFFLINE:
        start = time.monotonic()
        branches = perform(name, rehearsed=smallest or not torch.cuda.is_available())
        found[name] = {"branches": branches, "seconds": time.monotonic() - start}
    return found


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


INSIDE: dict[str, Callable[[bool, Path], dict[str, Any]]] = {
    "tests": tests,
    "fashion": fashion,
    "quality": quality,
    "chapters": chapters,
}

if __name__ == "__main__":
    sys.exit(main())
