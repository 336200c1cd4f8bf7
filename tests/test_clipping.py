"""The clip on four chains: what is measured, that a run goes on, and what the stored table says."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ddpm_lite.diffusion import GaussianDiffusion
from ddpm_lite.experiments import clipping
from ddpm_lite.experiments.clipping import (
    NETWORKS,
    Plan,
    by_chain,
    collect,
    drawn,
    error_factor,
    measure,
)
from ddpm_lite.experiments.results import load_results
from ddpm_lite.schedule import cosine_schedule, linear_schedule, spaced_times
from ddpm_lite.training import TrainConfig
from ddpm_lite.unet import UNetConfig

SMALL = Plan(
    T=20,
    short=5,
    samples=3,
    seeds=(0, 1),
    network=UNetConfig(width=8, blocks=1),
    training=TrainConfig(steps=3),
)


@pytest.mark.proves("error_factor")
@pytest.mark.parametrize("schedule", [linear_schedule(), cosine_schedule()])
@pytest.mark.parametrize("steps", [1000, 100])
def test_an_error_of_eps_enters_x_prev_by_its_factor(schedule: Any, steps: int) -> None:
    chain = GaussianDiffusion(schedule).subsequence(spaced_times(1000, steps))
    xt, said, error = torch.randn(3, 2, 4, dtype=torch.float64)
    for t in (1, steps // 2, steps):
        right, wrong = (
            chain.p_mean_variance(lambda x, _, s=s: s, xt, t, clip=False).mean
            for s in (said, said + error)
        )
        moved = (wrong - right) / error
        factor = error_factor(chain)[t].double()
        torch.testing.assert_close(-moved, factor.expand_as(moved), rtol=1e-6, atol=1e-12)
    assert error_factor(chain)[0] == 0


def test_the_first_guess_alone_is_clipped_by_first() -> None:
    """A network that errs at T alone: one clip there is as good as all, and none is not."""
    chain = GaussianDiffusion(cosine_schedule()).subsequence(spaced_times(1000, 10))
    kept = chain.schedule.alpha_bar

    def says_zero(x: Tensor, t: Tensor) -> Tensor:  # right for an image of zeros
        wrong = 0.1 * (t == 1000).float()
        at = torch.tensor([chain.times.index(int(s)) for s in t])
        return x / (1 - kept[at]).sqrt().view(-1, 1, 1, 1).float() + wrong.view(-1, 1, 1, 1)

    ends = {
        clip: drawn(chain, says_zero, 2, clip, torch.Generator().manual_seed(0))  # type: ignore[arg-type]
        for clip in ("always", "first", "never")
    }
    after = {clip: float(end.abs().max()) for clip, end in ends.items()}
    assert after["first"] < 1e-3
    assert after["always"] < 1e-3
    firsts = []
    for clip in ("always", "first", "never"):
        seen: list[Tensor] = []

        def watched(x: Tensor, t: Tensor, seen: list[Tensor] = seen) -> Tensor:
            seen.append(x)
            return says_zero(x, t)

        drawn(chain, watched, 2, clip, torch.Generator().manual_seed(0))  # type: ignore[arg-type]
        firsts.append(seen[1])
    torch.testing.assert_close(firsts[0], firsts[1])
    assert (firsts[2] - firsts[0]).abs().max() > 10


def test_the_same_seed_measures_the_same() -> None:
    once, again, other = (measure("linear", seed, SMALL) for seed in (0, 0, 1))
    assert once == again
    assert once != other


def test_a_run_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def one(name: str, seed: int, plan: Plan) -> dict[str, Any]:
        made.append((name, seed))
        return {"error": seed}

    monkeypatch.setattr(clipping, "measure", one)
    collect(tmp_path, SMALL)
    assert sorted(made) == sorted((name, seed) for name in NETWORKS for seed in (0, 1))
    (tmp_path / "clipping" / "linear-1.json").unlink()
    made.clear()
    collect(tmp_path, SMALL)
    assert made == [("linear", 1)]
    table = json.loads((tmp_path / "clipping.json").read_text())
    assert {"command", "seeds", "device", "torch", "date", "floor"} <= table.keys()
    assert table["rows"]["linear"] == {"0": {"error": 0}, "1": {"error": 1}}


def test_the_floor_has_as_many_images_as_a_chain() -> None:
    table = load_results("clipping")
    assert table["floor"]["samples"] == table["samples"] == Plan().samples
    assert table["floor"] == clipping.floor(table["samples"])


def test_the_stored_table_is_whole_and_of_three_seeds() -> None:
    table = load_results("clipping")
    assert table["rows"].keys() == set(NETWORKS)
    plan = Plan()
    assert (table["steps"], table["T"]) == (plan.training.steps, plan.T)
    for name, seeds in table["rows"].items():
        assert seeds.keys() == {"0", "1", "2"}, name
        for found in seeds.values():
            assert found["chains"].keys() == {"1000", "100"}
            assert found["chains"]["1000"].keys() == {"factor", "always", "never"}
            assert found["chains"]["100"].keys() == {"factor", "always", "never", "first"}


def test_a_table_by_chain_holds_every_seed() -> None:
    table = load_results("clipping")
    chains = by_chain(table)
    assert list(chains) == [f"{name}, {steps}" for name in NETWORKS for steps in ("1000", "100")]
    run = table["rows"]["linear"]["2"]
    chain = run["chains"]["100"]
    got = {key: float(values[2]) for key, values in chains["linear, 100"].items()}
    expected = {clip: chain[clip]["median"] for clip in ("always", "never", "first")}
    expected |= {
        "entered": run["error"] * chain["factor"],
        "largest": chain["never"]["largest"],
    }
    assert got == pytest.approx(expected)


def test_the_stored_factors_are_those_of_the_schedules() -> None:
    schedules = {
        "shipped": cosine_schedule(),
        "cosine": cosine_schedule(),
        "linear": linear_schedule(),
    }
    for name, seeds in load_results("clipping")["rows"].items():
        full = GaussianDiffusion(schedules[name])
        short = full.subsequence(spaced_times(1000, 100))
        for found in seeds.values():
            for steps, chain in (("1000", full), ("100", short)):
                largest = float(error_factor(chain).max())
                assert found["chains"][steps]["factor"] == pytest.approx(largest, rel=1e-4)
