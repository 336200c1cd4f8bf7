"""The rows of the studies vary what they are about, and nothing else."""

import json
from dataclasses import asdict, replace

import torch

from ddpm_lite.experiments.tables import STUDIES
from ddpm_lite.runs.checkpoints import about, load
from ddpm_lite.runs.recipes import RECIPES
from ddpm_lite.system.files import WEIGHTS


def test_table_2_has_every_combination_once() -> None:
    cells = {
        (study.diffusion.objective, study.training.weight, way.variance)
        for study in STUDIES["table2"].values()
        for way in study.ways.values()
    }
    assert len(cells) == 4 * 2 * 3
    assert len({repr(study.network) for study in STUDIES["table2"].values()}) == 1
    assert len({replace(s.training, weight="none") for s in STUDIES["table2"].values()}) == 1


def test_calls_compare_equal_counts() -> None:
    (study,) = STUDIES["calls"].values()
    steps: dict[str, list[int | None]] = {}
    for name, way in study.ways.items():
        steps.setdefault(name.partition(",")[0], []).append(way.steps)
    assert steps.keys() == {"eta 0", "eta 1", "beta"}
    assert len({tuple(counts) for counts in steps.values()}) == 1
    assert {way.eta for way in study.ways.values()} == {0.0, 1.0, None}


def test_guidance_varies_the_hidden_share_and_nothing_else() -> None:
    rows = list(STUDIES["guidance"].values())
    assert [row.training.drop_label for row in rows] == [0.1, 0.3, 0.5]
    assert len({repr(replace(row.training, drop_label=0.0)) for row in rows}) == 1
    assert all(row.ways == rows[0].ways for row in rows)


def test_rates_are_rows_of_table_2_at_other_rates() -> None:
    for name, study in STUDIES["rates"].items():
        row = STUDIES["table2"][name.rpartition("-")[0]]
        changed = replace(study.training, lr=row.training.lr, steps=row.training.steps)
        assert changed == row.training != study.training
        assert (study.diffusion, study.ways) == (row.diffusion, row.ways)


def test_rows_of_clothes_differ_from_the_first_in_what_they_are_named_for() -> None:
    rows = dict(STUDIES["fashion"])
    base = rows.pop("v-cosine")
    chain = base.diffusion
    named = {
        "v-cosine-0.3": replace(base, training=replace(base.training, drop_label=0.3)),
        "no-attention": replace(base, lacks="attention"),
        "shipped": replace(base, training=RECIPES["fashion"][1].training, weights="fashion"),
    }
    for name, study in rows.items():
        expected = named.get(name)
        if expected is None:
            objective, _, schedule = name.partition("-")
            other = replace(chain, objective=objective, schedule=schedule)  # type: ignore[arg-type]
            expected = replace(base, diffusion=other)
        alike = replace(study, title=base.title, ways=base.ways)
        assert alike == expected != base, name
        assert study.ways.items() <= base.ways.items(), name
    assert rows["u-line"].ways.keys() == {"scale 1"} | {
        name for name in base.ways if name.startswith(("ddim", "heun", "dpm-solver"))
    }
    assert rows["shipped"].ways.keys() == rows["v-cosine-0.3"].ways.keys()
    assert set(rows["shipped"].ways) == {"scale 1", "scale 2", "scale 4"}


def test_the_shipped_row_is_of_the_network_that_its_recipe_makes() -> None:
    study = STUDIES["fashion"]["shipped"]
    assert study.weights is not None
    settings = about(WEIGHTS / f"{study.weights}.safetensors")["about"]["settings"]
    training = asdict(study.training)
    assert settings["training"].keys() >= {"steps", "batch", "drop_label", "decay", "seed"}
    assert training | settings["training"] == training
    wanted = json.loads(json.dumps(asdict(study.network)))  # tuples as lists
    assert settings["network"] | wanted == settings["network"]
    network, diffusion = load(study.weights)
    assert network.classes == 11
    made = study.diffusion.make(256)
    assert made.config == diffusion.config
    assert torch.allclose(made.schedule.beta, diffusion.schedule.beta)
