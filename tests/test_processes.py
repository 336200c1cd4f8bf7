"""One process, or several: who they are, what they gather, and how they part."""

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch

from ddpm_lite.system.processes import device_note, gather, joined, rank, wait, world

ROOT = Path(__file__).parents[1]


def torchrun(code: str, tmp_path: Path, processes: int = 2) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "task.py"
    script.write_text(textwrap.dedent(code))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    own = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*command, f"--nproc-per-node={processes}", str(script)],
        env={**os.environ, **own}, cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_alone() -> None:
    with joined() as device:
        assert device.type == ("cuda" if torch.cuda.is_available() else "cpu")
        assert (rank(), world()) == (0, 1)
        assert gather(3) == [3]
        wait()


def test_a_reader_is_told_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "Runtime, Change runtime type" in device_note()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    assert device_note() == "This chapter runs on a GPU, Tesla T4."


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="got cuda:0 without a GPU"), joined("cuda:0"):
        pass


def test_two_gather_what_each_has(tmp_path: Path) -> None:
    done = torchrun(
        """
        from pathlib import Path
        from ddpm_lite.system.processes import device_note, gather, joined, rank, wait, world
        with joined("cpu"):
            wait()
            Path(f"{rank()}").write_text(f"{world()} {gather(10 + rank())}")
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert [(tmp_path / name).read_text() for name in "01"] == ["2 [10, 11]"] * 2


def test_a_worker_that_dies_ends_the_run_and_the_next_goes_on(tmp_path: Path) -> None:
    """Rank 1 is killed in its fifth step: torchrun ends rank 0 too; then the same command."""
    code = """
        import os, signal
        from pathlib import Path
        import torch
        from ddpm_lite import GaussianDiffusion, TrainConfig, UNet, digits, linear_schedule
        from ddpm_lite.system.processes import joined, rank
        from ddpm_lite.runs.run import Run
        with joined("cpu"):
            torch.manual_seed(0)
            network, data = UNet(8, 1, 8), digits()[0][:64]
            config = TrainConfig(steps=8, batch=8)
            diffusion = GaussianDiffusion(linear_schedule())
            first = not Path("died").exists()
            seen = []
            for step in Run("run", every=2).train(network, diffusion, data, config):
                seen.append(step.step)
                if first and rank() == 1 and step.step == 5:
                    Path("died").touch()
                    os.kill(os.getpid(), signal.SIGKILL)
            Path(f"seen-{rank()}").write_text(str(seen))
    """
    start = time.monotonic()
    done = torchrun(code, tmp_path)
    assert done.returncode != 0
    assert "SIGKILL" in done.stderr
    assert time.monotonic() - start < 100
    done = torchrun(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert [(tmp_path / f"seen-{r}").read_text() for r in (0, 1)] == ["[5, 6, 7, 8]"] * 2
