"""What a step sees: drawn from the seed and the step alone, whole or shared."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from ddpm_lite import batches
from ddpm_lite.batches import Draw, derive_seed, place, seeded

CPU = torch.device("cpu")


def drawer(data: torch.Tensor, **changes: object) -> Draw:
    options = {
        "T": 10,
        "levels": 256,
        "batch": 12,
        "flip": False,
        "seed": 0,
        "layout": torch.contiguous_format,
        "device": CPU,
    }
    return Draw(data, **{**options, **changes})  # type: ignore[arg-type]


def test_a_step_is_the_same_whenever_it_is_drawn() -> None:
    data = torch.randn(30, 1, 4, 4)
    one, two = drawer(data, flip=True), drawer(data, flip=True)
    for _ in range(5):
        one(3)  # what was drawn before must not matter
    for a, b in zip(one(7), two(7), strict=True):
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
    assert not torch.equal(one(7).eps, one(8).eps)
    assert not torch.equal(one(7).eps, drawer(data, seed=1)(7).eps)


@pytest.mark.parametrize("processes", [2, 3])
def test_shares_make_up_the_whole(processes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = torch.randn(30, 1, 4, 4)
    options: dict[str, Any] = {
        "flip": True, "labels": torch.arange(30) % 7, "drop_label": 0.3, "hidden": 7,
    }  # fmt: skip
    whole = drawer(data, **options)(5)
    shares = []
    monkeypatch.setattr(batches, "world", lambda: processes)
    for rank in range(processes):
        monkeypatch.setattr(batches, "rank", lambda rank=rank: rank)
        shares.append(drawer(data, **options)(5))
    for name in ("x0", "t", "eps", "labels"):
        together = torch.empty_like(getattr(whole, name))
        for rank, share in enumerate(shares):
            together[rank::processes] = getattr(share, name)
        assert torch.equal(together, getattr(whole, name))
    assert {share.condition for share in shares} == {whole.condition}


def test_images_times_and_noise_are_what_they_should_be() -> None:
    data = torch.arange(30.0).view(30, 1)
    draw = drawer(data, batch=64)
    steps = [draw(step) for step in range(60)]
    x0, t, eps = (torch.cat([getattr(s, name) for s in steps]) for name in ("x0", "t", "eps"))
    for values, count in ((x0.long().flatten(), 30), (t - 1, 10)):
        counts = values.bincount(minlength=count)
        expected = 64 * 60 / count
        assert len(counts) == count
        assert (counts - expected).abs().max() < 5 * math.sqrt(expected)
    assert eps.mean().abs() < 5 / math.sqrt(eps.numel())
    assert eps.std().item() == pytest.approx(1, abs=0.05)
    assert 15 < sum(s.condition for s in steps) < 45
    # An image does not choose its time.
    correlation = torch.corrcoef(torch.stack([x0.flatten(), t.float()]))[0, 1]
    assert correlation.abs() < 5 / math.sqrt(len(t))


def test_flips_mirror_half_and_change_nothing_else() -> None:
    ramp = torch.linspace(-1, 1, 8).expand(4, 1, 8, 8).contiguous()
    draw = drawer(ramp, batch=400, flip=True)
    x0 = draw(0).x0
    mirrored = x0[:, 0, 0, 0] > 0
    assert 150 < mirrored.sum() < 250
    assert_close(x0[~mirrored], ramp[:1].expand_as(x0[~mirrored]))
    assert_close(x0[mirrored], ramp[:1].flip(-1).expand_as(x0[mirrored]))
    plain = drawer(ramp, batch=400)(0)
    assert torch.equal(plain.t, draw(0).t)


def test_bytes_become_the_model_s_range() -> None:
    levels = torch.tensor([0, 8, 16], dtype=torch.uint8).view(3, 1)
    x0 = drawer(levels, levels=17)(0).x0
    assert x0.dtype == torch.float32
    assert set(x0.flatten().tolist()) == {-1.0, 0.0, 1.0}


def test_mixed_numbers_are_all_different() -> None:
    every = itertools.product(range(4), range(50), (0, 1))
    seen = {derive_seed(seed, step, stream) for seed, step, stream in every}
    assert len(seen) == 400


def test_dropout_follows_the_seed_and_leaves_no_trace() -> None:
    drop, x = nn.Dropout(0.5), torch.ones(50)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with seeded(11, CPU):
        one = drop(x)
    assert torch.equal(torch.rand(2), expected)
    with seeded(11, CPU):
        assert torch.equal(drop(x), one)
    with seeded(12, CPU):
        assert not torch.equal(drop(x), one)


def test_data_already_there_are_not_copied() -> None:
    data = torch.randn(3, 2)
    assert place(data, CPU) is data


def test_labels_go_with_their_images_and_some_are_hidden() -> None:
    data, labels = torch.arange(30.0).view(30, 1), torch.arange(30) % 10
    draw = drawer(data, batch=64, labels=labels, drop_label=0.25, hidden=12)
    steps = [draw(step) for step in range(60)]
    images = torch.cat([step.x0 for step in steps])[:, 0].long()
    told = torch.cat([step.labels for step in steps])  # type: ignore[misc]
    hidden = told == 12
    assert torch.equal(told[~hidden], labels[images][~hidden])
    assert abs(hidden.double().mean() - 0.25) < 4 * (0.25 * 0.75 / len(told)) ** 0.5
    plain = drawer(data, batch=64)(7)
    assert torch.equal(plain.x0, draw(7).x0)
    assert torch.equal(plain.eps, draw(7).eps)
    assert plain.labels is None
