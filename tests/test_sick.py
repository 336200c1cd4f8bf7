"""Sick on purpose: each fault is where its name says, a run goes on, and what is stored holds."""

import base64
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ddpm_lite import GaussianDiffusion, linear_schedule
from ddpm_lite.experiments import sick, studies
from ddpm_lite.experiments.results import load_results
from ddpm_lite.experiments.sick import CASES, HEALTHY, TRAINED, WELL, main, sick_names, weights

SCHEDULE = linear_schedule().rescaled(200)
X, EPS = torch.full((2, 1, 8, 8), -1.0), torch.ones(2, 1, 8, 8)


def test_faults_of_the_forward_process_are_where_their_names_say() -> None:
    a, b = SCHEDULE.alpha_bar[50].sqrt().item(), (1 - SCHEDULE.alpha_bar[50]).sqrt().item()
    for q, image, noise in (
        (GaussianDiffusion, -a, b),
        (sick.VarianceForDeviation, -a, b * b),
        (sick.UnitRange, 0.0, b),
        (sick.OffByOne, -a, b),
        (sick.NoRootOnImage, -a * a, b),
    ):
        assert torch.allclose(q(SCHEDULE).q_sample(X, 50, EPS), torch.tensor(image + noise))
    told = []

    def model(xt: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        told.extend(t.tolist())
        return xt

    for q in (GaussianDiffusion, sick.OffByOne):
        q(SCHEDULE).p_losses(model, X, torch.tensor([50, 1]))
    assert told == [50, 1, 49, 0]
    told.clear()
    sick.AnotherTime(SCHEDULE).p_losses(model, X.repeat(500, 1, 1, 1), torch.full((1000,), 50))
    assert len(set(told)) > 190, "every time is drawn"
    assert (min(told), max(told)) == (1, 200)


def test_noise_that_is_not_normal() -> None:
    """A model that gives x_T back is right where x_0 is 0 and alpha_bar is tiny, but for eps."""
    seen = []

    def model(xt: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        seen.append(xt)
        return xt

    T = linear_schedule().T
    sick.UniformNoise(linear_schedule()).p_losses(model, 0 * X.repeat(99, 1, 1, 1), T)
    assert seen[0].min() >= 0
    assert seen[0].max() <= 1
    assert seen[0].mean() == pytest.approx(0.5, abs=0.02)


def test_gradients_that_are_never_set_to_zero() -> None:
    network = TRAINED["heaped"].fresh()
    found = []
    for _ in range(3):
        network.zero_grad()
        network.conv_out.bias.sum().backward()
        assert network.conv_out.bias.grad is not None
        found.append(network.conv_out.bias.grad.item())
    assert found == [1, 2, 3]


def test_an_average_that_remembers_its_start() -> None:
    few = replace(TRAINED["constant-rate"].training, steps=3)
    found = weights(replace(TRAINED["constant-rate"], training=few), 0)
    usual = weights(replace(TRAINED["constant-rate"], training=few, slow=False), 0)
    torch.manual_seed(0)
    start = TRAINED["constant-rate"].fresh().state_dict()

    def far(weights: dict[str, torch.Tensor]) -> float:
        return sum(float((weights[name] - start[name]).abs().sum()) for name in start)

    assert far(found["average"]) < 0.01 * far(found["raw"])
    assert far(usual["average"]) > 0.3 * far(usual["raw"])


def test_gradients_that_overflow_leave_no_numbers() -> None:
    found = weights(TRAINED["overflow"], 0)
    assert any(not x.isfinite().all() for x in found["raw"].values())
    assert len(found["loss"]) < 1000


def test_a_run_goes_on_and_puts_the_table_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(studies.SAMPLES, "digits", 20)
    tiny = replace(TRAINED["plain"], training=replace(TRAINED["plain"].training, steps=2))
    monkeypatch.setattr(sick, "TRAINED", {"plain": tiny})
    monkeypatch.setattr(sick, "HEALTHY", {})
    monkeypatch.setattr(sick, "WELL", ())
    monkeypatch.setattr(sick, "UNTESTED", {})
    monkeypatch.setattr(sick, "shipped", list)
    monkeypatch.setattr(sick, "CASES", {"healthy": CASES["healthy"], "sigma": CASES["sigma"]})
    main((0,), (), tmp_path)
    assert "sigma, seed 0" in capsys.readouterr().out
    table = json.loads((tmp_path / "sick.json").read_text())
    assert table["sick"].keys() == {"healthy", "sigma"}
    row = table["sick"]["sigma"]["seeds"]["0"]
    assert len(base64.b64decode(row["grid"])) == 16 * 64
    assert "images come back" in sick_names(row)
    assert "images come back" not in sick_names(table["sick"]["healthy"]["seeds"]["0"])
    main((0,), (), tmp_path)
    assert capsys.readouterr().out == "", "what is there is not made again"


def test_every_stored_case_is_diagnosed_and_no_healthy_one_accused() -> None:
    """What chapter 14 says of its table."""
    table = load_results("sick")
    assert table["sick"].keys() == CASES.keys()
    for name, case in CASES.items():
        row = table["sick"][name]
        assert row["seeds"].keys() == {str(seed) for seed in table["seeds"]}, name
        for said in row["seeds"].values():
            if case.tells is None:
                assert sick_names(said) == [], name
            else:
                assert case.tells in sick_names(said), name
    for name, row in table["untested"].items():
        seen = {test for said in row["seeds"].values() for test in sick_names(said)}
        assert bool(seen) == (name in ("heaped", "uniform-noise")), name
    assert table["untested"].keys() == sick.UNTESTED.keys()
    unknown = [f["name"] for said in table["healthy"].values() for f in said["findings"]
               if f["verdict"] == "unknown"]  # fmt: skip
    assert (unknown.count("clock"), unknown.count("loss by t")) == (19, 8)
    accused = {n: [sick_names(s) for s in r["seeds"].values()] for n, r in table["sick"].items()}
    assert sum("clock" in names for names in accused["last-weights"]) == 1
    seeds, others = len(table["seeds"]), len(table["others"])
    assert len(table["healthy"]) == others * len(HEALTHY) + seeds * len(WELL) + 2
    assert (seeds, others) == (3, 3)
    assert not set(table["seeds"]) & set(table["others"])
    for name, said in table["healthy"].items():
        assert sick_names(said) == [], name
        assert math.isfinite(sum(f["measured"] or 0 for f in said["findings"]))
