"""The rows behind the book's tables: what they vary, and that a run goes on and comes out alike."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ddpm_lite import UNet
from ddpm_lite.experiments import studies
from ddpm_lite.experiments.studies import STUDIES, Study, Way, main, run
from ddpm_lite.guidance import guided
from ddpm_lite.images import idx
from ddpm_lite.runs.checkpoints import load
from tests.pictures import idx as idx_bytes
from tests.pictures import random as pixels


def short(study: Study, **changes: object) -> Study:
    return replace(study, training=replace(study.training, steps=4, **changes))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(studies.SAMPLES, "digits", 20)
    ways = {"some": Way(steps=3, bits=False)}
    rows = {name: replace(short(study), ways=ways) for name, study in STUDIES["blocks"].items()}
    monkeypatch.setitem(STUDIES, "blocks", {name: rows[name] for name in ("whole", "no-time")})


def test_the_same_seed_gives_the_same_row() -> None:
    whole = STUDIES["blocks"]["whole"]
    assert run(whole, 3) == run(whole, 3)
    assert run(whole, 3)["loss"] != run(whole, 4)["loss"]


def test_labels_are_learnt_with_some_of_them_hidden() -> None:
    study = short(STUDIES["after"]["labels"])
    study = replace(study, ways={"pulled": Way(steps=2, scale=2.0, bits=False)})
    found = run(study, 0)
    assert found["held_out"] is None
    assert 0 <= found["ways"]["pulled"]["right_class"] <= 1


def test_clothes_are_trained_on_and_judged_as_clothes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten images of each class stand in for Fashion-MNIST."""
    labels = np.arange(100, dtype=np.uint8) % 10
    for part in ("train", "t10k"):
        for name, values in (("images-idx3", pixels(100, 28, 28)), ("labels-idx1", labels)):
            (tmp_path / f"{part}-{name}-ubyte").write_bytes(idx_bytes(values))
    monkeypatch.setitem(idx.INSTALLED, "fashion_mnist", tmp_path)
    monkeypatch.setitem(studies.SAMPLES, "fashion_mnist", 20)
    monkeypatch.setitem(STUDIES, "fashion", short_fashion())
    forget()
    try:
        found = {name: run(study, 0) for name, study in STUDIES["fashion"].items()}
        floor = studies.floor("fashion")
        table = studies.collect("fashion", tmp_path, "cpu")
    finally:
        forget()
    for name, row in found.items():
        assert 0 < row["ways"]["scale 1"]["matched"] < math.inf, name
    assert found["no-attention"]["parameters"] < found["v-cosine"]["parameters"]
    shipped, fresh = found["shipped"], found["v-cosine"]
    assert shipped["loss"] is shipped["held_out"] is None
    assert shipped["parameters"] == sum(p.numel() for p in load("fashion")[0].parameters())
    right = [row["ways"]["scale 1"]["right_class"] for row in (shipped, fresh)]
    assert right[0] >= 0.5 > right[1], "two steps of the shipped network, and two of training"
    assert (floor["features"], floor["samples"], floor["reference"]) == (
        "FashionClassifier",
        20,
        80,
    )
    assert table["data"] == "fashion_mnist, 28x28; 20 samples against 100 training images"


def forget() -> None:
    """The set that was read, and what its classifier saw in it."""
    studies.images.cache_clear()
    studies._seen.cache_clear()


def short_fashion() -> dict[str, Study]:
    rows = {}
    for name, study in STUDIES["fashion"].items():
        assert study.training.drop_label == (0.3 if name.endswith("0.3") else 0.1)
        ways = {"scale 1": study.ways["scale 1"]._replace(steps=2)}
        network = replace(study.network, width=8)
        training = replace(study.training, steps=2, batch=4)
        rows[name] = replace(study, ways=ways, network=network, training=training)
    return rows


def test_a_network_asked_in_parts_says_what_it_says_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A few images at a time: guided, with a learned variance, and told a guess or none."""
    monkeypatch.setattr(studies, "PART", 3)
    torch.manual_seed(0)
    x, t, y = torch.randn(8, 1, 8, 8), torch.arange(1, 9), torch.arange(8)
    settings = {"size": 8, "width": 8, "mults": (1,)}
    told = UNet(**settings, classes=11, learned_variance=True).eval()
    seeing = UNet(**settings, self_condition=True).eval()
    for network, asked in ((told, []), (seeing, [x.flip(0)]), (seeing, [None])):
        torch.nn.init.normal_(network.conv_out.weight)  # which is zero at the start
        models = [network, studies._InParts(network)]
        if network.classes:
            models = [guided(model, y, 2.0) for model in models]
        one, other = (model(x, t, *asked) for model in models)
        assert one.std() > 0.1
        torch.testing.assert_close(one, other)


def test_what_blows_up_is_a_result_too() -> None:
    study = replace(STUDIES["blocks"]["whole"])
    wild = replace(
        study, training=replace(study.training, steps=100, lr=1e30, warmup=0, clip_norm=1e9)
    )
    assert "loss is" in run(wild, 0)["unstable"]


def test_a_run_goes_on_and_puts_its_table_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Here:  # the rows in this process, where the shortened studies are
        def __init__(self, _: int) -> None:
            self.done: list = []

        def __enter__(self) -> "Here":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def submit(self, job, *given: object) -> str:  # type: ignore[no-untyped-def]
            made.append(given[:3])
            return job(*given)

    made: list = []
    monkeypatch.setattr(studies, "ProcessPoolExecutor", Here)
    monkeypatch.setattr(studies, "as_completed", lambda jobs: [Done(job) for job in jobs])
    main(("blocks",), seeds=(0, 1), out=tmp_path)
    assert len(made) == 4
    (tmp_path / "blocks" / "whole-1.json").unlink()
    made.clear()
    main(("blocks/whole",), seeds=(0, 1), out=tmp_path)
    assert made == [("blocks", "whole", 1)]
    table = json.loads((tmp_path / "blocks.json").read_text())
    assert table["command"].endswith("studies blocks")
    assert table["floor"]["samples"] == 20
    assert set(table["rows"]["no-time"]["seeds"]) == {"0", "1"}


class Done:
    def __init__(self, value: str) -> None:
        self.value = value

    def result(self) -> str:
        return self.value


def test_an_unknown_row_is_refused_with_the_known() -> None:
    with pytest.raises(ValueError, match=r"whole, no-time.*'blocks/half'"):
        main(("blocks/half",))
    with pytest.raises(ValueError, match=r"table2, blocks, after.*'table9'"):
        main(("table9",))


def test_noise_and_classes_of_a_way_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    study = short(STUDIES["calls"]["cosine"])
    ways = {
        "quiet": Way(steps=3, bits=False, classes="free"),
        "noisy": Way(steps=3, bits=False, classes="free", eta=1.0),
        "ancestral": Way(steps=3, bits=False, eta=None),
    }
    found = run(replace(study, ways=ways), 0)["ways"]
    assert len({way["frechet"] for way in found.values()}) == 3
    assert "matched" in found["quiet"]
    assert "matched" not in found["ancestral"]


def test_solvers_differ_and_are_asked_for_equally_many_calls() -> None:
    """Each way draws samples of its own, with as many calls as its name says, or one fewer."""
    row = STUDIES["solvers"]["flow"]
    assert row.diffusion.make(17).objective == "u"
    network = torch.nn.Linear(64, 64)
    asked: list[int] = []

    class Counted(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network

        def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            asked.append(int(t[0]))
            return self.inner(x.flatten(1)).view(x.shape)

    seen: dict[str, float] = {}
    for name, way in STUDIES["solvers"]["cosine"].ways.items():
        asked.clear()
        diffusion = STUDIES["solvers"]["cosine"].diffusion.make(17)
        x = studies._drawn(
            diffusion, Counted(), way, (1, 8, 8), torch.zeros(2, dtype=torch.long), 0
        )
        calls = int(name.rpartition(" ")[2])
        assert calls - 1 <= len(asked) <= calls, name
        seen[name] = x.sum().item()
    assert len(set(seen.values())) == len(seen) == 20
